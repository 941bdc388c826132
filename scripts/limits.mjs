// Writes the table of docs/limits.md from crates/wire/src/limits.rs, which both sides check: `node scripts/limits.mjs`.

import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { inRoot } from './lib/project.mjs';

const CONSTANT = /((?:^\/\/\/ .*\n)+)^pub const (\w+): (\w+) = (.*);$/gm;

/** A number as people write it. The source has Rust's: `131_072`, `1 << 20`, `365 * 24 * 3600 * 1000`. */
function number(expression) {
  const [factors, shift = '0'] = expression.replaceAll('_', '').split('<<');
  const value = factors.split('*').reduce((product, factor) => product * Number(factor), 1) * 2 ** Number(shift);
  if (!Number.isInteger(value)) throw new Error(`not a number: ${expression}`);
  return value.toLocaleString('en');
}

/** The page with its table made anew. */
export function limitsPage(page, source) {
  const rows = [...source.matchAll(CONSTANT)].map(([, comment, , , value]) => {
    const what = comment
      .replaceAll(/^\/\/\/ /gm, '')
      .trim()
      .replaceAll('\n', ' ');
    const [words] = what.split(' Source: ');
    const range = value.match(/^Range::new\((.*), (.*)\)$/);
    return `| ${words.replace(/\.$/, '')} | ${range ? `${number(range[1])} to ${number(range[2])}` : number(value)} |`;
  });
  const table = ['', '| what | value or range |', '|---|---|', ...rows, '', ''].join('\n');
  return page.replace(/(<!-- limits: .* -->\n)[\s\S]*(<!-- \/limits -->)/, `$1${table}$2`);
}

export const limitsFile = inRoot('docs', 'limits.md');
export const limitsSource = () => readFileSync(inRoot('crates', 'wire', 'src', 'limits.rs'), 'utf8');

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  writeFileSync(limitsFile, limitsPage(readFileSync(limitsFile, 'utf8'), limitsSource()));
}
