// The error classes by their kinds, which Rust decides.

import * as named from './error-classes.js';

export * from './error-classes.js';

const { NullspaceError } = named;

/** What Rust calls the kind of a class: `rate_limit` of `RateLimitError`. */
const kindOf = (name) =>
  name
    .slice(0, -'Error'.length)
    .replaceAll(/\B[A-Z]/g, '_$&')
    .toLowerCase();

export const classes = { other: NullspaceError };
// Names of exports stay, while minifiers rename classes. On the prototype, so that it shows up in no listing of fields.
for (const [name, type] of Object.entries(named)) {
  if (type !== NullspaceError) classes[kindOf(name)] = type;
  Object.defineProperty(type, 'name', { value: name, configurable: true });
  Object.defineProperty(type.prototype, 'name', { value: name, configurable: true, writable: true });
}

/** Makes the error that Rust describes. */
export const toError = (fields) => new (classes[fields.kind] ?? NullspaceError)(fields);
