// Spelling (cspell, with the words of words.txt), and the phrases that CONTRIBUTING.md says are not used any more, in what people
// read: `node scripts/words.mjs`. Takes a few seconds.

import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

import { devDir, inRoot, root } from './lib/project.mjs';

/** What people read: guides, comments that editors show, texts of the command line. A star stands for names of one folder. */
const READ = [
  'README.md',
  'SECURITY.md',
  'docs/*.md',
  'pkg-template/*.md',
  'pkg-template/llms.txt',
  'pkg-template/index.d.ts',
  'cli/*.mjs',
  'reference/home.md',
];

/** Their paths below the root. */
export const filesToRead = () =>
  READ.flatMap((pattern) => {
    if (!pattern.includes('*')) return [pattern];
    const folder = path.dirname(pattern);
    return readdirSync(inRoot(folder))
      .filter((name) => name.endsWith(pattern.split('*')[1]))
      .map((name) => path.join(folder, name));
  });

/** The phrases of the table in CONTRIBUTING.md, and what to write instead. */
export function phrases() {
  const [, table] = readFileSync(inRoot('CONTRIBUTING.md'), 'utf8').split('### Words that are not used any more');
  const rows = [...table.split('\n## ')[0].matchAll(/^\| (?!not |---)([^|]+) \| ([^|]+) \|$/gm)];
  return rows.flatMap(([, old, better]) => old.split(', ').map((phrase) => ({ phrase, better })));
}

/** Where a text uses one: `file:line: ...`. */
export function used(file, text, list) {
  return list.flatMap(({ phrase, better }) => {
    // A phrase may go over a line, and a comment begins each line anew.
    const words = phrase.split(' ').join('(?:\\s|\\n\\s*\\*)+');
    return [...text.matchAll(new RegExp(`\\b${words}\\b`, 'gi'))].map(({ index }) => {
      const line = text.slice(0, index).split('\n').length;
      return `${file}:${line}: not "${phrase}" but ${better}`;
    });
  });
}

/** What was spelt right and has not changed is not read again. */
const SPELL = [
  ...['--no-progress', '--no-summary', '--unique'],
  ...['--cache', '--cache-strategy', 'content', '--cache-location', path.join(devDir, 'cspell')],
];

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const list = phrases();
  const found = filesToRead().flatMap((file) => used(file, readFileSync(inRoot(file), 'utf8'), list));
  for (const line of found) console.error(line);
  const spelling = spawnSync(inRoot('node_modules', '.bin', 'cspell'), SPELL, {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  if (spelling.status !== 0)
    console.error('A word that is right belongs into words.txt, in its place of the alphabet.');
  if (spelling.status !== 0 || found.length > 0) process.exitCode = 1;
}
