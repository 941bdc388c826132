import { useState } from 'preact/hooks';

import { type Demo, DEMOS } from './demos';
import { Action, Problem } from './parts';
import { go } from './route';

/** The first screen: what a machine is, and three things to try. */
export function Home() {
  return (
    <section class="home-room" aria-labelledby="home-title">
      <header class="hero">
        <h2 id="home-title">A machine is a small Linux computer that you can throw away.</h2>
        <p>
          It starts in milliseconds, has files, processes and a network of its own, and reaches only what you allow. Run
          code in it that you would rather not run here. It ends by itself when its time is over.
        </p>
        <p class="row">
          <a class="button primary" href="#/create">
            New machine
          </a>
          <span class="hint">
            or press <kbd>Ctrl</kbd> <kbd>K</kbd>
          </span>
        </p>
      </header>
      <h3>Three things to try</h3>
      <ul class="demos">
        {DEMOS.map((demo) => (
          <Card key={demo.title} demo={demo} />
        ))}
      </ul>
    </section>
  );
}

function Card({ demo }: { demo: Demo }) {
  const [error, setError] = useState<unknown>();
  const [said, setSaid] = useState('');
  const run = async () => {
    setError(undefined);
    try {
      go(await demo.run(setSaid));
    } finally {
      setSaid('');
    }
  };
  return (
    <li class="card">
      <h4>{demo.title}</h4>
      <p>{demo.says}</p>
      {error !== undefined && <Problem error={error} />}
      <div class="row">
        <Action run={run} failed={setError}>
          {demo.button}
        </Action>
        <span class="hint" role="status">
          {said}
        </span>
      </div>
    </li>
  );
}
