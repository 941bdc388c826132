// Answers as people see them, by their names in calls.json: the text of one, the columns of many.

import { duration, entries, fields, localTime, size } from './output.mjs';

/** How long a machine has, while its time runs. */
const left = ({ status, remainingMs, timeoutAt }) => {
  if (status !== 'running') return undefined;
  const milliseconds = remainingMs ?? (timeoutAt && timeoutAt.getTime() - Date.now());
  return milliseconds === undefined ? undefined : duration(milliseconds);
};

const egress = ({ mode, allowCidrs = [], allowDomains = [], denyCidrs = [], denyDomains = [] }) =>
  [
    mode,
    ...[...allowCidrs, ...allowDomains].map((what) => `+${what}`),
    ...[...denyCidrs, ...denyDomains].map((what) => `-${what}`),
  ].join(' ');

export const VIEWS = {
  MachineInfo: (info) =>
    fields({
      id: info.id,
      status: info.status,
      template: info.template,
      vcpus: info.config?.vcpus,
      memory: info.config && `${info.config.memoryMb} MiB`,
      disk: info.config?.diskMb && `${info.config.diskMb} MiB`,
      created: info.createdAt,
      ends: info.timeoutAt,
      left: left(info),
      egress: info.network && egress(info.network.egress),
      metadata: entries(info.metadata),
      error: info.errorMessage,
      warnings: info.warnings?.join('; '),
    }),
  ListMachinesResponse: [
    ['ID', ({ id }) => id],
    ['STATUS', ({ status }) => status],
    ['TEMPLATE', (info) => info.template],
    ['CREATED', ({ createdAt }) => localTime(createdAt)],
    ['LEFT', left],
    ['METADATA', (info) => entries(info.metadata)],
  ],

  SnapshotInfo: (info) =>
    fields({
      id: info.id,
      machine: info.machineId,
      created: info.createdAt,
      size: size(info.sizeBytes),
      metadata: entries(info.metadata),
    }),
  SnapshotList: [
    ['ID', ({ id }) => id],
    ['MACHINE', ({ machineId }) => machineId],
    ['CREATED', ({ createdAt }) => localTime(createdAt)],
    ['SIZE', ({ sizeBytes }) => size(sizeBytes)],
    ['METADATA', (info) => entries(info.metadata)],
  ],

  TemplateInfo: (info) =>
    fields({
      id: info.id,
      name: info.canonicalRef,
      tags: info.tags?.join(', '),
      visibility: info.visibility,
      builtin: info.builtin ? 'yes' : undefined,
      description: info.description,
      user: info.runtimeDefaults?.defaultUser,
      directory: info.runtimeDefaults?.defaultWorkdir,
      starts: info.runtimeDefaults?.startCmd,
      variables: info.runtimeDefaults?.defaultEnvKeys?.join(', '),
    }),
  TemplateList: [
    ['ID', ({ id }) => id],
    ['NAME', ({ canonicalRef }) => canonicalRef],
    ['TAGS', ({ tags }) => tags?.join(', ')],
    ['VISIBILITY', ({ visibility }) => visibility],
    ['BUILTIN', ({ builtin }) => (builtin ? 'yes' : '')],
  ],
  'TemplateBuildSnapshot.build': (one) =>
    fields({
      build: one.buildId,
      template: one.templateId,
      name: one.name,
      tags: one.tags.join(', '),
      status: one.status,
      created: one.createdAt,
      error: one.error,
    }),
  TemplateBuildList: [
    ['BUILD', ({ buildId }) => buildId],
    ['STATUS', ({ status }) => status],
    ['TAGS', ({ tags }) => tags.join(', ')],
    ['CREATED', ({ createdAt }) => localTime(createdAt)],
  ],

  VolumeInfo: (info) =>
    fields({
      id: info.id,
      name: info.name,
      status: info.status,
      created: info.createdAt,
      size: size(info.usedBytes),
      files: info.inodeCount,
      mounts: info.mountCount,
    }),
  VolumeList: [
    ['ID', ({ id }) => id],
    ['NAME', ({ name }) => name],
    ['STATUS', ({ status }) => status],
    ['CREATED', ({ createdAt }) => localTime(createdAt)],
    ['SIZE', ({ usedBytes }) => size(usedBytes)],
    ['MOUNTS', ({ mountCount }) => mountCount],
  ],
  VolumeAttachment: (one) =>
    fields({
      id: one.id,
      volume: one.volumeId,
      machine: one.machineId,
      path: one.mountPath,
      subpath: one.subpath,
      mode: one.readOnly ? 'read only' : 'read and write',
      state: one.state,
      error: one.lastErrorMessage,
    }),

  WarmPool: (pool) =>
    fields({
      id: pool.id,
      name: pool.name,
      template: pool.templateRef,
      state: pool.state,
      ready: `${pool.status.ready} of ${pool.minReady} to ${pool.maxReady}`,
      warming: pool.status.warming,
      claimed: pool.status.claimed,
      created: pool.createdAt,
    }),
  WarmPoolList: [
    ['ID', ({ id }) => id],
    ['NAME', ({ name }) => name],
    ['TEMPLATE', ({ templateRef }) => templateRef],
    ['STATE', ({ state }) => state],
    ['READY', ({ status }) => status.ready],
  ],
};
