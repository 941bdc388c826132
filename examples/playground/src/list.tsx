import type { MachineInfo } from 'nullspace';
import { useEffect, useRef, useState } from 'preact/hooks';

import { changes, machines, sdk } from './client';
import { actions } from './machine';
import { Action, duration, Empty, Field, Loading, Problem, Status, titleOf } from './parts';
import { linkTo } from './route';

const STATES = ['running', 'paused', 'creating', 'error', 'destroyed'];

/** When the list is read again that does not yet have what the monitor has. Milliseconds. */
const LATE_MS = 500;

/** All machines, filtered, page by page. */
export function List({ current }: { current?: string }) {
  const [filter, setFilter] = useState({ state: '', template: '', metadata: '', limit: '10' });
  /** Tokens of the pages that lead here; the last one is the page that is shown. */
  const [path, setPath] = useState<(string | undefined)[]>([undefined]);
  const [page, setPage] = useState<{ items: readonly MachineInfo[]; next?: string }>();
  const [error, setError] = useState<unknown>();
  const [again, setAgain] = useState(0);
  const reading = useRef<AbortController>(undefined);

  const token = path.at(-1);
  useEffect(() => {
    reading.current?.abort();
    const reader = new AbortController();
    reading.current = reader;
    const read = async () => {
      const [key, value] = filter.metadata.split('=', 2);
      const query = {
        ...(filter.state ? { state: filter.state } : {}),
        ...(filter.template.trim() ? { template: filter.template.trim() } : {}),
        ...(key && value !== undefined ? { metadata: { [key.trim()]: value.trim() } } : {}),
      };
      const answer = await sdk.Machine.list({
        limit: Number(filter.limit),
        ...(Object.keys(query).length > 0 ? { query } : {}),
        ...(token ? { nextToken: token } : {}),
        signal: reader.signal,
      });
      setPage({ items: answer.items, next: answer.nextToken });
      setError(undefined);
    };
    // Many changes at once are one look, and what is typed is not asked for letter by letter.
    const timer = setTimeout(
      () =>
        read().catch((failure) => {
          if (!reader.signal.aborted) setError(failure);
        }),
      100,
    );
    return () => {
      clearTimeout(timer);
      reader.abort();
    };
  }, [filter, token, changes.value, again]);

  // The monitor may know of a machine a moment before the list has it: then one look was too early.
  const isWhole = page !== undefined && path.length === 1 && !page.next && !isFiltered(filter);
  const isLate =
    isWhole && [...machines.value.keys()].some((machineId) => !page.items.some(({ id }) => id === machineId));
  useEffect(() => {
    if (!isLate) return;
    const timer = setTimeout(() => setAgain((before) => before + 1), LATE_MS);
    return () => clearTimeout(timer);
  }, [isLate, page]);

  const set = (part: Partial<typeof filter>) => {
    setFilter({ ...filter, ...part });
    setPath([undefined]);
  };

  // Those that ended are of interest to few: they are folded away, unless somebody asks for them.
  const hasEnded = ({ status }: MachineInfo) => status === 'error' || status === 'destroyed';
  const items = page?.items ?? [];
  const ended = filter.state ? [] : items.filter(hasEnded);
  const alive = filter.state ? items : items.filter((machine) => !hasEnded(machine));
  const failed = ended.filter(({ status }) => status === 'error');
  return (
    <div class="list">
      <div class="row spread">
        <h2>Machines</h2>
        <a class="button primary" href="#/create">
          New machine
        </a>
      </div>
      <details class="filters">
        <summary>Filters</summary>
        <div class="pair">
          <Field label="State">
            {(ids) => (
              <select {...ids} value={filter.state} onChange={(e) => set({ state: e.currentTarget.value })}>
                <option value="">alive</option>
                {STATES.map((state) => (
                  <option key={state}>{state}</option>
                ))}
              </select>
            )}
          </Field>
          <Field label="Template">
            {(ids) => (
              <input {...ids} value={filter.template} onInput={(e) => set({ template: e.currentTarget.value })} />
            )}
          </Field>
          <Field label="Metadata">
            {(ids) => (
              <input
                {...ids}
                placeholder="name=value"
                value={filter.metadata}
                onInput={(e) => set({ metadata: e.currentTarget.value })}
              />
            )}
          </Field>
          <Field label="A page">
            {(ids) => (
              <select {...ids} value={filter.limit} onChange={(e) => set({ limit: e.currentTarget.value })}>
                {['2', '10', '25', '50'].map((limit) => (
                  <option key={limit}>{limit}</option>
                ))}
              </select>
            )}
          </Field>
        </div>
      </details>
      {error !== undefined && <Problem error={error} retry={() => setAgain(again + 1)} />}
      {page === undefined && error === undefined && <Loading>Reading the list …</Loading>}
      {page?.items.length === 0 && (
        <Empty>{isFiltered(filter) ? 'No machine matches.' : 'There is no machine yet.'}</Empty>
      )}
      {alive.length > 0 && (
        <ul class="machines">
          {alive.map((machine) => (
            <Item key={machine.id} machine={machine} current={current} />
          ))}
        </ul>
      )}
      {ended.length > 0 && (
        <details class="ended">
          <summary>Ended ({ended.length})</summary>
          <ul class="machines">
            {ended.map((machine) => (
              <Item key={machine.id} machine={machine} current={current} />
            ))}
          </ul>
          {failed.length > 0 && (
            <Action
              failed={setError}
              run={async () => {
                for (const { id } of failed) await actions.kill(id);
              }}
            >
              Remove all
            </Action>
          )}
        </details>
      )}
      {(path.length > 1 || page?.next !== undefined) && (
        <fieldset class="row pages" aria-label="Pages">
          <button type="button" disabled={path.length === 1} onClick={() => setPath(path.slice(0, -1))}>
            Previous
          </button>
          <span>Page {path.length}</span>
          <button type="button" disabled={!page?.next} onClick={() => page?.next && setPath([...path, page.next])}>
            Next
          </button>
        </fieldset>
      )}
    </div>
  );
}

function Item({ machine: listed, current }: { machine: MachineInfo; current?: string }) {
  // The monitor is newer than the page that was read.
  const machine = machines.value.get(listed.id) ?? listed;
  const title = titleOf(machine);
  return (
    <li>
      <a href={linkTo(machine.id)} aria-current={machine.id === current ? 'page' : undefined}>
        <span class={title === machine.id ? 'id' : 'title'}>{title}</span>
        <Status status={machine.status} />
        {title !== machine.id && <span class="id faint">{machine.id}</span>}
        <span class="faint about">
          {machine.template}, {machine.config.memoryMb} MiB
          {machine.remainingMs !== undefined && machine.status === 'running'
            ? `, ${duration(machine.remainingMs)} left`
            : ''}
        </span>
      </a>
    </li>
  );
}

const isFiltered = (filter: { state: string; template: string; metadata: string }) =>
  Boolean(filter.state || filter.template || filter.metadata);
