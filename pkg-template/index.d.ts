/**
 * SDK for Nullspace machines: isolated Linux environments created on demand.
 *
 * ```ts
 * import { Machine } from 'nullspace';
 *
 * await using machine = await Machine.create({ timeout: 300 });
 * const { stdout } = await machine.commands.run('uname -a', { shell: true });
 * ```
 *
 * Nothing has to be initialised. Durations are seconds, unless the name ends in `Ms`; sizes ending in `Mb` are MiB.
 * Unknown option names are refused with the nearest known name; `undefined` means absent, `null` is refused.
 * Options are checked before a request is sent: what is wrong rejects with {@link InvalidRequestError}, which
 * names the option and a good value.
 *
 * @packageDocumentation
 */

/** What the SDK uses of a `WebSocket`, whoever made it: browsers, Node, the package `ws`. */
export interface WebSocketLike {
  readonly readyState: number;
  readonly bufferedAmount: number;
  send(data: string): void;
  close(): void;
  addEventListener(...heard: never): void;
}

/** What a `fetch` of your own must be able to do: it is called with the URL's text and plain options. */
export type FetchFunction = (url: string, init: RequestInit) => Promise<Response>;

/** What every call accepts in addition to its own options. A {@link Nullspace} client holds them once. */
export interface ClientOptions {
  /**
   * The API key, or a function that gives it. The function is asked before each request until it has answered once,
   * and again after a 401: browsers and edge functions should hold short-lived tokens.
   *
   * @default env `NULLSPACE_API_KEY`, env `NULLSPACE_TOKEN`, the same names in `./.env`, then `api_key` in
   * `$XDG_CONFIG_HOME/nullspace/config.json` and `~/.nullspace/config.json`, then that of the local engine of this user that
   * runs (Node, Deno and Bun; browsers and the edge have no such places)
   * @throws {@link AuthError} code `unauthorized` when there is none
   * @example Machine.create({ apiKey: async () => (await fetch('/token')).text() })
   */
  apiKey?: (string | (() => string | Promise<string>)) | undefined;
  /**
   * Where the API is; a path in it is kept.
   *
   * @default env `NULLSPACE_API_URL`, env `NULLSPACE_BASE_URL`, the same names in `./.env`, `base_url` in the
   * configuration files, that of the running engine with its key, then `http://localhost:3000`
   * @throws {@link InvalidRequestError} when it is no http(s) URL
   * @example Machine.list({ baseUrl: 'https://api.nullspace.example' })
   */
  baseUrl?: string | undefined;
  /**
   * Seconds for one HTTP request, to the end of its answer.
   *
   * @default 30; `Machine.create` and later calls on that handle 120; pause, resume, fork and snapshots 300;
   * `commands.run` at least the command's own `timeout` + 10
   * @throws {@link TransportError} code `transport_error` when it is over
   * @example Machine.create({ requestTimeout: 20 })
   */
  requestTimeout?: number | undefined;
  /**
   * Ends the call wherever it is, also between two attempts.
   *
   * @throws `signal.reason`, unchanged
   * @example Machine.create({ signal: AbortSignal.timeout(5000) })
   */
  signal?: AbortSignal | undefined;
  /**
   * Replaces the transport: for tests, proxies and tracing. It is called with the URL's text and plain options
   * (`method`, `headers`, `body`, `signal`), and what it throws becomes the `cause` of a {@link TransportError}.
   *
   * @default `node:http(s)` with kept-alive connections in Node, Deno and Bun; the global `fetch` elsewhere, and
   * wherever a test library has replaced that
   * @example Machine.list({ fetch: async () => new Response('{"items":[],"has_next":false}') })
   */
  fetch?: FetchFunction | typeof fetch | undefined;
  /**
   * A WebSocket constructor for streams, terminals and watches, where the runtime has none or another one is wanted.
   *
   * @default the package `ws` in Node; the global `WebSocket` elsewhere. Those that cannot send headers carry the key as a subprotocol
   */
  WebSocket?: new (
    url: string,
    protocols?: string[],
  ) => WebSocketLike;
  /**
   * Headers added to every request. `Authorization` cannot be replaced.
   *
   * @default none
   * @throws {@link InvalidRequestError} for a name or value that HTTP does not allow
   * @example new Nullspace({ headers: { 'x-team': 'review' } })
   */
  headers?: Record<string, string> | undefined;
  /**
   * Called before each request, retries included. Secrets are removed. What it throws rejects the call.
   *
   * @example Machine.list({ onRequest: ({ operation, attempt }) => console.log(operation, attempt) })
   */
  onRequest?: ((event: RequestEvent) => void) | undefined;
  /**
   * Called after each request, also after one that failed. What it throws rejects the call.
   *
   * @example Machine.list({ onResponse: ({ operation, status, durationMs }) => console.log(operation, status, durationMs) })
   */
  onResponse?: ((event: ResponseEvent) => void) | undefined;
}

/** Options of {@link Nullspace}. */
export interface NullspaceOptions extends ClientOptions {
  /**
   * A tracer of `@opentelemetry/api`. Each call of the API is a span of kind client with the names and attributes of the semantic
   * conventions for HTTP, a child of what is active where the call is made; its tries are events `nullspace.try`, and requests carry
   * `traceparent`. A WebSocket is a span until it is open. Without a tracer nothing of this happens.
   *
   * @default none
   * @example new Nullspace({ tracer: trace.getTracer('my-agent') })
   */
  tracer?: Tracer | undefined;
}

/** What is needed of a `Tracer` of `@opentelemetry/api`. */
export interface Tracer {
  startSpan(name: string, options?: object, context?: never): TracerSpan;
}

/** What is needed of a `Span` of `@opentelemetry/api`. */
export interface TracerSpan {
  spanContext(): {
    traceId: string;
    spanId: string;
    traceFlags: number;
    traceState?: { serialize(): string } | undefined;
  };
  setAttribute(key: string, value: string | number): unknown;
  setAttributes(attributes: Record<string, string | number>): unknown;
  addEvent(name: string, attributes?: Record<string, string | number>): unknown;
  setStatus(status: { code: number }): unknown;
  end(): void;
}

/** A request as {@link ClientOptions.onRequest} sees it. */
export interface RequestEvent {
  /** Name of the call, such as `createMachine`. */
  readonly operation: string;
  /** Upper case. */
  readonly method: string;
  /** Without user info and with secrets of its query removed. */
  readonly url: string;
  /** Lower-case names; `authorization` and other secrets read `[redacted]`. */
  readonly headers: Readonly<Record<string, string>>;
  /** Counts from 1. */
  readonly attempt: number;
}

/** The end of a request as {@link ClientOptions.onResponse} sees it. */
export interface ResponseEvent {
  /** Name of the call, such as `createMachine`. */
  readonly operation: string;
  /** Upper case. */
  readonly method: string;
  /** Without user info and with secrets of its query removed. */
  readonly url: string;
  /** Counts from 1. */
  readonly attempt: number;
  /** HTTP status; absent when no whole answer came. */
  readonly status?: number;
  /** The server's name for the request. */
  readonly requestId?: string;
  /** Milliseconds from the first byte sent to the last one read. */
  readonly durationMs: number;
  /** Why no whole answer came. */
  readonly error?: string;
}

/**
 * Holds options, so that calls need not repeat them. Nothing is global: a server may hold one per tenant.
 *
 * ```ts
 * const tenant = new Nullspace({ apiKey, baseUrl });
 * const machine = await tenant.Machine.create();
 * machine instanceof Machine; // true
 * ```
 */
export class Nullspace {
  /** Options of a call win over these; `headers` are put together. They are checked in the first call. */
  constructor(options?: NullspaceOptions);
  /** {@link Machine} with these options. */
  readonly Machine: typeof Machine;
  /** {@link Snapshot} with these options. */
  readonly Snapshot: typeof Snapshot;
  /** {@link Lifecycle} with these options. */
  readonly Lifecycle: typeof Lifecycle;
  /** {@link Monitor} with these options. */
  readonly Monitor: typeof Monitor;
  /** {@link Volume} with these options. */
  readonly Volume: typeof Volume;
  /** {@link Template} with these options. */
  readonly Template: typeof Template;
  /** {@link TemplateBuild} with these options. */
  readonly TemplateBuild: typeof TemplateBuild;
  /** {@link TemplateWarmPool} with these options. */
  readonly TemplateWarmPool: typeof TemplateWarmPool;
}

/** What a machine may reach. Made by hand or by {@link NetworkEgressPolicy}. */
export type EgressPolicy = { mode: 'allow_all' } | { mode: 'deny_all' } | ({ mode: 'custom' } & CustomEgress);

/**
 * Ranges decide by the longest prefix; a tie denies. Where no range decides, names do; a denied range or name wins. What nothing
 * decides is denied when `allowCidrs` or `allowDomains` is not empty, and allowed otherwise. The host's own addresses and link-local
 * ranges are refused under every policy.
 */
export interface CustomEgress {
  /**
   * Ranges such as `10.0.0.0/8`; a bare address is one host.
   *
   * @default none
   * @throws {@link InvalidRequestError} for a range that is none, naming its place
   */
  allowCidrs?: readonly string[] | undefined;
  /**
   * Ranges.
   *
   * @default none
   * @throws {@link InvalidRequestError} for a range that is none, naming its place
   */
  denyCidrs?: readonly string[] | undefined;
  /**
   * Names, up to 1000: `api.example.com`, `*.npmjs.org` for every name below and not for `npmjs.org` itself, `db.internal:5432` for
   * any protocol at one port. The machine resolves no other name, and reaches an address only after one of these names led to
   * it. A name without a port is for TLS and HTTP/1, on every port: TLS must say that name (SNI), and so must each HTTP request
   * (`Host`). The local engine knows names; a server that does not know them refuses the policy.
   *
   * @default none: every name but the denied
   * @throws {@link InvalidRequestError} for a name that is none, naming its place
   * @throws {@link NullspaceError} with code `feature_unavailable` when the server took the policy without its names; what it made is closed
   * @example { mode: 'custom', allowDomains: ['api.example.com', '*.npmjs.org', 'db.internal:5432'] }
   */
  allowDomains?: readonly string[] | undefined;
  /**
   * Names, as in `allowDomains`: not resolved, and no TLS or HTTP/1 connection may say them, whatever allows their address. Alone they
   * are no wall, since an address can be reached without saying a name: use `allowDomains` for that.
   *
   * @default none
   * @throws {@link InvalidRequestError} for a name that is none, naming its place
   */
  denyDomains?: readonly string[] | undefined;
  /**
   * Limit of each direction: kilobits (1000 bits) per second, or packets per second.
   *
   * @default none
   * @throws {@link InvalidRequestError} when both or neither is given
   */
  rateLimit?: { kbitPerSec: number; burst?: number } | { pps: number; burst?: number } | undefined;
}

/** Makers of {@link EgressPolicy}. Plain objects work as well. */
export const NetworkEgressPolicy: {
  /** Everything but the host itself. */
  allowAll(): { mode: 'allow_all' };
  /** Nothing, names included. */
  denyAll(): { mode: 'deny_all' };
  /** What the lists say. */
  custom(policy: CustomEgress): { mode: 'custom' } & CustomEgress;
};

/** A secret that a machine uses and never sees. See {@link NetworkOptions.secrets}. */
export type SecretOptions = {
  /**
   * Who may learn it, up to 32 names, with a port unless it is 443: `api.openai.com`. Always by TLS.
   *
   * @throws {@link InvalidRequestError} for a name that is none, naming its place
   */
  hosts: readonly string[];
  /** The header that carries it. @default `authorization` */
  header?: string | undefined;
  /** The header's value, with `{}` in the place of the secret. @default `Bearer {}` in `authorization`, else `{}` */
  format?: string | undefined;
  /** What the base URL ends with, such as `/v1`. @default nothing */
  path?: string | undefined;
  /**
   * The variable that tells the machine the base URL.
   *
   * @default the secret's name with `_BASE_URL` in the place of `_API_KEY`, `_TOKEN` and the like: `OPENAI_BASE_URL` for `OPENAI_API_KEY`
   */
  baseUrlEnv?: string | undefined;
} & (
  | {
      /** The secret itself. No error shows it. */
      value: string;
      env?: undefined;
    }
  | {
      /**
       * The variable of this process that holds it, read with the call.
       *
       * @throws {@link InvalidRequestError} when it is not set
       */
      env: string;
      value?: undefined;
    }
);

/** A volume to mount: made by hand or by {@link Volume.mount}. */
export interface VolumeMount {
  /** Id or name of the volume, or the volume. */
  ref: string | { readonly id: string };
  /** Absolute path inside the machine. */
  mountPath: string;
  /** Directory of the volume to mount. @default its root */
  subpath?: string | undefined;
  /** Whether the machine may only read it. @default false */
  readOnly?: boolean | undefined;
}

/** Options of {@link Machine.getOrCreate}. */
export interface GetOrCreateOptions extends Omit<CreateOptions, 'idempotencyKey'> {
  /** 1 to 128 visible ASCII characters. It is the entry `nullspace.name` of the machine's metadata. */
  name: string;
  /**
   * Prepares a new machine: called by one of the programs that ask, while the others wait for it. When it fails, the machine is destroyed.
   *
   * @default none
   * @example (machine) => machine.git.clone('https://example.com/app.git')
   */
  onCreate?: ((machine: Machine) => unknown) | undefined;
}

/** A field of {@link MachineInfo}, as `fields` takes it. */
export type MachineField = keyof MachineInfo;

/**
 * A machine. `await using` kills it at the end of the block.
 *
 * ```ts
 * await using machine = await Machine.create({
 *   timeout: 300,
 *   network: { egress: NetworkEgressPolicy.custom({ allowCidrs: ['203.0.113.0/24'] }) },
 * });
 * console.log(machine.id, (await machine.commands.run('id', { args: ['-u'] })).stdout);
 * ```
 */
export class Machine implements AsyncDisposable {
  private constructor();
  /**
   * Makes a machine, or takes one out of a warm pool. If the response is lost, the SDK retries with the
   * same idempotency key until it knows the outcome, so you never get two machines.
   *
   * @throws {@link InvalidRequestError}, {@link QuotaExceededError}, {@link WarmPoolUnavailableError},
   * {@link TransportError}, {@link AuthError}
   */
  static create(options?: CreateOptions): Promise<Machine>;
  /**
   * Returns the machine with this name: the one that exists, or a new one. Programs that ask at the same time get the same machine; a paused
   * one is resumed; with `timeout`, one that has less time left is extended to it. The other options are those of a new machine.
   *
   * The local engine lets no two machines that live have one name. For other servers the name is metadata like any other: programs that
   * ask at once with different options, or just as a minute ends, may each make a machine, of which the older one stays and is given to
   * both. The same holds for a server whose lists are behind.
   *
   * @throws what `onCreate` threw, and what {@link Machine.create} throws
   * @example await Machine.getOrCreate({ name: `session-${id}`, timeout: 600, onCreate: (machine) => machine.files.write('notes.md', '') })
   */
  static getOrCreate(options: GetOrCreateOptions): Promise<Machine>;
  /** Connects to a machine by id. A paused one is resumed. @throws {@link NotFoundError} */
  static connect(id: string, options?: ConnectOptions): Promise<Machine>;
  /** Makes a paused machine run again; its id stays. @throws {@link NotFoundError}, {@link ConflictError} */
  static resume(id: string, options?: ClientOptions): Promise<Machine>;
  /** Lists machines with only the fields that you ask for, as plain objects. */
  static list<F extends MachineField>(options: ListOptions & { fields: readonly F[] }): Promise<Pick<MachineInfo, F>[]>;
  /** Machines, newest first, page by page. */
  static list(options?: ListOptions & { fields?: undefined }): Promise<MachinePage>;
  /** Describes a machine with only the fields that you ask for. */
  static getInfoById<F extends MachineField>(
    id: string,
    options: GetInfoOptions & { fields: readonly F[] },
  ): Promise<Pick<MachineInfo, F>>;
  /** Describes a machine; a paused one stays paused. @throws {@link NotFoundError} */
  static getInfoById(id: string, options?: GetInfoOptions & { fields?: undefined }): Promise<MachineInfo>;
  /** Samples of a machine; a paused one stays paused. @throws {@link NotFoundError} */
  static getMetricsById(id: string, options?: ClientOptions): Promise<MachineMetrics[]>;
  /** Destroys a machine. @throws {@link NotFoundError} */
  static killById(id: string, options?: ClientOptions): Promise<void>;
  /**
   * Makes a machine, runs one command and destroys the machine.
   *
   * @example (await Machine.runOnce('python3', { args: ['-c', 'print(6 * 7)'] })).stdout // '42\n'
   */
  static runOnce(command: string, options?: RunOnceOptions): Promise<CommandResult>;

  /** `mch_...` */
  readonly id: string;
  /** Working directory of commands, when the server sent it. */
  readonly cwd: string | undefined;
  /**
   * Opens preview ports of a machine whose `allowPublicTraffic` is false. Only the answer of a create tells it: pass it on to
   * anybody who connects with {@link Machine.connect}, where it is `undefined`.
   */
  readonly trafficAccessToken: string | undefined;
  /** Runs commands. */
  readonly commands: Commands;
  /** Lifecycle events of this machine. */
  readonly lifecycle: MachineLifecycle;

  /** Files. */
  readonly files: Files;
  /** Git. */
  readonly git: Git;
  /** Volumes that it has mounted. */
  readonly volumes: MachineVolumes;
  /** Code in contexts that keep what it defines. */
  readonly codeInterpreter: CodeInterpreter;
  /** Terminals. */
  readonly pty: Pty;
  /** Programs given as text. */
  readonly process: Process;

  /** Describes the machine with only the fields that you ask for. */
  getInfo<F extends MachineField>(options: GetInfoOptions & { fields: readonly F[] }): Promise<Pick<MachineInfo, F>>;
  /** Describes the machine. @throws {@link NotFoundError} */
  getInfo(options?: GetInfoOptions & { fields?: undefined }): Promise<MachineInfo>;
  /** Whether its status is `running`. @throws {@link NotFoundError} */
  isRunning(options?: CallOptions): Promise<boolean>;
  /** Samples of the machine. */
  getMetrics(options?: CallOptions): Promise<MachineMetrics[]>;
  /** Destroys the machine. @throws {@link NotFoundError} when it is gone */
  kill(options?: CallOptions): Promise<void>;
  /**
   * Moves the end of the lease to this many seconds from now.
   *
   * @example await machine.setTimeout(600, { timeoutAction: 'hibernate' })
   */
  setTimeout(seconds: number, options?: SetTimeoutOptions): Promise<TimeoutLease>;
  /**
   * Renews the lease at once and then at intervals until you close the result, even when nobody holds it any more.
   *
   * @example await using lease = await machine.keepAlive({ timeout: 60 })
   * @throws {@link NotFoundError} when the machine is gone
   */
  keepAlive(options?: KeepAliveOptions): Promise<KeepAlive>;
  /** Freezes the machine; {@link Machine.resume} and {@link Machine.connect} make it run again. */
  pause(options?: CallOptions): Promise<SnapshotInfo>;
  /** The same as {@link Machine.pause}. */
  hibernate(options?: CallOptions): Promise<SnapshotInfo>;
  /** Makes a second machine that continues from where this one is. */
  fork(options?: KeyedOptions): Promise<Machine>;
  /** Keeps the machine as it is now: `Machine.create({ snapshotId })` starts from there. */
  createSnapshot(options?: CreateSnapshotOptions): Promise<SnapshotInfo>;
  /**
   * Replaces the whole network policy of the running machine; connections that become denied are cut.
   *
   * @example await machine.updateEgress({ mode: 'deny_all' })
   */
  updateEgress(policy: EgressPolicy, options?: CallOptions): Promise<EgressPolicy>;
  /** The same as {@link CodeInterpreter.runCode}. */
  runCode(code: string, options?: RunCodeOptions): Promise<Execution>;
  /** The same as {@link CodeInterpreter.installPackages}. */
  installPackages(packages: string | readonly string[], options?: RunCodeOptions): Promise<Execution>;
  /** Host and URLs of a port. 22 and 5900 to 5999 are reserved. @throws {@link InvalidRequestError} */
  getHost(port: number, options?: CallOptions): Promise<HostInfo>;
  /** URL of a port. */
  getUrl(port: number, options?: CallOptions): Promise<string>;
  /** WebSocket URL of a port. */
  getWebSocketUrl(port: number, options?: CallOptions): Promise<string>;
  /** URLs of a port with a token in them. Anybody who has one can open the port until it expires. */
  getPreviewUrl(port: number, options?: CallOptions): Promise<PreviewUrl>;
  /** A preview URL of a port that expires when you say. */
  createSignedPreviewUrl(port: number, options?: SignedPreviewUrlOptions): Promise<PreviewUrl>;
  /** What a reverse proxy of yours needs: the tokens go into headers. */
  createPreviewProxyTarget(port: number, options?: PreviewProxyTargetOptions): Promise<PreviewProxyTarget>;
  /**
   * Waits until a service in the machine answers. A service that does not answer is not an error: look at `ready`.
   *
   * @example if (!(await machine.waitForPreview(8080, { path: '/health' })).ready) throw new Error('it did not start')
   */
  waitForPreview(port: number, options?: WaitForPreviewOptions): Promise<PreviewReadiness>;
  /**
   * Admits the holder of a key by SSH until the certificate expires. Connections that are open then stay open. Without
   * `publicKey` a key is made in `~/.nullspace/ssh`, once (Node, Deno, Bun), and the result says which files `ssh` needs.
   *
   * @example
   * const access = await machine.createSshAccess({ expiresInMinutes: 30 });
   * console.log(access.command); // ssh ... root@127.0.0.1: paste it into a terminal
   * @throws {@link InvalidRequestError} no key, or one that the server does not take
   */
  createSshAccess(options?: SshAccessOptions): Promise<SshAccess>;
  /** The grants of this machine, newest first. Tokens are never shown again. */
  listPreviewUrls(options?: ListPreviewUrlsOptions): Promise<PreviewGrant[]>;
  /** Revokes a grant: its tokens open nothing from then on. @throws {@link NotFoundError} */
  revokePreviewUrl(grantId: string, options?: CallOptions): Promise<{ success: boolean; grant: PreviewGrant }>;
  /**
   * Closes this handle: calls that are under way continue, later ones fail with the code `handle_closed`. The machine runs on, and
   * nothing has to be closed: a handle holds neither a connection nor memory of the module.
   */
  close(): Promise<void>;
  /** Destroys the machine; errors are swallowed, since its lease ends it anyway. */
  [Symbol.asyncDispose](): Promise<void>;
  /** Without the token: logs are often JSON. */
  toJSON(): { id: string; cwd?: string };
}

