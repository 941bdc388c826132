// Classes and codes of errors: the classes and what a code becomes from src/core/error.rs, what the local engine sends from
// crates/engine.

import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

import { inRoot } from '../lib/project.mjs';
import { code, codes, rustComment, table } from './markdown.mjs';

const source = (...parts) => readFileSync(inRoot(...parts), 'utf8');
const clientErrors = () => source('src', 'core', 'error.rs');
const engineErrors = () => source('crates', 'engine', 'src', 'machine', 'ground', 'error.rs');

/** The kinds of Rust, in its order. */
function kinds() {
  const [, list] = clientErrors().match(/^kinds! \{([^}]*)\}/m);
  return list.match(/\w+/g);
}

/** Name of the class of a `Kind` of Rust. */
function className(kind) {
  if (!kinds().includes(kind)) throw new Error(`src/core/error.rs has no Kind::${kind}`);
  return kind === 'Other' ? 'NullspaceError' : `${kind}Error`;
}

/** A kind as JavaScript names it: `rate_limit`. */
const pascal = (kind) => kind.replaceAll(/(?:^|_)(\w)/g, (_, letter) => letter.toUpperCase());

/** The rows of a table of Rust: `const NAME: [(&str, Kind); N] = [...]`. */
function kindsOf(name) {
  const [, body] = clientErrors().match(new RegExp(`const ${name}: [^=]*= \\[([\\s\\S]*?)\\n\\];`));
  return [...body.matchAll(/\("(\w+)", Kind::(\w+)\)/g)].map(([, name, kind]) => [name, kind]);
}

/** What the names of codes say of codes that no table has, in the order in which it counts. */
const RULES = { ends_with: (text) => `*${text}`, contains: (text) => `*${text}*` };
const rules = () =>
  [...clientErrors().matchAll(/None if code\.(\w+)\("(\w+)"\) => Kind::(\w+)/g)].map(([, how, text, kind]) => [
    RULES[how](text),
    kind,
  ]);

/** The class of a code, as `kind_of` of Rust decides. */
function classOf(name) {
  const [, listed] = kindsOf('BY_CODE').find(([known]) => known === name) ?? [];
  if (listed) return className(listed);
  const [, ruled = 'Other'] =
    rules().find(([pattern]) => new RegExp(`^${pattern.replaceAll('*', '.*')}$`).test(name)) ?? [];
  return className(ruled);
}

/** What index.d.ts says of a class, and what that extends. */
function declared(name) {
  const found = source('pkg-template', 'index.d.ts').match(
    new RegExp(`/\\*\\* (.*) \\*/\\nexport class ${name} extends (\\w+) `),
  );
  if (!found) throw new Error(`index.d.ts has no comment at ${name}`);
  const [, comment, parent] = found;
  return { meaning: comment.replaceAll(/\{@link (\w+)\}/g, '`$1`'), parent };
}

/** Every class, what it means and what becomes one. */
export function classes() {
  const byClass = new Map();
  for (const [name, kind] of [...kindsOf('BY_CODE'), ...rules()]) {
    const list = byClass.get(className(kind)) ?? [];
    byClass.set(className(kind), [...list, name]);
  }
  return table(
    ['class', 'means', 'codes'],
    kinds().map((kind) => {
      const name = className(kind);
      const { meaning, parent } = declared(name);
      const of = parent === 'NullspaceError' || parent === 'Error' ? '' : ` Extends \`${parent}\`.`;
      return [code(name), meaning + of, codes(byClass.get(name) ?? [])];
    }),
  );
}

/** What an engine on your own computer answers with. */
export function engineCodes() {
  const text = engineErrors();
  const [, kinds] = text.match(/pub enum Kind \{([\s\S]*?)\n\}/);
  const [, names] = text.match(/pub fn code\(self\)[\s\S]*?match self \{([\s\S]*?)\n {8}\}/);
  const [, again] = text.match(/pub fn is_retryable\(self\)[\s\S]*?matches!\(([\s\S]*?)\n {8}\)/);
  const rows = new Map();
  for (const [, comment, kind] of kinds.matchAll(/((?:^ {4}\/\/\/ .*\n)+)^ {4}(\w+)/gm)) {
    const [, name] = names.match(new RegExp(`Kind::${kind}\\b[^=]*=> "(\\w+)"`));
    const row = rows.get(name) ?? { words: [], retry: false };
    row.words.push(rustComment(comment));
    row.retry ||= new RegExp(`Kind::${kind}\\b`).test(again);
    rows.set(name, row);
  }
  return table(
    ['code', 'class', 'may a later try work', 'means'],
    [...rows].map(([name, { words, retry }]) => [
      code(name),
      code(classOf(name)),
      retry ? 'yes' : 'no',
      words.join(' '),
    ]),
  );
}

/** Why an upload failed. */
export const uploadReasons = () =>
  table(
    ['reason', 'class'],
    kindsOf('BY_UPLOAD_REASON').map(([name, kind]) => [code(name), code(className(kind))]),
  );

/** Sources below a folder, without the tests that stand in them. */
const sources = (folder, suffix) =>
  readdirSync(inRoot(folder), { recursive: true })
    .filter((name) => name.endsWith(suffix))
    .sort()
    .map((name) => source(path.join(folder, name)).split('#[cfg(test)]')[0]);

/** The codes that the SDK gives by itself and no engine sends, with their classes. Their page says in words what they mean. */
export function ownCodes() {
  const found = new Map();
  const add = (name, of) => {
    const before = found.get(name) ?? of;
    if (before !== of) throw new Error(`code ${name} is a ${before} in one place and a ${of} in another`);
    found.set(name, of);
  };
  for (const text of sources('src', '.rs')) {
    for (const [, kind, name] of text.matchAll(/\bKind::(\w+),\s*"(\w+)"/g)) add(name, className(kind));
  }
  for (const text of sources('pkg-template/lib', '.js')) {
    for (const [, of, name] of text.matchAll(/new (\w+Error)\(\{\s*code: '(\w+)'/g)) add(name, of);
    for (const [, kind, name] of text.matchAll(/kind: '(\w+)',\s*code: '(\w+)'/g)) {
      add(name, className(pascal(kind)));
    }
  }
  for (const [, name] of engineErrors().matchAll(/=> "(\w+)",$/gm)) found.delete(name);
  return found;
}
