// The adapters have the frameworks' own types.

import { applyDiff, applyPatchTool, type Editor, type Shell, shellTool } from '@openai/agents';
import { type Experimental_SandboxSession, generateText, jsonSchema, type LanguageModel, stepCountIs, tool } from 'ai';
import type { HarnessV1SandboxProvider } from '@ai-sdk/harness';
import {
  MastraSandbox,
  ProcessHandle,
  SandboxProcessManager,
  Workspace,
  type WorkspaceSandbox,
} from '@mastra/core/workspace';
import { trace } from '@opentelemetry/api';
import { createBashTool, type Sandbox } from 'bash-tool';
import { BaseSandbox, createDeepAgent } from 'deepagents';
import { Machine, Nullspace, Snapshot } from 'nullspace';
import { nullspaceSandbox, nullspaceSession, nullspaceTools } from 'nullspace/ai-sdk';
import { bashToolSandbox } from 'nullspace/bash-tool';
import { nullspaceBackend } from 'nullspace/langchain';
import { nullspaceSandbox as mastraSandbox } from 'nullspace/mastra';
import { nullspaceEditor, nullspaceShell } from 'nullspace/openai';

export const aiSdk = (machine: Machine, model: LanguageModel) => {
  const experimental_sandbox: Experimental_SandboxSession = nullspaceSession(machine);
  const tools = nullspaceTools({ tool, jsonSchema }, machine);
  return generateText({ model, prompt: 'List the files.', tools, stopWhen: stepCountIs(3), experimental_sandbox });
};

export const bashTool = (machine: Machine) => {
  const sandbox: Sandbox = bashToolSandbox(machine);
  return createBashTool({ sandbox, destination: '/workspace' });
};

export const deepAgent = (machine: Machine) => createDeepAgent({ backend: nullspaceBackend(BaseSandbox, machine) });

export const openAi = (machine: Machine) => {
  const shell: Shell = nullspaceShell(machine);
  const editor: Editor = nullspaceEditor(machine, { applyDiff });
  return [shellTool({ shell }), applyPatchTool({ editor })];
};

export const harness = (): HarnessV1SandboxProvider =>
  nullspaceSandbox({ Machine, Snapshot }, { memoryMb: 512, ports: [4000] });

export const mastra = () => {
  const base = { MastraSandbox, SandboxProcessManager, ProcessHandle };
  const sandbox: WorkspaceSandbox = mastraSandbox(base, { Machine, Snapshot }, { id: 'project', onStart: () => {} });
  return new Workspace({ sandbox });
};

export const traced = () => nullspaceSandbox(new Nullspace({ tracer: trace.getTracer('types') }));
