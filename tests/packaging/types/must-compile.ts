// Calls that must compile. Checked under strict, with and without skipLibCheck, by check.mjs.

import {
  type Chart,
  BuildError,
  type ClientOptions,
  type Command,
  type CommandResult,
  defaultBuildLogger,
  type DownloadResult,
  type EgressPolicy,
  type Files,
  Lifecycle,
  type LifecycleEvent,
  Machine,
  type MachineInfo,
  type MachineMetrics,
  type MachinePage,
  type MonitorEvent,
  NetworkEgressPolicy,
  type NetworkOptions,
  NotFoundError,
  Nullspace,
  NullspaceError,
  RateLimitError,
  Snapshot,
  type SnapshotInfo,
  Template,
  type TemplateBuildLogEntry,
  type TemplateInfo,
  TemplateWarmPool,
  type UploadProgress,
  verifyWebhookSignature,
  waitForPort,
  Volume,
  type WarmPoolInfo,
  type WebhookDelivery,
} from 'nullspace';

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
/** Compiles when both types are the same, not only assignable. */
export function same<A, B>(_: Same<A, B>): void {}

export async function create(): Promise<void> {
  await using machine = await Machine.create({
    template: 'base',
    vcpus: 2,
    memoryMb: 512,
    diskMb: 8192,
    timeout: 300,
    cwd: '/workspace',
    envs: { APP_ENV: 'dev' },
    metadata: { project: 'docs', nested: { any: [1, null] } },
    network: { maskRequestHost: 'localhost:${PORT}', egress: { mode: 'deny_all' } },
  });
  const id: string = machine.id;
  const cwd: string | undefined = machine.cwd;
  const result: CommandResult = await machine.commands.run('ls', {
    args: ['-l'],
    timeout: 5,
    signal: AbortSignal.timeout(1),
  });
  const code: number = result.exitCode;
  await Machine.create();
  await Machine.create({});
  await Machine.create({ vcpus: undefined });
  void [id, cwd, code];
}

export async function list(): Promise<void> {
  const page = await Machine.list({
    limit: 20,
    query: { state: ['running', 'paused'], metadata: { project: 'docs' } },
  });
  same<MachinePage, typeof page>(true);
  for await (const info of page) {
    same<MachineInfo, typeof info>(true);
    const when: number = info.createdAt.getTime();
    void when;
  }
  const rows = await Machine.list({ fields: ['id', 'status'] });
  same<Pick<MachineInfo, 'id' | 'status'>[], typeof rows>(true);
  const fields = ['id', 'createdAt'] as const;
  const more = await Machine.list({ fields });
  more[0]?.createdAt.toISOString();
}

export async function inspect(machine: Machine): Promise<void> {
  const info: MachineInfo = await machine.getInfo();
  const part: Pick<MachineInfo, 'warmPoolCheckout'> = await machine.getInfo({ fields: ['warmPoolCheckout'] });
  const metrics: MachineMetrics[] = await Machine.getMetricsById('mch_1');
  const running: boolean = await machine.isRunning();
  if (info.status === 'running' || info.status === 'something new') void running;
  void [part.warmPoolCheckout?.hit, metrics];
  await Machine.killById('mch_1', { apiKey: 'k' });
}

export async function pools(): Promise<void> {
  const pool = await TemplateWarmPool.create('base', { minReady: 2, labels: { team: 'a' } });
  const info: WarmPoolInfo = await pool.waitUntilReady({ onProgress: ({ status }) => void status.ready });
  const all: WarmPoolInfo[] = await TemplateWarmPool.list({ state: 'enabled' });
  await Machine.create({ warmPool: pool, warmPoolMode: 'require', warmPoolWaitMs: 1500 });
  await Machine.create({ warmPool: 'twp_1' });
  void [info, all];
}

export async function clients(): Promise<void> {
  const options: ClientOptions = {
    apiKey: async () => 'token',
    headers: { 'x-a': 'b' },
    fetch,
    onResponse: ({ status }) => void status,
  };
  const client = new Nullspace({ ...options, WebSocket });
  const machine: Machine = await client.Machine.create({ timeout: 60 });
  const rows = await client.Machine.list({ fields: ['id'] });
  same<Pick<MachineInfo, 'id'>[], typeof rows>(true);
  void (machine instanceof client.Machine);
}

