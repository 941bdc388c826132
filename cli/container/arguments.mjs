// What a container CLI is told. Rights: the nine that an engine needs, and no more; deploy/docker/README.md says what each is for.

export const NAME = 'nullspace-engine';
const VOLUME = 'nullspace-engine';
const STATE = '/var/lib/nullspace';

/** Found by leaving one out at a time: without any of these no machine starts, or some of its limits are not held. */
export const CAPABILITIES = [
  'CHOWN',
  'DAC_OVERRIDE',
  'KILL',
  'MKNOD',
  'NET_ADMIN',
  'SETGID',
  'SETUID',
  'SYS_ADMIN',
  'SYS_PTRACE',
];
/** Previews have a port each, and SSH one. */
export const PORTS = { previews: [42_000, 42_031], ssh: 42_099 };
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
  const [from, to] = PORTS.previews;
  const local = (text) => ['--publish', `127.0.0.1:${text}`];
  return [
    'run',
    '--detach',
    ...['--name', NAME],
    ...local(`${port}:3000`),
    ...local(`${from}-${to}:${from}-${to}`),
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
    // The port on which it is published stands in the `Host` of requests.
    ...(port === 3000 ? [] : ['--allow-host', `127.0.0.1:${port}`, '--allow-host', `localhost:${port}`]),
    ...args,
  ];
};
