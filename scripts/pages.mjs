// Writes the parts of docs/ that say again what the source says: `node scripts/pages.mjs`. A part stands in its page between
// `<!-- NAME: ... -->` and `<!-- /NAME -->`; a test compares each with what its maker gives.

import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { inRoot } from './lib/project.mjs';
import { commands } from './pages/commands.mjs';
import { enforced } from './pages/enforced.mjs';
import { classes, engineCodes, uploadReasons } from './pages/errors.mjs';
import { limits } from './pages/limits.mjs';
import { options } from './pages/options.mjs';

/** The parts by their pages: each gives Markdown. */
export const PARTS = {
  'command-line.md': { commands },
  'errors.md': { classes, 'engine-codes': engineCodes, 'upload-reasons': uploadReasons },
  'limits.md': { limits },
  'local-engine.md': { enforced },
  'options.md': { options },
};

export const pageFile = (page) => inRoot('docs', page);

/** The page with its parts made anew. */
export async function renewed(page) {
  let text = readFileSync(pageFile(page), 'utf8');
  for (const [name, make] of Object.entries(PARTS[page])) {
    const place = new RegExp(`(<!-- ${name}: .* -->\n)[\\s\\S]*(<!-- /${name} -->)`);
    if (!place.test(text)) throw new Error(`docs/${page} has no place for ${name}`);
    const made = await make();
    text = text.replace(place, (_, begin, end) => `${begin}\n${made.trim()}\n\n${end}`);
  }
  return text;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const page of Object.keys(PARTS)) writeFileSync(pageFile(page), await renewed(page));
}
