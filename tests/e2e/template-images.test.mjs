// Templates that the package builds of images and Dockerfiles, on a registry of the test.

import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { BuildError, Nullspace } from 'nullspace';

import { removeDirectory, temporaryDirectory } from '../../scripts/lib/cleanup.mjs';
import { needsRoot } from '../../scripts/lib/engine.mjs';
import { engineForTests, SMALL } from './support/engine.mjs';
import { copyPrograms, layerOf, startRegistry } from './support/registry.mjs';

const PASSWORD = 'hunter2-8f0d3b61';

let engine;
let registry;
let image;
let Machine;
let Template;
const scratch = temporaryDirectory('template-images');
before(async () => {
  engine = await engineForTests();
  ({ Machine, Template } = new Nullspace(engine.client));
  registry = await startRegistry({ login: `ann:${PASSWORD}` });
  const low = path.join(scratch, 'low');
  copyPrograms(low, ['/bin/sh', '/bin/cat', '/bin/ls', '/usr/bin/id', '/usr/bin/stat']);
  mkdirSync(path.join(low, 'etc'));
  writeFileSync(path.join(low, 'etc/passwd'), 'root:x:0:0::/root:/bin/sh\napp:x:1000:1000::/srv:/bin/sh\n');
  writeFileSync(path.join(low, 'etc/gone'), '');
  const high = path.join(scratch, 'high');
  for (const folder of ['etc', 'srv']) mkdirSync(path.join(high, folder), { recursive: true });
  writeFileSync(path.join(high, 'etc/.wh.gone'), '');
  writeFileSync(path.join(high, 'srv/hello'), 'of the image\n');
  image = registry.publish('team/tools', '1', [layerOf(low), layerOf(high)], {
    Env: ['GREETING=hi', 'PATH=/usr/bin:/bin'],
    WorkingDir: '/srv',
  });
});
after(async () => {
  await registry?.close();
  await engine?.stopWell();
  removeDirectory(scratch);
});

const ALONE = { vcpus: 1, memoryMb: 256, internetAccess: false };
const LOGIN = { username: 'ann', password: PASSWORD };
const inside = async (template, command) => {
  const machine = await Machine.create({ ...SMALL, template });
  try {
    const { stdout, stderr, exitCode } = await machine.commands.run(command, { shell: true });
    assert.equal(exitCode, 0, stderr);
    return stdout.trim().split('\n');
  } finally {
    await machine.kill();
  }
};

test('a template is built of an image behind a password, and steps on top of it', async () => {
  const builder = Template.fromRegistry(image, LOGIN).run('cat hello > built; echo "$GREETING" >> built');
  const info = await Template.build(builder, 'from-image', ALONE);
  assert.equal(info.name, 'from-image');
  // Its PATH and folder too, and what a higher layer removed is gone.
  assert.deepEqual(
    await inside('from-image', 'pwd; echo "$GREETING $PATH"; cat built; ls /etc/gone 2>/dev/null || echo gone'),
    ['/srv', 'hi /usr/bin:/bin', 'of the image', 'hi', 'gone'],
  );
  // The same image for other steps: no layer comes again.
  const blobs = () => registry.asked.filter((path) => path.includes('/blobs/')).length;
  const before = blobs();
  await Template.build(builder.run('echo more >> built'), 'from-image-too', ALONE);
  assert.ok(blobs() - before <= 1, `${blobs() - before} blobs came again`);
  for (const name of ['from-image', 'from-image-too']) await Template.delete(name);
});

test('a password that is wrong, and an image that is not there, are errors that say so', async () => {
  for (const [from, says] of [
    [Template.fromRegistry(image, { ...LOGIN, password: 'wrong-one' }), /401|unauthorized|password|log ?in/i],
    [Template.fromRegistry(`${registry.host}/team/none:1`, LOGIN), /has no .*team\/none:1/],
  ]) {
    await assert.rejects(Template.build(from, 'from-nothing', ALONE), (error) => {
      assert.ok(error instanceof BuildError, String(error));
      assert.match(error.message, says);
      assert.ok(!JSON.stringify(error).includes('wrong-one'));
      return true;
    });
  }
  assert.equal(await Template.exists('from-nothing'), false);
  assert.ok(!engine.log().includes(PASSWORD));
});

test('a Dockerfile of two stages is built with its context', { skip: needsRoot }, async () => {
  const context = path.join(scratch, 'context');
  mkdirSync(path.join(context, 'src'), { recursive: true });
  writeFileSync(path.join(context, 'src/main.sh'), 'echo "main, $STAGE"\n');
  writeFileSync(path.join(context, 'notes.log'), 'left out');
  writeFileSync(path.join(context, '.dockerignore'), '*.log\n');
  const open = await startRegistry();
  try {
    const low = path.join(scratch, 'low');
    const base = open.publish('tools', 'latest', [layerOf(low)], { Env: ['PATH=/usr/bin:/bin'] });
    await Template.build(Template.fromImage(base).run('echo made > /made'), 'from-open', ALONE);
    assert.deepEqual(await inside('from-open', 'cat /made; ls /etc/gone'), ['made', '/etc/gone']);
    await Template.delete('from-open');
    const dockerfile = `
FROM ${base} AS build
WORKDIR /made
COPY . .
ARG STAGE=first
RUN cat src/main.sh > out.sh && ls > listed

FROM ${base}
ENV STAGE=last
WORKDIR /app
COPY --from=build --chown=app:7 --chmod=750 /made/out.sh /made/listed ./
COPY --chown=app src/main.sh named
COPY --chown=77 src/main.sh numbered
USER app
`;
    const builder = Template.fromDockerfileContent(dockerfile).setFileContext(context);
    await Template.build(builder, 'from-dockerfile', ALONE);
    assert.deepEqual(
      await inside(
        'from-dockerfile',
        'pwd; id -u; stat -c "%u:%g %a" out.sh named numbered; sh out.sh; cat listed; ls /made 2>&1 || true',
      ),
      [
        ...['/app', '1000', '1000:7 750', '1000:1000 644', '77:77 644', 'main, last'],
        ...['listed', 'out.sh', 'src', "ls: cannot access '/made': No such file or directory"],
      ],
    );
    writeFileSync(path.join(context, 'Dockerfile'), dockerfile);
    await Template.build(Template.fromDockerfile(path.join(context, 'Dockerfile')), 'from-file', ALONE);
    assert.deepEqual(await inside('from-file', 'cat listed'), ['Dockerfile', 'listed', 'out.sh', 'src']);
    for (const name of ['from-dockerfile', 'from-file']) await Template.delete(name);
    await assert.rejects(
      Template.build(
        Template.fromDockerfileContent(`FROM ${base}\nWORKDIR /\nCOPY --parents src /x\n`).setFileContext(context),
        'bad',
        ALONE,
      ),
      /line 3.*--parents/,
    );
    // The image has no `chown`, and need not: it is asked who its users are.
    await assert.rejects(
      Template.build(
        Template.fromDockerfileContent(`FROM ${base}\nCOPY --chown=eve src /x\n`).setFileContext(context),
        'bad',
        ALONE,
      ),
      /the template has no user "eve"/,
    );
  } finally {
    await open.close();
  }
});
