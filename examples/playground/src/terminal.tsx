import { FitAddon } from '@xterm/addon-fit';
import { Terminal as Screen } from '@xterm/xterm';
import '@xterm/xterm/css/xterm.css';
import type { Machine, PtySession } from 'nullspace';
import { useEffect, useRef, useState } from 'preact/hooks';

import { holds, machines } from './client';
import { literal, made, nameOf } from './code';
import { Loading, Problem } from './parts';

type State = { at: 'opening' } | { at: 'open' } | { at: 'ended'; exitCode?: number } | { at: 'failed'; error: unknown };

/** A shell in the machine. It lives as long as this machine is shown. */
export function Terminal({ machine, shown }: { machine: Machine; shown: boolean }) {
  const place = useRef<HTMLDivElement>(null);
  const fit = useRef<() => void>(undefined);
  const [state, setState] = useState<State>({ at: 'opening' });
  const [attempt, setAttempt] = useState(0);

  useEffect(() => {
    const host = place.current as HTMLDivElement;
    const screen = new Screen({
      fontSize: 13,
      cursorBlink: true,
      theme: { background: '#14161a', foreground: '#e6e8eb' },
    });
    const addon = new FitAddon();
    const leaving = new AbortController();
    let session: PtySession | undefined;
    let ended = false;
    const failed = (error: unknown) => {
      if (!leaving.signal.aborted) setState({ at: 'failed', error });
    };

    screen.loadAddon(addon);
    screen.open(host);
    // Tab belongs to the shell, so leaving needs a key of its own.
    screen.attachCustomKeyEventHandler((event) => {
      if (event.key !== 'Escape' || !event.shiftKey) return true;
      host
        .closest('[role=tabpanel]')
        ?.parentElement?.querySelector<HTMLElement>('[role=tab][aria-selected=true]')
        ?.focus();
      return false;
    });
    fit.current = () => {
      // A hidden one has no size.
      if (host.clientWidth === 0) return;
      addon.fit();
      // One that ended has no size.
      if (!ended) session?.resize({ cols: screen.cols, rows: screen.rows }).catch(failed);
    };
    addon.fit();
    const watching = new ResizeObserver(() => fit.current?.());
    watching.observe(host);

    const run = async () => {
      const size = { cols: screen.cols, rows: screen.rows };
      session = await machine.pty.create({ ...size, signal: leaving.signal });
      if (leaving.signal.aborted) return session.kill();
      made('terminal', `await ${nameOf(machine.id)}.pty.create(${literal(size)})`);
      screen.onData((text) => session?.sendInput(text).catch(failed));
      setState({ at: 'open' });
      fit.current?.();
      for await (const bytes of session) screen.write(bytes);
      ended = true;
      if (!leaving.signal.aborted) setState({ at: 'ended', exitCode: session.exitCode });
    };
    run().catch(failed);

    return () => {
      leaving.abort();
      watching.disconnect();
      fit.current = undefined;
      // A machine that was killed or paused took its shell along; one that ended by itself may have done so by now.
      const alive = holds(machine.id) && machines.peek().get(machine.id)?.status === 'running';
      if (alive && !ended) session?.kill().catch(() => {});
      screen.dispose();
    };
  }, [machine, attempt]);

  useEffect(() => {
    if (shown) fit.current?.();
  }, [shown]);

  const again = () => {
    setState({ at: 'opening' });
    setAttempt(attempt + 1);
  };
  return (
    <div class="terminal">
      {state.at === 'opening' && <Loading>Opening a terminal …</Loading>}
      {state.at === 'failed' && <Problem error={state.error} retry={again} />}
      {state.at === 'ended' && (
        <p class="row" role="status">
          The shell has ended{state.exitCode === undefined ? '' : ` with exit code ${state.exitCode}`}.
          <button type="button" onClick={again}>
            New terminal
          </button>
        </p>
      )}
      <div class="screen" ref={place} />
      <p class="hint">Shift+Esc leaves the terminal.</p>
    </div>
  );
}
