'use client';

import { Machine } from 'nullspace';

// Only built here: that the client bundle is made is what this page shows. vite and others run theirs in Chromium.
export default function Page() {
  return (
    <button type="button" onClick={() => Machine.list().catch(console.error)}>
      list
    </button>
  );
}
