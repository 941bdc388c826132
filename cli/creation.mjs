// What a machine is made with: flags, and the options of the SDK that they mean.

import { flag, wanted } from './options.mjs';
import { CreateOptions } from './options.json';
import { given, list, mount, network, number, pairs, secret } from './values.mjs';

const of = (flags, given) => flag(CreateOptions, flags, given);

const options = [
  of('-t, --template <name>'),
  of('--snapshot <id>', { option: 'snapshotId' }),
  of('--vcpus <n>'),
  of('--memory-mb <n>'),
  of('--disk-mb <n>'),
  of('--timeout <seconds>'),
  of('--cwd <path>'),
  of('-e, --env <name=value>', { option: 'envs' }),
  of('-m, --metadata <name=value>'),
  of('-v, --volume <volume:path[:ro]>', {
    option: 'volumes',
    about: 'mount a volume, by id or name; repeatable',
    read: mount,
  }),
  ['--egress <mode>', 'network policy: allow_all, deny_all or custom'],
  ['--allow-cidr <range>', 'custom policy: allow this range; repeatable', list],
  ['--deny-cidr <range>', 'custom policy: deny this range; repeatable', list],
  [
    '--allow-domain <name>',
    'custom policy: allow this name, such as *.npmjs.org or db.internal:5432; repeatable',
    list,
  ],
  ['--deny-domain <name>', 'custom policy: deny this name; repeatable', list],
  ['--kbit-per-sec <n>', 'custom policy: limit in kilobits a second', number],
  ['--pps <n>', 'custom policy: limit in packets a second', number],
  ['--burst <n>', 'custom policy: how much may come at once', number],
  ['--secret <name@host[/path]>', 'a variable of yours that the machine uses and never sees; repeatable', secret],
  ['--secret-header <name=header>', 'the header that carries it (default: authorization); repeatable', pairs],
  ['--mask-request-host <host>', 'host name that preview requests carry'],
  ['--private-traffic', 'preview ports need the traffic token'],
  ['--no-internet', 'deny all egress'],
  of('--warm-pool <id>', { about: 'take a ready machine of this pool' }),
  of('--warm-pool-mode <mode>'),
  of('--warm-pool-wait-ms <ms>'),
  of('--on-timeout <what>', { about: 'destroy or pause' }),
  of('--auto-resume', { about: 'preview traffic wakes it; needs --on-timeout pause' }),
  of('--idempotency-key <key>'),
];

export const creation = {
  options,
  /** Options of `Machine.create`. */
  wanted: (flags) => ({
    ...wanted(options, flags),
    ...given({ network: network(flags), internetAccess: flags.internet === false ? false : undefined }),
  }),
};
