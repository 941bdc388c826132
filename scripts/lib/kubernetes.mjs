// A Kubernetes for tests, all of it from Debian: the source package of bookworm has the last version there that is more than kubectl.
// It is built once, which takes 10 minutes or more of two processors, and kept. Nothing is installed: packages are unpacked where they
// are used.

import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import { isExecutable, root } from './project.mjs';
import { StepError, step } from './steps.mjs';

/** The repository, also for a copy of this file in the project of a test. */
const repository = process.env.NULLSPACE_TEST_ROOT ?? root;
const home = path.join(repository, '.nullspace-dev', 'kubernetes');
const debian = path.join(home, 'debian');
const newer = path.join(home, 'kustomize');

const KUBERNETES = '1.20.2';
const built = path.join(home, KUBERNETES);
/** What is built; beside them `pause`, the first process of each pod. */
const PROGRAMS = ['kube-apiserver', 'kube-controller-manager', 'kube-scheduler', 'kube-proxy', 'kubelet'];
/** What runs beside it, and libraries that not every computer has. */
const PACKAGES = [
  ...['containerd', 'dnsmasq-base', 'docker.io', 'etcd-server', 'iptables', 'kubernetes-client', 'runc', 'tini'],
  ...[
    'libdevmapper1.02.1',
    'libjansson4',
    'libnetfilter-conntrack3',
    'libnfnetlink0',
    'libnftables1',
    'libnftnl11',
    'libxtables12',
    'libmnl0',
  ],
];
const COMPILER = ['golang-1.19-go', 'golang-1.19-src'];

/** Where the programs are, and a small Debian for the image. */
export const kubernetes = {
  /** For the environment of all of them. */
  env: {
    PATH: [
      ...[built, path.join(debian, 'usr/sbin'), path.join(debian, 'usr/bin')],
      ...['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'],
    ].join(':'),
    LD_LIBRARY_PATH: ['lib', 'usr/lib'].map((name) => path.join(debian, name, 'x86_64-linux-gnu')).join(':'),
    XTABLES_LIBDIR: path.join(debian, 'usr/lib/x86_64-linux-gnu/xtables'),
  },
  pause: path.join(built, 'pause'),
  /** The kustomize of kubectl 1.20 is older than what the manifests are written in. */
  kustomize: path.join(newer, 'usr/bin/kubectl'),
  /** Arguments of node that make the image; the small Debian in it is made once, too. */
  image: (engine, tag) => [
    path.join(repository, 'scripts', 'image.mjs'),
    ...['--engine', engine, '--tag', tag, '--rootfs', path.join(home, 'rootfs')],
  ],
  manifests: path.join(repository, 'deploy', 'kubernetes'),
};

/** Fetches and builds what is missing. */
export const kubernetesPrograms = () =>
  step(`Build Kubernetes ${KUBERNETES} of Debian, once`, async (current) => {
    const wanted = JSON.stringify([KUBERNETES, PROGRAMS, PACKAGES]);
    const complete = path.join(home, 'complete');
    if (existsSync(complete) && readFileSync(complete, 'utf8') === wanted) {
      current.note = 'unchanged';
      return;
    }
    if (process.getuid?.() !== 0 || process.arch !== 'x64' || !existsSync(KEYRING))
      throw new StepError('Kubernetes for tests needs root, x86-64 and the apt-get of Debian');
    mkdirSync(home, { recursive: true });
    const apt = await openApt(current);
    await apt.unpack('bookworm', PACKAGES, debian);
    // Debian makes these names when it installs the package.
    for (const name of ['iptables', 'iptables-save', 'iptables-restore'])
      for (const family of [name, name.replace('ip', 'ip6')])
        await current.run('ln', ['-sf', 'xtables-nft-multi', path.join(debian, 'usr/sbin', family)]);
    await apt.unpack('trixie', ['kubectl'], newer);
    if (!hasPrograms()) await build(current, apt);
    apt.remove();
    writeFileSync(complete, wanted);
  });

const hasPrograms = () => [...PROGRAMS, 'pause'].every((name) => isExecutable(path.join(built, name)));

const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';

/** Where this computer gets the packages of Debian, if it does: other releases are there, too. */
async function debianMirror(current) {
  const format = '$(ORIGIN) $(CODENAME) $(SITE)';
  const targets = await current.run('apt-get', ['indextargets', '--format', format, 'Created-By: Packages']);
  const site = targets.match(/^Debian (?:bookworm|trixie) (\S+)$/m)?.[1];
  if (!site) throw new StepError('apt knows no mirror of Debian: `apt-get update` reads its lists');
  return site;
}

