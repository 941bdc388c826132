// The code interpreter: contexts that remember, cells that print, show, fail and are stopped, runs, artifacts.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, test } from 'node:test';

import { Execution, InvalidRequestError, NotFoundError, NullspaceError, TimeoutError } from 'nullspace';

import { needsRoot } from '../../scripts/lib/engine.mjs';
import { engineForTests, SMALL, until } from './support/engine.mjs';

const engine = await engineForTests();
after(() => engine.stopWell());

const PIXEL = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';
let machine;
let has;
before(async () => {
  machine = await engine.Machine.create({ ...SMALL, template: 'code-interpreter', memoryMb: 512, timeout: 600 });
  const found = await machine.commands.run('command -v python3; command -v node; :', { shell: true });
  has = (program) => found.stdout.includes(`/${program}`);
});
const withPython = (name, run) => test(name, (t) => (has('python3') ? run(t) : t.skip('the machine has no python3')));
const processes = async (name) =>
  (await machine.commands.run(`ps -eo args | grep -c '^${name}'`, { shell: true })).stdout.trim();

withPython('runCode remembers what cells define, tells what they print, show and raise', async () => {
  const first = await machine.runCode('x = 20\nprint("one")\nimport sys; print("two", file=sys.stderr)\nx + 1');
  assert.ok(first instanceof Execution);
  assert.deepEqual(
    [first.text, first.logs.stdout.join(''), first.logs.stderr.join(''), first.error, first.executionCount],
    ['21', 'one\n', 'two\n', undefined, 1],
  );
  assert.deepEqual(first.results, [{ text: '21', isMainResult: true }]);
  const failed = await machine.runCode('def f():\n  return x / 0\nf()');
  assert.equal(failed.error.name, 'ZeroDivisionError');
  assert.match(failed.error.traceback, /line 2, in f/);
  assert.doesNotMatch(failed.error.traceback, /kernel/);
  assert.equal((await machine.runCode('x')).text, '20');
  // Programs of a cell print into it as well, lines for the shell work, and so does await.
  const shell = await machine.runCode(
    '!echo from the shell; echo bad >&2\nimport asyncio\nawait asyncio.sleep(0)\n"done"',
  );
  assert.deepEqual(
    [shell.logs.stdout.join(''), shell.logs.stderr.join(''), shell.text],
    ['from the shell\n', 'bad\n', "'done'"],
  );
  const envs = await machine.runCode('import os; os.environ["ONLY"]', { envs: { ONLY: 'here' } });
  assert.equal(envs.text, "'here'");
  assert.equal((await machine.runCode('os.environ.get("ONLY")')).text, undefined);
  // Events come in the order in which the cell made them.
  const order = [];
  const hear = ({ text }) => order.push(text.trim());
  await machine.runCode('for i in range(20):\n  print(i)\n  display(-i)', { onStdout: hear, onResult: hear });
  assert.deepEqual(order, Array.from({ length: 20 }, (_, i) => [String(i), String(-i)]).flat());
  // What is no text, what is a lot, and what looks like an event.
  const odd = await machine.runCode('import sys\nsys.stdout.buffer.write(b"\\xff\\xfe|"); print(\'{"type":"end"}\')');
  assert.equal(odd.logs.stdout.join(''), '\ufffd\ufffd|{"type":"end"}\n');
  const much = await machine.runCode('print("é" * 3_000_000)');
  assert.equal(much.logs.stdout.join('').length, 3_000_001);
});

