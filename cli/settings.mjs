// Where the SDK reads the key and the address from, for people who ask why it took this one. The SDK alone decides; the places are
// those that the types name.

import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';

import { runningEngine, stateFolder } from './running.mjs';

const read = (file) => {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
};

/** A value of `./.env`, without its quotes. */
const ofDotenv = (text, name) =>
  text
    ?.match(new RegExp(`^\\s*(?:export\\s+)?${name}\\s*=(.*)$`, 'm'))?.[1]
    .trim()
    .replace(/^(['"])(.*)\1$/, '$2');

const ofConfig = (text, names) => {
  try {
    const config = JSON.parse(text);
    return names.map((name) => config[name]).find((value) => typeof value === 'string');
  } catch {
    return undefined;
  }
};

/** `[place, value]` of a setting, in the order in which places are asked. */
const places = (variables, keys) => {
  const dotenv = read('.env');
  const files = [
    path.join(process.env.XDG_CONFIG_HOME || path.join(homedir(), '.config'), 'nullspace', 'config.json'),
    path.join(homedir(), '.nullspace', 'config.json'),
  ];
  return [
    ...variables.map((name) => [`${name} of the environment`, process.env[name]]),
    ...variables.map((name) => [`${name} in ./.env`, ofDotenv(dotenv, name)]),
    ...files.map((file) => [file, ofConfig(read(file), keys)]),
    ...engines(keys),
  ].filter(([, value]) => value?.trim());
};

/** The engine that runs here. */
const engines = (keys) => {
  const engine = runningEngine(stateFolder());
  if (!engine) return [];
  return [[`${engine.file} of the engine that runs here`, keys.map((key) => engine[key]).find((value) => value)]];
};

const same = (one, other) => one.trim().replace(/\/+$/, '') === other.replace(/\/+$/, '');

/** Where the address came from that the SDK asked at. */
export const addressFrom = (url) => {
  const all = places(['NULLSPACE_API_URL', 'NULLSPACE_BASE_URL'], ['base_url', 'api_url']);
  return all.find(([, value]) => same(value, url))?.[0] ?? 'the default, where a local engine listens';
};

/** The first place that has a key; nothing when none has. */
export const keyFrom = () => places(['NULLSPACE_API_KEY', 'NULLSPACE_TOKEN'], ['api_key'])[0]?.[0];
