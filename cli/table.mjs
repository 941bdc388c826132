// Every command, in the order of the help: its name, what it does, how, and its short form.

import { call } from './call.mjs';
import { code } from './code.mjs';
import { completion } from './completion.mjs';
import { shell, ssh } from './connections.mjs';
import { copy, copyOfVolume } from './copy.mjs';
import { docs, install as installDocs } from './docs.mjs';
import { doctor } from './doctor.mjs';
import * as engine from './engine.mjs';
import { events } from './events.mjs';
import { exec, run } from './exec.mjs';
import { logs } from './logs.mjs';
import * as machine from './machine.mjs';
import { install as installMcp, mcp } from './mcp.mjs';
import { metrics } from './metrics.mjs';
import { idAlone } from './output.mjs';
import * as pool from './pool.mjs';
import { url } from './preview.mjs';
import * as snapshot from './snapshot.mjs';
import * as template from './template.mjs';
import * as volume from './volume.mjs';
import { watch } from './watch.mjs';

/** Names of more than one word, and what they are about. */
export const GROUPS = {
  machine: 'make and use machines',
  snapshot: 'keep states of machines',
  template: 'build what machines start from',
  volume: 'keep directories that outlive machines',
  'warm-pool': 'hold machines ready',
};

export const TABLE = [
  ['run', 'make a machine, run a command in it, destroy it', run],
  ['machine create', 'make a machine and print its id', machine.create],
  ['machine list', 'list machines', machine.list, 'ls'],
  ['machine get', 'describe a machine', call('Machine.getInfoById')],
  ['machine connect', 'check that a machine runs, and resume a paused one', machine.connect],
  ['machine exec', 'run a command; ends with its exit code', exec, 'exec'],
  ['machine shell', 'open a terminal', shell, 'shell'],
  ['machine ssh', 'connect with the ssh of this computer; ends with its exit code', ssh, 'ssh'],
  ['machine code', 'run code in a machine of template code-interpreter; ends with 1 when it fails', code, 'code'],
  ['machine cp', 'copy a file or a directory into a machine or out of it', copy, 'cp'],
  ['machine logs', 'print the output of a background command', logs, 'logs'],
  ['machine watch', 'print changes of files', watch, 'watch'],
  ['machine metrics', 'print what a machine uses', metrics, 'metrics'],
  ['machine url', 'print the URL of a port', url, 'url'],
  ['machine kill', 'destroy machines', call('Machine.killById', { many: 'ids of machines', done: 'killed' }), 'rm'],
  ['machine pause', 'freeze a machine', call('Machine#pause', { view: idAlone })],
  ['machine resume', 'resume a paused machine', call('Machine.resume', { shows: ({ id }) => ({ id }) })],
  ['machine fork', 'make a second machine that continues from here', machine.fork],
  ['snapshot create', 'keep the state of a machine and print the id', snapshot.create],
  ['snapshot list', 'list snapshots', snapshot.list],
  ['snapshot get', 'describe a snapshot', call('Snapshot.get')],
  ['snapshot delete', 'delete snapshots', call('Snapshot.delete', { many: 'ids of snapshots' })],
  ['template build', 'build a template of a Dockerfile or of steps, and print its name', template.build],
  ['template list', 'list templates', call('Template.list')],
  ['template get', 'describe a template', call('Template.get')],
  ['template delete', 'delete templates', call('Template.delete', { many: 'names or ids' })],
  ['template tag', 'add or remove tags of a template', template.tag],
  ['template rename', 'rename a template', call('Template.rename')],
  ['template builds', 'list the builds of a template', template.builds],
  ['template logs', 'print the log of a build', template.logs],
  ['template cancel', 'cancel a build', call('TemplateBuild#cancel', { flags: [['--reason <text>', 'why']] })],
  ['volume create', 'make a volume and print its id', call('Volume.create')],
  ['volume list', 'list volumes, or the files of one', volume.list],
  ['volume get', 'describe a volume', call('Volume#getInfo')],
  ['volume delete', 'delete volumes, or files of them', volume.remove],
  ['volume cp', 'copy a file or a directory into a volume or out of it', copyOfVolume],
  ['volume cat', 'print files of volumes', volume.cat],
  ['volume attach', 'mount a volume in a machine that runs', volume.attach],
  ['volume detach', 'unmount a volume from a machine', volume.detach],
  ['warm-pool create', 'make a pool and print its id', pool.create],
  ['warm-pool list', 'list pools', call('TemplateWarmPool.list')],
  ['warm-pool get', 'describe a pool', call('TemplateWarmPool#getInfo')],
  ['warm-pool update', 'change a pool', pool.update],
  ['warm-pool delete', 'delete a pool and its ready machines', call('TemplateWarmPool#delete')],
  ['warm-pool enable', 'let a pool serve and fill', call('TemplateWarmPool#enable')],
  ['warm-pool disable', 'let a pool neither serve nor fill', call('TemplateWarmPool#disable')],
  ['warm-pool drain', 'destroy its ready machines', call('TemplateWarmPool#drain')],
  ['warm-pool reconcile', 'compare what there is with what there should be', call('TemplateWarmPool#reconcile')],
  ['warm-pool wait', 'wait until enough machines are ready', pool.wait],
  ['events', 'print what happened to machines', events],
  ['mcp', 'serve machines to agents over the Model Context Protocol', mcp],
  ['mcp install', 'write the configuration of a client of that', installMcp],
  ['docs', 'print the package in short, for coding agents', docs],
  ['docs install', 'write that as a skill of a coding agent', installDocs],
  ['engine', 'find or start the local engine', engine.engine],
  ['engine stop', 'end it; its state stays', engine.stop],
  ['engine status', 'where it is, and what this computer cannot do', engine.status],
  ['engine logs', 'what an engine in the background said', engine.logs],
  ['engine env', 'print its address and key for a shell', engine.env],
  ['doctor', 'check whether machines can be used from here', doctor],
  ['completion', 'print completions: eval "$(nullspace completion bash)"', completion],
];
