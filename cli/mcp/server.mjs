// The MCP server of one client.

import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { z } from 'zod';

import { LocalFiles } from './local-files.mjs';
import { Machines } from './machines.mjs';
import { TOOLS } from './tools.mjs';

const INSTRUCTIONS =
  'Runs commands and code in isolated Linux machines, not on the computer of the user. Call exec or run_code right away: a ' +
  'machine is made when it is needed, keeps its files between calls, and is destroyed with this session.';

/** What went wrong, for a model: the message, and what to do next. */
const explained = ({ name, code, message, suggestedAction, details }) =>
  [`${code ?? name}: ${message}`, suggestedAction, details?.stdout && `stdout so far:\n${details.stdout}`]
    .filter(Boolean)
    .join('\n');

/**
 * Makes a server for one client.
 *
 * @param {{ version: string, template?: string, timeout: number, most: number, directory?: string }} options `most`: characters of
 *   output; `directory`: where files of this computer may be read and written
 * @returns {{ server: McpServer, end: () => Promise<void> }} `end` destroys what the client made
 */
export const makeServer = ({ version, template, timeout, most, directory }) => {
  const machines = new Machines({ timeout, ...(template && { template }) });
  const files = directory === undefined ? undefined : new LocalFiles(directory);
  const server = new McpServer({ name: 'nullspace', version }, { instructions: INSTRUCTIONS });
  for (const [name, { input, output, needsFiles, ...rest }, run] of TOOLS) {
    if (needsFiles && !files) continue;
    const described = { ...rest, inputSchema: z.strictObject(input), outputSchema: z.object(output) };
    server.registerTool(name, described, async (given, { signal, sendNotification, _meta }) => {
      const token = _meta?.progressToken;
      let told = 0;
      const progress =
        token === undefined
          ? undefined
          : (message) => {
              told += 1;
              const params = { progressToken: token, progress: told, message: message.slice(0, most) };
              return sendNotification({ method: 'notifications/progress', params });
            };
      try {
        const result = await run({ machines, files, most, progress }, given, { signal });
        return { structuredContent: result, content: [{ type: 'text', text: JSON.stringify(result) }] };
      } catch (error) {
        if (error.name === 'NotFoundError' && given.machine) machines.forget(given.machine);
        return { isError: true, content: [{ type: 'text', text: explained(error) }] };
      }
    });
  }
  return { server, end: () => machines.end() };
};
