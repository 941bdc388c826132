// A TCP proxy before the engine that cuts a WebSocket after so many frames of the server.

import net from 'node:net';

/**
 * Starts before its engine, which has to admit its address: `--allow-host`.
 *
 * @param {{ target?: string, frames: number }} plan URL of the engine, and how many whole frames of the server get through
 *   on each connection; Infinity for all
 */
export async function cuttingProxy(plan) {
  const open = new Set();
  const server = net.createServer((client) => {
    const { hostname, port } = new URL(plan.target);
    const upstream = net.connect(Number(port), hostname);
    open.add(client).add(upstream);
    const end = () => {
      client.destroy();
      upstream.destroy();
    };
    for (const side of [client, upstream]) side.on('error', end).on('close', end);
    client.pipe(upstream);
    const count = frameCounter(plan.frames);
    upstream.on('data', (bytes) => {
      const { pass, done } = count(bytes);
      if (pass.length > 0) client.write(pass);
      // A cut as a pulled cable is: no close frame, no end.
      if (done) client.write('', end);
    });
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const host = `127.0.0.1:${server.address().port}`;
  return {
    host,
    url: `http://${host}`,
    async close() {
      for (const socket of open) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Passes the HTTP answer and `limit` frames on. Frames of a server are not masked: RFC 6455, section 5.2. */
function frameCounter(limit) {
  let left = Buffer.alloc(0);
  let upgraded = false;
  let passed = 0;
  return (bytes) => {
    left = Buffer.concat([left, bytes]);
    const out = [];
    const take = (length) => {
      out.push(left.subarray(0, length));
      left = left.subarray(length);
    };
    if (!upgraded) {
      const end = left.indexOf('\r\n\r\n');
      if (end < 0) return { pass: Buffer.alloc(0), done: false };
      if (!left.subarray(0, end).toString().startsWith('HTTP/1.1 101')) {
        take(left.length);
        return { pass: Buffer.concat(out), done: false };
      }
      upgraded = true;
      take(end + 4);
    }
    for (;;) {
      const length = frameLength(left);
      if (length === undefined || left.length < length) break;
      if (passed === limit) return { pass: Buffer.concat(out), done: true };
      passed += 1;
      take(length);
    }
    return { pass: Buffer.concat(out), done: passed >= limit };
  };
}

function frameLength(bytes) {
  if (bytes.length < 2) return undefined;
  const short = bytes[1] & 0x7f;
  if (short < 126) return 2 + short;
  if (short === 126) return bytes.length < 4 ? undefined : 4 + bytes.readUInt16BE(2);
  return bytes.length < 10 ? undefined : 10 + Number(bytes.readBigUInt64BE(2));
}
