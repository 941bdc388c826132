// Small parts that every room uses: problems, loading, empty, fields, buttons that are at work.

import type { ComponentChildren } from 'preact';
import { useEffect, useId, useRef, useState } from 'preact/hooks';
import { NullspaceError } from 'nullspace';

export const message = (error: unknown) => (error instanceof Error ? error.message : String(error));

/** What went wrong, what to do, and a way to try again. */
export function Problem({ error, retry }: { error: unknown; retry?: () => void }) {
  const known = error instanceof NullspaceError ? error : undefined;
  return (
    <div class="problem" role="alert">
      <p>{message(error)}</p>
      {known?.suggestedAction && <p>To do: {known.suggestedAction}</p>}
      {known && <p class="faint">code {known.code}</p>}
      {retry && (
        <button type="button" onClick={retry}>
          Try again
        </button>
      )}
    </div>
  );
}

export const Loading = ({ children }: { children: ComponentChildren }) => (
  <p class="loading" role="status">
    {children}
  </p>
);

export const Empty = ({ children }: { children: ComponentChildren }) => <div class="empty">{children}</div>;

/** A button whose work takes time: it is busy meanwhile, and tells what failed. */
export function Action(props: {
  children: ComponentChildren;
  run: () => Promise<unknown>;
  failed: (error: unknown) => void;
  kind?: 'primary' | 'danger' | 'quiet';
  disabled?: boolean;
}) {
  const [busy, setBusy] = useState(false);
  const click = async () => {
    if (busy) return;
    setBusy(true);
    try {
      await props.run();
    } catch (error) {
      props.failed(error);
    } finally {
      setBusy(false);
    }
  };
  return (
    <button type="button" class={props.kind} aria-busy={busy} disabled={props.disabled} onClick={click}>
      {props.children}
    </button>
  );
}

interface ControlIds {
  id: string;
  'aria-describedby'?: string;
  'aria-invalid'?: true;
}

/** A labelled control, with a hint and an error that belong to it. */
export function Field(props: {
  label: string;
  hint?: string;
  error?: string;
  children: (ids: ControlIds) => ComponentChildren;
}) {
  const id = useId();
  const told = [props.error && `${id}-error`, props.hint && `${id}-hint`].filter(Boolean).join(' ');
  return (
    <div class="field">
      <label for={id}>{props.label}</label>
      {props.children({
        id,
        ...(told ? { 'aria-describedby': told } : {}),
        ...(props.error ? { 'aria-invalid': true as const } : {}),
      })}
      {props.error && (
        <p class="field-error" id={`${id}-error`} role="alert">
          {props.error}
        </p>
      )}
      {props.hint && (
        <p class="hint" id={`${id}-hint`}>
          {props.hint}
        </p>
      )}
    </div>
  );
}

/** What a field for a number holds; an empty one is left to the server. */
export const number = (text: string) => (text.trim() === '' ? undefined : Number(text));

/** The options that somebody gave. */
export const given = <Options extends object>(all: Options) =>
  Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)) as Options;

/**
 * What the SDK says of one option, for the field of it: `{ option: 'timeout', text: 'must be seconds …' }`. Other errors have no
 * field.
 */
export function optionError(error: unknown) {
  const found = message(error).match(/^option `([\w.[\]]+)` (.*)$/s);
  return found?.[1] && found[2] ? { option: found[1].replace(/\[\d+\]$/, ''), text: `It ${found[2]}.` } : undefined;
}

/** Tabs after the ARIA pattern: arrows move, and what is moved to is shown. Panels stay once they were shown. */
export function Tabs<Name extends string>(props: {
  label: string;
  names: readonly Name[];
  current: Name;
  select: (name: Name) => void;
  panel: (name: Name, shown: boolean) => ComponentChildren;
}) {
  const id = useId();
  const list = useRef<HTMLDivElement>(null);
  const seen = useRef(new Set<Name>());
  seen.current.add(props.current);
  // On a narrow page the tabs scroll.
  useEffect(() => {
    const chosen = list.current?.querySelector('[aria-selected=true]');
    chosen?.scrollIntoView({ block: 'nearest', inline: 'nearest' });
  }, [props.current]);
  const move = (event: KeyboardEvent) => {
    const at = props.names.indexOf(props.current);
    const last = props.names.length - 1;
    const to = { ArrowRight: at === last ? 0 : at + 1, ArrowLeft: at === 0 ? last : at - 1, Home: 0, End: last }[
      event.key
    ];
    const name = to === undefined ? undefined : props.names[to];
    if (name === undefined) return;
    event.preventDefault();
    props.select(name);
    list.current?.querySelector<HTMLElement>(`[data-name="${name}"]`)?.focus();
  };
  return (
    <>
      <div class="tabs" role="tablist" aria-label={props.label} ref={list} onKeyDown={move}>
        {props.names.map((name) => (
          <button
            key={name}
            type="button"
            role="tab"
            id={`${id}-${name}`}
            data-name={name}
            aria-selected={name === props.current}
            aria-controls={`${id}-${name}-panel`}
            tabIndex={name === props.current ? 0 : -1}
            onClick={() => props.select(name)}
          >
            {name[0]?.toUpperCase() + name.slice(1)}
          </button>
        ))}
      </div>
      {props.names.map((name) => (
        <div
          key={name}
          class="panel"
          role="tabpanel"
          id={`${id}-${name}-panel`}
          aria-labelledby={`${id}-${name}`}
          hidden={name !== props.current}
        >
          {seen.current.has(name) && props.panel(name, name === props.current)}
        </div>
      ))}
    </>
  );
}

const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
export function bytes(count: number) {
  let at = 0;
  let value = count;
  while (value >= 1024 && at < units.length - 1) {
    value /= 1024;
    at++;
  }
  return `${value >= 100 || at === 0 ? Math.round(value) : value.toFixed(1)} ${units[at]}`;
}

const clock = new Intl.DateTimeFormat(undefined, { timeStyle: 'medium' });
export const time = (date: Date) => clock.format(date);

export function duration(ms: number) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 90) return `${seconds} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}

const day = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });
export const dateAndTime = (date: Date) => day.format(date);

export const Status = ({ status }: { status: string }) => <span class={`status ${status}`}>{status}</span>;

/** The heading of a room: what it is about in one sentence, and what one does there. */
export const RoomHead = (props: { title: string; children: ComponentChildren }) => (
  <header class="room-head">
    <h2>{props.title}</h2>
    <p class="faint">{props.children}</p>
  </header>
);

/** The name that somebody gave a machine, or its id. */
export const titleOf = (machine: { id: string; metadata?: Record<string, unknown> }) =>
  typeof machine.metadata?.name === 'string' && machine.metadata.name ? machine.metadata.name : machine.id;
