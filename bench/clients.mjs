// Each client as a table of the calls it can do. A client is loaded only in the process that measures it.

const KEY = 'bench-key';
const CREATE = {
  template: 'base',
  vcpus: 2,
  memory_mb: 512,
  timeout_ms: 300000,
  network: { egress: { mode: 'deny_all' } },
};

const byFetch = (send) => (url) => ({
  get: () => send(`${url}/v1/machines/mch_1`),
  create: () => send(`${url}/v1/machines`, 'POST', JSON.stringify(CREATE)),
  kill: () => send(`${url}/v1/machines/mch_1`, 'DELETE'),
  list: (rows = 100) => send(`${url}/v1/machines?limit=${rows}`),
  // The same bytes as a peer's call: what that peer is compared with.
  'e2b:get': () => send(`${url}/sandboxes/sbx1`),
  'e2b:list': () => send(`${url}/v2/sandboxes?limit=100`),
  'openai:get': () => send(`${url}/v1/models/model-1`),
  'openai:list': () => send(`${url}/v1/models`),
  'runloop:get': () => send(`${url}/v1/devboxes/dbx_1`),
  'runloop:list': () => send(`${url}/v1/devboxes?limit=100`),
});

/** The floor of the package's transport: `node:http` by hand, headers as the package sends them, nothing checked. */
const byHand = async () => {
  const { Agent, request } = await import('node:http');
  const agent = new Agent({ keepAlive: true, scheduling: 'lifo' });
  const send = (address, method = 'GET', body = undefined) =>
    new Promise((resolve, reject) => {
      const { host, hostname, port, pathname, search } = new URL(address);
      const headers = ['Host', host, 'Authorization', `Bearer ${KEY}`, 'Accept', 'application/json'];
      if (body !== undefined) headers.push('Content-Type', 'application/json');
      if (method !== 'GET') headers.push('Content-Length', String(Buffer.byteLength(body ?? '')));
      const sent = request({ agent, host: hostname, port, path: pathname + search, method, headers });
      sent.once('error', reject);
      sent.once('response', (response) => {
        const chunks = [];
        response.on('data', (chunk) => chunks.push(chunk));
        response.once('end', () => resolve(JSON.parse(Buffer.concat(chunks).toString())));
      });
      sent.end(body);
    });
  return (url) => ({
    get: () => send(`${url}/v1/machines/mch_1`),
    create: () => send(`${url}/v1/machines`, 'POST', JSON.stringify(CREATE)),
    kill: () => send(`${url}/v1/machines/mch_1`, 'DELETE'),
    list: () => send(`${url}/v1/machines?limit=100`),
  });
};

export const clients = {
  'node:http': byHand,

  async fetch() {
    return byFetch(async (url, method, body) => JSON.parse(await (await fetch(url, { method, body })).text()));
  },

  async undici() {
    const { Pool, request } = await import('undici');
    let pool;
    return byFetch(async (url, method = 'GET', body) => {
      pool ??= new Pool(new URL(url).origin, { connections: 50 });
      const answer = await request(url, { method, body, dispatcher: pool });
      return JSON.parse(await answer.body.text());
    });
  },

  async nullspace() {
    const { Nullspace } = await import('nullspace');
    return (url) => {
      const { Machine } = new Nullspace({ apiKey: KEY, baseUrl: url });
      return {
        get: () => Machine.getInfoById('mch_1'),
        create: () => Machine.create({ network: { egress: { mode: 'deny_all' } } }),
        kill: () => Machine.killById('mch_1'),
        list: async (rows = 100) => (await Machine.list({ limit: rows })).items,
      };
    };
  },

  async e2b() {
    const { Sandbox } = await import('e2b');
    return (url) => {
      const options = { apiKey: 'e2b_0000000000000000000000000000000000000000', apiUrl: url };
      return {
        'e2b:get': () => Sandbox.getInfo('sbx1', options),
        'e2b:list': () => Sandbox.list({ ...options, limit: 100 }).nextItems(),
      };
    };
  },

  async openai() {
    const { default: OpenAI } = await import('openai');
    return (url) => {
      const client = new OpenAI({ apiKey: KEY, baseURL: `${url}/v1` });
      return {
        'openai:get': () => client.models.retrieve('model-1'),
        'openai:list': () => client.models.list(),
      };
    };
  },

  async runloop() {
    const { default: Runloop } = await import('@runloop/api-client');
    return (url) => {
      // HTTP/2, its default, does not work on a plain local server.
      const client = new Runloop({ bearerToken: KEY, baseURL: url, http2: false });
      return {
        'runloop:get': () => client.devboxes.retrieve('dbx_1'),
        'runloop:list': () => client.devboxes.list({ limit: 100 }),
      };
    };
  },
};
