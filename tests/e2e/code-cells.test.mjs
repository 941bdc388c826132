// Cells as people write them in notebooks and consoles, one after the other in one context: each with what it must give.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, test } from 'node:test';

import { engineForTests, SMALL, until } from './support/engine.mjs';

const engine = await engineForTests();
after(() => engine.stopWell());

let machine;
let python;
let hasNode;
before(async () => {
  machine = await engine.Machine.create({ ...SMALL, template: 'code-interpreter', memoryMb: 512, timeout: 600 });
  const found = await machine.commands.run('python3 -c "import sys; print(sys.version_info[:2])"; command -v node; :', {
    shell: true,
  });
  python = found.stdout.match(/\(3, \d+\)/)?.[0];
  hasNode = found.stdout.includes('/node');
});

const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** What a cell gave, in short. */
const seen = ({ text, error, logs, results }) => ({
  ...(text !== undefined && { text }),
  ...(error && { error: error.name }),
  ...(logs.stdout.length > 0 && { out: logs.stdout.join('') }),
  ...(logs.stderr.length > 0 && { err: logs.stderr.join('') }),
  ...(results.some(({ html }) => html) && { html: results.map(({ html }) => html).join('|') }),
});

/** Runs rows of a cell and what it gives; a number is a time to wait. */
const runAll = async (on, options, rows) => {
  for (const row of rows) {
    if (typeof row === 'number') {
      await sleep(row);
      continue;
    }
    const [code, wanted] = row;
    const begun = Date.now();
    const given = seen(await on.runCode(code, { timeout: 20, ...options }));
    assert.deepEqual(given, wanted, code);
    assert.ok(Date.now() - begun < 10_000, `${code} took ${Date.now() - begun} ms`);
  }
};

/** Runs code that is interrupted as soon as it says something. */
const interrupted = (context, code) =>
  machine.runCode(code, {
    context,
    timeout: 10,
    onStdout: () => machine.codeInterpreter.interruptCodeContext(context),
  });

/** What the log of a context's kernel keeps: of tasks that went on after their cell. */
const leftBehind = async (on, context) => {
  const processes = await on.commands.list();
  const { pid } = processes.find(({ command }) => command.includes(context.id));
  return (await on.commands.getLogs(pid)).stdout;
};

test('JavaScript cells', async (t) => {
  if (!hasNode) return t.skip('the machine has no node');
  const context = await machine.codeInterpreter.createCodeContext({ language: 'javascript' });
  await machine.files.write('/workspace/own.mjs', 'export default 1; export const two = 2;');
  await runAll(machine, { context }, [
    // Declarations: made again, of a cell that failed, and of every kind.
    ['const config = JSON.parse("{bad")', { error: 'SyntaxError' }],
    ['const config = JSON.parse("{}"); "fixed"', { text: "'fixed'" }],
    ['config', { text: '{}' }],
    ['const twice = 1; class A {}', {}],
    ['const twice = 2; class A {}; twice', { text: '2' }],
    ['let again = 2', {}],
    ['let again = 3; function f() { return again } f()', { text: '3' }],
    ['var source = 4, fs = require("fs"); [source, typeof fs.readFileSync]', { text: "[ 4, 'function' ]" }],
    ['let 1x', { error: 'SyntaxError' }],
    ['nothing', { error: 'ReferenceError' }],
    ['for (const i of [1, 2]) console.log(i)', { out: '1\n2\n' }],
    ['{ a: 1, b: [2] }', { text: '{ a: 1, b: [ 2 ] }' }],
    ['{ let block = 3; block }', { text: '3' }],
    ['40 + 2', { text: '42' }],
    ['_', { text: '42' }],
    ['-0', { text: '-0' }],
    ['2n ** 70n', { text: '1180591620717411303424n' }],
    ['Symbol("s")', { text: 'Symbol(s)' }],
    ['throw null', { error: 'Error' }],
    // Waiting.
    ['const later = await new Promise((r) => setTimeout(r, 20, 7)); later', { text: '7' }],
    ['for await (const x of [Promise.resolve(5)]) console.log(x)', { out: '5\n' }],
    [
      'async function main() { await null; console.log("in main"); return 8 }\nmain();',
      { out: 'in main\n', text: '8' },
    ],
    ['(async () => { await null; throw new RangeError("x") })()', { error: 'RangeError' }],
    ['(async () => { throw new RangeError("x") })(); await new Promise(() => {})', { error: 'RangeError' }],
    // Modules.
    ['const { sep } = await import("node:path"); sep', { text: "'/'" }],
    ['import os, { cpus as all } from "node:os"; [typeof os.cpus, typeof all]', { text: "[ 'function', 'function' ]" }],
    ['import * as own from "./own.mjs"; [own.default, own.two]', { text: '[ 1, 2 ]' }],
    ['"import(\'x\') of a text"', { text: '"import(\'x\') of a text"' }],
    // Ends.
    ['process.exit(3)', { error: 'ProcessExit' }],
    ['process.exit()', {}],
    ['setTimeout(() => process.exit(4), 20); await new Promise(() => {})', { error: 'ProcessExit' }],
    ['again', { text: '3' }],
    // Standard input is at its end.
    ['require("fs").readFileSync(0, "utf8").length', { text: '0' }],
    ['require("child_process").execSync("cat; echo read", { stdio: "inherit" }); 0', { text: '0', out: 'read\n' }],
    ['process.stdin.on("data", console.log); await new Promise((r) => process.stdin.on("end", r)); 1', { text: '1' }],
    // What goes on after its cell is none of the next one's.
    [
      'setTimeout(() => console.log("late one"), 50); setTimeout(() => { throw new Error("late two") }, 50); 1',
      { text: '1' },
    ],
    [
      '(async () => { await new Promise((r) => setTimeout(r, 50)); throw new Error("late three") })(); 2',
      { text: '2' },
    ],
    ['await new Promise((r) => setTimeout(r, 200)); 3', { text: '3' }],
    ['const slow = (async () => { await new Promise((r) => setTimeout(r, 100)); return 9 })()', {}],
    ['await slow', { text: '9' }],
  ]);
  const log = await leftBehind(machine, context);
  for (const late of ['late one', 'Error: late two', 'Error: late three']) assert.ok(log.includes(late), log);
});

