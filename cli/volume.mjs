// `nullspace volume ...`

import { Machine, Volume } from 'nullspace';

import { print, remote } from './copy.mjs';
import { interruption, misuse } from './ending.mjs';
import { flag } from './options.mjs';
import { VolumeMountOptions } from './options.json';
import { fields, isJson, localTime, show, showAll, showId, shown, size } from './output.mjs';
import { given, number } from './values.mjs';

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

const VOLUMES = [
  ['ID', ({ id }) => id],
  ['NAME', ({ name }) => name],
  ['STATUS', ({ status }) => status],
  ['CREATED', ({ createdAt }) => localTime(createdAt)],
  ['SIZE', ({ usedBytes }) => size(usedBytes)],
  ['MOUNTS', ({ mountCount }) => mountCount],
];
const FILES = [
  ['MODE', ({ type, permissions }) => `${{ dir: 'd', symlink: 'l' }[type] ?? '-'}${permissions ?? ''}`],
  ['OWNER', ({ owner }) => owner],
  ['SIZE', (info) => (info.isDir ? '' : info.size)],
  ['CHANGED', ({ modifiedTime }) => localTime(modifiedTime)],
  ['PATH', ({ path, symlinkTarget }) => (symlinkTarget === undefined ? path : `${path} -> ${symlinkTarget}`)],
];

/** A volume and a path in it, of `vol_...:/path`. */
const placed = async (text, wanted = 'ID:PATH, such as vol_1:/a.txt') => {
  const [id, path] = remote(text) ?? [];
  if (!id?.startsWith('vol_') || path === '') throw misuse(`${text} is no file of a volume: give ${wanted}`);
  return { files: (await Volume.get(id)).files, path };
};

export const list = {
  args: [['[place]', 'a volume, or a directory of one as ID:PATH: its files instead of all volumes']],
  options: [
    ['--depth <n>', 'levels of directories below', number],
    ['-q, --quiet', 'ids, or paths, alone'],
  ],
  async run(place, { depth, quiet }) {
    if (place === undefined) {
      showAll(await Volume.list(), VOLUMES, quiet);
      return;
    }
    const { files, path } = await placed(
      /^[^:]*:?$/.test(place) ? `${place.replace(':', '')}:/` : place,
      'ID or ID:PATH',
    );
    const found = await files.list(path, given({ depth }));
    if (quiet && !isJson()) for (const info of found) console.log(shown(info.path));
    else showAll(found, FILES);
  },
};

export const cat = {
  args: [['<file...>', 'files as ID:PATH']],
  async run(places) {
    const { signal } = interruption();
    for (const place of places) {
      const { files, path } = await placed(place);
      await print(files, path, signal);
    }
  },
};

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
  args: [['<volume...>', 'ids of volumes, or files and directories of them as ID:PATH']],
  async run(places) {
    for (const place of places) {
      if (!place.includes(':')) await (await Volume.get(place)).delete();
      else {
        const { files, path } = await placed(place);
        await files.remove(path);
      }
    }
    show({ deleted: places }, () => places.map(shown).join('\n'));
  },
};

export const attach = {
  args: [ID, ['<machine>', 'id of the machine'], ['<path>', 'where it is mounted']],
  options: [flag(VolumeMountOptions, '--read-only'), flag(VolumeMountOptions, '--subpath <path>')],
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
