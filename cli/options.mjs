// Flags that are options of the SDK: what they are is in options.json, which `cargo xtask declarations` makes.

import { list, number, pairs } from './values.mjs';

const READ = { number, list, pairs };

/** `--memory-mb <n>` as the option names it: `memoryMb`. */
const camel = (flag) => flag.match(/--([\w-]+)/)[1].replaceAll(/-(\w)/g, (_, letter) => letter.toUpperCase());

/**
 * A flag of an option of the SDK. `set` holds the options of a call; `option` is the name there, when the flag has another one.
 * `about` and `read` stand for what the option says and how its text is read, where the command line has it otherwise. `when` says
 * with what else the flag goes. A call that changes something has no defaults.
 */
export const flag = (set, flags, { option = camel(flags), about, read, when, isChange = false } = {}) => {
  const known = set?.[option];
  if (known === undefined) throw new Error(`${flags}: no option is called ${option}`);
  const many = read === undefined && (known.kind === 'list' || known.kind === 'pairs');
  const byDefault = known.default && !isChange ? ` (default: ${known.default})` : '';
  const reader = read ?? READ[known.kind];
  const words = about ?? `${when ? `${when}: ` : ''}${known.about}${many ? '; repeatable' : ''}${byDefault}`;
  const row = [flags, words, ...(reader ? [reader] : [])];
  return Object.assign(row, { from: camel(flags), option });
};

/** Flags of a call: each alone, or with what {@link flag} is given; one that `set` does not know says itself what it is about. */
export const flagsOf = (set, all, given) =>
  all.map((one) => {
    const [flags, more] = [one].flat();
    return typeof more === 'string' ? one : flag(set, flags, { ...more, ...given });
  });

/** Options of the SDK of those among the rows that are flags of them, where they were given. */
export const wanted = (rows, flags) =>
  Object.fromEntries(
    rows
      .filter(({ option, from }) => option !== undefined && flags[from] !== undefined)
      .map(({ option, from }) => [option, flags[from]]),
  );