test('JavaScript cells are interrupted wherever they are', async (t) => {
  if (!hasNode) return t.skip('the machine has no node');
  const context = await machine.codeInterpreter.createCodeContext({ language: 'javascript' });
  await machine.runCode('const kept = 2', { context });
  // Often: an interrupt may come just as the code begins to wait.
  for (let round = 0; round < 20; round += 1) {
    for (const code of ['for (;;) {}', 'await 1; for (;;) {}', 'await new Promise(() => {})']) {
      const { error } = await interrupted(context, `console.log("begun"); ${code}`);
      assert.match(error.value, /interrupted/, `round ${round}: ${code}`);
      const next = await machine.runCode('kept', { context, timeout: 10 });
      assert.equal(next.text, '2', `round ${round}, after ${code}: ${JSON.stringify(next)}`);
    }
  }
});

/** Loops that begin only after the cell has waited: with them, what runs is called by the loop of events. */
const LATE_LOOPS = {
  javascript: {
    keep: 'const kept = 2',
    loops: [
      'await new Promise((r) => setTimeout(r, 10)); console.log("begun"); while (true) {}',
      'setTimeout(() => { console.log("begun"); while (true) {} }, 10); await new Promise(() => {})',
      'await new Promise(() => setInterval(() => { console.log("begun"); for (;;) {} }, 5))',
      'await new Promise((r) => setImmediate(r)); console.log("begun"); for (;;) {}',
      'await require("fs/promises").readFile("/etc/hostname"); console.log("begun"); for (;;) await 1',
      'await new Promise((r) => setTimeout(r, 10)); console.log("begun"); try { for (;;) {} } finally { for (;;) {} }',
    ],
  },
  python: {
    keep: 'import asyncio; kept = 2',
    loops: [
      'await asyncio.sleep(0.01); print("begun", flush=True)\nwhile True: pass',
      'async def loop():\n  await asyncio.sleep(0.01)\n  print("begun", flush=True)\n  while True: pass\nawait asyncio.create_task(loop())',
      'def loop():\n  print("begun", flush=True)\n  while True: pass\nasyncio.get_event_loop().call_later(0.01, loop); await asyncio.sleep(100)',
    ],
  },
};