withPython('listeners hear a cell as it goes, and it waits for them', async () => {
  const heard = [];
  let slow = 0;
  const execution = await machine.runCode(
    'import time\nfor i in range(3):\n  print(i, flush=True)\n  time.sleep(0.05)\ndisplay(7)\n1/0',
    {
      onStdout: async ({ text, timestamp }) => {
        heard.push(text.trim());
        assert.ok(Math.abs(timestamp - Date.now()) < 60_000);
        await new Promise((resolve) => setTimeout(resolve, 20));
        slow += 1;
      },
      onResult: (result) => heard.push(result.text),
      onError: (error) => heard.push(error.name),
    },
  );
  assert.deepEqual(heard, ['0', '1', '2', '7', 'ZeroDivisionError']);
  assert.equal(slow, 3);
  assert.equal(execution.logs.stdout.join(''), '0\n1\n2\n');
  // A listener that throws stops the cell, and the call fails with what it threw.
  const own = new Error('own');
  await assert.rejects(
    machine.runCode('import subprocess\nprint(1, flush=True)\nsubprocess.run(["sleep", "7654"])', {
      onStdout: () => {
        throw own;
      },
    }),
    (error) => error === own,
  );
  await until('what the cell started is gone', async () => (await processes('sleep 7654')) === '0');
  assert.equal((await machine.runCode('x')).text, '20', 'the context lives on');
});

withPython('contexts are apart, and are restarted, interrupted and removed', async () => {
  const { codeInterpreter } = machine;
  const one = await codeInterpreter.createCodeContext({ cwd: '/tmp' });
  const two = await codeInterpreter.createCodeContext({ language: 'python' });
  assert.deepEqual([one.language, one.cwd], ['python', '/tmp']);
  await machine.runCode('y = 1', { context: one });
  assert.equal((await machine.runCode('y', { context: two.id })).error.name, 'NameError');
  assert.equal((await machine.runCode('import os; os.getcwd()', { context: one })).text, "'/tmp'");
  const listed = (await codeInterpreter.listCodeContexts()).map((context) => context.id);
  assert.ok(listed.includes(one.id) && listed.includes(two.id) && listed.length === 3, String(listed));

  const looping = machine.runCode('z = 5\nprint("begun", flush=True)\nwhile True: pass', {
    context: one,
    onStdout: () => codeInterpreter.interruptCodeContext(one),
  });
  assert.equal((await looping).error.name, 'KeyboardInterrupt');
  assert.equal((await machine.runCode('y, z', { context: one })).text, '(1, 5)');
  await codeInterpreter.restartCodeContext(one);
  const anew = await machine.runCode('y', { context: one });
  assert.deepEqual([anew.error.name, anew.executionCount], ['NameError', 1]);

  // Cells of one context run one after the other, those of others beside them.
  const order = [];
  let others;
  const cell = async (context, seconds, name, onStdout) => {
    await machine.runCode(`import time; print(1, flush=True); time.sleep(${seconds})`, { context, onStdout });
    order.push(name);
  };
  await cell(one, 0.5, 'one', () => {
    others = Promise.all([cell(one, 0, 'then'), cell(two, 0.1, 'beside')]);
  });
  await others;
  assert.deepEqual(order, ['beside', 'one', 'then']);

  const waiting = machine.runCode('import time; print("begun", flush=True); time.sleep(100)', {
    context: two,
    onStdout: () => codeInterpreter.removeCodeContext(two),
  });
  assert.equal((await waiting).error.name, 'KernelDied');
  await assert.rejects(machine.runCode('1', { context: two }), NotFoundError);
  await codeInterpreter.removeCodeContext(one);
  await assert.rejects(codeInterpreter.removeCodeContext(one), NotFoundError);
  assert.equal((await codeInterpreter.listCodeContexts()).length, 1);
});

