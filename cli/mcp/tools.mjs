// The tools: what each takes, gives and does. Names and fields are those of the HTTP API, which models know from JSON.

import { Machine } from 'nullspace';
import { z } from 'zod';

import { head, readable, shortened } from './texts.mjs';

const READS = { readOnlyHint: true, openWorldHint: false };
const CHANGES = { readOnlyHint: false, destructiveHint: false, openWorldHint: false };
const DESTROYS = { readOnlyHint: false, destructiveHint: true, idempotentHint: true, openWorldHint: false };
/** What runs in a machine may reach the network. */
const RUNS = { readOnlyHint: false, destructiveHint: false, openWorldHint: true };

const machine = z
  .string()
  .regex(/^mch_\w+$/)
  .optional()
  .describe('Id of a machine, "mch_...". Without it: the machine of this session, made when first needed.');
const id = z
  .string()
  .regex(/^mch_\w+$/)
  .describe('Id of a machine, "mch_..."');
const path = z.string().min(1).describe('Path in the machine. Relative ones begin at /workspace.');
const seconds = (most) => z.number().int().min(1).max(most);

const described = { id: z.string(), status: z.string(), template: z.string().optional() };
const info = ({ id, status, template }) => ({ id, status, template });
const about = async (found, call) => info(await found.getInfo(call));

/** Both streams of something that ran, no longer than a model can read. */
const printed = ({ stdout, stderr }, most) => {
  const [out, err] = [shortened(stdout, most), shortened(stderr, most)];
  return {
    stdout: out.text,
    stderr: err.text,
    ...(out.left_out + err.left_out > 0 && { characters_left_out: out.left_out + err.left_out }),
  };
};
const streams = { stdout: z.string(), stderr: z.string(), characters_left_out: z.number().optional() };

