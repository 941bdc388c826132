import type { Machine } from '../index.js';

/**
 * A machine as the backend of a deep agent.
 *
 * @param BaseSandbox the class of `deepagents`, which has everything but running commands and moving files
 * @example createDeepAgent({ backend: nullspaceBackend(BaseSandbox, machine) })
 */
export function nullspaceBackend<T>(BaseSandbox: abstract new () => T, machine: Machine): T;
