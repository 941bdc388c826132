// The error classes. Which one an error becomes is decided in Rust (`kind`); this table only names them.

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

export class AuthError extends NullspaceError {}
export class PermissionDeniedError extends NullspaceError {}
export class NotFoundError extends NullspaceError {}
export class ConflictError extends NullspaceError {}
export class QuotaExceededError extends NullspaceError {}
export class RateLimitError extends NullspaceError {}
export class WarmPoolUnavailableError extends NullspaceError {}
export class TimeoutError extends NullspaceError {}
export class TransportError extends NullspaceError {}
export class InvalidRequestError extends NullspaceError {}
export class InvalidResponseError extends NullspaceError {}
export class NotImplementedError extends NullspaceError {}
export class BuildError extends NullspaceError {}
export class GitError extends NullspaceError {}
export class BatchWriteError extends NullspaceError {}
export class FileUploadError extends NullspaceError {}
export class UploadLimitError extends FileUploadError {}
export class UploadChecksumError extends FileUploadError {}
export class UploadConflictError extends FileUploadError {}
export class UploadExpiredError extends FileUploadError {}
export class UploadPathError extends FileUploadError {}
export class UploadStateError extends FileUploadError {}

/** By the kinds of the Rust side; a test compares the two. */
export const classes = {
  other: NullspaceError,
  auth: AuthError,
  permission_denied: PermissionDeniedError,
  not_found: NotFoundError,
  conflict: ConflictError,
  quota_exceeded: QuotaExceededError,
  rate_limit: RateLimitError,
  warm_pool_unavailable: WarmPoolUnavailableError,
  timeout: TimeoutError,
  transport: TransportError,
  invalid_request: InvalidRequestError,
  invalid_response: InvalidResponseError,
  not_implemented: NotImplementedError,
  build: BuildError,
  git: GitError,
  batch_write: BatchWriteError,
  file_upload: FileUploadError,
  upload_limit: UploadLimitError,
  upload_checksum: UploadChecksumError,
  upload_conflict: UploadConflictError,
  upload_expired: UploadExpiredError,
  upload_path: UploadPathError,
  upload_state: UploadStateError,
};

// Literals, since minifiers rename classes. On the prototype, so that it shows up in no listing of fields.
const names = {
  NullspaceError,
  AuthError,
  PermissionDeniedError,
  NotFoundError,
  ConflictError,
  QuotaExceededError,
  RateLimitError,
  WarmPoolUnavailableError,
  TimeoutError,
  TransportError,
  InvalidRequestError,
  InvalidResponseError,
  NotImplementedError,
  BuildError,
  GitError,
  BatchWriteError,
  FileUploadError,
  UploadLimitError,
  UploadChecksumError,
  UploadConflictError,
  UploadExpiredError,
  UploadPathError,
  UploadStateError,
};
for (const name of Object.keys(names)) {
  Object.defineProperty(names[name], 'name', { value: name, configurable: true });
  Object.defineProperty(names[name].prototype, 'name', { value: name, configurable: true, writable: true });
}

/** Makes the error that Rust describes. */
export const toError = (fields) => new (classes[fields.kind] ?? NullspaceError)(fields);
