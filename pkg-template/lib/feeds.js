// What a server tells without end, as async iterables and as subscriptions. Connections are Rust's business.

/**
 * Walks along a feed. It is opened by the first step. `return()`, the end of a loop and `await using` end it at once, also
 * while a step waits; so does `signal`, whose reason the step then rejects with.
 */
export const iterate = (open, { next, close }, signal, asyncDispose) => {
  const stop = new AbortController();
  const abort = () => stop.abort(signal.reason);
  const listens = typeof signal?.addEventListener === 'function';
  if (listens) signal.addEventListener('abort', abort, { once: true });
  let opened;
  let ended = false;
  let turn = Promise.resolve();

  const finish = async () => {
    if (ended) return;
    ended = true;
    if (listens) signal.removeEventListener('abort', abort);
    stop.abort();
    const handle = await opened?.catch(() => undefined);
    if (handle) await close.call(handle);
  };
  const step = async () => {
    if (ended) return { done: true, value: undefined };
    try {
      opened ??= open();
      const value = await next.call(await opened, { signal: stop.signal });
      if (value !== undefined && !ended) return { done: false, value };
    } catch (error) {
      // Whoever ended it wants to hear no more.
      if (!ended) {
        await finish();
        throw error;
      }
    }
    await finish();
    return { done: true, value: undefined };
  };
  return {
    /** Steps asked for at once are taken one after the other. */
    next() {
      const result = turn.then(step);
      turn = result.catch(() => {});
      return result;
    },
    async return(value) {
      await finish();
      return { done: true, value };
    },
    async throw(error) {
      await finish();
      throw error;
    },
    [Symbol.asyncIterator]() {
      return this;
    },
    [asyncDispose]: finish,
  };
};

/**
 * Tells events to callbacks as they come. Without callbacks nothing is read: then the subscription itself is walked along.
 * An async callback is waited for. What ends it, a callback's exception too, goes to `onError`, or else into `done`.
 */
export const subscribe = (steps, { tell, onError }, asyncDispose) => {
  const pump = async () => {
    try {
      for await (const event of steps) await tell(event);
    } catch (error) {
      if (!onError) throw error;
      await onError(error);
    }
  };
  const stop = async () => {
    await steps.return();
  };
  return {
    /** Resolves when nothing more comes. */
    done: tell ? pump() : undefined,
    stop,
    [Symbol.asyncIterator]: () => steps,
    [asyncDispose]: stop,
  };
};

/** A frame of the monitor as callers see it. */
export const monitorEvent = ({ type, id, ...event }) => ({ kind: type.slice('monitor_'.length), ...event });
