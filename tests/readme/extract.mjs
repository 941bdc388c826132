// Writes every TypeScript and JavaScript block of README.md into a file of its own: `node extract.mjs DIRECTORY`.
//
// A comment right before a block may hold what the reader is spared: `<!-- before: CODE -->` and `<!-- after: CODE -->`
// run around it, in the same file. No block can be left out.

import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const readme = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..', 'README.md');
const BLOCK = /((?:<!-- (?:before|after):[\s\S]*?-->\n)*)```(ts|js|typescript|javascript)\n([\s\S]*?)```/g;

/** The blocks in order, each named after its heading. */
export function blocks(text) {
  return [...text.matchAll(BLOCK)].map(({ 0: whole, 1: comments, 3: code, index }, i) => {
    const heading = [...text.slice(0, index).matchAll(/^#+ (.*)$/gm)].at(-1)?.[1] ?? 'top';
    const hidden = (kind) =>
      [...comments.matchAll(new RegExp(`<!-- ${kind}:([\\s\\S]*?)-->`, 'g'))].map((m) => m[1].trim());
    // Imports go to the top by themselves; `export` keeps the file a module.
    const source = [...hidden('before'), code.trim(), ...hidden('after'), 'export {};'].join('\n');
    const slug = heading
      .toLowerCase()
      .replace(/[^a-z0-9]+/g, '-')
      .replace(/^-|-$/g, '');
    return {
      name: `${String(i + 1).padStart(2, '0')}-${slug}`,
      source,
      line: text.slice(0, index + whole.indexOf('```')).split('\n').length,
    };
  });
}

const [directory] = process.argv.slice(2);
if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const found = blocks(readFileSync(readme, 'utf8'));
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
  for (const { name, source } of found) writeFileSync(path.join(directory, `${name}.ts`), `${source}\n`);
  console.log(`${found.length} blocks`);
}