test('a loop without end behind an await is ended by an interrupt and by its time, and the context lives on', async (t) => {
  for (const [language, { keep, loops }] of Object.entries(LATE_LOOPS)) {
    if (!(language === 'python' ? python : hasNode)) {
      t.diagnostic(`the machine has no ${language}`);
      continue;
    }
    const context = await machine.codeInterpreter.createCodeContext({ language });
    await machine.runCode(keep, { context });
    for (const code of loops) {
      // Often: an interrupt comes anywhere, also between two steps of a promise.
      for (let round = 0; round < 8; round += 1) {
        const { error } = await interrupted(context, code);
        assert.match(`${error.name} ${error.value}`, /[Ii]nterrupt/, `round ${round}: ${code}`);
      }
      const late = await machine.runCode(code, { context, timeout: 1 });
      assert.equal(late.error.name, 'TimeoutError', code);
      assert.match(late.error.value, /still there/, code);
      const next = await machine.runCode('kept', { context, timeout: 10 });
      assert.equal(next.text, '2', `after ${code}: ${JSON.stringify(next)}`);
    }
    // What waits still works after all this.
    const waits =
      language === 'python' ? 'await asyncio.sleep(0.05); 7' : 'await new Promise((r) => setTimeout(r, 50, 7))';
    assert.equal((await machine.runCode(waits, { context, timeout: 10 })).text, '7');
    if (language === 'javascript') {
      // And what a cell leaves running still says nothing in the cells after it.
      await runAll(machine, { context }, [
        ['Promise.resolve().then(() => setTimeout(() => console.log("late"), 30)); 8', { text: '8' }],
        ['await new Promise((r) => setTimeout(r, 100, 9))', { text: '9' }],
      ]);
    }
  }
});

/** Cells that both shells of Python understand. */
const PYTHON = [
  ['x = 1; x', { text: '1' }],
  ['x + 41', { text: '42' }],
  ['_', { text: '42' }],
  ['5;', {}],
  ['1 +', { error: 'SyntaxError' }],
  ['def f(:\n  pass', { error: 'SyntaxError' }],
  ['y = undefined_name', { error: 'NameError' }],
  ['for i in range(2):\n    print(i)', { out: '0\n1\n' }],
  [
    'class Page:\n    def _repr_html_(self): return "<p>"\n    def __repr__(self): return "page"\nPage()',
    { text: 'page', html: '<p>' },
  ],
  ['display(Page())', { html: '<p>' }],
  ['!echo from the shell', { out: 'from the shell\n' }],
  ['import sys; sys.exit(3)', { error: 'SystemExit' }],
  ['exit()', {}],
  ['input()', { error: 'EOFError' }],
  ['sys.stdin.read()', { text: "''" }],
  ['import subprocess; subprocess.run(["cat"]).returncode', { text: '0' }],
  // Tasks: begun in one cell, awaited in another, going on between them; and programs with a loop of their own.
  ['import asyncio\nasync def work(n):\n    await asyncio.sleep(0.1)\n    return n * 2', {}],
  ['await work(2)', { text: '4' }],
  ['task = asyncio.create_task(work(3))', {}],
  ['await task', { text: '6' }],
  ['other = asyncio.create_task(work(4))', {}],
  400,
  ['other.done(), other.result()', { text: '(True, 8)' }],
  ['asyncio.run(work(5))', { text: '10' }],
  ['loop = asyncio.get_event_loop(); loop.run_until_complete(work(6))', { text: '12' }],
  ['loop.close()', {}],
  ['await asyncio.gather(work(1), work(2))', { text: '[2, 4]' }],
  [
    'queue = asyncio.Queue()\nasync def produce():\n    for i in range(3): await queue.put(i)\nfilling = asyncio.create_task(produce())',
    {},
  ],
  ['[await queue.get() for _ in range(3)]', { text: '[0, 1, 2]' }],
  [
    'async def says():\n    await asyncio.sleep(0.1)\n    print("late one")\n    raise ValueError("late two")\nsaying = asyncio.create_task(says()); 1',
    { text: '1' },
  ],
  400,
  ['del saying; import gc; gc.collect() >= 0', { text: 'True' }],
  ['async with asyncio.Lock():\n    print("held")', { out: 'held\n' }],
  ['await asyncio.wait_for(asyncio.sleep(9), 0.05)', { error: 'TimeoutError' }],
];

