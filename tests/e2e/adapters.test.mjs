// What agent frameworks plug into, each member against the engine. Their own types and loops are in
// tests/packaging/consumers/agent-frameworks, which needs a newer Node.

import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { buffer } from 'node:stream/consumers';
import { after, before, test } from 'node:test';

import { nullspaceSession, nullspaceTools } from 'nullspace/ai-sdk';
import { bashToolSandbox } from 'nullspace/bash-tool';
import { nullspaceBackend } from 'nullspace/langchain';
import { nullspaceEditor, nullspaceShell } from 'nullspace/openai';

import { engineForTests, SMALL, sh, until } from './support/engine.mjs';

const engine = await engineForTests();
let machine;
before(async () => {
  machine = await engine.Machine.create({ ...SMALL, template: 'code-interpreter', memoryMb: 256 });
});
after(() => engine.stopWell());

const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');

test('AI SDK: commands and processes', async () => {
  const session = nullspaceSession(machine);
  assert.match(session.description, /Linux/);
  const ran = await session.run({
    command: 'echo "$A" in $PWD; echo err >&2; exit 3',
    env: { A: 'b' },
    workingDirectory: '/tmp',
  });
  assert.deepEqual(ran, { exitCode: 3, stdout: 'b in /tmp\n', stderr: 'err\n' });
  // Without `stdin`, a command reads an end of file.
  assert.equal((await session.run({ command: 'cat' })).exitCode, 0);
  const closed = await session.spawn({ command: 'cat; echo over' });
  assert.equal((await buffer(closed.stdout)).toString(), 'over\n');
  assert.equal(closed.stdin, undefined);

  const bytes = randomBytes(1 << 20);
  const echo = await session.spawn({ command: 'cat', stdin: true });
  assert.ok(echo.pid > 0);
  const back = buffer(echo.stdout);
  const writer = echo.stdin.getWriter();
  for (let at = 0; at < bytes.length; at += 1 << 16) await writer.write(bytes.subarray(at, at + (1 << 16)));
  await writer.close();
  assert.deepEqual(await echo.wait(), { exitCode: 0 });
  assert.equal(sha256(await back), sha256(bytes));

  const sleeper = await session.spawn({ command: 'sleep 300 & wait' });
  await sleeper.kill();
  await sleeper.kill();
  assert.deepEqual(await sleeper.wait(), { exitCode: 137 });
  const aborted = new AbortController();
  const other = await session.spawn({ command: 'sleep 300', abortSignal: aborted.signal });
  aborted.abort(new Error('no more'));
  await assert.rejects(other.wait(), /no more/);
  await until('what was ended is gone', async () => (await sh(machine, 'pgrep -c sleep || :')) === '0');
});

test('AI SDK: files', async () => {
  const session = nullspaceSession(machine);
  await session.writeTextFile({ path: 'ai/a.txt', content: 'one\ntwo\nthree' });
  assert.equal(await session.readTextFile({ path: 'ai/a.txt' }), 'one\ntwo\nthree');
  assert.equal(await session.readTextFile({ path: 'ai/a.txt', startLine: 2, endLine: 2 }), 'two\n');
  assert.equal(await session.readTextFile({ path: 'ai/a.txt', startLine: 3, endLine: 9 }), 'three');
  await session.writeBinaryFile({ path: 'ai/b', content: new Uint8Array([0, 255]) });
  assert.deepEqual([...(await session.readBinaryFile({ path: 'ai/b' }))], [0, 255]);
  await session.writeFile({ path: 'ai/c', content: new Blob(['streamed']).stream() });
  assert.equal((await buffer(await session.readFile({ path: 'ai/c' }))).toString(), 'streamed');
  for (const read of ['readFile', 'readBinaryFile', 'readTextFile'])
    assert.equal(await session[read]({ path: 'no' }), null);
  await assert.rejects(session.writeTextFile({ path: 'ai', content: 'x' }));
  await assert.rejects(session.writeTextFile({ path: 'x', content: 'x', encoding: 'latin1' }), /give "utf-8"/);

  await sh(machine, 'ln -s a.txt /workspace/ai/link; ln -s nowhere /workspace/ai/dangling; mkfifo /workspace/ai/pipe');
  assert.deepEqual(await session.stat({ path: 'ai/a.txt' }), { type: 'file', size: 13 });
  assert.deepEqual(await session.stat({ path: 'ai/link' }), { type: 'file', size: 13 });
  assert.equal((await session.stat({ path: 'ai' })).type, 'directory');
  assert.equal((await session.stat({ path: 'ai/pipe' })).type, 'other');
  for (const path of ['no', 'ai/dangling']) assert.equal(await session.stat({ path }), null, path);
  const entries = await session.listDirectory({ path: 'ai' });
  assert.deepEqual(entries.map(({ name, type }) => `${name} ${type}`).sort(), [
    'a.txt file',
    'b file',
    'c file',
    'dangling symlink',
    'link symlink',
    'pipe other',
  ]);
  assert.equal(await session.listDirectory({ path: 'no' }), null);
  await assert.rejects(session.listDirectory({ path: 'ai/a.txt' }));
  assert.equal(await session.deleteFile({ path: 'ai/link' }), true);
  assert.equal(await session.deleteFile({ path: 'ai/link' }), false);
  assert.equal(await session.readTextFile({ path: 'ai/a.txt' }), 'one\ntwo\nthree');
  await assert.rejects(session.deleteFile({ path: 'ai' }), /directory/);
});

