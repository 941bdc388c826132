// `nullspace mcp`, driven by the protocol's own client over real standard input and output, and over HTTP.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { test } from 'node:test';

import { program, startCli } from './support/cli.mjs';

const require = createRequire(path.join(process.env.NULLSPACE_TEST_ROOT, 'package.json'));
const { Client } = require('@modelcontextprotocol/sdk/client/index.js');
const { StdioClientTransport } = require('@modelcontextprotocol/sdk/client/stdio.js');
const { StreamableHTTPClientTransport } = require('@modelcontextprotocol/sdk/client/streamableHttp.js');

const { local, environment, run, good, json, engine } = await startCli();

/** A client that is gone with its test, also when that fails. */
const connect = async (t, transport) => {
  const client = new Client({ name: 'test', version: '1' });
  t.after(() => client.close());
  await client.connect(transport);
  return client;
};
const overStdio = (t, ...flags) =>
  connect(t, new StdioClientTransport({ command: program, args: ['mcp', ...flags], env: environment, cwd: local }));

/** Calls a tool; its answer must be good and have one form as text and as a structure. */
const call = async (client, name, args = {}, options) => {
  const { isError, content, structuredContent } = await client.callTool({ name, arguments: args }, undefined, options);
  assert.ok(!isError, content[0].text);
  assert.deepEqual(JSON.parse(content[0].text), structuredContent);
  return structuredContent;
};
const refused = async (client, name, args) => {
  const { isError, content } = await client.callTool({ name, arguments: args });
  assert.equal(isError, true, content[0].text);
  return content[0].text;
};
const running = async () => (await json('machine', 'list', '--state', 'running')).map(({ id }) => id);
const gone = async (ids) => {
  for (let tries = 0; ; tries++) {
    const left = (await running()).filter((id) => ids.includes(id));
    if (left.length === 0) return;
    assert.ok(tries < 100, `${left} are left`);
  }
};

test('a conversation: commands, code, files and states, and nothing is left of it', async (t) => {
  const client = await overStdio(t);
  const { tools } = await client.listTools();
  const hints = Object.fromEntries(tools.map(({ name, annotations }) => [name, annotations]));
  assert.ok(tools.every(({ title, description, outputSchema }) => title && description && outputSchema));
  assert.equal(hints.file_read.readOnlyHint, true);
  assert.equal(hints.machine_kill.destructiveHint, true);
  assert.equal(hints.file_upload, undefined, 'files of this computer are not offered unasked');

  const progress = [];
  const onprogress = ({ message }) => progress.push(message);
  const ran = await call(
    client,
    'exec',
    { command: 'echo one; sleep 0.3; echo two >&2; sleep 0.3; exit 3' },
    { onprogress },
  );
  assert.deepEqual(ran, { exit_code: 3, stdout: 'one\n', stderr: 'two\n' });
  assert.deepEqual(progress, ['one\n', 'two\n']);

  await call(client, 'run_code', { code: 'x = 20' });
  assert.equal((await call(client, 'run_code', { code: 'print("seen"); x + 1' })).text, '21');
  assert.equal((await call(client, 'run_code', { code: '1 / 0' })).error.name, 'ZeroDivisionError');

  await call(client, 'file_write', { path: 'notes/a.txt', content: 'written' });
  await call(client, 'file_write', { path: 'raw', content: '/wA=', encoding: 'base64' });
  assert.deepEqual(await call(client, 'file_read', { path: 'notes/a.txt' }), {
    content: 'written',
    encoding: 'utf-8',
    is_cut: false,
  });
  assert.deepEqual(await call(client, 'file_read', { path: 'raw' }), {
    content: '/wA=',
    encoding: 'base64',
    is_cut: false,
  });
  assert.deepEqual(await call(client, 'file_read', { path: 'notes/a.txt', max_bytes: 3 }), {
    content: 'wri',
    encoding: 'utf-8',
    is_cut: true,
  });
  const { entries } = await call(client, 'file_list', { path: '/workspace/notes' });
  assert.deepEqual(entries, [{ path: '/workspace/notes/a.txt', is_dir: false, size: 7 }]);

  const { pid } = await call(client, 'exec', { command: 'python3 -m http.server 8080', background: true });
  assert.ok(pid > 0);
  assert.match((await call(client, 'preview_url', { port: 8080 })).url, /^http/);

  const long = await call(client, 'exec', { command: 'head -c 100000 /dev/zero | tr "\\0" a; echo end' });
  assert.ok(long.stdout.length < 21_000 && long.stdout.endsWith('end\n'), `${long.stdout.length}`);
  assert.equal(long.characters_left_out, 100_004 - 20_000);

  const fork = await call(client, 'machine_fork');
  assert.equal((await call(client, 'exec', { command: 'cat notes/a.txt', machine: fork.id })).stdout, 'written');
  await call(client, 'machine_pause', { id: fork.id });
  assert.equal((await call(client, 'machine_get', { id: fork.id })).status, 'paused');
  assert.equal((await call(client, 'machine_resume', { id: fork.id })).status, 'running');
  await call(client, 'machine_kill', { id: fork.id });
  assert.match(await refused(client, 'exec', { command: 'true', machine: fork.id }), /not.found/);

  const { snapshot_id } = await call(client, 'snapshot_create');
  const copy = await call(client, 'machine_create', { snapshot_id });
  assert.equal((await call(client, 'exec', { command: 'cat notes/a.txt', machine: copy.id })).stdout, 'written');
  await good('snapshot', 'delete', snapshot_id);

  const closed = await call(client, 'machine_create', {
    template: 'base',
    internet_access: false,
    memory_mb: 64,
    vcpus: 1,
  });
  assert.equal((await json('machine', 'get', closed.id)).network.egress.mode, 'deny_all');

  assert.match(await refused(client, 'exec', { command: 'sleep 30', timeout_seconds: 1 }), /exec_timeout/);
  assert.match(await refused(client, 'exec', { comand: 'ls' }), /command/);
  const { machines } = await call(client, 'machine_list');
  assert.equal(machines.length, 3);
  const ids = await running();
  await client.close();
  await gone(ids);
});

