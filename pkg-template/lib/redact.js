// What logs may show of preview addresses.

const SHOWN = '<redacted>';

/** What stands for a token in a log; `undefined` stays what it is. */
export const redactPreviewToken = (token) => (token === undefined || token === null ? token : SHOWN);

/** An address without its token; everything else is as it was. */
export const redactPreviewUrl = (url) =>
  typeof url === 'string' ? url.replace(/([?&]edge_token=)[^&#]*/g, `$1${SHOWN}`) : url;