/**
 * A lease that is renewed by itself: {@link Machine.keepAlive}. A renewal without an answer is tried again while the
 * lease lasts; any other failure ends it. A Node process lives as long as it.
 */
export class KeepAlive implements AsyncDisposable {
  private constructor();
  /** Stops the renewals; the lease stays as it is. @throws what stopped them before, unless {@link KeepAlive.wait} has thrown it */
  close(): Promise<void>;
  /** Waits until the renewals stop. @throws what stopped them, such as {@link NotFoundError} */
  wait(options?: CallOptions): Promise<void>;
  /** The same as {@link KeepAlive.close}. */
  [Symbol.asyncDispose](): Promise<void>;
  toJSON(): object;
}

/** Options of {@link Machine.fork}. */
export interface KeyedOptions extends CallOptions {
  /** One key never makes two. @default a new UUID for each call */
  idempotencyKey?: string | undefined;
}

/** Snapshots that outlive their machine. */
export class Snapshot {
  private constructor();
  /** Lists all snapshots that match, newest first. */
  static list(options?: SnapshotListOptions): Promise<SnapshotInfo[]>;
  /** Describes a snapshot. @throws {@link NotFoundError} */
  static get(id: string, options?: ClientOptions): Promise<SnapshotInfo>;
  /** Deletes a snapshot. @throws {@link ConflictError} code `snapshot_in_use` while a machine uses it */
  static delete(id: string, options?: ClientOptions): Promise<void>;
  toJSON(): object;
}

/**
 * A directory that outlives machines and can be mounted in several at once.
 *
 * ```ts
 * const models = await Volume.fromName('models', { createIfMissing: true });
 * const machine = await Machine.create({ volumes: [models.mount('/models', { readOnly: true })] });
 * ```
 */
export class Volume {
  private constructor();
  /** Makes a volume. @throws {@link ConflictError} when the name is taken */
  static create(name: string, options?: ClientOptions): Promise<Volume>;
  /** Finds a volume by id. @throws {@link NotFoundError} */
  static get(id: string, options?: ClientOptions): Promise<Volume>;
  /** Finds a volume by its exact name. @throws {@link NotFoundError} unless `createIfMissing` */
  static fromName(name: string, options?: VolumeFromNameOptions): Promise<Volume>;
  /** All volumes, newest first. */
  static list(options?: ClientOptions): Promise<VolumeInfo[]>;

  /** `vol_...` */
  readonly id: string;
  /** Unique in an account. */
  readonly name: string;
  /** Files of the volume, whether or not a machine has it mounted. */
  readonly files: Files;
  /** Describes the volume; the local engine counts its files now. @throws {@link NotFoundError} */
  getInfo(options?: CallOptions): Promise<VolumeInfo>;
  /** Machines that have it mounted. */
  attachments(options?: CallOptions): Promise<VolumeAttachment[]>;
  /** Deletes it and its files. @throws {@link ConflictError} code `volume_busy` while a machine has it mounted */
  delete(options?: CallOptions): Promise<void>;
  /** Describes a mount for {@link Machine.create} and {@link MachineVolumes.attach}; sends no request. */
  mount(mountPath: string, options?: VolumeMountOptions): VolumeMount;
  /** Closes this handle; the volume stays. See {@link Machine.close}. */
  close(): Promise<void>;
  toJSON(): { id: string; name: string };
}

/** Volumes of a machine: {@link Machine.volumes}. */
export class MachineVolumes {
  private constructor();
  /** Lists the volumes that the machine has mounted. */
  list(options?: CallOptions): Promise<VolumeAttachment[]>;
  /**
   * Mounts a volume while the machine runs. A local engine must run as root for it.
   *
   * @throws {@link NotFoundError}, {@link ConflictError} when the machine is paused
   * @example await machine.volumes.attach(volume, { mountPath: '/data' })
   */
  attach(
    volume: string | { readonly id: string } | VolumeMount,
    options?: AttachVolumeOptions,
  ): Promise<VolumeAttachment>;
  /** Unmounts a volume. @throws {@link ConflictError} code `volume_busy` while a process uses it */
  detach(attachmentId: string, options?: CallOptions): Promise<VolumeAttachment>;
  /** Checks whether a volume is mounted: look at `state`. */
  health(attachmentId: string, options?: CallOptions): Promise<VolumeAttachment>;
  /** Mounts a volume again, whatever state its mount is in. */
  remount(attachmentId: string, options?: CallOptions): Promise<VolumeAttachment>;
  toJSON(): object;
}

/** Files that {@link Machine.createSshAccess} keeps here, where there are files. */
export interface SshAccess {
  /** File of the private key. */
  readonly identityFile?: string;
  /** File of the certificate: one a machine, so that commands for several machines work side by side. */
  readonly certificateFile?: string;
  /** File that holds `hostKey`. */
  readonly knownHostsFile?: string;
}

/** Events of an account. */
export class Lifecycle {
  private constructor();
  /** A page of events of all machines and snapshots. */
  static listEvents(options?: LifecycleListOptions): Promise<LifecycleEventPage>;
  /** A page of events of a machine, also of one that is gone. */
  static listMachineEvents(id: string, options?: LifecycleFilterOptions & ClientOptions): Promise<LifecycleEventPage>;
  /** A page of events of a snapshot, also of one that is gone. */
  static listSnapshotEvents(id: string, options?: LifecycleFilterOptions & ClientOptions): Promise<LifecycleEventPage>;
  /**
   * Iterates over events: first those of the past that you asked for, then new ones, without end. A connection that is lost
   * is opened again (after 0.25 s, doubling to 5 s) and continues after the last event: none is lost or given twice. Nothing
   * happens before the first step, or before `started` is read: await that before you do what a stream with `liveOnly` must report. Leaving the loop, `return()`,
   * `await using` and an aborted `signal` end it at once.
   *
   * @throws {@link TransportError} when the first connection cannot be made; {@link AuthError} and the like when the
   * server refuses, also later
   * @example
   * for await (const event of Lifecycle.streamEvents({ operation: 'create', liveOnly: true })) console.log(event.machineId);
   */
  static streamEvents(options?: LifecycleStreamOptions): LifecycleEvents;
  /**
   * Gives what happens from now on to `onEvent`, or, without it, to whoever iterates over the subscription. Lost connections
   * are handled as by {@link Lifecycle.streamEvents}.
   *
   * @example
   * await using subscription = Lifecycle.subscribe({ onEvent: (event) => console.log(event.operation), onError: console.error });
   */
  static subscribe(options?: LifecycleSubscribeOptions): LifecycleSubscription;
  /**
   * Makes a webhook: events from now on are sent to its URL, signed.
   *
   * @throws {@link InvalidRequestError} names the option that is wrong
   * @example await Lifecycle.createWebhook({ url: 'https://example.com/hook', operations: ['create'], signingSecret })
   */
  static createWebhook(options: CreateWebhookOptions): Promise<LifecycleWebhook>;
  /** All webhooks, newest first. */
  static listWebhooks(options?: ClientOptions): Promise<LifecycleWebhook[]>;
  /** One webhook. @throws {@link NotFoundError} */
  static getWebhook(id: string, options?: ClientOptions): Promise<LifecycleWebhook>;
  /**
   * Changes a webhook; what is left out stays. A webhook that is switched off keeps what is queued.
   *
   * @throws {@link NotFoundError}
   * @example await Lifecycle.updateWebhook(webhook.id, { enabled: false })
   */
  static updateWebhook(id: string, options: UpdateWebhookOptions): Promise<LifecycleWebhook>;
  /** Deletes a webhook with its deliveries. @throws {@link NotFoundError} */
  static deleteWebhook(id: string, options?: ClientOptions): Promise<void>;
  /** A page of the deliveries of a webhook, newest first. @throws {@link NotFoundError} */
  static listWebhookDeliveries(id: string, options?: WebhookDeliveriesOptions): Promise<WebhookDelivery[]>;
  /** A delivery with its event and all that was tried. @throws {@link NotFoundError} */
  static getWebhookDelivery(id: string, deliveryId: string, options?: ClientOptions): Promise<WebhookDeliveryDetail>;
  toJSON(): object;
}

/** Events without end. */
export interface LifecycleEvents extends AsyncIterableIterator<LifecycleEvent>, AsyncDisposable {
  /**
   * Reading it opens the stream. Resolves when the server has confirmed it: what happens after that is told, also when the
   * connection is lost right then. Rejects with what kept it from that, an end before it too.
   *
   * @example
   * const events = machine.lifecycle.streamEvents({ liveOnly: true });
   * await events.started;
   */
  readonly started: Promise<void>;
  return(value?: unknown): Promise<IteratorResult<LifecycleEvent>>;
}

