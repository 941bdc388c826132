// What a caller gives, as one text that Rust reads (src/wasm/convert.rs): each question about a value would leave the module.

/** Deeper trees are cut: nobody nests options so far, and a cycle would never end. */
const MAX_DEPTH = 64;

/**
 * A value as text: `n` null, `t` and `f`, `i12;` and `d1.5;` numbers, `s3:abc` text after its length in UTF-16 units, `[2;` and that many
 * values, `{2;` and that many names (without `s`) and values. `undefined` properties are absent. What has no place in a tree
 * (functions, `Date`, `Map`, class instances) is `o` and what it is: Rust judges it. Throws what a getter throws.
 */
export const told = (value, depth = 0) => {
  if (typeof value === 'string') return `s${sized(value)}`;
  if (typeof value === 'number') return Number.isSafeInteger(value) ? `i${value};` : `d${value};`;
  if (typeof value === 'boolean') return value ? 't' : 'f';
  if (value === null) return 'n';
  if (typeof value !== 'object') return opaque(value === undefined ? 'undefined' : `a ${typeof value}`);
  if (depth === MAX_DEPTH) return opaque(`nested deeper than ${MAX_DEPTH} levels`);
  if (Array.isArray(value)) {
    let items = '';
    let count = 0;
    for (; count < value.length; count++) items += told(value[count], depth + 1);
    return `[${count};${items}`;
  }
  if (isPlain(value)) {
    let fields = '';
    let count = 0;
    for (const name of Object.keys(value)) {
      const inner = value[name];
      if (inner === undefined) continue;
      fields += sized(name) + told(inner, depth + 1);
      count += 1;
    }
    return `{${count};${fields}`;
  }
  // A handle of this package stands for its id: `warmPool: pool`.
  if ('__wbg_ptr' in value && typeof value.id === 'string') return `{1;${sized('id')}${told(value.id)}`;
  const name = value.constructor?.name;
  return opaque(typeof name === 'string' && name !== '' ? `a ${name}` : 'an object of a class');
};

const opaque = (what) => `o${sized(what)}`;

const sized = (text) => `${text.length}:${text}`;

/**
 * Whether an object was written as `{...}` or has no prototype. Object.prototype is known by having none itself, so objects of other
 * realms are plain as well.
 */
const isPlain = (value) => {
  const prototype = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
};
