// The error classes by their kinds, which Rust decides.

import { named } from './error-names.js';
import { NullspaceError } from './nullspace-error.js';

export * from './error-classes.js';

/** What Rust calls the kind of a class: `rate_limit` of `RateLimitError`. */
const kindOf = (name) =>
  name
    .slice(0, -'Error'.length)
    .replaceAll(/\B[A-Z]/g, '_$&')
    .toLowerCase();

export const classes = { other: NullspaceError };
// On the prototype, so that it shows up in no listing of fields.
for (const [name, type] of Object.entries(named)) {
  if (type !== NullspaceError) classes[kindOf(name)] = type;
  Object.defineProperty(type, 'name', { value: name, configurable: true });
  Object.defineProperty(type.prototype, 'name', { value: name, configurable: true, writable: true });
}

/** Makes the error that Rust describes. */
export const toError = (fields) => new (classes[fields.kind] ?? NullspaceError)(fields);
