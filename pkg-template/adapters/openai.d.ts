import type { Machine } from '../index.js';

/** One command's result: `ShellOutputResult` of `@openai/agents`. */
export type OpenAIShellOutput = {
  stdout: string;
  stderr: string;
  outcome: { type: 'exit'; exitCode: number } | { type: 'timeout' };
};

/** The interface `Shell` of `@openai/agents`. */
export interface OpenAIShell {
  run(action: { commands: string[]; timeoutMs?: number; maxOutputLength?: number }): Promise<{
    output: OpenAIShellOutput[];
    maxOutputLength?: number;
  }>;
}

/** The result of an operation of {@link OpenAIEditor}. */
export interface OpenAIEditorResult {
  status: 'completed' | 'failed';
  /** Why it failed. */
  output?: string;
}

/** The interface `Editor` of `@openai/agents`. */
export interface OpenAIEditor {
  createFile(operation: { type: 'create_file'; path: string; diff: string }): Promise<OpenAIEditorResult>;
  updateFile(operation: { type: 'update_file'; path: string; diff: string }): Promise<OpenAIEditorResult>;
  deleteFile(operation: { type: 'delete_file'; path: string }): Promise<OpenAIEditorResult>;
}

/** Options of {@link nullspaceShell}. */
export interface OpenAIShellOptions {
  /** Working directory. @default the machine's */
  cwd?: string | undefined;
  /** Added to the machine's environment. @default `{}` */
  envs?: Record<string, string> | undefined;
}

/**
 * A machine as the shell of an agent. A command without a limit of the model has 120 seconds; after one that takes too long, the
 * rest of the same call does not run.
 *
 * @example new Agent({ name: 'coder', tools: [shellTool({ shell: nullspaceShell(machine) })] })
 */
export function nullspaceShell(machine: Machine, options?: OpenAIShellOptions): OpenAIShell;

/**
 * A machine as the editor of an agent. A patch that does not fit is told to the model.
 *
 * @param options.applyDiff that of `@openai/agents`
 * @example applyPatchTool({ editor: nullspaceEditor(machine, { applyDiff }) })
 */
export function nullspaceEditor(
  machine: Machine,
  options: { applyDiff: (input: string, diff: string, mode?: 'default' | 'create') => string },
): OpenAIEditor;
