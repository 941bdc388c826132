// The MCP server over HTTP, on loopback and only for who has the token: any page that is open in a browser can reach loopback.

import { randomUUID, timingSafeEqual } from 'node:crypto';
import { createServer } from 'node:http';

import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import { isInitializeRequest } from '@modelcontextprotocol/sdk/types.js';

/** Bytes of one request. */
const LARGEST = 32 << 20;
/** A client that says nothing for so long is gone. Milliseconds. */
const IDLE_MS = 30 * 60_000;

const isToken = (header = '', token) => {
  const [given, wanted] = [Buffer.from(header), Buffer.from(`Bearer ${token}`)];
  return given.length === wanted.length && timingSafeEqual(given, wanted);
};

const refuse = (response, status, message) => {
  response.writeHead(status, { 'content-type': 'application/json', connection: 'close' });
  response.end(JSON.stringify({ jsonrpc: '2.0', error: { code: -32_000, message }, id: null }));
};

const body = async (request) => {
  const parts = [];
  let length = 0;
  for await (const part of request) {
    length += part.length;
    if (length > LARGEST) throw new Error(`a request has more than ${LARGEST} bytes`);
    parts.push(part);
  }
  return JSON.parse(Buffer.concat(parts).toString('utf8'));
};

/**
 * Serves until `close`.
 *
 * @param {() => ReturnType<typeof import('./server.mjs').makeServer>} makeClient
 */
export const serveHttp = async (makeClient, { port, token }) => {
  const sessions = new Map();
  let hosts;

  const end = async (id) => {
    const session = sessions.get(id);
    sessions.delete(id);
    if (!session) return;
    clearTimeout(session.idle);
    await session.end();
  };

  const open = async () => {
    const { server, end: endMachines } = makeClient();
    const session = { end: endMachines };
    session.transport = new StreamableHTTPServerTransport({
      sessionIdGenerator: randomUUID,
      onsessioninitialized: (id) => sessions.set(id, session),
    });
    session.transport.onclose = () => end(session.transport.sessionId);
    await server.connect(session.transport);
    return session;
  };

  const answer = async (request, response) => {
    // A page that gave its own name this address is told apart by the Host that it sends.
    if (!hosts.includes(request.headers.host)) return refuse(response, 403, 'the Host header is not this server');
    if (request.headers.origin !== undefined) return refuse(response, 403, 'pages may not call this server');
    if (!isToken(request.headers.authorization, token))
      return refuse(response, 401, 'give the token: Authorization: Bearer ...');
    if (new URL(request.url, 'http://localhost').pathname !== '/mcp')
      return refuse(response, 404, 'the endpoint is /mcp');
    const message = request.method === 'POST' ? await body(request) : undefined;
    const id = request.headers['mcp-session-id'];
    let session = sessions.get(id);
    if (!session) {
      if (id !== undefined) return refuse(response, 404, 'the session has ended');
      if (!isInitializeRequest(message)) return refuse(response, 400, 'initialize first');
      session = await open();
    }
    clearTimeout(session.idle);
    session.idle = setTimeout(() => session.transport.close(), IDLE_MS);
    session.idle.unref();
    await session.transport.handleRequest(request, response, message);
  };

  const server = createServer((request, response) => {
    answer(request, response).catch((error) => {
      if (!response.headersSent) refuse(response, 400, error.message);
      else response.destroy();
    });
  });
  await new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });
  const { port: bound } = server.address();
  hosts = [`127.0.0.1:${bound}`, `localhost:${bound}`];
  return {
    url: `http://127.0.0.1:${bound}/mcp`,
    async close() {
      server.close();
      server.closeAllConnections();
      await Promise.all([...sessions.keys()].map(end));
    },
  };
};
