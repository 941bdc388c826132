// Everything the page can do, by name: Ctrl K, or Command K.

import { signal } from '@preact/signals';
import { useEffect, useId, useLayoutEffect, useRef, useState } from 'preact/hooks';

import { machines } from './client';
import { actions } from './machine';
import { message, titleOf } from './parts';
import { go, linkTo, route, TABS } from './route';
import { scheme, SCHEMES } from './scheme';

export const isOpen = signal(false);

interface Entry {
  name: string;
  about?: string;
  run: () => unknown;
}

function entries(): Entry[] {
  const at = route.value;
  const here = at.at === 'machine' ? machines.value.get(at.id) : undefined;
  const own: Entry[] = [];
  if (here) {
    const { id, status } = here;
    if (status === 'running') {
      own.push({ name: 'Fork this machine', run: async () => go(linkTo(await actions.fork(id), 'family')) });
      own.push({ name: 'Pause this machine', run: () => actions.pause(id) });
      own.push({ name: 'Snapshot this machine', run: () => actions.snapshot(id) });
      own.push({ name: 'Keep this machine 10 more minutes', run: () => actions.extend(id, 600) });
    }
    if (status === 'paused') own.push({ name: 'Resume this machine', run: () => actions.resume(id) });
    for (const tab of TABS) own.push({ name: `Show its ${tab}`, run: () => go(linkTo(id, tab)) });
  }
  return [
    ...own,
    { name: 'New machine', run: () => go('#/create') },
    { name: 'Three things to try', run: () => go('#/') },
    { name: 'Snapshots', run: () => go('#/snapshots') },
    { name: 'Volumes', run: () => go('#/volumes') },
    { name: 'Warm pools', run: () => go('#/pools') },
    ...[...machines.value.values()].map((machine) => ({
      name: titleOf(machine),
      about: `machine, ${machine.status}${titleOf(machine) === machine.id ? '' : `, ${machine.id}`}`,
      run: () => go(linkTo(machine.id)),
    })),
    ...SCHEMES.map((name) => ({
      name: `Colours: ${name}`,
      run: () => {
        scheme.value = name;
      },
    })),
  ];
}

export function Palette() {
  const dialog = useRef<HTMLDialogElement>(null);
  const [text, setText] = useState('');
  const [at, setAt] = useState(0);
  const [problem, setProblem] = useState('');
  const id = useId();
  const open = isOpen.value;

  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (event.key.toLowerCase() !== 'k' || !(event.ctrlKey || event.metaKey) || event.altKey || event.shiftKey)
        return;
      // In a terminal Ctrl K belongs to the shell.
      if (event.ctrlKey && (event.target as HTMLElement | null)?.closest('.xterm')) return;
      event.preventDefault();
      isOpen.value = !isOpen.value;
    };
    addEventListener('keydown', onKey);
    return () => removeEventListener('keydown', onKey);
  }, []);
  useLayoutEffect(() => {
    if (open && !dialog.current?.open) {
      setText('');
      setAt(0);
      setProblem('');
      dialog.current?.showModal();
    }
    if (!open) dialog.current?.close();
  }, [open]);

  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const found = open
    ? entries().filter(({ name, about = '' }) => words.every((word) => `${name} ${about}`.toLowerCase().includes(word)))
    : [];
  const run = async (entry: Entry | undefined) => {
    if (!entry) return;
    try {
      await entry.run();
      isOpen.value = false;
    } catch (error) {
      setProblem(message(error));
    }
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: found.length - 1 }[event.key];
    if (to !== undefined) {
      event.preventDefault();
      const next = Math.min(Math.max(to, 0), Math.max(found.length - 1, 0));
      setAt(next);
      dialog.current?.querySelector(`#${CSS.escape(`${id}-${next}`)}`)?.scrollIntoView({ block: 'nearest' });
    }
    if (event.key === 'Enter') {
      event.preventDefault();
      run(found[at]);
    }
  };
  return (
    <dialog
      class="palette"
      ref={dialog}
      aria-label="Command palette"
      onClose={() => {
        // It tells later: by then somebody may have opened it again.
        if (!dialog.current?.open) isOpen.value = false;
      }}
      onClick={(event) => {
        // The dialog itself is hit beside its content only.
        if (event.target === dialog.current) isOpen.value = false;
      }}
      onKeyDown={() => {}}
    >
      <div class="palette-box">
        <input
          role="combobox"
          aria-label="What to do, or where to go"
          aria-expanded="true"
          aria-controls={`${id}-list`}
          aria-activedescendant={found.length > 0 ? `${id}-${at}` : undefined}
          placeholder="What to do, or where to go"
          value={text}
          onInput={(event) => {
            setText(event.currentTarget.value);
            setAt(0);
          }}
          onKeyDown={onKeyDown}
        />
        {problem && (
          <p class="field-error" role="alert">
            {problem}
          </p>
        )}
        <div role="listbox" id={`${id}-list`} aria-label="Found">
          {found.map((entry, index) => (
            // Arrows and Enter of the field work on it.
            // biome-ignore lint/a11y/useKeyWithClickEvents: the field above has the keys
            // biome-ignore lint/a11y/useFocusableInteractive: the field above keeps the focus
            <div
              key={`${entry.name}${entry.about ?? ''}`}
              role="option"
              id={`${id}-${index}`}
              aria-selected={index === at}
              onClick={() => run(entry)}
            >
              <span>{entry.name}</span> <span class="faint">{entry.about}</span>
            </div>
          ))}
        </div>
        {open && found.length === 0 && <p class="faint nothing">Nothing has this name.</p>}
      </div>
    </dialog>
  );
}
