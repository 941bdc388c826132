// The servers of peer.mjs. They listen on every address, so that they can start before the cable is there.

import http from 'node:http';
import net from 'node:net';

/** Says `ok` to whatever it is sent, each time; says `hello` first where a client waits for that. */
const words = (greeting) =>
  net.createServer((socket) => {
    socket.on('error', () => {}).on('data', () => socket.write('ok\n'));
    if (greeting) socket.write('hello\n');
  });
if (process.argv.includes('words')) {
  for (const port of [443, 5432]) words(false).listen(port, '0.0.0.0');
  words(true).listen(2222, '0.0.0.0');
}

http
  .createServer((_, response) => response.end('peer\n'))
  .listen(80, '0.0.0.0', () => {
    net
      .createServer((socket) => {
        const flood = () => {
          while (!socket.destroyed && socket.write(Buffer.alloc(65536)));
        };
        socket.on('drain', flood).on('error', () => {});
        flood();
      })
      .listen(9, '0.0.0.0', () => console.log('started'));
  });
