import { signal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';

import { connection, runningCount, watchAll } from './client';
import { CodePanel } from './code-panel';
import { Create } from './create';
import { List } from './list';
import { MachineRoom } from './machine';
import { Empty, Problem } from './parts';
import { route } from './route';

const SCHEMES = ['system', 'light', 'dark'] as const;
const scheme = signal<string>(localStorage.getItem('scheme') ?? 'system');

export function App() {
  const main = useRef<HTMLElement>(null);
  const at = route.value;
  useEffect(() => {
    document.documentElement.style.colorScheme = scheme.value === 'system' ? 'light dark' : scheme.value;
    localStorage.setItem('scheme', scheme.value);
  }, [scheme.value]);
  return (
    <>
      <button type="button" class="skip" onClick={() => main.current?.focus()}>
        Skip to content
      </button>
      <header class="top">
        <h1>
          <a class="home" href="#/">
            nullspace playground
          </a>
        </h1>
        <ConnectionState />
        <div class="scheme">
          <label for="scheme">Colours</label>
          <select id="scheme" value={scheme.value} onChange={(event) => (scheme.value = event.currentTarget.value)}>
            {SCHEMES.map((name) => (
              <option key={name}>{name}</option>
            ))}
          </select>
        </div>
      </header>
      <div class="columns" data-at={at.at}>
        <nav aria-label="Machines">
          <List current={at.at === 'machine' ? at.id : undefined} />
        </nav>
        <main ref={main} tabIndex={-1}>
          {at.at !== 'list' && (
            <a class="back" href="#/">
              ← All machines
            </a>
          )}
          {at.at === 'create' && <Create />}
          {at.at === 'machine' && <MachineRoom key={at.id} id={at.id} tab={at.tab} />}
          {at.at === 'list' && (
            <Empty>
              <h2>No machine is chosen</h2>
              <p>Choose one from the list, or make one: it takes a few milliseconds.</p>
              <a class="button primary" href="#/create">
                New machine
              </a>
            </Empty>
          )}
        </main>
      </div>
      <CodePanel />
    </>
  );
}

function ConnectionState() {
  const state = connection.value;
  if (typeof state === 'object') return <Problem error={state.error} retry={watchAll} />;
  return (
    <p class="connection" role="status">
      {state === 'live' ? `engine connected, ${runningCount.value} running` : 'connecting to the engine …'}
    </p>
  );
}
