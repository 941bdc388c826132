// The environment by which a machine's programs find a tunnel.

import { wrong } from './checks.js';

const text = (option, value, good) =>
  typeof value === 'string' && value.trim() !== '' ? value : wrong(option, `must be a text such as '${good}'`);

/** Variables for `envs`; nothing is sent. */
export const tunnelEnvs = (options = {}) => {
  const { host, password, port = 8388, method = 'aes-256-gcm', mode = 'socks5', ...rest } = options ?? {};
  const [unknown] = Object.keys(rest);
  if (unknown !== undefined) wrong(unknown, 'is unknown; there are host, password, port, method and mode');
  if (!Number.isInteger(port) || port < 1 || port > 65535) wrong('port', 'must be 1 to 65535, such as 8388');
  return {
    SS_SERVER: text('host', host, 'tunnel.example'),
    SS_SERVER_PORT: String(port),
    SS_PASSWORD: text('password', password, 'a long random one'),
    SS_METHOD: text('method', method, 'aes-256-gcm'),
    PROXY_MODE: text('mode', mode, 'socks5'),
  };
};
