// Fields of the wire and fields of index.d.ts are the same: a type test, which fails by its compiler. `answers` is generated
// (`cargo xtask declarations`), and says what the SDK makes of each answer.

import type * as Public from 'nullspace';

import type { Wire } from './answers.generated.js';

/** What people see of an answer, by the name of its type on the wire. */
interface Shown {
  ArtifactAvailability: NonNullable<Public.TemplateBuildInfo['artifactAvailability']>;
  BuildPromotability: NonNullable<Public.TemplateBuildInfo['promotability']>;
  BuildValidation: Public.TemplateValidation;
  CodeArtifact: Public.CodeArtifact;
  CodeArtifactListResponse: Public.CodeArtifactPage;
  CodeContext: Public.CodeContext;
  CodeOutput: Public.CodeOutput;
  CodeRun: Public.CodeRun;
  CodeRunListResponse: Public.CodeRunPage;
  ExecResponse: Public.CommandResult;
  ExecutionError: Public.ExecutionError;
  ExecutionResult: Public.ExecutionResult;
  FileInfo: Public.FileInfo;
  GetHostResponse: Public.HostInfo;
  GitBranchList: Public.GitBranches;
  GitChangedFile: Public.GitChangedFile;
  GitCommit: Public.GitCommit;
  GitStatus: Public.GitStatus;
  LifecycleEventInfo: Public.LifecycleEvent;
  LifecycleEventListResponse: Public.LifecycleEventPage;
  LifecycleWebhookDeliveryAttemptInfo: Public.WebhookAttempt;
  LifecycleWebhookDeliveryDetail: Public.WebhookDeliveryDetail;
  LifecycleWebhookDeliveryInfo: Public.WebhookDelivery;
  LifecycleWebhookInfo: Public.LifecycleWebhook;
  MachineConfig: Public.MachineConfig;
  MachineInfo: Public.MachineInfo;
  MachineMetrics: Public.MachineMetrics;
  MachineNetwork: NonNullable<Public.MachineInfo['network']>;
  MachineSecret: Public.MachineSecret;
  MonitorMetrics: Public.MonitorMetrics;
  PoolCounts: Public.WarmPoolCounts;
  PoolResources: Public.WarmPoolInfo['resources'];
  PreviewGrantInfo: Public.PreviewGrant;
  PreviewProxyTargetResponse: Public.PreviewProxyTarget;
  PreviewReadinessResponse: Public.PreviewReadiness;
  PreviewUrlResponse: Public.PreviewUrl;
  ProcessInfo: Public.ProcessInfo;
  ProcessLogs: Public.CommandLogs;
  PtySessionInfo: Public.PtySessionInfo;
  ReplaceResult: Public.ReplaceResult;
  SearchMatch: Public.SearchMatch;
  SetTimeoutResponse: Public.TimeoutLease;
  SnapshotInfo: Public.SnapshotInfo;
  SshAccessResponse: Public.SshAccess;
  TemplateAliasInfo: Public.TemplateAliasInfo;
  TemplateBuild: Public.TemplateBuildInfo;
  TemplateBuildConfig: NonNullable<Public.TemplateBuildInfo['buildConfig']>;
  TemplateBuildListResponse: Public.TemplateBuildPage;
  TemplateBuildLogEntry: Public.TemplateBuildLogEntry;
  TemplateBuildPlanResponse: Public.TemplatePlan;
  TemplateBuildStatusSnapshot: Public.TemplateBuildSnapshot;
  TemplateContextManifest: NonNullable<Public.TemplatePlan['contextManifest']>;
  TemplateFailureDetail: Public.TemplateFailureDetail;
  TemplateInfo: Public.TemplateInfo;
  TemplateNameClaim: Public.TemplateNameClaim;
  TemplateNamespaceInfo: Public.TemplateNamespaceInfo;
  TemplateReadiness: NonNullable<Public.TemplateRuntimeDefaults['readiness']>;
  TemplateRuntimeDefaults: Public.TemplateRuntimeDefaults;
  TemplateTagInfo: Public.TemplateTagInfo;
  UploadUrlResponse: Public.UploadUrl;
  ValidationError: Public.TemplateValidation['errors'][number];
  VolumeAttachment: Public.VolumeAttachment;
  VolumeInfo: Public.VolumeInfo;
  WarmPool: Public.WarmPoolInfo;
  WarmPoolCheckoutResult: Public.WarmPoolCheckout;
}

