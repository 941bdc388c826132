// Three nodes of a Kubernetes on one computer. Each has a network, mounts and processes of its own, with its own dockerd and kubelet;
// a bridge connects them. etcd, the API server, the controllers and the scheduler are beside that bridge, in the network of the test.
//
//   node cluster.mjs    starts one and says `ready`; it is gone when this program is

import { execFile, execFileSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { cleanUpOnSignals, endAll, start, temporaryDirectory } from '../../../scripts/lib/cleanup.mjs';
import { kubernetes } from '../../../scripts/lib/kubernetes.mjs';
import { startProcess } from '../../../scripts/lib/process.mjs';

export const NODES = [1, 2, 3];
/** Of the bridge, in the network of the test: the control plane, DNS and the database are here. */
export const SWITCH = '10.213.0.254';
const address = (node) => `10.213.0.${node}`;
export const nodeName = (node) => `node-${node}`;
const pods = (node) => `10.244.${node}`;
const SERVICES = '10.96.0.0/16';
const TOKEN = 'a-token-for-this-test';

/**
 * What a kubelet would write for the whole computer. It finds its own values in a copy instead.
 * @type {Record<string, string>}
 */
const TUNABLES = {
  'kernel/keys/root_maxbytes': '25000000',
  'kernel/keys/root_maxkeys': '1000000',
  'kernel/panic': '10',
  'kernel/panic_on_oops': '1',
  'vm/overcommit_memory': '1',
  'vm/panic_on_oom': '0',
};

const environment = { ...process.env, ...kubernetes.env };
const run = (program, args, options) =>
  execFileSync(program, args, { stdio: 'pipe', maxBuffer: 64 << 20, env: environment, ...options });
const ip = (...words) => run('ip', words);

/** Asks until the answer is not false. */
export async function until(what, ask, seconds = 60) {
  const deadline = Date.now() + seconds * 1000;
  for (;;) {
    const found = await ask();
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`not so within ${seconds} s: ${what}`);
    await sleep(250);
  }
}

/** Starts the cluster; `endAll` ends it, with all that runs in it. */
export async function startKubernetes() {
  const directory = temporaryDirectory('kubernetes');
  const file = (name, content, mode = 0o600) => {
    const written = path.join(directory, name);
    writeFileSync(written, content, { mode });
    return written;
  };
  const kubeconfig = file('kubeconfig', kubeconfigOf(`https://${SWITCH}:6443`));
  const env = { ...kubernetes.env, HOME: directory, KUBECONFIG: kubeconfig };
  const serve = (what, command, ready) => startProcess({ what, command, ready, env });

  ip('link', 'add', 'nskube', 'type', 'bridge');
  ip('addr', 'add', `${SWITCH}/24`, 'dev', 'nskube');
  ip('link', 'set', 'nskube', 'up');
  // Rules of kube-proxy send them on from here.
  ip('route', 'add', SERVICES, 'dev', 'nskube');
  writeFileSync('/proc/sys/net/ipv4/ip_forward', '1');

  const nodes = await Promise.all(NODES.map((number) => startNode(directory, number)));
  const control = await startComputer(directory, 'control');
  const [dockers] = await Promise.all([
    Promise.all(nodes.map((node) => startDocker(node, directory, serve))),
    startControlPlane(control, directory, file, kubeconfig, serve),
  ]);
  const pause = run('tar', ['-c', '-C', path.dirname(kubernetes.pause), 'pause']);
  for (const host of dockers)
    run('docker', ['--host', host, 'import', '--change', 'ENTRYPOINT ["/pause"]', '-', 'pause:1'], { input: pause });
  await Promise.all(nodes.map((node) => startKubelet(node, file, kubeconfig, serve)));

  const kubectl = (...args) =>
    promisify(execFile)('kubectl', args, { env, maxBuffer: 64 << 20 }).then(({ stdout }) => stdout);
  const get = async (...args) => JSON.parse(await kubectl('get', '--output=json', ...args));
  const readyNodes = async () => {
    const isReady = ({ type, status }) => type === 'Ready' && status === 'True';
    return (await get('nodes')).items.filter(({ status }) => status.conditions.some(isReady)).length;
  };
  await until('three nodes are ready', async () => (await readyNodes()) === NODES.length, 120);

  return {
    directory,
    kubectl,
    get,
    readyNodes,
    /** Makes the image with this engine, and gives it to every node: there is no registry. */
    async image(engine, tag) {
      const [first, ...others] = dockers;
      const own = promisify(execFile);
      await own(process.execPath, kubernetes.image(engine, tag), { env: { ...environment, DOCKER_HOST: first } });
      const copy = 'docker --host "$1" save "$3" | docker --host "$2" load';
      for (const other of others) await own('sh', ['-c', copy, 'sh', first, other, tag], { env: environment });
    },
    /** Answers for names of the cluster, as CoreDNS does elsewhere. */
    names: (records) =>
      serve(
        'dnsmasq',
        [
          ...['dnsmasq', '--keep-in-foreground', '--conf-file=/dev/null', '--no-resolv', '--no-hosts', '--pid-file='],
          ...['--log-facility=-', '--user=root', '--bind-interfaces', `--listen-address=${SWITCH}`],
          '--local=/cluster.local/',
          ...Object.entries(records).map(([name, to]) => `--host-record=${name}.cluster.local,${to}`),
        ],
        /started, version/,
      ),
    /** Pulls the cable of a node out (`down`), or puts it in (`up`). */
    cable: (number, state) => ip('link', 'set', `nskube${number}`, state),
  };
}