/** What {@link Lifecycle.subscribe} and {@link Monitor.subscribe} answer. */
export interface Subscription<Event> extends AsyncDisposable {
  /**
   * Resolves when the server has confirmed it: what happens after that is told, also when the connection is lost right then.
   * Rejects with what kept it from that, an end before it too.
   */
  readonly ready: Promise<void>;
  /**
   * Resolves when nothing more is told; rejects with what ended it when there is no `onError`. Absent without callbacks for
   * events: then the subscription is walked along.
   */
  readonly done?: Promise<void>;
  /** Ends the subscription. */
  stop(): Promise<void>;
  [Symbol.asyncIterator](): AsyncIterableIterator<Event>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** What {@link Lifecycle.subscribe} answers. */
export interface LifecycleSubscription extends Subscription<LifecycleEvent> {}

/**
 * Code in contexts: a context keeps what its cells define, as a notebook does. Machines need the template
 * `code-interpreter`, or one that comes from it. Get it as {@link Machine.codeInterpreter}.
 *
 * @example
 * ```ts
 * const machine = await Machine.create({ template: 'code-interpreter' });
 * await machine.runCode('x = 20');
 * const { text } = await machine.runCode('x + 1'); // '21'
 * ```
 */
export class CodeInterpreter {
  private constructor();
  /**
   * Runs one cell and waits for its end. Code that fails is not an error of the call: look at `error`. Aborting the call, an
   * error of a listener, and a lost connection stop the cell.
   *
   * @throws {@link NotFoundError} no such context
   */
  runCode(code: string, options?: RunCodeOptions): Promise<Execution>;
  /** Runs `pip install` in the machine. That it failed shows in `logs.stderr`. @example ['numpy', 'pandas>=2'] */
  installPackages(packages: string | readonly string[], options?: RunCodeOptions): Promise<Execution>;
  /** Makes a context of its own. Cells that name no context share one for each language. */
  createCodeContext(options?: CreateCodeContextOptions): Promise<CodeContext>;
  /** Lists contexts in the order in which they were made. */
  listCodeContexts(options?: CallOptions): Promise<CodeContext[]>;
  /** Removes a context; cells that wait for it fail. */
  removeCodeContext(context: CodeContext | string, options?: CallOptions): Promise<void>;
  /** Restarts a context: ends the cell that runs, and forgets what cells defined. */
  restartCodeContext(context: CodeContext | string, options?: CallOptions): Promise<void>;
  /** Stops the cell that runs, which fails; what was defined stays. */
  interruptCodeContext(context: CodeContext | string, options?: CallOptions): Promise<void>;
  /** Starts a cell and returns at once; look at the run later. The local engine remembers runs for a day, in memory. */
  createRun(code: string, options: CreateCodeRunOptions): Promise<CodeRun>;
  /** Describes a run. @throws {@link NotFoundError} */
  getRun(runId: string, options?: CallOptions): Promise<CodeRun>;
  /** Lists a page of runs, newest first. */
  listRuns(options?: ListCodeRunsOptions): Promise<CodeRunPage>;
  /** Stops a run; one that is over stays as it is. */
  cancelRun(runId: string, options?: CallOptions): Promise<CodeRun>;
  /** Waits until a run is over. @throws {@link TimeoutError} when the wait is too long; the run continues */
  waitForRun(runId: string, options?: WaitForCodeRunOptions): Promise<CodeRun>;
  /** Lists a page of artifacts, newest first. They are files of the machine: forks and snapshots have them too. */
  listArtifacts(options?: ListArtifactsOptions): Promise<CodeArtifactPage>;
  /** Describes an artifact. @throws {@link NotFoundError} */
  getArtifact(artifactId: string, options?: CallOptions): Promise<CodeArtifact>;
  /** Bytes of an artifact. */
  downloadArtifact(artifactId: string, options?: CallOptions): Promise<Uint8Array>;
  /** Bytes of a preview of an artifact; the local engine gives the artifact itself. */
  previewArtifact(artifactId: string, options?: CallOptions): Promise<Uint8Array>;
  /** Deletes an artifact. */
  deleteArtifact(artifactId: string, options?: CallOptions): Promise<void>;
  toJSON(): object;
}

/** Options of {@link CodeInterpreter.waitForRun}. */
export interface WaitForCodeRunOptions extends CallOptions {
  /** Seconds to wait. @default 300 */
  timeout?: number | undefined;
  /** Seconds between two looks, at least 0.01. @default 1 */
  pollInterval?: number | undefined;
}

/**
 * A plot as numbers: what its elements are, `type` says. A newer server may send further types.
 *
 * @example
 * for (const { chart } of (await machine.runCode(code)).results)
 *   if (chart?.type === 'bar') for (const { label, value } of chart.elements ?? []) console.log(label, value);
 */
export type Chart = BarChart | LineChart | PieChart | ScatterChart | BoxAndWhiskerChart;

/** What every chart has. */
export interface ChartBase<Type extends string, Element> {
  readonly type: Type;
  readonly title?: string;
  readonly xLabel?: string;
  readonly yLabel?: string;
  readonly xUnit?: string;
  readonly yUnit?: string;
  /** As the server sent them: it may leave any field out. */
  readonly elements?: readonly Element[];
}

/** One bar. */
export interface BarChartElement {
  readonly label?: string;
  readonly value?: number | null;
  readonly group?: string;
}

/** A point of a line; `group` tells lines apart. */
export interface LineChartElement {
  readonly x?: unknown;
  readonly y?: number | null;
  readonly group?: string | null;
}

/** A slice. */
export interface PieChartElement {
  readonly label?: string;
  readonly value?: number | null;
  readonly group?: string;
}

/** A point. */
export interface ScatterChartElement {
  readonly x?: unknown;
  readonly y?: number | null;
  readonly label?: string | null;
  readonly group?: string | null;
}

/** A box: quartiles, median and whiskers. */
export interface BoxAndWhiskerChartElement {
  readonly label?: string;
  readonly min?: number;
  readonly q1?: number;
  readonly median?: number;
  readonly q3?: number;
  readonly max?: number;
  readonly group?: string;
}

/** Bars. */
export interface BarChart extends ChartBase<'bar', BarChartElement> {}

/** Lines. */
export interface LineChart extends ChartBase<'line', LineChartElement> {}

/** A pie. */
export interface PieChart extends ChartBase<'pie', PieChartElement> {}

/** Points. */
export interface ScatterChart extends ChartBase<'scatter', ScatterChartElement> {}

/** Boxes. */
export interface BoxAndWhiskerChart extends ChartBase<'box_and_whisker', BoxAndWhiskerChartElement> {}

/** All that a cell did: what {@link CodeInterpreter.runCode} answers. */
export class Execution {
  private constructor();
  /** What it showed. */
  readonly results: ExecutionResult[];
  /** What it kept. */
  readonly artifacts: CodeArtifact[];
  /** What it printed, piece by piece. */
  readonly logs: { readonly stdout: string[]; readonly stderr: string[] };
  /** Why it failed; absent when it did not. */
  readonly error?: ExecutionError;
  /** Which cell of its context it was, counted from 1. */
  readonly executionCount?: number;
  /** `true` when a run made more than is kept of one: what came after that is missing. */
  readonly truncated?: boolean;
  /** The value of the last line, as text. */
  get text(): string | undefined;
  /** For logs: the same, with pictures told by their size. */
  serialize(): object;
}

/** Options of {@link verifyWebhookSignature}. */
export interface VerifyWebhookOptions {
  /** The body as it came: a parsed and printed one has other bytes. */
  payload: string | ArrayBuffer | ArrayBufferView;
  /** Of the request: a `Headers` object, or Node's `request.headers`. */
  headers: { get(name: string): string | null } | Record<string, string | readonly string[] | undefined>;
  /** The `signingSecret` of the webhook. */
  secret: string;
  /** How old a request may be, and how wrong the clocks: seconds. @default 300 */
  toleranceSecs?: number | undefined;
}

/**
 * For receivers of webhooks: resolves with the event if the request comes from who knows the secret. Compares in constant
 * time. Deliveries may come twice: remember `event.id`.
 *
 * @throws {@link AuthError} code `invalid_signature`: answer with 401
 * @example
 * const event = await verifyWebhookSignature({ payload: await request.text(), headers: request.headers, secret });
 */
export function verifyWebhookSignature(options: VerifyWebhookOptions): Promise<LifecycleEvent>;

/** What the monitor tells. `kind` tells them apart. */
export type MonitorEvent =
  | { readonly kind: 'snapshot'; readonly machines: MachineInfo[] }
  | { readonly kind: 'update'; readonly machineId: string; readonly machine?: MachineInfo; readonly removed?: boolean }
  | { readonly kind: 'metrics'; readonly machineId: string; readonly metrics: MonitorMetrics }
  | { readonly kind: 'processes'; readonly machineId: string; readonly processes: ProcessInfo[] }
  | { readonly kind: 'error'; readonly message: string };

/** What {@link Monitor.subscribe} answers. */
export interface MonitorSubscription extends Subscription<MonitorEvent> {}

/** All machines, as they change. */
export class Monitor {
  private constructor();
  /**
   * Watches all machines, over lost connections too. Events go to the callbacks, or, without one, to whoever iterates over the
   * subscription.
   *
   * @throws {@link InvalidRequestError} through `onError` or `done`: names the option that is wrong
   * @example
   * await using watching = Monitor.subscribe({ intervalMs: 2000, onMetrics: ({ machineId, metrics }) => draw(machineId, metrics.cpuPercent) });
   */
  static subscribe(options?: MonitorOptions): MonitorSubscription;
  toJSON(): object;
}

/** Events of a machine: {@link Machine.lifecycle}. */
export class MachineLifecycle {
  private constructor();
  /** A page of events of this machine. */
  list(options?: LifecycleFilterOptions & CallOptions): Promise<LifecycleEventPage>;
  /**
   * Iterates over its events, as {@link Lifecycle.streamEvents} does.
   *
   * @throws {@link NotFoundError} when there is no such machine
   * @example for await (const event of machine.lifecycle.streamEvents()) if (event.operation === 'destroy') break;
   */
  streamEvents(options?: MachineEventStreamOptions): LifecycleEvents;
  toJSON(): object;
}

/** What calls on a handle accept: the handle holds the rest. */
export interface CallOptions {
  /**
   * Seconds for one HTTP request. @default the handle's, see {@link ClientOptions.requestTimeout}
   * @throws {@link TransportError} code `transport_error` when it is over
   */
  requestTimeout?: number | undefined;
  /** Ends the call. @throws `signal.reason`, unchanged */
  signal?: AbortSignal | undefined;
}

/**
 * One page of machines, and all that follow:
 *
 * ```ts
 * for await (const machine of await Machine.list({ limit: 20 })) console.log(machine.id, machine.status);
 * ```
 */
export class MachinePage implements AsyncIterable<MachineInfo> {
  private constructor();
  /** The machines of the page that was read last. */
  readonly items: MachineInfo[];
  /** Whether another page follows. */
  readonly hasNext: boolean;
  /** Asks for it, also in another process. */
  readonly nextToken: string | undefined;
  /** Reads the next page; empty at the end. */
  nextItems(options?: CallOptions): Promise<MachineInfo[]>;
  /** Lets go of this handle at once: `items` stay, and nothing follows. See {@link Machine.close}. */
  close(): Promise<void>;
  /** This page's machines and those of all that follow. */
  [Symbol.asyncIterator](): AsyncIterator<MachineInfo, void, undefined>;
  toJSON(): { items: MachineInfo[]; hasNext: boolean; nextToken?: string };
}

/** Options of {@link Commands.run}. */
export interface RunOptions extends CallOptions {
  /** Exact arguments: nothing is split or expanded. Not with `shell`. @default none */
  args?: readonly string[] | undefined;
  /** Whether `command` is text for the shell. @default false */
  shell?: boolean | undefined;
  /** Working directory. @default the machine's */
  cwd?: string | undefined;
  /** Added to the machine's environment. @default `{}` */
  envs?: Record<string, string> | undefined;
  /**
   * Seconds for the command, 1 to 86400; then it is ended with everything it started. `'none'` sets no limit: end the command by
   * `signal` or {@link Commands.kill}. A hosted server may end it after 86400 seconds.
   *
   * @default 30; 'none' in the background
   */
  timeout?: number | 'none' | undefined;
  /** Do not wait for its end. @default false */
  background?: boolean | undefined;
  /**
   * What output is: text, in which bytes that are no UTF-8 are U+FFFD, or the bytes as they were printed. With `bytes`, results, events
   * and callbacks have a `Uint8Array` where they have text otherwise, and a command in the background has {@link Command.stdout}.
   * Where a server sends text alone, bytes that are no UTF-8 are lost: {@link NotImplementedError}.
   *
   * @default 'text'
   */
  encoding?: 'text' | 'bytes' | undefined;
  /**
   * What the command reads, not in the background: text, bytes, or a stream of them. Then the result has up to 32 MiB of each stream.
   *
   * @default an end of file
   * @example await machine.commands.run('sort', { stdin: 'b\na\n' })
   */
  stdin?: CommandInput | undefined;
  /**
   * Gets standard output as it comes, over a WebSocket. An async function is waited for: it slows the command down. What it
   * throws rejects the call, and the command is killed.
   *
   * @default none
   * @example await machine.commands.run('npm test', { shell: true, timeout: 600, onStdout: (text) => process.stdout.write(text) })
   */
  onStdout?: ((text: string) => unknown) | undefined;
  /** The same for standard error. @default none */
  onStderr?: ((text: string) => unknown) | undefined;
}

/** {@link RunOptions.stdin}. */
export type CommandInput =
  | string
  | ArrayBuffer
  | ArrayBufferView
  | ReadableStream<Uint8Array | string>
  | AsyncIterable<Uint8Array | string>;

/** {@link RunOptions} of output as bytes. */
export type BytesRunOptions = Omit<RunOptions, 'encoding' | 'onStdout' | 'onStderr'> & {
  encoding: 'bytes';
  /** As {@link RunOptions.onStdout}. @default none */
  onStdout?: ((bytes: Uint8Array) => unknown) | undefined;
  /** The same for standard error. @default none */
  onStderr?: ((bytes: Uint8Array) => unknown) | undefined;
};

/** A {@link CommandResult} of output as bytes. */
export interface BytesCommandResult extends Omit<CommandResult, 'stdout' | 'stderr'> {
  readonly stdout: Uint8Array;
  readonly stderr: Uint8Array;
}

/** Options of {@link Commands.stream}. */
export type StreamOptions = Omit<RunOptions, 'background' | 'onStdout' | 'onStderr' | 'stdin'>;

/** What a command does: {@link Commands.stream}. `bytes` are what it printed, where that is no UTF-8. */
export type CommandEvent =
  | { readonly kind: 'started'; readonly pid: number }
  | { readonly kind: 'stdout'; readonly data: string; readonly bytes?: Uint8Array }
  | { readonly kind: 'stderr'; readonly data: string; readonly bytes?: Uint8Array }
  | { readonly kind: 'exit'; readonly exitCode: number };

/** The same of a command that was asked for bytes. */
export type BytesCommandEvent =
  | { readonly kind: 'started'; readonly pid: number }
  | { readonly kind: 'stdout'; readonly data: Uint8Array }
  | { readonly kind: 'stderr'; readonly data: Uint8Array }
  | { readonly kind: 'exit'; readonly exitCode: number };

/** Iterates over what a command prints. Leaving the loop early kills the command. */
export interface CommandEvents<Event = CommandEvent> extends AsyncIterableIterator<Event>, AsyncDisposable {}

/** Commands of a machine: {@link Machine.commands}. */
export class Commands {
  private constructor();
  /**
   * Runs a command and waits for its end.
   *
   * @throws {@link NullspaceError} code `exec_timeout` when its time is over, {@link NotFoundError} when the machine is gone
   * @example await machine.commands.run('ls -la "$HOME"', { shell: true })
   * @example await machine.commands.run('git', { args: ['commit', '-m', 'two words'], cwd: '/workspace' })
   */
  run(command: string, options: BytesRunOptions & { background?: false | undefined }): Promise<BytesCommandResult>;
  run(
    command: string,
    options?: RunOptions & { background?: false | undefined; encoding?: 'text' | undefined },
  ): Promise<CommandResult>;
  /**
   * Starts a command and does not wait for it.
   *
   * @example const server = await machine.commands.run('python3', { args: ['-m', 'http.server'], background: true, timeout: 3600 })
   */
  run(
    command: string,
    options: Omit<RunOptions, 'stdin'> & { background: true; encoding?: 'text' | undefined },
  ): Promise<Command>;
  run(
    command: string,
    options: Omit<BytesRunOptions, 'stdin' | 'onStdout' | 'onStderr'> & { background: true },
  ): Promise<Command>;
  /** Does either, as `background` says. */
  run(
    command: string,
    options?: RunOptions & { background?: boolean | undefined; encoding?: 'text' | undefined },
  ): Promise<CommandResult | Command>;
  /**
   * Starts a command and iterates over its output as it comes. Nothing happens before the first step. Leaving the loop, an
   * aborted `signal` and an error kill the command. A slow reader slows the command down, in Node; elsewhere at most
   * 64 MiB wait, then code `stream_overflow`.
   *
   * @throws {@link TransportError} when the connection ends before the command: its exit code is not known then
   * @example
   * for await (const event of machine.commands.stream('make', { timeout: 600 })) {
   *   if (event.kind === 'stdout') process.stdout.write(event.data);
   *   if (event.kind === 'exit') console.log(event.exitCode);
   * }
   */
  stream(command: string, options: StreamOptions & { encoding: 'bytes' }): CommandEvents<BytesCommandEvent>;
  stream(command: string, options?: StreamOptions & { encoding?: 'text' | undefined }): CommandEvents;
  /**
   * Connects to a running command by its process id; callbacks get its output from now on, `getLogs` has what was before.
   *
   * @throws {@link NotFoundError} when the API started no such process
   */
  connect(pid: number, options?: CommandConnectOptions): Promise<Command>;
  /** Ends the standard input of a process: it reads an end of file. */
  closeStdin(pid: number, options?: CallOptions): Promise<void>;
  /** Lists the commands that were started in the machine. */
  list(options?: CallOptions): Promise<ProcessInfo[]>;
  /** Ends a process and its children. */
  kill(pid: number, options?: CallOptions): Promise<void>;
  /** Writes text or bytes to the standard input of a process. */
  sendStdin(pid: number, data: string | ArrayBuffer | ArrayBufferView, options?: CallOptions): Promise<void>;
  /** What a command has printed so far; also after its end. */
  getLogs(pid: number, options?: CallOptions): Promise<CommandLogs>;
  toJSON(): object;
}

/** Permissions of a file, octal: `'0755'`, `'755'` or `0o755`. */
export type FileMode = string | number;

/** What a file can be written from. A stream or an async iterable, such as a stream of Node, must give bytes. */
export type FileContent =
  | string
  | ArrayBuffer
  | ArrayBufferView
  | Blob
  | ReadableStream<Uint8Array>
  | AsyncIterable<Uint8Array>;

/** Options of {@link Files.downloadFile}. */
export interface DownloadOptions extends FileOptions {
  /** Replace what is at the destination, once all has come. @default false: what is there is an error */
  overwrite?: boolean | undefined;
}

/** Options of {@link Files.downloadDir}. */
export interface DownloadDirOptions extends DownloadOptions {
  /** Keep the archive, a tar file, instead of what is in it. @default false */
  archive?: boolean | undefined;
}

/** What came of a download. */
export interface DownloadResult {
  /** Absolute path here. */
  readonly path: string;
  /** Bytes of files. */
  readonly bytes: number;
  /** Number of files. */
  readonly files: number;
  /** Paths in the directory that were not made here: links that lead out of it, and what is neither a file, a directory nor a link. */
  readonly leftOut: readonly string[];
}

/**
 * A `ReadableStream` of bytes. Its methods are declared anew so that Node's `Readable.fromWeb` takes it, too: where a project has
 * `lib.dom` and the types of Node, each has a `ReadableStream` that the other refuses.
 *
 * @example Readable.fromWeb(await machine.files.read('/workspace/big', { format: 'stream' }))
 */
export interface ByteStream<Chunk = Uint8Array> extends ReadableStream<Chunk> {
  getReader(options: { mode: 'byob' }): never;
  getReader(): ReadableStreamDefaultReader<Chunk>;
  getReader(options?: { mode?: undefined }): ReadableStreamDefaultReader<Chunk>;
  pipeThrough<Next>(
    transform: { readonly readable: ReadableStream<Next>; readonly writable: WritableStream<never> },
    options?: object,
  ): ByteStream<Next>;
  pipeThrough<Next>(
    transform: { readonly readable: object; readonly writable: object },
    options?: object,
  ): ByteStream<Next>;
  tee(): [ByteStream<Chunk>, ByteStream<Chunk>];
  values(options?: { preventCancel?: boolean }): ByteStreamIterator<Chunk>;
  [Symbol.asyncIterator](options?: { preventCancel?: boolean }): ByteStreamIterator<Chunk>;
}

/** Iterates over a {@link ByteStream}. Leaving the loop early cancels the stream. */
export interface ByteStreamIterator<Chunk> extends AsyncIterableIterator<Chunk>, AsyncDisposable {
  [Symbol.asyncIterator](): ByteStreamIterator<Chunk>;
}

/**
 * Files of a machine, {@link Machine.files}, or of a volume, {@link Volume.files}. In a machine relative paths begin at its
 * working directory, with a `user` at that user's home; in a volume, whose root is `/`, there are none. On calls that carry bytes, `requestTimeout` is for silence, not for the whole.
 */
export class Files {
  private constructor();
  /**
   * Reads a file.
   *
   * @throws {@link NotFoundError} when there is none; {@link InvalidResponseError} when `text` is asked for and it is no UTF-8
   * @example const text = await machine.files.read('/workspace/a.txt')
   * @example for await (const bytes of await machine.files.read('/workspace/big', { format: 'stream' })) use(bytes)
   */
  read(path: string, options?: ReadFileOptions & { format?: 'text' }): Promise<string>;
  read(path: string, options: ReadFileOptions & { format: 'bytes' }): Promise<Uint8Array>;
  read(path: string, options: ReadFileOptions & { format: 'blob' }): Promise<Blob>;
  read(path: string, options: ReadFileOptions & { format: 'stream' }): Promise<ByteStream>;
  /**
   * Writes a file, and the directories that lead to it. It appears, or is replaced, when all of it has come: an error, an
   * aborted `signal` or a stream that throws leave it as it was. Browsers collect a stream before they send it.
   *
   * @example await machine.files.write('/workspace/a.txt', 'text')
   * @example await machine.files.write('/workspace/big', (await fetch(url)).body)
   */
  write(path: string, content: FileContent, options?: WriteFileOptions): Promise<FileInfo>;
  /**
   * Writes several files in one request, to a volume one after the other. Each is whole or as it was.
   *
   * @throws {@link BatchWriteError} when some were not written: `details` has `successes` and `failures`
   * @example await machine.files.writeFiles([{ path: 'a.txt', content: 'a' }, { path: 'b.bin', content: bytes }])
   */
  writeFiles(
    files: readonly {
      path: string;
      content: Exclude<FileContent, ReadableStream<Uint8Array>>;
      mode?: FileMode | undefined;
    }[],
    options?: FileOptions,
  ): Promise<FileInfo[]>;
  /** Lists a directory; `/` when no path is given. */
  list(path?: string, options?: ListFilesOptions): Promise<FileInfo[]>;
  /** Whether there is something at a path. */
  exists(path: string, options?: FileOptions): Promise<boolean>;
  /** Describes what is at a path. @throws {@link NotFoundError} when there is nothing */
  info(path: string, options?: FileOptions): Promise<FileInfo>;
  /** Makes a directory, and those that lead to it. */
  mkdir(path: string, options?: FileOptions): Promise<void>;
  /** Removes a file, or a directory and all in it. */
  remove(path: string, options?: FileOptions): Promise<void>;
  /** Renames or moves. */
  rename(from: string, to: string, options?: FileOptions): Promise<FileInfo>;
  /** Sets permissions. @example await machine.files.setPermissions('run.sh', '0755') // or 0o755 */
  setPermissions(path: string, permissions: string | number, options?: FileOptions): Promise<void>;
  /** Lines below a path that match a pattern. */
  findFiles(path: string, pattern: string, options?: FileOptions): Promise<SearchMatch[]>;
  /** Paths below a path whose names match a pattern such as `*.ts`. */
  searchFiles(path: string, pattern: string, options?: FileOptions): Promise<string[]>;
  /** Replaces a pattern in files. */
  replaceInFiles(
    files: readonly string[],
    pattern: string,
    replacement: string,
    options?: ReplaceOptions,
  ): Promise<ReplaceResult>;
  /**
   * The bytes of the archive, a tar file, of what is in a directory: files, directories and symbolic links. It is made while it
   * is sent. Of a machine only the local engine gives one.
   *
   * @throws {@link NotFoundError}, {@link InvalidRequestError} when it is no directory; the stream fails when it did not come whole
   * @example await volume.files.archive('/models').then((tar) => tar.pipeTo(sink))
   */
  archive(path: string, options?: FileOptions): Promise<ByteStream>;
  /**
   * Downloads a file or a directory, in Node, Deno and Bun: {@link Files.downloadDir} for a directory, or a link to one, else
   * {@link Files.downloadFile}.
   *
   * @example await volume.files.download('/models/v1', './models')
   */
  download(path: string, destination?: string, options?: DownloadDirOptions): Promise<DownloadResult>;
  /**
   * Downloads a file, in Node, Deno and Bun. It appears when all of it has come; an error and an aborted `signal` leave what was
   * there. It keeps its permissions.
   *
   * @param destination a path here; a directory, or one that ends with a slash, takes it under its own name
   * @defaultValue `destination`: the file's own name, in the working directory
   * @throws {@link NullspaceError} code `target_exists` unless `overwrite`; {@link NotImplementedError} in browsers, where
   *   {@link Files.read} gives the bytes
   */
  downloadFile(path: string, destination?: string, options?: DownloadOptions): Promise<DownloadResult>;
  /**
   * Downloads a directory, in Node, Deno and Bun. It appears when all of it has come; an error and an aborted `signal` leave what
   * was there. Nothing is written outside of the destination, whatever the names and links in it say.
   *
   * @param destination a path here, of the directory itself; one that ends with a slash takes it under its own name
   * @defaultValue `destination`: the directory's own name, in the working directory
   * @throws {@link NullspaceError} code `target_exists` unless `overwrite`; {@link InvalidResponseError} when the archive is damaged or
   *   holds names that cannot be; {@link NotImplementedError} in browsers, where {@link Files.archive} gives the bytes
   * @example const { files, leftOut } = await machine.files.downloadDir('/workspace/dist', './dist', { overwrite: true })
   */
  downloadDir(path: string, destination?: string, options?: DownloadDirOptions): Promise<DownloadResult>;
  /**
   * Uploads a file or a directory: larger ones in parts, each with its checksum, repeated one by one when the network fails.
   * It appears as a whole at the end; an error and an aborted `signal` leave what was there.
   *
   * A directory leaves out what its `.nullspaceignore` (syntax of `.gitignore`) and `ignore` name, and symlinks out of it.
   *
   * @param source in Node a path; everywhere a `Blob` or `File`, bytes, a `ReadableStream` (as a whole, not in parts), the
   *   `FileList` of a directory input, a `FileSystemDirectoryHandle`
   * @param path where it goes; a file keeps its name when this ends with a slash
   * @throws {@link FileUploadError} and its kinds; {@link TransportError} with `details.uploadId` for {@link Files.resumeUpload}
   * @example await machine.files.upload('./dist', '/workspace/dist', { ignore: ['*.map'] })
   * @example await machine.files.upload(input.files[0], '/workspace/', { onProgress: ({ sentBytes }) => show(sentBytes) })
   */
  upload(source: UploadSource, path: string, options?: UploadOptions): Promise<UploadResult>;
  /** Continues an upload that the network broke off, from the part it had reached. @throws {@link UploadExpiredError} */
  resumeUpload(uploadId: string, source: UploadSource, options?: ResumeUploadOptions): Promise<UploadResult>;
  /**
   * Watches a file or a directory. It holds once `started` is settled: await that before the changes that must be seen. Leaving the loop, `signal` and `await using` end it.
   *
   * @throws {@link TransportError} when the connection ends: changes may have been missed
   * @example
   * for await (const { event, path } of machine.files.watch('/workspace', { recursive: true })) console.log(event, path);
   */
  watch(path: string, options?: WatchOptions): FileWatch;
  /** A URL that opens the file for an hour, with a plain GET and no key. */
  downloadUrl(path: string, options?: DownloadUrlOptions): Promise<string>;
  /** A URL that writes the file for a limited time, with a plain PUT and no key. */
  uploadUrl(path: string, options?: FileOptions): Promise<UploadUrl>;
  toJSON(): object;
}

/** What can be uploaded: {@link Files.upload}. */
export type UploadSource =
  | string
  | Blob
  | ArrayBuffer
  | ArrayBufferView
  | ReadableStream<Uint8Array>
  | Iterable<File>
  | DirectoryHandle;

/** The `FileSystemDirectoryHandle` of a browser: a type that programs for Node do not have. */
export interface DirectoryHandle {
  readonly kind: 'directory';
  readonly name: string;
}

/** How far an upload is. What is sent as a whole counts as one part. */
export interface UploadProgress {
  /**
   * `created`: the server takes it, or took it up again. `uploading`: a part has come. `retrying`: the network broke a part
   * off, which is sent again. `completing`: all has come, and the server checks and publishes it. `completed`: it is there.
   */
  readonly phase: 'created' | 'uploading' | 'retrying' | 'completing' | 'completed';
  /** Of all parts that have come. */
  readonly sentBytes: number;
  readonly totalBytes: number;
  readonly sentParts: number;
  readonly totalParts: number;
  /** Which try of the part it is: more than 1 with `retrying`, and with an `uploading` after it. 1 in the other phases. */
  readonly attempt: number;
}

/** What came of an upload. */
export interface UploadResult {
  /** Absolute path in the machine. */
  readonly path: string;
  /** Bytes of files. */
  readonly bytes: number;
  /** Number of files. */
  readonly files: number;
  /** `upl_...`, when it went in parts. */
  readonly uploadId?: string;
}

/** Options of {@link Files.watch}. */
export interface WatchOptions extends FileOptions {
  /** Directories below as well, also those made later. @default false */
  recursive?: boolean | undefined;
  /** Seconds after which it ends by itself. @default without end; the local engine ends it after a day */
  timeout?: number | undefined;
}

/** A change: {@link Files.watch}. */
export interface FileChange {
  /** `create`, `write`, `remove`, `rename`, `chmod`; `resync_required` when changes were too many to be told. */
  readonly event: string;
  /** The path, from what is watched. */
  readonly name: string;
  /** Absolute. */
  readonly path: string;
}

/** A watch. */
export interface FileWatch extends AsyncIterableIterator<FileChange>, AsyncDisposable {
  /** Resolves when the watch is on: changes from then on are told. */
  readonly started: Promise<void>;
}

/**
 * Credentials of one operation. They are forgotten after it and appear in no log, error or file that stays.
 *
 * `kind` may be left out: `https` for a name with a password or token, `ssh` for a private key.
 */
export type GitAuth =
  | { kind?: 'https'; username: string; password: string }
  | { kind?: 'ssh'; privateKey: string; passphrase?: string };

/** Options of {@link Git.remoteAdd}. */
export interface GitRemoteAddOptions extends GitOptions {
  /** Fetch from it at once. @default false */
  fetch?: boolean | undefined;
  /** Replace one of this name. @default false */
  overwrite?: boolean | undefined;
}

/** Options of {@link Git.dangerouslyAuthenticate}. */
export interface GitAuthenticateOptions extends CallOptions {
  /** User name for the host. */
  username: string;
  /** Password or token for the host. */
  password: string;
  /** Host of the remotes. @default 'github.com' */
  host?: string | undefined;
  /** Scheme of the remotes. @default 'https' */
  protocol?: 'https' | 'http' | undefined;
}

/**
 * Git in a machine, with the machine's own git: {@link Machine.git}. What git refuses is a {@link GitError}, whose `details`
 * hold `exitCode` and `stderr`.
 */
export class Git {
  private constructor();
  /**
   * Clones a repository. The machine's network policy applies.
   *
   * @throws {@link InvalidRequestError} when the URL holds credentials
   * @example await machine.git.clone('https://example.com/r.git', { path: '/workspace/r', depth: 1, auth: { username, password } })
   */
  clone(url: string, options?: GitCloneOptions): Promise<{ readonly path: string }>;
  /** What has changed. */
  status(options?: GitOptions): Promise<GitStatus>;
  /** Commits, newest first. */
  log(options?: GitLogOptions): Promise<GitCommit[]>;
  /** Local branches. */
  branches(options?: GitOptions): Promise<GitBranches>;
  /** Makes a branch where `HEAD` is. */
  createBranch(name: string, options?: GitOptions): Promise<void>;
  /** Deletes a branch. */
  deleteBranch(name: string, options?: GitDeleteBranchOptions): Promise<void>;
  /** Changes to a branch, tag or commit. */
  checkout(ref: string, options?: GitCheckoutOptions): Promise<void>;
  /** Adds files, or everything. */
  add(options?: GitAddOptions): Promise<void>;
  /** Adds files, or everything, and commits: the new commit. */
  commit(message: string, options?: GitCommitOptions): Promise<string>;
  /** Pulls: what git said. */
  pull(options?: GitPullOptions): Promise<string>;
  /** Pushes: what git said. */
  push(options?: GitPushOptions): Promise<string>;
  /** What has changed and is not added, as a patch. */
  diff(options?: GitOptions): Promise<string>;
  /** Names a remote. @throws {@link InvalidRequestError} when the URL holds credentials */
  remoteAdd(name: string, url: string, options?: GitRemoteAddOptions): Promise<void>;
  /** Keeps a setting of git. */
  setConfig(key: string, value: string, options?: GitConfigOptions): Promise<void>;
  /** A setting of git. @throws {@link GitError} when it is not set */
  getConfig(key: string, options?: GitConfigOptions): Promise<string>;
  /** Who commits: `user.name` and `user.email`. */
  configureUser(name: string, email: string, options?: GitConfigOptions): Promise<void>;
  /**
   * Keeps credentials in the machine, readable by whatever runs there as root, and in its snapshots and forks. `auth` of one call
   * is safer.
   */
  dangerouslyAuthenticate(options: GitAuthenticateOptions): Promise<void>;
  /** Keeps a private key in the machine as `~/.ssh/id_rsa`, with the same danger. */
  addSshKey(privateKey: string, options?: CallOptions): Promise<void>;
  toJSON(): object;
}

/** Size of a terminal: characters a line, and lines. */
export interface PtySize {
  cols: number;
  rows: number;
}

/** Options of {@link PtySession.wait}. */
export interface PtyWaitOptions {
  /** Seconds to wait; the terminal is not ended. @default without end */
  timeout?: number | undefined;
  /** Ends the wait. @default none */
  signal?: AbortSignal | undefined;
}

/** What {@link PtySession.wait} resolves with. */
export interface PtyResult {
  /** 128 + n when signal n ended the shell; 124 when the wait was over first. */
  readonly exitCode: number;
  /** Whether the wait was over first. */
  readonly timedOut: boolean;
}

/** Terminals of a machine: {@link Machine.pty}. They outlive their connection, but not a pause. */
export class Pty {
  private constructor();
  /**
   * Opens a terminal with a login shell.
   *
   * @example
   * const terminal = await machine.pty.create({ cols: 80, rows: 24 });
   * await terminal.sendInput('ls\n');
   * for await (const bytes of terminal) process.stdout.write(bytes);
   */
  create(options?: PtyOptions): Promise<PtySession>;
  /**
   * Connects to an open terminal and gets its output from now on.
   *
   * @throws {@link NotFoundError} when there is no such session
   * @example await machine.pty.connect({ sessionId })
   */
  connect(target: { sessionId: string } | { pid: number }, options?: CallOptions): Promise<PtySession>;
  /** Terminals that are open. */
  list(options?: CallOptions): Promise<PtySessionInfo[]>;
  /** Describes a terminal. @throws {@link NotFoundError} when no terminal has this id */
  get(sessionId: string, options?: CallOptions): Promise<PtySessionInfo>;
  /** Ends one, and what runs in it. */
  kill(sessionId: string, options?: CallOptions): Promise<void>;
  /** Changes the size of a terminal. */
  resize(sessionId: string, size: PtySize, options?: CallOptions): Promise<void>;
  toJSON(): object;
}

/**
 * A terminal on its connection. `for await` gives what it prints; while nobody reads, the last 256 pieces are kept. `await
 * using` ends a terminal that `create` made, and leaves one that `connect` took up.
 */
export class PtySession implements AsyncDisposable {
  private constructor();
  /** `pty_...`: for {@link Pty.connect}, also from another program. */
  readonly sessionId: string;
  /** Process id of the shell inside the machine. */
  readonly pid: number;
  /** Exit code, once its end was read or waited for. */
  readonly exitCode: number | undefined;
  /** Whether the connection stands, as far as is known here. */
  readonly isConnected: boolean;
  /**
   * Types.
   *
   * @throws {@link ConflictError} code `pty_closed` when it has ended
   * @example await terminal.sendInput(new Uint8Array([3])) // Ctrl-C
   */
  sendInput(data: string | ArrayBuffer | ArrayBufferView, options?: CallOptions): Promise<void>;
  /** Changes the size of the terminal. */
  resize(size: PtySize, options?: CallOptions): Promise<void>;
  /**
   * Waits for its end.
   *
   * @throws {@link TransportError} when the connection ends first; the terminal may continue
   */
  wait(options?: PtyWaitOptions): Promise<PtyResult>;
  /** Ends the terminal and what runs in it. */
  kill(options?: CallOptions): Promise<void>;
  /** Ends the connection; the terminal stays open. */
  disconnect(): Promise<void>;
  [Symbol.asyncIterator](): AsyncIterableIterator<Uint8Array> & AsyncDisposable;
  [Symbol.asyncDispose](): Promise<void>;
  toJSON(): { sessionId: string; pid: number };
}

/**
 * A command in the background. `for await` gives its output from the beginning and, last, its exit; `await using` kills it
 * at the end of the block.
 */
export class Command implements AsyncDisposable {
  private constructor();
  /** Process id inside the machine. */
  readonly pid: number;
  /**
   * What it prints on standard output, from its start. A command that was run with `encoding: 'bytes'` has it; it gives the same stream
   * each time. As with a pipe, a command waits while 1 MiB of it is not read. While somebody waits for the end of the command, up to
   * 64 MiB stay for a reader, and a stream that nobody asked for is dropped.
   *
   * @throws {@link InvalidRequestError} for other commands
   * @example await machine.commands.run('tar', { args: ['c', '.'], background: true, encoding: 'bytes' }).then(({ stdout }) => new Response(stdout).blob())
   */
  readonly stdout: ByteStream;
  /** The same for standard error. */
  readonly stderr: ByteStream;
  /** Its standard input, of any command in the background. A write ends when the command has taken it; closing it is an end of file. */
  readonly stdin: WritableStream<Uint8Array | string>;
  /**
   * Waits for its end. What a callback threw, rejects this.
   *
   * @throws {@link TimeoutError} when it still runs after `timeout`
   */
  wait(options?: CommandWaitOptions): Promise<CommandLogs & { readonly exitCode: number }>;
  /** Ends the command and everything that it started. */
  kill(options?: CallOptions): Promise<void>;
  /** Ends its standard input: it reads an end of file. */
  closeStdin(options?: CallOptions): Promise<void>;
  /** Stops its callbacks; the command continues. */
  disconnect(): Promise<void>;
  [Symbol.asyncIterator](): AsyncGenerator<Exclude<CommandEvent, { kind: 'started' }>, void>;
  [Symbol.asyncDispose](): Promise<void>;
  /** Writes text or bytes to its standard input. */
  sendStdin(data: string | ArrayBuffer | ArrayBufferView, options?: CallOptions): Promise<void>;
  /** What the command has printed so far. */
  getLogs(options?: CallOptions): Promise<CommandLogs>;
  toJSON(): { pid: number };
}

/** Programs given as text: {@link Machine.process}. */
export class Process {
  private constructor();
  /**
   * Runs a program of less than 128 KiB and waits for its end. Each run is a process of its own.
   *
   * @example (await machine.process.codeRun('print(6 * 7)')).stdout // '42\n'
   */
  codeRun(code: string, options?: CodeRunOptions): Promise<CommandResult>;
  toJSON(): object;
}

/** Options of {@link TemplateWarmPool.waitUntilReady}. */
export interface WaitUntilReadyOptions extends CallOptions {
  /** Machines that must be ready. @default the pool's `minReady` */
  minReady?: number | undefined;
  /** Seconds to wait. @default 300 @throws {@link TimeoutError} code `timeout` */
  timeout?: number | undefined;
  /** Milliseconds between looks, at least 1. @default 1000 */
  intervalMs?: number | undefined;
  /** Called after each look. What it throws ends the wait and rejects it. */
  onProgress?: ((pool: WarmPoolInfo) => void) | undefined;
}

/**
 * Machines held ready, so that a create takes milliseconds.
 *
 * ```ts
 * const pool = await TemplateWarmPool.create('base', { minReady: 2 });
 * await pool.waitUntilReady();
 * const machine = await Machine.create({ warmPool: pool });
 * ```
 */
export class TemplateWarmPool {
  private constructor();
  /** Makes a pool for a template. @throws {@link InvalidRequestError} */
  static create(template: string, options?: WarmPoolOptions): Promise<TemplateWarmPool>;
  /** Finds a pool by id. @throws {@link NotFoundError} */
  static get(id: string, options?: ClientOptions): Promise<TemplateWarmPool>;
  /** All pools that match. */
  static list(options?: WarmPoolListOptions): Promise<WarmPoolInfo[]>;

