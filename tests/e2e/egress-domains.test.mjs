// Policies with names against ways to get around them, on a machine as it is made, after its policy was replaced and set again,
// after a pause, and in a fork.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { Duplex } from 'node:stream';
import { after, before, test } from 'node:test';
import tls from 'node:tls';

import { NetworkEgressPolicy } from 'nullspace';

import { engineForTests, SMALL } from './support/engine.mjs';
import { missingForNames, startNames } from './support/names.mjs';
import { missingForPeer, OWN, startPeer } from './support/peer.mjs';

const missing = missingForPeer() ?? missingForNames();
const skip = missing === undefined ? false : `needs ${missing}`;

/** Addresses of the peer, each for one purpose: what a machine was told of one must not count for another. */
const at = (last) => `198.18.2.${last}`;
const METADATA = '169.254.169.254';

const moves = [at(7), at(8)];
const NAMES = {
  'api.example': () => at(1),
  'wild.example': () => at(2),
  'a.wild.example': () => at(3),
  'b.a.wild.example': () => at(4),
  'www.alias.example': () => 'cdn.far.example',
  'cdn.far.example': () => at(5),
  'one.shared.example': () => at(6),
  'two.shared.example': () => at(6),
  'moving.example': () => moves.reverse()[0],
  'evil.example': () => at(10),
  'xn--bcher-kva.example': () => at(11),
  'db.internal': () => at(12),
  'greets.internal': () => at(13),
  'leads-to.example': () => 'denied.example',
  'denied.example': () => at(14),
  'in-range.example': () => at(15),
  'own.example': () => OWN,
  'link.example': () => METADATA,
  'loop.example': () => '127.0.0.1',
};
const HTTPS = 65;
const find = (name, kind) => {
  const found = NAMES[name]?.();
  // Another way to the service, and keys that would hide the name that TLS says.
  return found !== undefined && kind === HTTPS
    ? Buffer.from([0, 1, 0])
    : kind === 1 || found === undefined
      ? found
      : null;
};

const http = (host, more = '') => Buffer.from(`GET / HTTP/1.1\r\nHost: ${host}\r\n${more}\r\n`).toString('hex');
/** The first message of a client of TLS. */
const hello = async (servername) => {
  const wire = new Duplex({ read() {}, write: (bytes, _, done) => done(null, wire.emit('sent', bytes)) });
  const sent = once(wire, 'sent');
  tls.connect({ socket: wire, ...(servername ? { servername } : {}) }).on('error', () => {});
  return (await sent)[0].toString('hex');
};
const OPAQUE = '00000008';
/** Nothing is sent: the server speaks first. */
const LISTEN = '';

