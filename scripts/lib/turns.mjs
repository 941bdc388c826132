// How much runs at once.

/**
 * A queue with a number of places. `turn(work)` runs `work` as soon as a place is free, in the order of asking.
 *
 * @param {number} places
 */
export const turns = (places) => {
  let free = places;
  const waiting = [];
  return async (work) => {
    if (free > 0) free -= 1;
    else await new Promise((resolve) => waiting.push(resolve));
    try {
      return await work();
    } finally {
      const next = waiting.shift();
      if (next) next();
      else free += 1;
    }
  };
};
