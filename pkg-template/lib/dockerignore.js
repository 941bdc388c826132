// Patterns of `.dockerignore`: https://docs.docker.com/build/concepts/context/#dockerignore-files, which are those of Go's
// filepath.Match and `**`. They differ from those of .gitignore (ignore.js): each is anchored at the root, case counts, the last that
// fits decides, and `!` also brings back what is in a directory that is left out. Time grows with the length of pattern times path,
// whatever the pattern: regular expressions would not promise that.

import { InvalidRequestError } from './errors.js';

/** Any characters of one name. */
const STAR = Symbol('*');
/** Any characters, slashes too. */
const ALL = Symbol('**');
/** Any number of directories. */
const DIRECTORIES = Symbol('**/');

const malformed = (line) => {
  throw new InvalidRequestError({
    code: 'invalid_request',
    message: `the pattern '${line}' of .dockerignore is malformed: write \\[ or \\! for the characters themselves`,
  });
};

/** As Go's filepath.Clean. */
const clean = (path) => {
  const isRooted = path.startsWith('/');
  const names = [];
  for (const name of path.split('/')) {
    if (name === '' || name === '.') continue;
    if (name !== '..') names.push(name);
    else if (names.length > 0 && names.at(-1) !== '..') names.pop();
    else if (!isRooted) names.push(name);
  }
  return (isRooted ? '/' : '') + names.join('/') || '.';
};

/** Reads `[...]`, whose bracket stands at `at`: a test of one character and where the rest begins. */
const characterClass = (pattern, at, line) => {
  let index = at + 1;
  const isNegated = pattern[index] === '^';
  if (isNegated) index += 1;
  const ranges = [];
  const literal = () => {
    if (['-', ']', undefined].includes(pattern[index])) malformed(line);
    if (pattern[index] === '\\') index += 1;
    return (pattern[index++] ?? malformed(line)).codePointAt(0);
  };
  while (pattern[index] !== ']' || ranges.length === 0) {
    const low = literal();
    let high = low;
    if (pattern[index] === '-') {
      index += 1;
      high = literal();
    }
    ranges.push([low, high]);
  }
  const test = (character) => {
    const code = character.codePointAt(0);
    return ranges.some(([low, high]) => code >= low && code <= high) !== isNegated;
  };
  return [test, index + 1];
};

/** What a path must look like, character by character. */
const tokensOf = (text, line) => {
  const pattern = [...text];
  const tokens = [];
  for (let index = 0; index < pattern.length; ) {
    const character = pattern[index];
    if (character === '*' && pattern[index + 1] === '*') {
      index += 2;
      const isSlashed = pattern[index] === '/';
      if (isSlashed) index += 1;
      const rest = pattern.slice(index);
      // `**name` at the beginning is the end of any path there, unless more of it is a pattern: so Docker has it.
      const isEnd = tokens.length === 0 && !isSlashed && !rest.some((one) => '*?[]\\'.includes(one));
      tokens.push(rest.length === 0 || isEnd ? ALL : DIRECTORIES);
    } else if (character === '*') {
      tokens.push(STAR);
      index += 1;
    } else if (character === '?') {
      tokens.push((one) => one !== '/');
      index += 1;
    } else if (character === '[') {
      const [test, next] = characterClass(pattern, index, line);
      tokens.push(test);
      index = next;
    } else {
      if (character === '\\') index += 1;
      const wanted = pattern[index] ?? malformed(line);
      tokens.push((one) => one === wanted);
      index += 1;
    }
  }
  return tokens;
};

/** Whether a path fits: all places of the tokens that it can have come to are followed at once. */
const fits = (tokens, path) => {
  let places = new Set();
  // A star may stand for nothing.
  const reach = (into, place) => {
    into.add(place);
    if (typeof tokens[place] === 'symbol') reach(into, place + 1);
  };
  reach(places, 0);
  for (const character of path) {
    const next = new Set();
    for (const place of places) {
      const token = tokens[place];
      if (token === ALL || (token === STAR && character !== '/')) reach(next, place);
      else if (token === DIRECTORIES) {
        // Only a slash ends it.
        next.add(place + 0.5);
        if (character === '/') reach(next, place + 1);
      } else if (place % 1 !== 0) {
        next.add(place);
        if (character === '/') reach(next, place + 0.5);
      } else if (typeof token === 'function' && token(character)) reach(next, place + 1);
    }
    if (next.size === 0) return false;
    places = next;
  }
  return places.has(tokens.length);
};

const ruleOf = (line) => {
  if (line.startsWith('#')) return undefined;
  let text = line.trim();
  if (text === '') return undefined;
  const isKept = text.startsWith('!');
  if (isKept) text = text.slice(1).trim();
  if (text === '') malformed(line);
  text = clean(text);
  if (isKept && text === '/') malformed(line);
  if (text.length > 1 && text.startsWith('/')) text = text.slice(1);
  if (!/[*?[\]\\]/.test(text)) return { isKept, stem: text, isPlain: true, test: (path) => path === text };
  const tokens = tokensOf(text, line);
  return { isKept, stem: /^[^*?[\\]*/.exec(text)[0], isPlain: false, test: (path) => fits(tokens, path) };
};

/** Rules of lines: the last that fits a path, or a directory above it, decides. */
export default (lines) => {
  const rules = lines.map((line) => ruleOf(line.replace(/^\uFEFF/, ''))).filter((rule) => rule !== undefined);
  const exceptions = rules.filter(({ isKept }) => isKept);
  /** Which rules fit a directory or one above it. */
  const known = new Map();
  const fitting = (path) => {
    const slash = path.lastIndexOf('/');
    const above = slash < 0 ? undefined : directory(path.slice(0, slash));
    return rules.map(({ test }, index) => above?.[index] === true || test(path));
  };
  const directory = (path) => {
    let found = known.get(path);
    if (found === undefined) {
      found = fitting(path);
      known.set(path, found);
    }
    return found;
  };
  return {
    /** Whether a path is left out. */
    ignores(path, isDirectory) {
      const found = isDirectory ? directory(path) : fitting(path);
      let isOut = false;
      for (const [index, isFitting] of found.entries()) if (isFitting) isOut = !rules[index].isKept;
      return isOut;
    },
    /** Whether something in a directory that is left out may be brought back. */
    mayKeep: (path) =>
      exceptions.some(({ stem, isPlain }) => stem.startsWith(`${path}/`) || (!isPlain && `${path}/`.startsWith(stem))),
  };
};