/** How: `lookup`, `twice` (and the first address is used), `over-tcp`, `https-record`, or an address that nobody was asked for. */
const WAYS = {
  http: ['lookup', 'api.example', 80, [http('api.example')]],
  'http, in capitals': ['lookup', 'API.Example', 80, [http('API.eXample:80')]],
  'http, with a dot at the end': ['lookup', 'api.example.', 80, [http('api.example.')]],
  'http, twice on one connection': ['lookup', 'api.example', 80, [http('api.example'), http('api.example')]],
  'http, then another host on the connection': [
    'lookup',
    'api.example',
    80,
    [http('api.example'), http('evil.example')],
  ],
  'a Host that lies': ['lookup', 'api.example', 80, [http('evil.example')]],
  'a Host that is another allowed name': ['lookup', 'api.example', 80, [http('one.shared.example')]],
  'two Hosts': ['lookup', 'api.example', 80, [http('api.example', 'Host: evil.example\r\n')]],
  'a name over DNS over TCP': ['over-tcp', 'api.example', 80, [http('api.example')]],
  tls: ['lookup', 'api.example', 443, [await hello('api.example')]],
  'an SNI that lies': ['lookup', 'api.example', 443, [await hello('evil.example')]],
  'no SNI': ['lookup', 'api.example', 443, [await hello()]],
  'no TLS at all': ['lookup', 'api.example', 443, [OPAQUE]],
  'a record that hides names': ['https-record', 'api.example', 0, []],
  'the name that a star is below of': ['lookup', 'wild.example', 80, [http('wild.example')]],
  'a name below a star': ['lookup', 'a.wild.example', 443, [await hello('a.wild.example')]],
  'a name further below': ['lookup', 'b.a.wild.example', 80, [http('b.a.wild.example')]],
  'an alias': ['lookup', 'www.alias.example', 80, [http('www.alias.example')]],
  'what an alias stands for': ['lookup', 'cdn.far.example', 80, [http('cdn.far.example')]],
  'an alias of a denied name': ['lookup', 'leads-to.example', 80, [http('leads-to.example')]],
  'one name of an address': ['lookup', 'one.shared.example', 80, [http('one.shared.example')]],
  'the other name of that address': ['lookup', 'one.shared.example', 80, [http('two.shared.example')]],
  'an answer that changes': ['lookup', 'moving.example', 80, [http('moving.example')]],
  'the answer before it': ['twice', 'moving.example', 80, [http('moving.example')]],
  'an address that was no answer': [at(9), 'moving.example', 80, [http('moving.example')]],
  'an international name': ['lookup', 'xn--bcher-kva.example', 80, [http('xn--bcher-kva.example')]],
  'a name with its port': ['lookup', 'db.internal', 5432, [OPAQUE]],
  'a name with another port': ['lookup', 'db.internal', 443, [OPAQUE]],
  'a server that speaks first': ['lookup', 'greets.internal', 2222, [LISTEN]],
  'a name that lies at its port': ['lookup', 'db.internal', 5432, [await hello('evil.example')]],
  'another name': ['lookup', 'evil.example', 80, [http('evil.example')]],
  'another name, by tls': ['lookup', 'evil.example', 443, [await hello('evil.example')]],
  'a denied name': ['lookup', 'denied.example', 80, [http('denied.example')]],
  'a name in a denied range': ['lookup', 'in-range.example', 80, [http('in-range.example')]],
  'a bare address': [at(21), '', 80, [http(at(21))]],
  'a bare address with an allowed Host': [at(21), '', 80, [http('api.example')]],
  'a bare address of an allowed range': [at(20), '', 80, [http(at(20))]],
  'a denied name in an allowed range': [at(20), '', 80, [http('denied.example')]],
  "a name of the computer's own address": ['lookup', 'own.example', 80, [http('own.example')]],
  'a name of a link-local address': ['lookup', 'link.example', 80, [http('link.example')]],
  'a name of loopback': ['lookup', 'loop.example', 80, [http('loop.example')]],
  'a name that is not there': ['lookup', 'nowhere.wild.example', 80, [http('nowhere.wild.example')]],
};

