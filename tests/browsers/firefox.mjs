// Firefox over WebDriver BiDi, which it speaks by itself.

import { once } from 'node:events';

import WebSocket from 'ws';

import { end, removeDirectory, start, temporaryDirectory } from '../../scripts/lib/cleanup.mjs';

export const FIREFOX = process.env.FIREFOX ?? '/usr/bin/firefox-esr';
const START_MS = 60_000;

/** Starts it and gives a page: `open(url)`, `evaluate(expression)`, `picture`, `close`. */
export async function openFirefox() {
  const profile = temporaryDirectory('firefox');
  // Nothing is asked of anybody else.
  const args = ['--headless', '--no-remote', '--profile', profile, '--remote-debugging-port', '0', 'about:blank'];
  const child = start(FIREFOX, args, { env: { ...process.env, HOME: profile, MOZ_DATA_REPORTING: '0' } });
  let said = '';
  const address = await new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`Firefox did not start:\n${said}`)), START_MS);
    child.once('close', () => reject(new Error(`Firefox ended:\n${said}`)));
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (text) => {
        said += text;
        const found = said.match(/WebDriver BiDi listening on (ws:\/\/\S+)/)?.[1];
        if (!found) return;
        clearTimeout(timer);
        resolve(found);
      });
    }
  });
  const socket = new WebSocket(`${address}/session`);
  await once(socket, 'open');
  let last = 0;
  const waiting = new Map();
  socket.on('message', (data) => {
    const { id, type, result, error, message } = JSON.parse(data);
    const call = waiting.get(id);
    waiting.delete(id);
    if (type === 'success') call?.resolve(result);
    else if (type === 'error') call?.reject(new Error(`${error}: ${message}`));
  });
  socket.on('close', () => {
    for (const call of waiting.values()) call.reject(new Error('Firefox went away'));
  });
  const send = (method, params = {}) =>
    new Promise((resolve, reject) => {
      last += 1;
      waiting.set(last, { resolve, reject });
      socket.send(JSON.stringify({ id: last, method, params }));
    });
  const { capabilities } = await send('session.new', { capabilities: {} });
  const { contexts } = await send('browsingContext.getTree');
  const { context } = contexts[0];
  return {
    name: `Firefox ${capabilities.browserVersion}`,
    open: (url) => send('browsingContext.navigate', { context, url, wait: 'complete' }),
    async evaluate(expression) {
      const wrapped = `Promise.resolve(${expression}).then((value) => JSON.stringify(value ?? null))`;
      const answer = await send('script.evaluate', { expression: wrapped, target: { context }, awaitPromise: true });
      if (answer.type === 'exception') throw new Error(answer.exceptionDetails.text);
      return JSON.parse(answer.result.value);
    },
    picture: async () => Buffer.from((await send('browsingContext.captureScreenshot', { context })).data, 'base64'),
    async close() {
      socket.terminate();
      await end(child, 'SIGKILL');
      removeDirectory(profile);
    },
  };
}
