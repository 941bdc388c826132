// What the command line prints: JSON for programs, tables and lines for people.

let json = false;
/** Everything that is printed is JSON from here on. */
export const useJson = () => {
  json = true;
};
export const isJson = () => json;

const isTerminal = process.stdout.isTTY === true;
const colours = isTerminal && !process.env.NO_COLOR && process.env.TERM !== 'dumb';
const paint = (code) => (text) => (colours ? `\u001b[${code}m${text}\u001b[0m` : text);
const bold = paint(1);
const dim = paint(2);

/** Control characters and those that turn the direction of text: they would move the cursor, or hide what stands there. */
const UNSEEN = /[\p{Cc}\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu;
const escaped = (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;

/** Text of a server or a machine as one line that a terminal can show. */
export const shown = (text) => String(text).replace(UNSEEN, escaped);
/** The same for text of several lines. */
export const shownLines = (text) => String(text).split('\n').map(shown).join('\n');

/** One value: JSON, or what `text` makes of it. */
export const show = (value, text) => {
  if (json) console.log(JSON.stringify(value, null, isTerminal ? 2 : undefined));
  else console.log(text(value));
};

/** What was made, by its id alone. */
export const idAlone = ({ id }) => shown(id);
export const showId = (value) => show(value, idAlone);

const two = (number) => String(number).padStart(2, '0');

/** A time on the clock of this computer. */
export const localTime = (date) =>
  date instanceof Date
    ? `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`
    : '';

/** A length of time in its two largest units: `4m12s`. */
export const duration = (milliseconds) => {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  const [days, hours, minutes] = [
    Math.floor(seconds / 86400),
    Math.floor(seconds / 3600) % 24,
    Math.floor(seconds / 60) % 60,
  ];
  if (days > 0) return `${days}d${hours}h`;
  if (hours > 0) return `${hours}h${two(minutes)}m`;
  return minutes > 0 ? `${minutes}m${two(seconds % 60)}s` : `${seconds}s`;
};

/** Bytes in the unit that fits. */
export const size = (bytes) => {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let [value, unit] = [bytes, 0];
  for (; value >= 1024 && unit < units.length - 1; unit++) value /= 1024;
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
};

/** Names and values of an object of the user: `a=b, c=d`. */
export const entries = (object) =>
  Object.entries(object ?? {})
    .map(([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`)
    .join(', ');

/** Rows under a head, as wide as they have to be. */
const table = (head, rows) => {
  if (rows.length === 0) return dim('none');
  const cells = rows.map((row) => row.map((cell) => shown(cell ?? '')));
  const widths = head.map((name, index) => Math.max(name.length, ...cells.map((row) => row[index].length)));
  const line = (row) =>
    row
      .map((cell, index) => cell.padEnd(widths[index]))
      .join('  ')
      .trimEnd();
  return [bold(line(head)), ...cells.map(line)].join('\n');
};

/** The flag of commands that list things. */
export const QUIET = ['-q, --quiet', 'ids alone'];

/** Many things of one kind: `columns` are pairs of a head and what is shown below it; `quiet` shows ids alone. */
export const showAll = (items, columns, quiet = false) => {
  if (!quiet || json)
    show(items, () =>
      table(
        columns.map(([head]) => head),
        items.map((item) => columns.map(([, cell]) => cell(item))),
      ),
    );
  else for (const { id } of items) console.log(shown(id));
};

/** Names and values, one a line. */
export const fields = (all) => {
  const known = Object.entries(all).filter(([, value]) => value !== undefined && value !== '' && value.length !== 0);
  const width = Math.max(...known.map(([name]) => name.length));
  const text = (value) => {
    if (Array.isArray(value)) return value.map(shown).join(`\n${' '.repeat(width + 2)}`);
    return value instanceof Date ? localTime(value) : shown(value);
  };
  return known.map(([name, value]) => `${bold(name.padEnd(width))}  ${text(value)}`).join('\n');
};

/** Something that happens now: a line, or JSON of one line. */
export const tell = (value, cells) =>
  console.log(json ? JSON.stringify(value) : cells.map((cell) => shown(cell ?? '')).join('  '));

/** Writes bytes or text as they are, and waits while the reader is slower. */
export const written = async (stream, data) => {
  if (stream.write(data) || stream.destroyed) return;
  await new Promise((resolve) => {
    stream.once('drain', resolve).once('close', resolve);
  });
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
