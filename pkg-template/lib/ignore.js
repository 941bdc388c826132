// Patterns of `.gitignore`: https://git-scm.com/docs/gitignore#_pattern_format, with upper and lower case alike. Time grows with the length of pattern
// times path, whatever the pattern: a directory of somebody else's may hold one that is made to take for ever, as it does where
// patterns become regular expressions.

/** Any characters of one name. */
const STAR = Symbol('*');
/** Any number of directories. */
const GLOBSTAR = Symbol('**');

const CLASSES = {
  alnum: /[a-z0-9]/i,
  alpha: /[a-z]/i,
  blank: /[ \t]/,
  cntrl: /\p{Cc}/u,
  digit: /[0-9]/,
  graph: /[!-~]/,
  lower: /[a-z]/i,
  print: /[ -~]/,
  punct: /[!-/:-@[-`{-~]/,
  space: /\s/,
  upper: /[a-z]/i,
  xdigit: /[0-9a-f]/i,
};

/** Reads `[...]`, whose bracket stands at `at`: a test of one character and where the rest begins; nothing without an end. */
const characterClass = (pattern, at) => {
  let index = at + 1;
  const isNegated = pattern[index] === '!' || pattern[index] === '^';
  if (isNegated) index += 1;
  const tests = [];
  const literal = () => {
    if (pattern[index] === '\\') index += 1;
    return pattern[index++];
  };
  for (let isFirst = true; pattern[index] !== ']' || isFirst; isFirst = false) {
    if (index >= pattern.length) return undefined;
    const named = pattern[index] === '[' && /^\[:([a-z]+):\]/.exec(pattern.slice(index, index + 11).join(''));
    if (named) {
      if (!Object.hasOwn(CLASSES, named[1])) return undefined;
      index += named[0].length;
      tests.push((character) => CLASSES[named[1]].test(character));
      continue;
    }
    const first = literal();
    let last = first;
    if (pattern[index] === '-' && index + 1 < pattern.length && pattern[index + 1] !== ']') {
      index += 1;
      last = literal();
    }
    if (first === undefined || last === undefined) return undefined;
    const [low, high] = [first.codePointAt(0), last.codePointAt(0)];
    tests.push((character) =>
      [character, character.toUpperCase()].some((form) => form.codePointAt(0) >= low && form.codePointAt(0) <= high),
    );
  }
  return [(character) => tests.some((test) => test(character)) !== isNegated, index + 1];
};

/** What a name must look like, character by character; nothing for a pattern that matches none. */
const nameTokens = (text) => {
  const pattern = [...text];
  const tokens = [];
  for (let index = 0; index < pattern.length; ) {
    const character = pattern[index];
    if (character === '*') {
      if (tokens.at(-1) !== STAR) tokens.push(STAR);
      index += 1;
    } else if (character === '?') {
      tokens.push(() => true);
      index += 1;
    } else if (character === '[') {
      const found = characterClass(pattern, index);
      if (!found) return undefined;
      tokens.push(found[0]);
      index = found[1];
    } else {
      if (character === '\\') index += 1;
      if (index === pattern.length) return undefined;
      const wanted = pattern[index].toLowerCase();
      tokens.push((one) => one === wanted);
      index += 1;
    }
  }
  return tokens;
};

/**
 * Whether items fit tokens, of which some (`star`) stand for any number of items. Only the last star that was met ever has to take
 * more: what an earlier one could take, that one can as well.
 */
const fits = (tokens, items, star, test) => {
  let [token, item, back, from] = [0, 0, -1, 0];
  while (item < items.length) {
    if (token < tokens.length && tokens[token] === star) {
      back = token++;
      from = item;
    } else if (token < tokens.length && test(tokens[token], items[item])) {
      token += 1;
      item += 1;
    } else if (back >= 0) {
      token = back + 1;
      item = ++from;
    } else {
      return false;
    }
  }
  while (tokens[token] === star) token += 1;
  return token === tokens.length;
};

const nameFits = (tokens, name) => fits(tokens, name, STAR, (test, character) => test(character));

/** Without the spaces at the end, but for one behind a backslash. */
const withoutSpaces = (text) => {
  let end = text.length;
  while (text[end - 1] === ' ') {
    let slashes = 0;
    while (text[end - 2 - slashes] === '\\') slashes += 1;
    if (slashes % 2 === 1) break;
    end -= 1;
  }
  return text.slice(0, end);
};

/** One line; nothing for one that says nothing. */
const ruleOf = (line) => {
  if (line.startsWith('#')) return undefined;
  let text = withoutSpaces(line.replace(/\r$/, ''));
  const isKept = text.startsWith('!');
  if (isKept) text = text.slice(1);
  const isDirectory = text.endsWith('/');
  if (isDirectory) text = text.slice(0, -1);
  if (text === '') return undefined;
  const isAnchored = text.includes('/');
  const parts = (text.startsWith('/') ? text.slice(1) : text).split('/');
  const names = isAnchored ? [] : [GLOBSTAR];
  for (const [index, part] of parts.entries()) {
    const isLast = index === parts.length - 1;
    if (part === '**' && isAnchored) {
      // At the end it means what is inside, not the directory.
      if (isLast) names.push([STAR]);
      if (names.at(-1) !== GLOBSTAR) names.push(GLOBSTAR);
      continue;
    }
    const tokens = nameTokens(part);
    if (!tokens) return undefined;
    names.push(tokens);
  }
  return { isKept, isDirectory, names };
};

/** Rules, of which the last that fits decides. */
export default () => {
  const rules = [];
  let known = new Map();

  /** Whether the rules themselves name something. */
  const isNamed = (names, isDirectory) => {
    for (let index = rules.length - 1; index >= 0; index--) {
      const rule = rules[index];
      if ((isDirectory || !rule.isDirectory) && fits(rule.names, names, GLOBSTAR, nameFits)) return !rule.isKept;
    }
    return false;
  };

  /** The same of a directory, which is asked for all that it holds. */
  const isNamedDirectory = (names, path) => {
    let found = known.get(path);
    if (found === undefined) {
      found = isNamed(names, true);
      known.set(path, found);
    }
    return found;
  };

  return {
    /** Adds lines of a file, or patterns. */
    add(given) {
      const lines = typeof given === 'string' ? given.replace(/^\uFEFF/, '').split('\n') : given;
      for (const line of lines) {
        const rule = ruleOf(line);
        if (rule) rules.push(rule);
      }
      known = new Map();
      return this;
    },
    /** Whether a path is left out, one of a directory ending with a slash. What is in a directory that is left out, is as well. */
    ignores(path) {
      const isDirectory = path.endsWith('/');
      const parts = (isDirectory ? path.slice(0, -1) : path).toLowerCase().split('/');
      const names = parts.map((part) => [...part]);
      let above = '';
      for (let depth = 1; depth < parts.length; depth++) {
        above += `${parts[depth - 1]}/`;
        if (isNamedDirectory(names.slice(0, depth), above)) return true;
      }
      return isDirectory ? isNamedDirectory(names, path.toLowerCase()) : isNamed(names, false);
    },
  };
};
