// What the command line prints, and how it ends.

/** Exit codes, as the README lists them. */
export const EXIT = { error: 1, usage: 2, auth: 3, notFound: 4 };

let json = false;
/** Everything that is printed is JSON from here on. */
export const useJson = () => {
  json = true;
};
export const isJson = () => json;

const isTerminal = process.stdout.isTTY === true;
const colours = isTerminal && !process.env.NO_COLOR && process.env.TERM !== 'dumb';
const paint = (code) => (text) => (colours ? `\u001b[${code}m${text}\u001b[0m` : text);
export const bold = paint(1);
export const dim = paint(2);

/** One value: JSON, or what `text` makes of it. */
export const show = (value, text) => {
  if (json) console.log(JSON.stringify(value, null, isTerminal ? 2 : undefined));
  else console.log(text(value));
};

/** Rows under a head, as wide as they have to be. */
export const table = (head, rows) => {
  if (rows.length === 0) return dim('none');
  const widths = head.map((name, index) =>
    Math.max(name.length, ...rows.map((row) => String(row[index] ?? '').length)),
  );
  const line = (cells) =>
    cells
      .map((cell, index) => String(cell ?? '').padEnd(widths[index]))
      .join('  ')
      .trimEnd();
  return [bold(line(head)), ...rows.map(line)].join('\n');
};

/** Names and values, one a line. */
export const fields = (entries) => {
  const known = Object.entries(entries).filter(([, value]) => value !== undefined && value !== '');
  const width = Math.max(...known.map(([name]) => name.length));
  const text = (value) =>
    value instanceof Date ? value.toISOString() : typeof value === 'object' ? JSON.stringify(value) : value;
  return known.map(([name, value]) => `${bold(name.padEnd(width))}  ${text(value)}`).join('\n');
};

/** A line that is written over, for people only. */
export const progress = (label) => {
  if (json || process.stderr.isTTY !== true) return { step() {}, end() {} };
  return {
    step: ({ sentBytes, totalBytes }) =>
      process.stderr.write(`\r${label} ${totalBytes ? Math.floor((100 * sentBytes) / totalBytes) : 100} %`),
    end: () => process.stderr.write('\r\u001b[K'),
  };
};

const codeOf = (error) => {
  if (error.name === 'AuthError' || error.name === 'PermissionDeniedError') return EXIT.auth;
  if (error.name === 'NotFoundError') return EXIT.notFound;
  if (error.name === 'InvalidRequestError') return EXIT.usage;
  return EXIT.error;
};

/** Says what went wrong and ends with its code. */
export const fail = (error) => {
  const { code, message, suggestedAction, status, requestId } = error;
  if (json) console.error(JSON.stringify({ error: { code, message, suggestedAction, status, requestId } }));
  else console.error(`error: ${message}${suggestedAction ? `\n${suggestedAction}` : ''}`);
  process.exitCode = codeOf(error);
};
