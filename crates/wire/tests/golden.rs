//! The golden answers decode into the wire types and encode back unchanged. `tests/wasm/decoders.test.mjs` runs the
//! generated JavaScript over the same files.

use std::fs;
use std::path::Path;

use nullspace_wire::{
    code, exec, files, git, lifecycle, machine, monitor, network, preview, ssh, upload, volume, warm_pool,
    webhook,
};
use serde::de::DeserializeOwned;
use serde::Serialize;
use serde_json::Value;

fn unchanged<T: DeserializeOwned + Serialize>(file: &str, wire: &Value) {
    let decoded: T = serde_json::from_value(wire.clone()).unwrap_or_else(|error| panic!("{file}: {error}"));
    assert_eq!(&serde_json::to_value(decoded).unwrap(), wire, "{file}");
}

#[test]
fn golden_answers_decode_and_encode_back_unchanged() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    let mut files = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let golden: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let (file, wire) = (path.display().to_string(), &golden["wire"]);
        match golden["answer"].as_str().unwrap() {
            "MachineInfo" => unchanged::<machine::MachineInfo>(&file, wire),
            "CreateMachineResponse" => unchanged::<machine::CreateMachineResponse>(&file, wire),
            "MachineHandle" => unchanged::<machine::MachineHandle>(&file, wire),
            "ListMachinesResponse" => unchanged::<machine::ListMachinesResponse>(&file, wire),
            "MachineMetricsList" => unchanged::<Vec<machine::MachineMetrics>>(&file, wire),
            "SetTimeoutResponse" => unchanged::<machine::SetTimeoutResponse>(&file, wire),
            "SnapshotInfo" => unchanged::<machine::SnapshotInfo>(&file, wire),
            "UpdateEgressResponse" => unchanged::<network::UpdateEgressResponse>(&file, wire),
            "GetHostResponse" => unchanged::<network::GetHostResponse>(&file, wire),
            "ExecResponse" => unchanged::<exec::ExecResponse>(&file, wire),
            "BackgroundExecResponse" => unchanged::<exec::BackgroundExecResponse>(&file, wire),
            "ProcessList" => unchanged::<Vec<exec::ProcessInfo>>(&file, wire),
            "ProcessLogs" => unchanged::<exec::ProcessLogs>(&file, wire),
            "WarmPool" => unchanged::<warm_pool::WarmPool>(&file, wire),
            "WarmPoolList" => unchanged::<warm_pool::ListWarmPoolsResponse>(&file, wire),
            "VolumeInfo" => unchanged::<volume::VolumeInfo>(&file, wire),
            "VolumeList" => unchanged::<Vec<volume::VolumeInfo>>(&file, wire),
            "VolumeAttachment" => unchanged::<volume::VolumeAttachment>(&file, wire),
            "VolumeAttachmentList" => unchanged::<Vec<volume::VolumeAttachment>>(&file, wire),
            "SnapshotList" => unchanged::<Vec<machine::SnapshotInfo>>(&file, wire),
            "LifecycleEvents" => unchanged::<lifecycle::LifecycleEventListResponse>(&file, wire),
            "LifecycleEvent" => unchanged::<lifecycle::LifecycleEventInfo>(&file, wire),
            "Webhook" => unchanged::<webhook::LifecycleWebhookInfo>(&file, wire),
            "WebhookList" => unchanged::<Vec<webhook::LifecycleWebhookInfo>>(&file, wire),
            "DeliveryList" => unchanged::<Vec<webhook::LifecycleWebhookDeliveryInfo>>(&file, wire),
            "Delivery" => unchanged::<webhook::LifecycleWebhookDeliveryDetail>(&file, wire),
            "MonitorFrame" => unchanged::<monitor::MonitorFrame>(&file, wire),
            "PreviewUrl" => unchanged::<preview::PreviewUrlResponse>(&file, wire),
            "PreviewProxyTarget" => unchanged::<preview::PreviewProxyTargetResponse>(&file, wire),
            "PreviewReadiness" => unchanged::<preview::PreviewReadinessResponse>(&file, wire),
            "SshAccess" => unchanged::<ssh::SshAccessResponse>(&file, wire),
            "CodeContext" => unchanged::<code::CodeContext>(&file, wire),
            "CodeContextList" => unchanged::<Vec<code::CodeContext>>(&file, wire),
            "CodeOutput" => unchanged::<code::CodeOutput>(&file, wire),
            "CodeResult" => unchanged::<code::ExecutionResult>(&file, wire),
            "CodeArtifact" => unchanged::<code::CodeArtifact>(&file, wire),
            "CodeArtifactPage" => unchanged::<code::CodeArtifactListResponse>(&file, wire),
            "CodeError" => unchanged::<code::ExecutionError>(&file, wire),
            "CodeRun" => unchanged::<code::CodeRun>(&file, wire),
            "CodeRunPage" => unchanged::<code::CodeRunListResponse>(&file, wire),
            "PreviewGrants" => unchanged::<preview::ListPreviewGrantsResponse>(&file, wire),
            "PreviewRevocation" => unchanged::<preview::RevokePreviewGrantResponse>(&file, wire),
            "PtySession" => unchanged::<exec::PtySessionInfo>(&file, wire),
            "PtySessionList" => unchanged::<Vec<exec::PtySessionInfo>>(&file, wire),
            "FileInfo" => unchanged::<files::FileInfo>(&file, wire),
            "FileList" => unchanged::<Vec<files::FileInfo>>(&file, wire),
            "FileExists" => unchanged::<files::FileExistsResponse>(&file, wire),
            "SearchMatches" => unchanged::<Vec<files::SearchMatch>>(&file, wire),
            "ReplaceResult" => unchanged::<files::ReplaceResult>(&file, wire),
            "BatchWrite" => unchanged::<files::BatchWriteResponse>(&file, wire),
            "DownloadUrl" => unchanged::<files::DownloadUrlResponse>(&file, wire),
            "UploadUrl" => unchanged::<files::UploadUrlResponse>(&file, wire),
            "GitCloneResponse" => unchanged::<git::GitCloneResponse>(&file, wire),
            "GitStatus" => unchanged::<git::GitStatus>(&file, wire),
            "GitLog" => unchanged::<git::GitLog>(&file, wire),
            "GitBranchList" => unchanged::<git::GitBranchList>(&file, wire),
            "GitCommitResponse" => unchanged::<git::GitCommitResponse>(&file, wire),
            "GitSyncResponse" => unchanged::<git::GitSyncResponse>(&file, wire),
            "UploadSession" => unchanged::<upload::UploadSession>(&file, wire),
            "CreateUpload" => unchanged::<upload::CreateUploadResponse>(&file, wire),
            "CompleteUpload" => unchanged::<upload::CompleteUploadResponse>(&file, wire),
            "ReadFile" => unchanged::<files::ReadFileResponse>(&file, wire),
            other => panic!("{file}: nothing is known about {other}"),
        }
        files += 1;
    }
    assert!(files >= 23, "only {files} golden answers were found");
}
