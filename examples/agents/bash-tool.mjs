// bash-tool: its tools, in a machine.

import { createBashTool } from 'bash-tool';
import { Machine } from 'nullspace';
import { bashToolSandbox } from 'nullspace/bash-tool';

/** Runs `use(tools)` with tools for `generateText` of the AI SDK. */
export const withTools = async (use) => {
  const machine = await Machine.create({ memoryMb: 512 });
  try {
    const { tools } = await createBashTool({ sandbox: bashToolSandbox(machine), destination: '/workspace' });
    return await use(tools);
  } finally {
    await machine.kill();
  }
};
