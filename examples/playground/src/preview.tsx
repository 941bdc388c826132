import type { Machine } from 'nullspace';
import { useState } from 'preact/hooks';

import { made, nameOf } from './code';
import { Empty, Field, Loading, Problem } from './parts';

type State = { at: 'nothing' } | { at: 'waiting' } | { at: 'shown'; url: string } | { at: 'failed'; error: unknown };

/** Seconds until a port is said to be silent. */
const PATIENCE = 5;

/** A port of the machine in a frame: an origin of its own, as a browser sees it. */
export function Preview({ machine }: { machine: Machine }) {
  const [port, setPort] = useState('8000');
  const [state, setState] = useState<State>({ at: 'nothing' });
  const show = async () => {
    setState({ at: 'waiting' });
    try {
      const number = Number(port);
      const look = await machine.waitForPreview(number, { timeout: PATIENCE, intervalMs: 200 });
      if (!look.ready)
        throw new Error(`Nothing answers on port ${port} yet: ${look.error ?? look.code ?? 'it is silent'}`);
      const url = await machine.getUrl(number);
      made('url', `await ${nameOf(machine.id)}.getUrl(${number})`);
      setState({ at: 'shown', url });
    } catch (error) {
      setState({ at: 'failed', error });
    }
  };
  return (
    <div class="preview">
      <form
        class="root"
        onSubmit={(event) => {
          event.preventDefault();
          show();
        }}
      >
        <Field label="Port">
          {(ids) => <input {...ids} inputMode="numeric" value={port} onInput={(e) => setPort(e.currentTarget.value)} />}
        </Field>
        <button type="submit" class="primary" aria-busy={state.at === 'waiting'}>
          {state.at === 'shown' ? 'Reload' : 'Show'}
        </button>
        {state.at === 'shown' && (
          <a class="button" href={state.url} target="_blank" rel="noreferrer">
            Open in a tab
          </a>
        )}
      </form>
      {state.at === 'nothing' && (
        <Empty>
          Start a server in the terminal, such as <code>python3 -m http.server 8000</code>, and show its port here.
        </Empty>
      )}
      {state.at === 'waiting' && <Loading>Waiting for port {port} …</Loading>}
      {state.at === 'failed' && <Problem error={state.error} retry={show} />}
      {state.at === 'shown' && (
        <iframe
          key={Math.random()}
          title={`Port ${port} of ${machine.id}`}
          src={state.url}
          sandbox="allow-scripts allow-same-origin allow-forms"
        />
      )}
    </div>
  );
}
