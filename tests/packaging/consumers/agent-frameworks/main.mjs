// One conversation of each framework with a machine. The model is a stand-in that says what a model would.

import assert from 'node:assert/strict';

import { applyDiff } from '@openai/agents';
import { generateText, jsonSchema, stepCountIs, tool } from 'ai';
import { MockLanguageModelV4 } from 'ai/test';
import { createBashTool } from 'bash-tool';
import { BaseSandbox } from 'deepagents';
import { Machine } from 'nullspace';
import { nullspaceSession, nullspaceTools } from 'nullspace/ai-sdk';
import { bashToolSandbox } from 'nullspace/bash-tool';
import { nullspaceBackend } from 'nullspace/langchain';
import { nullspaceEditor } from 'nullspace/openai';

const machine = await Machine.create({ memoryMb: 128 });
try {
  const usage = { inputTokens: { total: 1 }, outputTokens: { total: 1 } };
  const says = (content, unified) => ({ content, usage, warnings: [], finishReason: { unified, raw: unified } });
  const call = { type: 'tool-call', toolCallId: '1', toolName: 'bash', input: '{"command":"echo hello"}' };
  const turns = [says([call], 'tool-calls'), says([{ type: 'text', text: 'done' }], 'stop')];
  const model = new MockLanguageModelV4({ doGenerate: async () => turns.shift() });
  const tools = nullspaceTools({ tool, jsonSchema }, machine);
  const experimental_sandbox = nullspaceSession(machine);
  const { text, steps } = await generateText({
    model,
    prompt: 'Say hello.',
    tools,
    stopWhen: stepCountIs(3),
    experimental_sandbox,
  });
  assert.equal(text, 'done');
  const { stdout } = steps[0].toolResults[0].output;

  const { tools: bashTools } = await createBashTool({ sandbox: bashToolSandbox(machine), destination: '/workspace' });
  assert.equal((await bashTools.bash.execute({ command: 'echo hello' }, {})).stdout, 'hello\n');

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
