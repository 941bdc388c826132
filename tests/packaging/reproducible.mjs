// Builds the package twice from clean folders, each with a cargo home of its own, and compares the module's bytes.
// Takes a few minutes, so it is not part of `npm test`:
//
//   node tests/packaging/reproducible.mjs

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));

const build = (name) => {
  const folder = mkdtempSync(path.join(tmpdir(), name));
  try {
    // What git knows, with changes that are not committed yet.
    const sources = path.join(folder, 'sources');
    mkdirSync(sources);
    const files = execFileSync('git', ['ls-files', '-z'], { cwd: root, maxBuffer: 1 << 26 });
    const archive = execFileSync('tar', ['--create', '--null', '--files-from=-'], {
      cwd: root,
      input: files,
      maxBuffer: 1 << 28,
    });
    execFileSync('tar', ['--extract', '--directory', sources], { input: archive });
    symlinkSync(path.join(root, 'node_modules'), path.join(sources, 'node_modules'));
    const env = {
      ...process.env,
      CARGO_HOME: path.join(folder, 'cargo'),
      CARGO_TARGET_DIR: path.join(folder, 'target'),
    };
    execFileSync('cargo', ['xtask', 'build'], { cwd: sources, env, stdio: ['ignore', 'ignore', 'inherit'] });
    return createHash('sha256')
      .update(readFileSync(path.join(sources, 'pkg/nullspace.wasm')))
      .digest('hex');
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
};

const [first, second] = [build('nullspace-first-'), build('nullspace-the-second-')];
console.log(`${first}\n${second}`);
console.log(first === second ? '1 passed, 0 failed' : '0 passed, 1 failed');
process.exit(first === second ? 0 : 1);
