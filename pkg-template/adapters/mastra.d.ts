import type { CreateOptions, Machine, Snapshot } from '../index.js';

/** Options of {@link nullspaceSandbox}: what a machine is made with, and those of Mastra's own sandboxes. */
export interface NullspaceMastraOptions<Hook = (args: never) => unknown>
  extends Omit<CreateOptions, 'idempotencyKey' | 'signal'> {
  /** The same one gives the same machine, from any process. @default a new one */
  id?: string | undefined;
  /** Seconds until the end of the machine; each start begins them anew. @default 1800 */
  timeout?: number | undefined;
  /** Where `snapshot()` keeps the files, and what a new machine starts from if it is there. @default none, and `snapshot()` does nothing */
  checkpointName?: string | undefined;
  /** What a new machine starts from where nothing was kept yet. @default none */
  seedCheckpointName?: string | undefined;
  /** Told to the model. @default what a machine is */
  instructions?: string | undefined;
  /** Environment of each command; `setEnv` of the sandbox changes it. @default `{}` */
  env?: Record<string, string | undefined> | undefined;
  /** Directory of commands. @default the machine's */
  workingDirectory?: string | undefined;
  /** When it runs. @default none */
  onStart?: Hook | undefined;
  /** Before it is paused. @default none */
  onStop?: Hook | undefined;
  /** Before it is destroyed. @default none */
  onDestroy?: Hook | undefined;
}

/**
 * A machine as the sandbox of a Mastra workspace. It is made, or found by its `id`, with the first command; `stop` pauses it, `destroy`
 * destroys it.
 *
 * @param workspace `MastraSandbox`, `SandboxProcessManager` and `ProcessHandle` of `@mastra/core/workspace`
 * @param sdk `{ Machine, Snapshot }` of this package, or a client `new Nullspace(...)`
 * @example new Workspace({ sandbox: nullspaceSandbox({ MastraSandbox, SandboxProcessManager, ProcessHandle }, { Machine, Snapshot }, { id: 'project-7' }) })
 */
export function nullspaceSandbox<Sandbox>(
  workspace: {
    MastraSandbox: abstract new (options: never) => Sandbox;
    SandboxProcessManager: abstract new (options?: never) => unknown;
    ProcessHandle: abstract new (options?: never) => unknown;
  },
  sdk: { Machine: typeof Machine; Snapshot: typeof Snapshot },
  options?: NullspaceMastraOptions,
): Sandbox & { readonly machine: Machine | undefined };