  /** `twp_...` */
  readonly id: string;
  /** Describes the pool. @throws {@link NotFoundError} */
  getInfo(options?: CallOptions): Promise<WarmPoolInfo>;
  /** Changes what is given. */
  update(options: WarmPoolUpdateOptions): Promise<WarmPoolInfo>;
  /** Lets the pool give out machines and fill itself. */
  enable(options?: CallOptions): Promise<WarmPoolInfo>;
  /** Stops the pool from giving out machines and from filling itself. */
  disable(options?: CallOptions): Promise<WarmPoolInfo>;
  /** Destroys its ready machines. */
  drain(options?: CallOptions): Promise<WarmPoolInfo>;
  /** Compares what there is with what there should be, now. */
  reconcile(options?: CallOptions): Promise<WarmPoolInfo>;
  /** Destroys the pool and its ready machines; machines that were taken stay. */
  delete(options?: CallOptions): Promise<void>;
  /** Waits until enough machines are ready. */
  waitUntilReady(options?: WaitUntilReadyOptions): Promise<WarmPoolInfo>;
  /** Closes this handle; the pool stays. See {@link Machine.close}. */
  close(): Promise<void>;
  toJSON(): { id: string };
}

/** Options of {@link waitForPort}, {@link waitForUrl}, {@link waitForProcess} and {@link waitForFile}. */
export interface ReadinessOptions {
  /** Seconds until the build fails. @default 30 */
  timeout?: number | undefined;
  /** Milliseconds between two attempts. @default 500 */
  intervalMs?: number | undefined;
  /** Seconds before the first try. @default 2 */
  startupGrace?: number | undefined;
}

/** Ready when a port of the machine that builds accepts connections. @throws {@link InvalidRequestError} */
export function waitForPort(port: number, options?: ReadinessOptions): TemplateReadiness;
/**
 * Ready when this answers, asked inside the machine: an `http` URL of `localhost`, `127.0.0.1` or `0.0.0.0` with a port.
 *
 * @throws {@link InvalidRequestError} for any other URL
 * @example waitForUrl('http://localhost:8080/health')
 */
export function waitForUrl(url: string, options?: ReadinessOptions): TemplateReadiness;
/** Ready when a process of exactly this name runs. */
export function waitForProcess(name: string, options?: ReadinessOptions): TemplateReadiness;
/** Ready when this path exists. */
export function waitForFile(path: string, options?: ReadinessOptions): TemplateReadiness;
/** Ready after this many milliseconds, whatever happens. */
export function waitForTimeout(timeoutMs: number): TemplateReadiness;

/** A level of a build's log. */
export type TemplateLogLevel = 'debug' | 'info' | 'warn' | 'error';

/**
 * Prints the log of a build, a line an entry. The first and the last entry are always printed.
 *
 * @example await Template.build(builder, 'app', { onLog: defaultBuildLogger({ minLevel: 'warn' }) })
 */
export function defaultBuildLogger(options?: {
  /** The lowest level that is printed. @default 'info' */
  minLevel?: TemplateLogLevel | undefined;
  /** Where lines go. @default console.log */
  print?: ((line: string) => void) | undefined;
}): (entry: TemplateBuildLogEntry) => void;

/** Where files of a template come from: a path (Node), the `FileList` of a directory input, files, a directory handle. */
export type TemplateFileContext = string | Iterable<File> | DirectoryHandle;
/** What {@link Template.copy} takes: a path below the file context (or, without one, of the working directory), a file, a directory handle. */
export type TemplateCopySource = string | File | DirectoryHandle;

/** Who may read an image. No log and no error holds it. */
export type TemplateRegistryAuth =
  | { username: string; password: string }
  | { accessKeyId: string; secretAccessKey: string; region: string; sessionToken?: string | undefined }
  | { serviceAccountJson: string | Record<string, unknown> };

/** A secret of a build: the value itself, a variable of this process, or a file of this computer. */
export type TemplateSecretSource = string | { value: string } | { env: string } | { file: string };

/** A secret among the options of a build. `id`: letters, digits, `.`, `_` and `-`. */
export type TemplateBuildSecret = { id: string } & ({ value: string } | { env: string } | { file: string });

/** A user and a password for an image. */
export interface TemplateImageOptions {
  /** Given with `password`, or not at all. @default none */
  username?: string | undefined;
  /** Given with `username`. @default none */
  password?: string | undefined;
}

/** Options of {@link Template.copy}. */
export interface TemplateCopyOptions {
  /** Owner of the files there. @default root */
  user?: string | undefined;
  /** Permission bits of all of them, such as `0o755` or `'0755'`. @default those that they have */
  mode?: number | string | undefined;
  /** Send them even if the server has them. @default false */
  forceUpload?: boolean | undefined;
}

/** How far the files of a build are. Files that the server has already are not counted. */
export interface TemplateUploadProgress {
  /** The file that was told of, as the context names it. */
  readonly path: string;
  readonly sentBytes: number;
  readonly totalBytes: number;
  readonly sentFiles: number;
  readonly totalFiles: number;
}

/** Names for `fields`. */
export type TemplateField = keyof TemplateInfo;

/** What {@link Template.inspectBuildContext} found. */
export interface TemplateInspection {
  /** The body that a build would send, as the wire has it. Secrets read `[redacted]`, and files have no content. */
  readonly request: Record<string, unknown>;
  /** Its files. */
  readonly context: {
    readonly totalBytes: number;
    readonly fileCount: number;
    readonly directoryCount: number;
    /** At most 10. */
    readonly largestFiles: readonly { readonly path: string; readonly sizeBytes: number }[];
    /** What looks like a mistake: directories that are mostly left out, files that look like secrets. */
    readonly warnings: readonly { readonly path: string; readonly reason: string; readonly message: string }[];
    /** What `.dockerignore` and `ignore` leave out. */
    readonly ignored: readonly { readonly path: string; readonly entryType: 'file' | 'dir' }[];
    readonly entries: readonly {
      readonly path: string;
      readonly entryType: 'file' | 'dir';
      /** Permission bits, such as `0644`; absent where there are none. */
      readonly mode?: string;
      readonly sizeBytes?: number;
      readonly sha256?: string;
    }[];
  };
}

/**
 * What machines start from: a builder of new ones, and calls for those that are there.
 *
 * Each step gives a new builder and leaves the old one as it is, so that two templates may share a beginning. A step checks what
 * it is given at once, and sends nothing. A step that is wrong throws {@link InvalidRequestError}.
 *
 * ```ts
 * const app = Template.fromPythonImage('3.12', { variant: 'slim' })
 *   .aptInstall(['git'])
 *   .setFileContext('.', { ignore: ['*.log'] })
 *   .copy('src', '/app')
 *   .pipInstall('flask')
 *   .setStartCommand('python /app/main.py', waitForPort(8080));
 * const { canonicalRef } = await Template.build(app, 'team/app:stable', { onLog: defaultBuildLogger() });
 * const machine = await Machine.create({ template: canonicalRef });
 * ```
 */
export class Template {
  private constructor();

  /** From an image of a registry. A user and a password for a private one. */
  static fromImage(image: string, options?: TemplateImageOptions): Template;
  /** The same; without an image `ubuntu:22.04`. */
  static fromBaseImage(image?: string, options?: TemplateImageOptions): Template;
  /** From `ubuntu`. @param version default '22.04' */
  static fromUbuntuImage(version?: string, options?: TemplateImageOptions & { variant?: string | undefined }): Template;
  /** From `debian`. @param tag default 'stable-slim' */
  static fromDebianImage(tag?: string, options?: TemplateImageOptions): Template;
  /** From `debian:stable-slim`, or with `python` from the slim image of that version. */
  static debianSlim(options?: TemplateImageOptions & { python?: string | undefined }): Template;
  /** From `python`. @example Template.fromPythonImage('3.12', { variant: 'slim' }) */
  static fromPythonImage(version: string, options?: TemplateImageOptions & { variant?: string | undefined }): Template;
  /** From `node`. */
  static fromNodeImage(version: string, options?: TemplateImageOptions & { variant?: string | undefined }): Template;
  /** From `oven/bun`. */
  static fromBunImage(version: string, options?: TemplateImageOptions & { variant?: string | undefined }): Template;
  /** From an image, to which `addPython` installs this version with apt. */
  static fromRegistry(image: string, options?: TemplateImageOptions & { addPython?: string | undefined }): Template;
  /** From an image of a Google registry. */
  static fromGcpRegistry(image: string, options: { serviceAccountJson: string | Record<string, unknown> }): Template;
  /** From an image of an AWS registry. */
  static fromAwsRegistry(
    image: string,
    options: { accessKeyId: string; secretAccessKey: string; region: string; sessionToken?: string | undefined },
  ): Template;
  /** From a template that is there: `name`, `name:tag`, `namespace/name:tag`, `tmpl_...`. `base` means `nullspace/base:latest`. */
  static fromTemplate(name: string): Template;
  /**
   * From a Dockerfile of this computer (Node, Deno, Bun). Its directory is the file context unless {@link Template.setFileContext}
   * says otherwise, and `<its name>.dockerignore` takes the place of `.dockerignore`. Steps are written into the Dockerfile itself:
   * methods that add one throw.
   */
  static fromDockerfile(path: string): Template;
  /** From the text of a Dockerfile. Files come with {@link Template.setFileContext}. `path`: its name there. */
  static fromDockerfileContent(content: string, options?: { path?: string | undefined }): Template;

  /** Packages of Debian and Ubuntu. */
  aptInstall(packages: string | readonly string[]): Template;
  /** Packages of Python. `global: false`: for the user alone. */
  pipInstall(packages: string | readonly string[], options?: { global?: boolean | undefined }): Template;
  /** Packages of npm. @param options `global`, default false */
  npmInstall(packages: string | readonly string[], options?: { global?: boolean | undefined }): Template;
  /** Packages of npm, by Bun. @param options `global`, default false */
  bunInstall(packages: string | readonly string[], options?: { global?: boolean | undefined }): Template;
  /** Runs a command in a shell; of several, each is a step. @param options `user`, default that of {@link Template.setUser} */
  run(command: string | readonly string[], options?: { user?: string | undefined }): Template;
  /**
   * Copies files into the template, with Docker's rules: of a directory, what it holds goes into `destination`. Permission bits,
   * symlinks and empty directories are kept; what `.dockerignore` of the file context names stays out. Links are made by a command,
   * so an image without a shell cannot have them.
   */
  copy(
    sources: TemplateCopySource | Iterable<TemplateCopySource>,
    destination: string,
    options?: TemplateCopyOptions,
  ): Template;
  /** Several copies in one step. @param options for those that say nothing else */
  copyItems(
    items: readonly ({
      source: TemplateCopySource | Iterable<TemplateCopySource>;
      destination: string;
    } & TemplateCopyOptions)[],
    options?: TemplateCopyOptions,
  ): Template;
  /** Clones a repository. @param options `path`, default '/workspace' */
  gitClone(
    url: string,
    options?: { path?: string | undefined; branch?: string | undefined; depth?: number | undefined },
  ): Template;
  /** Removes a path. */
  remove(path: string, options?: { recursive?: boolean | undefined; force?: boolean | undefined }): Template;
  /** Renames a path. */
  rename(from: string, to: string, options?: { force?: boolean | undefined }): Template;
  /** Makes a directory, and those above it. @param options `mode` such as `0o755` */
  makeDir(path: string, options?: { mode?: number | string | undefined }): Template;
  /** Makes a symlink at `path`. */
  makeSymlink(target: string, path: string): Template;
  /** Directory of the steps that follow, and of commands in the machines. */
  setWorkdir(path: string): Template;
  /** User of the steps that follow, and of commands in the machines. */
  setUser(user: string): Template;
  /** Does the steps that follow again, whatever the cache has. */
  skipCache(): Template;
  /** Variables of the steps; given again, they add up. They are seen in the template: no place for secrets. */
  setBuildEnvs(envs: Readonly<Record<string, string>>): Template;
  /** Variables of the machines; given again, they add up. */
  setRuntimeEnvs(envs: Readonly<Record<string, string>>): Template;
  /** What runs when the template is kept: machines continue from there. @param readiness a probe, or a command that ends with 0 */
  setStartCommand(command: string, readiness?: TemplateReadiness | string): Template;
  /** When the start command counts as ready. */
  setReadyCommand(readiness: TemplateReadiness | string): Template;
  /**
   * Where the sources of {@link Template.copy} are.
   *
   * @param options `ignore`: more patterns of `.dockerignore`, behind those of the file
   * @example builder.setFileContext(input.files) // of <input type="file" webkitdirectory>
   */
  setFileContext(context: TemplateFileContext, options?: { ignore?: readonly string[] | undefined }): Template;
  /** A user and a password for the image. */
  setBaseImageAuth(auth: { username: string; password: string }): Template;
  /** A service account for the image, as text of JSON or parsed. */
  setGcpRegistryAuth(auth: { serviceAccountJson: string | Record<string, unknown> }): Template;
  /** Keys for the image. */
  setAwsRegistryAuth(auth: {
    accessKeyId: string;
    secretAccessKey: string;
    region: string;
    sessionToken?: string | undefined;
  }): Template;
  /**
   * A secret that a Dockerfile mounts (`RUN --mount=type=secret,id=...`) and that is in no layer.
   *
   * @example builder.addBuildSecret('npm', { env: 'NPM_TOKEN' })
   */
  addBuildSecret(id: string, source: TemplateSecretSource): Template;
  /** What a build would send but for the files: sources of copies as given, and secrets as `[redacted]`. */
  toJSON(): Record<string, unknown>;
  /** The definition as a Dockerfile, for people and other tools. */
  toDockerfile(): string;

