// The base class of errors. The others, a line each, are made of the kinds of src/core/error.rs when the package is built.

/** Base of everything that the SDK throws by itself. */
export class NullspaceError extends Error {
  /** @param fields what Rust knows: kind, code, message, status, requestId, retryable, ... */
  constructor(fields) {
    const { message, cause, kind, ...rest } = typeof fields === 'string' ? { message: fields } : fields;
    super(message, cause === undefined ? undefined : { cause });
    for (const name of Object.keys(rest)) if (rest[name] !== undefined) this[name] = rest[name];
    this.code ??= 'unknown';
  }

  /** Error objects have no enumerable message: logs that stringify would lose the main thing. */
  toJSON() {
    return { name: this.name, message: this.message, ...this };
  }
}
