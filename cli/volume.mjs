// `nullspace volume ...`

import { Machine, Volume } from 'nullspace';

import { fields, listing, localTime, show, showId, size } from './output.mjs';
import { given } from './values.mjs';

const ID = ['<volume>', 'id of the volume'];

const attachment = (one) =>
  fields({
    id: one.id,
    volume: one.volumeId,
    machine: one.machineId,
    path: one.mountPath,
    subpath: one.subpath,
    mode: one.readOnly ? 'read only' : 'read and write',
    state: one.state,
    error: one.lastErrorMessage,
  });

export const create = {
  args: [['<name>', 'name of the volume']],
  run: async (name) => showId(await Volume.create(name)),
};

export const list = listing(
  [
    ['ID', ({ id }) => id],
    ['NAME', ({ name }) => name],
    ['STATUS', ({ status }) => status],
    ['CREATED', ({ createdAt }) => localTime(createdAt)],
    ['SIZE', ({ usedBytes }) => size(usedBytes)],
    ['MOUNTS', ({ mountCount }) => mountCount],
  ],
  () => Volume.list(),
);

export const get = {
  args: [ID],
  run: async (id) =>
    show(await (await Volume.get(id)).getInfo(), (info) =>
      fields({
        id: info.id,
        name: info.name,
        status: info.status,
        created: info.createdAt,
        size: size(info.usedBytes),
        files: info.inodeCount,
        mounts: info.mountCount,
      }),
    ),
};

export const remove = {
  args: [['<volume...>', 'ids of volumes']],
  async run(ids) {
    for (const id of ids) await (await Volume.get(id)).delete();
    show({ deleted: ids }, () => ids.join('\n'));
  },
};

export const attach = {
  args: [ID, ['<machine>', 'id of the machine'], ['<path>', 'where it is mounted']],
  options: [
    ['--read-only', 'refuse writes'],
    ['--subpath <path>', 'a directory of the volume instead of its root'],
  ],
  async run(id, machine, mountPath, { readOnly, subpath }) {
    const [volume, found] = [await Volume.get(id), await Machine.connect(machine)];
    show(await found.volumes.attach(volume, given({ mountPath, readOnly, subpath })), attachment);
  },
};

export const detach = {
  args: [
    ['<machine>', 'id of the machine'],
    ['<attachment>', 'id that `attach` printed, or the path of the mount'],
  ],
  async run(id, which) {
    const found = await Machine.connect(id);
    const at = which.startsWith('/')
      ? (await found.volumes.list()).find(({ mountPath, state }) => mountPath === which && state !== 'released')
      : undefined;
    show(await found.volumes.detach(at?.id ?? which), attachment);
  },
};