withPython('a cell ends at its time, with its call, with its kernel and with its machine', async () => {
  const late = await machine.runCode('w = 1\nimport time\ntime.sleep(100)', { timeout: 1 });
  assert.equal(late.error.name, 'TimeoutError');
  assert.match(late.error.value, /longer than 1 s/);
  assert.equal((await machine.runCode('w')).text, '1', 'what it had defined is still there');
  // One that does not listen loses its kernel.
  const deaf = await machine.runCode(
    'import time\nwhile True:\n  try:\n    time.sleep(100)\n  except KeyboardInterrupt:\n    pass',
    { timeout: 1 },
  );
  assert.equal(deaf.error.name, 'TimeoutError');
  assert.match(deaf.error.value, /begins anew/);
  assert.equal((await machine.runCode('1 + 1')).executionCount, 1);

  const controller = new AbortController();
  const aborted = machine.runCode('import subprocess\nprint(1, flush=True)\nsubprocess.run(["sleep", "8765"])', {
    signal: controller.signal,
    onStdout: () => controller.abort(),
  });
  await assert.rejects(aborted, { name: 'AbortError' });
  await until('what it started is gone', async () => (await processes('sleep 8765')) === '0');

  const died = await machine.runCode('import os; os._exit(9)');
  assert.equal(died.error.name, 'KernelDied');
  assert.match(died.error.value, /code 9/);
  assert.equal((await machine.runCode('2')).text, '2');

  const other = await engine.Machine.create({ ...SMALL, template: 'code-interpreter', memoryMb: 256 });
  const running = other.runCode('import time; print(1, flush=True); time.sleep(100)', { onStdout: () => other.kill() });
  const ended = await running.then(
    (execution) => execution.error.name,
    (error) => (error instanceof NullspaceError ? 'error' : String(error)),
  );
  assert.ok(['KernelDied', 'error'].includes(ended), ended);
});

withPython('values are shown in every form, and pictures are kept as artifacts', async () => {
  const { codeInterpreter } = machine;
  const execution = await machine.runCode(
    `import base64
class Picture:
    def _repr_png_(self): return base64.b64decode(${JSON.stringify(PIXEL)})
    def _repr_html_(self): return '<b>bold</b>'
    def _repr_json_(self): return {'a_b': [1, None]}
from pathlib import Path
Path('/tmp/table.csv').write_text('a,b\\n')
display(Path('/tmp/table.csv'))
Picture()`,
  );
  const [shown] = execution.results;
  assert.deepEqual(
    [shown.png, shown.html, shown.json, shown.isMainResult],
    [PIXEL, '<b>bold</b>', { a_b: [1, null] }, true],
  );
  assert.deepEqual(
    execution.artifacts.map((artifact) => [artifact.kind, artifact.mimeType]),
    [
      ['document', 'text/csv'],
      ['html', 'text/html'],
      ['image', 'image/png'],
    ],
  );
  const picture = execution.artifacts[2];
  assert.ok(picture.createdAt instanceof Date);
  const bytes = await codeInterpreter.downloadArtifact(picture.id);
  assert.equal(Buffer.from(bytes).toString('base64'), PIXEL);
  assert.equal(createHash('sha256').update(bytes).digest('hex'), picture.sha256);
  assert.deepEqual(await codeInterpreter.previewArtifact(picture.id), bytes);
  assert.deepEqual(await codeInterpreter.getArtifact(picture.id), picture);
  assert.match(JSON.stringify(execution.serialize()), /\[image\/png: 70B\]/);

  const images = await codeInterpreter.listArtifacts({ kind: 'image', executionCount: execution.executionCount });
  assert.deepEqual(images.items, [picture]);
  const all = [];
  let cursor;
  do {
    const page = await codeInterpreter.listArtifacts({ limit: 1, cursor });
    all.push(...page.items.map((item) => item.id));
    cursor = page.nextCursor;
  } while (cursor !== undefined);
  assert.deepEqual(new Set(all), new Set(execution.artifacts.map((artifact) => artifact.id)));

  // They are files of the machine: a fork has them, and what one deletes the other keeps.
  const fork = await machine.fork();
  await codeInterpreter.deleteArtifact(picture.id);
  await assert.rejects(codeInterpreter.getArtifact(picture.id), NotFoundError);
  assert.equal((await fork.codeInterpreter.downloadArtifact(picture.id)).length, bytes.length);
  assert.deepEqual(await fork.codeInterpreter.listCodeContexts(), []);
  await fork.kill();

  // Descriptions that the machine made up are as little believed as any other input.
  await machine.commands.run(
    `cd /workspace/.nullspace/artifacts && echo '{' > art_00000000000000000000.json && ln -s /etc/passwd art_evil.json`,
    { shell: true },
  );
  assert.equal((await codeInterpreter.listArtifacts()).items.length, 2);
});

