// A Cloudflare Worker that runs Python for its callers, each time in a machine that nothing else sees.
//
//   npx wrangler secret put NULLSPACE_API_KEY      and NULLSPACE_API_URL, CALLER_TOKEN
//   npx wrangler dev | deploy
//   curl https://... -H "authorization: Bearer $CALLER_TOKEN" -d 'print(6 * 7)'

import { Nullspace, NullspaceError } from 'nullspace';

interface Env {
  NULLSPACE_API_URL: string;
  NULLSPACE_API_KEY: string;
  /** What callers send: the key of the engine stays here. */
  CALLER_TOKEN: string;
}

const MAX_CODE = 64 * 1024;

/** Compares without telling by its time how much was right. */
async function isToken(given: string, expected: string): Promise<boolean> {
  const digest = async (text: string) =>
    new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text)));
  const [left, right] = await Promise.all([digest(given), digest(expected)]);
  let different = 0;
  for (const [index, byte] of left.entries()) different |= byte ^ (right[index] ?? 0);
  return different === 0 && expected !== '';
}

export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    const given = request.headers.get('authorization')?.replace(/^Bearer /, '') ?? '';
    if (!(await isToken(given, env.CALLER_TOKEN))) return new Response('unauthorized\n', { status: 401 });
    if (request.method !== 'POST') return new Response('POST Python code\n', { status: 405 });
    const code = await request.text();
    if (code.length > MAX_CODE) return new Response('too long\n', { status: 413 });

    const { Machine } = new Nullspace({
      baseUrl: env.NULLSPACE_API_URL,
      apiKey: env.NULLSPACE_API_KEY,
      signal: request.signal, // a caller who goes away ends the machine
    });
    try {
      const { exitCode, stdout, stderr } = await Machine.runOnce('python3', {
        args: ['-c', code],
        timeout: 10,
        memoryMb: 256,
        vcpus: 1,
        network: { egress: { mode: 'deny_all' } },
      });
      return Response.json({ exitCode, stdout, stderr });
    } catch (error) {
      if (!(error instanceof NullspaceError)) throw error;
      if (error.code === 'exec_timeout') return Response.json({ error: 'it ran longer than 10 s' }, { status: 422 });
      console.error(error.code, error.message, error.requestId);
      const status = error.retryable ? 503 : 500;
      return Response.json({ error: 'the code could not be run', retryable: error.retryable ?? false }, { status });
    }
  },
};
