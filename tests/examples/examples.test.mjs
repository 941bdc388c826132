// The examples, as somebody runs them who copied them into a project.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createServer } from 'node:http';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';

import { chromium } from 'playwright-core';

import { BROWSER_FLAGS, browserPath } from '../../scripts/lib/browser.mjs';
import { cleanUpOnSignals, end, endAll, start, temporaryDirectory } from '../../scripts/lib/cleanup.mjs';
import { needsRoot, startEngine } from '../../scripts/lib/engine.mjs';

const examples = process.env.NULLSPACE_TEST_EXAMPLES;
const run = promisify(execFile);
const inExamples = (...parts) => path.join(examples, ...parts);
const BROWSER_PORT = 8090;

cleanUpOnSignals();
let engine;
let sdk;
before(async () => {
  engine = await startEngine({
    binary: process.env.NULLSPACE_TEST_ENGINE,
    args: ['--allow-origin', `http://127.0.0.1:${BROWSER_PORT}`],
  });
  // The examples take their address and key from the environment.
  process.env.NULLSPACE_API_URL = engine.url;
  process.env.NULLSPACE_API_KEY = engine.apiKey;
  const { Nullspace } = await import(pathToFileURL(inExamples('node_modules/nullspace/node.mjs')).href);
  sdk = new Nullspace(engine.client);
});
after(async () => {
  const how = await engine?.stop();
  await endAll();
  if (how) assert.equal(how.code, 0);
});

const machines = async () => (await sdk.Machine.list({ fields: ['id'] })).map(({ id }) => id);

/** Runs a program of the examples; resolves when it says that it listens, with its address. */
async function served(file, env = {}, args = []) {
  const child = start(process.execPath, [...args, file], { cwd: path.dirname(file), env: { ...process.env, ...env } });
  let output = '';
  const origin = await new Promise((resolve, reject) => {
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text) => {
        output += text;
        const found = output.match(/http:\/\/(?:127\.0\.0\.1|localhost):\d+/);
        if (found) resolve(found[0]);
      });
    }
    child.once('close', (code) => reject(new Error(`it ended with ${code}: ${output}`)));
  });
  return { origin, child, output: () => output };
}

const gone = (child) => new Promise((resolve) => child.once('close', resolve));

/** The events of a stream of server-sent events. */
const eventsOf = (text) =>
  [...text.matchAll(/^event: (\w+)\ndata: (.*)$/gm)].map(([, event, data]) => [event, JSON.parse(data)]);

test('no example is long', () => {
  const files = readdirSync(examples, { recursive: true }).filter(
    (name) => /\.(mjs|ts|tsx|html)$/.test(name) && !/node_modules|playground/.test(name),
  );
  assert.ok(files.length >= 8, files.join());
  for (const file of files) {
    const lines = readFileSync(inExamples(file), 'utf8').split('\n').length - 1;
    assert.ok(lines <= 120, `${file} has ${lines} lines`);
  }
});

test('agent-loop: says what it needs before anybody waits for an answer', async () => {
  const { MODEL_URL, ...env } = process.env;
  await assert.rejects(run(process.execPath, [inExamples('agent-loop/index.mjs')], { env }), {
    stderr: /MODEL_URL is not set: .*https:/,
  });
});

test('agent-loop: each conversation has a machine, and its client hears the model and the commands', async () => {
  const asked = [];
  const call = (line) => ({
    id: 'call_1',
    type: 'function',
    function: { name: 'shell', arguments: JSON.stringify({ line }) },
  });
  /** What a model would say: it looks at the latest message. */
  const answerTo = ({ role, content }) => {
    if (role === 'tool') return { role: 'assistant', content: `It printed: ${content}` };
    return { role: 'assistant', content: null, tool_calls: [call(content)] };
  };
  const model = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    const { messages, tools } = JSON.parse(body);
    asked.push({ url: request.url, key: request.headers.authorization, tool: tools[0].function.name });
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ choices: [{ message: answerTo(messages.at(-1)) }] }));
  });
  await new Promise((resolve) => model.listen(0, '127.0.0.1', resolve));
  const agent = await served(inExamples('agent-loop/index.mjs'), {
    MODEL_URL: `http://127.0.0.1:${model.address().port}/v1`,
    MODEL_KEY: 'model-key',
    PORT: '0',
  });
  const say = async (name, text, signal) => {
    const answer = await fetch(`${agent.origin}/conversations/${name}`, { method: 'POST', body: text, signal });
    assert.equal(answer.headers.get('content-type'), 'text/event-stream');
    return eventsOf(await answer.text());
  };
  try {
    assert.deepEqual(await say('one', 'echo kept > file; echo written'), [
      ['command', 'echo kept > file; echo written'],
      ['stdout', 'written\n'],
      ['text', 'It printed: written\n\n(exit code 0)'],
      ['done', {}],
    ]);
    assert.deepEqual(asked[0], { url: '/v1/chat/completions', key: 'Bearer model-key', tool: 'shell' });
    const [, second] = await say('one', 'cat file');
    assert.deepEqual(second, ['stdout', 'kept\n']);
    const other = await say('two', 'cat file');
    assert.match(other.at(-2)[1], /No such file.*\(exit code 1\)/s);
    assert.equal((await machines()).length, 2);

    // A client who goes away ends the command.
    const leaving = new AbortController();
    const left = say('one', 'touch began; sleep 61; touch ended', leaving.signal);
    const machine = (await sdk.Machine.list({ query: { metadata: { conversation: 'one' } } })).items[0];
    const handle = await sdk.Machine.connect(machine.id);
    for (let tries = 0; !(await handle.files.exists('began')); tries++) {
      assert.ok(tries < 200, 'the command began');
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    leaving.abort();
    await assert.rejects(left);
    for (let tries = 0; (await handle.commands.run('pgrep', { args: ['-x', 'sleep'] })).exitCode === 0; tries++) {
      assert.ok(tries < 200, 'the command ended');
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    assert.equal((await fetch(agent.origin)).status, 404);
  } finally {
    agent.child.kill('SIGTERM');
    await gone(agent.child);
    model.closeAllConnections();
    await new Promise((resolve) => model.close(resolve));
  }
  assert.deepEqual(await machines(), []);
});