/** Policy -> way -> how many messages were answered; a way that is not there: the name has no address. Written by hand. */
const TABLE = [
  {
    name: 'allowed names',
    egress: NetworkEgressPolicy.custom({
      allowDomains: [
        'api.example',
        '*.wild.example',
        'www.alias.example',
        'leads-to.example',
        'one.shared.example',
        'moving.example',
        'BÜCHER.example',
        'db.internal:5432',
        'greets.internal:2222',
        'in-range.example',
        'own.example',
        'link.example',
        'loop.example',
      ],
      denyDomains: ['denied.example'],
      allowCidrs: [`${at(20)}/32`],
      denyCidrs: [`${at(15)}/32`],
    }),
    answered: {
      http: 1,
      'http, in capitals': 1,
      'http, with a dot at the end': 1,
      'http, twice on one connection': 2,
      'http, then another host on the connection': 1,
      'a Host that lies': 0,
      'a Host that is another allowed name': 0,
      'two Hosts': 0,
      'a name over DNS over TCP': 1,
      tls: 1,
      'an SNI that lies': 0,
      'no SNI': 0,
      'no TLS at all': 0,
      'a name below a star': 1,
      'a name further below': 1,
      'an alias': 1,
      'one name of an address': 1,
      'the other name of that address': 0,
      'an answer that changes': 1,
      'the answer before it': 1,
      'an address that was no answer': 0,
      'an international name': 1,
      'a name with its port': 1,
      'a name with another port': 0,
      'a server that speaks first': 1,
      'a name that lies at its port': 0,
      'a name in a denied range': 0,
      'a bare address': 0,
      'a bare address with an allowed Host': 0,
      'a bare address of an allowed range': 1,
      'a denied name in an allowed range': 0,
      "a name of the computer's own address": 0,
      'a name of a link-local address': 0,
      'a name of loopback': 0,
    },
  },
  {
    name: 'one allowed name',
    egress: {
      mode: 'custom',
      allowDomains: ['*.example:443'],
      denyDomains: ['*.wild.example', 'one.shared.example:80'],
    },
    answered: {
      http: 0,
      'http, in capitals': 0,
      'http, with a dot at the end': 0,
      'http, twice on one connection': 0,
      'http, then another host on the connection': 0,
      'a Host that lies': 0,
      'a Host that is another allowed name': 0,
      'two Hosts': 0,
      'a name over DNS over TCP': 0,
      tls: 1,
      'an SNI that lies': 0,
      'no SNI': 1,
      'no TLS at all': 1,
      'the name that a star is below of': 0,
      'an alias': 0,
      'what an alias stands for': 0,
      'an alias of a denied name': 0,
      'one name of an address': 0,
      'the other name of that address': 0,
      'an answer that changes': 0,
      'the answer before it': 0,
      'an address that was no answer': 0,
      'an international name': 0,
      'another name': 0,
      'another name, by tls': 1,
      'a denied name': 0,
      'a name in a denied range': 0,
      'a bare address': 0,
      'a bare address with an allowed Host': 0,
      'a bare address of an allowed range': 0,
      'a denied name in an allowed range': 0,
      "a name of the computer's own address": 0,
      'a name of a link-local address': 0,
      'a name of loopback': 0,
    },
  },
  {
    name: 'denied names',
    egress: { mode: 'custom', denyDomains: ['api.example', '*.wild.example', 'evil.example:443', 'denied.example'] },
    answered: {
      'the name that a star is below of': 1,
      'an alias': 1,
      'what an alias stands for': 1,
      'one name of an address': 1,
      'the other name of that address': 1,
      'an answer that changes': 1,
      'the answer before it': 1,
      'an address that was no answer': 1,
      'an international name': 1,
      'a name with its port': 1,
      'a name with another port': 1,
      'a server that speaks first': 1,
      'a name that lies at its port': 1,
      'another name': 1,
      'another name, by tls': 0,
      'a name in a denied range': 1,
      'a bare address': 1,
      'a bare address with an allowed Host': 0,
      'a bare address of an allowed range': 1,
      'a denied name in an allowed range': 0,
      "a name of the computer's own address": 0,
      'a name of a link-local address': 0,
      'a name of loopback': 0,
    },
  },
];

/** Goes the ways that it reads, and prints for each how many messages were answered. */
const CLIENT = String.raw`
use strict; use warnings; use Socket; use IO::Socket::INET; use IO::Select;
$| = 1; $SIG{PIPE} = 'IGNORE';
sub lookup { my $found = gethostbyname($_[0]); defined $found ? inet_ntoa($found) : undef }
sub raw {
  my ($name, $kind) = @_;
  my $server = IO::Socket::INET->new(PeerAddr => '10.255.255.53', PeerPort => 53, Timeout => 5) or return;
  my $query = pack('n6', 7, 0x100, 1, 0, 0, 0) . join('', map { pack('C/a*', $_) } split /\./, $name) . pack('Cnn', 0, $kind, 1);
  print $server pack('n/a*', $query);
  IO::Select->new($server)->can_read(8) or return;
  sysread($server, my $answer, 4096) or return;
  (unpack('n', substr($answer, 8, 2)), substr($answer, -4));
}
while (my $line = <STDIN>) {
  chomp $line;
  my ($id, $how, $name, $port, @parts) = split /\t/, $line, -1;
  my $address = $how;
  if ($how eq 'lookup') { $address = lookup($name) }
  elsif ($how eq 'twice') { $address = lookup($name); lookup($name) }
  elsif ($how eq 'over-tcp') { my ($count, $last) = raw($name, 1); $address = $count ? inet_ntoa($last) : undef }
  elsif ($how eq 'https-record') { my ($count) = raw($name, 65); print "$id\t$count\n" if $count; next }
  next unless defined $address;
  my $answered = 0;
  my $socket = IO::Socket::INET->new(PeerAddr => $address, PeerPort => $port, Timeout => 5);
  for my $part ($socket ? @parts : ()) {
    last if length $part && !syswrite($socket, pack('H*', $part));
    last unless IO::Select->new($socket)->can_read(8) && sysread($socket, my $answer, 4096);
    $answered++;
  }
  print "$id\t$answered\n";
}
`;
const INPUT = Object.values(WAYS)
  .map(([how, name, port, parts], index) => [index, how, name, port, ...parts].join('\t'))
  .join('\n');

