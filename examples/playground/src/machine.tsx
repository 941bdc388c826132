import { signal } from '@preact/signals';
import type { Machine, MachineInfo } from 'nullspace';
import { useEffect, useRef, useState } from 'preact/hooks';

import { forget, handle, keep, machines, sdk } from './client';
import { did, made, nameOf } from './code';
import { Events } from './events';
import { Family } from './family';
import { Metrics } from './metrics';
import { Network } from './network-tab';
import { Action, duration, Empty, Loading, Problem, Status, Tabs, titleOf } from './parts';
import { Preview } from './preview';
import { go, linkTo, TABS, type Tab } from './route';

/** Where there is room, the actions are buttons and no menu. */
const room = matchMedia('(min-width: 66.01rem)');
const isWide = signal(room.matches);
room.addEventListener('change', () => {
  isWide.value = room.matches;
});

/** Rooms with an editor or a terminal. */
const rooms = signal<typeof import('./rooms') | { error: unknown }>();
const loadRooms = () => {
  rooms.value = undefined;
  import('./rooms').then(
    (loaded) => {
      rooms.value = loaded;
    },
    (error) => {
      rooms.value = { error };
    },
  );
};

/** What is done to a machine: from its head, and from its family's tree. */
export const actions = {
  async pause(id: string) {
    const machine = await handle(id);
    await machine.pause();
    did(`await ${nameOf(id)}.pause();`);
  },
  async resume(id: string) {
    keep(await sdk.Machine.resume(id));
    did(`await Machine.resume(${nameOf(id)}.id);`);
  },
  async fork(id: string) {
    const machine = await handle(id);
    const child = keep(await machine.fork());
    made('fork', `await ${nameOf(id)}.fork()`, child.id);
    return child.id;
  },
  async kill(id: string) {
    const name = nameOf(id);
    forget(id);
    await sdk.Machine.killById(id);
    did(`await ${name}.kill();`);
  },
  async extend(id: string, seconds: number) {
    const machine = await handle(id);
    await machine.setTimeout(seconds);
    did(`await ${nameOf(id)}.setTimeout(${seconds});`);
  },
  async snapshot(id: string) {
    const machine = await handle(id);
    const { id: snapshotId } = await machine.createSnapshot();
    made('snapshot', `await ${nameOf(id)}.createSnapshot()`);
    return snapshotId;
  },
};

/** One machine: its head and its tabs. */
export function MachineRoom({ id, tab }: { id: string; tab: Tab }) {
  const live = machines.value.get(id);
  const [read, setRead] = useState<MachineInfo>();
  const [error, setError] = useState<unknown>();
  const [again, setAgain] = useState(0);
  useEffect(() => {
    if (rooms.value === undefined) loadRooms();
  }, []);

  const seen = useRef<MachineInfo>(undefined);
  if (live) seen.current = live;
  const unknown = seen.current === undefined;
  // The monitor knows machines that live, and what it no longer knows is destroyed; others are asked for.
  useEffect(() => {
    if (!unknown) return;
    const ending = new AbortController();
    sdk.Machine.getInfoById(id, { signal: ending.signal }).then(setRead, (failure) => {
      if (!ending.signal.aborted) setError(failure);
    });
    return () => ending.abort();
  }, [id, unknown, again]);

  const info = live ?? (seen.current ? { ...seen.current, status: 'destroyed' as const } : read);
  if (info === undefined) {
    if (error === undefined) return <Loading>Reading {id} …</Loading>;
    return (
      <Problem
        error={error}
        retry={() => {
          setError(undefined);
          setAgain(again + 1);
        }}
      />
    );
  }
  return (
    <section class="machine" aria-label={`Machine ${id}`}>
      <Head info={info} />
      <Tabs
        label="What it shows"
        names={TABS}
        current={tab}
        select={(name) => go(linkTo(id, name))}
        panel={(name, shown) => {
          if (name === 'events') return <Events id={id} />;
          if (name === 'family') return <Family id={id} />;
          if (name === 'code' && !info.template.startsWith('code-interpreter')) return <NoInterpreter />;
          return (
            <WhileRunning info={info}>
              {(machine) => {
                if (name === 'metrics') return <Metrics id={id} />;
                if (name === 'preview') return <Preview machine={machine} shown={shown} />;
                if (name === 'network') return <Network machine={machine} />;
                const loaded = rooms.value;
                if (loaded === undefined) return <Loading>Loading the editor and the terminal …</Loading>;
                if ('error' in loaded) return <Problem error={loaded.error} retry={loadRooms} />;
                if (name === 'terminal') return <loaded.Terminal machine={machine} shown={shown} />;
                if (name === 'files') return <loaded.Files machine={machine} />;
                return <loaded.Notebook machine={machine} />;
              }}
            </WhileRunning>
          );
        }}
      />
      {info.warnings && info.warnings.length > 0 && (
        <details class="warnings">
          <summary>
            {info.warnings.length} {info.warnings.length === 1 ? 'thing' : 'things'} that this computer does not enforce
          </summary>
          {info.warnings.map((warning) => (
            <p class="faint" key={warning}>
              {warning}
            </p>
          ))}
        </details>
      )}
    </section>
  );
}

