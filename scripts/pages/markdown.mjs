// Markdown that people and site generators read alike.

/** A table. Cells are Markdown; what would end a cell is escaped. */
export const table = (heads, rows) =>
  [heads, heads.map(() => '---'), ...rows]
    .map((cells, index) => (index === 1 ? `|${cells.join('|')}|` : `| ${cells.map(cell).join(' | ')} |`))
    .join('\n');

const cell = (text) => text.replaceAll(/\s*\n\s*/g, ' ').replaceAll(/(?<!\\)\|/g, '\\|');

/** Text in code. */
export const code = (text) => `\`${text}\``;

/** Names in code, with commas. */
export const codes = (names) => names.map(code).join(', ');

/** The comments of Rust, `/// `, as one line of text. */
export const rustComment = (lines) =>
  lines
    .replaceAll(/^\s*\/\/\/ ?/gm, '')
    .trim()
    .replaceAll('\n', ' ');
