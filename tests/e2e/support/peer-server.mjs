// The servers of peer.mjs. They listen on every address, so that they can start before the cable is there.

import http from 'node:http';
import net from 'node:net';

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
