// The error classes by their kinds, which Rust decides.

import { kinds } from './error-names.js';
import { NullspaceError } from './nullspace-error.js';

export * from './error-classes.js';

export const classes = {};
// On the prototype, so that it shows up in no listing of fields.
for (const [kind, name, type] of kinds) {
  classes[kind] = type;
  Object.defineProperty(type, 'name', { value: name, configurable: true });
  Object.defineProperty(type.prototype, 'name', { value: name, configurable: true, writable: true });
}

/** Makes the error that Rust describes. */
export const toError = (fields) => new (classes[fields.kind] ?? NullspaceError)(fields);
