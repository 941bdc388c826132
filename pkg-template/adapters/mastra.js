import { findByName, fromSnapshot, nameOf, snapshotsOf, unlessMissing } from './shared.js';

/** Seconds of a sandbox without `timeout`; each start gives it so many again. */
const LEASE = 1800;
/** The exit code of a command that took too long, as of `timeout`. */
const TIMED_OUT = 124;

const INSTRUCTIONS =
  'An isolated Linux machine. Commands run with /bin/sh; relative paths start at /workspace. Files stay between commands.';

const defined = (envs) => Object.fromEntries(Object.entries(envs).filter(([, value]) => value !== undefined));

const handleClass = (ProcessHandle) =>
  class extends ProcessHandle {
    pid = '';
    exitCode = undefined;
    #command;
    #ended;
    #isKilled = false;

    async begin(machine, command, { timeout, stdinMode, ...options }) {
      const started = Date.now();
      let timedOut = false;
      const running = await machine.commands.run(command, {
        ...options,
        shell: true,
        background: true,
        onStdout: (text) => this.emitStdout(text),
        onStderr: (text) => this.emitStderr(text),
      });
      this.#command = running;
      this.pid = String(running.pid);
      const limit = timeout
        ? setTimeout(() => {
            timedOut = true;
            running.kill().catch(() => {});
          }, timeout)
        : undefined;
      this.#ended = (async () => {
        try {
          const { exitCode } = await running.wait();
          this.exitCode = timedOut ? TIMED_OUT : exitCode;
        } catch (error) {
          this.exitCode = 1;
          throw error;
        } finally {
          clearTimeout(limit);
        }
        const { stdout, stderr, exitCode } = this;
        const executionTimeMs = Date.now() - started;
        const how = { executionTimeMs, killed: this.#isKilled, timedOut };
        return { success: exitCode === 0, exitCode, stdout, stderr, ...how };
      })();
      this.#ended.catch(() => {}); // nobody has to wait
      // One that has ended already reads nothing.
      if (stdinMode === 'ignore') await running.closeStdin().catch(() => {});
    }

    async wait() {
      return this.#ended;
    }

    async kill() {
      if (this.exitCode !== undefined) return false;
      this.#isKilled = true;
      await this.#command.kill();
      return true;
    }

    async sendStdin(data) {
      await this.#command.sendStdin(data);
    }

    async closeStdin() {
      await this.#command.closeStdin();
    }
  };

const processesClass = (SandboxProcessManager, Handle) =>
  class extends SandboxProcessManager {
    async spawn(command, { cwd = this.sandbox.workingDirectory, env, timeout, stdinMode, ...options } = {}) {
      const handle = new Handle(options);
      const envs = defined({ ...this.env, ...env });
      await handle.begin(this.sandbox.machine, command, { cwd, envs, timeout, stdinMode });
      this._tracked.set(handle.pid, handle);
      return handle;
    }

    async list() {
      return [...this._tracked.values()].map(({ pid, command, exitCode }) => ({
        pid,
        command,
        running: exitCode === undefined,
        exitCode,
      }));
    }
  };

/** The snapshot's name of a checkpoint. */
const checkpoint = (name) => nameOf('mastra:checkpoint', name);

export const nullspaceSandbox = (base, sdk, given = {}) => {
  const { MastraSandbox, SandboxProcessManager, ProcessHandle } = base;
  const { Machine, Snapshot } = sdk;
  const { id = `nullspace-${crypto.randomUUID()}`, instructions = INSTRUCTIONS, ...more } = given;
  const { checkpointName, seedCheckpointName, env, workingDirectory, onStart, onStop, onDestroy, ...options } = more;
  const Processes = processesClass(SandboxProcessManager, handleClass(ProcessHandle));

  return new (class NullspaceSandbox extends MastraSandbox {
    id = id;
    name = 'NullspaceSandbox';
    provider = 'nullspace';
    status = 'pending';
    supportsCheckpoints = checkpointName !== undefined;
    /** The machine, once it was started. */
    machine = undefined;
    networking = {
      getPortUrl: async (port) => (this.status === 'running' ? this.machine.getUrl(port) : null),
    };

    constructor() {
      super({
        name: 'NullspaceSandbox',
        processes: new Processes(),
        ...{ env, workingDirectory, onStart, onStop, onDestroy },
      });
    }

    async start({ abortSignal: signal } = {}) {
      let outcome = 'connected';
      const wanted = { timeout: LEASE, ...options };
      let seed;
      for (const name of [checkpointName, seedCheckpointName])
        if (name !== undefined && !seed) [seed] = await snapshotsOf(Snapshot, await checkpoint(name), signal);
      this.machine = await Machine.getOrCreate({
        ...(seed ? fromSnapshot(wanted, seed.id) : wanted),
        name: await nameOf('mastra', id),
        signal,
        onCreate: () => {
          outcome = 'created';
        },
      });
      return { outcome };
    }

    async stop() {
      if (this.machine) await unlessMissing(this.machine.pause(), true);
    }

    async destroy() {
      // Of another process, too.
      const found = this.machine ?? (await findByName(Machine, await nameOf('mastra', id)));
      if (found) await unlessMissing(Machine.killById(found.id), true);
      this.machine = undefined;
    }

    /** Keeps the files under the name of the checkpoint, in the place of those before. */
    async snapshot() {
      if (checkpointName === undefined) return;
      await this.ensureRunning();
      const name = await checkpoint(checkpointName);
      const before = await snapshotsOf(Snapshot, name);
      await this.machine.createSnapshot({ name });
      for (const old of before) await unlessMissing(Snapshot.delete(old.id));
    }

    clone({ id: own, env: envs, workingDirectory: cwd, idleTimeoutMinutes, ...named } = {}) {
      return nullspaceSandbox(base, sdk, {
        ...more,
        instructions,
        ...(own !== undefined && { id: own }),
        ...(envs && { env: envs }),
        ...(cwd !== undefined && { workingDirectory: cwd }),
        ...(idleTimeoutMinutes !== undefined && { inactivityTimeoutMs: idleTimeoutMinutes * 60_000 }),
        checkpointName: named.checkpointName,
        seedCheckpointName: named.seedCheckpointName,
      });
    }

    async writeFiles(files, { abortSignal: signal } = {}) {
      await this.ensureRunning();
      await this.machine.files.writeFiles(files, { signal });
    }

    getInstructions() {
      return instructions;
    }

    async getInfo() {
      const { provider, name, status, machine } = this;
      const info = machine && (await unlessMissing(machine.getInfo(), true));
      return {
        ...{ id, name, provider, status },
        createdAt: info?.createdAt ?? new Date(),
        ...(info?.timeoutAt && { timeoutAt: info.timeoutAt }),
        ...(info && {
          resources: { memoryMB: info.config.memoryMb, cpuCores: info.config.vcpus },
          metadata: { ...info.metadata, machineId: info.id },
        }),
      };
    }
  })();
};