/** Answers that a call uses up: people see something else. */
type Used =
  // `run` in the background: a handle.
  | 'BackgroundExecResponse'
  // `writeFiles`: the files, or an error that says what failed.
  | 'BatchWriteResponse'
  | 'BatchWriteResult'
  // Cells: classes with getters, and charts as a union of their kinds.
  | 'Chart'
  | 'Execution'
  | 'ExecutionLogs'
  // Uploads: an `UploadResult` when all is done.
  | 'CompleteUploadResponse'
  | 'CreateUploadResponse'
  | 'UploadLimits'
  | 'UploadSession'
  // A handle.
  | 'CreateMachineResponse'
  | 'MachineHandle'
  // One of their fields.
  | 'DownloadUrlResponse'
  | 'FileExistsResponse'
  | 'GitCloneResponse'
  | 'GitCommitResponse'
  | 'GitLog'
  | 'GitSyncResponse'
  | 'ReadFileResponse'
  | 'RevokePreviewGrantResponse'
  | 'UpdateEgressResponse'
  // A `MachinePage`.
  | 'ListMachinesResponse'
  // A union of events.
  | 'MonitorFrame'
  // Unions: by its mode, and by which of two limits it has.
  | 'NetworkEgressPolicy'
  | 'EgressRateLimit'
  // What a build has yet to send.
  | 'PreflightResponse'
  | 'PreflightResult';

type IsOptional<T, Key extends keyof T> = object extends Pick<T, Key> ? true : false;

/** Fields that the package gives another shape, or adds. */
type Shaped =
  // A class with getters.
  | 'CodeRun.execution'
  | 'CodeRunListResponse.items'
  // A union of the kinds of charts.
  | 'ExecutionResult.chart'
  // Unions: by `mode`, and by which of the two limits is given.
  | 'MachineInfo.network'
  | 'MachineNetwork.egress'
  // Files for OpenSSH, where there are files.
  | 'SshAccessResponse.identityFile'
  | 'SshAccessResponse.certificateFile'
  | 'SshAccessResponse.knownHostsFile';

/** Names of the fields that differ, each with how. */
type Differences<Name extends string, Answer, Public> = Answer extends object
  ? {
      [Key in keyof Answer | keyof Public]-?: Key extends keyof Public
        ? Key extends keyof Answer
          ? IsOptional<Answer, Key> extends IsOptional<Public, Key>
            ? [Answer[Key]] extends [Public[Key]]
              ? never
              : `${Name}.${Key & string} has another type`
            : `${Name}.${Key & string} is optional on one side`
          : `${Name}.${Key & string} is not of the wire`
        : `${Name}.${Key & string} is missing in index.d.ts`;
    }[keyof Answer | keyof Public]
  : never;

type None<_Difference extends never> = true;

/** Every type is either shown or used up. */
export type Complete = None<Exclude<keyof Wire, keyof Shown | Used> | Exclude<keyof Shown | Used, keyof Wire>>;

type Different = {
  [Name in keyof Shown]: Name extends keyof Wire ? Differences<Name, Wire[Name], Shown[Name]> : never;
}[keyof Shown];
/** And what is shown has the fields of the wire. */
export type Same = None<Exclude<Different, `${Shaped} ${string}`>>;
/** But for those that have another shape. */
export type Current = None<Exclude<Shaped, Different extends `${infer Field} ${string}` ? Field : never>>;
