'use client';

import { Nullspace } from 'nullspace';
import { useEffect } from 'react';

export default function Page() {
  useEffect(() => {
    run();
  }, []);
  return <p>The console says what came of it.</p>;
}

async function run() {
  const { Machine } = new Nullspace({
    baseUrl: location.origin,
    apiKey: new URLSearchParams(location.search).get('key'),
  });
  try {
    const machine = await Machine.create({ timeout: 60 });
    const { stdout } = await machine.commands.run('echo hello', { shell: true });
    // Loads a part of the package.
    await machine.getMetrics();
    const { items } = await Machine.list();
    const listed = items.some(({ id }) => id === machine.id);
    await machine.kill();
    console.log('RESULT', JSON.stringify({ id: machine.id, stdout, listed, instance: machine instanceof Machine }));
  } catch (error) {
    console.log('FAILED', String(error));
  }
}
