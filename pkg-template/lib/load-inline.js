import text, { size } from './inline-data.js';

/** Unpacks and compiles the module that is carried as text. */
export default async () => {
  const packed = atob(text);
  const bytes = new Uint8Array(packed.length);
  // A loop: Uint8Array.from with a function is three times slower.
  for (let index = 0; index < packed.length; index++) bytes[index] = packed.charCodeAt(index);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate-raw'));
  const module = await new Response(stream).arrayBuffer();
  if (module.byteLength !== size)
    throw new Error(`the module is damaged: ${module.byteLength} bytes instead of ${size}`);
  return WebAssembly.compile(module);
};
