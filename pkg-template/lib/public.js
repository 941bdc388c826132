// What the package exports, in every entry. Nothing else: then bundlers leave out what a page does not import.

export * from './classes.js';
export { Nullspace } from './client.js';
export * from './error-classes.js';
export { Execution } from './execution.js';
export { NetworkEgressPolicy } from './lib.js';
export { redactPreviewToken, redactPreviewUrl } from './redact.js';
export {
  defaultBuildLogger,
  waitForFile,
  waitForPort,
  waitForProcess,
  waitForTimeout,
  waitForUrl,
} from './template-probes.js';
export { Template, TemplateBuild } from './templates.js';
export { tunnelEnvs } from './tunnel.js';
export { verifyWebhookSignature } from './webhooks.js';
