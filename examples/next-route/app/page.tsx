'use client';

import { useState } from 'react';

export default function Page() {
  const [command, setCommand] = useState('uname -a');
  const [output, setOutput] = useState('');
  const run = async () => {
    setOutput('');
    const answer = await fetch('/api/run', { method: 'POST', body: JSON.stringify({ command }) });
    if (!answer.ok || !answer.body) return setOutput(`HTTP ${answer.status}: ${await answer.text()}`);
    let rest = '';
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
      const lines = (rest + piece.value).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) {
        const event = JSON.parse(line);
        const text = event.data ?? (event.kind === 'exit' ? `(exit code ${event.exitCode})` : event.message);
        if (text) setOutput((before) => before + text);
      }
    }
  };
  return (
    <main>
      <form action={run}>
        <label>
          Command <input value={command} onChange={(event) => setCommand(event.target.value)} />
        </label>
        <button type="submit">Run</button>
      </form>
      <pre>{output}</pre>
    </main>
  );
}
