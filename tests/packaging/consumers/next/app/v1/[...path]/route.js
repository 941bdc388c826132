// Passes the page's calls on, as a reverse proxy does: the engine admits pages of no foreign origin. Only this test needs it.

export const dynamic = 'force-dynamic';

async function pass(request, { params }) {
  const { path } = await params;
  const headers = new Headers(request.headers);
  for (const name of ['host', 'origin', 'referer', 'connection', 'content-length']) headers.delete(name);
  const hasBody = !['GET', 'HEAD'].includes(request.method);
  return fetch(`${process.env.NULLSPACE_API_URL}/v1/${path.join('/')}${new URL(request.url).search}`, {
    method: request.method,
    headers,
    body: hasBody ? await request.text() : undefined,
  });
}

export { pass as DELETE, pass as GET, pass as POST };
