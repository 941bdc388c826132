// The examples of examples/agents, each with the real framework and an engine. Models are stand-ins.

import assert from 'node:assert/strict';

import { MastraSandbox, ProcessHandle, SandboxProcessManager, Workspace } from '@mastra/core/workspace';
import { applyDiff } from '@openai/agents';
import { BaseSandbox } from 'deepagents';
import { Machine, Snapshot } from 'nullspace';
import { nullspaceBackend } from 'nullspace/langchain';
import { nullspaceSandbox } from 'nullspace/mastra';
import { nullspaceEditor } from 'nullspace/openai';

import * as aiSdk from './ai-sdk.mjs';
import * as bashTool from './bash-tool.mjs';
import * as harness from './harness.mjs';
import * as langChain from './langchain.mjs';
import * as mastra from './mastra.mjs';
import { aiSdkModel, langChainModel, openAiModel, standInHarness } from './models.mjs';
import * as openAi from './openai.mjs';

// AI SDK.
const { text, steps } = await aiSdk.work(aiSdkModel('bash', { command: 'echo hello' }), 'Say hello.');
assert.equal(text, 'done');
const { stdout } = steps[0].toolResults[0].output;

// bash-tool.
const said = await bashTool.withTools((tools) => tools.bash.execute({ command: 'echo hello' }, {}));
assert.equal(said.stdout, 'hello\n');

// deepagents.
const messages = await langChain.work(langChainModel('execute', { command: 'echo from deepagents' }), 'Go.');
assert.ok(messages.some(({ content }) => String(content).includes('from deepagents')));
assert.equal(messages.at(-1).text, 'done');

// OpenAI Agents.
const ran = await openAi.work(openAiModel('echo from a shell'), 'Go.');
assert.equal(ran.finalOutput, 'done');
assert.match(JSON.stringify(ran.history), /from a shell/);

// A harness: its set-up runs once, for two sessions that start at once and for one that comes back.
const coder = standInHarness();
const sessions = await Promise.all(['one', 'two'].map((id) => harness.startSession(coder, id)));
const [one, two] = coder.started;
assert.match(one.installed, /^installed \d+/);
assert.equal(one.installed, two.installed);
assert.notEqual(one.directory, two.directory);
assert.match(one.directory, /^\/workspace\/stand-in-/);
await Promise.all(sessions.map((session) => session.destroy()));
await harness.startSession(coder, 'three').then((session) => session.destroy());
assert.equal(coder.started[2].installed, one.installed);
const snapshots = await Snapshot.list();
assert.equal(snapshots.length, 1);
await Snapshot.delete(snapshots[0].id);

// Mastra.
const tool = 'mastra_workspace_execute_command';
const answer = await mastra.work(aiSdkModel(tool, { command: 'echo from mastra' }), 'Go.', 'project-7');
assert.equal(answer.text, 'done');
assert.match(JSON.stringify(answer.steps), /from mastra/);
await mastraMembers();

assert.deepEqual((await Machine.list()).items, [], 'each example ends its machine');

// What the examples do not use.
const machine = await Machine.create({ memoryMb: 128 });
try {
  const backend = nullspaceBackend(BaseSandbox, machine);
  await backend.write('/workspace/deep/a.txt', 'one\ntwo\n');
  await backend.edit('/workspace/deep/a.txt', 'two', 'three');
  assert.equal(await machine.files.read('/workspace/deep/a.txt'), 'one\nthree\n');
  assert.ok((await backend.ls('/workspace/deep')).files.some(({ path }) => path.endsWith('a.txt')));

  const editor = nullspaceEditor(machine, { applyDiff });
  await editor.createFile({ type: 'create_file', path: 'made.txt', diff: '+one\n+two' });
  const updated = await editor.updateFile({ type: 'update_file', path: 'made.txt', diff: '@@\n one\n-two\n+three' });
  assert.equal(updated.status, 'completed', updated.output);
  assert.match(await machine.files.read('made.txt'), /^one\nthree/);

  const listed = (await Machine.list()).items.some(({ id }) => id === machine.id);
  console.log(`RESULT ${JSON.stringify({ id: machine.id, stdout, listed, instance: machine instanceof Machine })}`);
} finally {
  await machine.kill();
}

