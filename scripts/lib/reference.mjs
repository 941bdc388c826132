// The API reference (typedoc, warnings are errors) and the report of the public surface (api-extractor).

import { inRoot } from './project.mjs';

const bin = (name) => inRoot('reference', 'node_modules', '.bin', name);

/**
 * Programs to run in `reference/`. Without `update` the report is compared with spec/nullspace.api.md; with it the file
 * is written.
 */
export const referenceSteps = ({ update = false } = {}) => [
  [bin('typedoc'), '--options', 'typedoc.json'],
  [bin('api-extractor'), 'run', '--config', 'api-extractor.json', ...(update ? ['--local'] : [])],
];
