// Every option of every call, from the declarations of the package. Read with the compiler of reference/, which has an API.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

import { inRoot } from '../lib/project.mjs';
import { code, table } from './markdown.mjs';

const typescript = () => createRequire(inRoot('reference', 'package.json'))('typescript');

/** Comments as Markdown: links to code are code, and paragraphs are one line. */
const words = (text) =>
  text
    .replaceAll(/\{@link ([^}]+)\}/g, '`$1`')
    .replaceAll(/\s*\n\s*/g, ' ')
    .trim();

/** So many calls are not listed. */
const MANY = 8;

/** A section for each kind of options: the calls that take them, and a row an option. */
export function options() {
  const ts = typescript();
  const file = inRoot('pkg-template', 'index.d.ts');
  const source = ts.createSourceFile(file, readFileSync(file, 'utf8'), ts.ScriptTarget.ES2023, true);
  const text = (node) => node.getText(source).replaceAll(/\s+/g, ' ');

  const interfaces = new Map();
  const takers = new Map();
  const takes = (type, call) => {
    for (const [name] of text(type).matchAll(/\b\w+\b/g)) {
      if (!takers.has(name)) takers.set(name, []);
      takers.get(name).push(call);
    }
  };
  // An object of a class is named after it, unless another object holds it: `machine.files`.
  const held = new Map();
  const variable = (name) => held.get(name) ?? name[0].toLowerCase() + name.slice(1);
  for (const statement of source.statements.filter(ts.isClassDeclaration)) {
    for (const { type, name } of statement.members.filter(ts.isPropertyDeclaration)) {
      if (type && ts.isTypeReferenceNode(type) && statement.name.text === 'Machine') {
        held.set(text(type), `machine.${text(name)}`);
      }
    }
  }
  for (const statement of source.statements) {
    if (ts.isInterfaceDeclaration(statement)) interfaces.set(statement.name.text, statement);
    if (ts.isFunctionDeclaration(statement)) {
      for (const { type } of statement.parameters) if (type) takes(type, `${statement.name.text}()`);
    }
    if (!ts.isClassDeclaration(statement)) continue;
    for (const member of statement.members) {
      const isStatic = ts.getCombinedModifierFlags(member) & ts.ModifierFlags.Static;
      const owner = isStatic ? statement.name.text : variable(statement.name.text);
      const call = ts.isConstructorDeclaration(member)
        ? `new ${statement.name.text}()`
        : `${owner}.${member.name && text(member.name)}()`;
      for (const { type } of member.parameters ?? []) if (type) takes(type, call);
    }
  }

  // What every call takes, then options in the order of the first call that takes them, then parts of options.
  const order = ['ClientOptions', 'CallOptions', ...takers.keys(), ...interfaces.keys()];
  const sections = [];
  for (const name of new Set(order)) {
    const declared = interfaces.get(name);
    if (!declared) continue;
    // Those that no call takes are part of others, such as `network`; those whose fields are read only are answers.
    const fields = declared.members.filter(ts.isPropertySignature);
    const isAnswer = fields.every((field) => ts.getCombinedModifierFlags(field) & ts.ModifierFlags.Readonly);
    if (fields.length === 0 || isAnswer || !/Options$|^(VolumeMount|CustomEgress|MachineQuery)$/.test(name)) continue;
    const tags = (field, tag) =>
      ts
        .getJSDocTags(field)
        .filter(({ tagName }) => tagName.text === tag)
        .map(({ comment }) => words(ts.getTextOfJSDocComment(comment) ?? ''));
    const rows = fields.map((field) => {
      const [doc] = ts.getJSDocCommentsAndTags(field).filter(ts.isJSDoc);
      const about = words(ts.getTextOfJSDocComment(doc?.comment) ?? '');
      const [byDefault] = tags(field, 'default');
      const old = tags(field, 'deprecated').map((instead) => `Deprecated: ${instead}.`);
      const type = text(field.type)
        .replace(/ \| undefined$/, '')
        .replace(/^\((.*)\)$/, '$1');
      return [
        `${code(text(field.name))}<br>${code(type)}`,
        [about, ...old].join(' ').trim(),
        byDefault ?? (field.questionToken ? '' : 'required'),
      ];
    });
    const parents = (declared.heritageClauses ?? []).flatMap(({ types }) => types.map(text));
    const calls = [...new Set(takers.get(name) ?? [])];
    const [doc] = ts.getJSDocCommentsAndTags(declared).filter(ts.isJSDoc);
    sections.push(
      [
        `## ${name}`,
        '',
        ...(calls.length > 0 && calls.length <= MANY
          ? [`Taken by ${calls.map(code).join(', ')}.`]
          : [words(ts.getTextOfJSDocComment(doc?.comment) ?? '')]),
        ...(parents.length > 0 ? [`Also has the options of ${parents.map(reference).join(' and ')}.`] : []),
        '',
        table(['option', 'means', 'default'], rows),
      ].join('\n'),
    );
  }
  return sections.join('\n\n');
}

/** A link to the section of an interface; what is only a part of one stays as it is. */
const reference = (type) => (/^\w+$/.test(type) ? `[${type}](#${type.toLowerCase()})` : code(type));