const kubeconfigOf = (server) =>
  JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'test', cluster: { server, 'insecure-skip-tls-verify': true } }],
    users: [{ name: 'test', user: { token: TOKEN } }],
    contexts: [{ name: 'test', context: { cluster: 'test', user: 'test' } }],
    'current-context': 'test',
  });

/**
 * A computer, as far as namespaces make one: it ends, with every process and mount in it, when its standard input does, however this
 * program ends. Its control groups are removed then. `unshared` says what else than processes and mounts it has of its own.
 */
async function startComputer(directory, name, unshared = []) {
  const home = path.join(directory, name);
  // No other cluster's: the directory's name is random.
  const group = `${path.basename(directory)}-${name}`;
  for (const part of ['log', 'run', 'sys']) mkdirSync(path.join(home, part), { recursive: true });
  const disk = path.join(home, 'disk');
  run('truncate', ['--size=16G', disk]);
  run('mkfs.ext4', ['-q', '-O', '^has_journal', '-E', 'lazy_itable_init=1', disk]);
  const tunables = Object.entries(TUNABLES).map(([name, value], index) => {
    writeFileSync(path.join(home, 'sys', String(index)), `${value}\n`);
    return `mount --bind ${home}/sys/${index} /proc/sys/${name}`;
  });
  const inside = [
    'set -e',
    // Its process number as others see it, which only the old /proc tells.
    'read -r pid rest < /proc/self/stat; mount -t proc proc /proc',
    // A disk of its own is gone at once, with all the files of images in it.
    `mount -o loop ${disk} /var/lib`,
    `mount --bind ${home}/log /var/log`,
    `mount --bind ${home}/run /run`,
    ...tunables,
    'echo node $pid',
    'cat > /dev/null',
  ].join('\n');
  const outside = [
    // A signal to the whole group ends the computer, and not this shell, which tidies up.
    'trap : TERM INT HUP',
    // A shell gives a command in the background no standard input.
    'exec 3<&0',
    `unshare --mount --pid --fork --kill-child ${unshared.join(' ')} sh -c "$1" <&3 3<&- &`,
    'wait $!; wait',
    `find /sys/fs/cgroup -depth -type d -path '*/${group}*' -exec rmdir {} +`,
  ].join('\n');
  const holder = start('sh', ['-c', outside, 'sh', inside], { stdio: 'pipe' });
  let said = '';
  for (const stream of [holder.stdout, holder.stderr])
    stream.setEncoding('utf8').on('data', (text) => {
      said += text;
    });
  const [, pid] = await until(`${name} is there`, () => {
    if (holder.exitCode !== null) throw new Error(`${name} ended: ${said}`);
    return said.match(/^node (\d+)$/m);
  });
  return {
    home,
    pid,
    group,
    enter: (...words) => ['nsenter', `--target=${pid}`, '--net', '--mount', '--pid', '--', ...words],
  };
}

