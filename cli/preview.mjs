// `nullspace machine url`

import { Machine } from 'nullspace';

import { problem } from './ending.mjs';
import { show, shown } from './output.mjs';
import { given, number } from './values.mjs';

export const url = {
  args: [
    ['<machine>', 'id of the machine'],
    ['<port>', 'port inside the machine', number],
  ],
  options: [
    ['--signed', 'a URL that opens without a key until it expires'],
    ['--expires-in-seconds <n>', 'with --signed: 60 to 86400 (default: 3600)', number],
    ['--wait', 'wait until the port answers'],
    ['--path <path>', 'with --wait: what must answer to a GET'],
    ['--timeout <seconds>', 'with --wait: how long (default: 30)', number],
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
