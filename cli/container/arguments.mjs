// What a container CLI is told. Rights: those that an engine needs, and no more; deploy/docker/README.md says what each is for.

export const NAME = 'nullspace-engine';
const VOLUME = 'nullspace-engine';
const STATE = '/var/lib/nullspace';

/** tests/container leaves one out at a time: without it no machine starts, or something of machines does not work. */
export const CAPABILITIES = [
  'CHOWN',
  'DAC_OVERRIDE',
  'FOWNER',
  'FSETID',
  'KILL',
  'MKNOD',
  'NET_ADMIN',
  'SETFCAP',
  'SETGID',
  'SETUID',
  'SYS_ADMIN',
  'SYS_CHROOT',
  'SYS_PTRACE',
];
/** Of the container. Ports of machines have names on that of the API. */
const PORTS = { api: 3000, ssh: 42_099 };
/** Loop devices, for `diskMb`. */
const LOOPS = 8;

/**
 * Arguments of `run`.
 *
 * @param {object} options
 * @param {string} options.image
 * @param {number} options.port on loopback of this computer
 * @param {string} options.keyFile a file with `NULLSPACE_API_KEY=...`: a key on a command line can be seen by all
 * @param {string} options.seccomp path of deploy/docker/seccomp.json, as the CLI reads it
 * @param {boolean} [options.apparmor] whether the computer below has it
 * @param {boolean} [options.loops] whether it has loop devices
 * @param {string[]} [options.args] further flags of the engine
 */
export const runArguments = ({ image, port, keyFile, seccomp, apparmor = false, loops = true, args = [] }) => {
  const local = (text) => ['--publish', `127.0.0.1:${text}`];
  return [
    'run',
    '--detach',
    ...['--name', NAME],
    ...local(`${port}:${PORTS.api}`),
    ...local(`${PORTS.ssh}:${PORTS.ssh}`),
    ...['--cap-drop', 'ALL'],
    ...CAPABILITIES.flatMap((name) => ['--cap-add', name]),
    ...['--security-opt', `seccomp=${seccomp}`],
    // Docker's own profile denies every mount.
    ...(apparmor ? ['--security-opt', 'apparmor=unconfined'] : []),
    ...(loops
      ? ['loop-control', ...Array.from({ length: LOOPS }, (_, index) => `loop${index}`)].flatMap((name) => [
          '--device',
          `/dev/${name}`,
        ])
      : []),
    // Machines are limited by groups below that of the container, which are read-only otherwise.
    ...['--cgroupns', 'host'],
    ...['--volume', '/sys/fs/cgroup:/sys/fs/cgroup:rw'],
    ...['--volume', `${VOLUME}:${STATE}`],
    ...['--env-file', keyFile],
    image,
    // The port on which it is published stands in the `Host` of requests, and in the addresses of previews.
    ...(port === PORTS.api
      ? []
      : [
          ...['--allow-host', `127.0.0.1:${port}`, '--allow-host', `localhost:${port}`],
          ...(args.some((word) => /^--preview-(domain|ports)\b/.test(word))
            ? []
            : ['--preview-domain', `localhost:${port}`]),
        ]),
    ...args,
  ];
};
