// Checks of what JavaScript reads of options, and what is wrong with them.

import { InvalidRequestError } from './errors.js';

export const wrong = (name, what) => {
  throw new InvalidRequestError({ code: 'invalid_request', message: `option \`${name}\` ${what}` });
};

const kindOf = (value) => (value === null ? 'null' : Array.isArray(value) ? 'an array' : `a ${typeof value}`);

/** Text with something in it. */
export const filled = (name, value, example) => {
  if (value === undefined) wrong(name, `is missing, such as ${example}`);
  if (typeof value !== 'string') wrong(name, `must be a string such as ${example}, not ${kindOf(value)}`);
  if (value.trim() === '') wrong(name, `must not be empty: give ${example}`);
  if (value.includes('\0')) wrong(name, 'must not hold a NUL character');
  return value;
};

/** Options of a step: a plain object that holds these names and no others. */
export const optionsOf = (given, names) => {
  if (given === undefined) return {};
  if (given === null || typeof given !== 'object' || Array.isArray(given))
    wrong('options', `must be a plain object, not ${kindOf(given)}`);
  for (const [name, value] of Object.entries(given))
    if (value !== undefined && !names.includes(name)) wrong(name, `is not known; known are ${names.join(', ')}`);
  return given;
};

export const integer = (name, value, min, max, example) => {
  if (!Number.isInteger(value) || value < min || value > max)
    wrong(name, `must be a whole number from ${min} to ${max} such as ${example}, not ${String(value)}`);
  return value;
};

export const flag = (name, value) => {
  if (value !== undefined && typeof value !== 'boolean') wrong(name, `must be true or false, not ${kindOf(value)}`);
  return value === true;
};

export const functionOf = (name, value) => {
  if (value !== undefined && typeof value !== 'function') wrong(name, 'must be a function');
  return value;
};
