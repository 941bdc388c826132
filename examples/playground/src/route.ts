// What is shown stands in the address, so that reload, back and links work.

import { signal } from '@preact/signals';

export const TABS = ['terminal', 'files', 'metrics', 'events', 'preview', 'network', 'family'] as const;
export type Tab = (typeof TABS)[number];
export type Route = { at: 'list' } | { at: 'create' } | { at: 'machine'; id: string; tab: Tab };

function parse(hash: string): Route {
  const [, room, id, tab] = hash.replace(/^#/, '').split('/');
  if (room === 'create') return { at: 'create' };
  if (room === 'machines' && id) {
    return { at: 'machine', id, tab: TABS.find((known) => known === tab) ?? 'terminal' };
  }
  return { at: 'list' };
}

export const route = signal<Route>(parse(location.hash));
addEventListener('hashchange', () => {
  route.value = parse(location.hash);
});

export const linkTo = (id: string, tab: Tab = 'terminal') => `#/machines/${id}/${tab}`;
export const go = (hash: string) => {
  location.hash = hash;
};
