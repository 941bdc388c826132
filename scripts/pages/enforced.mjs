// Which limits were seen to hold, in which way of starting an engine. `npm run limits` sees it, and keeps it in scripts/limits/results.json.

import { readFileSync } from 'node:fs';

import { inRoot } from '../lib/project.mjs';
import { table } from './markdown.mjs';

export const RESULTS = inRoot('scripts', 'limits', 'results.json');

/** Ways to start an engine, with the version of control groups of the computer where it matters. */
export const COLUMNS = [
  'root, version 1',
  'root, version 2',
  'ordinary user',
  'container, version 1',
  'container, version 2',
];

export function enforced() {
  const results = JSON.parse(readFileSync(RESULTS, 'utf8'));
  const names = [...new Set(Object.values(results).flatMap(({ cells }) => Object.keys(cells)))];
  const cell = (way, name) => {
    const found = results[way]?.cells[name];
    return found ? `**${found.state}**: ${found.text}` : 'not run';
  };
  const rows = names.map((name) => [name, ...COLUMNS.map((way) => cell(way, name))]);
  const on = COLUMNS.map((way) => results[way]?.on ?? 'not run');
  return table(['', ...COLUMNS], [...rows, ['seen on', ...on]]);
}
