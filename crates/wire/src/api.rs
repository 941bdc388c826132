//! Every operation of the API, one row each: name of its constant, operation id of `spec/openapi.json`, name in messages and
//! hooks of the SDK, verb, path, kind of answer. The engine's router and the SDK's requests are made from these rows.

use crate::answers::Answer;

/// HTTP method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // they say it all
pub enum Verb {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

impl Verb {
    /// As HTTP spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Verb::Get => "GET",
            Verb::Post => "POST",
            Verb::Put => "PUT",
            Verb::Patch => "PATCH",
            Verb::Delete => "DELETE",
        }
    }
}

/// An operation of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// Operation id in `spec/openapi.json`, for the engine, tests and generators.
    #[cfg(not(target_arch = "wasm32"))]
    pub id: &'static str,
    /// Name in the SDK's messages and hooks.
    pub name: &'static str,
    /// HTTP method.
    pub verb: Verb,
    /// With `{names}` in place of ids.
    pub path: &'static str,
    /// What a successful answer holds.
    pub answer: Answer,
}

macro_rules! routes {
    ($($constant:ident $id:ident $name:literal $verb:ident $path:literal -> $answer:ident;)*) => {
        $(
            #[doc = concat!("`", stringify!($verb), " ", $path, "`")]
            pub const $constant: Route = Route {
                #[cfg(not(target_arch = "wasm32"))]
                id: stringify!($id),
                name: $name,
                verb: Verb::$verb,
                path: $path,
                answer: Answer::$answer,
            };
        )*

        /// All operations.
        pub const ROUTES: &[Route] = &[$($constant),*];
    };
}

