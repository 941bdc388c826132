import type { VolumeInfo } from 'nullspace';
import { useEffect, useState } from 'preact/hooks';

import { changes, sdk } from './client';
import { did, literal, made } from './code';
import { Action, bytes, dateAndTime, Empty, Field, Loading, message, optionError, Problem, RoomHead } from './parts';

/** Directories that outlive machines. */
export function Volumes() {
  const [all, setAll] = useState<readonly VolumeInfo[]>();
  const [name, setName] = useState('');
  const [wrong, setWrong] = useState('');
  const [error, setError] = useState<unknown>();
  const read = () =>
    sdk.Volume.list().then((found) => {
      setAll(found);
      setError(undefined);
    });
  useEffect(() => {
    read().catch(setError);
  }, [changes.value]);
  const create = async () => {
    setWrong('');
    if (!name.trim()) return setWrong('Give it a name, such as models.');
    const made_ = await sdk.Volume.create(name.trim());
    made('volume', `await Volume.create(${literal(name.trim())})`, made_.id);
    setName('');
    await read();
  };
  const remove = async ({ id, name: called }: VolumeInfo) => {
    if (!confirm(`Delete ${called} and all files in it?`)) return;
    const volume = await sdk.Volume.get(id);
    await volume.delete();
    did(`await (await Volume.get(${literal(id)})).delete();`);
    await read();
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
      {error !== undefined && <Problem error={error} retry={() => read().catch(setError)} />}
      {all === undefined && error === undefined && <Loading>Reading volumes …</Loading>}
      {all?.length === 0 && (
        <Empty>
          <h3>No volume yet</h3>
          <p>A volume keeps data sets, caches and results between machines.</p>
        </Empty>
      )}
      {all !== undefined && all.length > 0 && (
        <table class="things">
          <thead>
            <tr>
              <th scope="col">Volume</th>
              <th scope="col">Made</th>
              <th scope="col">Holds</th>
              <th scope="col">Mounts</th>
              <th scope="col">
                <span class="unseen">Actions</span>
              </th>
            </tr>
          </thead>
          <tbody>
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
                  <Action kind="danger" run={() => remove(volume)} failed={setError}>
                    Delete<span class="unseen"> {volume.name}</span>
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
