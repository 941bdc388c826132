// What is done to an engine to see which limits hold. Speaks HTTP, so the engine may be anywhere: on this computer, in a container, in
// a virtual machine.

import { setTimeout as sleep } from 'node:timers/promises';

/** The API of an engine, as far as attacks need it. */
function client({ url, apiKey }) {
  const request = async (method, path, body) => {
    const response = await fetch(new URL(path, url), {
      method,
      headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' },
      body: body && JSON.stringify(body),
    });
    const answer = response.status === 204 ? {} : await response.json();
    if (response.ok) return answer;
    throw Object.assign(new Error(answer.error), { code: answer.code });
  };
  return {
    create: (body) => request('POST', '/v1/machines', { timeout_ms: 600_000, ...body }),
    kill: (id) => request('DELETE', `/v1/machines/${id}`),
    run: (id, command, more) =>
      request('POST', `/v1/machines/${id}/exec`, { command, shell: true, timeout_secs: 280, ...more }),
    program: (id, command) => request('POST', `/v1/machines/${id}/exec`, { command }),
  };
}

const enforced = (text) => ({ state: 'enforced', text });
const open = (text) => ({ state: 'not enforced', text });

/** A machine for one attack. A size that is refused is a result, too. */
async function withMachine(api, sizes, attack) {
  let machine;
  try {
    machine = await api.create(sizes);
  } catch (error) {
    if (error.code === 'feature_unavailable') return { state: 'refused', text: error.message };
    throw error;
  }
  try {
    return await attack(machine);
  } finally {
    await api.kill(machine.id);
  }
}

/** 600 MiB at once: `tail` keeps what has no end of line. */
const MEMORY_BOMB = 'head -c 629145600 /dev/zero | tail > /dev/null';
const memory = (api) =>
  withMachine(api, { memory_mb: 256 }, async ({ id }) => {
    const { exit_code } = await api.run(id, MEMORY_BOMB);
    const text = `600 MiB in a machine of 256: exit code ${exit_code}`;
    return exit_code === 137 ? enforced(text) : open(text);
  });

/** What eight busy threads get of the processors. A slow computer needs a while to start them. */
const BUSY = `
  begun=$(date +%s%N)
  for i in 1 2 3 4 5 6 7 8; do timeout 6 sh -c 'while :; do :; done' & done
  wait; echo $(($(date +%s%N) - begun)); times`;
const share = (stdout) => {
  const lines = stdout.trim().split('\n');
  // Of those that ended: the last line, in minutes and seconds.
  const times = [...lines.at(-1).matchAll(/(\d+)m([\d.]+)s/g)];
  return (
    times.reduce((sum, [, minutes, seconds]) => sum + 60 * minutes + Number(seconds), 0) / (Number(lines[0]) / 1e9)
  );
};
const processors = async (api) => {
  const used = async ({ id }) => share((await api.run(id, BUSY)).stdout);
  const cell = (sizes) => withMachine(api, sizes, async (machine) => ({ used: await used(machine) }));
  let most = 0;
  for (let tries = 0; tries < TRIES; tries++) {
    const one = await cell({ vcpus: 1 });
    if (one.state) return one;
    // The default is two. Where a machine of two gets no more, it is the computer that has no more, at this moment.
    const two = await cell({ vcpus: 2 });
    most = Math.max(most, one.used);
    const text = `eight busy threads: ${one.used.toFixed(2)} processors with \`vcpus: 1\`, ${two.used.toFixed(2)} with 2`;
    if (most > 1.2) return open(text);
    if (two.used > 1.2) return enforced(text);
  }
  return { state: 'not shown', text: `eight busy threads got ${most.toFixed(2)} processors: the computer was busy` };
};
/** How often it is tried on a computer that others use, too. */
const TRIES = 6;

