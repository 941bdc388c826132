// OpenAI Agents: an agent with a shell and an editor in a machine.

import { Agent, applyDiff, applyPatchTool, run, shellTool } from '@openai/agents';
import { Machine } from 'nullspace';
import { nullspaceEditor, nullspaceShell } from 'nullspace/openai';

/** @param model a model of OpenAI, such as `'gpt-5'` */
export const work = async (model, prompt) => {
  const machine = await Machine.create({ memoryMb: 512 });
  try {
    const agent = new Agent({
      name: 'coder',
      model,
      instructions: 'You work in an isolated Linux machine.',
      tools: [
        shellTool({ shell: nullspaceShell(machine) }),
        applyPatchTool({ editor: nullspaceEditor(machine, { applyDiff }) }),
      ],
    });
    return await run(agent, prompt);
  } finally {
    await machine.kill();
  }
};
