// `nullspace mcp`, loaded only for that: the protocol is larger than the rest of the command line.

import { randomBytes } from 'node:crypto';

import { StdioServerTransport } from '@modelcontextprotocol/sdk/server/stdio.js';

import { serveHttp } from './mcp/http.mjs';
import { makeServer } from './mcp/server.mjs';

/** Serves one client on standard input and output, to its end. */
const serveStdio = async (options, signal) => {
  const { server, end } = makeServer(options);
  const over = new Promise((resolve) => {
    server.server.onclose = resolve;
    // The transport does not see that its client is gone.
    process.stdin.once('end', resolve);
    process.stdin.once('close', resolve);
    process.stdout.once('error', resolve);
    signal.addEventListener('abort', resolve, { once: true });
  });
  await server.connect(new StdioServerTransport());
  await over;
  await Promise.all([end(), server.close()]);
};

/** Serves clients over HTTP until the signal. */
const serveWeb = async (options, port, signal) => {
  const token = process.env.NULLSPACE_MCP_TOKEN || randomBytes(24).toString('base64url');
  const serving = await serveHttp(() => makeServer(options), { port, token });
  process.stderr.write(`MCP server: ${serving.url}\n`);
  if (!process.env.NULLSPACE_MCP_TOKEN) process.stderr.write(`Authorization: Bearer ${token}\n`);
  await new Promise((resolve) => {
    signal.addEventListener('abort', resolve, { once: true });
  });
  await serving.close();
};

export const serve = ({ port, ...options }, signal) =>
  port === undefined ? serveStdio(options, signal) : serveWeb(options, port, signal);
