// What the package exports, in every entry.

import { classes } from './handle.js';

export { Execution } from './code.js';
export * from './error-classes.js';
export { NetworkEgressPolicy, Nullspace } from './lib.js';
export { redactPreviewToken, redactPreviewUrl } from './redact.js';
export {
  defaultBuildLogger,
  waitForFile,
  waitForPort,
  waitForProcess,
  waitForTimeout,
  waitForUrl,
} from './template-probes.js';
export { tunnelEnvs } from './tunnel.js';
export { verifyWebhookSignature } from './webhooks.js';

export const {
  CodeInterpreter,
  Command,
  Commands,
  Files,
  Git,
  KeepAlive,
  Lifecycle,
  Machine,
  MachineLifecycle,
  MachinePage,
  MachineVolumes,
  Monitor,
  Process,
  Pty,
  PtySession,
  Snapshot,
  Template,
  TemplateBuild,
  TemplateWarmPool,
  Volume,
} = classes;