test('judge: programs get their verdicts, and no program outlives its own', async () => {
  const { judge } = await import(pathToFileURL(inExamples('judge/index.mjs')).href);
  const tests = [
    { input: '1 2\n', output: '3\n' },
    { input: '2 3\n', output: '5\n' },
  ];
  const sum = 'print(sum(map(int, input().split())))';
  const cases = {
    accepted: [sum, undefined],
    'wrong answer': ['print(3)', 2],
    'time limit': ['while True: pass', 1],
    'output limit': ['while True: print("x" * 1000)', 1],
    'runtime error': ['1/0', 1],
  };
  for (const [verdict, [source, failed]] of Object.entries(cases)) {
    const result = await judge('py', source, tests, { seconds: 2 });
    assert.deepEqual([result.verdict, result.test], [verdict, failed], result.stderr);
  }
  // A program that writes over itself is judged by what was sent in.
  const cheat = `${sum}\nopen('program.py', 'w').write('print(5)')`;
  assert.equal((await judge('py', cheat, tests)).verdict, 'accepted');
  await assert.rejects(judge('cobol', '', tests), /no language cobol/);
  assert.deepEqual(await machines(), []);
});

test('judge: a program that takes too much memory is told so', {
  skip: needsRoot,
}, async () => {
  const { judge } = await import(pathToFileURL(inExamples('judge/index.mjs')).href);
  const { verdict } = await judge('py', 'print(len("a" * (1 << 30)))', [{ input: '', output: '' }]);
  assert.equal(verdict, 'memory limit');
});

test('parallel-tests: files run side by side, apart from each other, and the snapshot goes', async () => {
  const project = temporaryDirectory('project');
  mkdirSync(path.join(project, 'tests'));
  writeFileSync(path.join(project, 'tests/good.sh'), 'test -f prepared && ! test -e touched && touch touched\n');
  writeFileSync(path.join(project, 'tests/also good.sh'), 'test -f prepared && ! test -e touched && touch touched\n');
  writeFileSync(path.join(project, 'tests/bad.sh'), 'echo it is wrong >&2; exit 4\n');
  const child = start(
    process.execPath,
    [
      inExamples('parallel-tests/index.mjs'),
      project,
      ...['--run', 'sh', '--prepare', 'touch prepared', '--parallel', '2'],
      ...['tests/good.sh', 'tests/also good.sh', 'tests/bad.sh'],
    ],
    { env: process.env },
  );
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (output += text));
  assert.equal(await gone(child), 1, output);
  assert.match(output, /^ok {5}tests\/good\.sh \d+ ms$/m);
  assert.match(output, /^ok {5}tests\/also good\.sh \d+ ms$/m);
  assert.match(output, /^FAILED tests\/bad\.sh \d+ ms\n {4}it is wrong$/m);
  assert.match(output, /^2 passed, 1 failed$/m);
  assert.deepEqual([await machines(), await sdk.Snapshot.list()], [[], []]);
});

test('browser-terminal: a page types into a shell, and the machine ends with it', async () => {
  const server = await served(inExamples('browser-terminal/server.mjs'), { PORT: String(BROWSER_PORT) });
  const browser = await chromium.launch({ executablePath: browserPath(), args: BROWSER_FLAGS });
  try {
    const page = await browser.newPage();
    const complaints = [];
    page.on('pageerror', (error) => complaints.push(String(error)));
    await page.goto(server.origin);
    await page
      .waitForFunction(() => document.querySelector('.xterm-rows')?.textContent.includes('#'))
      .catch(async () => {
        throw new Error(`${await page.getByRole('status').textContent()} ${complaints}`);
      });
    await page.keyboard.type('echo $((6 * 7))\n');
    await page.waitForFunction(() => document.querySelector('.xterm-rows').textContent.includes('42'));
    assert.equal((await machines()).length, 1);
    await page.keyboard.type('exit 3\n');
    await page.getByText('The shell ended with exit code 3, and the machine with it.').waitFor();
    assert.deepEqual(complaints, []);
    // Other sites, and files beside the packages, are refused.
    assert.equal((await fetch(`${server.origin}/machine`)).status, 403);
    for (const name of ['/nullspace/../../package.json', '/ws/package.json', '/%2e%2e/package.json']) {
      assert.equal((await fetch(server.origin + name)).status, 404, name);
    }
  } finally {
    await browser.close();
    await end(server.child, 'SIGKILL');
  }
  assert.deepEqual(await machines(), []);
});

