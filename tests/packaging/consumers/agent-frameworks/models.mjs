// Stand-ins for models: each says what a model would, a command and then that it is done.

import { BaseChatModel } from '@langchain/core/language_models/chat_models';
import { AIMessage } from '@langchain/core/messages';
import { Usage } from '@openai/agents';
import { MockLanguageModelV4 } from 'ai/test';

const usage = { inputTokens: { total: 1 }, outputTokens: { total: 1 } };

/** A model of the AI SDK that calls one tool. */
export const aiSdkModel = (toolName, input) => {
  const says = (content, unified) => ({ content, usage, warnings: [], finishReason: { unified, raw: unified } });
  const turns = [
    says([{ type: 'tool-call', toolCallId: '1', toolName, input: JSON.stringify(input) }], 'tool-calls'),
    says([{ type: 'text', text: 'done' }], 'stop'),
  ];
  const next = () => turns.shift();
  return new MockLanguageModelV4({
    doGenerate: async () => next(),
    doStream: async () => {
      const { content, finishReason } = next();
      const parts = content.flatMap((part) =>
        part.type === 'text'
          ? [
              { type: 'text-start', id: 't' },
              { type: 'text-delta', id: 't', delta: part.text },
              { type: 'text-end', id: 't' },
            ]
          : [part],
      );
      const all = [{ type: 'stream-start', warnings: [] }, ...parts, { type: 'finish', finishReason, usage }];
      return { stream: ReadableStream.from(all) };
    },
  });
};

/** A chat model of LangChain that calls one tool. */
export const langChainModel = (name, args) =>
  new (class extends BaseChatModel {
    turns = [
      new AIMessage({ content: '', tool_calls: [{ id: '1', type: 'tool_call', name, args }] }),
      new AIMessage('done'),
    ];
    _llmType() {
      return 'stand-in';
    }
    bindTools() {
      return this;
    }
    async _generate() {
      const message = this.turns.shift();
      return { generations: [{ message, text: message.text }] };
    }
  })({});

/** A model of OpenAI Agents that runs one command. */
export const openAiModel = (command) => {
  const turns = [
    [{ type: 'shell_call', callId: '1', status: 'completed', action: { commands: [command] } }],
    [{ type: 'message', role: 'assistant', status: 'completed', content: [{ type: 'output_text', text: 'done' }] }],
  ];
  return {
    async getResponse() {
      return { output: turns.shift(), usage: new Usage() };
    },
    async *getStreamedResponse() {},
  };
};

/** A harness: its set-up makes a file, and its sessions note where they work. */
export const standInHarness = () => ({
  specificationVersion: 'harness-v1',
  harnessId: 'stand-in',
  builtinTools: {},
  getBootstrap: async () => ({
    harnessId: 'stand-in',
    bootstrapDir: 'bootstrap',
    files: [{ path: 'bootstrap/tool.sh', content: 'echo "installed $(date +%N)"' }],
    commands: [{ command: 'sh tool.sh > installed' }],
  }),
  started: [],
  async doStart({ sessionId, sandboxSession, sessionWorkDir }) {
    const installed = await sandboxSession.readTextFile({ path: '/workspace/bootstrap/installed' });
    const { stdout } = await sandboxSession.run({ command: 'pwd', workingDirectory: sessionWorkDir });
    this.started.push({ installed, directory: stdout.trim(), id: sandboxSession.id, ports: sandboxSession.ports });
    return {
      sessionId,
      isResume: false,
      doStop: async () => undefined,
      doDestroy: async () => {},
      doDetach: async () => undefined,
    };
  },
});
