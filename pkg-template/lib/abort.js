// Who waits for a signal. Each signal gets one listener, however many calls it serves: Node warns of a leak from the eleventh on.

const waiting = new WeakMap();

/** Calls `act` when the signal aborts, until {@link forget}. */
export const heed = (signal, act) => {
  let entry = waiting.get(signal);
  if (entry === undefined) {
    const acts = new Set();
    const listener = () => {
      waiting.delete(signal);
      for (const one of acts) one();
    };
    signal.addEventListener('abort', listener, { once: true });
    entry = { acts, listener };
    waiting.set(signal, entry);
  }
  entry.acts.add(act);
};

/** Ends that. */
export const forget = (signal, act) => {
  const entry = waiting.get(signal);
  entry?.acts.delete(act);
  if (entry?.acts.size !== 0) return;
  waiting.delete(signal);
  signal.removeEventListener('abort', entry.listener);
};

/** Waits; rejects with the signal's reason as soon as it aborts. */
export const pause = (milliseconds, signal) =>
  new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      if (signal) forget(signal, stop);
      resolve();
    }, milliseconds);
    if (signal?.aborted) stop();
    else if (signal) heed(signal, stop);
  });

/** The promise, or the signal's reason when that is sooner. */
export const unlessAborted = (promise, signal) => {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    const stop = () => reject(signal.reason);
    if (signal.aborted) stop();
    else heed(signal, stop);
    promise.then(resolve, reject).finally(() => forget(signal, stop));
  });
};