let engine;
let peer;
let names;
before(async () => {
  if (skip) return;
  const addresses = [...Array(21).keys()].map((last) => `${at(last + 1)}/24`);
  peer = await startPeer({ words: true, also: [...addresses, `${METADATA}/16`] });
  for (const range of ['198.18.2.0/24', '169.254.0.0/16']) execFileSync('ip', ['route', 'add', range, 'dev', 'cable0']);
  names = await startNames(find);
  engine = await engineForTests();
});
after(async () => {
  await engine?.stopWell();
  names?.close();
  await peer?.stop();
});

async function ready(machine) {
  await machine.files.write('/tmp/client.pl', CLIENT);
  await machine.files.write('/tmp/ways', `${INPUT}\n`);
  return machine;
}

async function holds(machine, row, when) {
  const { stdout, stderr } = await machine.commands.run('perl /tmp/client.pl < /tmp/ways', {
    shell: true,
    timeout: 120,
  });
  assert.equal(stderr, '');
  const lines = stdout
    .trim()
    .split('\n')
    .map((line) => line.split('\t').map(Number));
  const got = Object.fromEntries(lines.map(([index, count]) => [Object.keys(WAYS)[index], count]));
  assert.deepEqual(got, row.answered, `${row.name}, ${when}`);
  const { egress } = (await machine.getInfo()).network;
  assert.deepEqual(egress, row.egress, `what is told of ${row.name}, ${when}`);
}

test('without a policy every name of the table leads somewhere', { skip }, async () => {
  const machine = await ready(await engine.Machine.create(SMALL));
  const answered = Object.fromEntries(Object.entries(WAYS).map(([way, [, , , parts]]) => [way, parts.length]));
  for (const way of ["a name of the computer's own address", 'a name of a link-local address', 'a name of loopback'])
    answered[way] = 0;
  delete answered['a name that is not there'];
  answered['a record that hides names'] = 1;
  await holds(machine, { name: 'no policy', egress: { mode: 'allow_all' }, answered }, 'as made');
  await machine.kill();
});

for (const [index, row] of TABLE.entries()) {
  test(`${row.name}: as made, replaced and set again, after a pause, in a fork`, { skip }, async () => {
    const machine = await ready(await engine.Machine.create({ ...SMALL, network: { egress: row.egress } }));
    await holds(machine, row, 'as made');
    const other = TABLE[(index + 1) % TABLE.length];
    assert.deepEqual(await machine.updateEgress(other.egress), other.egress);
    await holds(machine, other, `instead of ${row.name}`);
    await machine.updateEgress(row.egress);
    await holds(machine, row, 'set again');
    await machine.pause();
    const again = await engine.Machine.resume(machine.id);
    await holds(again, row, 'after a pause');
    const fork = await again.fork();
    await holds(fork, row, 'in a fork');
    await Promise.all([again.kill(), fork.kill()]);
  });
}

test('the table has what it should', () => {
  assert.ok(TABLE.length * Object.keys(WAYS).length >= 40);
  for (const { answered } of TABLE) for (const way of Object.keys(answered)) assert.ok(Object.hasOwn(WAYS, way), way);
});
