import { sdk } from './client';
import { did, literal } from './code';
import { Action, bytes, dateAndTime, RoomHead } from './parts';
import { linkTo } from './route';
import { Listed, ThingsTable, useThings } from './things';

/** What was kept of machines. */
export function Snapshots() {
  const things = useThings(() => sdk.Snapshot.list());
  const remove = async (id: string) => {
    if (!confirm(`Delete ${id}? No machine can start from it any more.`)) return;
    await sdk.Snapshot.delete(id);
    did(`await Snapshot.delete(${literal(id)});`);
    await things.read();
  };
  return (
    <section class="room" aria-label="Snapshots">
      <RoomHead title="Snapshots">
        The files of a machine as they were. A snapshot outlives its machine, and any number of machines can start from
        it.
      </RoomHead>
      <Listed
        things={things}
        what="snapshots"
        empty={
          <>
            <h3>No snapshot yet</h3>
            <p>Open a machine and press Snapshot.</p>
          </>
        }
      >
        {(all) => (
          <ThingsTable columns={['Snapshot', 'Made', 'Size', 'From']}>
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
                  <Action kind="danger" run={() => remove(snapshot.id)} failed={things.setError}>
                    Delete<span class="unseen"> {snapshot.id}</span>
                  </Action>
                </td>
              </tr>
            ))}
          </ThingsTable>
        )}
      </Listed>
    </section>
  );
}