/** Every member of Mastra's sandbox. */
async function mastraMembers() {
  const base = { MastraSandbox, SandboxProcessManager, ProcessHandle };
  const outcomes = [];
  const make = () =>
    nullspaceSandbox(
      base,
      { Machine, Snapshot },
      { id: 'members', memoryMb: 128, env: { A: 'b' }, onStart: ({ outcome }) => outcomes.push(outcome) },
    );
  const sandbox = make();
  const workspace = new Workspace({ sandbox });
  assert.equal(sandbox.status, 'pending');
  const done = await sandbox.executeCommand('printf "%s" "$A"; cat; exit 3', [], { timeout: 20_000 });
  assert.deepEqual([done.success, done.exitCode, done.stdout], [false, 3, 'b']);
  assert.equal(sandbox.status, 'running');
  assert.equal((await sandbox.executeCommand('echo', ['two  words'])).stdout, 'two  words\n');
  const late = await sandbox.executeCommand('echo begun; sleep 60', [], { timeout: 500 });
  assert.deepEqual([late.exitCode, late.timedOut, late.stdout], [124, true, 'begun\n']);

  const heard = [];
  const cat = await sandbox.processes.spawn('cat; echo over >&2', { onStderr: (chunk) => heard.push(chunk) });
  assert.match(cat.pid, /^\d+$/);
  await cat.sendStdin('typed\n');
  await cat.closeStdin();
  const ended = await cat.wait();
  assert.deepEqual([ended.stdout, ended.success, heard.join('')], ['typed\n', true, 'over\n']);
  const sleeper = await sandbox.processes.spawn('sleep 60');
  assert.ok((await sandbox.processes.list()).some(({ pid, running }) => pid === sleeper.pid && running));
  assert.equal(await sandbox.processes.kill(sleeper.pid), true);
  assert.equal(await sandbox.processes.get(sleeper.pid), undefined);
  const stop = new AbortController();
  const aborted = sandbox.executeCommand('sleep 60', [], { abortSignal: stop.signal });
  setTimeout(() => stop.abort(), 300);
  assert.equal((await aborted).killed, true);

  await sandbox.writeFiles([
    { path: 'a.txt', content: 'text', mode: 0o600 },
    { path: 'deep/b', content: Buffer.from([0, 255]) },
  ]);
  const seen = await sandbox.executeCommand('stat -c %a a.txt; od -An -tx1 deep/b');
  assert.match(seen.stdout, /^600\n 00 ff/);
  assert.match(await sandbox.networking.getPortUrl(8080), /^http:\/\//);
  const info = await sandbox.getInfo();
  assert.deepEqual([info.provider, info.status, info.resources.memoryMB], ['nullspace', 'running', 128]);
  assert.match(sandbox.getInstructions(), /Linux/);

  // The same id is the same machine, paused and resumed, from another object as from another process.
  const { machine } = sandbox;
  await sandbox.stop();
  assert.equal((await Machine.getInfoById(machine.id)).status, 'paused');
  const again = make();
  assert.equal((await again.executeCommand('cat a.txt')).stdout, 'text');
  assert.equal(again.machine.id, machine.id);
  assert.deepEqual(outcomes, ['created', 'connected']);
  assert.equal(again.supportsCheckpoints, false);
  await again.snapshot();

  // A checkpoint seeds clones; those that keep their own go on from it.
  const keeper = again.clone({ id: 'keeper', checkpointName: 'own', seedCheckpointName: 'base' });
  await keeper.writeFiles([{ path: 'kept.txt', content: 'first' }]);
  assert.equal(keeper.supportsCheckpoints, true);
  await keeper.snapshot();
  await keeper.writeFiles([{ path: 'kept.txt', content: 'second' }]);
  await keeper.snapshot();
  await keeper.destroy();
  assert.equal((await Snapshot.list()).length, 1, 'the newer one took the place of the older');
  for (const named of [{ checkpointName: 'own' }, { checkpointName: 'new', seedCheckpointName: 'own' }]) {
    const clone = again.clone({ ...named, env: { A: 'of the clone' } });
    assert.notEqual(clone.id, again.id);
    assert.equal((await clone.executeCommand('cat kept.txt; echo " $A"')).stdout, 'second of the clone\n');
    await clone.destroy();
  }
  for (const { id } of await Snapshot.list()) await Snapshot.delete(id);

  await make().destroy();
  await workspace.destroy();
  await assert.rejects(Machine.getInfoById(machine.id));
}