/** Each: `[name, { title, description, input, output, annotations }, run]`; `run(session, arguments, call)`. */
export const TOOLS = [
  [
    'machine_create',
    {
      title: 'Create a machine',
      description:
        'Makes an isolated Linux machine and gives its id. Not needed for simple work: other tools make one by themselves.',
      input: {
        template: z
          .string()
          .optional()
          .describe('"base", or "code-interpreter" (the default), which also runs code cells'),
        vcpus: z.number().int().min(1).optional(),
        memory_mb: z.number().int().min(1).optional().describe('MiB'),
        internet_access: z.boolean().optional().describe('false: nothing leaves the machine. Default: true'),
        envs: z.record(z.string(), z.string()).optional(),
        snapshot_id: z.string().optional().describe('Start from this snapshot'),
        keep: z.boolean().optional().describe('true: the machine outlives this session. Default: false'),
      },
      output: described,
      annotations: CHANGES,
    },
    async ({ machines }, { memory_mb, internet_access, snapshot_id, ...rest }, call) => {
      const options = { ...rest, memoryMb: memory_mb, internetAccess: internet_access, snapshotId: snapshot_id };
      if (snapshot_id !== undefined) options.template = undefined;
      return about(await machines.create(options, call), call);
    },
  ],
  [
    'exec',
    {
      title: 'Run a command',
      description:
        'Runs a shell command in a machine and gives its exit code and output. A non-zero exit code is a result, not an error.',
      input: {
        command: z.string().min(1).describe('A line for /bin/sh'),
        machine,
        cwd: z.string().optional(),
        envs: z.record(z.string(), z.string()).optional(),
        timeout_seconds: seconds(86_400).optional().describe('Default: 120'),
        background: z.boolean().optional().describe('true: do not wait for its end, such as for a server'),
      },
      output: {
        exit_code: z.number().optional(),
        pid: z.number().optional(),
        ...Object.fromEntries(Object.entries(streams).map(([name, kind]) => [name, kind.optional()])),
      },
      annotations: RUNS,
    },
    async ({ machines, most, progress }, { command, machine, timeout_seconds, background = false, ...rest }, call) => {
      const found = await machines.take(machine, call);
      if (background) {
        const { pid } = await found.commands.run(command, {
          shell: true,
          background,
          timeout: timeout_seconds,
          ...rest,
          ...call,
        });
        return { pid };
      }
      const options = { shell: true, timeout: timeout_seconds ?? 120, ...rest, ...call };
      const heard = progress && { onStdout: progress, onStderr: progress };
      const result = await found.commands.run(command, { ...options, ...heard });
      return { exit_code: result.exitCode, ...printed(result, most) };
    },
  ],
  [
    'run_code',
    {
      title: 'Run code',
      description:
        'Runs a cell of code, as in a notebook: what it defines is there for the next cell of the same language. The machine must be of template "code-interpreter".',
      input: {
        code: z.string().min(1),
        language: z.enum(['python', 'javascript', 'bash']).optional().describe('Default: python'),
        machine,
        timeout_seconds: seconds(86_400).optional().describe('Default: 300'),
      },
      output: {
        ...streams,
        text: z.string().optional().describe('The value of the cell'),
        error: z.object({ name: z.string(), value: z.string(), traceback: z.string() }).optional(),
      },
      annotations: RUNS,
    },
    async ({ machines, most, progress }, { code, language, machine, timeout_seconds }, call) => {
      const found = await machines.take(machine, call);
      const heard = progress && { onStdout: ({ text }) => progress(text), onStderr: ({ text }) => progress(text) };
      const { text, error, logs } = await found.runCode(code, {
        language,
        timeout: timeout_seconds,
        ...heard,
        ...call,
      });
      const { stdout, stderr } = logs;
      return {
        ...printed({ stdout: stdout.join(''), stderr: stderr.join('') }, most),
        ...(text != null && { text: shortened(text, most).text }),
        ...(error && {
          error: { name: error.name, value: error.value, traceback: shortened(error.traceback, most).text },
        }),
      };
    },
  ],
  [
    'file_read',
    {
      title: 'Read a file',
      description: 'Gives the content of a file: text, or base64 where it is no UTF-8.',
      input: {
        path,
        machine,
        max_bytes: z
          .number()
          .int()
          .min(1)
          .max(1 << 24)
          .optional(),
      },
      output: { content: z.string(), encoding: z.enum(['utf-8', 'base64']), is_cut: z.boolean() },
      annotations: READS,
    },
    async ({ machines, most }, { path, machine, max_bytes }, call) => {
      const found = await machines.take(machine, call);
      const { bytes, isCut } = await head(
        await found.files.read(path, { format: 'stream', ...call }),
        max_bytes ?? most,
      );
      return { ...readable(bytes), is_cut: isCut };
    },
  ],
  [
    'file_write',
    {
      title: 'Write a file',
      description: 'Writes a file; directories above it are made. A file that is there is replaced.',
      input: { path, content: z.string(), encoding: z.enum(['utf-8', 'base64']).optional(), machine },
      output: { path: z.string(), size: z.number() },
      annotations: { ...CHANGES, destructiveHint: true, idempotentHint: true },
    },
    async ({ machines }, { path, content, encoding = 'utf-8', machine }, call) => {
      const found = await machines.take(machine, call);
      const bytes = Buffer.from(content, encoding);
      const written = await found.files.write(path, bytes, call);
      return { path: written.path, size: bytes.length };
    },
  ],
  [
    'file_list',
    {
      title: 'List a directory',
      description: 'Lists a directory, with sizes.',
      input: { path: path.optional(), machine, depth: z.number().int().min(1).max(10).optional() },
      output: {
        entries: z.array(z.object({ path: z.string(), is_dir: z.boolean(), size: z.number().optional() })),
        entries_left_out: z.number().optional(),
      },
      annotations: READS,
    },
    async ({ machines }, { path = '/workspace', machine, depth }, call) => {
      const found = await machines.take(machine, call);
      const all = await found.files.list(path, { depth, ...call });
      const entries = all.slice(0, 1000).map(({ path, isDir, size }) => ({ path, is_dir: isDir, size }));
      return { entries, ...(all.length > entries.length && { entries_left_out: all.length - entries.length }) };
    },
  ],
  [
    'preview_url',
    {
      title: 'Open a port',
      description: 'Gives the URL at which a server in the machine is reached.',
      input: { port: z.number().int().min(1).max(65_535), machine },
      output: { url: z.string() },
      annotations: READS,
    },
    async ({ machines }, { port, machine }, call) => ({
      url: await (await machines.take(machine, call)).getUrl(port, call),
    }),
  ],
  [
    'machine_list',
    {
      title: 'List machines',
      description: 'Lists machines of this account, newest first.',
      input: { state: z.enum(['running', 'paused']).optional(), limit: z.number().int().min(1).max(100).optional() },
      output: { machines: z.array(z.object(described)) },
      annotations: READS,
    },
    async (_, { state, limit = 20 }, call) => {
      const { items } = await Machine.list({ state, limit, ...call });
      return { machines: items.map(info) };
    },
  ],
  [
    'machine_get',
    {
      title: 'Describe a machine',
      description: 'Tells the state of a machine. A paused one stays paused.',
      input: { id },
      output: { ...described, remaining_seconds: z.number().optional() },
      annotations: READS,
    },
    async (_, { id }, call) => {
      const found = await Machine.getInfoById(id, call);
      const left = found.remainingMs;
      return { ...info(found), ...(left != null && { remaining_seconds: Math.round(left / 1000) }) };
    },
  ],
  [
    'machine_kill',
    {
      title: 'Destroy a machine',
      description: 'Destroys a machine and its files.',
      input: { id },
      output: { id: z.string() },
      annotations: DESTROYS,
    },
    async ({ machines }, { id }, call) => {
      await Machine.killById(id, call);
      machines.forget(id);
      return { id };
    },
  ],
  [
    'machine_pause',
    {
      title: 'Pause a machine',
      description: 'Freezes a machine with its processes.',
      input: { id },
      output: { id: z.string() },
      annotations: { ...CHANGES, idempotentHint: true },
    },
    async ({ machines }, { id }, call) => {
      await (await machines.take(id, call)).pause(call);
      return { id };
    },
  ],
  [
    'machine_resume',
    {
      title: 'Resume a machine',
      description: 'Continues a paused machine.',
      input: { id },
      output: described,
      annotations: { ...CHANGES, idempotentHint: true },
    },
    async (_, { id }, call) => about(await Machine.resume(id, call), call),
  ],
  [
    'machine_fork',
    {
      title: 'Fork a machine',
      description: 'Makes a second machine with the same files.',
      input: { machine },
      output: described,
      annotations: CHANGES,
    },
    async ({ machines }, { machine }, call) => {
      const fork = await (await machines.take(machine, call)).fork(call);
      return about(machines.adopt(fork), call);
    },
  ],
  [
    'snapshot_create',
    {
      title: 'Keep a snapshot',
      description:
        'Keeps the files of a machine as a snapshot, which outlives the machine. machine_create takes its id.',
      input: { machine },
      output: { snapshot_id: z.string() },
      annotations: CHANGES,
    },
    async ({ machines }, { machine }, call) => ({
      snapshot_id: (await (await machines.take(machine, call)).createSnapshot(call)).id,
    }),
  ],
  [
    'file_upload',
    {
      title: 'Upload a file',
      description: 'Copies a file or a directory of this computer into the machine.',
      input: { local_path: z.string().min(1), path, machine },
      output: { files: z.number() },
      annotations: CHANGES,
      needsFiles: true,
    },
    async ({ machines, files }, { local_path, path, machine }, call) => {
      const source = await files.source(local_path);
      const sent = await (await machines.take(machine, call)).files.upload(source, path, call);
      return { files: sent.files ?? 1 };
    },
  ],
  [
    'file_download',
    {
      title: 'Download a file',
      description: 'Copies a file of the machine to this computer. A file that is there is replaced.',
      input: { path, local_path: z.string().min(1), machine },
      output: { local_path: z.string() },
      annotations: { ...CHANGES, destructiveHint: true },
      needsFiles: true,
    },
    async ({ machines, files }, { path, local_path, machine }, call) => {
      const target = await files.target(local_path);
      const { files: remote } = await machines.take(machine, call);
      await remote.downloadFile(path, target, { overwrite: true, ...call });
      return { local_path: target };
    },
  ],
];
