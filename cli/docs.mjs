// `nullspace docs`: the package in short, for coding agents.

import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';

import { show, written } from './output.mjs';

const text = () => readFile(new URL('./llms.txt', import.meta.url), 'utf8');

export const docs = {
  async run() {
    await written(process.stdout, await text());
  },
};

/** What says when the text is worth reading. */
const HEADER = `---
name: nullspace
description: Use the nullspace SDK to run commands, code and servers in isolated Linux machines from JavaScript or TypeScript.
---

`;

export const install = {
  options: [['--directory <path>', 'where skills are (default: .claude/skills)']],
  async run({ directory = path.join('.claude', 'skills') }) {
    const file = path.resolve(directory, 'nullspace', 'SKILL.md');
    await mkdir(path.dirname(file), { recursive: true });
    await writeFile(file, `${HEADER}${await text()}`);
    show({ file }, () => file);
  },
};
