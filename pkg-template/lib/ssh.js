// Access by SSH: with a key of this computer, or with the caller's own.

import { onHandle } from './calls.js';
import { sshIdentity } from './runtime.js';
import { checkSshAnswer } from './ssh-answer.js';

const askSshAccess = onHandle('Machine', 'sshAccess');

export const createSshAccess = async (record, options) => {
  if (options !== undefined && (options === null || typeof options !== 'object')) return askSshAccess(record, options);
  const { identityFile, keyDir, ...asked } = options ?? {};
  // Nothing to do with files: the key is the caller's own, and so is what becomes of the certificate.
  const isPlain = asked.publicKey !== undefined && identityFile === undefined && keyDir === undefined;
  const identity = isPlain ? undefined : await sshIdentity({ publicKey: asked.publicKey, identityFile, keyDir });
  // Without files the options go on as they are: what is wrong with them is said by the check of all options.
  if (!identity) {
    const access = checkSshAnswer(await askSshAccess(record, options));
    return { ...access, command: `ssh -p ${access.port} ${access.user}@${access.host}` };
  }
  const access = checkSshAnswer(await askSshAccess(record, { ...asked, publicKey: identity.publicKey }));
  return { ...access, ...(await identity.keep(record.id, access)) };
};
