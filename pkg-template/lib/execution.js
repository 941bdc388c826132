// What a cell of the code interpreter did.

const sizeOf = (base64) => {
  const text = base64.trim().replace(/=+$/, '');
  const bytes = Math.floor((text.length * 3) / 4);
  if (bytes >= 1 << 20) return `${(bytes / (1 << 20)).toFixed(1)}MB`;
  return bytes >= 1024 ? `${Math.max(1, Math.round(bytes / 1024))}KB` : `${bytes}B`;
};

/** All that a cell did. */
export class Execution {
  results = [];
  artifacts = [];
  logs = { stdout: [], stderr: [] };
  error = undefined;
  executionCount = undefined;
  truncated = undefined;

  constructor(from) {
    Object.assign(this, from);
  }

  /** The value of the last line, as text. */
  get text() {
    return this.results.find((result) => result.isMainResult)?.text;
  }

  /** For logs: pictures are told by their size. */
  serialize() {
    const shown = ({ png, jpeg, ...rest }) => ({
      ...rest,
      ...(png ? { png: `[image/png: ${sizeOf(png)}]` } : {}),
      ...(jpeg ? { jpeg: `[image/jpeg: ${sizeOf(jpeg)}]` } : {}),
    });
    const { results, artifacts, logs, error, executionCount, truncated } = this;
    return { results: results.map(shown), artifacts, logs, error, executionCount, ...(truncated ? { truncated } : {}) };
  }
}
Object.defineProperty(Execution, 'name', { value: 'Execution', configurable: true });
