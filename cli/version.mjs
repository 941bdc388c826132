import { readFileSync } from 'node:fs';

/** That of the package, into whose folder the command line is bundled. */
export const version = () => JSON.parse(readFileSync(new URL('./package.json', import.meta.url), 'utf8')).version;