  /**
   * Builds a template and waits for it. Files that the server lacks are sent first. A connection that is lost on the way is made
   * again; `signal` and an `onLog` that throws cancel the build on the server.
   *
   * @param ref a name, a tag if wanted: 'app', 'team/app:stable'
   * @throws {@link BuildError} with the step, its command and exit code, and the end of the log
   * @throws {@link TransportError} when the server is silent for a minute; the build continues, see {@link TemplateBuild.connect}
   */
  static build(builder: Template, ref: string, options?: TemplateBuildOptions): Promise<TemplateInfo>;
  /** Begins a build. Aborted before the server has answered, it is cancelled. */
  static buildInBackground(builder: Template, ref: string, options?: TemplateDefinitionOptions): Promise<TemplateBuild>;
  /** Whether the server would take it. Files are sent as for a build. */
  static validate(builder: Template, ref?: string, options?: TemplateDefinitionOptions): Promise<TemplateValidation>;
  /** What the server would do. Files are sent as for a build. */
  static plan(builder: Template, ref?: string, options?: TemplateDefinitionOptions): Promise<TemplatePlan>;
  /** What a build would send, and which files: sends nothing. */
  static inspectBuildContext(
    builder: Template,
    ref?: string,
    options?: TemplateDefinitionOptions,
  ): Promise<TemplateInspection>;

  /** All templates; with `fields` only these fields of each. */
  static list<F extends TemplateField>(
    options: ClientOptions & { fields: readonly F[] },
  ): Promise<Pick<TemplateInfo, F>[]>;
  static list(options?: ClientOptions): Promise<TemplateInfo[]>;
  /** Describes a template; with `fields` only these fields. @throws {@link NotFoundError} */
  static get<F extends TemplateField>(
    ref: string,
    options: ClientOptions & { fields: readonly F[] },
  ): Promise<Pick<TemplateInfo, F>>;
  static get(ref: string, options?: ClientOptions): Promise<TemplateInfo>;
  /** Whether there is one. */
  static exists(ref: string, options?: ClientOptions): Promise<boolean>;
  /** Deletes a template. @throws {@link NotFoundError} */
  static delete(ref: string, options?: ClientOptions): Promise<void>;
  /** Gives it another name; the old one stays as an alias. @throws {@link ConflictError} when the name is taken */
  static rename(ref: string, newName: string, options?: ClientOptions): Promise<TemplateInfo>;
  /** Sets tags, or moves them here from another build. */
  static assignTags(ref: string, tags: readonly string[], options?: ClientOptions): Promise<TemplateInfo>;
  /** Tags of a template. */
  static getTags(ref: string, options?: ClientOptions): Promise<TemplateTagInfo[]>;
  /** Removes a tag. */
  static removeTag(ref: string, tag: string, options?: ClientOptions): Promise<void>;
  /** Other names of a template. */
  static listAliases(ref: string, options?: ClientOptions): Promise<TemplateAliasInfo[]>;
  /** Removes another name of a template. */
  static removeAlias(ref: string, alias: string, options?: ClientOptions): Promise<void>;
  /** Says who sees it. */
  static setVisibility(ref: string, visibility: 'private' | 'public', options?: ClientOptions): Promise<TemplateInfo>;
  /** Keeps a name for a build to come. @throws {@link ConflictError} when it is taken */
  static reserveName(ref: string, options?: ClientOptions): Promise<TemplateNameClaim>;
  /** Gives it up. */
  static releaseNameClaim(claimToken: string, options?: ClientOptions): Promise<void>;
  /** Describes a namespace. @throws {@link NotFoundError} */
  static getNamespace(slug: string, options?: ClientOptions): Promise<TemplateNamespaceInfo>;
  /** A page of builds of a template, newest first. */
  static listBuilds(ref: string, options?: TemplateBuildListOptions): Promise<TemplateBuildPage>;
  /** The same as {@link TemplateWarmPool.create}. */
  static createWarmPool(ref: string, options?: WarmPoolOptions): Promise<TemplateWarmPool>;
}

/**
 * A build that runs on the server.
 *
 * ```ts
 * const build = await Template.buildInBackground(builder, 'app:next');
 * for await (const { message } of build.logs()) console.log(message);
 * const template = await build.wait();
 * await build.promote('stable');
 * ```
 */
export class TemplateBuild {
  private constructor();
  /** Finds a build by its id, `tb_...`. @throws {@link NotFoundError} */
  static connect(id: string, options?: ClientOptions): Promise<TemplateBuild>;

