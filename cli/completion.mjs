// `nullspace completion bash | zsh | fish`: made of the commands themselves. Ids are asked for when they are wanted.

import { misuse } from './ending.mjs';

/** What an argument may be, by its name: the group whose `list` has it. */
const LISTS = { machine: 'machine', snapshot: 'snapshot', template: 'template', volume: 'volume', pool: 'warm-pool' };

/** Of every command: where it stands, what may follow, and which lists its arguments are from. */
const tree = (command, at = []) => [
  {
    at: at.join(' '),
    words: [...command.commands.map((one) => one.name()), ...command.options.map(({ long }) => long).filter(Boolean)],
    lists: command.registeredArguments.map((argument) => LISTS[argument.name()] ?? ''),
    isVariadic: command.registeredArguments.at(-1)?.variadic === true,
  },
  ...command.commands.flatMap((one) => tree(one, [...at, one.name()])),
];

/** The list for argument number `given`, as cases of a shell. */
const cases = ({ lists, isVariadic }) => {
  const numbered = lists.map((list, index) => [isVariadic && index === lists.length - 1 ? '*' : index, list]);
  return numbered
    .filter(([, list]) => list !== '')
    .map(([index, list]) => `${index}) list="${list}" ;;`)
    .join(' ');
};

// What a server answers is compared and never evaluated: `compgen -W` would run a $(command) in it.
const bash = (rows) => `_nullspace() {
  local current="\${COMP_WORDS[COMP_CWORD]}" path="" words="" list="" given=0 word id
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$word" in -*) ;; *) path="\${path:+$path }$word" ;; esac
  done
  while :; do
    case "$path" in
${rows.map((row) => `      "${row.at}") words="${row.words.join(' ')}"; case $given in ${cases(row)} esac; break ;;`).join('\n')}
      *" "*) path="\${path% *}"; given=$((given + 1)) ;;
      *) path=""; given=$((given + 1)) ;;
    esac
  done
  COMPREPLY=($(compgen -W "$words" -- "$current"))
  [ -n "$list" ] && while read -r id; do
    case "$id" in *[!A-Za-z0-9_-]*) ;; "$current"*) COMPREPLY+=("$id") ;; esac
  done < <(nullspace "$list" list --quiet 2>/dev/null)
}
complete -F _nullspace nullspace`;

const fish = (rows) =>
  rows
    .flatMap(({ at, words, lists }) => {
      const seen = at === '' ? '__fish_use_subcommand' : `__fish_seen_subcommand_from ${at.split(' ').at(-1)}`;
      const known = words.map((word) => (word.startsWith('--') ? `-l ${word.slice(2)}` : `-f -a ${word}`));
      const asked = lists.filter(Boolean).map((list) => `-f -a '(nullspace ${list} list --quiet 2>/dev/null)'`);
      return [...known, ...asked].map((what) => `complete -c nullspace -n '${seen}' ${what}`);
    })
    .join('\n');

const SHELLS = { bash, zsh: (rows) => `autoload -U +X bashcompinit && bashcompinit\n${bash(rows)}`, fish };

export const completion = {
  args: [['<shell>', 'bash, zsh or fish']],
  run(shell, _, program) {
    const make = SHELLS[shell];
    if (!make) throw misuse(`there are completions for ${Object.keys(SHELLS).join(', ')}`);
    console.log(make(tree(program)));
  },
};
