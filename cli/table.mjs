// Every command, in the order of the help: its name, its short form, what it does, and how.

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
  ['run', undefined, 'make a machine, run a command in it, destroy it', run],
  ['machine create', undefined, 'make a machine and print its id', machine.create],
  ['machine list', 'ls', 'list machines', machine.list],
  ['machine get', undefined, 'describe a machine', machine.get],
  ['machine connect', undefined, 'check that a machine runs, and resume a paused one', machine.connect],
  ['machine exec', 'exec', 'run a command; ends with its exit code', exec],
  ['machine shell', 'shell', 'open a terminal', shell],
  ['machine ssh', 'ssh', 'connect with the ssh of this computer; ends with its exit code', ssh],
  ['machine code', 'code', 'run code in a machine of template code-interpreter; ends with 1 when it fails', code],
  ['machine cp', 'cp', 'copy a file or a directory into a machine or out of it', copy],
  ['machine logs', 'logs', 'print the output of a background command', logs],
  ['machine watch', 'watch', 'print changes of files', watch],
  ['machine metrics', 'metrics', 'print what a machine uses', metrics],
  ['machine url', 'url', 'print the URL of a port', url],
  ['machine kill', 'rm', 'destroy machines', machine.kill],
  ['machine pause', undefined, 'freeze a machine', machine.pause],
  ['machine resume', undefined, 'resume a paused machine', machine.resume],
  ['machine fork', undefined, 'make a second machine that continues from here', machine.fork],
  ['snapshot create', undefined, 'keep the state of a machine and print the id', snapshot.create],
  ['snapshot list', undefined, 'list snapshots', snapshot.list],
  ['snapshot get', undefined, 'describe a snapshot', snapshot.get],
  ['snapshot delete', undefined, 'delete snapshots', snapshot.remove],
  ['template build', undefined, 'build a template of a Dockerfile or of steps, and print its name', template.build],
  ['template list', undefined, 'list templates', template.list],
  ['template get', undefined, 'describe a template', template.get],
  ['template delete', undefined, 'delete templates', template.remove],
  ['template tag', undefined, 'add or remove tags of a template', template.tag],
  ['template rename', undefined, 'rename a template', template.rename],
  ['template builds', undefined, 'list the builds of a template', template.builds],
  ['template logs', undefined, 'print the log of a build', template.logs],
  ['template cancel', undefined, 'cancel a build', template.cancel],
  ['volume create', undefined, 'make a volume and print its id', volume.create],
  ['volume list', undefined, 'list volumes, or the files of one', volume.list],
  ['volume get', undefined, 'describe a volume', volume.get],
  ['volume delete', undefined, 'delete volumes, or files of them', volume.remove],
  ['volume cp', undefined, 'copy a file or a directory into a volume or out of it', copyOfVolume],
  ['volume cat', undefined, 'print files of volumes', volume.cat],
  ['volume attach', undefined, 'mount a volume in a machine that runs', volume.attach],
  ['volume detach', undefined, 'unmount a volume from a machine', volume.detach],
  ['warm-pool create', undefined, 'make a pool and print its id', pool.create],
  ['warm-pool list', undefined, 'list pools', pool.list],
  ['warm-pool get', undefined, 'describe a pool', pool.get],
  ['warm-pool update', undefined, 'change a pool', pool.update],
  ['warm-pool delete', undefined, 'delete a pool and its ready machines', pool.remove],
  ['warm-pool enable', undefined, 'let a pool serve and fill', pool.enable],
  ['warm-pool disable', undefined, 'let a pool neither serve nor fill', pool.disable],
  ['warm-pool drain', undefined, 'destroy its ready machines', pool.drain],
  ['warm-pool reconcile', undefined, 'compare what there is with what there should be', pool.reconcile],
  ['warm-pool wait', undefined, 'wait until enough machines are ready', pool.wait],
  ['events', undefined, 'print what happened to machines', events],
  ['mcp', undefined, 'serve machines to agents over the Model Context Protocol', mcp],
  ['mcp install', undefined, 'write the configuration of a client of that', installMcp],
  ['docs', undefined, 'print the package in short, for coding agents', docs],
  ['docs install', undefined, 'write that as a skill of a coding agent', installDocs],
  ['engine', undefined, 'find or start the local engine', engine.engine],
  ['engine stop', undefined, 'end it; its state stays', engine.stop],
  ['engine status', undefined, 'where it is, and what this computer cannot do', engine.status],
  ['engine logs', undefined, 'what an engine in the background said', engine.logs],
  ['engine env', undefined, 'print its address and key for a shell', engine.env],
  ['doctor', undefined, 'check whether machines can be used from here', doctor],
  ['completion', undefined, 'print completions: eval "$(nullspace completion bash)"', completion],
];