  /** `tb_...` */
  readonly id: string;
  /** `tmpl_...` */
  readonly templateId: string;
  /** Of the template. */
  readonly name: string;
  /** That it gets when it is ready. */
  readonly tags: readonly string[];
  /** State of the build, and its log from `offset` on. */
  status(options?: CallOptions & { offset?: number | undefined }): Promise<TemplateBuildSnapshot>;
  /**
   * The log, each entry once, to the end of the build. A connection that is cut is made again where it was; one that cannot be made
   * for a minute fails with {@link TransportError}. Leaving the loop ends nothing but the loop.
   */
  logs(options?: TemplateBuildLogsOptions): AsyncGenerator<TemplateBuildLogEntry, void, undefined>;
  /**
   * Waits for its end. `signal` ends the wait, not the build.
   *
   * @throws {@link BuildError} when it failed, and with code `build_cancelled` when it was cancelled
   */
  wait(
    options?: CallOptions & { onLog?: ((entry: TemplateBuildLogEntry) => void | Promise<void>) | undefined },
  ): Promise<TemplateInfo>;
  /** Cancels the build. */
  cancel(options?: CallOptions & { reason?: string | undefined }): Promise<TemplateBuildInfo>;
  /** Builds the same again. What was secret has to be given again: servers do not keep it. */
  retry(
    options?: CallOptions & {
      tags?: readonly string[] | undefined;
      baseImageAuth?: TemplateRegistryAuth | undefined;
      registryAuth?: readonly (TemplateRegistryAuth & { registry: string })[] | undefined;
      buildSecrets?: readonly TemplateBuildSecret[] | undefined;
    },
  ): Promise<TemplateBuild>;
  /** Gives it a tag. @throws {@link ConflictError} when it is not ready */
  promote(tag: string, options?: CallOptions): Promise<TemplateInfo>;
  toJSON(): { id: string; templateId: string; name: string; tags: readonly string[] };
}

/** What a {@link NullspaceError} can be made of, for tests of your own. */
export interface ErrorFields {
  message: string;
  code?: string;
  status?: number;
  requestId?: string;
  retryable?: boolean;
  suggestedAction?: string;
  details?: unknown;
  cause?: unknown;
  [field: string]: unknown;
}

/** Base of everything that the SDK throws by itself. What your own callbacks and signals throw comes through unchanged. */
export class NullspaceError extends Error {
  constructor(fields: string | ErrorFields);
  /** Stable name, such as `machine_not_found`, `transport_error`, `invalid_request`, `invalid_response`, `timeout`. */
  readonly code: string;
  /** HTTP status; absent when there was no answer. */
  readonly status?: number;
  /** The server's name for the request: worth a line in a bug report. */
  readonly requestId?: string;
  /** Whether the same call may work later, when the server sent it. */
  readonly retryable?: boolean;
  /** What to do next, in a sentence. */
  readonly suggestedAction?: string;
  /** Anything more. */
  readonly details?: unknown;
  /** Detail of template builds and uploads. */
  readonly errorDetail?: unknown;
  /** What was thrown below: by a given `fetch`, or in Node by the connection, with its `code`. */
  readonly cause?: unknown;
  toJSON(): Record<string, unknown>;
}
/** No key, a wrong one, or an expired token. */
export class AuthError extends NullspaceError {}
/** The key may not do this. */
export class PermissionDeniedError extends NullspaceError {}
/** The machine, pool, snapshot, template, volume or file does not exist. */
export class NotFoundError extends NullspaceError {}
/** The machine, snapshot or volume is in a state that does not allow this, or something else changes it. */
export class ConflictError extends NullspaceError {}
/** A quota or the capacity is used up. */
export class QuotaExceededError extends NullspaceError {}
/** Too many requests. The SDK has already waited and retried three times. */
export class RateLimitError extends NullspaceError {
  /** Seconds, as the server said. */
  readonly retryAfter?: number;
}
/** The create asked for `warmPoolMode: 'require'`, and no machine was ready in time. */
export class WarmPoolUnavailableError extends NullspaceError {}
/** A wait of the SDK took longer than its `timeout`: code `timeout`. When one request takes too long, that is a {@link TransportError}. */
export class TimeoutError extends NullspaceError {}
/** The server could not be reached, or its answer did not arrive whole: code `transport_error`. */
export class TransportError extends NullspaceError {}
/** An option is wrong. The message names it and a good value. The SDK and servers both send this. */
export class InvalidRequestError extends NullspaceError {}
/** The answer of the server is not what the API promises. The message names the place. */
export class InvalidResponseError extends NullspaceError {}
/** The server does not have this feature. */
export class NotImplementedError extends NullspaceError {}
/** A template build failed. Fields that the server did not send are absent. */
export class BuildError extends NullspaceError {
  /** `tb_...` */
  readonly buildId?: string;
  /** `tmpl_...` */
  readonly templateId?: string;
  /** Phase in which the build failed: `prepare`, `build_step`, `readiness`, ... */
  readonly phase?: string;
  /** Which step, from 0. */
  readonly stepIndex?: number;
  /** Kind of the step: `run`, `copy`, ... */
  readonly step?: string;
  /** Command of the step. */
  readonly command?: string;
  /** Exit code of the command. */
  readonly exitCode?: number;
  /** The last lines of the log. */
  readonly log?: readonly string[];
}
/** A git command failed. */
export class GitError extends NullspaceError {}
/** Some of several files were not written. */
export class BatchWriteError extends NullspaceError {}
/** An upload failed; the classes below say why. */
export class FileUploadError extends NullspaceError {}
/** The content is larger than allowed, or the server has no room for it. */
export class UploadLimitError extends FileUploadError {}
/** The content that arrived is not the content that was sent. Upload it again. */
export class UploadChecksumError extends FileUploadError {}
/** The target exists, or another upload writes to it. */
export class UploadConflictError extends FileUploadError {}
/** The upload was started too long ago. Start a new one. */
export class UploadExpiredError extends FileUploadError {}
/** A path or a symbolic link of the directory leads out of the target, or an entry is neither file nor directory. */
export class UploadPathError extends FileUploadError {}
/** The upload is not in a state that allows this: it was aborted, it is complete, or parts are missing. */
export class UploadStateError extends FileUploadError {}

/** What may stand for a preview token in a log. */
export function redactPreviewToken<T extends string | null | undefined>(token: T): T extends string ? string : T;

/**
 * A preview address without its token, for logs.
 *
 * @example console.log(redactPreviewUrl(signed.url)) // http://127.0.0.1:4001/?edge_token=<redacted>
 */
export function redactPreviewUrl<T extends string | null | undefined>(url: T): T;

/** Options of {@link tunnelEnvs}. */
export interface TunnelOptions {
  /** Name or address of the Shadowsocks server. */
  host: string;
  /** Its password. It is in the machine's environment, readable by whatever runs there. */
  password: string;
  /** Its port, 1 to 65535. @default 8388 */
  port?: number | undefined;
  /** Its cipher. @default 'aes-256-gcm' */
  method?: string | undefined;
  /** How programs in the machine use it. @default 'socks5' */
  mode?: string | undefined;
}

/**
 * The environment by which a template with a Shadowsocks client finds its server; asks nobody. The machine's network policy
 * applies.
 *
 * @throws {@link InvalidRequestError} names the option that is wrong
 * @example await Machine.create({ template: 'team/tunnelled', envs: tunnelEnvs({ host: 'tunnel.example', password }) })
 */
export function tunnelEnvs(options: TunnelOptions): Record<string, string>;

// #region Options, made from src/surface and src/core by `cargo xtask declarations`: change them there.

/** Options of {@link Machine.create}. */
export interface CreateOptions extends ClientOptions {
  /** Template reference such as `base` or `team/app:stable`. @default 'base' */
  template?: string | undefined;
  /** Processors, 1 to 256. @default 2 */
  vcpus?: number | undefined;
  /** MiB of memory, 1 to 1048576. @default 512; 2048 for the templates `code-interpreter` and `desktop` */
  memoryMb?: number | undefined;
  /** MiB of disk, 512 to 131072. Not beyond the built-in size of a snapshot-backed template. @default the server's */
  diskMb?: number | undefined;
  /** Seconds until the machine's time is over. @default 300 */
  timeout?: number | undefined;
  /** What happens then. @default 'destroy' */
  timeoutAction?: 'destroy' | 'hibernate' | undefined;
  /** The other spelling of `timeoutAction`: `pause` hibernates. @default 'destroy' */
  onTimeout?: 'destroy' | 'pause' | undefined;
  /** Preview traffic wakes the paused machine. Needs `timeoutAction: 'hibernate'` or `onTimeout: 'pause'`. @default false */
  autoResume?: boolean | undefined;
  /** Milliseconds without a request until the timeout action, at least 1. @default none */
  inactivityTimeoutMs?: number | undefined;
  /** Milliseconds after which a paused machine is deleted, at least 1. @default none */
  autoDeleteAfterMs?: number | undefined;
  /** Never outlives its time; excludes `autoResume`. @default false */
  ephemeral?: boolean | undefined;
  /** Working directory of commands. @default the template's */
  cwd?: string | undefined;
  /** Environment of every command. @default `{}` */
  envs?: Record<string, string> | undefined;
  /** Metadata of your own, kept verbatim; lists can filter by it. @default `{}` */
  metadata?: Record<string, unknown> | undefined;
  /** One key never makes two machines; after the end of its machine it is a {@link ConflictError} (`idempotency_key_expired`). @default a new UUID for each call */
  idempotencyKey?: string | undefined;
  /** Network policy and previews. @default everything may be reached */
  network?: NetworkOptions | undefined;
  /** `false` denies all egress, and no allow rule reopens it. @default true */
  internetAccess?: boolean | undefined;
  /**
   * Take a ready machine of this pool: its id, or the pool.
   *
   * @default none
   * @throws {@link WarmPoolUnavailableError} with `warmPoolMode: 'require'`, when none is ready in time
   * @example Machine.create({ template: 'team/review-api:stable', warmPool: pool, warmPoolMode: 'prefer' })
   */
  warmPool?: string | { readonly id: string } | undefined;
  /** `prefer` makes a machine when none is ready, `require` fails, `bypass` always makes one. @default 'prefer' */
  warmPoolMode?: 'prefer' | 'require' | 'bypass' | undefined;
  /** Milliseconds to wait for a ready machine, 0 to 600000. @default 0 */
  warmPoolWaitMs?: number | undefined;
  /** Start from this snapshot; then template, size, `envs`, `cwd` and `internetAccess` are the snapshot's. @default none */
  snapshotId?: string | undefined;
  /** Volumes to mount, 1 to 8. @default none; those of the snapshot with `snapshotId` */
  volumes?: readonly VolumeMount[] | undefined;
  /** Screen; only for the template `desktop`. @default the template's */
  desktop?: DesktopOptions | undefined;
}

/** Options of {@link Machine.connect}. */
export interface ConnectOptions extends ClientOptions {
  /** Seconds: a new lease, counted from now. @default the lease stays */
  timeout?: number | undefined;
}

/** Options of {@link Machine.runOnce}. */
export interface RunOnceOptions extends ClientOptions {
  /** Exact arguments; the command is then a program. Not with `shell`. @default none */
  args?: readonly string[] | undefined;
  /** Whether `command` is text for the shell. @default false */
  shell?: boolean | undefined;
  /** Template reference such as `base` or `team/app:stable`. @default 'base' */
  template?: string | undefined;
  /** Seconds for the command, at least 1, or `'none'`, with which the machine lives up to a day. @default 30 */
  timeout?: number | 'none' | undefined;
  /** Environment of the machine. @default `{}` */
  envs?: Record<string, string> | undefined;
  /** Processors, 1 to 256. @default 2 */
  vcpus?: number | undefined;
  /** MiB, 1 to 1048576. @default 512 */
  memoryMb?: number | undefined;
  /** Network policy and previews. @default everything may be reached */
  network?: NetworkOptions | undefined;
  /** `false` denies all egress. @default true */
  internetAccess?: boolean | undefined;
  /** Kept verbatim with the machine. @default `{}` */
  metadata?: Record<string, unknown> | undefined;
  /** Working directory of the machine. @default the template's */
  cwd?: string | undefined;
  /** MiB of disk, 512 to 131072. @default the server's */
  diskMb?: number | undefined;
  /** Volumes to mount, at most 8. @default none */
  volumes?: readonly VolumeMount[] | undefined;
}

/** Options of {@link Machine.list}. */
export interface ListOptions extends ClientOptions {
  /** Only these; ignored when `query.state` is given. @default all */
  state?: MachineStatus | readonly MachineStatus[] | undefined;
  /** Filters. @default none */
  query?: MachineQuery | undefined;
  /** Machines per page, at least 1. @default the server's */
  limit?: number | undefined;
  /** Where to continue: {@link MachinePage.nextToken} of an earlier page. @default the first page */
  nextToken?: string | undefined;
  /** Only these fields: gives plain objects instead of a page. At least one. @default all */
  fields?: readonly MachineField[] | undefined;
}

/** Filters of {@link Machine.list}. */
export interface MachineQuery {
  /** Any of these. @default all */
  state?: MachineStatus | readonly MachineStatus[] | undefined;
  /** Made from this template. @default all */
  template?: string | undefined;
  /** With at least these entries. @default all */
  metadata?: Record<string, unknown> | undefined;
}

/** `desktop` of {@link CreateOptions}; only for the template `desktop`. */
export interface DesktopOptions {
  /** Pixels. @default the template's */
  resolution?: { width: number; height: number } | readonly [width: number, height: number] | undefined;
  /** Dots per inch, at least 1. @default the template's */
  dpi?: number | undefined;
  /** X display such as `:0`. @default the template's */
  display?: string | undefined;
}

/** `network` of {@link CreateOptions}. */
export interface NetworkOptions {
  /**
   * Secrets that programs in the machine use and never see, up to 32, by name. The machine gets `NAME_BASE_URL`, plain HTTP on its own
   * loopback; what it asks there leaves as HTTPS to the secret's hosts, with the header that carries the secret. Redirects to other
   * hosts go without it. The network policy and its limits hold for it. Forks keep them, snapshots do not. Not with a warm pool.
   *
   * @default none
   * @throws {@link NullspaceError} with code `feature_unavailable` when the server does not know them; what it made is destroyed
   * @example { OPENAI_API_KEY: { env: 'OPENAI_API_KEY', hosts: ['api.openai.com'], path: '/v1' } }
   */
  secrets?: { readonly [name: string]: SecretOptions } | undefined;
  /**
   * `Host` header that preview requests carry inside; `${PORT}` becomes the port.
   *
   * @default the host name of the preview
   */
  maskRequestHost?: string | undefined;
  /**
   * Whether preview ports open without a token. If not, {@link Machine.trafficAccessToken} opens them.
   *
   * @default true
   */
  allowPublicTraffic?: boolean | undefined;
  /**
   * What the machine may reach.
   *
   * @default `{ mode: 'allow_all' }`
   */
  egress?: EgressPolicy | undefined;
  /**
   * Older spelling of `egress.allowCidrs`; not with `egress`.
   *
   * @deprecated use `egress`
   */
  allowOut?: readonly string[] | undefined;
  /**
   * Older spelling of `egress.denyCidrs`; not with `egress`.
   *
   * @deprecated use `egress`
   */
  denyOut?: readonly string[] | undefined;
}

/** Options of {@link Machine.keepAlive}. */
export interface KeepAliveOptions extends CallOptions {
  /** Seconds that each renewal asks for, more than 0. @default 300 */
  timeout?: number | undefined;
  /** Seconds between two renewals, less than `timeout`. @default half of `timeout`, at least 1 */
  refreshEverySecs?: number | undefined;
  /** What happens at the end of the lease. @default what the machine has */
  timeoutAction?: 'destroy' | 'hibernate' | undefined;
}

/** Options of {@link Commands.connect}. */
export interface CommandConnectOptions extends CallOptions {
  /** Gets standard output from now on; see {@link RunOptions.onStdout}. @default none */
  onStdout?: ((text: string) => unknown) | undefined;
  /** The same for standard error. @default none */
  onStderr?: ((text: string) => unknown) | undefined;
}

/** Options of {@link Command.wait}. */
export interface CommandWaitOptions extends CallOptions {
  /** Seconds to wait; the command is not killed. @default without end @throws {@link TimeoutError} code `timeout` */
  timeout?: number | undefined;
  /** Milliseconds between looks, at least 10. @default 250 */
  intervalMs?: number | undefined;
}

/** Options of {@link Process.codeRun}. */
export interface CodeRunOptions extends CallOptions {
  /**
   * `python`, `node`, `javascript`, `ruby`, or the name of a program that takes `-c`, such as `bash`. The template must
   * have it.
   * @default `python`
   */
  language?: string | undefined;
  /** Working directory. @default the machine's */
  cwd?: string | undefined;
  /** Added to the machine's environment. @default `{}` */
  envs?: Record<string, string> | undefined;
  /** Seconds for the program, at least 1, or `'none'`. @default 30 */
  timeout?: number | 'none' | undefined;
}

/** Options of {@link Files.resumeUpload}. */
export interface ResumeUploadOptions extends CallOptions {
  /** Parts at once, at most what the server allows. @default 4 */
  maxConcurrency?: number | undefined;
  /** Patterns of what a directory leaves out; the same as when it was begun. @default none */
  ignore?: readonly string[] | undefined;
  /** Told at each step. What it throws ends the upload. */
  onProgress?: ((progress: UploadProgress) => void) | undefined;
}

/** Options of {@link Files.upload}. */
export interface UploadOptions extends ResumeUploadOptions {
  /** Name of a user in the machine, who will own it. @default root */
  user?: string | undefined;
  /**
   * Of a single file; directories keep those of their files.
   *
   * @default those of the uploaded file in Node, Deno and Bun, 0o644 of what has none
   */
  mode?: FileMode | undefined;
  /**
   * What happens to what is there: `merge` joins directories and replaces files, `replace` replaces all of it, `error` fails.
   *
   * @default 'replace' for files, 'merge' for directories
   * @throws {@link UploadConflictError}
   */
  conflict?: 'merge' | 'replace' | 'error' | undefined;
  /** In parts that can be resumed. @default 'auto': above 8 MiB, and always for directories */
  resumable?: boolean | 'auto' | undefined;
  /** `sha256` checks the whole too, which is read twice then. @default 'auto': each part */
  checksum?: 'auto' | 'sha256' | undefined;
}

/** Options of {@link Git.setConfig} and {@link Git.getConfig}. */
export interface GitConfigOptions extends CallOptions {
  /** Where it is kept. @default 'global' */
  scope?: 'global' | 'local' | 'system' | undefined;
  /** The repository, for `local`. @default '/workspace' */
  path?: string | undefined;
}

/** Options of {@link Pty.create}. */
export interface PtyOptions extends CallOptions {
  /** Characters a line, 1 to 65535. @default 120 */
  cols?: number | undefined;
  /** Lines, 1 to 65535. @default 30 */
  rows?: number | undefined;
  /** Working directory of the shell. @default the machine's */
  cwd?: string | undefined;
  /** Added to the machine's environment. @default `{}` */
  envs?: Record<string, string> | undefined;
}

/** Options of a stream of the events of one machine. */
export interface MachineEventStreamOptions extends CallOptions {
  /** Only events of this operation, such as `create`. @default all */
  operation?: LifecycleEvent['operation'] | undefined;
  /** Only events with this outcome. @default all */
  status?: 'requested' | 'succeeded' | 'failed' | undefined;
  /** Nothing of the past. Contradicts `afterEventId`. @default false */
  liveOnly?: boolean | undefined;
  /** Continue after this event, as after a restart of the program. @default none */
  afterEventId?: string | undefined;
  /** Most events of the past, without `afterEventId`; at least 0. @default 100 */
  replayLimit?: number | undefined;
  /** Seconds: ends the stream when no event came for this time. @default never */
  idleTimeout?: number | undefined;
  /** Only events whose metadata has at least these entries; the local engine's events have that of their machine. @default all */
  metadata?: Record<string, unknown> | undefined;
}

/** Options of {@link Lifecycle.streamEvents}. */
export interface LifecycleStreamOptions extends MachineEventStreamOptions, ClientOptions {
  /** Only events of this machine. @default all */
  machineId?: string | undefined;
  /** Only events of this snapshot. @default all */
  snapshotId?: string | undefined;
}

/** Options of {@link Lifecycle.subscribe}. */
export interface LifecycleSubscribeOptions extends ClientOptions {
  /** Only events of this machine. @default all */
  machineId?: string | undefined;
  /** Only events of this snapshot. @default all */
  snapshotId?: string | undefined;
  /** Only events of this operation, such as `create`. @default all */
  operation?: LifecycleEvent['operation'] | undefined;
  /** Only events with this outcome. @default all */
  status?: 'requested' | 'succeeded' | 'failed' | undefined;
  /** Gets every event; one that answers with a promise is waited for. What it throws ends the subscription. @default none: walk along */
  onEvent?: ((event: LifecycleEvent) => unknown) | undefined;
  /** Gets what ended the subscription. @default `done` rejects with it */
  onError?: ((error: unknown) => unknown) | undefined;
}

/** Options of {@link Monitor.subscribe}. */
export interface MonitorOptions extends ClientOptions {
  /** Between two looks, milliseconds, 100 to 3600000. @default the server's: 1000 */
  intervalMs?: number | undefined;
  /** Tell the commands of machines too. @default false */
  includeProcesses?: boolean | undefined;
  /** Gets all machines: first, and after each new connection. @default not told */
  onSnapshot?: ((machines: MachineInfo[]) => unknown) | undefined;
  /** Gets a machine that changed, is new (`machine`) or gone (`removed`). @default not told */
  onUpdate?: ((update: { machineId: string; machine?: MachineInfo; removed?: boolean }) => unknown) | undefined;
  /** Gets the use of each running machine, at each look. @default not told */
  onMetrics?: ((event: { machineId: string; metrics: MonitorMetrics }) => unknown) | undefined;
  /** Gets the commands of each running machine, at each look; needs `includeProcesses`. @default not told */
  onProcesses?: ((event: { machineId: string; processes: ProcessInfo[] }) => unknown) | undefined;
  /** Gets what the server complains of, and what ended the subscription. @default `done` rejects with the latter */
  onError?: ((error: unknown) => unknown) | undefined;
}

/** How a volume is mounted. */
export interface VolumeMountOptions {
  /** Directory of the volume to mount; the local engine makes it if it is missing. @default its root */
  subpath?: string | undefined;
  /** Refuse writes, also those of root. @default false */
  readOnly?: boolean | undefined;
}

/** Options of a build in addition to its definition. */
export interface TemplateDefinitionOptions extends ClientOptions {
  /** Names of the build. @default the tag of `ref`, else the server's (`default`) */
  tags?: readonly string[] | undefined;
  /** Processors of the machine that builds, 1 to 256. @default 2 */
  vcpus?: number | undefined;
  /** Memory of it, MiB, 1 to 1048576. @default 512 */
  memoryMb?: number | undefined;
  /** The smallest disk of machines that start from it, MiB, 512 to 131072. @default what it needs, and some room */
  diskMb?: number | undefined;
  /** Whether steps reach the network. @default true */
  internetAccess?: boolean | undefined;
  /** Do every step again. @default false */
  skipCache?: boolean | undefined;
  /** Who builds. A Dockerfile is built by BuildKit. @default the server's choice */
  buildBackend?: 'native' | 'buildkit' | undefined;
  /** Values of `ARG` in a Dockerfile. They are seen in the template: no place for secrets. @default none */
  buildArgs?: Readonly<Record<string, string>> | undefined;
  /** The stage of a Dockerfile that becomes the template. @default the last */
  buildTarget?: string | undefined;
  /** More secrets, for this build alone. @default none */
  buildSecrets?: readonly TemplateBuildSecret[] | undefined;
  /** Told as files are sent: after each, and after each piece of a large one. What it throws ends the call. @default none */
  onUploadProgress?: ((progress: TemplateUploadProgress) => void) | undefined;
}

/** Options of {@link Machine.getInfoById}. */
export interface GetInfoOptions extends ClientOptions {
  /** Only these fields, at least one. @default all */
  fields?: readonly MachineField[] | undefined;
}

/** Options of {@link Machine.setTimeout}. */
export interface SetTimeoutOptions extends CallOptions {
  /** What happens at the end of the lease. @default it stays as it is */
  timeoutAction?: 'destroy' | 'hibernate' | undefined;
}

/** Options of {@link Machine.createSnapshot}. A server that keeps neither refuses both: {@link NotImplementedError}. */
export interface CreateSnapshotOptions extends KeyedOptions {
  /** Name, 1 to 128 visible ASCII characters; the entry `nullspace.name` of the metadata. Several snapshots may have one name. @default none */
  name?: string | undefined;
  /** Metadata of your own, kept verbatim; {@link Snapshot.list} can filter by it. @default `{}` */
  metadata?: Record<string, unknown> | undefined;
}

/** Options of {@link Files.read}. */
export interface ReadFileOptions extends FileOptions {
  /** `text` refuses what is no UTF-8; `stream` begins as soon as the first bytes come. @default 'text' */
  format?: 'text' | 'bytes' | 'blob' | 'stream' | undefined;
}

/** Options of {@link Files.list}. */
export interface ListFilesOptions extends FileOptions {
  /** Levels below the directory, 0 to 64: 0 is the directory alone. @default 0 */
  depth?: number | undefined;
}

/** Options of {@link Files.write}. */
export interface WriteFileOptions extends FileOptions {
  /** Of the written file; a hosted server may not know it. @default those of the file that is there, or 0o644 */
  mode?: FileMode | undefined;
}

/** What every call on files takes. */
export interface FileOptions extends CallOptions {
  /**
   * Name of a user in the machine: whose rights and home directory count, and who owns what is made. Files of a volume have
   * no users: there it is refused.
   *
   * @default root
   */
  user?: string | undefined;
}

/** Options of {@link Files.replaceInFiles}. */
export interface ReplaceOptions extends FileOptions {
  /** Only count; a hosted server may know it for volumes alone. @default false */
  dryRun?: boolean | undefined;
}

/** Options of {@link Files.downloadUrl}. */
export interface DownloadUrlOptions extends FileOptions {
  /** `tar` for a directory; a hosted server may know it for volumes alone. @default none: a file */
  archiveFormat?: 'tar' | undefined;
}

/** Options of {@link Git.clone}. */
export interface GitCloneOptions extends GitOptions {
  /** Branch or tag. @default the remote's own */
  branch?: string | undefined;
  /** Commits of history, at least 1. @default all */
  depth?: number | undefined;
  /** Credentials for this call. @default none */
  auth?: GitAuth | undefined;
}

/** Options of {@link Git.log}. */
export interface GitLogOptions extends GitOptions {
  /** Most commits, at least 1. @default 50 */
  limit?: number | undefined;
}

/** What every call on a repository takes. */
export interface GitOptions extends CallOptions {
  /** The repository. @default '/workspace' */
  path?: string | undefined;
}

/** Options of {@link Git.deleteBranch}. */
export interface GitDeleteBranchOptions extends GitOptions {
  /** Delete what is not merged too. @default false */
  force?: boolean | undefined;
}

/** Options of {@link Git.checkout}. */
export interface GitCheckoutOptions extends GitOptions {
  /** Make the branch first. @default false */
  create?: boolean | undefined;
}

/** Options of {@link Git.add}. */
export interface GitAddOptions extends GitOptions {
  /** Paths in the repository. @default everything */
  files?: readonly string[] | undefined;
}

/** Options of {@link Git.commit}. */
export interface GitCommitOptions extends GitOptions {
  /** Files to add first; `[]` commits what was added before. @default everything */
  files?: readonly string[] | undefined;
  /** Author and committer. @default what git is configured to */
  author?: { name: string; email: string } | undefined;
}

/** Options of {@link Git.pull}. */
export interface GitPullOptions extends GitOptions {
  /** Name of the remote. @default 'origin' */
  remote?: string | undefined;
  /** Branch. @default the current one */
  branch?: string | undefined;
  /** Credentials for this call. @default none */
  auth?: GitAuth | undefined;
}

/** Options of {@link Git.push}. */
export interface GitPushOptions extends GitPullOptions {
  /** Remember the remote branch. @default false */
  setUpstream?: boolean | undefined;
}

/** Options of {@link CodeInterpreter.runCode}. */
export interface RunCodeOptions extends CallOptions {
  /** Language of the code. @default python */
  language?: 'python' | 'javascript' | 'bash' | (string & {}) | undefined;
  /** A context or its id; goes before `language`. @default one that all cells of the language share */
  context?: CodeContext | string | undefined;
  /** Environment variables, for this cell alone. @default none */
  envs?: Record<string, string> | undefined;
  /** Seconds that the cell may run, 1 to 86400. @default 300 */
  timeout?: number | undefined;
  /** Called with standard output as it comes. The cell waits for the promise that it returns. @default none */
  onStdout?: ((output: CodeOutput) => unknown) | undefined;
  /** Called with standard error as it comes. @default none */
  onStderr?: ((output: CodeOutput) => unknown) | undefined;
  /** Called with each value that the cell shows. @default none */
  onResult?: ((result: ExecutionResult) => unknown) | undefined;
  /** Called with each artifact that the cell keeps. @default none */
  onArtifact?: ((artifact: CodeArtifact) => unknown) | undefined;
  /** Called with the error when the cell fails. @default none */
  onError?: ((error: ExecutionError) => unknown) | undefined;
}

/** Options of {@link CodeInterpreter.createRun}. */
export interface CreateCodeRunOptions extends CallOptions {
  /** A context or its id. */
  context: CodeContext | string;
  /** Environment variables, for this cell alone. @default none */
  envs?: Record<string, string> | undefined;
  /** Seconds that the cell may run, 1 to 86400. @default 300 */
  timeout?: number | undefined;
}

/** Options of {@link CodeInterpreter.createCodeContext}. */
export interface CreateCodeContextOptions extends CallOptions {
  /** Language of the cells. @default python */
  language?: 'python' | 'javascript' | 'bash' | (string & {}) | undefined;
  /** An absolute directory that exists. @default that of the machine */
  cwd?: string | undefined;
}

/** Options of {@link CodeInterpreter.listRuns}. */
export interface ListCodeRunsOptions extends CallOptions {
  /** Only runs with this status. @default all */
  status?: 'queued' | 'running' | 'succeeded' | 'failed' | 'cancelled' | undefined;
  /** Only those of this context. @default all */
  context?: CodeContext | string | undefined;
  /** Most of a page, 1 to 1000. @default the server's, 50 on the local engine */
  limit?: number | undefined;
  /** `nextCursor` of the page before. @default the beginning */
  cursor?: string | undefined;
}

/** Options of {@link CodeInterpreter.listArtifacts}. */
export interface ListArtifactsOptions extends CallOptions {
  /** Only artifacts of this kind. @default all */
  kind?: 'image' | 'html' | 'document' | 'file' | undefined;
  /** Only artifacts of this cell of the context, counted from 1. @default all */
  executionCount?: number | undefined;
  /** Only those of this context. @default all */
  context?: CodeContext | string | undefined;
  /** Most of a page, 1 to 1000. @default the server's, 50 on the local engine */
  limit?: number | undefined;
  /** `nextCursor` of the page before. @default the beginning */
  cursor?: string | undefined;
}

/** Options of {@link Machine.createSignedPreviewUrl}. */
export interface SignedPreviewUrlOptions extends CallOptions {
  /** Seconds, 60 to 86400. @default the server's, 3600 */
  expiresInSeconds?: number | undefined;
}

/** Options of {@link Machine.createPreviewProxyTarget}. */
export interface PreviewProxyTargetOptions extends SignedPreviewUrlOptions {
  /** What the proxy passes on. @default both */
  transports?: readonly ('http' | 'websocket')[] | undefined;
  /** Whether to say that the machine's traffic token is needed too. @default true */
  includeTrafficTokenHint?: boolean | undefined;
}

/** Options of {@link Machine.waitForPreview}. */
export interface WaitForPreviewOptions extends CallOptions {
  /** `tcp`: the port accepts; `http`: it answers. @default `http` with a `path`, else `tcp` */
  kind?: 'tcp' | 'http' | undefined;
  /** What to ask for. @default `/` */
  path?: string | undefined;
  /** Seconds to wait, 1 to 3600. @default 30 */
  timeout?: number | undefined;
  /** Milliseconds between two looks, 1 to 60000. @default 500 */
  intervalMs?: number | undefined;
}

/** Options of {@link Machine.listPreviewUrls}. */
export interface ListPreviewUrlsOptions extends CallOptions {
  /** Only those of this port. @default all */
  port?: number | undefined;
}

/** Options of {@link Machine.createSshAccess}. */
export interface SshAccessOptions extends CallOptions {
  /** One line of OpenSSH. @default that of `identityFile` */
  publicKey?: string | undefined;
  /** File of the private key, which stays where it is; made if it is missing. @default `nullspace_ssh_ed25519` in `keyDir` */
  identityFile?: string | undefined;
  /** Directory of the key that is made. @default `~/.nullspace/ssh` */
  keyDir?: string | undefined;
  /** User inside the machine. @default root */
  user?: string | undefined;
  /** Minutes until the certificate ends, 1 to 525600; servers may take less. @default the server's, 60 on the local engine */
  expiresInMinutes?: number | undefined;
}

/** Options of {@link Lifecycle.listEvents}. */
export interface LifecycleListOptions extends ClientOptions, LifecycleFilterOptions {
  /** Only events of this machine. @default all */
  machineId?: string | undefined;
  /** Only events of this snapshot. @default all */
  snapshotId?: string | undefined;
  /** Only forks and snapshots of this machine. @default all */
  sourceMachineId?: string | undefined;
  /** Only forks that made this machine. @default all */
  targetMachineId?: string | undefined;
}

/** Filters of event lists. */
export interface LifecycleFilterOptions {
  /** Events to skip, at least 0. @default 0 */
  offset?: number | undefined;
  /** Most events, at least 1. @default 50 */
  limit?: number | undefined;
  /** Newest first, or oldest first. @default 'desc' */
  order?: 'asc' | 'desc' | undefined;
  /** Only events of this operation, such as `create`. @default all */
  operation?: LifecycleEvent['operation'] | undefined;
  /** Only events with this outcome. @default all */
  status?: 'requested' | 'succeeded' | 'failed' | undefined;
  /** Not before: a `Date`, or RFC 3339. @default the beginning */
  from?: string | Date | undefined;
  /** Not after: a `Date`, or RFC 3339. @default now */
  to?: string | Date | undefined;
}

/** Options of {@link Volume.fromName}. */
export interface VolumeFromNameOptions extends ClientOptions {
  /** Make it when there is none. @default false */
  createIfMissing?: boolean | undefined;
}

/** Options of {@link MachineVolumes.attach}. */
export interface AttachVolumeOptions extends CallOptions, VolumeMountOptions {
  /** Absolute path inside the machine. @default that of the mount; must be given with a volume */
  mountPath?: string | undefined;
}

/** Options of {@link Snapshot.list}. */
export interface SnapshotListOptions extends ClientOptions {
  /** Only those with this name. @default all */
  name?: string | undefined;
  /** Only those of this machine. @default all */
  machineId?: string | undefined;
  /** With at least these entries. @default all */
  metadata?: Record<string, unknown> | undefined;
}

/** Options of {@link TemplateWarmPool.create}. */
export interface WarmPoolOptions extends ClientOptions {
  /** Name, free text. @default the template's name */
  name?: string | undefined;
  /** Machines to hold ready, 0 to 100. @default 1 */
  minReady?: number | undefined;
  /** Most machines, 0 to 100; not below `minReady`. @default `minReady` */
  maxReady?: number | undefined;
  /** What a create without `warmPoolMode` does. @default 'prefer' */
  checkoutPolicy?: 'prefer' | 'require' | 'bypass' | undefined;
  /** Seconds, at least 1, after which an unused ready machine is given up. @default 600 */
  idleTimeoutSeconds?: number | undefined;
  /** Seconds, at least 1, after which a ready machine is replaced. @default 900 */
  staleAfterSeconds?: number | undefined;
  /** Which build of the template it holds. @default 'pinned_build' */
  versionPolicy?: 'pinned_build' | 'track_tag' | undefined;
  /** Tag to follow; needed for `versionPolicy: 'track_tag'` unless the reference has one. @default none */
  trackTag?: string | undefined;
  /** Labels that lists can filter by. @default `{}` */
  labels?: Record<string, unknown> | undefined;
  /** Verbatim. @default `{}` */
  metadata?: Record<string, unknown> | undefined;
  /** Processors of each machine, 1 to 256. @default 2 */
  vcpus?: number | undefined;
  /** MiB of memory of each, 1 to 1048576. @default 512 */
  memoryMb?: number | undefined;
  /** MiB of disk of each, 512 to 131072. @default the server's */
  diskMb?: number | undefined;
}

/** Options of {@link TemplateWarmPool.list}. */
export interface WarmPoolListOptions extends ClientOptions {
  /** Only pools of this template. @default all */
  template?: string | undefined;
  /** Only pools in this state. @default all */
  state?: 'enabled' | 'disabled' | 'draining' | 'deleted' | undefined;
  /** Only pools with this status. @default all */
  status?: 'ready' | 'warming' | 'degraded' | 'draining' | 'unavailable' | undefined;
  /** Labels such as `team=a`, all of which must be there. @default none */
  labels?: readonly string[] | Record<string, string> | undefined;
  /** At most this many, at least 1. @default the server's */
  limit?: number | undefined;
}

/** Options of {@link TemplateWarmPool.update}: only what is given changes. */
export interface WarmPoolUpdateOptions extends CallOptions, Omit<WarmPoolOptions, keyof ClientOptions> {
  /** Another template. @default it stays */
  template?: string | undefined;
}

/** Options of {@link Template.build}. */
export interface TemplateBuildOptions extends TemplateDefinitionOptions {
  /** Told each line of the log; an async one is waited for. What it throws cancels the build and rejects the call. @default none */
  onLog?: ((entry: TemplateBuildLogEntry) => void | Promise<void>) | undefined;
}

/** Options of {@link Template.listBuilds}. */
export interface TemplateBuildListOptions extends ClientOptions {
  /** Only these. @default all */
  status?: 'waiting' | 'building' | 'ready' | 'error' | 'cancelled' | undefined;
  /** Only these. @default all */
  buildBackend?: 'native' | 'buildkit' | undefined;
  /** Only these. @default all */
  sourceType?: 'declarative' | 'dockerfile' | 'oci_import' | 'template_base' | undefined;
  /** Builds of a page, at least 1. @default the server's */
  limit?: number | undefined;
  /** `nextCursor` of the page before. @default the first page */
  cursor?: string | undefined;
}

/** Options of {@link TemplateBuild.logs}. */
export interface TemplateBuildLogsOptions extends CallOptions {
  /** Whether to follow to the end of the build, or to stop at what is there now. @default true */
  follow?: boolean | undefined;
  /** The first entry, at least 0. @default 0 */
  offset?: number | undefined;
}

/** Options of {@link Lifecycle.createWebhook}. */
export interface CreateWebhookOptions extends ClientOptions {
  /** Where events are sent to, `http://` or `https://`. */
  url: string;
  /** What is sent; at least one. @example ['create', 'destroy'] */
  operations: readonly LifecycleEvent['operation'][];
  /** Key of the signatures, not empty; {@link verifyWebhookSignature} needs it. It is never answered. */
  signingSecret: string;
  /** Whether it delivers. @default true */
  enabled?: boolean | undefined;
}

/** Options of {@link Lifecycle.updateWebhook}. What is left out stays; something must be given. */
export interface UpdateWebhookOptions extends ClientOptions {
  /** Where events are sent to. @default as it is */
  url?: string | undefined;
  /** What is sent; at least one. @default as it is */
  operations?: readonly LifecycleEvent['operation'][] | undefined;
  /** Key of the signatures from now on. @default as it is */
  signingSecret?: string | undefined;
  /** Whether events are sent; switched off, what is queued is kept. @default as it is */
  enabled?: boolean | undefined;
}

/** Options of {@link Lifecycle.listWebhookDeliveries}. */
export interface WebhookDeliveriesOptions extends ClientOptions {
  /** Deliveries to skip, at least 0. @default 0 */
  offset?: number | undefined;
  /** Most deliveries, at least 1. @default 50 */
  limit?: number | undefined;
}

// #endregion

// #region Answers, made from crates/wire by `cargo xtask declarations`: change them there.

/** Something that a cell made, kept in the machine. */
export interface CodeArtifact {
  /** `art_...` */
  readonly id: string;
  /** `ctx_...` */
  readonly contextId: string;
  /** Of which cell of the context, counted from 1. */
  readonly executionCount?: number;
  /** What it is. */
  readonly kind: 'image' | 'html' | 'document' | 'file' | (string & {});
  /** Media type. */
  readonly mimeType: string;
  /** File name. */
  readonly name: string;
  /** Bytes. */
  readonly sizeBytes: number;
  /** In hexadecimal digits. */
  readonly sha256: string;
  /** When it was made. */
  readonly createdAt: Date;
  /** When the server removes it, if it will. */
  readonly expiresAt?: Date;
  /** Where the server offers a look at it, if it does. */
  readonly previewUrl?: string;
  /** Where the server offers its bytes, if it does. */
  readonly downloadUrl?: string;
  /** As the server sent it. */
  readonly metadata?: Record<string, unknown>;
}

/** A page of artifacts. */
export interface CodeArtifactPage {
  /** Newest first. */
  readonly items: CodeArtifact[];
  /** For `cursor` of the next call; absent on the last page. */
  readonly nextCursor?: string;
}

/** A kernel that keeps what its cells define. */
export interface CodeContext {
  /** `ctx_...` */
  readonly id: string;
  /** `python`, `javascript`, `bash`. */
  readonly language: string;
  /** Where it started. */
  readonly cwd: string;
}

/** A piece of output. */
export interface CodeOutput {
  /** What was printed. */
  readonly text: string;
  /** When, in Unix milliseconds on the local engine. */
  readonly timestamp: number;
}

/** A cell that runs by itself. */
export interface CodeRun {
  /** `run_...` */
  readonly id: string;
  /** `mch_...` */
  readonly machineId: string;
  /** `ctx_...` */
  readonly contextId: string;
  /** How far it is. */
  readonly status: 'queued' | 'running' | 'succeeded' | 'failed' | 'cancelled' | (string & {});
  /** Its time limit, seconds. */
  readonly timeoutSecs: number;
  /** When it was asked for. */
  readonly createdAt: Date;
  /** Until when it is remembered. */
  readonly expiresAt: Date;
  /** When it began. */
  readonly startedAt?: Date;
  /** When it ended. */
  readonly completedAt?: Date;
  /** When somebody cancelled it. */
  readonly cancelRequestedAt?: Date;
  /** What it did, once it is over. */
  readonly execution?: Execution;
  /** Why it failed, as one line. */
  readonly failureReason?: string;
}

/** A page of runs. */
export interface CodeRunPage {
  /** Newest first. */
  readonly items: CodeRun[];
  /** For `cursor` of the next call; absent on the last page. */
  readonly nextCursor?: string;
}

/** Output of a process. */
export interface CommandLogs {
  /** Text, as in a result. */
  readonly stdout: string;
  /** Text. */
  readonly stderr: string;
  /** Both, interleaved as they came. */
  readonly output: string;
  /** Absent while it runs. */
  readonly exitCode?: number;
  /**
   * `true` when output is missing; what is there is as it was printed. Of a result a local engine keeps 32 MiB of each stream, the
   * SDK 8 MiB of one that callbacks hear.
   */
  readonly truncated?: boolean;
  /** Bytes of `stdout` that are missing, where the server says so: at the end of a result, at the beginning of logs. */
  readonly droppedStdoutBytes?: number;
  /** Bytes of `stderr` that are missing, where the server says so: at the end of a result, at the beginning of logs. */
  readonly droppedStderrBytes?: number;
}

/** How a command ended. */
export interface CommandResult {
  /** 128 + n when signal n ended it. Not zero is no error. */
  readonly exitCode: number;
  /** Text; bytes that are no UTF-8 become U+FFFD. */
  readonly stdout: string;
  /** Text. */
  readonly stderr: string;
  /** Process id inside the machine. */
  readonly pid?: number;
  /**
   * `true` when output is missing; what is there is as it was printed. Of a result a local engine keeps 32 MiB of each stream, the
   * SDK 8 MiB of one that callbacks hear.
   */
  readonly truncated?: boolean;
  /** Bytes of `stdout` that are missing, where the server says so: at the end of a result, at the beginning of logs. */
  readonly droppedStdoutBytes?: number;
  /** Bytes of `stderr` that are missing, where the server says so: at the end of a result, at the beginning of logs. */
  readonly droppedStderrBytes?: number;
}

/** Why a cell failed. */
export interface ExecutionError {
  /** Such as `ZeroDivisionError`; `TimeoutError` at the time limit, `KernelDied` when the context was lost. */
  readonly name: string;
  /** What the error says. */
  readonly value: string;
  /** Where, in the words of the language. */
  readonly traceback: string;
}

/** A value as a cell shows it, in every form that it has. `png`, `jpeg` and `pdf` are Base64. */
export interface ExecutionResult {
  /** Plain text. */
  readonly text?: string;
  /** HTML. */
  readonly html?: string;
  /** Markdown. */
  readonly markdown?: string;
  /** SVG. */
  readonly svg?: string;
  /** A picture. */
  readonly png?: string;
  /** A picture. */
  readonly jpeg?: string;
  /** A document. */
  readonly pdf?: string;
  /** LaTeX. */
  readonly latex?: string;
  /** A value of JSON. */
  readonly json?: unknown;
  /** A program for a page. */
  readonly javascript?: string;
  /** Other media types, as they came. */
  readonly data?: Record<string, unknown>;
  /** A plot as numbers. The local engine sends none. */
  readonly chart?: Chart;
  /** Whether it is the value of the last line. */
  readonly isMainResult: boolean;
  /** Forms that were too long: how much of each is missing, in characters of `text`, which is cut, and in bytes of others, which are left out. */
  readonly truncated?: Record<string, number>;
}

/** What is at a path. */
export interface FileInfo {
  /** A byte that belongs to no UTF-8 is U+FFFD and its two digits, so that the path leads back to the file: `caf\uFFFDE9`. */
  readonly name: string;
  /** Absolute. */
  readonly path: string;
  /** Whether `type` is `dir`. */
  readonly isDir: boolean;
  /** Bytes. */
  readonly size: number;
  /** `file`, `dir`, `symlink`, or another kind. */
  readonly type: string;
  /** Octal, such as `0644`. */
  readonly mode?: string;
  /** As `ls -l` shows them. */
  readonly permissions?: string;
  /** Name of the user, or the number of one without a name. */
  readonly owner?: string;
  /** Name of the group, or the number of one without a name. */
  readonly group?: string;
  /** When its content changed last. */
  readonly modifiedTime?: Date;
  /** Where a symbolic link leads. */
  readonly symlinkTarget?: string;
}

/** Local branches. */
export interface GitBranches {
  /** Absent when `HEAD` is no branch. */
  readonly current?: string;
  /** Their names. */
  readonly branches: readonly string[];
}

/** A file that has changed. */
export interface GitChangedFile {
  /** From the top of the repository. */
  readonly path: string;
  /** `modified`, `added`, `deleted`, `renamed`, `copied`, `type_changed`, `untracked`, `conflicted`. */
  readonly status: string;
  /** In the index. */
  readonly staged: boolean;
  /** In the working tree. */
  readonly unstaged: boolean;
  /** Of a renamed or copied file. */
  readonly originalPath?: string;
}

/** A commit. */
export interface GitCommit {
  /** Hexadecimal digits. */
  readonly sha: string;
  /** Name of the author. */
  readonly authorName: string;
  /** Address of the author. */
  readonly authorEmail: string;
  /** RFC 3339, in the author's time zone. */
  readonly date: string;
  /** The whole message. */
  readonly message: string;
}

/** State of a repository. */
export interface GitStatus {
  /** Absent when `HEAD` is no branch. */
  readonly branch?: string;
  /** Whether `HEAD` is no branch. */
  readonly detached: boolean;
  /** Whether nothing has changed. */
  readonly clean: boolean;
  /** Commits that the upstream lacks. */
  readonly ahead?: number;
  /** Commits that only the upstream has. */
  readonly behind?: number;
  /** Files that have changed. */
  readonly changed: readonly GitChangedFile[];
}

/** Where a port of a machine is reached. */
export interface HostInfo {
  /** `name` or `address:port`. */
  readonly host: string;
  /** HTTP(S) URL; absent without a public host name. */
  readonly url?: string;
  /** WebSocket URL, as `url`. */
  readonly websocketUrl?: string;
  /** When the URL expires. */
  readonly accessTokenExpiresAt?: Date;
  /** `query` when the URL carries a token. */
  readonly accessTokenTransport?: string;
}

/** Something that happened to a machine or a snapshot. */
export interface LifecycleEvent {
  /** UUID. */
  readonly id: string;
  /** When it happened. */
  readonly occurredAt: Date;
  /** Whom the event is for: `customer` or `internal`. */
  readonly audience: string;
  /** What happened. */
  readonly operation:
    | 'create'
    | 'destroy'
    | 'timeout_updated'
    | 'timeout_expired'
    | 'hibernate'
    | 'snapshot_created'
    | 'resume_from_snapshot'
    | 'fork'
    | 'reconcile'
    | (string & {});
  /** How far it got. */
  readonly status: 'requested' | 'succeeded' | 'failed' | (string & {});
  /** Who did it: `user`, `system` or `reconcile`. */
  readonly actorKind: string;
  /** Keys depend on the event. */
  readonly metadata: Record<string, unknown>;
  /** `mch_...` */
  readonly machineId?: string;
  /** `snap_...` */
  readonly snapshotId?: string;
  /** The machine that a fork or a snapshot was made of. */
  readonly sourceMachineId?: string;
  /** The machine that a fork made. */
  readonly targetMachineId?: string;
  /** Why, in a word. */
  readonly reason?: string;
  /** Code of the failure. */
  readonly errorCode?: string;
  /** The same as a sentence. */
  readonly errorMessage?: string;
}

/** One page of events. */
export interface LifecycleEventPage {
  /** In the order asked for. */
  readonly events: LifecycleEvent[];
  /** Events skipped. */
  readonly offset: number;
  /** Most events of a page. */
  readonly limit: number;
  /** Whether another page follows. */
  readonly hasMore: boolean;
}

/** A webhook. */
export interface LifecycleWebhook {
  /** UUID. */
  readonly id: string;
  /** Where events are sent to. */
  readonly url: string;
  /** Operations whose events are sent. */
  readonly operations: string[];
  /** Whether events are sent. */
  readonly enabled: boolean;
  /** Whether deliveries are signed. */
  readonly hasSigningSecret: boolean;
  /** When it was made. */
  readonly createdAt: Date;
  /** When it was changed last. */
  readonly updatedAt: Date;
  /** When a delivery was tried last. */
  readonly lastDeliveryAt?: Date;
  /** How that delivery stands. */
  readonly lastDeliveryStatus?: WebhookDeliveryStatus;
  /** What went wrong with it. */
  readonly lastError?: string;
}

/** Size of a machine. */
export interface MachineConfig {
  /** Processors. */
  readonly vcpus: number;
  /** MiB. */
  readonly memoryMb: number;
  /** MiB, when asked for. */
  readonly diskMb?: number;
}

/** A machine as the server describes it: a plain object, safe to store and to send. */
export interface MachineInfo {
  /** `mch_...` */
  readonly id: string;
  /** Where it is in its life. */
  readonly status: MachineStatus;
  /** Size. */
  readonly config: MachineConfig;
  /** As given on create. */
  readonly template: string;
  /** As given on create, verbatim. */
  readonly metadata?: Record<string, unknown>;
  /** When it was made. */
  readonly createdAt: Date;
  /** When it first ran. */
  readonly startedAt?: Date;
  /** Milliseconds: length of the lease. */
  readonly timeoutMs?: number;
  /** End of the lease. */
  readonly timeoutAt?: Date;
  /** The same as `timeoutAt`. */
  readonly expiresAt?: Date;
  /** Milliseconds until the end of the lease. */
  readonly remainingMs?: number;
  /** What happens then. */
  readonly timeoutAction?: 'destroy' | 'hibernate' | (string & {});
  /** Last request to the machine. */
  readonly lastActiveAt?: Date;
  /** As given on create. */
  readonly inactivityTimeoutMs?: number;
  /** As given on create. */
  readonly autoDeleteAfterMs?: number;
  /** As given on create. */
  readonly ephemeral?: boolean;
  /** As given on create. */
  readonly autoResume?: boolean;
  /** Working directory of commands. */
  readonly cwd?: string;
  /** Only while paused. */
  readonly snapshotId?: string;
  /** How a create that named a warm pool was served. */
  readonly warmPoolCheckout?: WarmPoolCheckout;
  /** What the machine may reach now, and what secrets it uses. Hosted servers leave it out. */
  readonly network?: {
    /** The policy in force, or the one that will be with the next start. */
    readonly egress: EgressPolicy;
    /** Secrets that it uses and never sees. */
    readonly secrets?: MachineSecret[];
  };
  /** What the local engine does not enforce on this computer. */
  readonly warnings?: readonly string[];
  /** Why the machine is in `error` (local engine). */
  readonly errorMessage?: string;
}

/** One sample of a machine. */
export interface MachineMetrics {
  /** When it was taken. */
  readonly timestamp: Date;
  /** 100 is one processor fully used. */
  readonly cpuPercent: number;
  /** Processors of the machine. */
  readonly cpuCount: number;
  /** Memory in use. */
  readonly memUsedBytes: number;
  /** Memory of the machine. */
  readonly memTotalBytes: number;
  /** Disk in use. */
  readonly diskUsedBytes: number;
  /** Disk of the machine. */
  readonly diskTotalBytes: number;
  /** Since the start. */
  readonly networkRxBytes: number;
  /** Since the start. */
  readonly networkTxBytes: number;
}

/** What is told of a secret of a machine. */
export interface MachineSecret {
  /** As in {@link NetworkOptions.secrets}. */
  readonly name: string;
  /** As given. */
  readonly hosts: string[];
  /** In small letters. */
  readonly header: string;
  /** Where the machine reaches the first host through its gateway. */
  readonly baseUrl: string;
  /** The variable that says so in the machine. */
  readonly baseUrlEnv: string;
}

/** Where a machine is in its life. A newer server may send other values. */
export type MachineStatus = 'creating' | 'running' | 'paused' | 'destroyed' | 'error' | (string & {});

/** What a machine uses. Servers may send a part of it. */
export interface MonitorMetrics {
  /** 100 is one processor fully used. */
  readonly cpuPercent: number;
  /** When it was taken. */
  readonly timestamp?: Date;
  /** Processors of the machine. */
  readonly cpuCount?: number;
  /** Memory in use. */
  readonly memUsedBytes?: number;
  /** Memory of the machine. */
  readonly memTotalBytes?: number;
  /** Disk in use. */
  readonly diskUsedBytes?: number;
  /** Disk of the machine. */
  readonly diskTotalBytes?: number;
  /** Since the start. */
  readonly networkRxBytes?: number;
  /** Since the start. */
  readonly networkTxBytes?: number;
}

/** Permission to reach one port of one machine. */
export interface PreviewGrant {
  /** `pvg_...` */
  readonly id: string;
  /** `mch_...` */
  readonly machineId: string;
  /** Port inside the machine. */
  readonly port: number;
  /** Whether it opens the port. */
  readonly status: 'active' | 'expired' | 'revoked' | 'disabled' | (string & {});
  /** Who holds the token: a visitor, or a proxy. */
  readonly authMode: 'direct' | 'proxy' | (string & {});
  /** Where the token goes first: into the query of the URL, or into a header. */
  readonly bootstrapTransport: 'query' | 'header' | (string & {});
  /** What its tokens are for: `http_port` and `websocket_port`. */
  readonly tokenKinds: string[];
  /** Whom it was given to, such as `user`. */
  readonly principalKind: string;
  /** When it was given. */
  readonly issuedAt: Date;
  /** When the grant expires. */
  readonly expiresAt: Date;
  /** Requests and connections that used it. */
  readonly useCount: number;
  /** Requests that used it. */
  readonly httpRequestCount: number;
  /** WebSockets that used it. */
  readonly websocketConnectionCount: number;
  /** Bytes into the machine, as far as counted. */
  readonly bytesInCount: number;
  /** Bytes out of the machine, as far as counted. */
  readonly bytesOutCount: number;
  /** The same as `issuedAt`. */
  readonly createdAt: Date;
  /** When it changed last. */
  readonly updatedAt: Date;
  /** When the grant was revoked. */
  readonly revokedAt?: Date;
  /** When it was used first. */
  readonly firstUsedAt?: Date;
  /** When it was used last. */
  readonly lastUsedAt?: Date;
}

/** What a reverse proxy needs. Keep the tokens out of logs. */
export interface PreviewProxyTarget {
  /** The permission that the tokens stand for. */
  readonly grant: PreviewGrant;
  /** `mch_...` */
  readonly machineId: string;
  /** Port inside the machine. */
  readonly port: number;
  /** Header that the token goes into. */
  readonly tokenHeaderName: string;
  /** When the tokens expire. */
  readonly expiresAt: Date;
  /** Where the token goes. */
  readonly tokenTransport: 'header' | (string & {});
  /** Headers that the proxy must set. */
  readonly requiredForwardedHeaders: string[];
  /** What to know. */
  readonly warnings: string[];
  /** Where HTTP goes. */
  readonly httpUrl?: string;
  /** Where WebSockets go. */
  readonly websocketUrl?: string;
  /** Token of HTTP requests. */
  readonly httpToken?: string;
  /** Token of WebSockets. */
  readonly websocketToken?: string;
  /** Whether {@link Machine.trafficAccessToken} is needed too. */
  readonly trafficAccessRequired?: boolean;
  /** Header that it goes into. */
  readonly trafficAccessHeaderName?: string;
}

/** Whether a service answers. */
export interface PreviewReadiness {
  /** Both of the next two. */
  readonly ready: boolean;
  /** The way to the machine stands. */
  readonly routeReady: boolean;
  /** The service answers. */
  readonly serviceReady: boolean;
  /** `mch_...` */
  readonly machineId: string;
  /** Port inside the machine. */
  readonly port: number;
  /** As asked. */
  readonly kind: 'tcp' | 'http' | (string & {});
  /** Time of the last look. */
  readonly checkedAt: Date;
  /** Milliseconds of all looks together. */
  readonly elapsedMs: number;
  /** Looks. */
  readonly attempts: number;
  /** As asked. */
  readonly path?: string;
  /** Why it is not ready. */
  readonly code?: string;
  /** The same as a sentence. */
  readonly error?: string;
  /** What to do next. */
  readonly suggestedAction?: string;
}

/** URLs with a token in them. Keep them out of logs. */
export interface PreviewUrl {
  /** The permission that the URLs carry. */
  readonly grant: PreviewGrant;
  /** HTTP URL with a token. */
  readonly url: string;
  /** WebSocket URL with a token. */
  readonly websocketUrl: string;
  /** When the URLs expire. */
  readonly accessTokenExpiresAt: Date;
  /** Where the token is. */
  readonly accessTokenTransport: 'query' | (string & {});
}

/** A process that the API started. */
export interface ProcessInfo {
  /** Process id inside the machine. */
  readonly pid: number;
  /** As given. */
  readonly command: string;
  /** Whether it has not ended. */
  readonly running: boolean;
}

/** A terminal that is open. */
export interface PtySessionInfo {
  /** `pty_...` */
  readonly sessionId: string;
  /** Process id of the shell inside the machine. */
  readonly pid: number;
  /** Characters a line. */
  readonly cols: number;
  /** Lines. */
  readonly rows: number;
  /** Names the command behind it. */
  readonly execId: string;
}

/** What {@link Files.replaceInFiles} did. */
export interface ReplaceResult {
  /** Whether nothing was changed, since `dryRun` asked so. Told of volumes. */
  readonly dryRun?: boolean;
  /** Places, over all files. */
  readonly replacements: number;
  /** Files that changed. */
  readonly filesModified: number;
  /** Files without the pattern. */
  readonly filesSkipped: number;
  /** Files left out because they are no text. */
  readonly binaryFilesSkipped: number;
}

/** A line that matches: {@link Files.findFiles}. */
export interface SearchMatch {
  /** Path of the file. */
  readonly file: string;
  /** Counts from 1. */
  readonly line: number;
  /** The line. */
  readonly content: string;
}

/** A snapshot as the server describes it. */
export interface SnapshotInfo {
  /** `snap_...` */
  readonly id: string;
  /** The machine that the snapshot was taken of. */
  readonly machineId: string;
  /** Bytes that the snapshot adds on the disk. */
  readonly sizeBytes: number;
  /** When it was taken. */
  readonly createdAt: Date;
  /** As given, verbatim. */
  readonly metadata?: Record<string, unknown>;
}

/** A way into a machine by SSH. */
export interface SshAccess {
  /** For the key alone, for this machine and user alone. One line of OpenSSH. */
  readonly certificate: string;
  /** Name or address to connect to. */
  readonly host: string;
  /** Port to connect to. */
  readonly port: number;
  /** User inside the machine. */
  readonly user: string;
  /** When the certificate expires. */
  readonly expiresAt: Date;
  /** Keep it to yourself. */
  readonly accessId: string;
  /**
   * To be pasted into a terminal. It names the files below when there are some. `scp` and `sftp` take the same options,
   * with `-P` for the port.
   */
  readonly command: string;
  /** Public key by which `ssh` recognises the server. */
  readonly hostKey?: string;
}

/** Another name of a template, such as the one before a rename. */
export interface TemplateAliasInfo {
  /** `namespace/name`. */
  readonly aliasRef: string;
  /** When the template was renamed. */
  readonly createdAt: Date;
}

/** A build. Those of {@link Template.listBuilds} hold less. */
export interface TemplateBuildInfo {
  /** `tb_...` */
  readonly buildId: string;
  /** `tmpl_...` */
  readonly templateId: string;
  /** Name of the template. */
  readonly name: string;
  /** Tags that it gets when it is ready. */
  readonly tags: readonly string[];
  /** How far it is. */
  readonly status: TemplateBuildStatus;
  /** Who builds. */
  readonly buildBackend: 'native' | 'buildkit' | (string & {});
  /** What it is made of. */
  readonly sourceType: 'declarative' | 'dockerfile' | 'oci_import' | 'template_base' | (string & {});
  /** `namespace/name:tag`. */
  readonly canonicalRef?: string;
  /** The part of `canonicalRef` before the slash. */
  readonly namespaceSlug?: string;
  /** Who sees the template. */
  readonly visibility?: TemplateVisibility;
  /** When it was asked for. */
  readonly createdAt: Date;
  /** When it changed last. */
  readonly updatedAt: Date;
  /** Digest of the request. */
  readonly sourceDigest?: string;
  /** Digest of the files that came with it. */
  readonly contextDigest?: string;
  /** Digest of the Dockerfile. */
  readonly dockerfileDigest?: string;
  /** Size and network of the machine that builds. */
  readonly buildConfig?: {
    /** Processors. */
    readonly vcpus?: number;
    /** MiB of memory. */
    readonly memoryMib?: number;
    /** Whether steps reach the network. */
    readonly internetAccess?: boolean;
    /** MiB: the smallest disk of machines that start from it. */
    readonly diskMb?: number;
  };
  /** Who asked for it. */
  readonly triggeredBy?: string;
  /** When it was put into the queue. */
  readonly queuedAt?: Date;
  /** When it began. */
  readonly startedAt?: Date;
  /** When it ended. */
  readonly finishedAt?: Date;
  /** Milliseconds from its begin to its end. */
  readonly durationMs?: number;
  /** Where it failed, as in `errorDetail`. */
  readonly failurePhase?: string;
  /** Counts of what was not made again, as the wire has them: `layer_hits`, `file_blob_misses`, ... */
  readonly cacheSummary?: Record<string, unknown>;
  /** Whether machines can start from it now. */
  readonly artifactAvailability?: {
    /** `available`, or what stands in the way. */
    readonly status: string;
    /** Why not. */
    readonly reason?: string;
  };
  /** Whether it can get a tag. */
  readonly promotability?: {
    /** `promotable`, or what stands in the way. */
    readonly status: string;
    /** Whether it can. */
    readonly promotable: boolean;
    /** Why not. */
    readonly reason?: string;
  };
  /** When the server deletes what it made. */
  readonly retentionExpiresAt?: Date;
  /** What its machines start with. */
  readonly runtimeDefaults?: TemplateRuntimeDefaults;
  /** What the image says of itself, as the wire has it. */
  readonly ociMetadata?: Record<string, unknown>;
  /** What it made. */
  readonly artifactIds?: readonly string[];
  /** The build that this one repeats. */
  readonly retryOfBuildId?: string;
  /** The first of a row of such builds. */
  readonly originalBuildId?: string;
  /** When somebody cancelled it. */
  readonly cancelRequestedAt?: Date;
  /** Who cancelled it. */
  readonly cancelRequestedBy?: string;
  /** Why it was cancelled. */
  readonly cancellationReason?: string;
  /** Why it failed. */
  readonly error?: string;
  /** The same in parts. */
  readonly errorDetail?: TemplateFailureDetail;
}

/** A line of a build's log. */
export interface TemplateBuildLogEntry {
  /** `tb_...` */
  readonly buildId: string;
  /** `tmpl_...` */
  readonly templateId: string;
  /** Counts from 0. */
  readonly offset: number;
  /** When it was written. */
  readonly timestamp: Date;
  /** `end`, `error` and `cancelled` are the last. */
  readonly kind: 'start' | 'message' | 'cache' | 'retry' | 'warning' | 'error' | 'cancelled' | 'end' | (string & {});
  /** How much it matters. */
  readonly level: 'debug' | 'info' | 'warn' | 'error' | (string & {});
  /** The line. */
  readonly message: string;
  /** Of `error`. */
  readonly errorDetail?: TemplateFailureDetail;
  /** Of `end`. */
  readonly result?: TemplateInfo;
  /** Of `end`, as the wire has it. */
  readonly resultMetadata?: Record<string, unknown>;
  /** Where the build is, as in {@link TemplateFailureDetail.phase}. */
  readonly phase?: string;
  /** Which of the steps, from 0. */
  readonly stepIndex?: number;
  /** Steps in all. */
  readonly totalSteps?: number;
  /** Of `retry`: which attempt, from 1. */
  readonly attempt?: number;
  /** Of `retry`: attempts in all. */
  readonly maxAttempts?: number;
  /** Of `cache`: what is kept. */
  readonly cacheKind?: 'file_blob' | 'layer' | 'final_artifact' | (string & {});
  /** Of `cache`: what the cache did. */
  readonly cacheStatus?: 'hit' | 'miss' | 'stored' | 'bypass' | (string & {});
  /** Of `cache`: why. */
  readonly cacheReason?: string;
  /** Of `cache`: what was asked for. */
  readonly cacheSubject?: string;
}

/** A page of builds, newest first. */
export interface TemplateBuildPage {
  /** Newest first. */
  readonly builds: readonly TemplateBuildInfo[];
  /** Absent on the last page. */
  readonly nextCursor?: string;
}

/** How far a build is, and what it said from an offset on. */
export interface TemplateBuildSnapshot {
  /** The build. */
  readonly build: TemplateBuildInfo;
  /** Its log from the offset that was asked for. */
  readonly entries: readonly TemplateBuildLogEntry[];
  /** To be asked for next. */
  readonly nextOffset: number;
}

/** How far a build is. */
export type TemplateBuildStatus = 'waiting' | 'building' | 'ready' | 'error' | 'cancelled' | (string & {});

/** Why a build failed, as the server says it. */
export interface TemplateFailureDetail {
  /** Kind of the failure. */
  readonly code: 'build_error' | 'file_upload_error' | 'internal_error' | 'unauthorized' | (string & {});
  /** What went wrong, as a sentence. */
  readonly message: string;
  /** Where: `auth`, `preflight`, `blob_upload`, `prepare`, `build_step`, `readiness`, `snapshot`, `finalize`, `interrupted`. */
  readonly phase: string;
  /** Whether the same may work later. */
  readonly retryable?: boolean;
  /** What to do next. */
  readonly suggestedAction?: string;
  /** Which of the steps, from 0. */
  readonly stepIndex?: number;
  /** Which attempt it was, from 1. */
  readonly attempt?: number;
  /** Attempts in all. */
  readonly maxAttempts?: number;
  /** What the cache was asked for. */
  readonly cacheSubject?: string;
  /** `tb_...` */
  readonly buildId?: string;
  /** The server's name for the request. */
  readonly requestId?: string;
  /** Anything more, as the wire has it: `reason`, `command`, `exit_code`, `path`. */
  readonly details?: Record<string, unknown>;
}

/** A template. */
export interface TemplateInfo {
  /** `tmpl_...` */
  readonly id: string;
  /** Without namespace and tag. */
  readonly name: string;
  /** For people; may be empty. */
  readonly description: string;
  /** Whether the server brings it. */
  readonly builtin: boolean;
  /** `namespace/name:tag`; what `Machine.create({ template })` takes. */
  readonly canonicalRef: string;
  /** The part of `canonicalRef` before the slash. */
  readonly namespaceSlug?: string;
  /** Who sees it. */
  readonly visibility: TemplateVisibility;
  /** Names of its builds. */
  readonly tags?: readonly string[];
  /** The tag that a reference without one means. */
  readonly defaultTag?: string;
  /** What its machines start with. */
  readonly runtimeDefaults?: TemplateRuntimeDefaults;
}

/** A name that is kept. */
export interface TemplateNameClaim {
  /** For {@link Template.releaseNameClaim}; a secret. */
  readonly claimToken: string;
  /** `namespace/name`. */
  readonly canonicalRef: string;
  /** Until when the name is kept. */
  readonly expiresAt: Date;
}

/** A namespace of templates. */
export interface TemplateNamespaceInfo {
  /** Its name. */
  readonly slug: string;
  /** Whose it is. */
  readonly kind: 'user' | 'deployment' | 'system' | (string & {});
  /** Whether names without a namespace are in it. */
  readonly isDefault: boolean;
}

/** What {@link Template.plan} says. */
export interface TemplatePlan {
  /** Who builds. */
  readonly buildBackend: 'native' | 'buildkit' | (string & {});
  /** What it is made of: `declarative`, `dockerfile`, `oci_import` or `template_base`. */
  readonly sourceType: string;
  /** As the wire has it: `base_template`, `run_steps`, `build_steps`, ... */
  readonly buildPlan: Record<string, unknown>;
  /** What it builds all the same. */
  readonly warnings: readonly string[];
  /** Whether the image needs a user and a password. */
  readonly requiresBaseImageAuth: boolean;
  /** Digest of the request. */
  readonly sourceDigest?: string;
  /** Digest of the Dockerfile. */
  readonly dockerfileDigest?: string;
  /** The files that come with it. */
  readonly contextManifest?: {
    /** Its id. */
    readonly contextManifestId: string;
    /** Digest of all files. */
    readonly contextDigest: string;
    /** Number of files. */
    readonly fileCount: number;
  };
}

/** A probe that says when what a template starts counts as ready. Made by {@link waitForPort} and its like. */
export interface TemplateReadiness {
  /** `tcp`: a port accepts; `http`: it answers with 2xx or 3xx; `command`: it ends with 0; `timeout`: some time is over. */
  readonly kind: 'tcp' | 'http' | 'command' | 'timeout' | (string & {});
  /** Of `tcp` and `http`. */
  readonly port?: number;
  /** Of `http`. */
  readonly path?: string;
  /** Of `command`. */
  readonly command?: string;
  /** Milliseconds, of `timeout`. */
  readonly timeoutMs?: number;
  /** Seconds until it is given up and the build fails; of all but `timeout`. */
  readonly timeoutSecs?: number;
  /** Milliseconds between two attempts. */
  readonly intervalMs?: number;
  /** Seconds before the first. */
  readonly startupGraceSecs?: number;
}

/** What machines of a template start with. */
export interface TemplateRuntimeDefaults {
  /** Names of variables, never their values. */
  readonly defaultEnvKeys?: readonly string[];
  /** Command that was started before the template was kept. */
  readonly startCmd?: string;
  /** User that runs commands. */
  readonly defaultUser?: string;
  /** Working directory of commands. */
  readonly defaultWorkdir?: string;
  /** When the start command counts as ready. */
  readonly readiness?: TemplateReadiness;
}

/** A tag of a template. */
export interface TemplateTagInfo {
  /** Its name. */
  readonly tag: string;
  /** The build that it names. */
  readonly buildId: string;
  /** When it was set or moved. */
  readonly createdAt: Date;
}

/** What {@link Template.validate} says. */
export interface TemplateValidation {
  /** Whether the server would build it. */
  readonly valid: boolean;
  /** Why not. */
  readonly errors: readonly {
    /** Stable name. */
    readonly code: string;
    /** The same as a sentence. */
    readonly message: string;
    /** Where the build would fail. */
    readonly phase?: string;
  }[];
  /** What it builds all the same. */
  readonly warnings: readonly string[];
}

/** Who sees a template: its owner, or everybody. */
export type TemplateVisibility = 'private' | 'public' | (string & {});

/** Lease on a machine. */
export interface TimeoutLease {
  /** Milliseconds, counted from the call. */
  readonly timeoutMs: number;
  /** What happens at the end of the lease. */
  readonly timeoutAction: 'destroy' | 'hibernate' | (string & {});
  /** End of the lease. */
  readonly timeoutAt?: Date;
  /** Milliseconds left. */
  readonly remainingMs?: number;
}

/** Where a file can be written without a key. */
export interface UploadUrl {
  /** Anybody who has it may write the file until it expires. */
  readonly url: string;
  /** The secret part of it, which the volume's info leaves out. */
  readonly token?: string;
}

/** A volume in a machine. */
export interface VolumeAttachment {
  /** `vat_...` */
  readonly id: string;
  /** `vol_...` */
  readonly volumeId: string;
  /** `mch_...` */
  readonly machineId: string;
  /** Absolute, inside the machine. */
  readonly mountPath: string;
  /** Whether writes are refused. */
  readonly readOnly: boolean;
  /** How far the mount is. */
  readonly state:
    | 'requested'
    | 'mounting'
    | 'mounted'
    | 'paused'
    | 'remounting'
    | 'unmounted'
    | 'releasing'
    | 'released'
    | 'failed'
    | (string & {});
  /** When it was attached. */
  readonly createdAt: Date;
  /** When it was mounted last. */
  readonly updatedAt: Date;
  /** Directory of the volume that is mounted; absent for all of it. */
  readonly subpath?: string;
  /** Why it is `failed`. */
  readonly lastErrorCode?: string;
  /** The same as a sentence. */
  readonly lastErrorMessage?: string;
}

/** A volume as the server describes it. */
export interface VolumeInfo {
  /** `vol_...` */
  readonly id: string;
  /** Unique in an account. */
  readonly name: string;
  /** When it was made. */
  readonly createdAt: Date;
  /** Bytes of its files. */
  readonly usedBytes: number;
  /** Number of its files and directories. */
  readonly inodeCount: number;
  /** Number of its mounts in machines. */
  readonly mountCount: number;
  /** Most bytes; absent without a limit. */
  readonly maxSizeBytes?: number;
  /** Most files and directories; absent without a limit. */
  readonly maxFileCount?: number;
  /** Most mounts; absent without a limit. */
  readonly maxMounts?: number;
  /** When its files were counted. */
  readonly lastReconciledAt?: Date;
  /** Whether it can be used. */
  readonly status: 'available' | 'attached' | 'degraded' | 'error' | (string & {});
}

/** How a create that named a warm pool was served. */
export interface WarmPoolCheckout {
  /** Where the machine came from. */
  readonly source: 'ready_instance' | 'cold_create' | 'bypassed' | (string & {});
  /** Whether a ready machine was taken. */
  readonly hit: boolean;
  /** The pool. */
  readonly id?: string;
  /** As asked. */
  readonly mode?: 'prefer' | 'require' | 'bypass' | (string & {});
  /** Milliseconds waited for a ready machine. */
  readonly waitMs?: number;
}

/** Counts of a warm pool's machines. */
export interface WarmPoolCounts {
  /** Aimed at. */
  readonly target: number;
  /** Can be taken. */
  readonly ready: number;
  /** Being made. */
  readonly warming: number;
  /** Taken since the pool was made. */
  readonly claimed: number;
  /** Being given up. */
  readonly draining: number;
  /** Failed to start. */
  readonly failed: number;
  /** Given up as idle or stale. */
  readonly expired: number;
  /** Lost. */
  readonly unavailable: number;
}

/** A warm pool as the server describes it. */
export interface WarmPoolInfo {
  /** `twp_...` */
  readonly id: string;
  /** Free text. */
  readonly name: string;
  /** As given. */
  readonly templateRef: string;
  /** What it means now. */
  readonly resolvedTemplate: string;
  /** `tb_...` */
  readonly resolvedTemplateBuildId?: string;
  /** Size of each machine. */
  readonly resources: MachineConfig;
  /** Machines to hold ready. */
  readonly minReady: number;
  /** At most this many. */
  readonly maxReady: number;
  /** Seconds. */
  readonly idleTimeoutSeconds: number;
  /** Seconds. */
  readonly staleAfterSeconds: number;
  /** What a create without a mode does. */
  readonly checkoutPolicy: 'prefer' | 'require' | 'bypass' | (string & {});
  /** Which build of the template it holds. */
  readonly versionPolicy: 'pinned_build' | 'track_tag' | (string & {});
  /** Tag followed. */
  readonly trackTag?: string;
  /** Grows when the build changes. */
  readonly rolloutGeneration: number;
  /** Progress of a change of build; empty when none is under way. */
  readonly rolloutStatus: Record<string, unknown>;
  /** Counts. */
  readonly status: WarmPoolCounts;
  /** Whether it serves. */
  readonly state: 'enabled' | 'disabled' | 'draining' | 'deleted' | (string & {});
  /** Why it holds too few. */
  readonly degradedReason?:
    | 'no_eligible_hosts'
    | 'artifact_not_ready'
    | 'artifact_prewarm_failed'
    | 'quota_exceeded'
    | 'template_build_unavailable'
    | 'controller_disabled'
    | 'drain_active'
    | (string & {});
  /** As given. */
  readonly labels: Record<string, unknown>;
  /** As given. */
  readonly metadata: Record<string, unknown>;
  /** When it was made. */
  readonly createdAt: Date;
  /** When it changed last. */
  readonly updatedAt: Date;
  /** When it was enabled last. */
  readonly enabledAt?: Date;
  /** When it was disabled last. */
  readonly disabledAt?: Date;
  /** When it was drained last. */
  readonly drainRequestedAt?: Date;
  /** When it was compared last with what there should be. */
  readonly lastReconciledAt?: Date;
  /** When it was deleted. */
  readonly deletedAt?: Date;
}

/** One try of a delivery. */
export interface WebhookAttempt {
  /** UUID. */
  readonly id: string;
  /** UUID of the delivery. */
  readonly deliveryId: string;
  /** Counts from 1. */
  readonly attemptNumber: number;
  /** When it began. */
  readonly attemptedAt: Date;
  /** Milliseconds until the answer or the failure. */
  readonly durationMs: number;
  /** HTTP status; absent when no answer came. */
  readonly responseStatus?: number;
  /** `http_status`, `timeout`, `connect_failed`, `request_failed` or `interrupted`; absent after a success. */
  readonly errorCode?: string;
  /** The same as a sentence. */
  readonly errorMessage?: string;
}

/** One event on its way to one webhook. */
export interface WebhookDelivery {
  /** UUID. */
  readonly id: string;
  /** UUID of the webhook. */
  readonly webhookId: string;
  /** UUID of the event. */
  readonly eventId: string;
  /** Operation of the event. */
  readonly operation: string;
  /** Status of the event. */
  readonly status: string;
  /** How the delivery stands. */
  readonly deliveryStatus: WebhookDeliveryStatus;
  /** Attempts begun. */
  readonly attemptCount: number;
  /** When the event happened. */
  readonly createdAt: Date;
  /** Absent once it is decided. */
  readonly nextAttemptAt?: Date;
  /** When it was tried last. */
  readonly lastAttemptAt?: Date;
  /** HTTP status. */
  readonly lastResponseStatus?: number;
  /** What went wrong the last time. */
  readonly lastError?: string;
}

/** What {@link Lifecycle.getWebhookDelivery} answers. */
export interface WebhookDeliveryDetail {
  /** The delivery. */
  readonly delivery: WebhookDelivery;
  /** The event that is delivered. */
  readonly event: LifecycleEvent;
  /** Oldest first. */
  readonly attempts: WebhookAttempt[];
}

/** How a delivery stands. */
export type WebhookDeliveryStatus = 'queued' | 'in_progress' | 'succeeded' | 'dead_letter' | (string & {});

// #endregion
