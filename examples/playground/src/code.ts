// The code of what was just done, as a program that can be copied and run.

import { computed, signal } from '@preact/signals';

const WIDTH = 100;
/** Older steps are left out, and the program says so. */
const STEPS = 40;

const steps = signal<readonly string[]>([]);
const leftOut = signal(0);
const names = new Map<string, string>();
const used = new Map<string, number>();

/** A name that the program does not have yet: `machine`, `machine2`, … */
function fresh(base: string) {
  const count = (used.get(base) ?? 0) + 1;
  used.set(base, count);
  return count === 1 ? base : `${base}${count}`;
}

/** Adds a step. */
export function did(code: string) {
  const all = [...steps.value, code];
  leftOut.value += Math.max(0, all.length - STEPS);
  steps.value = all.slice(-STEPS);
}

/** Adds a step that gives something a name. */
export function made(base: string, code: string, id?: string) {
  const name = fresh(base);
  if (id) names.set(id, name);
  did(`const ${name} = ${code};`);
  return name;
}

/** The name of a machine in the program; one that the program did not make is connected first. */
export const nameOf = (id: string) => names.get(id) ?? made('machine', `await Machine.connect(${literal(id)})`, id);

export function clear() {
  steps.value = [];
  leftOut.value = 0;
  names.clear();
  used.clear();
}

export const isEmpty = computed(() => steps.value.length === 0);

/** The program. */
export const program = computed(() => {
  const body = steps.value.join('\n');
  const classes = ['Machine', 'Snapshot', 'TemplateWarmPool', 'Volume'].filter((name) =>
    new RegExp(`\\b${name}\\.`).test(body),
  );
  const older = leftOut.value > 0 ? `// (${leftOut.value} older steps are left out)\n` : '';
  return `import { ${classes.join(', ') || 'Machine'} } from 'nullspace';\n\n${older}${body}\n`;
});

/** A value as somebody would write it. `undefined` is left out. */
export function literal(value: unknown, indent = ''): string {
  if (typeof value === 'string') return quoted(value);
  if (typeof value !== 'object' || value === null) return String(value);
  const more = `${indent}  `;
  const parts = Array.isArray(value)
    ? value.map((item) => literal(item, more))
    : Object.entries(value)
        .filter(([, item]) => item !== undefined)
        .map(([key, item]) => `${/^[A-Za-z_$][\w$]*$/.test(key) ? key : quoted(key)}: ${literal(item, more)}`);
  const [open, close] = Array.isArray(value) ? ['[', ']'] : ['{ ', ' }'];
  if (parts.length === 0) return open.trim() + close.trim();
  const line = open + parts.join(', ') + close;
  if (line.length + indent.length <= WIDTH && !line.includes('\n')) return line;
  return `${open.trim()}\n${parts.map((part) => `${more}${part},\n`).join('')}${indent}${close.trim()}`;
}

const quoted = (text: string) => `'${JSON.stringify(text).slice(1, -1).replaceAll('\\"', '"').replaceAll("'", "\\'")}'`;

/** `, { … }` for options that may be empty. */
export const options = (value: Record<string, unknown>, before = ', ') =>
  Object.values(value).some((item) => item !== undefined) ? `${before}${literal(value)}` : '';
