// Streams that the package gives, where a project has both `lib.dom` and the types of Node.

import { createReadStream } from 'node:fs';
import { Readable } from 'node:stream';
import { TransformStream as NodeTransformStream } from 'node:stream/web';

import type { ByteStream, Command, Machine, Volume } from 'nullspace';

declare const machine: Machine;
declare const volume: Volume;
declare const command: Command;

const stream: ByteStream = await machine.files.read('/workspace/big', { format: 'stream' });
for (const given of [stream, command.stdout, command.stderr, await volume.files.archive('/')]) Readable.fromWeb(given);
await machine.files.write('/workspace/copy', stream);
await machine.files.write('/workspace/copy', Readable.toWeb(createReadStream('a')));

const plain: ReadableStream<Uint8Array> = stream;
await plain.pipeTo(new WritableStream<Uint8Array>());
new Response(stream);
for await (const bytes of stream) bytes satisfies Uint8Array;
for await (const bytes of stream.values({ preventCancel: true })) bytes satisfies Uint8Array;
(await stream.getReader().read()).value satisfies Uint8Array | undefined;
// @ts-expect-error: bytes, not text
(await stream.getReader().read()).value satisfies string | undefined;

const text = stream.pipeThrough(new TextDecoderStream());
(await text.getReader().read()).value satisfies string | undefined;
for (const half of stream.pipeThrough(new CompressionStream('gzip')).tee()) Readable.fromWeb(half);
stream.pipeThrough(new NodeTransformStream<Uint8Array, number>());
