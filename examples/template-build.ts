// A template of an own web server: built once, and kept while it serves. Machines of it serve from their first moment on.
//
//   npx nullspace engine --background      (or set NULLSPACE_API_URL and NULLSPACE_API_KEY of another engine)
//   npx tsx template-build.ts

import { BuildError, defaultBuildLogger, Machine, Template, waitForUrl } from 'nullspace';

const page = new File(['<h1>It was built</h1>\n'], 'index.html');

// Every step gives a new builder: others may begin with `server` too.
const server = Template.fromTemplate('base')
  .makeDir('/srv/app')
  .copy(page, '/srv/app/', { mode: 0o644 })
  .setWorkdir('/srv/app')
  .setBuildEnvs({ STAGE: 'production' })
  .run('echo "built for $STAGE" > stage')
  .setRuntimeEnvs({ GREETING: 'hello' });
const serving = server.setStartCommand('python3 -m http.server 8080', waitForUrl('http://localhost:8080/index.html'));

try {
  const template = await Template.build(serving, 'example-server:stable', { onLog: defaultBuildLogger() });
  console.log(`built    ${template.name}:${template.tags?.join(',')}`);
} catch (error) {
  // The step, its command and exit code, and the end of the log.
  if (error instanceof BuildError) console.error(error.message, error.log);
  throw error;
}

try {
  await using machine = await Machine.create({
    template: 'example-server:stable',
    timeout: 60,
  });
  const { stdout } = await machine.commands.run('cat index.html stage; echo "$GREETING"', { shell: true });
  console.log(stdout.trim());
  const { url } = await machine.createSignedPreviewUrl(8080);
  console.log(`served   ${(await (await fetch(url)).text()).trim()}`);
} finally {
  await Template.delete('example-server');
}