export async function lifecycle(machine: Machine): Promise<void> {
  await using lease = await machine.keepAlive({ timeout: 60, refreshEverySecs: 20, timeoutAction: 'hibernate' });
  const signal = AbortSignal.timeout(1000);
  await lease.wait({ signal });
  const end: Date | undefined = (await machine.setTimeout(60)).timeoutAt;
  same<SnapshotInfo, Awaited<ReturnType<typeof machine.pause>>>(true);
  await using fork: Machine = await machine.fork({ idempotencyKey: 'k' });
  const [snapshot] = await Snapshot.list({ machineId: fork.id, name: 'n' });
  const raw = await fork.commands.run('cat', { encoding: 'bytes', stdin: new Uint8Array(1), timeout: 'none' });
  const size: number = raw.stdout.byteLength;
  const text: string = (await fork.commands.run('cat', { stdin: `${size}` })).stdout;
  const piped = await fork.commands.run('cat', { background: true, encoding: 'bytes' });
  const output: ReadableStream<Uint8Array> = piped.stdout;
  await new Blob([text]).stream().pipeTo(piped.stdin);
  await output.cancel();
  for await (const event of fork.commands.stream('cat', { encoding: 'bytes' }))
    if (event.kind === 'stdout') event.data.byteLength satisfies number;
  await fork.createSnapshot({ name: 'n', metadata: { a: 1 }, idempotencyKey: 'k' });
  const named: Machine = await Machine.getOrCreate({
    name: 'n',
    vcpus: 1,
    onCreate: (made) => made.files.write('a', ''),
  });
  await named.kill();
  await Machine.create({ snapshotId: snapshot?.id ?? 'snap_1', timeout: 60 });
  const started = await machine.commands.run('sleep 1', { shell: true, background: true });
  same<Command, typeof started>(true);
  const code: number = (await started.wait({ timeout: 5 })).exitCode;
  const ended: CommandResult = await machine.process.codeRun('1', { language: 'node', cwd: '/tmp' });
  const { ready } = await machine.waitForPreview(8080, { path: '/', timeout: 5 });
  const grant: string = (await machine.createSignedPreviewUrl(8080, { expiresInSeconds: 60 })).grant.id;
  await machine.revokePreviewUrl(grant);
  void [end, code, ended, ready];
}

export const withSecrets: NetworkOptions = {
  secrets: {
    A: { value: 'v', hosts: ['a.example'], header: 'x-api-key', format: '{}', path: '/v1', baseUrlEnv: 'A_URL' },
    B: { env: 'B', hosts: ['b.example:8443'] },
  },
};

export function policies(): EgressPolicy[] {
  return [
    NetworkEgressPolicy.allowAll(),
    NetworkEgressPolicy.denyAll(),
    NetworkEgressPolicy.custom({ allowCidrs: ['10.0.0.0/8'], rateLimit: { pps: 100 } }),
    NetworkEgressPolicy.custom({ allowDomains: ['*.npmjs.org'], denyDomains: ['db.internal:5432'] }),
    { mode: 'custom', denyCidrs: ['10.0.0.0/8'], rateLimit: { kbitPerSec: 1000, burst: 10 } },
  ];
}

export function errors(error: unknown): string | undefined {
  if (error instanceof RateLimitError) return String(error.retryAfter ?? 0);
  if (error instanceof NotFoundError) return error.suggestedAction;
  if (error instanceof NullspaceError) return error.requestId ?? error.code;
  return undefined;
}

