// What is made of the declarations and of docs/: the site (typedoc, where warnings are errors, and VitePress) and the report of the
// public surface (api-extractor).

import { inRoot } from './project.mjs';
import { siteSource } from './site.mjs';

const bin = (name) => inRoot('reference', 'node_modules', '.bin', name);

/**
 * Programs to run in `reference/`, in order. Without `update` the report is compared with spec/nullspace.api.md; with it the file
 * is written.
 */
export const referenceSteps = ({ update = false } = {}) => {
  siteSource();
  return [
    [bin('api-extractor'), 'run', '--config', 'api-extractor.json', ...(update ? ['--local'] : [])],
    [bin('typedoc'), '--options', 'typedoc.json'],
    [bin('vitepress'), 'build'],
  ];
};
