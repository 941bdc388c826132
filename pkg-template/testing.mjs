// One instance for import and require().
export { startEngine, useEngine } from './testing.cjs';