export function charts(chart: Chart, { phase, sentParts, totalParts, attempt }: UploadProgress): unknown {
  switch (chart.type) {
    case 'bar':
    case 'pie':
      return chart.elements?.map(({ label, value, group }) => [label, value?.toFixed(), group]);
    case 'line':
      return chart.elements?.map(({ x, y, group }) => [x, y?.toFixed(), group]);
    case 'scatter':
      return chart.elements?.map(({ x, y, label }) => [x, y?.toFixed(), label]);
    case 'box_and_whisker':
      return chart.elements?.map(({ min, q1, median, q3, max }) => [min, q1, median, q3, max]);
    default:
      same<typeof chart, never>(true);
      return phase === 'retrying' ? attempt : sentParts / totalParts;
  }
}

export async function events(request: Request): Promise<void> {
  for await (const event of Lifecycle.streamEvents({ operation: 'fork', afterEventId: 'x', idleTimeout: 5 }))
    same<typeof event, LifecycleEvent>(true);
  const live = Lifecycle.streamEvents({ liveOnly: true });
  same<typeof live.started, Promise<void>>(true);
  await using subscription = Lifecycle.subscribe({ onEvent: ({ machineId }) => machineId?.length, onError() {} });
  await subscription.stop();
  const watching = new Nullspace().Monitor.subscribe({
    intervalMs: 500,
    onMetrics: ({ metrics }) => metrics.cpuPercent,
  });
  for await (const event of watching) {
    same<typeof event, MonitorEvent>(true);
    if (event.kind === 'update') console.log(event.machine?.status, event.removed);
  }
  const webhook = await Lifecycle.createWebhook({ url: 'https://x', operations: ['create'], signingSecret: 's' });
  const deliveries: WebhookDelivery[] = await Lifecycle.listWebhookDeliveries(webhook.id, { limit: 5 });
  console.log(deliveries[0]?.nextAttemptAt?.getTime());
  const secret = 's';
  const event = await verifyWebhookSignature({ payload: await request.text(), headers: request.headers, secret });
  same<typeof event, LifecycleEvent>(true);
}

export async function templates(input: HTMLInputElement, directory: FileSystemDirectoryHandle): Promise<void> {
  const base = Template.fromPythonImage('3.12', { variant: 'slim' }).aptInstall(['git']).pipInstall('flask');
  const app = base
    .setFileContext(input.files ?? directory, { ignore: ['*.log'] })
    .copy(['src', new File([], 'x')], '/app', { mode: 0o755 })
    .setStartCommand('python /app/main.py', waitForPort(8080, { timeout: 60 }))
    .addBuildSecret('npm', { env: 'NPM_TOKEN' });
  same<typeof app, Template>(true);
  const info = await Template.build(app, 'team/app:stable', {
    vcpus: 4,
    onLog: defaultBuildLogger({ minLevel: 'warn' }),
    onUploadProgress: ({ sentBytes, totalBytes }) => console.log(sentBytes / totalBytes),
    signal: AbortSignal.timeout(1000),
  });
  same<typeof info, TemplateInfo>(true);
  const build = await new Nullspace().Template.buildInBackground(app, 'app', { tags: ['next'] });
  for await (const entry of build.logs({ offset: 3 })) same<typeof entry, TemplateBuildLogEntry>(true);
  await (await build.retry({ baseImageAuth: { username: 'me', password: 'p' } })).wait();
  const rows: { id: string; canonicalRef: string }[] = await Template.list({ fields: ['id', 'canonicalRef'] });
  console.log(rows.length, (await Template.listBuilds('app')).nextCursor);
  try {
    await build.wait();
  } catch (error) {
    if (error instanceof BuildError) console.log(error.step, error.exitCode, error.log?.at(-1));
  }
}

export async function filesOfVolumes(): Promise<readonly string[]> {
  const volume = await Volume.fromName('models', { createIfMissing: true });
  const files: Files = volume.files;
  const tar: ReadableStream<Uint8Array> = await files.archive('/v1');
  await tar.cancel();
  const counted = await files.replaceInFiles(['/a'], 'x', 'y', { dryRun: true });
  same<typeof counted.dryRun, boolean | undefined>(true);
  await files.downloadUrl('/v1', { archiveFormat: 'tar' });
  const done: DownloadResult = await files.downloadDir('/v1', './v1', { overwrite: true, archive: false });
  return done.leftOut;
}
