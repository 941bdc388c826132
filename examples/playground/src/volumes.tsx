import type { VolumeInfo } from 'nullspace';
import { useState } from 'preact/hooks';

import { sdk } from './client';
import { did, literal, made } from './code';
import { Action, bytes, dateAndTime, Field, message, optionError, RoomHead } from './parts';
import { Listed, ThingsTable, useThings } from './things';

/** Directories that outlive machines. */
export function Volumes() {
  const things = useThings(() => sdk.Volume.list());
  const [name, setName] = useState('');
  const [wrong, setWrong] = useState('');
  const create = async () => {
    setWrong('');
    if (!name.trim()) return setWrong('Give it a name, such as models.');
    const made_ = await sdk.Volume.create(name.trim());
    made('volume', `await Volume.create(${literal(name.trim())})`, made_.id);
    setName('');
    await things.read();
  };
  const remove = async ({ id, name: called }: VolumeInfo) => {
    if (!confirm(`Delete ${called} and all files in it?`)) return;
    const volume = await sdk.Volume.get(id);
    await volume.delete();
    did(`await (await Volume.get(${literal(id)})).delete();`);
    await things.read();
  };
  return (
    <section class="room" aria-label="Volumes">
      <RoomHead title="Volumes">
        Directories that outlive machines. Mount one when you make a machine; several machines can use it at the same
        time.
      </RoomHead>
      <form
        class="row add"
        onSubmit={(event) => {
          event.preventDefault();
        }}
      >
        <Field label="Name of a new volume" error={wrong}>
          {(ids) => (
            <input {...ids} value={name} placeholder="models" onInput={(e) => setName(e.currentTarget.value)} />
          )}
        </Field>
        <Action
          kind="primary"
          run={create}
          failed={(failure) => setWrong(optionError(failure)?.text ?? message(failure))}
        >
          Make volume
        </Action>
      </form>
      <Listed
        things={things}
        what="volumes"
        empty={
          <>
            <h3>No volume yet</h3>
            <p>A volume keeps data sets, caches and results between machines.</p>
          </>
        }
      >
        {(all) => (
          <ThingsTable columns={['Volume', 'Made', 'Holds', 'Mounts']}>
            {all.map((volume) => (
              <tr key={volume.id}>
                <td data-label="Volume">
                  <strong>{volume.name}</strong> <span class="mono faint">{volume.id}</span>
                </td>
                <td data-label="Made">{dateAndTime(volume.createdAt)}</td>
                <td data-label="Holds">
                  {volume.inodeCount} files, {bytes(volume.usedBytes)}
                </td>
                <td data-label="Mounts">{volume.mountCount}</td>
                <td class="row">
                  <a class="button" href={`#/create?volume=${encodeURIComponent(volume.name)}`}>
                    Use<span class="unseen"> {volume.name}</span> in a machine
                  </a>
                  <Action kind="danger" run={() => remove(volume)} failed={things.setError}>
                    Delete<span class="unseen"> {volume.name}</span>
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
