// Commands that are one call of the SDK: what it takes and what it answers is in calls.json, which `cargo xtask declarations` makes.

import { Machine, Snapshot, Template, TemplateBuild, TemplateWarmPool, Volume } from 'nullspace';

import CALLS from './calls.json';
import OPTIONS from './options.json';
import { flagsOf } from './options.mjs';
import { idAlone, QUIET, show, showAll, shown } from './output.mjs';
import { given } from './values.mjs';
import { VIEWS } from './views.mjs';

const CLASSES = { Machine, Snapshot, Template, TemplateBuild, TemplateWarmPool, Volume };

/** Arguments of which the name says too little. */
export const ARGUMENTS = {
  newName: ['<name>', 'the new one'],
  ref: ['<template>', 'name, name:tag, namespace/name:tag or id'],
  template: ['<template>', 'what its machines are made from'],
};

/**
 * The command of `Class.call`, or of `Class#call`, whose handle the first argument names.
 *
 * - `flags`: those of its options, see {@link flagsOf}
 * - `many`: the first argument may be several, a call for each; what help says of it
 * - `shows`: what is shown of the answer, if not all
 * - `view`: how it looks, if not as its kind of answer
 * - `done`: what happened, where there is no answer
 */
export const call = (name, { flags = [], many, shows = (answer) => answer, view, done = 'deleted' } = {}) => {
  const known = CALLS[name];
  if (known === undefined) throw new Error(`no call is called ${name}`);
  const [type, method] = name.split(/[.#]/);
  const isOfOne = name.includes('#');
  const noun = type.match(/[A-Z][a-z]+$/)[0].toLowerCase();
  const args = [...(isOfOne ? ['id'] : []), ...known.args].map(
    (arg) => ARGUMENTS[arg] ?? [`<${arg === 'id' ? noun : arg}>`, `${arg} of the ${noun}`],
  );
  if (many) args[0] = [args[0][0].replace('>', '...>'), many];
  const rows = flagsOf(OPTIONS[known.options], flags);
  const optionOf = (flag) => rows.find(({ from }) => from === flag)?.option ?? flag;
  const look = view ?? VIEWS[known.answer] ?? (known.answer in CLASSES ? idAlone : undefined);
  if (known.answer !== '' && look === undefined) throw new Error(`no view of ${known.answer}, the answer of ${name}`);
  const isList = Array.isArray(look);

  const ask = async (words, options) => {
    const on = CLASSES[type];
    if (!isOfOne) return on[method](...words, options);
    const [id, ...rest] = words;
    return (await (on.connect ? on.connect(id) : on.get(id)))[method](...rest, options);
  };
  return {
    args,
    options: isList ? [...rows, QUIET] : rows,
    async run(...all) {
      const { quiet, ...flags } = all[args.length];
      const options = Object.fromEntries(Object.entries(given(flags)).map(([flag, value]) => [optionOf(flag), value]));
      const words = all.slice(0, args.length);
      if (known.answer === '') {
        const [first, ...rest] = words;
        for (const one of [first].flat()) await ask([one, ...rest], options);
        show({ [done]: first }, () => [first].flat().map(shown).join('\n'));
        return;
      }
      const answer = await shows(await ask(words, options));
      if (isList) showAll(answer, look, quiet);
      else show(answer, look);
    },
  };
};
