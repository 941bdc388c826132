// Must compile with the types of Node and without `lib.dom`: no declaration may need a type that is only there.

import { Machine, Nullspace, Template } from 'nullspace';
import { useEngine } from 'nullspace/testing';
import { after, before } from 'node:test';

export const engine = useEngine({ before, after });

const machine = await Machine.create({ vcpus: 1 });
await machine.files.upload('./src', '/workspace/src');
await machine.files.upload([new File(['x'], 'x.txt')], '/workspace/');
Template.fromTemplate('base')
  .setFileContext('.')
  .copy(['src', new File([], 'x')], '/app');
// @ts-expect-error: not everything is a source
await machine.files.upload(1, '/workspace/');
// @ts-expect-error: not everything is a file context
Template.fromTemplate('base').setFileContext(1);
// @ts-expect-error: a class that connects nowhere
export const client = new Nullspace({ WebSocket: class {} });