withPython('runs go on by themselves, are waited for, listed and cancelled', async () => {
  const { codeInterpreter } = machine;
  const context = await codeInterpreter.createCodeContext();
  const run = await codeInterpreter.createRun('import time; time.sleep(0.3); print("out"); 6 * 7', { context });
  assert.deepEqual([run.status, run.machineId, run.contextId], ['queued', machine.id, context.id]);
  const queued = await codeInterpreter.createRun('1 / 0', { context: context.id, timeout: 5 });
  await assert.rejects(codeInterpreter.waitForRun(run.id, { timeout: 0.05, pollInterval: 0.02 }), TimeoutError);
  const done = await codeInterpreter.waitForRun(run.id, { pollInterval: 0.05 });
  assert.ok(done.execution instanceof Execution);
  assert.deepEqual(
    [done.status, done.execution.text, done.execution.logs.stdout.join('')],
    ['succeeded', '42', 'out\n'],
  );
  assert.ok(done.completedAt >= done.startedAt && done.startedAt >= done.createdAt);
  const failed = await codeInterpreter.waitForRun(queued.id, { pollInterval: 0.05 });
  assert.deepEqual([failed.status, failed.failureReason], ['failed', 'ZeroDivisionError: division by zero']);

  const long = await codeInterpreter.createRun('import time; time.sleep(100)', { context });
  const behind = await codeInterpreter.createRun('2', { context });
  await until('it runs', async () => (await codeInterpreter.getRun(long.id)).status === 'running');
  // Nobody listens to a run: the end of a connection does not end it.
  assert.equal((await codeInterpreter.cancelRun(behind.id)).status, 'queued');
  assert.ok((await codeInterpreter.cancelRun(long.id)).cancelRequestedAt instanceof Date);
  const cancelled = await codeInterpreter.waitForRun(long.id, { pollInterval: 0.05 });
  assert.equal(cancelled.status, 'cancelled');
  await until(
    'the other one is cancelled too',
    async () => (await codeInterpreter.getRun(behind.id)).status === 'cancelled',
  );
  const stopped = await codeInterpreter.listRuns({ status: 'cancelled', context });
  assert.deepEqual(
    stopped.items.map((item) => item.id),
    [behind.id, long.id],
  );
  const page = await codeInterpreter.listRuns({ limit: 3 });
  assert.equal(page.items.length, 3);
  const rest = await codeInterpreter.listRuns({ cursor: page.nextCursor });
  assert.deepEqual([rest.items.map((item) => item.id), rest.nextCursor], [[run.id], undefined]);
  await assert.rejects(codeInterpreter.getRun('run_none'), NotFoundError);
  await codeInterpreter.removeCodeContext(context);
});

withPython('installPackages runs pip with each name as one word', async (t) => {
  if (needsRoot) return t.skip(needsRoot);
  await machine.files.write('/usr/local/bin/pip', '#!/bin/sh\nprintf "%s|" "$@"\n');
  await machine.files.setPermissions('/usr/local/bin/pip', '0755');
  const execution = await machine.installPackages(['numpy', 'pandas>=2', "a'b; touch /tmp/never"]);
  assert.equal(execution.logs.stdout.join(''), "install|numpy|pandas>=2|a'b; touch /tmp/never|");
  assert.equal(await machine.files.exists('/tmp/never'), false);
  for (const wrong of [[], '', [5], ['a\nb'], undefined])
    await assert.rejects(machine.installPackages(wrong), InvalidRequestError);
});

