// Cells of code that remember, as in a notebook.

import type { Execution, ExecutionResult, Machine } from 'nullspace';
import { useEffect, useRef, useState } from 'preact/hooks';

import { did, literal, made, nameOf } from './code';
import { begins } from './demos';
import { Editor } from './editor';
import { message } from './parts';

const LANGUAGES = ['python', 'javascript', 'bash'] as const;
type Language = (typeof LANGUAGES)[number];
const ENDINGS: Record<Language, string> = { python: 'py', javascript: 'js', bash: 'sh' };

interface Cell {
  key: number;
  language: Language;
  code: string;
  /** Of the latest run. */
  count?: number;
  printed: string;
  results: readonly ExecutionResult[];
  failure?: string;
  ms?: number;
  stop?: AbortController;
}

let keys = 0;
const fresh = (code = '', language: Language = 'python'): Cell => ({
  key: keys++,
  language,
  code,
  printed: '',
  results: [],
});

/** What was typed and shown stays while the page does. */
const notebooks = new Map<string, Cell[]>();

export function Notebook({ machine }: { machine: Machine }) {
  const [cells, setCells] = useState<Cell[]>(() => notebooks.get(machine.id) ?? [fresh()]);
  const latest = useRef(cells);
  const put = (next: Cell[]) => {
    latest.current = next;
    notebooks.set(machine.id, next);
    setCells(next);
  };
  const set = (key: number, part: Partial<Cell> | ((cell: Cell) => Partial<Cell>)) =>
    put(
      latest.current.map((cell) =>
        cell.key === key ? { ...cell, ...(typeof part === 'function' ? part(cell) : part) } : cell,
      ),
    );

  const run = async (key: number) => {
    const cell = latest.current.find((one) => one.key === key);
    if (!cell?.code.trim() || cell.stop) return;
    const { code, language } = cell;
    const stop = new AbortController();
    const begun = performance.now();
    set(key, { stop, printed: '', results: [], failure: undefined, ms: undefined });
    const hear = ({ text }: { text: string }) => set(key, (before) => ({ printed: before.printed + text }));
    const more = language === 'python' ? {} : { language };
    try {
      const execution: Execution = await machine.runCode(code, {
        ...more,
        signal: stop.signal,
        onStdout: hear,
        onStderr: hear,
      });
      set(key, {
        results: execution.results,
        count: execution.executionCount,
        failure: execution.error?.traceback ?? execution.error?.value,
      });
    } catch (error) {
      set(key, {
        failure: stop.signal.aborted ? 'Stopped. What earlier cells defined is still there.' : message(error),
      });
    }
    set(key, { stop: undefined, ms: performance.now() - begun });
    const options = Object.keys(more).length > 0 ? `, ${literal(more)}` : '';
    made('execution', `await ${nameOf(machine.id)}.runCode(${literal(code)}${options})`);
  };

  // What a demo begins with runs by itself.
  useEffect(() => {
    const given = begins.get(machine.id)?.cells;
    if (!given || notebooks.has(machine.id)) return;
    const begun = given.map((code) => fresh(code));
    put(begun);
    (async () => {
      for (const { key } of begun) await run(key);
    })();
  }, [machine.id]);
  // A cell that runs ends with the room: nobody would hear it.
  useEffect(
    () => () => {
      for (const { stop } of latest.current) stop?.abort();
    },
    [],
  );

  const restart = async () => {
    const contexts = await machine.codeInterpreter.listCodeContexts();
    for (const context of contexts) await machine.codeInterpreter.restartCodeContext(context);
    did(`for (const context of await ${nameOf(machine.id)}.codeInterpreter.listCodeContexts())`);
    did(`  await ${nameOf(machine.id)}.codeInterpreter.restartCodeContext(context);`);
    put(latest.current.map((cell) => ({ ...cell, count: undefined })));
  };
  const [problem, setProblem] = useState('');
  return (
    <div class="notebook">
      <div class="row spread">
        <p class="hint">
          <kbd>Shift</kbd> <kbd>Enter</kbd> runs a cell. Cells of one language share what they define.
        </p>
        <button type="button" class="quiet" onClick={() => restart().catch((error) => setProblem(message(error)))}>
          Forget all
        </button>
      </div>
      {problem && (
        <p class="field-error" role="alert">
          {problem}
        </p>
      )}
      <ol class="cells">
        {cells.map((cell, index) => (
          <li class="cell" key={cell.key} aria-label={`Cell ${index + 1}`}>
            <div class="cell-bar">
              <span class="count" aria-hidden="true">
                [{cell.stop ? '*' : (cell.count ?? ' ')}]
              </span>
              {cell.stop ? (
                <button type="button" onClick={() => cell.stop?.abort()}>
                  Stop<span class="unseen"> cell {index + 1}</span>
                </button>
              ) : (
                <button type="button" class="primary" onClick={() => run(cell.key)}>
                  Run<span class="unseen"> cell {index + 1}</span>
                </button>
              )}
              <select
                aria-label={`Language of cell ${index + 1}`}
                value={cell.language}
                onChange={(event) => set(cell.key, { language: event.currentTarget.value as Language })}
              >
                {LANGUAGES.map((language) => (
                  <option key={language}>{language}</option>
                ))}
              </select>
              <span class="hint" role="status">
                {cell.stop ? 'running …' : cell.ms === undefined ? '' : `${Math.round(cell.ms)} ms`}
              </span>
              <button
                type="button"
                class="quiet end"
                onClick={() => put(cells.length > 1 ? cells.filter(({ key }) => key !== cell.key) : [fresh()])}
              >
                Remove<span class="unseen"> cell {index + 1}</span>
              </button>
            </div>
            <Editor
              key={cell.language}
              name={`cell ${index + 1}.${ENDINGS[cell.language]}`}
              text={cell.code}
              small
              change={(code) => set(cell.key, { code })}
              save={() => {}}
              run={() => {
                run(cell.key);
                if (index === cells.length - 1) put([...latest.current, fresh('', cell.language)]);
              }}
            />
            <div class="output" aria-live="polite">
              {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keyboard */}
              {cell.printed && <pre tabIndex={0}>{cell.printed}</pre>}
              {cell.results.map((result, at) => (
                <Result key={at} result={result} />
              ))}
              {cell.failure && (
                // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keyboard
                <pre class="failure" tabIndex={0}>
                  {cell.failure}
                </pre>
              )}
            </div>
          </li>
        ))}
      </ol>
      <button
        type="button"
        class="add-cell"
        onClick={() => put([...cells, fresh('', cells.at(-1)?.language ?? 'python')])}
      >
        Add a cell
      </button>
    </div>
  );
}

/** The best form of a value that the page can show. */
function Result({ result }: { result: ExecutionResult }) {
  const picture =
    (result.png && `data:image/png;base64,${result.png}`) ||
    (result.jpeg && `data:image/jpeg;base64,${result.jpeg}`) ||
    // An SVG in an image runs no scripts and loads nothing.
    (result.svg && `data:image/svg+xml,${encodeURIComponent(result.svg)}`);
  if (picture) return <img class="picture" src={picture} alt={result.text || 'Picture that the cell gave'} />;
  const text = result.text ?? result.markdown ?? result.latex ?? (result.json && JSON.stringify(result.json, null, 2));
  // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keyboard
  return text ? <pre tabIndex={0}>{String(text)}</pre> : null;
}
