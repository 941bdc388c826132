import type { SnapshotInfo } from 'nullspace';
import { useEffect, useState } from 'preact/hooks';

import { changes, sdk } from './client';
import { did, literal } from './code';
import { Action, bytes, dateAndTime, Empty, Loading, Problem, RoomHead } from './parts';
import { linkTo } from './route';

/** What was kept of machines. */
export function Snapshots() {
  const [all, setAll] = useState<readonly SnapshotInfo[]>();
  const [error, setError] = useState<unknown>();
  const read = () =>
    sdk.Snapshot.list().then((found) => {
      setAll(found);
      setError(undefined);
    });
  useEffect(() => {
    read().catch(setError);
  }, [changes.value]);
  const remove = async (id: string) => {
    if (!confirm(`Delete ${id}? No machine can start from it any more.`)) return;
    await sdk.Snapshot.delete(id);
    did(`await Snapshot.delete(${literal(id)});`);
    await read();
  };
  return (
    <section class="room" aria-label="Snapshots">
      <RoomHead title="Snapshots">
        The files of a machine as they were. A snapshot outlives its machine, and any number of machines can start from
        it.
      </RoomHead>
      {error !== undefined && <Problem error={error} retry={() => read().catch(setError)} />}
      {all === undefined && error === undefined && <Loading>Reading snapshots …</Loading>}
      {all?.length === 0 && (
        <Empty>
          <h3>No snapshot yet</h3>
          <p>Open a machine and press Snapshot.</p>
        </Empty>
      )}
      {all !== undefined && all.length > 0 && (
        <table class="things">
          <thead>
            <tr>
              <th scope="col">Snapshot</th>
              <th scope="col">Made</th>
              <th scope="col">Size</th>
              <th scope="col">From</th>
              <th scope="col">
                <span class="unseen">Actions</span>
              </th>
            </tr>
          </thead>
          <tbody>
            {all.map((snapshot) => (
              <tr key={snapshot.id}>
                <td class="mono" data-label="Snapshot">
                  {snapshot.id}
                </td>
                <td data-label="Made">{dateAndTime(snapshot.createdAt)}</td>
                <td data-label="Size">{bytes(snapshot.sizeBytes)}</td>
                <td class="mono" data-label="From">
                  <a href={linkTo(snapshot.machineId)}>{snapshot.machineId}</a>
                </td>
                <td class="row">
                  <a class="button" href={`#/create?snapshot=${snapshot.id}`}>
                    Start a machine<span class="unseen"> from {snapshot.id}</span>
                  </a>
                  <Action kind="danger" run={() => remove(snapshot.id)} failed={setError}>
                    Delete<span class="unseen"> {snapshot.id}</span>
                  </Action>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </section>
  );
}
