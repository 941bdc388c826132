// Node, Deno and Bun: the file beside this one, else (bundled away from it) the module inside the JavaScript.
// esbuild makes node.cjs of this. `process` is named here only: Next's edge sandbox throws on some of it.

import * as debug from './lib/debug.js';
import { install } from './lib/lib.js';
import * as decoders from './lib/more-decoders.js';
import { downloads } from './lib/node-download.js';
import { exchange } from './lib/node-http.js';
import { contextPath, hasher, openPath } from './lib/node-path.js';
import { sshIdentity } from './lib/node-ssh.js';
import { giveParts } from './lib/parts.js';
import { setPlatform } from './lib/runtime.js';

const builtin = (name) => process.getBuiltinModule(name);

// node-http.js decodes an answer when its last byte is there.
giveParts({ decoders });
setPlatform({
  exchange,
  debug,
  openPath,
  contextPath,
  hasher,
  downloads,
  sshIdentity,
  // Node 20 has no WebSocket, and the one of later versions sends no headers. Deno and Bun have a good one.
  webSocket: globalThis.Deno || process.versions.bun ? undefined : () => require('ws'),
  env: (name) => process.env[name],
  home: () => builtin('node:os').homedir(),
  readText(path) {
    try {
      return builtin('node:fs').readFileSync(path, 'utf8');
    } catch {
      return undefined;
    }
  },
});

install(() => {
  let bytes;
  try {
    bytes = builtin('node:fs').readFileSync(`${__dirname}/nullspace.wasm`);
  } catch {
    const { default: text } = require('./lib/inline-data.cjs');
    bytes = builtin('node:zlib').inflateRawSync(Buffer.from(text, 'base64'));
  }
  return new WebAssembly.Module(bytes);
});

export * from './lib/public.js';
