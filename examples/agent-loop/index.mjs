// @ts-check
// An agent with a machine for each conversation: the model asks for commands, a machine runs them, and a web client hears all of it
// as server-sent events.
//
//   npx nullspace engine --background      (or set NULLSPACE_API_URL and NULLSPACE_API_KEY of another engine)
//   export MODEL_URL=https://api.openai.com/v1 MODEL_KEY=... MODEL=gpt-5   (any server with chat completions and tools)
//   node index.mjs
//   curl -N http://127.0.0.1:8080/conversations/one -d 'How many prime numbers are below 1000?'

import { createServer } from 'node:http';
import { Machine, NullspaceError } from 'nullspace';

const { MODEL_URL, MODEL_KEY = '', MODEL = 'gpt-5', PORT = '8080' } = process.env;
if (!MODEL_URL)
  throw new Error('MODEL_URL is not set: give a server with chat completions, such as https://api.openai.com/v1');
const LEASE = 900; // seconds a conversation may be silent before its machine ends
const MAX_TURNS = 20;
const MAX_OUTPUT = 8000; // characters of a command that the model is shown

const description = 'Runs a line in a shell of a Linux machine without internet. Files stay between calls.';
const parameters = { type: 'object', properties: { line: { type: 'string' } }, required: ['line'] };
const TOOLS = [{ type: 'function', function: { name: 'shell', description, parameters } }];

/** @typedef {{ send: (event: string, data: unknown) => unknown, signal: AbortSignal }} Client */
/** @typedef {{ role: string, content: string | null, tool_calls?: any[], tool_call_id?: string }} Message */
/** @type {Map<string, { machine: Promise<Machine>, messages: Message[] }>} */
const conversations = new Map();

function conversation(name = '') {
  const found = conversations.get(name);
  if (found) return found;
  const network = { egress: { mode: /** @type {const} */ ('deny_all') } };
  const machine = Machine.create({ timeout: LEASE, metadata: { conversation: name }, network });
  const made = { machine, messages: [] };
  conversations.set(name, made);
  machine.catch(() => conversations.delete(name)); // the next message tries again
  return made;
}

async function askModel(/** @type {Message[]} */ messages, /** @type {AbortSignal} */ signal) {
  const answer = await fetch(`${MODEL_URL}/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${MODEL_KEY}`, 'content-type': 'application/json' },
    body: JSON.stringify({ model: MODEL, messages, tools: TOOLS }),
    signal,
  });
  if (!answer.ok) throw new Error(`the model answered HTTP ${answer.status}: ${(await answer.text()).slice(0, 300)}`);
  return (await answer.json()).choices[0].message;
}

/** Runs what the model asked for. An error is an answer, too: the model may try something else. */
async function runTool(
  /** @type {Machine} */ machine,
  /** @type {any} */ call,
  /** @type {Client} */ { send, signal },
) {
  try {
    const { line } = JSON.parse(call.function.arguments);
    send('command', line);
    let output = '';
    let end = '';
    for await (const event of machine.commands.stream(line, { shell: true, timeout: 120, signal })) {
      if (event.kind === 'exit') end = `\n(exit code ${event.exitCode})`;
      if (event.kind !== 'stdout' && event.kind !== 'stderr') continue;
      send(event.kind, event.data);
      output = (output + event.data).slice(-MAX_OUTPUT);
    }
    return output + end;
  } catch (error) {
    if (signal.aborted || !(error instanceof NullspaceError || error instanceof SyntaxError)) throw error;
    return `error: ${error.message}`;
  }
}

/** One message of the user, to the model's last word. */
async function turn(name = '', text = '', /** @type {Client} */ client) {
  const { machine: making, messages } = conversation(name);
  const machine = await making;
  messages.push({ role: 'user', content: text });
  for (let turns = 0; turns < MAX_TURNS; turns++) {
    await machine.setTimeout(LEASE);
    const message = await askModel(messages, client.signal);
    messages.push(message);
    if (message.content) client.send('text', message.content);
    if (!message.tool_calls?.length) return;
    for (const call of message.tool_calls) {
      messages.push({ role: 'tool', tool_call_id: call.id, content: await runTool(machine, call, client) });
    }
  }
  throw new Error(`no answer after ${MAX_TURNS} turns`);
}

const server = createServer(async (request, response) => {
  const name = request.url?.match(/^\/conversations\/([\w-]{1,64})$/)?.[1];
  if (request.method !== 'POST' || !name) return response.writeHead(404).end('POST /conversations/NAME\n');
  const leaving = new AbortController();
  response.on('close', () => leaving.abort()); // the client went away: the model and the command end
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
  const send = (event = '', data = {}) => response.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
  try {
    let text = '';
    for await (const chunk of request) text += chunk;
    await turn(name, text, { send: /** @type {Client['send']} */ (send), signal: leaving.signal });
    send('done', {});
  } catch (error) {
    if (!leaving.signal.aborted) send('error', error instanceof Error ? error.message : String(error));
  }
  response.end();
});

server.listen(Number(PORT), '127.0.0.1', () => {
  const address = server.address();
  console.log(`http://127.0.0.1:${typeof address === 'object' ? address?.port : PORT}`);
});
process.once('SIGTERM', async () => {
  server.close();
  await Promise.allSettled([...conversations.values()].map(async ({ machine }) => (await machine).kill()));
  process.exit();
});
