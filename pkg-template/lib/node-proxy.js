// Proxies from the environment, as curl and Python read it: http_proxy, https_proxy, all_proxy and no_proxy, lower
// case before upper case. Credentials are sent to the proxy and appear in no message.

const builtin = (name) => process.getBuiltinModule(name);
/** A variable. Both names are given: this is looked up for every call. */
const setting = (lower, upper) => process.env[lower] || process.env[upper] || '';

const DEFAULT_PORTS = { 'http:': '80', 'https:': '443' };

/** Whether no_proxy covers a host: `*`, `host`, `.domain` or `domain` (with all below it), each with an optional port. */
const exempt = (hostname, port) =>
  setting('no_proxy', 'NO_PROXY')
    .split(/[\s,]+/)
    .some((entry) => {
      if (entry === '') return false;
      if (entry === '*') return true;
      const [, name, only] = /^(.*?)(?::(\d+))?$/.exec(
        entry.startsWith('[') || entry.split(':').length <= 2 ? entry : `[${entry}]`,
      );
      if (only && only !== port) return false;
      const suffix = name.replace(/^\*?\./, '').toLowerCase();
      return hostname === suffix || hostname.endsWith(`.${suffix}`);
    });

/** The proxy for a URL: `{ href, protocol, hostname, port, authorization? }`, or undefined. */
export const proxyFor = (url) => {
  const own = url.protocol === 'https:' ? setting('https_proxy', 'HTTPS_PROXY') : setting('http_proxy', 'HTTP_PROXY');
  const value = own || setting('all_proxy', 'ALL_PROXY');
  if (value === '' || exempt(url.hostname.toLowerCase(), url.port || DEFAULT_PORTS[url.protocol])) return undefined;
  let proxy;
  try {
    proxy = new URL(value.includes('://') ? value : `http://${value}`);
  } catch {
    throw new Error('the proxy in the environment is no URL; a good value is http://proxy.example:3128');
  }
  if (!(proxy.protocol in DEFAULT_PORTS))
    throw new Error(`proxies over ${proxy.protocol.slice(0, -1)} are not supported, only http and https`);
  const user = decodeURIComponent(proxy.username);
  return {
    href: proxy.href,
    protocol: proxy.protocol,
    hostname: proxy.hostname,
    port: proxy.port || DEFAULT_PORTS[proxy.protocol],
    authorization:
      user === ''
        ? undefined
        : `Basic ${Buffer.from(`${user}:${decodeURIComponent(proxy.password)}`).toString('base64')}`,
  };
};

/** An agent for https that reaches its hosts through CONNECT. */
export const tunnelAgent = (proxy, options) => {
  const https = builtin('node:https');
  const tls = builtin('node:tls');
  class TunnelAgent extends https.Agent {
    createConnection(target, callback) {
      const client = proxy.protocol === 'https:' ? https : builtin('node:http');
      const authority = `${target.host.includes(':') ? `[${target.host}]` : target.host}:${target.port}`;
      const headers = { Host: authority };
      if (proxy.authorization) headers['Proxy-Authorization'] = proxy.authorization;
      const connect = client.request({
        host: proxy.hostname,
        port: proxy.port,
        method: 'CONNECT',
        path: authority,
        headers,
        agent: false,
      });
      connect.once('connect', (response, socket, rest) => {
        if (response.statusCode !== 200) {
          socket.destroy();
          callback(new Error(`the proxy refused the connection with status ${response.statusCode}`));
          return;
        }
        if (rest.length > 0) socket.unshift(rest);
        callback(null, tls.connect({ ...target, socket }));
      });
      connect.once('error', (error) =>
        callback(new Error(`the proxy cannot be reached: ${error.code ?? error.message}`)),
      );
      connect.end();
    }
  }
  return new TunnelAgent(options);
};
