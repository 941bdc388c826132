/** Options of {@link startEngine}. */
export interface TestEngineOptions {
  /** The program. @default `NULLSPACE_ENGINE`, the npm package `nullspace-engine`, `nullspace-engine` in `PATH`, `./target` */
  binary?: string | undefined;
  /** More flags of `nullspace-engine serve`, such as `['--faults']`. @default none */
  args?: readonly string[] | undefined;
  /**
   * Set `NULLSPACE_API_URL` and `NULLSPACE_API_KEY` of this process until `close()`, so that the program under test finds the engine.
   *
   * @default false for `startEngine`, true for `useEngine`
   */
  env?: boolean | undefined;
  /** Seconds for the start. @default 60 */
  startTimeout?: number | undefined;
}

/** An engine that belongs to this process. */
export interface TestEngine {
  /** Where its API is. */
  readonly url: string;
  /** What its clients send; no other engine takes it. */
  readonly apiKey: string;
  /** Its process. */
  readonly pid: number;
  /** Both as options of any call: `Machine.create(engine.client)`, `new Nullspace(engine.client)`. */
  readonly client: { readonly baseUrl: string; readonly apiKey: string };
  /** The end of what it logged. */
  log(): string;
  /** Ends it with its machines, and removes its state. Can be called again. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Starts an engine on a free port, with state of its own that is removed at the end. It ends with this process however that ends,
 * `kill -9` too, and does not keep it running.
 *
 * @throws {Error} when there is no program of an engine here, or it does not start: with what it said
 * @example
 * const engine = await startEngine();
 * const machine = await Machine.create(engine.client);
 */
export function startEngine(options?: TestEngineOptions): Promise<TestEngine>;

/** Hooks of a test runner: before and after all tests of a file or a suite. */
export interface TestHooks {
  before(hook: () => Promise<void>): unknown;
  after(hook: () => Promise<void> | undefined): unknown;
}

/**
 * An engine for the tests of a file: starts before them and ends after them. Its properties are there once tests run.
 *
 * @throws {TypeError} when the hooks are none
 * @example
 * import { after, before, test } from 'node:test';
 * const engine = useEngine({ before, after });
 * @example
 * import { afterAll, beforeAll, test } from 'vitest'; // Jest has them as globals
 * const engine = useEngine({ before: beforeAll, after: afterAll });
 */
export function useEngine(
  hooks: TestHooks,
  options?: TestEngineOptions,
): Pick<TestEngine, 'url' | 'apiKey' | 'pid' | 'client' | 'log'>;
