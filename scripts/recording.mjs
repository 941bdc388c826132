// Makes the picture of README.md: runs commands of the command line against an engine of its own and writes what they print as an SVG
// that plays it: `node scripts/recording.mjs`, after `npm run pack` and with an engine that is built.

import { execFile } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { endAll, temporaryDirectory } from './lib/cleanup.mjs';
import { startEngine } from './lib/engine.mjs';
import { engineBinary, inRoot } from './lib/project.mjs';

const run = promisify(execFile);
export const PICTURE = inRoot('docs', 'pictures', 'first-look.svg');

/** What is typed. `ID` and `FORK` are what the first create and the fork printed. */
export const LINES = [
  'nullspace machine create --template code-interpreter --egress deny_all',
  'nullspace exec ID uname -sn',
  "nullspace code ID 'squares = [n * n for n in range(10)]; sum(squares)'",
  'nullspace machine fork ID',
  'nullspace ls',
  'nullspace rm ID FORK',
];

const WIDTH = 860;
const LINE = 20;
const TOP = 52;
/** How long a line is typed, and shown before the next. Seconds. */
const [TYPING, PAUSE, HOLD] = [0.9, 0.5, 4];

const escaped = (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');

/** Runs the lines; resolves with what is typed and printed. */
async function play(engine) {
  const home = temporaryDirectory('home');
  const env = { PATH: process.env.PATH, HOME: home, NULLSPACE_API_URL: engine.url, NULLSPACE_API_KEY: engine.apiKey };
  const names = {};
  const scenes = [];
  for (const line of LINES) {
    const typed = line.replaceAll(/\b(ID|FORK)\b/g, (name) => names[name]);
    const script = typed.replace(/^nullspace/, `${process.execPath} ${inRoot('pkg', 'cli.mjs')}`);
    const { stdout } = await run('sh', ['-c', script], { env });
    const made = stdout.trim();
    if (/machine (create|fork)/.test(line)) names[names.ID ? 'FORK' : 'ID'] = made;
    scenes.push({ typed, printed: made.split('\n') });
  }
  return scenes;
}

/** An SVG in which the scenes appear one after the other, and again from the beginning. */
export function drawn(scenes) {
  const rows = [];
  let [at, y] = [0.4, TOP];
  for (const { typed, printed } of scenes) {
    rows.push({ y, at, text: typed, isTyped: true });
    y += LINE;
    at += TYPING;
    for (const text of printed) {
      rows.push({ y, at, text });
      y += LINE;
    }
    y += LINE / 2;
    at += PAUSE;
  }
  const length = at + HOLD;
  const share = (time) => ((time / length) * 100).toFixed(2);
  const frames = rows
    .map(({ at: begin }, index) => {
      const [before, after] = [share(begin), share(begin + 0.05)];
      return `@keyframes r${index} { 0%, ${before}% { opacity: 0 } ${after}%, 100% { opacity: 1 } }\n.r${index} { animation: r${index} ${length.toFixed(1)}s infinite }`;
    })
    .join('\n');
  const texts = rows
    .map(({ y: line, text, isTyped }, index) => {
      const body = isTyped ? `<tspan class="prompt">$ </tspan>${escaped(text)}` : escaped(text);
      const classes = `${isTyped ? 'typed' : 'printed'} r${index}`;
      return `<text x="20" y="${line}" class="${classes}" xml:space="preserve">${body}</text>`;
    })
    .join('\n');
  const height = y + LINE / 2;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-label="A terminal in which a machine is made, used, forked and removed">
<style>
text { font: 14px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; fill: #e6e8eb }
.prompt { fill: #8ab4f8 }
.printed { fill: #a2abb6 }
@media (prefers-reduced-motion: no-preference) {
${frames}
}
</style>
<rect width="100%" height="100%" rx="10" fill="#14161a"/>
<g fill="#4a525d"><circle cx="22" cy="20" r="6"/><circle cx="42" cy="20" r="6"/><circle cx="62" cy="20" r="6"/></g>
${texts}
</svg>
`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const engine = await startEngine({ binary: engineBinary });
  try {
    mkdirSync(path.dirname(PICTURE), { recursive: true });
    writeFileSync(PICTURE, drawn(await play(engine)));
  } finally {
    await engine.stop();
    await endAll();
  }
}
