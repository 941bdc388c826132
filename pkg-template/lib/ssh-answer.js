// What a server answers about SSH becomes arguments of `ssh`, lines of `known_hosts` and names of files on the computer of whoever
// asked: nothing of it may mean more there than it says.

import { InvalidResponseError } from './errors.js';

const KEY_LINE = /^[a-z0-9][\w.@-]* [A-Za-z0-9+/]+={0,2}(?: [^\p{Cc}\p{Zl}\p{Zp}]*)?$/u;

/** What each text must look like. None can begin with a dash, hold a line break, or stand for another path. */
const RULES = {
  user: [/^[A-Za-z_][\w.-]{0,63}\$?$/, 'the name of a user'],
  host: [
    /^(?:[A-Za-z0-9](?:[\w.-]{0,251}[A-Za-z0-9.])?|[0-9A-Fa-f]*:[0-9A-Fa-f:.]+(?:%[\w.-]+)?)$/,
    'the name or address of a host',
  ],
  certificate: [KEY_LINE, 'one line of OpenSSH'],
  hostKey: [KEY_LINE, 'one line of OpenSSH'],
};

const refuse = (field, what) => {
  throw new InvalidResponseError({
    code: 'invalid_response',
    message: `the server's answer has a \`${field}\` that is not ${what}: nothing was done with it`,
  });
};

/** Checks an answer to `ssh-access`; gives it back. */
export const checkSshAnswer = (access) => {
  for (const [field, [shape, what]] of Object.entries(RULES)) {
    const text = access[field];
    if (text === undefined && field === 'hostKey') continue;
    if (typeof text !== 'string' || !shape.test(text.trim())) refuse(field, what);
  }
  const { port, expiresAt } = access;
  if (!Number.isInteger(port) || port < 1 || port > 65_535) refuse('port', 'a port');
  if (!(expiresAt instanceof Date) || Number.isNaN(expiresAt.getTime())) refuse('expiresAt', 'a time');
  return access;
};

/** Checks the id of a machine, which becomes part of a file's name. */
export const checkMachineId = (id) => (/^[A-Za-z0-9][\w-]{0,127}$/.test(id) ? id : refuse('id', 'the id of a machine'));
