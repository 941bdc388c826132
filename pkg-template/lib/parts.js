// Parts of the package that are loaded by the first call that needs them, so that a page that creates machines and runs commands ships
// none of them. Service workers and some edges load nothing later: their entry gives all parts at once, see all-parts.js.

import { NullspaceError } from './nullspace-error.js';

const here = {};

/** Gives parts, by their names. */
export const giveParts = (parts) => Object.assign(here, parts);

/** A part, if it is loaded. */
export const loadedPart = (name) => here[name];

const part = (name, load) => async () => {
  try {
    here[name] ??= await load();
    return here[name];
  } catch (cause) {
    throw new NullspaceError({
      code: 'wasm_unavailable',
      message: `A part of the SDK could not be loaded: ${cause?.message ?? cause}. Service workers load nothing later: import 'nullspace/inline' there.`,
      cause,
    });
  }
};

export const codePart = part('code', () => import('./code.js'));
export const decodersPart = part('decoders', () => import('./more-decoders.js'));
export const directoryPart = part('directory', () => import('./directory.js'));
export const namesPart = part('names', () => import('./by-name.js'));
export const pipesPart = part('pipes', () => import('./pipes.js'));
export const socketPart = part('socket', () => import('./socket.js'));
export const sshPart = part('ssh', () => import('./ssh.js'));
export const templateBuildPart = part('templateBuild', () => import('./template-build.js'));
export const templateContextPart = part('templateContext', () => import('./template-context.js'));
export const uploadPart = part('upload', () => import('./upload.js'));
