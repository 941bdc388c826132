import { readFileSync } from 'node:fs';

/** That of the package: the command line is bundled into one file beside its package.json. */
export const version = () => JSON.parse(readFileSync(new URL('./package.json', import.meta.url), 'utf8')).version;
