// `NULLSPACE_DEBUG`: a line before each request and one after it on standard error, as the Python SDK writes them.

const HIDDEN = /^(token|access_token|auth|signature|sig|api_key|apikey|x-amz-.*)$/;

const decoded = (name) => {
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
};

/** An address without user info, and without secrets in its query. */
const shown = (address) => {
  const [, scheme, rest] = address.match(/^(\w+:\/\/)?(?:[^/?#]*@)?(.*)$/s);
  return `${scheme ?? ''}${rest}`.replace(/([?&])([^=&#]*)=[^&#]*/g, (whole, before, name) =>
    HIDDEN.test(decoded(name).trim().toLowerCase()) ? `${before}${name}=[redacted]` : whole,
  );
};

/** Whether it is wanted. */
export const isDebugging = (value) => /^(1|true|yes|on)$/i.test(value?.trim() ?? '');

/** Tells of a request; what it gives tells of the answer. */
export const debug = (method, address, now) => {
  const url = shown(address);
  const started = now();
  console.error(`DEBUG:nullspace:request: ${method} ${url}`);
  return ({ status, requestId }) => {
    if (status === undefined) return;
    const took = (now() - started).toFixed(1);
    console.error(
      `DEBUG:nullspace:response: ${method} ${url} -> ${status} (${took} ms) request_id=${requestId ?? '-'}`,
    );
  };
};