withPython('bash keeps its variables and its directory', async () => {
  const bash = (code) => machine.runCode(code, { language: 'bash' });
  assert.equal((await bash('v=5; cd /tmp; echo begun')).logs.stdout.join(''), 'begun\n');
  assert.equal((await bash('echo $v; pwd')).logs.stdout.join(''), '5\n/tmp\n');
  assert.equal((await bash('cat <<END\nhere\nEND')).logs.stdout.join(''), 'here\n');
  const failed = await bash('echo bad >&2; false');
  assert.deepEqual([failed.error.name, failed.error.value], ['CommandFailed', 'exit code 1']);
  assert.equal((await bash('exit 3')).error.name, 'ShellEnded');
  assert.equal((await bash('echo "[$v]"')).logs.stdout.join(''), '[]\n');
  const stopped = await machine.runCode('sleep 100', { language: 'bash', timeout: 1 });
  assert.equal(stopped.error.name, 'TimeoutError');
  assert.equal((await bash('echo next')).logs.stdout.join(''), 'next\n');
});

test('JavaScript keeps its declarations, awaits, shows and fails', async (t) => {
  if (!has('node')) return t.skip('the machine has no node');
  const js = (code, options) => machine.runCode(code, { language: 'javascript', ...options });
  const first = await js('const a = 20; console.log("out"); console.error("err"); a + 1');
  assert.deepEqual([first.text, first.logs.stdout.join(''), first.logs.stderr.join('')], ['21', 'out\n', 'err\n']);
  assert.equal((await js('await Promise.resolve(a)')).text, '20');
  const failed = await js('null.foo');
  assert.equal(failed.error.name, 'TypeError');
  assert.match(failed.error.traceback, /<cell 3>:1:6/);
  const child = await js('require("child_process").execSync("echo child", { stdio: "inherit" }); undefined');
  assert.equal(child.logs.stdout.join(''), 'child\n');
  const shown = await js(`display({ 'text/html': '<i>x</i>', 'image/png': ${JSON.stringify(PIXEL)} })`);
  assert.deepEqual([shown.results[0].html, shown.results[0].png], ['<i>x</i>', PIXEL]);
  assert.equal(shown.artifacts.length, 2);
  assert.equal((await js('for (;;) {}', { timeout: 1 })).error.name, 'TimeoutError');
  assert.equal((await js('await new Promise(() => {})', { timeout: 1 })).error.name, 'TimeoutError');
  assert.equal((await js('a')).text, '20');
});

test('what is wrong is named', async () => {
  const refused = (call, name, kind = InvalidRequestError) =>
    assert.rejects(call, (error) => {
      assert.ok(error instanceof kind, String(error));
      assert.match(error.message, new RegExp(name));
      return true;
    });
  const { codeInterpreter } = machine;
  await refused(machine.runCode(5), 'code');
  await refused(machine.runCode('1', { language: '' }), 'language');
  await refused(machine.runCode('1', { language: 'cobol' }), 'language');
  await refused(machine.runCode('1', { timeout: 0 }), 'timeout');
  await refused(machine.runCode('1', { onStdout: 5 }), 'onStdout');
  await refused(machine.runCode('1', { context: {} }), 'context');
  await refused(machine.runCode('1', { lang: 'python' }), 'lang');
  await refused(codeInterpreter.createCodeContext({ cwd: 'tmp' }), 'cwd');
  await refused(codeInterpreter.createCodeContext({ cwd: '/does/not/exist' }), 'cwd');
  await refused(codeInterpreter.createCodeContext({ cwd: '/workspace/.nullspace' }), 'cwd');
  await refused(codeInterpreter.createRun('1', {}), 'context');
  await refused(codeInterpreter.waitForRun('run_1', { timeout: -1 }), 'timeout');
  await refused(codeInterpreter.listArtifacts({ kind: 'movie' }), 'kind');
  await refused(codeInterpreter.listRuns({ cursor: 'run_none' }), 'cursor');
  const plain = await engine.Machine.create({ ...SMALL });
  await assert.rejects(plain.runCode('1'), (error) => {
    assert.equal(error.code, 'feature_unavailable');
    assert.match(error.suggestedAction, /code-interpreter/);
    return true;
  });
  await plain.kill();
});
