// Values of options: texts into what the SDK takes. What is wrong there, the SDK says.

import { InvalidArgumentError } from 'commander';

export const number = (text) => {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value)) throw new InvalidArgumentError('Give a number such as 2.');
  return value;
};

/** Repeatable. */
export const list = (text, before = []) => [...before, text];

/** Repeatable `NAME=VALUE`. */
export const pairs = (text, before = {}) => {
  const at = text.indexOf('=');
  if (at < 1) throw new InvalidArgumentError('Give NAME=VALUE.');
  return { ...before, [text.slice(0, at)]: text.slice(at + 1) };
};

/** Repeatable `VOLUME:PATH`, with `:ro` for one that is only read. */
export const mount = (text, before = []) => {
  const [, ref, mountPath, readOnly] = /^([^:]+):(\/[^:]*)(:ro)?$/.exec(text) ?? [];
  if (ref === undefined) throw new InvalidArgumentError('Give VOLUME:PATH or VOLUME:PATH:ro, such as models:/models.');
  return [...before, { ref, mountPath, ...(readOnly ? { readOnly: true } : {}) }];
};

/** Without what was not given, and without `--json`, which is no option of the SDK. */
export const given = (options) => {
  const known = Object.entries(options).filter(([name, value]) => value !== undefined && name !== 'json');
  return Object.fromEntries(known);
};

/** Repeatable `NAME@HOST[,HOST...][/PATH]`: the value is that of the variable NAME, so that it is in no list of processes. */
export const secret = (text, before = {}) => {
  const [, name, hosts, path] = /^(\w+)@([^@/]+)(\/.*)?$/.exec(text) ?? [];
  if (name === undefined)
    throw new InvalidArgumentError('Give NAME@HOST or NAME@HOST/PATH, such as OPENAI_API_KEY@api.openai.com/v1.');
  return { ...before, [name]: { env: name, hosts: hosts.split(','), ...given({ path }) } };
};

/** The network policy that the flags describe; nothing when they say nothing. */
export const network = ({ egress, kbitPerSec, pps, burst, maskRequestHost, privateTraffic, ...lists }) => {
  const { allowCidr, denyCidr, allowDomain, denyDomain } = lists;
  let { secret: secrets } = lists;
  for (const [name, header] of Object.entries(lists.secretHeader ?? {}))
    secrets = { ...secrets, [name]: { ...secrets?.[name], header } };
  const custom = allowCidr || denyCidr || allowDomain || denyDomain || kbitPerSec !== undefined || pps !== undefined;
  const mode = egress ?? (custom ? 'custom' : undefined);
  const rate = kbitPerSec ?? pps;
  const policy = mode && {
    mode,
    ...given({ allowCidrs: allowCidr, denyCidrs: denyCidr, allowDomains: allowDomain, denyDomains: denyDomain }),
    ...(rate === undefined ? {} : { rateLimit: given({ kbitPerSec, pps, burst }) }),
  };
  const all = given({
    egress: policy,
    secrets,
    maskRequestHost,
    allowPublicTraffic: privateTraffic ? false : undefined,
  });
  return Object.keys(all).length > 0 ? all : undefined;
};
