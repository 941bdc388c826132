// The built package under test: pkg/ (`npm run build`), or the folder in NULLSPACE_PKG. The crash tests take the build
// with traps, in NULLSPACE_PKG_TRAPS or target/pkg-traps (`cargo xtask build --features traps --out target/pkg-traps`).

import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const root = fileURLToPath(new URL('../../', import.meta.url));
const folder = (variable, fallback) => pathToFileURL(`${path.resolve(root, process.env[variable] || fallback)}/`);

export const pkg = folder('NULLSPACE_PKG', 'pkg');
export const trapsPkg = folder('NULLSPACE_PKG_TRAPS', 'target/pkg-traps');
/** As Node users import it. */
export const sdk = await import(new URL('node.mjs', pkg));
const [{ decoders: first }, { moreDecoders }] = await Promise.all(
  ['decoders', 'more-decoders'].map((name) => import(new URL(`lib/${name}.js`, pkg))),
);
export const decoders = { ...first, ...moreDecoders };

// Settings of the computer that runs the tests must not leak into them.
for (const name of Object.keys(process.env)) {
  if (/^NULLSPACE_(API_KEY|API_URL|TOKEN|BASE_URL)$|^(https?|all|no)_proxy$/i.test(name)) delete process.env[name];
}