/** apt with lists, sources and a cache of its own: those of the computer stay as they are. */
async function openApt(current) {
  const own = path.join(home, 'apt');
  for (const name of ['lists/partial', 'cache/archives/partial', 'files'])
    mkdirSync(path.join(own, name), { recursive: true });
  const mirror = await debianMirror(current);
  const line = (kind, suite) => `${kind} [signed-by=${KEYRING}] ${mirror} ${suite} main\n`;
  const sources = [line('deb', 'bookworm'), line('deb-src', 'bookworm'), line('deb', 'trixie')];
  writeFileSync(path.join(own, 'sources.list'), sources.join(''));
  writeFileSync(path.join(own, 'installed'), '');
  const options = [
    `Dir::Etc::SourceList=${own}/sources.list`,
    'Dir::Etc::SourceParts=/dev/null',
    `Dir::State::Lists=${own}/lists`,
    `Dir::State::Status=${own}/installed`,
    `Dir::Cache=${own}/cache`,
    'APT::Sandbox::User=root',
  ].flatMap((option) => ['-o', option]);
  const files = path.join(own, 'files');
  const run = (...words) => current.run('apt-get', [...options, ...words], { cwd: files });
  await run('update');
  return {
    run,
    files,
    remove: () => rmSync(own, { recursive: true, force: true }),
    /** Unpacks packages of a release into a directory. */
    async unpack(suite, names, into) {
      rmSync(files, { recursive: true, force: true });
      for (const directory of [files, into]) mkdirSync(directory, { recursive: true });
      await run('download', ...names.map((name) => `${name}/${suite}`));
      for (const name of readdirSync(files)) await current.run('dpkg', ['-x', path.join(files, name), into]);
    },
  };
}

/** Builds the programs with little beside: no debug information, no kubectl, no tests. */
async function build(current, apt) {
  const own = path.join(home, 'build');
  const source = path.join(own, 'gopath/src/k8s.io/kubernetes');
  const compiler = path.join(own, 'go');
  await apt.unpack('bookworm', COMPILER, compiler);
  if (!existsSync(source)) {
    await apt.run('source', '--download-only', 'kubernetes/bookworm');
    const description = readdirSync(apt.files).find((name) => name.endsWith('.dsc'));
    const version = description.match(/really([\d.]+)-/)?.[1];
    if (version !== KUBERNETES) throw new StepError(`Debian has Kubernetes ${version}, not ${KUBERNETES}`);
    mkdirSync(path.dirname(source), { recursive: true });
    await current.run('dpkg-source', ['--no-check', '-x', path.join(apt.files, description), source]);
  }
  const out = path.join(own, 'programs');
  mkdirSync(out, { recursive: true });
  const go = path.join(compiler, 'usr/lib/go-1.19');
  const env = {
    ...process.env,
    PATH: `${go}/bin:${process.env.PATH}`,
    HOME: own,
    GOROOT: go,
    GOPATH: path.join(own, 'gopath'),
    GOCACHE: path.join(own, 'gocache'),
    GO111MODULE: 'off',
    GOFLAGS: '',
    CGO_ENABLED: '0',
  };
  // The computer may have other work than this for half an hour.
  const nice = (program, ...args) => current.run('nice', ['-n', '10', program, ...args], { cwd: source, env });

  // The description of the interface is not in the package: Debian builds only kubectl, which needs none.
  await nice('go', 'build', '-o', `${own}/`, './vendor/k8s.io/kube-openapi/cmd/openapi-gen');
  const generated = ['--logtostderr', '-i', describedPackages(source).join(','), '-O', 'zz_generated.openapi'];
  const places = ['-p', 'k8s.io/kubernetes/pkg/generated/openapi', '-r', path.join(own, 'violations')];
  const header = path.join(source, 'vendor/k8s.io/code-generator/hack/boilerplate.go.txt');
  await nice(path.join(own, 'openapi-gen'), ...generated, ...places, '-h', header);

  const version = 'k8s.io/kubernetes/vendor/k8s.io/component-base/version';
  const [major, minor] = KUBERNETES.split('.');
  const named = { gitVersion: `v${KUBERNETES}`, gitMajor: major, gitMinor: minor };
  const flags = ['-s', '-w', ...Object.entries(named).map(([name, value]) => `-X ${version}.${name}=${value}`)];
  const commands = PROGRAMS.map((name) => `./cmd/${name}`);
  await nice('go', 'build', '-gcflags=all=-dwarf=false', '-ldflags', flags.join(' '), '-o', `${out}/`, ...commands);
  await nice('cc', '-Os', '-static', '-DVERSION=1', '-o', path.join(out, 'pause'), 'build/pause/linux/pause.c');
  rmSync(built, { recursive: true, force: true });
  renameSync(out, built);
  // Go makes what it has unpacked read-only; gigabytes that nothing reads again.
  await current.run('chmod', ['-R', 'u+w', own]);
  rmSync(own, { recursive: true, force: true });
}

/** Go's names of the packages whose types are described: those with a certain comment. */
function describedPackages(source) {
  const found = new Set();
  const look = (directory) => {
    for (const entry of readdirSync(path.join(source, directory), { withFileTypes: true })) {
      const inner = path.join(directory, entry.name);
      if (entry.isDirectory()) look(inner);
      else if (/^(?!zz_generated).*(?<!_test)\.go$/.test(entry.name)) {
        if (readFileSync(path.join(source, inner), 'utf8').includes('+k8s:openapi-gen=')) found.add(directory);
      }
    }
  };
  for (const directory of ['pkg', 'staging/src/k8s.io', 'cmd']) look(directory);
  return [...found]
    .filter((name) => !/\/(code-generator|sample-[^/]*)\//.test(`${name}/`))
    .map((name) => `k8s.io/kubernetes/${name.replace(/^staging\/src\//, 'vendor/')}`)
    .sort();
}
