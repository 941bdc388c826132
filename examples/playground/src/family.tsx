import { useEffect, useState } from 'preact/hooks';

import { changes, machines, sdk } from './client';
import { actions } from './machine';
import { Action, Loading, Problem, Status, titleOf } from './parts';
import { linkTo } from './route';

/** Forks that are looked at, newest first. */
const FORKS = 500;

/** A machine, what it was forked from, and what was forked from it. */
export function Family({ id }: { id: string }) {
  const [parents, setParents] = useState<ReadonlyMap<string, string>>();
  const [error, setError] = useState<unknown>();
  const [again, setAgain] = useState(0);
  useEffect(() => {
    const leaving = new AbortController();
    sdk.Lifecycle.listEvents({ operation: 'fork', status: 'succeeded', limit: FORKS, signal: leaving.signal }).then(
      ({ events }) => {
        const found = new Map<string, string>();
        for (const { sourceMachineId, targetMachineId } of events) {
          if (sourceMachineId && targetMachineId) found.set(targetMachineId, sourceMachineId);
        }
        setParents(found);
        setError(undefined);
      },
      (failure) => {
        if (!leaving.signal.aborted) setError(failure);
      },
    );
    return () => leaving.abort();
  }, [changes.value, again]);

  if (error !== undefined && !parents) return <Problem error={error} retry={() => setAgain(again + 1)} />;
  if (!parents) return <Loading>Reading who was forked from whom …</Loading>;
  let root = id;
  for (let up = parents.get(root); up; up = parents.get(root)) root = up;
  const children = (of: string) => [...parents].filter(([, parent]) => parent === of).map(([child]) => child);
  return (
    <div class="family">
      {error !== undefined && <Problem error={error} retry={() => setAgain(again + 1)} />}
      <p class="hint">
        A fork has what its parent had then. From there each changes on its own. A paused machine keeps its place.
      </p>
      <ul class="branches">
        <Member id={root} current={id} childrenOf={children} failed={setError} />
      </ul>
    </div>
  );
}

function Member(props: {
  id: string;
  current: string;
  childrenOf: (id: string) => string[];
  failed: (error: unknown) => void;
}) {
  const { id, failed } = props;
  const machine = machines.value.get(id);
  const status = machine?.status ?? 'destroyed';
  const title = titleOf(machine ?? { id });
  const children = props.childrenOf(id);
  return (
    <li>
      <div class="row member">
        <a class="member-id" href={linkTo(id, 'family')} aria-current={id === props.current ? 'page' : undefined}>
          {id}
        </a>
        {title !== id && <span>{title}</span>}
        <Status status={status} />
        {status === 'running' && (
          <>
            <Action run={() => actions.pause(id)} failed={failed}>
              Pause<span class="unseen"> {id}</span>
            </Action>
            <Action run={() => actions.fork(id)} failed={failed}>
              Fork<span class="unseen"> {id}</span>
            </Action>
          </>
        )}
        {status === 'paused' && (
          <Action run={() => actions.resume(id)} failed={failed}>
            Resume<span class="unseen"> {id}</span>
          </Action>
        )}
      </div>
      {children.length > 0 && (
        <ul class="branches">
          {children.map((child) => (
            <Member key={child} {...props} id={child} />
          ))}
        </ul>
      )}
    </li>
  );
}
