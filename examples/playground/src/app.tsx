import { useRef, useState } from 'preact/hooks';

import { connection, pulse, returns, runningCount } from './client';
import { CodePanel } from './code-panel';
import { Create } from './create';
import { Home } from './home';
import { List } from './list';
import { MachineRoom } from './machine';
import { Palette, isOpen } from './palette';
import { Action, message } from './parts';
import { Pools } from './pools';
import { route } from './route';
import { scheme, SCHEMES } from './scheme';
import { Snapshots } from './snapshots';
import { Volumes } from './volumes';

const ROOM_LINKS = [
  ['home', '#/', 'Home'],
  ['snapshots', '#/snapshots', 'Snapshots'],
  ['volumes', '#/volumes', 'Volumes'],
  ['pools', '#/pools', 'Warm pools'],
] as const;

export function App() {
  const main = useRef<HTMLElement>(null);
  const [menu, setMenu] = useState(false);
  const at = route.value;
  // What comes back begins anew: streams, terminals, lists.
  const life = returns.value;
  return (
    <>
      <button type="button" class="skip" onClick={() => main.current?.focus()}>
        Skip to content
      </button>
      <header class="top">
        <button
          type="button"
          class="menu quiet"
          aria-expanded={menu}
          aria-controls="rooms"
          onClick={() => setMenu(!menu)}
        >
          <span aria-hidden="true">☰</span>
          <span class="unseen">Machines and rooms</span>
        </button>
        <h1>
          <a class="home" href="#/">
            nullspace <span class="faint">playground</span>
          </a>
        </h1>
        <ConnectionState />
        <button
          type="button"
          class="quiet search"
          onClick={() => {
            isOpen.value = true;
          }}
        >
          Do or find <kbd>Ctrl K</kbd>
        </button>
        <div class="scheme">
          <label class="unseen" for="scheme">
            Colours
          </label>
          <select id="scheme" value={scheme.value} onChange={(event) => (scheme.value = event.currentTarget.value)}>
            {SCHEMES.map((name) => (
              <option key={name}>{name}</option>
            ))}
          </select>
        </div>
      </header>
      <Gone />
      <div class="columns" data-menu={menu}>
        {/* A link that was followed closes the menu of a narrow page. */}
        {/* biome-ignore lint/a11y/useKeyWithClickEvents: the links in it have the keys */}
        <nav
          id="rooms"
          aria-label="Machines and rooms"
          onClick={(event) => {
            if ((event.target as HTMLElement).closest('a')) setMenu(false);
          }}
        >
          <ul class="rooms">
            {ROOM_LINKS.map(([room, link, name]) => (
              <li key={room}>
                <a href={link} aria-current={at.at === room ? 'page' : undefined}>
                  {name}
                </a>
              </li>
            ))}
          </ul>
          <List key={life} current={at.at === 'machine' ? at.id : undefined} />
        </nav>
        <main ref={main} tabIndex={-1} data-at={at.at}>
          {at.at === 'home' && <Home />}
          {at.at === 'create' && <Create key={at.with} begins={new URLSearchParams(at.with)} />}
          {at.at === 'snapshots' && <Snapshots key={life} />}
          {at.at === 'volumes' && <Volumes key={life} />}
          {at.at === 'pools' && <Pools key={life} />}
          {at.at === 'machine' && <MachineRoom key={`${at.id} ${life}`} id={at.id} tab={at.tab} />}
        </main>
      </div>
      <CodePanel />
      <Palette />
    </>
  );
}

function ConnectionState() {
  const state = connection.value;
  const words =
    state === 'live'
      ? `engine connected, ${runningCount.value} running`
      : typeof state === 'object'
        ? 'no engine'
        : 'connecting to the engine …';
  return (
    <p class="connection" data-state={typeof state === 'object' ? 'gone' : state} role="status">
      {words}
    </p>
  );
}

/** Says that the engine is gone; the page asks for it again and again by itself. */
function Gone() {
  const state = connection.value;
  if (typeof state !== 'object') return null;
  return (
    <div class="banner" role="alert">
      <p>
        <strong>The engine does not answer.</strong> This page tries again every few seconds, and everything comes back
        when it does. <span class="faint">{message(state.error)}</span>
      </p>
      <Action run={pulse} failed={() => {}}>
        Try again
      </Action>
    </div>
  );
}
