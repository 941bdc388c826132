// Mastra: an agent with a workspace whose sandbox is a machine. The machine is made with the first command.

import { Agent } from '@mastra/core/agent';
import { MastraSandbox, ProcessHandle, SandboxProcessManager, Workspace } from '@mastra/core/workspace';
import { Machine, Snapshot } from 'nullspace';
import { nullspaceSandbox } from 'nullspace/mastra';

/** @param model a model of Mastra, such as `'openai/gpt-5'` */
export const work = async (model, prompt, project) => {
  const sandbox = nullspaceSandbox(
    { MastraSandbox, SandboxProcessManager, ProcessHandle },
    { Machine, Snapshot },
    { id: project, memoryMb: 512 },
  );
  const workspace = new Workspace({ sandbox });
  const instructions = 'You work in the sandbox.';
  const agent = new Agent({ id: 'coder', name: 'coder', instructions, model, workspace });
  try {
    return await agent.generate(prompt);
  } finally {
    await workspace.destroy();
  }
};
