// Every limit that both sides check, from crates/wire/src/limits.rs.

import { readFileSync } from 'node:fs';

import { inRoot } from '../lib/project.mjs';
import { rustComment, table } from './markdown.mjs';

const CONSTANT = /((?:^\/\/\/ .*\n)+)^pub const (\w+): (\w+) = (.*);$/gm;

/** A number as people write it. The source has Rust's: `131_072`, `1 << 20`, `365 * 24 * 3600 * 1000`. */
function number(expression) {
  const [factors, shift = '0'] = expression.replaceAll('_', '').split('<<');
  const value = factors.split('*').reduce((product, factor) => product * Number(factor), 1) * 2 ** Number(shift);
  if (!Number.isInteger(value)) throw new Error(`not a number: ${expression}`);
  return value.toLocaleString('en');
}

export const limitsSource = () => readFileSync(inRoot('crates', 'wire', 'src', 'limits.rs'), 'utf8');

export function limits() {
  const rows = [...limitsSource().matchAll(CONSTANT)].map(([, comment, , , value]) => {
    const [words] = rustComment(comment).split(' Source: ');
    const range = value.match(/^Range::new\((.*), (.*)\)$/);
    return [words.replace(/\.$/, ''), range ? `${number(range[1])} to ${number(range[2])}` : number(value)];
  });
  return table(['what', 'value or range'], rows);
}
