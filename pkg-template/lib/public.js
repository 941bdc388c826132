// What the package exports, in every entry.

export {
  AuthError,
  BatchWriteError,
  BuildError,
  ConflictError,
  FileUploadError,
  GitError,
  InvalidRequestError,
  InvalidResponseError,
  NotFoundError,
  NotImplementedError,
  NullspaceError,
  PermissionDeniedError,
  QuotaExceededError,
  RateLimitError,
  TimeoutError,
  TransportError,
  UploadChecksumError,
  UploadConflictError,
  UploadExpiredError,
  UploadLimitError,
  UploadPathError,
  UploadStateError,
  WarmPoolUnavailableError,
} from './errors.js';
export { Commands, Machine, MachinePage, NetworkEgressPolicy, Nullspace, TemplateWarmPool } from './lib.js';
