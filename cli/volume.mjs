// `nullspace volume ...`

import { Machine, Volume } from 'nullspace';

import { print, remote } from './copy.mjs';
import { interruption, misuse } from './ending.mjs';
import { flag } from './options.mjs';
import { VolumeMountOptions } from './options.json';
import { isJson, localTime, show, showAll, shown } from './output.mjs';
import { given, number } from './values.mjs';
import { VIEWS } from './views.mjs';

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
      showAll(await Volume.list(), VIEWS.VolumeList, quiet);
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
  args: [
    ['<volume>', 'id of the volume'],
    ['<machine>', 'id of the machine'],
    ['<path>', 'where it is mounted'],
  ],
  options: [flag(VolumeMountOptions, '--read-only'), flag(VolumeMountOptions, '--subpath <path>')],
  async run(id, machine, mountPath, { readOnly, subpath }) {
    const [volume, found] = [await Volume.get(id), await Machine.connect(machine)];
    show(await found.volumes.attach(volume, given({ mountPath, readOnly, subpath })), VIEWS.VolumeAttachment);
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
    show(await found.volumes.detach(at?.id ?? which), VIEWS.VolumeAttachment);
  },
};
