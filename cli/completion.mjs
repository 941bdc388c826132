// `nullspace completion bash | zsh | fish`: made of the commands themselves.

/** `[path, words]` of every command: what may follow it. */
const tree = (command, at = []) => [
  [
    at.join(' '),
    [...command.commands.map((one) => one.name()), ...command.options.map(({ long }) => long).filter(Boolean)].join(
      ' ',
    ),
  ],
  ...command.commands.flatMap((one) => tree(one, [...at, one.name()])),
];

const SHELLS = {
  bash: (rows) => `_nullspace() {
  local path="" word
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$word" in -*) ;; *) path="\${path:+$path }$word" ;; esac
  done
  local words=""
  while :; do
    case "$path" in
${rows.map(([at, words]) => `      "${at}") words="${words}"; break ;;`).join('\n')}
      *" "*) path="\${path% *}" ;;
      *) path="" ;;
    esac
  done
  COMPREPLY=($(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -F _nullspace nullspace`,
  zsh: (rows) => `autoload -U +X bashcompinit && bashcompinit\n${SHELLS.bash(rows)}`,
  fish: (rows) =>
    rows
      .flatMap(([at, words]) =>
        words
          .split(' ')
          .filter(Boolean)
          .map((word) => {
            const seen = at === '' ? '__fish_use_subcommand' : `__fish_seen_subcommand_from ${at.split(' ').at(-1)}`;
            return `complete -c nullspace -n '${seen}' ${word.startsWith('--') ? `-l ${word.slice(2)}` : `-f -a ${word}`}`;
          }),
      )
      .join('\n'),
};

/** Adds the command. */
export const completion = (program) =>
  program
    .command('completion')
    .argument('<shell>', 'bash, zsh or fish')
    .description('print completions: eval "$(nullspace completion bash)"')
    .action((shell) => {
      const make = SHELLS[shell];
      if (!make) program.error(`error: there are completions for ${Object.keys(SHELLS).join(', ')}`, { exitCode: 2 });
      console.log(make(tree(program)));
    });
