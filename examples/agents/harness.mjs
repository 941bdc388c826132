// AI SDK harnesses: a coding agent such as Claude Code that lives in a machine. What its set-up installs is kept as a snapshot, and a
// session is found again by its id, from any process.

import { HarnessAgent } from '@ai-sdk/harness/agent';
import { Machine, Snapshot } from 'nullspace';
import { nullspaceSandbox } from 'nullspace/ai-sdk';

/** @param harness such as that of `@ai-sdk/harness-claude-code` */
export const agentOf = (harness) =>
  new HarnessAgent({
    harness,
    sandbox: nullspaceSandbox({ Machine, Snapshot }, { memoryMb: 512, timeout: 3600, ports: [4000] }),
  });

export const startSession = (harness, sessionId) => agentOf(harness).createSession({ sessionId });