test('AI SDK: tools', async () => {
  const { bash, readFile, writeFile, runCode } = nullspaceTools(
    { tool: (made) => made, jsonSchema: (made) => made },
    machine,
  );
  assert.deepEqual(await bash.execute({ command: 'echo hi; exit 2' }, {}), { exitCode: 2, stdout: 'hi\n', stderr: '' });
  await writeFile.execute({ path: 'tools.txt', content: 'kept' }, {});
  assert.equal(await readFile.execute({ path: 'tools.txt' }, {}), 'kept');
  await runCode.execute({ code: 'x = 20' }, {});
  const { text, error } = await runCode.execute({ code: 'x + 1' }, {});
  assert.deepEqual([text, error], ['21', undefined]);
  for (const made of [bash, readFile, writeFile, runCode]) assert.equal(made.inputSchema.type, 'object');
});

test('bash-tool', async () => {
  const sandbox = bashToolSandbox(machine);
  await sandbox.writeFiles([
    { path: 'bt/a.txt', content: 'a' },
    { path: 'bt/b', content: Buffer.from('b') },
  ]);
  assert.equal(await sandbox.readFile('bt/b'), 'b');
  assert.deepEqual(await sandbox.executeCommand('cat bt/*; exit 1'), { stdout: 'ab', stderr: '', exitCode: 1 });
});

test('deepagents: output in its order, and files that fail alone', async () => {
  class BaseSandbox {}
  const backend = nullspaceBackend(BaseSandbox, machine);
  assert.ok(backend instanceof BaseSandbox);
  assert.equal(backend.id, machine.id);
  const command = 'echo one; sleep 0.2; echo two >&2; sleep 0.2; echo three; exit 4';
  assert.deepEqual(await backend.execute(command), { output: 'one\ntwo\nthree\n', exitCode: 4, truncated: false });
  const files = [
    ['/workspace/da/a', new Uint8Array([1])],
    ['/proc/version', new Uint8Array([2])],
  ];
  const [good, bad] = await backend.uploadFiles(files);
  assert.deepEqual(good, { path: '/workspace/da/a', error: null });
  assert.equal(bad.path, '/proc/version');
  assert.ok(bad.error);
  const [found, missing, directory] = await backend.downloadFiles(['/workspace/da/a', '/no', '/workspace/da']);
  assert.deepEqual([[...found.content], found.error], [[1], null]);
  assert.deepEqual(missing, { path: '/no', content: null, error: 'file_not_found' });
  assert.deepEqual(directory, { path: '/workspace/da', content: null, error: 'is_directory' });
});

test('OpenAI agents: shell and editor', async () => {
  const shell = nullspaceShell(machine, { cwd: '/tmp' });
  const { output } = await shell.run({ commands: ['pwd; exit 3', 'echo $0 >&2'] });
  assert.deepEqual(output, [
    { stdout: '/tmp\n', stderr: '', outcome: { type: 'exit', exitCode: 3 } },
    { stdout: '', stderr: '/bin/sh\n', outcome: { type: 'exit', exitCode: 0 } },
  ]);
  const slow = await shell.run({
    commands: ['echo begun; sleep 30', 'echo never'],
    timeoutMs: 1000,
    maxOutputLength: 3,
  });
  assert.deepEqual(slow, { output: [{ stdout: 'beg', stderr: '', outcome: { type: 'timeout' } }], maxOutputLength: 3 });

  const applyDiff = (input, diff, mode) => {
    if (diff === 'bad') throw new Error('the patch does not fit');
    return mode === 'create' ? diff : `${input}${diff}`;
  };
  const editor = nullspaceEditor(machine, { applyDiff });
  assert.deepEqual(await editor.createFile({ path: 'oa/a.txt', diff: 'one' }), { status: 'completed' });
  await editor.updateFile({ path: 'oa/a.txt', diff: ' two' });
  assert.equal(await machine.files.read('oa/a.txt'), 'one two');
  assert.deepEqual(await editor.updateFile({ path: 'oa/a.txt', diff: 'bad' }), {
    status: 'failed',
    output: 'the patch does not fit',
  });
  assert.equal((await editor.updateFile({ path: 'oa/no', diff: 'x' })).status, 'failed');
  await editor.deleteFile({ path: 'oa/a.txt' });
  assert.equal(await machine.files.exists('oa/a.txt'), false);
});
