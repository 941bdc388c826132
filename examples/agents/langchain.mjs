// LangChain deepagents: an agent whose files and commands are those of a machine.

import { BaseSandbox, createDeepAgent } from 'deepagents';
import { Machine } from 'nullspace';
import { nullspaceBackend } from 'nullspace/langchain';

/** @param model a chat model of LangChain, such as `new ChatOpenAI({ model: 'gpt-5' })` */
export const work = async (model, prompt) => {
  const machine = await Machine.create({ memoryMb: 512 });
  try {
    const agent = createDeepAgent({ model, backend: nullspaceBackend(BaseSandbox, machine) });
    const { messages } = await agent.invoke({ messages: [{ role: 'user', content: prompt }] });
    return messages;
  } finally {
    await machine.kill();
  }
};