test('Python cells', async (t) => {
  if (!python) return t.skip('the machine has no python3');
  const context = await machine.codeInterpreter.createCodeContext();
  await runAll(machine, { context }, PYTHON);
  const log = await leftBehind(machine, context);
  assert.ok(log.includes('late one') && log.includes('late two'), log);
  const waiting = machine.runCode('print("begun", flush=True); await asyncio.sleep(100)', {
    context,
    onStdout: () => machine.codeInterpreter.interruptCodeContext(context),
  });
  assert.equal((await waiting).error.name, 'KeyboardInterrupt');
  assert.equal((await machine.runCode('x', { context })).text, '1');
});

/** IPython of this computer with what it needs, as a tarball; nothing when the machine could not use it. */
const ipython = () => {
  const script = `
import importlib.metadata as m, io, re, sys, tarfile
wanted, seen = ["ipython"], {}
while wanted:
    name = wanted.pop()
    if name in seen: continue
    try: d = m.distribution(name)
    except m.PackageNotFoundError: continue
    seen[name] = d
    wanted += [re.match(r"[\\w.-]+", r)[0] for r in d.requires or [] if "extra ==" not in r]
if str(sys.version_info[:2]) != sys.argv[1] or "ipython" not in seen: sys.exit(1)
out = tarfile.open(fileobj=sys.stdout.buffer, mode="w|gz")
for d in seen.values():
    for f in d.files or []:
        if ".." not in f.parts and "__pycache__" not in f.parts: out.add(d.locate_file(f), str(f))
out.close()`;
  try {
    return execFileSync('python3', ['-c', script, python], {
      maxBuffer: 256 << 20,
      stdio: ['ignore', 'pipe', 'ignore'],
    });
  } catch {
    return undefined;
  }
};

test('Python cells in IPython, where it can be imported', async (t) => {
  const packed = python && ipython();
  if (!packed) return t.skip(`this computer has no IPython for Python ${python}`);
  const other = await engine.Machine.create({
    ...SMALL,
    template: 'code-interpreter',
    memoryMb: 512,
    envs: { PYTHONPATH: '/opt/ipython' },
  });
  await other.files.write('/tmp/ipython.tgz', packed);
  await other.commands.run('mkdir -p /opt/ipython && tar -xzf /tmp/ipython.tgz -C /opt/ipython', { shell: true });
  const context = await other.codeInterpreter.createCodeContext();
  await runAll(other, { context }, [
    ['type(get_ipython()).__mro__[1].__name__', { text: "'InteractiveShell'" }],
    ...PYTHON,
    ['words = !echo a; echo b\nlist(words)', { text: "['a', 'b']" }],
    ['name = "world"\n!echo hello {name}', { out: 'hello world\n' }],
    ['%%bash\necho in bash', { out: 'in bash\n' }],
    ['%cd /tmp', { out: '/tmp\n' }],
    ['%pwd', { text: "'/tmp'" }],
    ['%env NOTE=1\nimport os; os.environ["NOTE"]', { out: 'env: NOTE=1\n', text: "'1'" }],
    ['%%writefile note.txt\nkept', { out: 'Writing note.txt\n' }],
    ['open("note.txt").read()', { text: "'kept\\n'" }],
    ['%%capture caught\nprint("hidden")', {}],
    ['caught.stdout', { text: "'hidden\\n'" }],
    [
      'from IPython.display import HTML, display as shown\nshown(HTML("<b>"))\nHTML("<i>")',
      { text: '<IPython.core.display.HTML object>', html: '<b>|<i>' },
    ],
    ['%nosuchmagic', { error: 'UsageError', err: 'UsageError: Line magic function `%nosuchmagic` not found.\n' }],
  ]);
  const time = await other.runCode('%time sum(range(9))', { context });
  assert.ok(time.text === '36' && time.logs.stdout.join('').includes('Wall time'), JSON.stringify(time));
  assert.match((await other.runCode('len?', { context })).logs.stdout.join(''), /Return the number of items/);
  const failed = await other.runCode('def g():\n    1 / 0\ng()', { context });
  assert.match(failed.error.traceback, /^Traceback.*\n {2}File "<cell \d+>", line 3.*line 2, in g/s);
  await until('what was printed late is kept', async () => (await leftBehind(other, context)).includes('late two'));
  await other.kill();
});
