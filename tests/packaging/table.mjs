// The table of docs/runtimes.md: what each consumer project shows, and the lines of a run.

import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';

import { browserVersion } from '../../scripts/lib/browser.mjs';

const BEGIN = '<!-- runtimes: made by `npm run test:packaging` -->';
const END = '<!-- /runtimes -->';

const nodeVersion = () => process.versions.node;
const chromiumVersion = () => browserVersion().match(/[\d.]+/)?.[0] ?? 'unknown';
/** The version of a package that the project has installed. */
const installed = (name) => async (folder) =>
  JSON.parse(await readFile(path.join(folder, 'node_modules', name, 'package.json'), 'utf8')).version;

const MACHINE = 'create, command, list, kill';

/** Title, version and what ran, by the name of the folder. */
const SHOWS = {
  'agent-frameworks': [
    'AI SDK, bash-tool, deepagents and OpenAI Agents, on Node 22',
    async (folder) =>
      (
        await Promise.all(['ai', 'bash-tool', 'deepagents', '@openai/agents'].map((name) => installed(name)(folder)))
      ).join(', '),
    'types of the adapters, a conversation of each',
  ],
  bun: ['Bun', installed('bun'), MACHINE],
  csp: [
    'page with a strict Content-Security-Policy',
    chromiumVersion,
    `${MACHINE}; the error without wasm-unsafe-eval`,
  ],
  deno: ['Deno', installed('deno'), MACHINE],
  'edge-runtime': ['Vercel edge-runtime', installed('edge-runtime'), MACHINE],
  esbuild: ['esbuild, for a page and for Node', installed('esbuild'), MACHINE],
  jest: ['Jest', installed('jest'), `${MACHINE}, a refused option`],
  next: ['Next.js: Node route, edge route, client component', installed('next'), MACHINE],
  'node-cjs': ['Node, `require`', nodeVersion, MACHINE],
  'node-esm': ['Node, `import`', nodeVersion, MACHINE],
  parcel: ['Parcel', installed('parcel'), MACHINE],
  plain: ['`<script type="module">`, no bundler', chromiumVersion, MACHINE],
  rollup: ['Rollup', installed('rollup'), MACHINE],
  'testing-bun': ['`nullspace/testing` in `bun test`', installed('bun'), `${MACHINE}, on an engine of the file`],
  'testing-jest': [
    '`nullspace/testing` in Jest',
    installed('jest'),
    `${MACHINE}, on an engine of the run and one of the file`,
  ],
  'testing-node': ['`nullspace/testing` in `node:test`', nodeVersion, `${MACHINE}, on an engine of the file`],
  'testing-vitest': [
    '`nullspace/testing` in Vitest',
    installed('vitest'),
    `${MACHINE}, on an engine of the run and one of the file`,
  ],
  typescript: ['TypeScript, compiled and run by Node', installed('typescript'), MACHINE],
  vite: ['Vite', installed('vite'), MACHINE],
  'vite-7': ['Vite 7', installed('vite'), MACHINE],
  vitest: ['Vitest', installed('vitest'), `${MACHINE}, a refused option`],
  webpack: ['webpack', installed('webpack'), MACHINE],
  workerd: ['workerd, built by wrangler', installed('wrangler'), MACHINE],
  workers: ['module worker and service worker', chromiumVersion, MACHINE],
};

/** The names of the projects that the table knows. */
export const projects = () => Object.keys(SHOWS);

/** Their titles in the table. */
export const titles = () => Object.values(SHOWS).map(([title]) => title);

/** What is known of a project before it is removed: title, version, what ran. */
export async function describe(name, folder) {
  const shows = SHOWS[name];
  if (!shows) throw new Error(`tests/packaging/table.mjs says nothing of ${name}`);
  const [title, version, ran] = shows;
  return { title, version: await version(folder), ran };
}

/** One table, as Markdown. */
export const table = (rows) =>
  [
    '| runtime or bundler | version | what ran against the engine | ships | result |',
    '|---|---|---|---|---|',
    ...rows.map(
      ({ title, version, ran, shipped, result }) =>
        `| ${title} | ${version} | ${ran} | ${shipped || '-'} | ${result} |`,
    ),
  ].join('\n');

/** Puts the table in its place in a file. */
export async function write(file, rows) {
  const text = await readFile(file, 'utf8');
  const [begin, end] = [text.indexOf(BEGIN), text.indexOf(END)];
  if (begin < 0 || end < begin) throw new Error(`${path.basename(file)} has no place for the table (${BEGIN})`);
  await writeFile(file, `${text.slice(0, begin + BEGIN.length)}\n\n${table(rows)}\n\n${text.slice(end)}`);
}
