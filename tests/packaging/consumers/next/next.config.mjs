// The page talks to its own origin, as one behind a reverse proxy does; only this test needs it.
export default {
  rewrites: () => [{ source: '/v1/:path*', destination: `${process.env.NULLSPACE_API_URL}/v1/:path*` }],
};
