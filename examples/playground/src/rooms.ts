// What brings an editor or a terminal along: loaded when a machine is first opened. The first screen needs neither.

export { Files } from './files';
export { Notebook } from './notebook';
export { Terminal } from './terminal';
