// The environment of a tunnel: what the Python SDK's `enable_tunnel` gives.

import assert from 'node:assert/strict';
import test from 'node:test';

import { sdk } from './package.mjs';

const { tunnelEnvs, InvalidRequestError } = sdk;

test('the variables are those that templates read, with the same defaults everywhere', () => {
  assert.deepEqual(tunnelEnvs({ host: 'tunnel.example', password: 'word' }), {
    SS_SERVER: 'tunnel.example',
    SS_SERVER_PORT: '8388',
    SS_PASSWORD: 'word',
    SS_METHOD: 'aes-256-gcm',
    PROXY_MODE: 'socks5',
  });
  const all = { host: '192.0.2.1', password: 'word', port: 1, method: 'chacha20-ietf-poly1305', mode: 'tun' };
  assert.deepEqual(Object.values(tunnelEnvs(all)), ['192.0.2.1', '1', 'word', 'chacha20-ietf-poly1305', 'tun']);
});

test('what is wrong is named, and the password is in no message', () => {
  for (const [options, option] of [
    [undefined, 'host'],
    [{ host: 'h' }, 'password'],
    [{ host: ' ', password: 'secret-word' }, 'host'],
    [{ host: 'h', password: 'secret-word', port: 0 }, 'port'],
    [{ host: 'h', password: 'secret-word', port: '8388' }, 'port'],
    [{ host: 'h', password: 'secret-word', hots: 1 }, 'hots'],
  ]) {
    assert.throws(
      () => tunnelEnvs(options),
      (error) =>
        error instanceof InvalidRequestError &&
        error.message.includes(`\`${option}\``) &&
        !error.message.includes('secret-word'),
    );
  }
});
