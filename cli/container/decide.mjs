// How `nullspace engine` gets an engine on this computer, decided from what was found out about it. Nothing here runs anything.

/** Oldest versions of the API that know what is asked of them: `--cgroupns`, `--security-opt seccomp=FILE`, `docker load`. */
const OLDEST = { docker: [20, 10], podman: [4, 0], nerdctl: [1, 0] };
/** Their order when several answer: the first that a person installed on purpose. */
const ORDER = ['docker', 'podman', 'nerdctl'];

const INSTALL = {
  darwin: 'Docker Desktop, OrbStack, Colima or Podman, for instance `brew install colima docker && colima start`',
  win32: 'Docker Desktop or Podman, or a Linux with `wsl --install`',
  linux: 'the npm package nullspace-engine, or Docker or Podman',
};

const START = {
  darwin: 'start it: open Docker Desktop or OrbStack, `colima start`, or `podman machine start`',
  win32: 'start it: open Docker Desktop, or `podman machine start`',
  linux: 'start it, or let this user use it: `systemctl start docker`, `usermod -aG docker USER` and a new login',
};

const older = (version, oldest) => {
  const [major = 0, minor = 0] = String(version).split('.').map(Number);
  return major < oldest[0] || (major === oldest[0] && minor < oldest[1]);
};

/** Why a container CLI cannot be used; nothing when it can. */
export const whyNot = (cli, arch) => {
  if (!cli.answers) return `${cli.name} is installed but does not answer${cli.error ? ` (${cli.error})` : ''}`;
  if (cli.os !== undefined && cli.os !== 'linux')
    return `${cli.name} runs ${cli.os} containers: switch it to Linux containers`;
  if (cli.version !== undefined && older(cli.version, OLDEST[cli.kind]))
    return `${cli.name} ${cli.version} is too old: ${OLDEST[cli.kind].join('.')} or newer is needed`;
  if (cli.rootless) return `${cli.name} runs without root, where an engine has too few rights: use its rootful mode`;
  const inside = { x86_64: 'x64', amd64: 'x64', aarch64: 'arm64', arm64: 'arm64' }[cli.arch ?? arch];
  if (inside === undefined && cli.arch !== undefined && !['x64', 'arm64'].includes(cli.arch))
    return `${cli.name} runs on ${cli.arch}: there are engines for x64 and arm64`;
  return undefined;
};

/** Whether an engine can run in a WSL distribution. */
const whyNoWsl = (wsl) => {
  if (!wsl?.isThere) return undefined;
  if (wsl.distributions.length === 0) return 'WSL has no Linux: `wsl --install`';
  if (!wsl.distributions.some(({ version }) => version === 2))
    return `WSL has version 1 only, which has no Linux kernel: \`wsl --set-version ${wsl.distributions[0].name} 2\``;
  return undefined;
};

/**
 * @param {object} found
 * @param {string} found.platform as `process.platform`
 * @param {string} found.arch as `process.arch`
 * @param {string} [found.program] the engine's own program
 * @param {'program' | 'container'} [found.wanted] what was asked for; either when absent
 * @param {object[]} [found.clis] container command lines: `{ name, kind, answers, version, os, arch, rootless, error }`
 * @param {object} [found.wsl] `{ isThere, distributions: [{ name, version, isDefault }] }`
 * @returns `{ way: 'program', program }`, `{ way: 'container', cli }`, `{ way: 'wsl', distribution }`, or
 * `{ way: 'none', lines }`: what is missing, in four lines
 */
export const decide = ({ platform, arch, program, wanted, clis = [], wsl }) => {
  if (program !== undefined && wanted !== 'container' && platform === 'linux') return { way: 'program', program };
  const tried = [];
  if (wanted === 'program') {
    const why =
      platform === 'linux' ? 'its program was not found' : `it is a program for Linux, and this is ${platform}`;
    return none(platform, `there is no engine here: ${why}`, []);
  }
  const known = [...clis].sort((one, other) => ORDER.indexOf(one.kind) - ORDER.indexOf(other.kind));
  for (const cli of known) {
    const why = whyNot(cli, arch);
    if (why === undefined) return { way: 'container', cli };
    tried.push(why);
  }
  if (platform === 'win32' && wanted !== 'container') {
    const why = whyNoWsl(wsl);
    const usable = wsl?.distributions?.filter(({ version }) => version === 2) ?? [];
    const distribution = usable.find(({ isDefault }) => isDefault) ?? usable[0];
    if (wsl?.isThere && distribution) return { way: 'wsl', distribution: distribution.name };
    if (why !== undefined) tried.push(why);
  }
  return none(
    platform,
    'there is no engine here, and nothing to run one in',
    tried,
    clis.some(({ answers }) => !answers),
  );
};

const none = (platform, what, tried, isAsleep = false) => ({
  way: 'none',
  lines: [
    what,
    tried.length > 0 ? `found: ${tried.join('; ')}` : 'found: no docker, podman or nerdctl',
    isAsleep ? (START[platform] ?? START.linux) : `install ${INSTALL[platform] ?? INSTALL.linux}`,
    'or use an engine on another computer: its address and key go into NULLSPACE_API_URL and NULLSPACE_API_KEY',
  ],
});
