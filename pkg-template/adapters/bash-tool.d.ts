import type { Machine } from '../index.js';

/** The interface `Sandbox` of the package `bash-tool`. */
export interface BashToolSandbox {
  executeCommand(command: string): Promise<{ stdout: string; stderr: string; exitCode: number }>;
  readFile(path: string): Promise<string>;
  writeFiles(files: { path: string; content: string | Uint8Array }[]): Promise<void>;
}

/**
 * A machine as the sandbox of `bash-tool`. Relative paths start at `/workspace`.
 *
 * @example const { tools } = await createBashTool({ sandbox: bashToolSandbox(machine), destination: '/workspace' })
 */
export function bashToolSandbox(machine: Machine): BashToolSandbox;