/** A computer with a network of its own, a cable to the bridge, and a range of addresses for its pods. */
async function startNode(directory, number) {
  const node = await startComputer(directory, nodeName(number), ['--net']);
  ip('link', 'add', `nskube${number}`, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', node.pid);
  ip('link', 'set', `nskube${number}`, 'master', 'nskube', 'up');
  for (const words of [
    'link set lo up',
    `addr add ${address(number)}/24 dev eth0`,
    'link set eth0 up',
    `route add default via ${SWITCH}`,
  ]) {
    const [program, ...args] = node.enter('ip', ...words.split(' '));
    run(program, args);
  }
  ip('route', 'add', `${pods(number)}.0/24`, 'via', address(number));
  return { ...node, number };
}

/**
 * A dockerd as the kubelet expects it. Pods have addresses that are routed, so nothing is translated. Pause processes are to be the last
 * that the kernel ends for want of memory, which asks for a capability that a container's root may not have: here it is left out.
 */
async function startDocker({ number, home, group, enter }, directory, serve) {
  const runtime = path.join(directory, 'runc-without-scores');
  if (!existsSync(runtime))
    writeFileSync(
      runtime,
      [
        '#!/bin/sh',
        'last=; for word; do [ "$last" = --bundle ] && sed -i \'s/"oomScoreAdj":-[0-9]*/"oomScoreAdj":0/\' "$word/config.json"; last=$word; done',
        'exec runc "$@"\n',
      ].join('\n'),
      { mode: 0o755 },
    );
  const config = path.join(home, 'docker.json');
  writeFileSync(config, '{}');
  await serve(
    `dockerd of ${nodeName(number)}`,
    enter(
      ...['dockerd', '--config-file', config, '--storage-driver=overlay2', `--bip=${pods(number)}.1/24`],
      ...['--iptables=false', '--ip-masq=false', '--oom-score-adjust=0', `--cgroup-parent=/${group}`],
      ...[`--add-runtime=plain=${runtime}`, '--default-runtime=plain', '--exec-opt=native.cgroupdriver=cgroupfs'],
    ),
    /API listen on/,
  );
  return `unix://${home}/run/docker.sock`;
}

async function startControlPlane({ enter }, directory, file, kubeconfig, serve) {
  await serve(
    'etcd',
    enter('etcd', '--data-dir', path.join(directory, 'etcd'), '--logger=zap', '--log-level=info'),
    /serving client traffic/,
  );
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const key = file('accounts.pem', privateKey.export({ type: 'pkcs1', format: 'pem' }));
  await serve(
    'kube-apiserver',
    enter(
      ...['kube-apiserver', '--etcd-servers=http://127.0.0.1:2379', `--service-cluster-ip-range=${SERVICES}`],
      ...[
        `--bind-address=${SWITCH}`,
        `--advertise-address=${SWITCH}`,
        `--cert-dir=${path.join(directory, 'certificates')}`,
      ],
      ...[`--token-auth-file=${file('tokens', `${TOKEN},test,1,system:masters\n`)}`, '--authorization-mode=RBAC'],
      ...['--service-account-issuer=https://kubernetes.default.svc', `--service-account-key-file=${key}`],
      ...[`--service-account-signing-key-file=${key}`, '--disable-admission-plugins=ServiceAccount'],
      '--kubelet-preferred-address-types=InternalIP',
    ),
    /Serving securely on/,
  );
  const asAdministrator = ['--kubeconfig', kubeconfig, '--leader-elect=false'];
  await Promise.all([
    serve(
      'kube-controller-manager',
      // A node that is silent for 16 s is not ready: sooner than the cut of the test is over.
      enter('kube-controller-manager', ...asAdministrator, '--node-monitor-grace-period=16s'),
      /Started controller|Started "/,
    ),
    serve('kube-scheduler', enter('kube-scheduler', ...asAdministrator), /Serving securely on/),
    // As on each computer of a control plane: the test, too, is a client of a Service.
    startProxy('switch', SWITCH, enter(), kubeconfig, serve),
  ]);
}

const startProxy = (name, own, enter, kubeconfig, serve) =>
  serve(
    `kube-proxy of ${name}`,
    [
      ...enter,
      ...['kube-proxy', '--kubeconfig', kubeconfig, `--hostname-override=${name}`, `--bind-address=${own}`],
      ...['--proxy-mode=iptables', '--masquerade-all', `--healthz-bind-address=${own}:10256`],
      // They belong to the whole computer.
      ...['--conntrack-max-per-core=0', '--conntrack-min=0'],
      ...['--conntrack-tcp-timeout-established=0', '--conntrack-tcp-timeout-close-wait=0'],
    ],
    /Caches are synced for service config/,
  );

async function startKubelet({ number, group, enter }, file, kubeconfig, serve) {
  const name = nodeName(number);
  const config = {
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    authentication: { anonymous: { enabled: true }, webhook: { enabled: false } },
    authorization: { mode: 'AlwaysAllow' },
    clusterDNS: [SWITCH],
    clusterDomain: 'cluster.local',
    resolvConf: file(`resolv-${number}.conf`, `nameserver ${SWITCH}\n`, 0o644),
    volumePluginDir: '/var/lib/kubelet/volume-plugins',
    oomScoreAdj: 0,
    failSwapOn: false,
    // The computer's groups and disk are not for this cluster alone.
    cgroupRoot: `/${group}`,
    cgroupsPerQOS: false,
    enforceNodeAllocatable: [],
    evictionHard: { 'memory.available': '1Mi' },
    imageGCHighThresholdPercent: 100,
    imageGCLowThresholdPercent: 99,
  };
  await Promise.all([
    serve(
      `kubelet of ${name}`,
      enter(
        ...['kubelet', '--config', file(`kubelet-${number}`, JSON.stringify(config)), '--kubeconfig', kubeconfig],
        ...[`--hostname-override=${name}`, `--node-ip=${address(number)}`, '--pod-infra-container-image=pause:1'],
      ),
      /Successfully registered node/,
    ),
    startProxy(name, address(number), enter(), kubeconfig, serve),
  ]);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  cleanUpOnSignals();
  try {
    const { directory } = await startKubernetes();
    console.log(`ready ${directory}`);
    await new Promise((resolve) => process.stdin.resume().once('end', resolve));
  } finally {
    await endAll();
  }
}
