// Words of a shell: for the package and its command line.

/** One word, in quotes where it needs them. */
export const quoted = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`);
