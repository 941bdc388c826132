import type { Machine } from 'nullspace';
import { useEffect, useState } from 'preact/hooks';

import { made, nameOf } from './code';
import { begins } from './demos';
import { Empty, Field, Loading, Problem } from './parts';

type State = { at: 'nothing' } | { at: 'waiting' } | { at: 'shown'; url: string } | { at: 'failed'; error: unknown };

/** Seconds until a port is said to be silent. */
const PATIENCE = 5;
/** How often the machine is asked which ports listen, while somebody looks. Milliseconds. */
const LOOK_MS = 3000;
/** Of the engine's own sockets in a machine. */
const NOBODY = '65534';
/** State of a socket that listens, in /proc/net/tcp. */
const LISTENS = '0A';

/** The ports on which something of the machine listens. */
async function listening(machine: Machine) {
  const { stdout } = await machine.commands.run('cat /proc/net/tcp /proc/net/tcp6', { shell: true, timeout: 10 });
  const ports = stdout.split('\n').flatMap((line) => {
    const [, local = '', , state, , , , uid] = line.trim().split(/\s+/);
    const port = Number.parseInt(local.split(':')[1] ?? '', 16);
    return state === LISTENS && uid !== NOBODY && port > 0 ? [port] : [];
  });
  return [...new Set(ports)].sort((left, right) => left - right);
}

/** A port of the machine in a frame: an origin of its own, as a browser sees it. */
export function Preview({ machine, shown }: { machine: Machine; shown: boolean }) {
  const begun = begins.get(machine.id)?.port;
  const [port, setPort] = useState(String(begun ?? 8000));
  const [ports, setPorts] = useState<readonly number[]>([]);
  const [state, setState] = useState<State>({ at: 'nothing' });
  const [loads, setLoads] = useState(0);
  const show = async (which = port) => {
    setState({ at: 'waiting' });
    try {
      const number = Number(which);
      const look = await machine.waitForPreview(number, { timeout: PATIENCE, intervalMs: 200 });
      if (!look.ready)
        throw new Error(`Nothing answers on port ${which} yet: ${look.error ?? look.code ?? 'it is silent'}`);
      const url = await machine.getUrl(number);
      made('url', `await ${nameOf(machine.id)}.getUrl(${number})`);
      setLoads((before) => before + 1);
      setState({ at: 'shown', url });
    } catch (error) {
      setState({ at: 'failed', error });
    }
  };
  useEffect(() => {
    if (begun) show(String(begun));
  }, []);
  useEffect(() => {
    if (!shown) return;
    // A machine that is full or busy has no answer; the field works without it.
    const look = () => listening(machine).then(setPorts, () => {});
    look();
    const timer = setInterval(look, LOOK_MS);
    return () => clearInterval(timer);
  }, [machine, shown, loads]);
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
          {(ids) => (
            <input
              {...ids}
              class="short"
              inputMode="numeric"
              value={port}
              onInput={(e) => setPort(e.currentTarget.value)}
            />
          )}
        </Field>
        <button type="submit" class="primary" aria-busy={state.at === 'waiting'}>
          {state.at === 'shown' ? 'Reload' : 'Show'}
        </button>
        {state.at === 'shown' && (
          <a class="button" href={state.url} target="_blank" rel="noreferrer">
            Open in a tab
          </a>
        )}
        {ports.length > 0 && (
          <p class="row ports">
            <span class="hint">Listening:</span>
            {ports.map((number) => (
              <button
                type="button"
                key={number}
                aria-pressed={String(number) === port && state.at === 'shown'}
                onClick={() => {
                  setPort(String(number));
                  show(String(number));
                }}
              >
                <span class="unseen">Port </span>
                {number}
              </button>
            ))}
          </p>
        )}
      </form>
      {state.at === 'nothing' && (
        <Empty>
          <h3>Nothing is shown</h3>
          <p>
            Start a server in the terminal, such as <code>python3 -m http.server 8000</code>. Its port appears above.
          </p>
        </Empty>
      )}
      {state.at === 'waiting' && <Loading>Waiting for port {port} …</Loading>}
      {state.at === 'failed' && <Problem error={state.error} retry={() => show()} />}
      {state.at === 'shown' && (
        <iframe
          key={loads}
          title={`Port ${port} of ${machine.id}`}
          src={state.url}
          sandbox="allow-scripts allow-same-origin allow-forms"
        />
      )}
    </div>
  );
}