#[rustfmt::skip] // a table
mod table {
    use super::{Answer, Route, Verb};

routes! {
    // The engine
    HEALTH_CHECK health_check "healthCheck" Get "/healthz" -> Nothing;

    // Machines
    LIST_MACHINES list_machines "listMachines" Get "/v1/machines" -> ListMachinesResponse;
    CREATE_MACHINE create_machine "createMachine" Post "/v1/machines" -> CreateMachineResponse;
    GET_MACHINE get_machine "getMachine" Get "/v1/machines/{id}" -> MachineInfo;
    DESTROY_MACHINE destroy_machine "destroyMachine" Delete "/v1/machines/{id}" -> Nothing;
    UPDATE_MACHINE_EGRESS update_machine_egress "updateMachineEgress" Patch "/v1/machines/{id}/egress" -> UpdateEgressResponse;
    FORK_MACHINE fork_machine "forkMachine" Post "/v1/machines/{id}/fork" -> MachineHandle;
    HIBERNATE_MACHINE hibernate_machine "hibernateMachine" Post "/v1/machines/{id}/hibernate" -> SnapshotInfo;
    GET_METRICS get_metrics "getMachineMetrics" Get "/v1/machines/{id}/metrics" -> MachineMetricsList;
    RESUME_MACHINE resume_machine "resumeMachine" Post "/v1/machines/{id}/resume" -> MachineHandle;
    CREATE_SNAPSHOT create_snapshot "createSnapshot" Post "/v1/machines/{id}/snapshots" -> SnapshotInfo;
    SET_TIMEOUT set_timeout "setMachineTimeout" Post "/v1/machines/{id}/timeout" -> SetTimeoutResponse;

    // Commands and processes
    EXEC_COMMAND exec_command "execMachine" Post "/v1/machines/{id}/exec" -> ExecResponse;
    LIST_PROCESSES list_processes "listProcesses" Get "/v1/machines/{id}/processes" -> ProcessList;
    KILL_PROCESS kill_process "killProcess" Post "/v1/machines/{id}/processes/{pid}/kill" -> Nothing;
    GET_PROCESS_LOGS get_process_logs "getProcessLogs" Get "/v1/machines/{id}/processes/{pid}/logs" -> ProcessLogs;
    SEND_STDIN send_stdin "sendProcessStdin" Post "/v1/machines/{id}/processes/{pid}/stdin" -> Nothing;

    // Code interpreter
    LIST_CODE_ARTIFACTS list_code_artifacts "listCodeArtifacts" Get "/v1/machines/{id}/code/artifacts" -> CodeArtifactPage;
    GET_CODE_ARTIFACT get_code_artifact "getCodeArtifact" Get "/v1/machines/{id}/code/artifacts/{artifact_id}" -> CodeArtifact;
    DELETE_CODE_ARTIFACT delete_code_artifact "deleteCodeArtifact" Delete "/v1/machines/{id}/code/artifacts/{artifact_id}" -> Nothing;
    DOWNLOAD_CODE_ARTIFACT download_code_artifact "downloadCodeArtifact" Get "/v1/machines/{id}/code/artifacts/{artifact_id}/download" -> Bytes;
    PREVIEW_CODE_ARTIFACT preview_code_artifact "previewCodeArtifact" Get "/v1/machines/{id}/code/artifacts/{artifact_id}/preview" -> Bytes;
    LIST_CODE_CONTEXTS list_code_contexts "listCodeContexts" Get "/v1/machines/{id}/code/contexts" -> CodeContextList;
    CREATE_CODE_CONTEXT create_code_context "createCodeContext" Post "/v1/machines/{id}/code/contexts" -> CodeContext;
    DELETE_CODE_CONTEXT delete_code_context "deleteCodeContext" Delete "/v1/machines/{id}/code/contexts/{ctx_id}" -> Nothing;
    INTERRUPT_CODE_CONTEXT interrupt_code_context "interruptCodeContext" Post "/v1/machines/{id}/code/contexts/{ctx_id}/interrupt" -> Nothing;
    RESTART_CODE_CONTEXT restart_code_context "restartCodeContext" Post "/v1/machines/{id}/code/contexts/{ctx_id}/restart" -> Nothing;
    EXECUTE_CODE execute_code "executeCode" Post "/v1/machines/{id}/code/execute" -> Stream;
    LIST_CODE_RUNS list_code_runs "listCodeRuns" Get "/v1/machines/{id}/code/runs" -> CodeRunPage;
    CREATE_CODE_RUN create_code_run "createCodeRun" Post "/v1/machines/{id}/code/runs" -> CodeRun;
    GET_CODE_RUN get_code_run "getCodeRun" Get "/v1/machines/{id}/code/runs/{run_id}" -> CodeRun;
    CANCEL_CODE_RUN cancel_code_run "cancelCodeRun" Post "/v1/machines/{id}/code/runs/{run_id}/cancel" -> CodeRun;

    // Files of a machine
    DOWNLOAD_FILE download_file "downloadFile" Get "/v1/machines/{id}/file" -> Bytes;
    UPLOAD_FILE_RAW upload_file_raw "uploadFile" Put "/v1/machines/{id}/file" -> Nothing;
    UPLOAD_FILE_MULTIPART upload_file_multipart "uploadFileMultipart" Post "/v1/machines/{id}/file" -> Nothing;
    LIST_DIR list_dir "listFiles" Get "/v1/machines/{id}/files" -> FileList;
    BATCH_WRITE_FILES batch_write_files "batchWriteFiles" Post "/v1/machines/{id}/files/batch-write" -> BatchWrite;
    DOWNLOAD_URL download_url "createDownloadUrl" Post "/v1/machines/{id}/files/download-url" -> DownloadUrl;
    FILE_EXISTS file_exists "fileExists" Post "/v1/machines/{id}/files/exists" -> FileExists;
    FIND_IN_FILES find_in_files "findInFiles" Post "/v1/machines/{id}/files/find" -> SearchMatches;
    FILE_INFO file_info "getFileInfo" Post "/v1/machines/{id}/files/info" -> FileInfo;
    MAKE_DIR make_dir "makeDirectory" Post "/v1/machines/{id}/files/mkdir" -> Nothing;
    SET_FILE_PERMISSIONS set_file_permissions "setFilePermissions" Post "/v1/machines/{id}/files/permissions" -> Nothing;
    READ_FILE read_file "readFile" Post "/v1/machines/{id}/files/read" -> ReadFile;
    REMOVE_FILE remove_file "removeFile" Post "/v1/machines/{id}/files/remove" -> Nothing;
    RENAME_FILE rename_file "renameFile" Post "/v1/machines/{id}/files/rename" -> FileInfo;
    REPLACE_IN_FILES replace_in_files "replaceInFiles" Post "/v1/machines/{id}/files/replace" -> ReplaceResult;
    SEARCH_FILES search_files "searchFiles" Post "/v1/machines/{id}/files/search" -> Texts;
    UPLOAD_URL upload_url "createUploadUrl" Post "/v1/machines/{id}/files/upload-url" -> UploadUrl;
    WRITE_FILE write_file "writeFile" Post "/v1/machines/{id}/files/write" -> FileInfo;

    // Uploads
    CREATE_UPLOAD_SESSION create_upload_session "createUpload" Post "/v1/machines/{id}/uploads" -> CreateUpload;
    GET_UPLOAD_SESSION get_upload_session "getUpload" Get "/v1/machines/{id}/uploads/{upload_id}" -> UploadSession;
    ABORT_UPLOAD_SESSION abort_upload_session "abortUpload" Delete "/v1/machines/{id}/uploads/{upload_id}" -> Nothing;
    COMPLETE_UPLOAD_SESSION complete_upload_session "completeUpload" Post "/v1/machines/{id}/uploads/{upload_id}/complete" -> CompleteUpload;
    UPLOAD_SESSION_PART upload_session_part "uploadPart" Put "/v1/machines/{id}/uploads/{upload_id}/parts/{part_number}" -> UploadSession;

    // Git
    GIT_ADD git_add "gitAdd" Post "/v1/machines/{id}/git/add" -> Nothing;
    GIT_BRANCH_LIST git_branch_list "gitBranches" Get "/v1/machines/{id}/git/branch" -> GitBranchList;
    GIT_BRANCH git_branch "gitBranch" Post "/v1/machines/{id}/git/branch" -> Nothing;
    GIT_CHECKOUT git_checkout "gitCheckout" Post "/v1/machines/{id}/git/checkout" -> Nothing;
    GIT_CLONE git_clone "gitClone" Post "/v1/machines/{id}/git/clone" -> GitCloneResponse;
    GIT_COMMIT git_commit "gitCommit" Post "/v1/machines/{id}/git/commit" -> GitCommitResponse;
    GIT_LOG git_log "gitLog" Get "/v1/machines/{id}/git/log" -> GitLog;
    GIT_PULL git_pull "gitPull" Post "/v1/machines/{id}/git/pull" -> GitSyncResponse;
    GIT_PUSH git_push "gitPush" Post "/v1/machines/{id}/git/push" -> GitSyncResponse;
    GIT_STATUS git_status "gitStatus" Get "/v1/machines/{id}/git/status" -> GitStatus;

    // Terminals
    LIST_PTY_SESSIONS list_pty_sessions "listPtySessions" Get "/v1/machines/{id}/pty" -> PtySessionList;
    GET_PTY_SESSION get_pty_session "getPtySession" Get "/v1/machines/{id}/pty/{sid}" -> PtySession;
    KILL_PTY_SESSION kill_pty_session "killPtySession" Delete "/v1/machines/{id}/pty/{sid}" -> Nothing;
    RESIZE_PTY_SESSION resize_pty_session "resizePtySession" Post "/v1/machines/{id}/pty/{sid}/resize" -> Nothing;

    // Previews and SSH
    GET_HOST get_host "getMachineHost" Post "/v1/machines/{id}/host" -> GetHostResponse;
    CREATE_PREVIEW_PROXY_TARGET create_preview_proxy_target "createPreviewProxyTarget" Post "/v1/machines/{id}/ports/{port}/preview-proxy-target" -> PreviewProxyTarget;
    GET_PREVIEW_URL get_preview_url "getPreviewUrl" Get "/v1/machines/{id}/ports/{port}/preview-url" -> PreviewUrl;
    CHECK_PREVIEW_READINESS check_preview_readiness "checkPreviewReadiness" Post "/v1/machines/{id}/ports/{port}/readiness" -> PreviewReadiness;
    CREATE_SIGNED_PREVIEW_URL create_signed_preview_url "createSignedPreviewUrl" Post "/v1/machines/{id}/ports/{port}/signed-preview-url" -> PreviewUrl;
    LIST_PREVIEW_URLS list_preview_urls "listPreviewUrls" Get "/v1/machines/{id}/preview-urls" -> PreviewGrants;
    REVOKE_PREVIEW_URL revoke_preview_url "revokePreviewUrl" Delete "/v1/machines/{id}/preview-urls/{grant_id}" -> PreviewRevocation;
    CREATE_SSH_ACCESS create_ssh_access "createSshAccess" Post "/v1/machines/{id}/ssh-access" -> SshAccess;

    // Volumes of a machine
    LIST_MACHINE_VOLUME_ATTACHMENTS list_machine_volume_attachments "listMachineVolumes" Get "/v1/machines/{id}/volumes" -> VolumeAttachmentList;
    ATTACH_MACHINE_VOLUME attach_machine_volume "attachMachineVolume" Post "/v1/machines/{id}/volumes" -> VolumeAttachment;
    DETACH_MACHINE_VOLUME detach_machine_volume "detachMachineVolume" Delete "/v1/machines/{id}/volumes/{attachment_id}" -> VolumeAttachment;
    GET_MACHINE_VOLUME_HEALTH get_machine_volume_health "getMachineVolumeHealth" Get "/v1/machines/{id}/volumes/{attachment_id}/health" -> VolumeAttachment;
    REMOUNT_MACHINE_VOLUME remount_machine_volume "remountMachineVolume" Post "/v1/machines/{id}/volumes/{attachment_id}/remount" -> VolumeAttachment;

    // Snapshots
    LIST_SNAPSHOTS list_snapshots "listSnapshots" Get "/v1/snapshots" -> SnapshotList;
    GET_SNAPSHOT get_snapshot "getSnapshot" Get "/v1/snapshots/{id}" -> SnapshotInfo;
    DELETE_SNAPSHOT delete_snapshot "deleteSnapshot" Delete "/v1/snapshots/{id}" -> Nothing;

    // Warm pools
    LIST_TEMPLATE_WARM_POOLS list_template_warm_pools "listTemplateWarmPools" Get "/v1/template-warm-pools" -> WarmPoolList;
    CREATE_TEMPLATE_WARM_POOL create_template_warm_pool "createTemplateWarmPool" Post "/v1/template-warm-pools" -> WarmPool;
    GET_TEMPLATE_WARM_POOL get_template_warm_pool "getTemplateWarmPool" Get "/v1/template-warm-pools/{warm_pool_id}" -> WarmPool;
    UPDATE_TEMPLATE_WARM_POOL update_template_warm_pool "updateTemplateWarmPool" Patch "/v1/template-warm-pools/{warm_pool_id}" -> WarmPool;
    DELETE_TEMPLATE_WARM_POOL delete_template_warm_pool "deleteTemplateWarmPool" Delete "/v1/template-warm-pools/{warm_pool_id}" -> Nothing;
    DISABLE_TEMPLATE_WARM_POOL disable_template_warm_pool "disableTemplateWarmPool" Post "/v1/template-warm-pools/{warm_pool_id}/disable" -> WarmPool;
    DRAIN_TEMPLATE_WARM_POOL drain_template_warm_pool "drainTemplateWarmPool" Post "/v1/template-warm-pools/{warm_pool_id}/drain" -> WarmPool;
    ENABLE_TEMPLATE_WARM_POOL enable_template_warm_pool "enableTemplateWarmPool" Post "/v1/template-warm-pools/{warm_pool_id}/enable" -> WarmPool;
    RECONCILE_TEMPLATE_WARM_POOL reconcile_template_warm_pool "reconcileTemplateWarmPool" Post "/v1/template-warm-pools/{warm_pool_id}/reconcile" -> WarmPool;
    GET_TEMPLATE_WARM_POOL_STATUS get_template_warm_pool_status "getTemplateWarmPoolStatus" Get "/v1/template-warm-pools/{warm_pool_id}/status" -> Nothing;

    // Templates
    LIST_TEMPLATES list_templates "listTemplates" Get "/v1/templates" -> TemplateList;
    CREATE_TEMPLATE create_template "createTemplate" Post "/v1/templates" -> TemplateInfo;
    PREFLIGHT_TEMPLATE_BLOBS preflight_template_blobs "preflightTemplateBlobs" Post "/v1/templates/blobs/preflight" -> TemplateBlobs;
    UPLOAD_TEMPLATE_BLOB upload_template_blob "uploadTemplateBlob" Put "/v1/templates/blobs/{blob_id}" -> Nothing;
    BUILD_TEMPLATE build_template "buildTemplate" Post "/v1/templates/build" -> Stream;
    START_TEMPLATE_BUILD start_template_build "startTemplateBuild" Post "/v1/templates/builds" -> TemplateBuild;
    GET_TEMPLATE_BUILD_STATUS get_template_build_status "getTemplateBuildStatus" Get "/v1/templates/builds/{build_id}" -> TemplateBuildSnapshot;
    CANCEL_TEMPLATE_BUILD cancel_template_build "cancelTemplateBuild" Post "/v1/templates/builds/{build_id}/cancel" -> TemplateBuildSnapshot;
    STREAM_TEMPLATE_BUILD_LOGS stream_template_build_logs "streamTemplateBuildLogs" Get "/v1/templates/builds/{build_id}/logs" -> Stream;
    PROMOTE_TEMPLATE_BUILD promote_template_build "promoteTemplateBuild" Post "/v1/templates/builds/{build_id}/promote" -> TemplateInfo;
    RETRY_TEMPLATE_BUILD retry_template_build "retryTemplateBuild" Post "/v1/templates/builds/{build_id}/retry" -> TemplateBuild;
    RESERVE_TEMPLATE_NAME reserve_template_name "reserveTemplateName" Post "/v1/templates/claims" -> TemplateNameClaim;
    RELEASE_TEMPLATE_NAME_CLAIM release_template_name_claim "releaseTemplateNameClaim" Delete "/v1/templates/claims/{claim_token}" -> Nothing;
    GET_TEMPLATE_NAMESPACE get_template_namespace "getTemplateNamespace" Get "/v1/templates/namespaces/{slug}" -> TemplateNamespace;
    PLAN_TEMPLATE_BUILD plan_template_build "planTemplateBuild" Post "/v1/templates/plan" -> TemplatePlan;
    GET_TEMPLATE_BY_REF get_template_by_ref "getTemplateByRef" Get "/v1/templates/refs/{ref}" -> TemplateInfo;
    DELETE_TEMPLATE_BY_REF delete_template_by_ref "deleteTemplateByRef" Delete "/v1/templates/refs/{ref}" -> Nothing;
    LIST_TEMPLATE_ALIASES_BY_REF list_template_aliases_by_ref "listTemplateAliasesByRef" Get "/v1/templates/refs/{ref}/aliases" -> TemplateAliases;
    REMOVE_TEMPLATE_ALIAS_BY_REF remove_template_alias_by_ref "removeTemplateAliasByRef" Delete "/v1/templates/refs/{ref}/aliases/{alias}" -> Nothing;
    LIST_TEMPLATE_BUILDS_BY_REF list_template_builds_by_ref "listTemplateBuildsByRef" Get "/v1/templates/refs/{ref}/builds" -> TemplateBuildList;
    RENAME_TEMPLATE_BY_REF rename_template_by_ref "renameTemplateByRef" Post "/v1/templates/refs/{ref}/rename" -> TemplateInfo;
    LIST_TEMPLATE_TAGS_BY_REF list_template_tags_by_ref "listTemplateTagsByRef" Get "/v1/templates/refs/{ref}/tags" -> TemplateTags;
    ASSIGN_TEMPLATE_TAGS_BY_REF assign_template_tags_by_ref "assignTemplateTagsByRef" Post "/v1/templates/refs/{ref}/tags" -> TemplateInfo;
    REMOVE_TEMPLATE_TAG_BY_REF remove_template_tag_by_ref "removeTemplateTagByRef" Delete "/v1/templates/refs/{ref}/tags/{tag}" -> Nothing;
    UPDATE_TEMPLATE_VISIBILITY_BY_REF update_template_visibility_by_ref "updateTemplateVisibilityByRef" Patch "/v1/templates/refs/{ref}/visibility" -> TemplateInfo;
    VALIDATE_TEMPLATE_BUILD validate_template_build "validateTemplateBuild" Post "/v1/templates/validate" -> TemplateValidation;
    GET_TEMPLATE get_template "getTemplate" Get "/v1/templates/{id}" -> TemplateInfo;
    DELETE_TEMPLATE delete_template "deleteTemplate" Delete "/v1/templates/{id}" -> Nothing;
    LIST_TEMPLATE_ALIASES list_template_aliases "listTemplateAliases" Get "/v1/templates/{id}/aliases" -> TemplateAliases;
    REMOVE_TEMPLATE_ALIAS remove_template_alias "removeTemplateAlias" Delete "/v1/templates/{id}/aliases/{alias}" -> Nothing;
    LIST_TEMPLATE_BUILDS list_template_builds "listTemplateBuilds" Get "/v1/templates/{id}/builds" -> TemplateBuildList;
    RENAME_TEMPLATE rename_template "renameTemplate" Post "/v1/templates/{id}/rename" -> TemplateInfo;
    LIST_TEMPLATE_TAGS list_template_tags "listTemplateTags" Get "/v1/templates/{id}/tags" -> TemplateTags;
    ASSIGN_TEMPLATE_TAGS assign_template_tags "assignTemplateTags" Post "/v1/templates/{id}/tags" -> TemplateInfo;
    REMOVE_TEMPLATE_TAG remove_template_tag "removeTemplateTag" Delete "/v1/templates/{id}/tags/{tag}" -> Nothing;
    UPDATE_TEMPLATE_VISIBILITY update_template_visibility "updateTemplateVisibility" Patch "/v1/templates/{id}/visibility" -> TemplateInfo;

    // Volumes
    LIST_VOLUMES list_volumes "listVolumes" Get "/v1/volumes" -> VolumeList;
    CREATE_VOLUME create_volume "createVolume" Post "/v1/volumes" -> VolumeInfo;
    GET_VOLUME_BY_NAME get_volume_by_name "getVolumeByName" Get "/v1/volumes/by-name/{name}" -> VolumeInfo;
    GET_VOLUME get_volume "getVolume" Get "/v1/volumes/{id}" -> VolumeInfo;
    DELETE_VOLUME delete_volume "deleteVolume" Delete "/v1/volumes/{id}" -> Nothing;
    LIST_VOLUME_ATTACHMENTS list_volume_attachments "listVolumeAttachments" Get "/v1/volumes/{id}/attachments" -> VolumeAttachmentList;

    // Files of volumes
    DOWNLOAD_VOLUME_FILE_DIRECT download_volume_file_direct "downloadVolumeFileDirect" Get "/v1/volumes/{id}/file" -> Bytes;
    UPLOAD_VOLUME_FILE_DIRECT upload_volume_file_direct "uploadVolumeFileDirect" Put "/v1/volumes/{id}/file" -> Nothing;
    UPLOAD_VOLUME_FILE_MULTIPART_DIRECT upload_volume_file_multipart_direct "uploadVolumeFileMultipartDirect" Post "/v1/volumes/{id}/file" -> Nothing;
    LIST_VOLUME_FILES list_volume_files "listVolumeFiles" Get "/v1/volumes/{id}/files" -> FileList;
    VOLUME_DOWNLOAD_URL volume_download_url "volumeDownloadUrl" Post "/v1/volumes/{id}/files/download-url" -> DownloadUrl;
    VOLUME_FILE_EXISTS volume_file_exists "volumeFileExists" Post "/v1/volumes/{id}/files/exists" -> FileExists;
    FIND_IN_VOLUME_FILES find_in_volume_files "findInVolumeFiles" Post "/v1/volumes/{id}/files/find" -> SearchMatches;
    GET_VOLUME_FILE_INFO get_volume_file_info "getVolumeFileInfo" Post "/v1/volumes/{id}/files/info" -> FileInfo;
    MAKE_VOLUME_DIR make_volume_dir "makeVolumeDir" Post "/v1/volumes/{id}/files/mkdir" -> Nothing;
    SET_VOLUME_FILE_PERMISSIONS set_volume_file_permissions "setVolumeFilePermissions" Post "/v1/volumes/{id}/files/permissions" -> Nothing;
    READ_VOLUME_FILE read_volume_file "readVolumeFile" Post "/v1/volumes/{id}/files/read" -> ReadFile;
    REMOVE_VOLUME_FILE remove_volume_file "removeVolumeFile" Post "/v1/volumes/{id}/files/remove" -> Nothing;
    RENAME_VOLUME_FILE rename_volume_file "renameVolumeFile" Post "/v1/volumes/{id}/files/rename" -> FileInfo;
    REPLACE_IN_VOLUME_FILES replace_in_volume_files "replaceInVolumeFiles" Post "/v1/volumes/{id}/files/replace" -> ReplaceResult;
    SEARCH_VOLUME_FILES search_volume_files "searchVolumeFiles" Post "/v1/volumes/{id}/files/search" -> Texts;
    VOLUME_UPLOAD_URL volume_upload_url "volumeUploadUrl" Post "/v1/volumes/{id}/files/upload-url" -> UploadUrl;
    WRITE_VOLUME_FILE write_volume_file "writeVolumeFile" Post "/v1/volumes/{id}/files/write" -> FileInfo;
    CREATE_VOLUME_UPLOAD_SESSION create_volume_upload_session "createVolumeUploadSession" Post "/v1/volumes/{id}/uploads" -> CreateUpload;
    GET_VOLUME_UPLOAD_SESSION get_volume_upload_session "getVolumeUploadSession" Get "/v1/volumes/{id}/uploads/{upload_id}" -> UploadSession;
    ABORT_VOLUME_UPLOAD_SESSION abort_volume_upload_session "abortVolumeUploadSession" Delete "/v1/volumes/{id}/uploads/{upload_id}" -> Nothing;
    COMPLETE_VOLUME_UPLOAD_SESSION complete_volume_upload_session "completeVolumeUploadSession" Post "/v1/volumes/{id}/uploads/{upload_id}/complete" -> CompleteUpload;
    UPLOAD_VOLUME_SESSION_PART upload_volume_session_part "uploadVolumeSessionPart" Put "/v1/volumes/{id}/uploads/{upload_id}/parts/{part_number}" -> UploadSession;

    // Lifecycle events and webhooks
    LIST_LIFECYCLE_EVENTS list_lifecycle_events "listLifecycleEvents" Get "/v1/lifecycle/events" -> LifecycleEvents;
    LIST_LIFECYCLE_WEBHOOKS list_lifecycle_webhooks "listLifecycleWebhooks" Get "/v1/lifecycle/webhooks" -> WebhookList;
    CREATE_LIFECYCLE_WEBHOOK create_lifecycle_webhook "createLifecycleWebhook" Post "/v1/lifecycle/webhooks" -> Webhook;
    GET_LIFECYCLE_WEBHOOK get_lifecycle_webhook "getLifecycleWebhook" Get "/v1/lifecycle/webhooks/{id}" -> Webhook;
    UPDATE_LIFECYCLE_WEBHOOK update_lifecycle_webhook "updateLifecycleWebhook" Patch "/v1/lifecycle/webhooks/{id}" -> Webhook;
    DELETE_LIFECYCLE_WEBHOOK delete_lifecycle_webhook "deleteLifecycleWebhook" Delete "/v1/lifecycle/webhooks/{id}" -> Nothing;
    LIST_LIFECYCLE_WEBHOOK_DELIVERIES list_lifecycle_webhook_deliveries "listLifecycleWebhookDeliveries" Get "/v1/lifecycle/webhooks/{id}/deliveries" -> DeliveryList;
    GET_LIFECYCLE_WEBHOOK_DELIVERY get_lifecycle_webhook_delivery "getLifecycleWebhookDelivery" Get "/v1/lifecycle/webhooks/{id}/deliveries/{delivery_id}" -> Delivery;
    LIST_MACHINE_LIFECYCLE_EVENTS list_machine_lifecycle_events "listMachineLifecycleEvents" Get "/v1/machines/{id}/lifecycle" -> LifecycleEvents;
    LIST_SNAPSHOT_LIFECYCLE_EVENTS list_snapshot_lifecycle_events "listSnapshotLifecycleEvents" Get "/v1/snapshots/{id}/lifecycle" -> LifecycleEvents;

    // Sockets
    LIFECYCLE_WEBSOCKET_UPGRADE lifecycle_websocket_upgrade "openLifecycleSocket" Get "/v1/lifecycle/ws" -> Nothing;
    MACHINE_LIFECYCLE_WEBSOCKET_UPGRADE machine_lifecycle_websocket_upgrade "openMachineLifecycleSocket" Get "/v1/machines/{id}/lifecycle/ws" -> Nothing;
    WEBSOCKET_UPGRADE websocket_upgrade "openMachineSocket" Get "/v1/machines/{id}/ws" -> Nothing;
    MONITOR_WEBSOCKET_UPGRADE monitor_websocket_upgrade "openMonitorSocket" Get "/v1/monitor/ws" -> Nothing;
    VOLUME_WEBSOCKET_UPGRADE volume_websocket_upgrade "openVolumeSocket" Get "/v1/volumes/{id}/ws" -> Nothing;
}
}

pub use table::*;
