// Time limits of requests. Almost none of them comes: a timer that is made, armed and cleared for each call costs more than the rest of
// what the package does for it in JavaScript. Here a request only notes when its time is over, and timers that run anyway look at it.

const builtin = (name) => process.getBuiltinModule(name);

/** Milliseconds of a clock that does not jump. `performance` would have to be loaded first, in 1 ms. */
export const now = () => process.uptime() * 1000;

/** Limits without a request, by their time. */
const idle = new Map();

/** Of one time; more are forgotten. */
const KEPT = 256;
/** Different times. */
const TIMES = 16;

const arm = (limit, ms) => {
  limit.timer = builtin('node:timers').setTimeout(ring, ms, limit);
  // The connection of a request keeps the process alive, not its time limit.
  limit.timer.unref();
};

const ring = (limit) => {
  limit.timer = undefined;
  if (!limit.act) return;
  const left = limit.due - now();
  if (left > 0) arm(limit, left);
  else limit.act();
};

/** Calls `act` after so many milliseconds, unless the limit is released before. */
export const startLimit = (ms, act) => {
  const limit = idle.get(ms)?.pop() ?? { ms, act: undefined, due: 0, timer: undefined };
  limit.act = act;
  limit.due = now() + ms;
  if (!limit.timer) arm(limit, ms);
  return limit;
};

/** Begins its time anew. */
export const restartLimit = (limit) => {
  limit.due = now() + limit.ms;
};

/** Once, and then no more is done with it. */
export const releaseLimit = (limit) => {
  limit.act = undefined;
  let kept = idle.get(limit.ms);
  if (!kept) {
    if (idle.size >= TIMES) idle.clear();
    kept = [];
    idle.set(limit.ms, kept);
  }
  if (kept.length < KEPT) kept.push(limit);
};
