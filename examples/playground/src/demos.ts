// Three things to try, each a few calls of the SDK.

import { keep, sdk } from './client';
import { did, literal, made } from './code';
import { linkTo } from './route';

/** What rooms of a machine begin with, when a demo made it. */
export const begins = new Map<string, { cells?: readonly string[]; port?: number }>();

const WAVE = `import math

class Plot:
    """A line, as SVG: notebooks show what has _repr_svg_."""
    def __init__(self, values):
        self.values = values

    def _repr_svg_(self):
        step = 600 / (len(self.values) - 1)
        points = ' '.join(f'{i * step:.1f},{100 - 80 * v:.1f}' for i, v in enumerate(self.values))
        return ('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 600 200" width="600" height="200">'
                '<path d="M0 100H600" stroke="#999" stroke-width="1"/>'
                f'<polyline points="{points}" fill="none" stroke="#0b57d0" stroke-width="3"/></svg>')

wave = [math.sin(x / 12) * math.exp(-x / 150) for x in range(300)]
print(len(wave), 'points, computed in the machine')
Plot(wave)`;

const PAGE = `<!doctype html>
<meta charset="utf-8">
<title>From a machine</title>
<style>body { font: 18px system-ui; display: grid; place-items: center; min-height: 90vh; background: #eef3fd; color: #1b1f24 }</style>
<main><h1>Hello from inside</h1><p>This page is served by a machine. Edit /workspace/index.html and reload.</p></main>
`;

const create = async (name: string, template: string) => {
  const chosen = { template, timeout: 1800, metadata: { name } };
  const machine = keep(await sdk.Machine.create(chosen));
  return { machine, called: made('machine', `await Machine.create(${literal(chosen)})`, machine.id) };
};

export interface Demo {
  title: string;
  says: string;
  button: string;
  /** Gives the address of what there is to see; tells what it does. */
  run(say: (what: string) => void): Promise<string>;
}

export const DEMOS: readonly Demo[] = [
  {
    title: 'Run Python, see a plot',
    says: 'Cells that remember what earlier ones defined, as in a notebook. Pictures come back as pictures.',
    button: 'Run Python',
    async run(say) {
      say('Making a machine with a code interpreter …');
      const { machine } = await create('Python with a plot', 'code-interpreter');
      begins.set(machine.id, { cells: [WAVE, 'max(wave), min(wave)'] });
      return linkTo(machine.id, 'code');
    },
  },
  {
    title: 'Serve a page, open it',
    says: 'A web server in the machine, and the address where your browser reaches it. Each port has one of its own.',
    button: 'Serve a page',
    async run(say) {
      say('Making a machine …');
      const { machine, called } = await create('A page', 'base');
      say('Starting a web server in it …');
      await machine.files.write('/workspace/index.html', PAGE);
      did(`await ${called}.files.write('/workspace/index.html', '<h1>Hello from inside</h1>');`);
      const line = 'exec python3 -m http.server -d /workspace 8000';
      await machine.commands.run(line, { shell: true, background: true });
      did(`await ${called}.commands.run(${literal(line)}, { shell: true, background: true });`);
      begins.set(machine.id, { port: 8000 });
      return linkTo(machine.id, 'preview');
    },
  },
  {
    title: 'Fork what you have',
    says: 'Prepare a machine once, then copy it as it is. What the copy does, the first one does not notice.',
    button: 'Fork a machine',
    async run(say) {
      say('Making a machine and putting something into it …');
      const { machine, called } = await create('Prepared once', 'base');
      const write = async (of: typeof machine, name: string, text: string) => {
        await of.files.write('/workspace/who.txt', text);
        did(`await ${name}.files.write('/workspace/who.txt', ${literal(text)});`);
      };
      await write(machine, called, 'prepared once\n');
      say('Forking it …');
      const child = keep(await machine.fork());
      const second = made('fork', `await ${called}.fork()`, child.id);
      await write(child, second, 'prepared once, changed in the fork\n');
      did(`console.log(await ${called}.files.read('/workspace/who.txt')); // still as it was`);
      return linkTo(machine.id, 'family');
    },
  },
];
