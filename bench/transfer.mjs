// Moves bytes through one client, in a process of its own:
//   node transfer.mjs OPERATION URL MACHINE BYTES  ->  one line of JSON: milliseconds and bytes
// What somebody would write by hand is the package `ws` with JSON.parse of the same frames, and `fetch` with streams. Both sides count
// bytes and keep none. A client is loaded only where it is measured.

const [, , operation, url, id, amount] = process.argv;
const MIB = 1 << 20;
const KEY = 'bench';
const headers = { authorization: `Bearer ${KEY}` };
const pathOf = (size) => `/workspace/${size}`;
const file = (size) => `${url}/v1/machines/${id}/file?path=${pathOf(size)}`;
const command = (bytes) => `head -c ${bytes} /dev/zero | tr '\\0' x`;

const connect = async () => {
  const { Nullspace } = await import('nullspace');
  return new Nullspace({ apiKey: KEY, baseUrl: url }).Machine.connect(id);
};

/** So many bytes, made as they are read. */
const content = (bytes) => {
  const piece = new Uint8Array(MIB).fill(120);
  let left = bytes;
  return new ReadableStream({
    type: 'bytes',
    pull(controller) {
      if (left === 0) return controller.close();
      const next = left < MIB ? piece.slice(0, left) : piece.slice();
      left -= next.length;
      controller.enqueue(next);
    },
  });
};

const count = async (stream) => {
  let bytes = 0;
  for await (const piece of stream) bytes += piece.length;
  return bytes;
};

const operations = {
  async exec() {
    const machine = await connect();
    return async (size) => {
      let bytes = 0;
      for await (const event of machine.commands.stream(command(size), { shell: true, timeout: 600 })) {
        if (event.kind === 'stdout') bytes += event.data.length;
      }
      return bytes;
    };
  },
  async 'exec by hand'() {
    const { default: WebSocket } = await import('ws');
    return (size) =>
      new Promise((resolve, reject) => {
        const socket = new WebSocket(`${url.replace('http', 'ws')}/v1/machines/${id}/ws?channel=exec`, {
          headers,
          perMessageDeflate: false,
        });
        const start = { command: command(size), args: [], shell: true, timeout_secs: 600 };
        let bytes = 0;
        socket.on('open', () => socket.send(JSON.stringify({ type: 'exec_start', id: '1', ...start })));
        socket.on('message', (data) => {
          const frame = JSON.parse(data.toString());
          if (frame.type === 'exec_stdout') bytes += frame.data.length;
          if (frame.type !== 'exec_exit') return;
          socket.close();
          resolve(bytes);
        });
        socket.on('error', reject);
      });
  },
  async up() {
    const machine = await connect();
    return async (size) => (await machine.files.write(pathOf(size), content(size))).size;
  },
  async 'up by hand'() {
    return async (size) => {
      const answer = await fetch(file(size), { method: 'PUT', headers, body: content(size), duplex: 'half' });
      if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`);
      return size;
    };
  },
  async down() {
    const machine = await connect();
    return async (size) => count(await machine.files.read(pathOf(size), { format: 'stream' }));
  },
  async 'down by hand'() {
    return async (size) => count((await fetch(file(size), { headers })).body);
  },
};

const run = await operations[operation]();
// The first connection, and code that was never run. What is read was written by `up`.
await run(16 * MIB);
const start = performance.now();
const bytes = await run(Number(amount));
console.log(JSON.stringify({ ms: performance.now() - start, bytes }));
process.exit(0);
