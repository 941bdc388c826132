// One instance for import and require().
import all from './testing-setup.cjs';

export const { globalSetup, globalTeardown } = all;
export default all.default;