function Head({ info }: { info: MachineInfo }) {
  const [error, setError] = useState<unknown>();
  const [said, setSaid] = useState('');
  const { id, status } = info;
  const running = status === 'running';
  return (
    <header class="head">
      <div class="row">
        <h2>{titleOf(info)}</h2>
        <Status status={status} />
        <details class="actions" open={isWide.value}>
          <summary>Actions</summary>
          {status !== 'destroyed' && (
            <div class="row buttons">
              {running && (
                <>
                  <Action run={() => actions.pause(id)} failed={setError}>
                    Pause
                  </Action>
                  <Action run={async () => go(linkTo(await actions.fork(id), 'family'))} failed={setError}>
                    Fork
                  </Action>
                  <Action run={async () => setSaid(`Kept as ${await actions.snapshot(id)}`)} failed={setError}>
                    Snapshot
                  </Action>
                  <Action run={() => actions.extend(id, 600)} failed={setError}>
                    10 more minutes
                  </Action>
                </>
              )}
              {status === 'paused' && (
                <Action run={() => actions.resume(id)} failed={setError} kind="primary">
                  Resume
                </Action>
              )}
              <Action
                kind="danger"
                failed={setError}
                run={async () => {
                  if (confirm(`Kill ${id}? All that is in it is lost.`)) await actions.kill(id);
                }}
              >
                Kill
              </Action>
            </div>
          )}
        </details>
      </div>
      <p class="faint about">
        {titleOf(info) !== id && <span class="mono">{id}, </span>}
        {info.template}, {info.config.vcpus} vCPU, {info.config.memoryMb} MiB
        {running && info.timeoutAt ? `, ${duration(info.timeoutAt.getTime() - Date.now())} left` : ''}
        {info.warmPoolCheckout?.hit ? ', from a warm pool' : ''}
        {said && (
          <span role="status">
            . {said}: <a href="#/snapshots">snapshots</a>
          </span>
        )}
      </p>
      {info.errorMessage && <p class="problem">{info.errorMessage}</p>}
      {error !== undefined && <Problem error={error} />}
    </header>
  );
}

const NoInterpreter = () => (
  <Empty>
    <h3>This template has no code interpreter</h3>
    <p>Machines of the template code-interpreter run cells here. Any machine runs commands in its terminal.</p>
    <a class="button" href="#/create">
      New machine
    </a>
  </Empty>
);

/** For what only a running machine has. */
function WhileRunning(props: { info: MachineInfo; children: (machine: Machine) => preact.ComponentChildren }) {
  const { id, status } = props.info;
  const [machine, setMachine] = useState<Machine>();
  const [error, setError] = useState<unknown>();
  const [again, setAgain] = useState(0);
  useEffect(() => {
    setError(undefined);
    setMachine(undefined);
    if (status === 'running') handle(id).then(setMachine, setError);
  }, [id, status, again]);
  if (status !== 'running') {
    return (
      <Empty>
        {status === 'paused'
          ? 'It is paused: resume it to continue where it was.'
          : `It is ${status}: there is nothing to show.`}
      </Empty>
    );
  }
  if (error !== undefined) return <Problem error={error} retry={() => setAgain(again + 1)} />;
  if (machine === undefined) return <Loading>Connecting …</Loading>;
  return <>{props.children(machine)}</>;
}