/** Large tools are installed only when everything is run. */
const skip = (name, tool) =>
  existsSync(inExamples(name, 'node_modules', tool))
    ? false
    : `${tool} is not installed: node scripts/test.mjs examples --all`;

test('cloudflare-worker: runs in workerd for callers with the token', {
  skip: skip('cloudflare-worker', 'wrangler'),
}, async () => {
  const folder = inExamples('cloudflare-worker');
  const settings = JSON.parse(
    readFileSync(path.join(folder, 'wrangler.jsonc'), 'utf8').replaceAll(/^\s*\/\/.*$/gm, ''),
  );
  const child = start('npx', ['wrangler', 'deploy', '--dry-run', '--outdir', 'dist'], {
    cwd: folder,
    env: { ...process.env, CI: '1', WRANGLER_SEND_METRICS: 'false' },
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (output += text));
  assert.equal(await gone(child), 0, output);
  const { Miniflare } = await import(pathToFileURL(path.join(folder, 'node_modules/miniflare/dist/src/index.js')).href);
  const module = readdirSync(path.join(folder, 'dist')).find((name) => name.endsWith('.wasm'));
  const worker = new Miniflare({
    modules: [
      { type: 'ESModule', path: path.join(folder, 'dist/worker.js') },
      { type: 'CompiledWasm', path: path.join(folder, 'dist', module) },
    ],
    modulesRoot: path.join(folder, 'dist'),
    compatibilityDate: settings.compatibility_date,
    bindings: { NULLSPACE_API_URL: engine.url, NULLSPACE_API_KEY: engine.apiKey, CALLER_TOKEN: 'caller' },
  });
  try {
    const ask = (code, token = 'caller') =>
      worker.dispatchFetch('http://worker/', {
        method: 'POST',
        headers: { authorization: `Bearer ${token}` },
        body: code,
      });
    assert.deepEqual(await (await ask('print(6 * 7)')).json(), { exitCode: 0, stdout: '42\n', stderr: '' });
    assert.equal((await ask('1/0')).status, 200);
    assert.equal((await ask('while True: pass')).status, 422);
    assert.equal((await ask('print(1)', 'wrong')).status, 401);
    assert.equal((await ask('print(1)', '')).status, 401);
  } finally {
    await worker.dispose();
  }
  assert.deepEqual(await machines(), []);
});

test('next-route: a visitor keeps a machine, and hears a command as it runs', {
  skip: skip('next-route', 'next'),
}, async () => {
  const folder = inExamples('next-route');
  const env = { ...process.env, CI: '1', NEXT_TELEMETRY_DISABLED: '1' };
  const building = start('npx', ['next', 'build'], { cwd: folder, env });
  let output = '';
  for (const stream of [building.stdout, building.stderr]) stream.on('data', (text) => (output += text));
  assert.equal(await gone(building), 0, output);
  const next = path.join(folder, 'node_modules/next/dist/bin/next');
  const child = start(process.execPath, [next, 'start', '-H', '127.0.0.1', '-p', '8091'], { cwd: folder, env });
  try {
    const origin = 'http://127.0.0.1:8091';
    for (let tries = 0; ; tries++) {
      const up = await fetch(origin).catch(() => undefined);
      if (up?.ok) break;
      assert.ok(tries < 200, 'next answers');
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    let cookie;
    const ask = async (command) => {
      const headers = cookie ? { cookie } : {};
      const answer = await fetch(`${origin}/api/run`, { method: 'POST', headers, body: JSON.stringify({ command }) });
      cookie = answer.headers.get('set-cookie')?.split(';')[0] ?? cookie;
      const text = await answer.text();
      if (!answer.ok) return answer.status;
      const events = text
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line));
      return events.filter(({ kind }) => kind !== 'started');
    };
    const [first] = await ask('echo kept | tee file');
    assert.deepEqual([first.kind, first.data], ['stdout', 'kept\n']);
    const events = await ask('cat file; exit 5');
    assert.deepEqual(
      events.map(({ kind, data, exitCode }) => [kind, data ?? exitCode]),
      [
        ['stdout', 'kept\n'],
        ['exit', 5],
      ],
    );
    assert.equal((await machines()).length, 1);
    assert.equal(await ask(7), 400);
    // A machine that is gone is made anew.
    await sdk.Machine.killById((await machines())[0]);
    assert.equal((await ask('cat file')).at(-1).exitCode, 1);
    await sdk.Machine.killById((await machines())[0]);
  } finally {
    await end(child, 'SIGKILL');
  }
  assert.deepEqual(await machines(), []);
});
