// Light, dark, or as the system is.

import { effect, signal } from '@preact/signals';

export const SCHEMES = ['system', 'light', 'dark'] as const;
export const scheme = signal<string>(localStorage.getItem('scheme') ?? 'system');

effect(() => {
  document.documentElement.style.colorScheme = scheme.value === 'system' ? 'light dark' : scheme.value;
  localStorage.setItem('scheme', scheme.value);
});
