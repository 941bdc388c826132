//! The calls of the table as exported functions, one line each. The glue exports an object of functions for each class, and another
//! one of what its handles do; lib.js hangs them on the public classes. Functions of handles get what the handle remembers first.

use js_sys::Promise;
use wasm_bindgen::prelude::*;

use super::call::{call, on_class, on_handle, sent};
use super::record::{self, Record};
use crate::surface::{
    code, files, git, lifecycle, machines, pools, previews, processes, snapshots, templates, terminals,
    volumes, webhooks, Operation,
};

/// `Class: function as publicName(arguments) = OPERATION`, and the class of the handle that it gives.
macro_rules! statics {
    ($($class:ident: $function:ident as $name:ident($($arg:ident),*) = $operation:expr $(=> $handle:literal)?;)*) => {$(
        #[wasm_bindgen(js_namespace = $class, js_name = $name)]
        #[allow(missing_docs)] // see the operation
        pub fn $function($($arg: JsValue,)* options: JsValue, client: JsValue) -> Promise {
            class_call(&$operation, &[$($arg),*], &options, &client, None$(.or(Some($handle)))?)
        }
    )*};
}

/// The same for functions of handles.
macro_rules! methods {
    ($($class:ident: $function:ident as $name:ident($($arg:ident),*) = $operation:expr;)*) => {$(
        #[wasm_bindgen(js_namespace = $class, js_name = $name)]
        #[allow(missing_docs)] // see the operation
        pub fn $function(record: Record, $($arg: JsValue,)* options: JsValue) -> Promise {
            handle_call(&$operation, &record, &[$($arg),*], &options)
        }
    )*};
}

statics! {
    Machine: machine_resume as resume(id) = machines::RESUME => "Machine";
    Machine: machine_get_info_by_id as getInfoById(id) = machines::GET_INFO_BY_ID;
    Machine: machine_get_metrics_by_id as getMetricsById(id) = machines::GET_METRICS_BY_ID;
    Machine: machine_kill_by_id as killById(id) = machines::KILL_BY_ID;
    Snapshot: snapshot_list as list() = snapshots::LIST;
    Snapshot: snapshot_get as get(id) = snapshots::GET;
    Snapshot: snapshot_delete as delete(id) = snapshots::DELETE;
    Template: template_start as startBuild(body) = templates::START => "TemplateBuild";
    Template: template_validate as askValidate(body) = templates::VALIDATE;
    Template: template_plan as askPlan(body) = templates::PLAN;
    Template: template_preflight as preflight(files) = templates::PREFLIGHT;
    Template: template_list as list() = templates::LIST;
    Template: template_get as get(reference) = templates::GET;
    Template: template_delete as delete(reference) = templates::DELETE;
    Template: template_rename as rename(reference, name) = templates::RENAME;
    Template: template_assign_tags as assignTags(reference, tags) = templates::ASSIGN_TAGS;
    Template: template_tags as getTags(reference) = templates::TAGS;
    Template: template_remove_tag as removeTag(reference, tag) = templates::REMOVE_TAG;
    Template: template_aliases as listAliases(reference) = templates::ALIASES;
    Template: template_remove_alias as removeAlias(reference, alias) = templates::REMOVE_ALIAS;
    Template: template_set_visibility as setVisibility(reference, visibility) = templates::SET_VISIBILITY;
    Template: template_reserve_name as reserveName(reference) = templates::RESERVE_NAME;
    Template: template_release_claim as releaseNameClaim(token) = templates::RELEASE_CLAIM;
    Template: template_namespace as getNamespace(slug) = templates::NAMESPACE;
    Template: template_builds as listBuilds(reference) = templates::BUILDS;
    TemplateBuild: template_build_connect as connect(id) = templates::CONNECT => "TemplateBuild";
    TemplateWarmPool: pool_create as create(template) = pools::CREATE => "TemplateWarmPool";
    TemplateWarmPool: pool_get as get(id) = pools::GET => "TemplateWarmPool";
    TemplateWarmPool: pool_list as list() = pools::LIST;
    Volume: volume_create as create(name) = volumes::CREATE => "Volume";
    Volume: volume_get as get(id) = volumes::GET => "Volume";
    Volume: volume_list as list() = volumes::LIST;
    Lifecycle: lifecycle_list_events as listEvents() = lifecycle::LIST;
    Lifecycle: lifecycle_list_machine_events as listMachineEvents(id) = lifecycle::LIST_OF_MACHINE;
    Lifecycle: lifecycle_list_snapshot_events as listSnapshotEvents(id) = lifecycle::LIST_OF_SNAPSHOT;
    Lifecycle: webhook_create as createWebhook() = webhooks::CREATE;
    Lifecycle: webhook_list as listWebhooks() = webhooks::LIST;
    Lifecycle: webhook_get as getWebhook(id) = webhooks::GET;
    Lifecycle: webhook_update as updateWebhook(id) = webhooks::UPDATE;
    Lifecycle: webhook_delete as deleteWebhook(id) = webhooks::DELETE;
    Lifecycle: webhook_deliveries as listWebhookDeliveries(id) = webhooks::DELIVERIES;
    Lifecycle: webhook_delivery as getWebhookDelivery(id, delivery) = webhooks::DELIVERY;
}

