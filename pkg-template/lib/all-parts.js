// All parts of parts.js, for entries that cannot load them later.

import * as names from './by-name.js';
import * as code from './code.js';
import * as directory from './directory.js';
import * as decoders from './more-decoders.js';
import { giveParts } from './parts.js';
import * as pipes from './pipes.js';
import * as socket from './socket.js';
import * as ssh from './ssh.js';
import * as templateBuild from './template-build.js';
import * as templateContext from './template-context.js';
import * as upload from './upload.js';

/** A function, because bundlers drop imports that only do something. */
export const giveAllParts = () =>
  giveParts({
    code,
    decoders,
    directory,
    names,
    pipes,
    socket,
    ssh,
    templateBuild,
    templateContext,
    upload,
  });
