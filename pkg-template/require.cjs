// Stops Node's scan for names: import of node.cjs itself takes 30 ms more. The names are in node.mjs.
const sdk = require('./node.cjs');
module.exports = sdk;
