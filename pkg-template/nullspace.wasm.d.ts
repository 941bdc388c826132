/** The module that the package loads by itself; for tools that want to place or cache the file. */
declare const module: WebAssembly.Module;
export default module;
