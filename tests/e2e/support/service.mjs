// A service that wants a secret: HTTPS on port 443, which prints what it was asked, a JSON line a request.
// Arguments: files of the key and of the certificate.

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import https from 'node:https';

const [key, cert] = process.argv.slice(2).map((file) => readFileSync(file));

/** By the last part of the path: what it answers. */
const ANSWERS = {
  'to-other': (_, response) => response.writeHead(302, { location: 'https://other.example/landing' }).end(),
  'to-second': (_, response) => response.writeHead(307, { location: 'https://second.example/landing?a=b' }).end(),
  'to-itself': (_, response) => response.writeHead(301, { location: '/v2/landing' }).end(),
  'tells-header': (request, response) =>
    response.writeHead(200, { 'x-told': `was ${request.headers.authorization}`, 'x-other': 'kept' }).end('ok'),
  big: (_, response) => response.end(Buffer.alloc(1_000_000)),
  stream: (request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    let count = 0;
    const timer = setInterval(() => response.write(`data: ${++count}\n\n`), 100);
    response.on('close', () => clearInterval(timer));
    request.on('error', () => {});
  },
};

https
  .createServer({ key, cert }, (request, response) => {
    const hash = createHash('sha256');
    request.on('error', () => {}).on('data', (bytes) => hash.update(bytes));
    const answer = ANSWERS[new URL(request.url, 'https://service').pathname.split('/').at(-1)];
    if (answer?.length === 2 && request.method === 'GET') answer(request, response);
    request.on('end', () => {
      const { method, url, headers, socket } = request;
      const digest = hash.digest('hex');
      console.log(JSON.stringify({ method, url, headers, name: socket.servername, port: socket.remotePort, digest }));
      if (!response.headersSent && !response.writableEnded) response.end(`${digest}\n`);
    });
  })
  .listen(443, '0.0.0.0', () => console.log('started'));
