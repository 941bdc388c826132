// The classes of templates and their builds. What begins a builder and its steps answer at once, and are here; what takes requests is
// loaded with the first of them: template-build.js.

import { addStatic, onHandle, statics, takeStatics } from './calls.js';
import { NotFoundError } from './errors.js';
import { classes, define, recordOf } from './handle.js';
import { templateBuildPart } from './parts.js';
import { authOf, BEGINNINGS, definitionOf, secretsOf, stateOf, withoutSecrets } from './template.js';
import { optionsOf } from './checks.js';

/** Requests that only this package makes. */
const hidden = takeStatics('Template', ['bodyOf', 'startBuild', 'askValidate', 'askPlan', 'preflight', 'sendBlob']);
const getTemplate = statics.get('Template').get('get');
const createPool = statics.get('TemplateWarmPool').get('create');
const ofBuild = Object.fromEntries(
  ['status', 'openLogs', 'cancel', 'askRetry', 'promote'].map((key) => [key, onHandle('TemplateBuild', key)]),
);

/** template-build.js, with what it needs of here. */
const building = async () => {
  const part = await templateBuildPart();
  part.give({ authOf, definitionOf, secretsOf, stateOf, withoutSecrets, hidden, getTemplate, ofBuild });
  return part;
};

let areAdded = false;
/** Hangs them on their classes, once. A function, because bundlers drop imports that only do something. */
export const addTemplates = () => {
  if (areAdded) return;
  areAdded = true;
  for (const [key, begin] of Object.entries(BEGINNINGS)) addStatic('Template', key, (args) => begin(...args));

  for (const key of ['build', 'buildInBackground', 'validate', 'plan', 'inspectBuildContext'])
    addStatic('Template', key, async (args, client) => (await building())[key](args, client));

  addStatic('Template', 'exists', async ([ref, options], client) => {
    try {
      await getTemplate([ref, options], client);
      return true;
    } catch (error) {
      if (error instanceof NotFoundError) return false;
      throw error;
    }
  });

  addStatic('Template', 'createWarmPool', (args, client) => createPool(args, client));

  const { prototype } = classes.TemplateBuild;

  define(prototype, 'logs', function (options) {
    const record = recordOf(this, 'TemplateBuild');
    const given = optionsOf(options, ['offset', 'follow', 'signal', 'requestTimeout']);
    return (async function* () {
      const { entriesOf } = await building();
      yield* entriesOf(record, given);
    })();
  });

  for (const key of ['wait', 'retry'])
    define(prototype, key, async function (options) {
      const record = recordOf(this, 'TemplateBuild');
      return (await building())[key](record, options);
    });
};

addTemplates();

export const { Template, TemplateBuild } = classes;
