// The public classes that a page can have without others.

import { classes } from './handle.js';

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
  TemplateWarmPool,
  Volume,
} = classes;
