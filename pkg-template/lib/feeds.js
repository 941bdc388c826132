// What a server tells without end, as async iterables and as subscriptions. Connections are Rust's business.

import { forget, heed } from './abort.js';

/**
 * Walks along a feed. It is opened by the first step, or by whoever asks for `started`. `return()`, the end of a loop and
 * `await using` end it at once, also while a step waits; so does `signal`, whose reason the step then rejects with.
 */
export const iterate = (open, { begin, next, close }, signal, asyncDispose) => {
  const stop = new AbortController();
  const abort = () => stop.abort(signal.reason);
  const listens = typeof signal?.addEventListener === 'function';
  if (listens) heed(signal, abort);
  let opened;
  let handle;
  let ended = false;
  let turn = Promise.resolve();

  /** What happens after it resolved is heard. */
  const start = async () => {
    stop.signal.throwIfAborted();
    handle = await open();
    stop.signal.throwIfAborted();
    await begin.call(handle, { signal: stop.signal });
  };
  /** Opens it once. */
  const begun = () => {
    if (opened === undefined) {
      opened = start();
      // Whoever steps or waits for it hears of it.
      opened.catch(() => listens && forget(signal, abort));
    }
    return opened;
  };
  const finish = async () => {
    if (ended) return;
    ended = true;
    if (listens) forget(signal, abort);
    stop.abort();
    await opened?.catch(() => {});
    if (handle) await close.call(handle);
  };
  const step = async () => {
    if (ended) return { done: true, value: undefined };
    try {
      await begun();
      const value = ended ? undefined : await next.call(handle, { signal: stop.signal });
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
    get started() {
      return begun();
    },
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
  const ready = steps.started;
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
    /** Resolves when it is in force. */
    ready,
    /** Resolves when nothing more comes. */
    done: tell ? pump() : undefined,
    stop,
    [Symbol.asyncIterator]: () => steps,
    [asyncDispose]: stop,
  };
};

/** A frame of the monitor as callers see it. */
export const monitorEvent = ({ type, id, ...event }) => ({ kind: type.slice('monitor_'.length), ...event });
