import type { CreateOptions, Machine, Snapshot } from '../index.js';

interface Command {
  command: string;
  workingDirectory?: string;
  env?: Record<string, string>;
  abortSignal?: AbortSignal;
}

interface Path {
  path: string;
  abortSignal?: AbortSignal;
}

/** A command that runs: `Experimental_SandboxProcess` of the AI SDK. */
export interface NullspaceProcess {
  readonly pid?: number;
  /** The bytes as they were printed, where the server sends bytes; text of one that sends text. */
  readonly stdout: ReadableStream<Uint8Array>;
  readonly stderr: ReadableStream<Uint8Array>;
  /** Waits for its end. @throws the reason of an aborted signal */
  wait(): Promise<{ exitCode: number }>;
  /** Ends it with all that it started. */
  kill(): Promise<void>;
}

/** A command that is also written to. */
export interface NullspaceWritableProcess extends NullspaceProcess {
  readonly stdin: WritableStream<Uint8Array>;
}

/** `Experimental_SandboxSession` of the AI SDK 7. */
export interface NullspaceSession {
  readonly description: string;
  run(options: Command): Promise<{ exitCode: number; stdout: string; stderr: string }>;
  /** With `stdin: true` the command can be written to; otherwise it reads an end of file. */
  readonly spawn: {
    (options: Command & { stdin: true }): Promise<NullspaceWritableProcess>;
    (options: Command & { stdin?: false }): Promise<NullspaceProcess>;
    (options: Command & { stdin?: boolean }): Promise<NullspaceProcess | NullspaceWritableProcess>;
  };
  /** `null` when there is no such file; so are the next two. */
  readFile(options: Path): Promise<ReadableStream<Uint8Array> | null>;
  readBinaryFile(options: Path): Promise<Uint8Array | null>;
  /** Lines are counted from 1; both ends are included. */
  readTextFile(options: Path & { encoding?: string; startLine?: number; endLine?: number }): Promise<string | null>;
  /** Directories above the file are made; so do the next two. */
  writeFile(options: Path & { content: ReadableStream<Uint8Array> }): Promise<void>;
  writeBinaryFile(options: Path & { content: Uint8Array }): Promise<void>;
  writeTextFile(options: Path & { content: string; encoding?: string }): Promise<void>;
  /** Follows links. `null` when there is nothing. */
  stat(options: Path): Promise<{ type: 'file' | 'directory' | 'other'; size: number } | null>;
  /** `null` when there is no such directory. @throws when it is none */
  listDirectory(options: Path): Promise<{ name: string; type: 'file' | 'directory' | 'symlink' | 'other' }[] | null>;
  /** `false` when there is no such file. @throws when it is a directory */
  deleteFile(options: Path): Promise<boolean>;
}

/**
 * A machine as the sandbox of the AI SDK. Commands have no limit of their own: end them by `abortSignal`.
 *
 * @example await generateText({ model, tools, prompt, experimental_sandbox: nullspaceSession(machine) })
 */
export function nullspaceSession(
  machine: Machine,
  options?: {
    /** Told to the model. @default what a machine is */
    description?: string | undefined;
  },
): NullspaceSession;

/**
 * Tools for `generateText` and agents: `bash`, `readFile`, `writeFile`, and `runCode`, which needs a machine of template
 * `code-interpreter`.
 *
 * @param helpers `tool` and `jsonSchema` of the AI SDK
 * @example await generateText({ model, prompt, tools: nullspaceTools({ tool, jsonSchema }, machine), stopWhen: stepCountIs(10) })
 */
export function nullspaceTools<Tool>(
  helpers: { tool: (definition: never) => Tool; jsonSchema: (schema: never) => unknown },
  machine: Machine,
): { bash: Tool; readFile: Tool; writeFile: Tool; runCode: Tool };

/** `HarnessV1NetworkPolicy` of `@ai-sdk/harness`: a denied range wins over what is allowed within it. */
export type NullspaceNetworkPolicy =
  | { mode: 'allow-all' }
  | { mode: 'deny-all' }
  | {
      mode: 'custom';
      allowedHosts?: readonly string[];
      allowedCIDRs?: readonly string[];
      deniedCIDRs?: readonly string[];
    };

interface Port {
  port: number;
  /** URLs are those of the server: the local engine has `http` and `ws`. */
  protocol?: 'http' | 'https' | 'ws';
}

/** `HarnessV1NetworkSandboxSession` of `@ai-sdk/harness`. */
export interface NullspaceNetworkSession extends NullspaceSession {
  /** The `sessionId`; the machine's id where there is none. */
  readonly id: string;
  readonly defaultWorkingDirectory: string;
  readonly ports: readonly number[];
  /** Headers are needed where `network.allowPublicTraffic` is false. @throws for a port that is not exposed */
  getPortEndpoint(options: Port): Promise<{ url: string; headers?: Record<string, string> }>;
  getPortUrl(options: Port): Promise<string>;
  setPorts(ports: readonly number[]): Promise<void>;
  /** Replaces the egress policy; `allowedHosts` are `allowDomains`. @throws where the server cannot hold a machine to them */
  setNetworkPolicy(policy: NullspaceNetworkPolicy): Promise<void>;
  /** Pauses the machine of a session with a `sessionId`; destroys any other, which nobody could find again. */
  stop(): Promise<void>;
  /** Destroys the machine. */
  destroy(): Promise<void>;
  /** What may go to tools: files and commands alone. */
  restricted(): NullspaceSession;
}

/** `HarnessV1SandboxProvider` of `@ai-sdk/harness`. */
export interface NullspaceSandboxProvider {
  readonly specificationVersion: 'harness-sandbox-v1';
  readonly providerId: string;
  createSession(options?: {
    /** The same one gives the same machine, from any process. @default a machine of its own */
    sessionId?: string;
    /** What `onFirstCreate` did is kept as a snapshot under this name, and machines start from it. */
    identity?: string;
    onFirstCreate?: (session: NullspaceSession, options: { abortSignal?: AbortSignal }) => Promise<void>;
    abortSignal?: AbortSignal;
  }): Promise<NullspaceNetworkSession>;
  /** @throws when its machine does not live any more */
  resumeSession(options: { sessionId: string; abortSignal?: AbortSignal }): Promise<NullspaceNetworkSession>;
}

/** Options of {@link nullspaceSandbox}: what machines are made with. */
export interface NullspaceSandboxOptions extends Omit<CreateOptions, 'idempotencyKey' | 'signal' | 'snapshotId'> {
  /** Seconds until the end of a machine; each resume begins them anew. @default 1800 */
  timeout?: number | undefined;
  /** Ports that sessions expose. @default [4000] */
  ports?: readonly number[] | undefined;
  /** Told to the model. @default what a machine is */
  description?: string | undefined;
}

/**
 * Machines for `HarnessAgent` of `@ai-sdk/harness`.
 *
 * @param sdk `{ Machine, Snapshot }` of this package, or a client `new Nullspace(...)`
 * @example new HarnessAgent({ harness, sandbox: nullspaceSandbox({ Machine, Snapshot }, { memoryMb: 2048 }) })
 */
export function nullspaceSandbox(
  sdk: { Machine: typeof Machine; Snapshot: typeof Snapshot },
  options?: NullspaceSandboxOptions,
): NullspaceSandboxProvider;
