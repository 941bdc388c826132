// What a name of a machine or a snapshot is: an entry of its metadata. As in crates/wire.

export const NAME_KEY = 'nullspace.name';
export const NAME = /^[!-~]{1,128}$/;
/** States of machines that have a name. */
const ALIVE = ['creating', 'running', 'paused'];

export const isAlive = (status) => ALIVE.includes(status);

const older = (a, b) => a.createdAt - b.createdAt || (a.id < b.id ? -1 : 1);

/** The machine of that name that lives, the oldest where a server knows no names. `list` is `Machine.list`, with more options or none. */
export const findByName = async (list, name, options) => {
  const { items } = await list({ ...options, state: ALIVE, query: { metadata: { [NAME_KEY]: name } } });
  return [...items].sort(older)[0];
};
