// Writes every TypeScript and JavaScript block of README.md, docs/ and the package's texts into a file of its own:
//
//   node extract.mjs DIRECTORY           JavaScript as it stands, to run; TypeScript to be compiled
//   node extract.mjs DIRECTORY --types   all as TypeScript, to be checked
//
// A comment right before a TypeScript block may hold what the reader is spared: `<!-- before: CODE -->` and
// `<!-- after: CODE -->` run around it, in the same file. JavaScript is copied as it stands. No block can be left out
// but those of other packages, which say so: ```ts e2b.

import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..');
const BLOCK = /((?:<!-- (?:before|after):[\s\S]*?-->\n)*)```(ts|js|typescript|javascript)\n([\s\S]*?)```/g;

/** The texts with blocks, by their paths below the root. */
export const documents = () =>
  [
    'README.md',
    'pkg-template/README.md',
    'pkg-template/llms.txt',
    ...readdirSync(path.join(root, 'docs')).map((name) => `docs/${name}`),
  ]
    .filter((file) => /\.(md|txt)$/.test(file))
    .map((file) => ({ file, text: readFileSync(path.join(root, file), 'utf8') }));

const slug = (text) =>
  text
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-|-$/g, '');

/** The blocks of a text in order, each named after its file and heading. */
export function blocks({ file, text }) {
  return [...text.matchAll(BLOCK)].map(({ 0: whole, 1: comments, 2: language, 3: code, index }, i) => {
    const heading = [...text.slice(0, index).matchAll(/^#+ (.*)$/gm)].at(-1)?.[1] ?? 'top';
    const hidden = (kind) =>
      [...comments.matchAll(new RegExp(`<!-- ${kind}:([\\s\\S]*?)-->`, 'g'))].map((m) => m[1].trim());
    const isScript = language.startsWith('j');
    // Imports go to the top by themselves; `export` keeps the file a module.
    const typed = [...hidden('before'), code.trim(), ...hidden('after'), 'export {};'].join('\n');
    return {
      name: `${slug(file.replace(/\.\w+$/, ''))}-${i + 1}-${slug(heading)}`,
      source: isScript ? code : typed,
      extension: isScript ? 'mjs' : 'ts',
      typed,
      hides: comments !== '',
      line: text.slice(0, index + whole.indexOf('```')).split('\n').length,
    };
  });
}

const [directory, mode] = process.argv.slice(2);
if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const found = documents().flatMap(blocks);
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
  for (const { name, source, extension, typed } of found) {
    const [content, suffix] = mode === '--types' ? [typed, 'ts'] : [source, extension];
    writeFileSync(path.join(directory, `${name}.${suffix}`), `${content}\n`);
  }
  console.log(`${found.length} blocks`);
}
