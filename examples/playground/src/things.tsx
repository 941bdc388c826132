// What the rooms of things that outlive machines have in common: a list that is read again when something changes.

import type { ComponentChildren } from 'preact';
import { useEffect, useState } from 'preact/hooks';

import { changes } from './client';
import { Empty, Loading, Problem } from './parts';

/** The things, what went wrong, and a way to read them again. With `everyMs` they are read that often, too. */
export function useThings<Thing>(list: () => Promise<readonly Thing[]>, everyMs?: number) {
  const [all, setAll] = useState<readonly Thing[]>();
  const [error, setError] = useState<unknown>();
  const read = () =>
    list().then((found) => {
      setAll(found);
      setError(undefined);
    });
  useEffect(() => {
    read().catch(setError);
    if (everyMs === undefined) return;
    const timer = setInterval(() => read().catch(setError), everyMs);
    return () => clearInterval(timer);
  }, [changes.value]);
  return { all, error, setError, read };
}

/** What stands above and in place of the list: an error, that it is being read, or that it is empty. */
export function Listed<Thing>(props: {
  things: ReturnType<typeof useThings<Thing>>;
  what: string;
  empty: ComponentChildren;
  children: (all: readonly Thing[]) => ComponentChildren;
}) {
  const { all, error, setError, read } = props.things;
  return (
    <>
      {error !== undefined && <Problem error={error} retry={() => read().catch(setError)} />}
      {all === undefined && error === undefined && <Loading>Reading {props.what} …</Loading>}
      {all?.length === 0 && <Empty>{props.empty}</Empty>}
      {all !== undefined && all.length > 0 && props.children(all)}
    </>
  );
}

/** A table of them; the last column holds what can be done. */
export const ThingsTable = (props: { columns: readonly string[]; children: ComponentChildren }) => (
  <table class="things">
    <thead>
      <tr>
        {props.columns.map((column) => (
          <th scope="col" key={column}>
            {column}
          </th>
        ))}
        <th scope="col">
          <span class="unseen">Actions</span>
        </th>
      </tr>
    </thead>
    <tbody>{props.children}</tbody>
  </table>
);
