// The entry with the module inside the JavaScript, for tools that pick another one and cannot serve its file.
export * from './index.js';
