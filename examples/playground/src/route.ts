// What is shown stands in the address, so that reload, back and links work.

import { signal } from '@preact/signals';

export const TABS = ['code', 'terminal', 'files', 'preview', 'metrics', 'events', 'network', 'family'] as const;
export type Tab = (typeof TABS)[number];
/** Rooms without an id. */
export const ROOMS = ['home', 'create', 'snapshots', 'volumes', 'pools'] as const;
export type Room = (typeof ROOMS)[number];
export type Route = { at: Room; with?: string } | { at: 'machine'; id: string; tab: Tab };

function parse(hash: string): Route {
  const [path = '', query] = hash.replace(/^#/, '').split('?');
  const [, room, id, tab] = path.split('/');
  if (room === 'machines' && id) {
    return { at: 'machine', id, tab: TABS.find((known) => known === tab) ?? 'terminal' };
  }
  return { at: ROOMS.find((known) => known === room) ?? 'home', ...(query ? { with: query } : {}) };
}

export const route = signal<Route>(parse(location.hash));
addEventListener('hashchange', () => {
  route.value = parse(location.hash);
});

export const linkTo = (id: string, tab: Tab = 'terminal') => `#/machines/${id}/${tab}`;
export const go = (hash: string) => {
  location.hash = hash;
};
