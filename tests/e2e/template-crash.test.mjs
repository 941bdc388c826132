// A build whose engine is killed, and the next one, which goes on where it was.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, test } from 'node:test';

import { Nullspace } from 'nullspace';

import { endAll, removeDirectory, temporaryDirectory } from '../../scripts/lib/cleanup.mjs';
import { engineForTests, SMALL, sh } from './support/engine.mjs';
import { mountsBelow } from './support/host.mjs';

after(endAll);

const STEPS = 20;
/** Files of the context, of 1 MB each. */
const FILES = process.env.NULLSPACE_TEST_LONG ? 200 : 20;
const OPTIONS = { vcpus: 1, memoryMb: 256, internetAccess: false };

test(`a build of ${STEPS} steps on ${FILES} MB survives kill -9 of the engine`, async (t) => {
  const scratch = temporaryDirectory('template-crash');
  t.after(() => removeDirectory(scratch));
  const state = path.join(scratch, 'state');
  const context = path.join(scratch, 'context');
  mkdirSync(context);
  for (let file = 0; file < FILES; file++) writeFileSync(path.join(context, `${file}`), randomBytes(1e6));
  const steps = (template) => {
    let builder = template.fromTemplate('base').setFileContext(context).copy('.', '/srv/data');
    for (let step = 1; step < STEPS; step++) builder = builder.run(`sleep 0.1; echo ${step} >> /srv/steps`);
    return builder;
  };

  const first = await engineForTests({ state });
  const { Template } = new Nullspace(first.client);
  // Otherwise it would wait a minute for the engine to come back.
  const gone = new AbortController();
  first.ended.then(() => gone.abort(new Error('the engine is gone')));
  // A step is told when it begins, so that the ones before it are kept.
  const begun = new Set();
  const build = Template.build(steps(Template), 'big', {
    ...OPTIONS,
    signal: gone.signal,
    onLog({ stepIndex }) {
      if (stepIndex !== undefined) begun.add(stepIndex);
      if (begun.size === 12) first.signal('SIGKILL');
    },
  });
  await assert.rejects(build, /the engine is gone/);

  const second = await engineForTests({ state });
  t.after(() => second.stop());
  const again = new Nullspace(second.client);
  const { builds } = await again.Template.listBuilds('big').catch(() => ({ builds: [] }));
  assert.deepEqual(
    builds.map(({ status }) => status).filter((status) => status !== 'error'),
    [],
  );
  const told = { hit: 0, miss: 0 };
  let sent = 0;
  const info = await again.Template.build(steps(again.Template), 'big', {
    ...OPTIONS,
    onLog({ cacheKind, cacheStatus }) {
      if (cacheKind === 'layer') told[cacheStatus] += 1;
    },
    onUploadProgress: (progress) => {
      sent = progress.sentBytes;
    },
  });
  assert.equal(info.name, 'big');
  assert.equal(sent, 0, 'the context was there already');
  assert.equal(told.hit + told.miss, STEPS);
  assert.ok(told.hit >= 11, `only ${told.hit} steps came from the cache`);
  assert.ok(told.miss > 0, 'the engine was killed in the middle');

  const machine = await again.Machine.create({ ...SMALL, template: 'big' });
  assert.equal(
    await sh(machine, 'wc -l < /srv/steps; ls /srv/data | wc -l; cat /srv/data/* | wc -c'),
    `${STEPS - 1}\n${FILES}\n${FILES * 1e6}`,
  );
  await machine.kill();
  assert.deepEqual(await second.stop(), { code: 0, signal: null });
  assert.deepEqual(mountsBelow(state), []);
});
