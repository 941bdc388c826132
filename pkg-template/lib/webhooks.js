// For receivers of webhooks: whether a request comes from the server that knows the secret. PROTOCOL.md section 14.

import { bytesOf } from './content.js';
import { toError } from './errors.js';
import { decodersPart } from './parts.js';

/** How far the clocks of sender and receiver may differ. Seconds. */
const TOLERANCE = 300;

const refuse = (message) => {
  throw toError({ kind: 'auth', code: 'invalid_signature', message: `verifyWebhookSignature: ${message}` });
};
const wrong = (name, what) => {
  throw toError({ kind: 'invalid_request', code: 'invalid_request', message: `\`${name}\` ${what}` });
};

const header = (headers, name) => {
  if (typeof headers.get === 'function') return headers.get(name) ?? undefined;
  const found = Object.keys(headers).find((key) => key.toLowerCase() === name);
  const value = found === undefined ? undefined : headers[found];
  return Array.isArray(value) ? value[0] : value;
};

const bodyOf = (payload) => {
  if (typeof payload === 'string') return new TextEncoder().encode(payload);
  return (
    bytesOf(payload) ?? wrong('payload', 'must be the body as it came, a string or bytes: a parsed one has other bytes')
  );
};

export async function verifyWebhookSignature(options = {}) {
  const { payload, headers, secret, toleranceSecs = TOLERANCE } = options ?? {};
  const known = ['payload', 'headers', 'secret', 'toleranceSecs'];
  for (const name of Object.keys(options ?? {}))
    if (!known.includes(name)) wrong(name, `is not known; known are ${known.join(', ')}`);
  const body = bodyOf(payload);
  if (typeof headers !== 'object' || headers === null)
    wrong('headers', 'must be the headers of the request, such as request.headers');
  if (typeof secret !== 'string' || secret === '') wrong('secret', 'must be the `signingSecret` of the webhook');
  if (typeof toleranceSecs !== 'number' || !(toleranceSecs >= 0))
    wrong('toleranceSecs', 'must be a number of seconds, such as 300');

  const version = header(headers, 'x-nullspace-signature-version');
  if (version !== 'v1') refuse(`the signature has version ${version ?? '(none)'}; v1 is known here`);
  const text = header(headers, 'x-nullspace-signature') ?? refuse('there is no header x-nullspace-signature');
  const parts = new Map(text.split(',').map((part) => part.trim().split('=', 2)));
  const [at, hex] = [parts.get('t'), parts.get('v1')];
  if (!/^\d{1,15}$/.test(at) || !/^[0-9a-f]{64}$/.test(hex)) refuse('the header is not of the form t=...,v1=...');

  const encoder = new TextEncoder();
  const algorithm = { name: 'HMAC', hash: 'SHA-256' };
  const key = await crypto.subtle.importKey('raw', encoder.encode(secret), algorithm, false, ['verify']);
  const start = encoder.encode(`${at}.`);
  const signed = new Uint8Array(start.length + body.length);
  signed.set(start);
  signed.set(body, start.length);
  const signature = Uint8Array.from(hex.match(/../g), (pair) => Number.parseInt(pair, 16));
  // Compares in constant time.
  if (!(await crypto.subtle.verify('HMAC', key, signature, signed)))
    refuse('the signature does not match: another secret, or another body');
  // Looked at last: only the sender of a right signature learns of its age.
  if (Math.abs(Date.now() / 1000 - Number(at)) > toleranceSecs)
    refuse(
      `the signature is more than ${toleranceSecs} s from now: an old request that was sent again, or a wrong clock`,
    );
  const { moreDecoders } = await decodersPart();
  try {
    return moreDecoders.LifecycleEvent(JSON.parse(new TextDecoder().decode(body)));
  } catch (error) {
    throw toError({
      kind: 'invalid_response',
      code: 'invalid_response',
      message: `verifyWebhookSignature: the body is no event: ${error.message}`,
    });
  }
}