const processes = (api) =>
  withMachine(api, {}, async ({ id }) => {
    // The shell ends at a fork that fails, and what it started with it.
    const storm = 'i=0; while [ $i -lt 1500 ]; do sleep 300 > /dev/null 2>&1 & i=$((i+1)); echo $i; done | tail -n 1';
    const { stdout } = await api.run(id, storm);
    const started = Number(stdout);
    const text = `1500 processes asked for: ${started} started`;
    return started > 0 && started <= 1024 ? enforced(text) : open(text);
  });

const disk = (api) =>
  withMachine(api, { disk_mb: 512 }, async ({ id }) => {
    const { stderr } = await api.run(id, 'head -c 734003200 /dev/zero > /workspace/full');
    const text = '700 MiB on a disk of 512';
    return /No space left/.test(stderr) ? enforced(`${text}: no space left`) : open(`${text} were written`);
  });

const users = (api) =>
  withMachine(api, {}, async ({ id }) => {
    const { stdout, stderr } = await api.run(id, 'setpriv --reuid 65534 --regid 65534 --clear-groups id -u || true');
    if (stdout.trim() === '65534') return { state: 'works', text: 'a command as `nobody`' };
    return { state: 'refused', text: `a command as \`nobody\`: ${stderr.trim().split('\n').at(-1)}` };
  });

const middle = (times) => times.toSorted((a, b) => a - b)[Math.floor(times.length / 2)];

/** The three attacks at once. Each goes on for as long as its machine lives. */
const ATTACKS = [
  'while :; do head -c 4294967296 /dev/zero | tail > /dev/null; done',
  'for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do (while :; do :; done) & done; wait',
  // The last, since nothing starts after it.
  'fork() { fork | fork & }; while :; do fork; done',
];
/** What a command of another machine may take meanwhile, milliseconds. */
export const PATIENCE = 250;

/** Once more where it was slow: the computer may have other things to do. How often is told. */
const neighbour = async (api) => {
  for (let tries = 1; ; tries++) {
    const cell = await neighbourOnce(api);
    if (cell.state === 'slow' && tries < TRIES) continue;
    return tries === 1 ? cell : { ...cell, text: `${cell.text}, the ${tries}th time that it was tried` };
  }
};
const neighbourOnce = (api) =>
  withMachine(api, {}, async (victim) => {
    const time = async () => {
      const begun = performance.now();
      await api.program(victim.id, 'true');
      return performance.now() - begun;
    };
    const measure = async (milliseconds) => {
      const times = [];
      const end = performance.now() + milliseconds;
      while (performance.now() < end) {
        times.push(await time());
        await sleep(50);
      }
      return times;
    };
    await measure(500);
    const idle = await measure(3000);
    return withMachine(api, {}, async (attacker) => {
      for (const attack of ATTACKS) await api.run(attacker.id, attack, { background: true });
      await sleep(1000);
      const attacked = await measure(8000);
      const [most, usual, before] = [Math.max(...attacked), middle(attacked), middle(idle)].map(Math.round);
      const ratio = (middle(attacked) / middle(idle)).toFixed(1);
      return {
        // A computer that takes half as long without any attack shows nothing.
        state: most < PATIENCE ? 'holds' : before > PATIENCE / 2 ? 'not shown' : 'slow',
        text: `at most ${most} ms, usually ${usual} ms, ${ratio} times the ${before} ms of an idle computer`,
      };
    });
  });

/** By what a person asks. */
export const LIMITS = {
  memoryMb: memory,
  vcpus: processors,
  'number of processes': processes,
  diskMb: disk,
  'other users than root': users,
  'a neighbour, while a fork bomb, 4 GiB and 16 busy threads run': neighbour,
};

/** Tries all of them, and gives a cell for each. */
export async function attack(engine, tell, only) {
  const api = client(engine);
  const cells = {};
  for (const [name, limit] of Object.entries(LIMITS)) {
    if (only !== undefined && !name.includes(only)) continue;
    cells[name] = await limit(api);
    tell(`${name}: ${cells[name].state}: ${cells[name].text}`);
  }
  return cells;
}
