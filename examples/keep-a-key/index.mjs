// @ts-check
// A program that needs a service with a key runs in a machine that has no key: the engine adds it on the way out. The machine
// reaches that service and nothing else.
//
//   npx nullspace engine --background      (or set NULLSPACE_API_URL and NULLSPACE_API_KEY of another engine)
//   SERVICE_HOST=api.openai.com SERVICE_API_KEY=sk-... node index.mjs /v1/models

import { Machine, NetworkEgressPolicy } from 'nullspace';

/** As an agent would write it: it reads where the service is from the environment, and sends no key. */
const PROGRAM = `
import os, sys, urllib.request
with urllib.request.urlopen(os.environ["SERVICE_BASE_URL"] + sys.argv[1]) as answer:
    print(answer.status, answer.read(200).decode(errors="replace"))
print("the key in here:", os.environ["SERVICE_API_KEY"])
`;

const host = process.env.SERVICE_HOST;
if (!host) throw new Error('SERVICE_HOST is not set: give the name of the service, such as api.openai.com');

const machine = await Machine.create({
  network: {
    secrets: { SERVICE_API_KEY: { env: 'SERVICE_API_KEY', hosts: [host] } },
    egress: NetworkEgressPolicy.custom({ allowDomains: [host] }),
  },
});
try {
  const args = ['-c', PROGRAM, process.argv[2] ?? '/'];
  const { exitCode, stdout, stderr } = await machine.commands.run('python3', { args });
  console.log(exitCode === 0 ? stdout : stderr);
} finally {
  await machine.kill();
}
