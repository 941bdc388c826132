// `nullspace mcp`: machines for agents that speak the Model Context Protocol.

import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

import { interruption, misuse, problem } from './ending.mjs';
import { show } from './output.mjs';
import { number } from './values.mjs';

export const mcp = {
  options: [
    [
      '--http [port]',
      'serve on this port of 127.0.0.1 instead of standard input and output (default: a free one)',
      number,
    ],
    ['--template <name>', 'template of machines (default: code-interpreter)'],
    ['--timeout <seconds>', 'life of a machine after the last call for it (default: 1800)', number],
    ['--max-output <characters>', 'most characters of output in an answer (default: 20000)', number],
    ['--files <directory>', 'where the client may read and write files of this computer (default: nowhere)'],
  ],
  async run(flags, program) {
    const { signal } = interruption();
    const { serve } = await import('./mcp-server.mjs');
    await serve(
      {
        version: program.version(),
        template: flags.template,
        timeout: flags.timeout ?? 1800,
        most: flags.maxOutput ?? 20_000,
        directory: flags.files,
        port: flags.http === true ? 0 : flags.http,
      },
      signal,
    );
  },
};

/** How the client starts the server: this program, wherever it is installed. */
const started = (options) => ({
  command: process.execPath,
  args: [fileURLToPath(new URL('./cli.mjs', import.meta.url)), 'mcp', ...options],
});

const inJson = (key, more = {}) => ({
  merge(text, server) {
    let config;
    try {
      config = text.trim() === '' ? {} : JSON.parse(text);
    } catch {
      throw problem('the file is not plain JSON (comments are not understood): add the lines that --print shows');
    }
    return `${JSON.stringify({ ...config, [key]: { ...config[key], nullspace: { ...more, ...server } } }, null, 2)}\n`;
  },
});

const inToml = {
  merge(text, { command, args }) {
    // A JSON text is a TOML text, and a list of such a list.
    const section = `[mcp_servers.nullspace]\ncommand = ${JSON.stringify(command)}\nargs = ${JSON.stringify(args)}\n`;
    const own = /^\[mcp_servers\.nullspace\]\n(?:(?!\[).*\n?)*/m;
    if (own.test(text)) return text.replace(own, () => section);
    return text.trim() === '' ? section : `${text.trimEnd()}\n\n${section}`;
  },
};

/** Where each client has its configuration, and in which form. */
const CLIENTS = {
  'claude-code': { file: () => path.resolve('.mcp.json'), ...inJson('mcpServers') },
  codex: { file: () => path.join(process.env.CODEX_HOME || path.join(homedir(), '.codex'), 'config.toml'), ...inToml },
  cursor: { file: () => path.resolve('.cursor', 'mcp.json'), ...inJson('mcpServers') },
  vscode: { file: () => path.resolve('.vscode', 'mcp.json'), ...inJson('servers', { type: 'stdio' }) },
};

export const install = {
  options: [
    ['--client <name>', Object.keys(CLIENTS).join(', ')],
    ['--print', 'print the configuration instead of writing it'],
    ['--files <directory>', 'where the client may read and write files of this computer (default: nowhere)'],
  ],
  async run({ client, print, files }) {
    const found = Object.hasOwn(CLIENTS, client ?? '') ? CLIENTS[client] : undefined;
    if (!found) throw misuse(`--client ${client ?? ''} is unknown`, `Give one of ${Object.keys(CLIENTS).join(', ')}.`);
    const server = started(files === undefined ? [] : ['--files', path.resolve(files)]);
    if (print) return void process.stdout.write(found.merge('', server));
    const file = found.file();
    const before = await readFile(file, 'utf8').catch((error) => {
      if (error.code === 'ENOENT') return '';
      throw error;
    });
    const text = found.merge(before, server);
    await mkdir(path.dirname(file), { recursive: true });
    await writeFile(`${file}.new`, text);
    await rename(`${file}.new`, file);
    // The key is in no file of the client: the server finds it where the SDK does.
    show({ client, file }, () => `${file}: ${client} starts machines from its next start on`);
  },
};
