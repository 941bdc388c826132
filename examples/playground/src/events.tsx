import type { LifecycleEvent } from 'nullspace';
import { useEffect, useState } from 'preact/hooks';

import { sdk } from './client';
import { dateAndTime, Empty, Field, Loading, Problem, Status, time } from './parts';

/** Kept on the page. */
const EVENTS = 200;

/** What happened, and what happens. */
export function Events({ id }: { id: string }) {
  const [scope, setScope] = useState<'machine' | 'all'>('machine');
  const [events, setEvents] = useState<readonly LifecycleEvent[]>();
  const [error, setError] = useState<unknown>();
  const [again, setAgain] = useState(0);
  useEffect(() => {
    setEvents(undefined);
    setError(undefined);
    const leaving = new AbortController();
    const stream = sdk.Lifecycle.streamEvents({
      ...(scope === 'machine' ? { machineId: id } : {}),
      replayLimit: 100,
      signal: leaving.signal,
    });
    // An empty past sends nothing: after a moment that is what it is.
    const quiet = setTimeout(() => setEvents((before) => before ?? []), 1000);
    const follow = async () => {
      for await (const event of stream) setEvents((before) => [event, ...(before ?? [])].slice(0, EVENTS));
    };
    follow().catch((failure) => {
      if (!leaving.signal.aborted) setError(failure);
    });
    return () => {
      clearTimeout(quiet);
      leaving.abort();
    };
  }, [id, scope, again]);
  return (
    <div class="events">
      <Field label="Events of">
        {(ids) => (
          <select {...ids} value={scope} onChange={(e) => setScope(e.currentTarget.value as typeof scope)}>
            <option value="machine">this machine</option>
            <option value="all">all machines</option>
          </select>
        )}
      </Field>
      {error !== undefined && <Problem error={error} retry={() => setAgain(again + 1)} />}
      {events === undefined && error === undefined && <Loading>Waiting for events …</Loading>}
      {events?.length === 0 && <Empty>Nothing has happened yet.</Empty>}
      {events !== undefined && events.length > 0 && (
        <table class="things event-list">
          <thead>
            <tr>
              <th scope="col">Time</th>
              <th scope="col">What</th>
              <th scope="col">Outcome</th>
              {scope === 'all' && <th scope="col">Machine</th>}
              <th scope="col">More</th>
            </tr>
          </thead>
          <tbody aria-live="polite">
            {events.map((event) => (
              <tr key={event.id}>
                <td data-label="Time">
                  <time dateTime={event.occurredAt.toISOString()} title={dateAndTime(event.occurredAt)}>
                    {time(event.occurredAt)}
                  </time>
                </td>
                <td data-label="What">
                  <strong>{event.operation.replaceAll('_', ' ')}</strong>
                </td>
                <td data-label="Outcome">
                  <Status status={event.status} />
                </td>
                {scope === 'all' && (
                  <td class="mono" data-label="Machine">
                    {event.machineId}
                  </td>
                )}
                <td class="faint" data-label="More">
                  {[event.snapshotId, event.reason, event.errorMessage].filter(Boolean).join(', ')}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </div>
  );
}
