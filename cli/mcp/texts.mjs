// Text for a model: not more than it can use, and bytes only where they are text.

/** Both ends of a text that is longer than `most` characters. The middle is named, not shown. */
export const shortened = (text, most) => {
  if (text.length <= most) return { text, left_out: 0 };
  const half = Math.floor(most / 2);
  const left_out = text.length - 2 * half;
  return { text: `${text.slice(0, half)}\n[${left_out} characters are left out]\n${text.slice(-half)}`, left_out };
};

/** Bytes as text where they are UTF-8, else as base64. */
export const readable = (bytes) => {
  try {
    return { encoding: 'utf-8', content: new TextDecoder('utf-8', { fatal: true }).decode(bytes) };
  } catch {
    return { encoding: 'base64', content: Buffer.from(bytes).toString('base64') };
  }
};

/** The first bytes of a stream, up to `most`, and whether there are more. */
export const head = async (stream, most) => {
  const parts = [];
  let length = 0;
  for await (const part of stream) {
    parts.push(part);
    length += part.length;
    if (length > most) break;
  }
  const bytes = Buffer.concat(parts);
  return { bytes: bytes.subarray(0, most), isCut: bytes.length > most };
};
