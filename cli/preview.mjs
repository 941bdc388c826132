// `nullspace machine url`

import { Machine } from 'nullspace';

import { problem } from './ending.mjs';
import { flag } from './options.mjs';
import { SignedPreviewUrlOptions, WaitForPreviewOptions } from './options.json';
import { show, shown } from './output.mjs';
import { given, number } from './values.mjs';

export const url = {
  args: [
    ['<machine>', 'id of the machine'],
    ['<port>', 'port inside the machine', number],
  ],
  options: [
    ['--signed', 'a URL that opens without a key until it expires'],
    flag(SignedPreviewUrlOptions, '--expires-in-seconds <n>', { when: 'with --signed' }),
    ['--wait', 'wait until the port answers'],
    flag(WaitForPreviewOptions, '--path <path>', { about: 'with --wait: what must answer to a GET' }),
    flag(WaitForPreviewOptions, '--timeout <seconds>', { when: 'with --wait' }),
  ],
  async run(id, port, { signed, expiresInSeconds, wait, path, timeout }) {
    const machine = await Machine.connect(id);
    if (wait) {
      const found = await machine.waitForPreview(port, given({ path, timeout }));
      if (!found.ready)
        throw problem(`port ${port} does not answer: ${found.error ?? found.code ?? 'nothing listens there'}`, {
          code: found.code ?? 'preview_not_ready',
          suggestedAction: found.suggestedAction,
        });
    }
    const address = signed
      ? (await machine.createSignedPreviewUrl(port, given({ expiresInSeconds }))).url
      : await machine.getUrl(port);
    show({ url: address }, () => shown(address));
  },
};
