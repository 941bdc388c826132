import { render } from 'preact';

import { App } from './app';
import { connect } from './client';
import { Problem } from './parts';
import './style.css';

const place = document.getElementById('app') as HTMLElement;

async function start() {
  try {
    await connect();
    place.replaceChildren();
    render(<App />, place);
  } catch (error) {
    place.replaceChildren();
    render(
      <main class="alone">
        <h1>nullspace playground</h1>
        <Problem error={error} retry={start} />
      </main>,
      place,
    );
  }
}

start();
