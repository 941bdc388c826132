// Every command of the command line with its flags, from cli/table.mjs.

import { rmSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

import { devDir, inRoot } from '../lib/project.mjs';
import { code, table } from './markdown.mjs';

/** The table. It imports the package, which need not be built to know names and flags. */
async function readTable() {
  const { build } = await import('esbuild');
  const outfile = path.join(devDir, 'commands', `table-${process.pid}.mjs`);
  const withoutPackage = {
    name: 'without-package',
    setup(bundler) {
      bundler.onResolve({ filter: /^nullspace(\/|$)/ }, ({ path: name }) => ({ path: name, namespace: 'absent' }));
      bundler.onLoad({ filter: /.*/, namespace: 'absent' }, () => ({
        contents: 'module.exports = new Proxy({}, { get: () => class {} });',
        loader: 'js',
      }));
    },
  };
  await build({
    entryPoints: [inRoot('cli', 'table.mjs')],
    outfile,
    bundle: true,
    // As if it stood in the package, whose version it reads.
    define: { 'import.meta.url': JSON.stringify(pathToFileURL(inRoot('pkg-template', 'cli.mjs')).href) },
    platform: 'node',
    format: 'esm',
    banner: { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" },
    plugins: [withoutPackage],
    logLevel: 'error',
  });
  try {
    return await import(pathToFileURL(outfile).href);
  } finally {
    rmSync(outfile, { force: true });
  }
}

/** A section for each group, with a line a command and a table of flags. */
export async function commands() {
  const { GROUPS, TABLE } = await readTable();
  const groups = new Map();
  for (const row of TABLE) {
    const [first, second] = row[0].split(' ');
    const group = second && GROUPS[first] ? first : '';
    groups.set(group, [...(groups.get(group) ?? []), row]);
  }
  return [...groups]
    .sort(([left], [right]) => (left === '' ? 1 : right === '' ? -1 : 0))
    .map(([group, rows]) => {
      const flags = rows.flatMap(([name, , { options = [] }]) =>
        options.map(([flag, about]) => ({ name, flag, about })),
      );
      const shared = new Map();
      for (const { name, flag, about } of flags) {
        const key = `${flag}\0${about}`;
        shared.set(key, { flag, about, names: [...(shared.get(key)?.names ?? []), name] });
      }
      const short = (name) => (group ? name.slice(group.length + 1) : name);
      return [
        `### ${group ? `${group}: ${GROUPS[group]}` : 'Other commands'}`,
        '',
        table(
          ['command', 'short form', 'does'],
          rows.map(([name, about, { args = [] }, shortForm]) => [
            code([name, ...args.map(([argument]) => argument)].join(' ')),
            shortForm ? code(shortForm) : '',
            about,
          ]),
        ),
        ...(shared.size > 0
          ? [
              '',
              table(
                ['flag', 'of', 'means'],
                [...shared.values()].map(({ flag, about, names }) => [
                  code(flag),
                  names.map((name) => code(short(name))).join(', '),
                  about,
                ]),
              ),
            ]
          : []),
      ].join('\n');
    })
    .join('\n\n');
}
