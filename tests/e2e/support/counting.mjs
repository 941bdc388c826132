// A stream that counts, to see whether any of it is lost.

import assert from 'node:assert/strict';

/** Starts one: it says numbers until its machine ends, with so many seconds between two. */
export async function count(machine, pause = 0.02) {
  const stream = await machine.commands.stream(`i=0; while :; do echo $((i=i+1)); sleep ${pause}; done`, {
    shell: true,
    timeout: 600,
  });
  let text = '';
  const reading = (async () => {
    for await (const event of stream) if (event.kind === 'stdout') text += event.data;
  })().catch((error) => error);
  return {
    get last() {
      return text.trimEnd().split('\n').at(-1);
    },
    /** Ends the machine. Fails unless more than so many numbers came, and each of them. */
    async check(least) {
      await machine.kill();
      await reading;
      const lines = text.slice(0, text.lastIndexOf('\n')).split('\n').map(Number);
      assert.ok(lines.length > least, `${lines.length} lines`);
      assert.deepEqual(
        lines,
        lines.map((_, index) => index + 1),
      );
    },
  };
}
