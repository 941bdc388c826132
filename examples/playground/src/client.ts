// The SDK, bound to the engine that serves beside this page, and what is known of all machines.

import { computed, signal } from '@preact/signals';
import {
  type Machine,
  type MachineInfo,
  type MonitorMetrics,
  type MonitorSubscription,
  NotFoundError,
  Nullspace,
  TransportError,
} from 'nullspace';

/** Samples kept for the plots: two minutes. */
const SAMPLES = 120;
/** The engine is asked this often whether it is there. Milliseconds. */
const PULSE_MS = 3000;
/** It is gone when it has not answered for so long. Seconds. */
const PATIENCE = 4;

export let sdk: Nullspace;

/** Whether the engine answers, or what it fails with. */
export const connection = signal<'connecting' | 'live' | { error: unknown }>('connecting');
/** All machines, as the monitor tells them. */
export const machines = signal<ReadonlyMap<string, MachineInfo>>(new Map());
/** Samples of a machine, oldest first. */
export const samples = signal<ReadonlyMap<string, readonly MonitorMetrics[]>>(new Map());
/** Grows with every change of a machine: lists read their page again. */
export const changes = signal(0);
/** Grows whenever the engine came back: rooms begin anew. */
export const returns = signal(0);
export const runningCount = computed(() => [...machines.value.values()].filter((m) => m.status === 'running').length);

/** Handles that this page made or took up. */
const handles = new Map<string, Machine>();
let watching: MonitorSubscription | undefined;

export async function connect() {
  const answer = await fetch('/engine.json');
  if (!answer.ok) throw new Error(`the playground's server did not say where its engine is (HTTP ${answer.status})`);
  sdk = new Nullspace(await answer.json());
  await sdk.Machine.list({ limit: 1 });
  watchAll();
  beat();
}

/** Asks again and again whether the engine is there, so that an empty page knows, too. */
function beat() {
  setTimeout(async () => {
    // A page that nobody sees need not know.
    if (document.visibilityState === 'visible') await pulse();
    beat();
  }, PULSE_MS);
}

/** Asks once. After an absence everything is read anew. */
export async function pulse() {
  try {
    await sdk.Machine.list({ limit: 1, requestTimeout: PATIENCE });
  } catch (error) {
    // An engine that refuses is there.
    if (error instanceof TransportError) connection.value = { error };
    return;
  }
  if (typeof connection.value !== 'object') return;
  watchAll();
  returns.value++;
  changes.value++;
}

/** Follows all machines; the SDK opens lost connections again. */
function watchAll() {
  watching?.stop().catch(() => {});
  connection.value = 'connecting';
  const fail = (error: unknown) => {
    connection.value = { error };
  };
  watching = sdk.Monitor.subscribe({
    intervalMs: 1000,
    onSnapshot(all) {
      machines.value = new Map(all.map((machine) => [machine.id, machine]));
      connection.value = 'live';
      changes.value++;
    },
    onUpdate({ machineId, machine, removed }) {
      const next = new Map(machines.value);
      if (removed || !machine) next.delete(machineId);
      else next.set(machineId, machine);
      machines.value = next;
      changes.value++;
    },
    onMetrics({ machineId, metrics }) {
      const next = new Map(samples.value);
      next.set(machineId, [...(next.get(machineId) ?? []), metrics].slice(-SAMPLES));
      samples.value = next;
    },
    onError: fail,
  });
  watching.ready.catch(fail);
}

export const keep = (machine: Machine) => {
  handles.set(machine.id, machine);
  return machine;
};

/** The handle of a machine that runs. A paused one would be resumed by `connect`: that is for the person to decide. */
export async function handle(id: string): Promise<Machine> {
  const known = handles.get(id);
  if (known) return known;
  const info = await sdk.Machine.getInfoById(id);
  if (info.status !== 'running') throw new NotFoundError(`${id} is ${info.status}; resume it first`);
  return keep(await sdk.Machine.connect(id));
}

/** Whether the page holds a handle, which it does until it kills the machine. */
export const holds = (id: string) => handles.has(id);

export const forget = (id: string) => handles.delete(id);
