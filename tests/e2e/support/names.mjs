// The computer's own name server, as its resolv.conf says, with the answers of a test: only for a network namespace of its own.

import { execFileSync } from 'node:child_process';
import dgram from 'node:dgram';
import { readFileSync } from 'node:fs';
import net from 'node:net';

const A = 1;
const CNAME = 5;

/** Where it has to be; `undefined` when resolv.conf names nothing that can be. */
const place = () => readFileSync('/etc/resolv.conf', 'utf8').match(/^nameserver\s+([\d.]+)/m)?.[1];

/** Why there can be none; `undefined` when there can. */
export const missingForNames = () => (place() ? undefined : 'an IPv4 name server in /etc/resolv.conf');

const nameBytes = (name) =>
  Buffer.concat([
    ...name.split('.').map((label) => Buffer.from([label.length, ...Buffer.from(label)])),
    Buffer.from([0]),
  ]);

const record = (owner, kind, ttl, data) => {
  const head = Buffer.alloc(10);
  head.writeUInt16BE(kind, 0);
  head.writeUInt16BE(1, 2);
  head.writeUInt32BE(ttl, 4);
  head.writeUInt16BE(data.length, 8);
  return Buffer.concat([nameBytes(owner), head, data]);
};

/** The name and the type of a question. */
function questionOf(query) {
  const labels = [];
  let at = 12;
  for (; query[at] !== 0; at += query[at] + 1) labels.push(query.toString('latin1', at + 1, at + 1 + query[at]));
  return { name: labels.join('.').toLowerCase(), kind: query.readUInt16BE(at + 1), end: at + 5 };
}

function answerOf(query, find) {
  const { name, kind, end } = questionOf(query);
  const records = [];
  let owner = name;
  let found = find(owner, kind);
  for (; typeof found === 'string' && !net.isIPv4(found); found = find(owner, kind)) {
    records.push(record(owner, CNAME, 5, nameBytes(found)));
    owner = found;
  }
  if (found instanceof Uint8Array) records.push(record(owner, kind, 5, Buffer.from(found)));
  else if (found && kind === A) records.push(record(owner, A, 5, Buffer.from(found.split('.').map(Number))));
  const code = found === undefined ? 3 : 0; // no such name
  const counts = Buffer.from([0, 1, 0, records.length, 0, 0, 0, 0]);
  return Buffer.concat([
    query.subarray(0, 2),
    Buffer.from([0x81, 0x80 | code]),
    counts,
    query.subarray(12, end),
    ...records,
  ]);
}

/**
 * Starts it, over UDP and TCP. `find` gives for a name (in small letters) and a type: an address, the name that it is an alias of,
 * the bytes of a record of another type, `null` for a name without such a record, and nothing for a name that does not exist.
 */
export async function startNames(find) {
  const address = place();
  if (!address.startsWith('127.')) execFileSync('ip', ['address', 'add', `${address}/32`, 'dev', 'lo']);
  const socket = dgram.createSocket('udp4');
  socket.on('message', (query, from) => socket.send(answerOf(query, find), from.port, from.address));
  await new Promise((resolve) => socket.bind(53, address, resolve));
  const server = net.createServer((client) => {
    client
      .on('error', () => {})
      .on('data', (bytes) => {
        const answer = answerOf(bytes.subarray(2), find);
        client.write(Buffer.concat([Buffer.from([answer.length >> 8, answer.length & 0xff]), answer]));
      });
  });
  await new Promise((resolve) => server.listen(53, address, resolve));
  return {
    close() {
      socket.close();
      server.close();
    },
  };
}
