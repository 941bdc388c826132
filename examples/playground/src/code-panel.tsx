import { useEffect, useRef, useState } from 'preact/hooks';

import { clear, isEmpty, program } from './code';

/** The program of what was just done. */
export function CodePanel() {
  const [said, setSaid] = useState('');
  const text = useRef<HTMLPreElement>(null);
  // The newest step is the one to see.
  useEffect(() => text.current?.scrollTo(0, text.current.scrollHeight), [program.value]);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(program.value);
      setSaid('Copied.');
    } catch {
      setSaid('The browser does not let the page copy: select the text instead.');
    }
  };
  return (
    <aside class="code" aria-label="Code of what was just done">
      <details>
        <summary>Code of what was just done</summary>
        {isEmpty.value ? (
          <p class="faint">Nothing yet. What you do here appears as a program for Node, Deno, Bun or a browser.</p>
        ) : (
          <>
            {/* Focusable, because it scrolls. */}
            {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keyboard */}
            <pre ref={text} tabIndex={0}>
              <code>{program.value}</code>
            </pre>
            <div class="row">
              <button type="button" class="primary" onClick={copy}>
                Copy
              </button>
              <button
                type="button"
                onClick={() => {
                  clear();
                  setSaid('');
                }}
              >
                Clear
              </button>
              <span role="status">{said}</span>
            </div>
          </>
        )}
      </details>
    </aside>
  );
}