test('a client that asks for it keeps a machine; one that dies leaves none', async (t) => {
  const child = spawn(program, ['mcp'], { env: environment, cwd: local, stdio: ['pipe', 'pipe', 'inherit'] });
  t.after(() => child.kill('SIGKILL'));
  const send = (message) => child.stdin.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`);
  child.stdout.setEncoding('utf8');
  let output = '';
  const answered = async (id) => {
    while (!output.includes(`"id":${id}`)) output += (await once(child.stdout, 'data'))[0];
  };
  const clientInfo = { name: 'test', version: '1' };
  send({ id: 1, method: 'initialize', params: { protocolVersion: '2025-06-18', capabilities: {}, clientInfo } });
  await answered(1);
  send({ method: 'notifications/initialized' });
  const small = { template: 'base', vcpus: 1, memory_mb: 64 };
  send({ id: 2, method: 'tools/call', params: { name: 'machine_create', arguments: small } });
  send({ id: 3, method: 'tools/call', params: { name: 'machine_create', arguments: { ...small, keep: true } } });
  await answered(2);
  await answered(3);
  assert.equal((await running()).length, 2);
  // A client that is killed closes both pipes, in the middle of whatever goes on.
  send({ id: 4, method: 'tools/call', params: { name: 'exec', arguments: { command: 'sleep 100' } } });
  child.stdin.destroy();
  child.stdout.destroy();
  const [code] = await once(child, 'exit');
  assert.equal(code, 0);
  const kept = await running();
  assert.equal(kept.length, 1);
  await good('rm', kept[0]);
});

test('files of this computer are read and written beneath the named directory alone', async (t) => {
  const shared = path.join(local, 'shared');
  mkdirSync(path.join(shared, 'sub'), { recursive: true });
  writeFileSync(path.join(shared, 'sub/in.txt'), 'from here');
  writeFileSync(path.join(local, 'secret.txt'), 'no');
  symlinkSync(path.join(local, 'secret.txt'), path.join(shared, 'link.txt'));
  symlinkSync(local, path.join(shared, 'up'));
  const client = await overStdio(t, '--files', 'shared');
  await call(client, 'file_upload', { local_path: 'sub/in.txt', path: '/workspace/in.txt' });
  await call(client, 'file_download', { path: '/workspace/in.txt', local_path: 'out.txt' });
  assert.equal(readFileSync(path.join(shared, 'out.txt'), 'utf8'), 'from here');
  for (const local_path of ['../secret.txt', 'link.txt', 'up/secret.txt', path.join(local, 'secret.txt')]) {
    assert.match(await refused(client, 'file_upload', { local_path, path: 'x' }), /outside of/, local_path);
  }
  for (const local_path of ['../new.txt', 'up/new.txt']) {
    assert.match(await refused(client, 'file_download', { path: 'in.txt', local_path }), /outside of/, local_path);
  }
  await client.close();
});

test('over HTTP: only on loopback, with the token, and not for pages', async (t) => {
  const env = { ...environment, NULLSPACE_MCP_TOKEN: 'a-token-of-the-test' };
  const child = spawn(program, ['mcp', '--http'], { env, cwd: local, stdio: ['ignore', 'ignore', 'pipe'] });
  t.after(() => child.kill('SIGKILL'));
  let said = '';
  while (!/MCP server: (\S+)/.test(said)) said += (await once(child.stderr, 'data'))[0];
  const url = new URL(said.match(/MCP server: (\S+)/)[1]);
  assert.equal(url.hostname, '127.0.0.1');
  assert.ok(!said.includes('a-token-of-the-test') && !said.includes(engine.apiKey));

  const status = async (headers) => (await fetch(url, { method: 'POST', body: '{}', headers })).status;
  const token = { authorization: 'Bearer a-token-of-the-test' };
  assert.equal(await status({}), 401);
  assert.equal(await status({ authorization: 'Bearer a-token-of-the-tesT' }), 401);
  assert.equal(await status({ ...token, origin: 'http://evil.example' }), 403);
  assert.equal(await status(token), 400);

  const client = await connect(t, new StreamableHTTPClientTransport(url, { requestInit: { headers: token } }));
  assert.equal((await call(client, 'exec', { command: 'echo over http' })).stdout, 'over http\n');
  const ids = await running();
  assert.equal(ids.length, 1);
  child.kill('SIGTERM');
  await once(child, 'exit');
  await gone(ids);
  await client.close();
});

test('the configuration of a client is written, and what was there stays', async (t) => {
  writeFileSync(path.join(local, '.mcp.json'), '{"mcpServers":{"other":{"command":"x"}},"kept":1}');
  for (let times = 0; times < 2; times++) await good('mcp', 'install', '--client', 'claude-code');
  const config = JSON.parse(readFileSync(path.join(local, '.mcp.json'), 'utf8'));
  assert.deepEqual([config.kept, Object.keys(config.mcpServers)], [1, ['other', 'nullspace']]);
  const { command, args } = config.mcpServers.nullspace;
  const client = await connect(t, new StdioClientTransport({ command, args, env: environment, cwd: local }));
  assert.ok((await client.listTools()).tools.length > 10);
  await client.close();

  mkdirSync(path.join(local, '.codex'), { recursive: true });
  const codex = path.join(local, '.codex/config.toml');
  writeFileSync(codex, 'model = "m"\n\n[mcp_servers.nullspace]\ncommand = "old"\nargs = ["a"]\n\n[other]\nx = 1\n');
  for (let times = 0; times < 2; times++) await good('mcp', 'install', '--client', 'codex', '--files', '.');
  const toml = readFileSync(codex, 'utf8');
  assert.equal(toml.match(/\[mcp_servers\.nullspace\]/g).length, 1);
  assert.ok(toml.startsWith('model = "m"') && toml.includes('[other]\nx = 1') && !toml.includes('old'), toml);

  writeFileSync(path.join(local, '.mcp.json'), '{ // mine\n}');
  const { code, stderr } = await run(['mcp', 'install', '--client', 'claude-code']);
  assert.equal(code, 1);
  assert.match(stderr, /not plain JSON/);
  assert.equal((await run(['mcp', 'install', '--client', 'nothing'])).code, 2);
  assert.match(await good('mcp', 'install', '--client', 'vscode', '--print'), /"type": "stdio"/);
});

test('the package in short is printed, and written as a skill', async () => {
  const text = await good('docs');
  assert.match(text, /^# nullspace\n/);
  const file = await good('docs', 'install');
  assert.equal(file, path.join(local, '.claude/skills/nullspace/SKILL.md'));
  const skill = readFileSync(file, 'utf8');
  assert.match(skill, /^---\nname: nullspace\ndescription: .+\n---\n\n# nullspace\n/);
  assert.ok(skill.includes(text));
});
