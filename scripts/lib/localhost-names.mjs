// Names below `localhost` are this computer, as RFC 6761 asks, and as browsers and curl have it; the C library of many systems does
// not. Loaded with `--import` into programs that reach previews of a gateway by their names.

import dns from 'node:dns';

const { lookup } = dns;
dns.lookup = (name, ...rest) => lookup(/\.localhost$/i.test(name) ? 'localhost' : name, ...rest);
