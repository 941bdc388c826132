// `npm run size`: what the package weighs and what is shipped of it, per runtime. Fails above a budget. Needs pkg/ (npm run build).
// `npm run size -- --write` puts the table into docs/runtimes.md.

import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';

import { build } from 'esbuild';

const here = path.dirname(fileURLToPath(import.meta.url));
const pkg = path.resolve(here, '..', process.env.NULLSPACE_PKG || 'pkg');
const page = path.join(here, '..', 'docs', 'runtimes.md');

/**
 * What is reached and 1 % more, in bytes; raised only with a reason in the commit.
 *
 * The first page imports `Machine` alone and is bundled with code splitting: it has the module, the glue, the classes, and what creates
 * and lists machines and runs commands. Bundlers leave out templates and clients, since nothing imports them. Sockets, bytes of commands,
 * uploads, the code interpreter, SSH keys, names, builds and the decoders of other answers are parts, each of which the first call loads
 * that needs it (lib/parts.js). The whole surface is all of that in one file. 169 KB of either are the module, as deflated text: gzip takes
 * off the quarter that base64 adds, and brotli no more than that. A server that sends the module as a file, with brotli, sends the third number.
 */
const BUDGETS = {
  whole: { gzip: 223_100 },
  first: { gzip: 191_500 },
  module: { brotli: 142_700 },
};

const gzip = (bytes) => gzipSync(bytes, { level: 9 }).length;
const brotli = (bytes) => brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } }).length;
const ZERO = { raw: 0, gzip: 0, brotli: 0 };
const sizeOf = (bytes) => ({ raw: bytes.length, gzip: gzip(bytes), brotli: brotli(bytes) });
/** Files are compressed one by one. */
const sum = (sizes) =>
  sizes.reduce((a, b) => ({ raw: a.raw + b.raw, gzip: a.gzip + b.gzip, brotli: a.brotli + b.brotli }), ZERO);

/** Leaves the module out of the JavaScript. */
const withoutModule = {
  name: 'without-module',
  setup({ onLoad }) {
    onLoad({ filter: /inline-data\.js$/ }, () => ({ contents: "export const size = 0;\nexport default '';" }));
  },
};

/** What a bundler makes of an entry: sizes of what is loaded at first, and of what may be loaded later. */
const bundled = async (entry, { what = '*', ...options } = {}) => {
  const { outputFiles, metafile } = await build({
    stdin: { contents: `export ${what} from ${JSON.stringify(path.join(pkg, entry))};`, resolveDir: pkg },
    bundle: true,
    minify: true,
    write: false,
    metafile: true,
    format: 'esm',
    outdir: pkg,
    absWorkingDir: pkg,
    external: ['*.wasm', '*.wasm?module'],
    logLevel: 'error',
    platform: 'browser',
    ...options,
  });
  const contents = new Map(outputFiles.map((file) => [path.relative(pkg, file.path), file.contents]));
  const main = Object.keys(metafile.outputs).find((name) => metafile.outputs[name].entryPoint === '<stdin>');
  const first = new Set();
  const load = (name) => {
    if (first.has(name) || !contents.has(name)) return;
    first.add(name);
    for (const { kind, path: next } of metafile.outputs[name].imports) if (kind === 'import-statement') load(next);
  };
  load(main);
  const sizes = (isFirst) =>
    sum([...contents].filter(([name]) => first.has(name) === isFirst).map(([, bytes]) => sizeOf(bytes)));
  return { first: sizes(true), later: sizes(false) };
};

/** The same with the JavaScript that is beside the module. */
const both = async (entry, options) => {
  const all = await bundled(entry, options);
  const { first } = await bundled(entry, { ...options, plugins: [withoutModule] });
  return { ...all, script: first };
};

/** Files as they are, for a page that has no bundler. */
const unbundled = async (entry) => {
  const { metafile } = await build({
    entryPoints: [path.join(pkg, entry)],
    bundle: true,
    write: false,
    metafile: true,
    format: 'esm',
    outdir: pkg,
    absWorkingDir: pkg,
    logLevel: 'error',
  });
  const first = new Set();
  const load = (name) => {
    if (first.has(name)) return;
    first.add(name);
    for (const { kind, path: next } of metafile.inputs[name].imports) if (kind === 'import-statement') load(next);
  };
  load(entry);
  const sizes = (names) => sum(names.map((name) => sizeOf(readFileSync(path.join(pkg, name)))));
  const names = Object.keys(metafile.inputs);
  return {
    first: sizes([...first]),
    later: sizes(names.filter((name) => !first.has(name))),
    script: sizes([...first].filter((name) => !name.endsWith('inline-data.js'))),
  };
};

const module = sizeOf(readFileSync(path.join(pkg, 'nullspace.wasm')));
/** A runtime that gets the module as a file. */
const withFile = (script, later = ZERO) => ({ first: sum([script, module]), later, script });

const whole = await both('index.js');
const first = await both('index.js', { what: '{ Machine }', splitting: true });
const worker = await bundled('worker.js', { conditions: ['workerd'] });
const edge = await bundled('edge.js', { conditions: ['edge-light'] });
const rows = [
  ['a page that imports `Machine`, with code splitting', first],
  [
    'a page that imports `Nullspace`, with code splitting',
    await both('index.js', { what: '{ Nullspace }', splitting: true }),
  ],
  ['a page that imports everything, one file', whole],
  ['a page without a bundler', await unbundled('index.js')],
  ['Cloudflare Workers', withFile(worker.first)],
  ['Vercel and Next.js edge', withFile(edge.first)],
  [
    'Node, Deno, Bun: `node.cjs` and the module, from the disk',
    withFile(sizeOf(readFileSync(path.join(pkg, 'node.cjs')))),
  ],
];

const kb = (bytes) => (bytes / 1000).toFixed(bytes < 10_000 ? 1 : 0);
const table = [
  '| runtime | loaded at first, gzip | of it JavaScript | with brotli | later, by the call that needs it |',
  '|---|---|---|---|---|',
  ...rows.map(
    ([name, { first, later, script }]) =>
      `| ${name} | ${kb(first.gzip)} KB | ${kb(script.gzip)} KB | ${kb(first.brotli)} KB | ${later.gzip === 0 ? '-' : `${kb(later.gzip)} KB`} |`,
  ),
].join('\n');
console.log(table);
console.log(`\nthe module: ${module.raw} bytes, ${module.gzip} with gzip, ${module.brotli} with brotli`);

if (process.argv.includes('--write')) {
  const text = readFileSync(page, 'utf8');
  const place = /(<!-- size: .* -->\n)[\s\S]*(<!-- \/size -->)/;
  if (!place.test(text)) throw new Error('docs/runtimes.md has no place for the table of sizes');
  writeFileSync(
    page,
    text.replace(place, (_, begin, end) => `${begin}\n${table}\n\n${end}`),
  );
}

const reached = { whole: whole.first, first: first.first, module };
for (const [name, budget] of Object.entries(BUDGETS))
  for (const [kind, most] of Object.entries(budget)) {
    const bytes = reached[name][kind];
    console.log(`${name}: ${bytes} bytes of ${kind}, ${most} are allowed`);
    if (bytes > most) {
      console.error(`${name} is over its budget by ${bytes - most} bytes`);
      process.exitCode = 1;
    }
  }
