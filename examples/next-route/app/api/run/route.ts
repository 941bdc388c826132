// A route handler that runs a command in a machine of the visitor and streams what it prints.
//
//   NULLSPACE_API_URL and NULLSPACE_API_KEY stand in .env.local; neither reaches the browser.

import { Machine, NotFoundError, NullspaceError } from 'nullspace';
import { cookies } from 'next/headers';

const COOKIE = 'machine';
const LEASE = 600; // seconds

/** The machine of the visitor: that of the cookie while it lives, else a new one. */
async function machineOfVisitor(): Promise<Machine> {
  const jar = await cookies();
  const id = jar.get(COOKIE)?.value;
  if (id) {
    try {
      return await Machine.connect(id, { timeout: LEASE });
    } catch (error) {
      if (!(error instanceof NotFoundError)) throw error; // its lease was over
    }
  }
  const machine = await Machine.create({
    timeout: LEASE,
    vcpus: 1,
    memoryMb: 256,
    network: { egress: { mode: 'deny_all' } },
    metadata: { example: 'next-route' },
  });
  // An id alone opens nothing, but nobody else should guess or read it. A real app signs it, or keeps it in its session.
  jar.set(COOKIE, machine.id, {
    httpOnly: true,
    sameSite: 'strict',
    secure: process.env.NODE_ENV === 'production',
    path: '/',
  });
  return machine;
}

export async function POST(request: Request): Promise<Response> {
  const { command } = (await request.json()) as { command?: unknown };
  if (typeof command !== 'string' || command.length > 10_000) {
    return Response.json({ error: 'send { "command": "..." }' }, { status: 400 });
  }
  let machine: Machine;
  try {
    machine = await machineOfVisitor();
  } catch (error) {
    const retryable = error instanceof NullspaceError && error.retryable === true;
    return Response.json({ error: 'there is no machine at the moment' }, { status: retryable ? 503 : 500 });
  }
  // A visitor who goes away ends the command.
  const events = machine.commands.stream(command, { shell: true, timeout: 60, signal: request.signal });
  const text = new TextEncoder();
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const { done, value } = await events.next();
        if (done) return controller.close();
        controller.enqueue(text.encode(`${JSON.stringify(value)}\n`));
      } catch (error) {
        const { message } = error instanceof Error ? error : new Error(String(error));
        if (!request.signal.aborted) controller.enqueue(text.encode(`${JSON.stringify({ kind: 'error', message })}\n`));
        controller.close();
      }
    },
    async cancel() {
      await events.return?.();
    },
  });
  return new Response(body, { headers: { 'content-type': 'application/x-ndjson', 'cache-control': 'no-store' } });
}