methods! {
    MachineHandle: machine_get_info as getInfo() = machines::GET_INFO;
    MachineHandle: machine_get_metrics as getMetrics() = machines::GET_METRICS;
    MachineHandle: machine_kill as kill() = machines::KILL;
    MachineHandle: machine_set_timeout as setTimeout(seconds) = machines::SET_TIMEOUT;
    MachineHandle: machine_pause as pause() = machines::PAUSE;
    MachineHandle: machine_hibernate as hibernate() = machines::PAUSE;
    MachineHandle: machine_create_snapshot as createSnapshot() = machines::CREATE_SNAPSHOT;
    MachineHandle: machine_update_egress as updateEgress(policy) = machines::UPDATE_EGRESS;
    MachineHandle: machine_get_host as getHost(port) = previews::HOST;
    MachineHandle: machine_get_preview_url as getPreviewUrl(port) = previews::PREVIEW_URL;
    MachineHandle: machine_signed_preview_url as createSignedPreviewUrl(port) = previews::SIGNED;
    MachineHandle: machine_preview_proxy_target as createPreviewProxyTarget(port) = previews::PROXY_TARGET;
    MachineHandle: machine_wait_for_preview as waitForPreview(port) = previews::WAIT;
    MachineHandle: machine_list_preview_urls as listPreviewUrls() = previews::LIST;
    MachineHandle: machine_revoke_preview_url as revokePreviewUrl(grant) = previews::REVOKE;
    MachineHandle: machine_ssh_access as sshAccess() = previews::SSH_ACCESS;
    CommandsHandle: commands_list as list() = processes::LIST;
    CommandsHandle: commands_kill as kill(pid) = processes::KILL;
    CommandsHandle: commands_get_logs as getLogs(pid) = processes::LOGS;
    FilesHandle: files_list as list(path) = files::LIST;
    FilesHandle: files_exists as exists(path) = files::EXISTS;
    FilesHandle: files_info as info(path) = files::INFO;
    FilesHandle: files_mkdir as mkdir(path) = files::MKDIR;
    FilesHandle: files_remove as remove(path) = files::REMOVE;
    FilesHandle: files_rename as rename(from, to) = files::RENAME;
    FilesHandle: files_set_permissions as setPermissions(path, mode) = files::SET_PERMISSIONS;
    FilesHandle: files_find as findFiles(path, pattern) = files::FIND;
    FilesHandle: files_search as searchFiles(path, pattern) = files::SEARCH;
    FilesHandle: files_replace as replaceInFiles(paths, pattern, replacement) = files::REPLACE;
    FilesHandle: files_download_url as downloadUrl(path) = files::DOWNLOAD_URL;
    FilesHandle: files_upload_url as uploadUrl(path) = files::UPLOAD_URL;
    PtyHandle: pty_list as list() = terminals::LIST;
    PtyHandle: pty_get as get(session) = terminals::GET;
    PtyHandle: pty_kill as kill(session) = terminals::KILL;
    PtyHandle: pty_resize as resize(session, size) = terminals::RESIZE;
    GitHandle: git_clone as clone(url) = git::CLONE;
    GitHandle: git_status as status() = git::STATUS;
    GitHandle: git_log as log() = git::LOG;
    GitHandle: git_branches as branches() = git::BRANCHES;
    GitHandle: git_create_branch as createBranch(name) = git::CREATE_BRANCH;
    GitHandle: git_delete_branch as deleteBranch(name) = git::DELETE_BRANCH;
    GitHandle: git_checkout as checkout(reference) = git::CHECKOUT;
    GitHandle: git_add as add() = git::ADD;
    GitHandle: git_commit as commit(message) = git::COMMIT;
    GitHandle: git_pull as pull() = git::PULL;
    GitHandle: git_push as push() = git::PUSH;
    MachineLifecycleHandle: machine_lifecycle_list as list() = lifecycle::LIST_OWN;
    MachineVolumesHandle: machine_volumes_list as list() = volumes::OF_MACHINE;
    MachineVolumesHandle: machine_volumes_attach as attach(volume) = volumes::ATTACH;
    MachineVolumesHandle: machine_volumes_detach as detach(attachment) = volumes::DETACH;
    MachineVolumesHandle: machine_volumes_health as health(attachment) = volumes::HEALTH;
    MachineVolumesHandle: machine_volumes_remount as remount(attachment) = volumes::REMOUNT;
    CodeInterpreterHandle: code_execute as execute(code) = code::EXECUTE;
    CodeInterpreterHandle: code_create_run as createRun(code) = code::CREATE_RUN;
    CodeInterpreterHandle: code_create_context as createCodeContext() = code::CREATE_CONTEXT;
    CodeInterpreterHandle: code_list_contexts as listCodeContexts() = code::LIST_CONTEXTS;
    CodeInterpreterHandle: code_remove_context as removeCodeContext(context) = code::REMOVE_CONTEXT;
    CodeInterpreterHandle: code_restart_context as restartCodeContext(context) = code::RESTART_CONTEXT;
    CodeInterpreterHandle: code_interrupt_context as interruptCodeContext(context) = code::INTERRUPT_CONTEXT;
    CodeInterpreterHandle: code_get_run as getRun(run) = code::GET_RUN;
    CodeInterpreterHandle: code_cancel_run as cancelRun(run) = code::CANCEL_RUN;
    CodeInterpreterHandle: code_list_runs as listRuns() = code::LIST_RUNS;
    CodeInterpreterHandle: code_list_artifacts as listArtifacts() = code::LIST_ARTIFACTS;
    CodeInterpreterHandle: code_get_artifact as getArtifact(artifact) = code::GET_ARTIFACT;
    CodeInterpreterHandle: code_download_artifact as downloadArtifact(artifact) = code::DOWNLOAD_ARTIFACT;
    CodeInterpreterHandle: code_preview_artifact as previewArtifact(artifact) = code::PREVIEW_ARTIFACT;
    CodeInterpreterHandle: code_delete_artifact as deleteArtifact(artifact) = code::DELETE_ARTIFACT;
    TemplateBuildHandle: template_build_status as status() = templates::STATUS;
    TemplateBuildHandle: template_build_logs as openLogs() = templates::LOGS;
    TemplateBuildHandle: template_build_cancel as cancel() = templates::CANCEL;
    TemplateBuildHandle: template_build_retry as askRetry() = templates::RETRY;
    TemplateBuildHandle: template_build_promote as promote(tag) = templates::PROMOTE;
    TemplateWarmPoolHandle: pool_get_info as getInfo() = pools::GET_INFO;
    TemplateWarmPoolHandle: pool_delete as delete() = pools::DELETE;
    TemplateWarmPoolHandle: pool_enable as enable() = pools::ENABLE;
    TemplateWarmPoolHandle: pool_disable as disable() = pools::DISABLE;
    TemplateWarmPoolHandle: pool_drain as drain() = pools::DRAIN;
    TemplateWarmPoolHandle: pool_reconcile as reconcile() = pools::RECONCILE;
    VolumeHandle: volume_get_info as getInfo() = volumes::GET_INFO;
    VolumeHandle: volume_attachments as attachments() = volumes::ATTACHMENTS;
    VolumeHandle: volume_delete as delete() = volumes::DELETE;
}

fn class_call(
    operation: &'static Operation,
    args: &[JsValue],
    options: &JsValue,
    client: &JsValue,
    handle: Option<&'static str>,
) -> Promise {
    on_class(options, client, &|given| {
        let planned = given.plan(operation, args)?;
        let Some(class) = handle else { return sent(planned) };
        call(async move {
            let client = planned.client().clone();
            Ok(record::handle(class, &client, &planned.send().await?))
        })
    })
}

pub(super) fn handle_call(
    operation: &'static Operation,
    record: &Record,
    args: &[JsValue],
    options: &JsValue,
) -> Promise {
    on_handle(record, options, &|held, read| {
        sent(held.plan(operation, args, read)?)
    })
}
