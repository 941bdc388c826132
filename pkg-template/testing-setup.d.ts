/**
 * One engine for all tests of a run, which find it in `NULLSPACE_API_URL` and `NULLSPACE_API_KEY`. The name of this module is the
 * setting: `globalSetup: 'nullspace/testing-setup'` of Vitest and Jest, `--test-global-setup` of Node 24.
 */
export default function setup(): Promise<() => Promise<void>>;
/** The same, by the name that Node looks for. */
export function globalSetup(): Promise<() => Promise<void>>;
/** Ends it. */
export function globalTeardown(): Promise<void>;
