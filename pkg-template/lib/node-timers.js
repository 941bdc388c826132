// Time limits of requests. Almost none of them comes: a timer that is made and cleared for each call costs more than the rest of what
// the package does for it in JavaScript. Here timers are armed again instead of made, and left running when they are not needed.

const builtin = (name) => process.getBuiltinModule(name);

/** Timers without a request, by their time. */
const idle = new Map();

/** Of one time; more are forgotten. */
const KEPT = 256;
/** Different times. */
const TIMES = 16;

const make = (ms) => {
  const limit = { ms, act: undefined, timer: undefined };
  limit.timer = builtin('node:timers').setTimeout(() => limit.act?.(), ms);
  // The connection of a request keeps the process alive, not its time limit.
  limit.timer.unref();
  return limit;
};

/** Calls `act` after so many milliseconds, unless the limit is released before. */
export const startLimit = (ms, act) => {
  const limit = idle.get(ms)?.pop() ?? make(ms);
  limit.act = act;
  limit.timer.refresh();
  return limit;
};

/** Begins its time anew. */
export const restartLimit = (limit) => limit.timer.refresh();

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
