// AI SDK 7: a model whose tools work in a machine, which is also the sandbox of the call.

import { generateText, jsonSchema, stepCountIs, tool } from 'ai';
import { Machine } from 'nullspace';
import { nullspaceSession, nullspaceTools } from 'nullspace/ai-sdk';

/** @param model a model of the AI SDK, such as `openai('gpt-5')` */
export const work = async (model, prompt) => {
  const machine = await Machine.create({ memoryMb: 512 });
  try {
    return await generateText({
      model,
      prompt,
      tools: nullspaceTools({ tool, jsonSchema }, machine),
      experimental_sandbox: nullspaceSession(machine),
      stopWhen: stepCountIs(10),
    });
  } finally {
    await machine.kill();
  }
};
