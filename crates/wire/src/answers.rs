//! Every kind of answer, one row each. The SDK names its decoders by it, `xtask` writes them from it, and the tests run
//! recorded answers through it.

use serde::de::DeserializeOwned;
use serde::Serialize;
use serde_json::Value;

use crate::{
    code, exec, files, git, lifecycle, machine, monitor, network, preview, ssh, template, template_answers,
    upload, volume, warm_pool, webhook, JsonObject,
};

/// How an answer is laid out around its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// The type itself.
    One,
    /// The type with any subset of its fields: what `fields=` asks for.
    Projected,
    /// An array.
    Many,
    /// A page `{items, ...}`; a bare array, which old servers send, is one last page.
    Page,
    /// The items of a page, as an array, with any subset of their fields.
    ProjectedItems,
    /// The items of a page, as an array. The row also names the page.
    Items,
}

/// The type that a whole body has.
macro_rules! whole {
    (Many $item:ty) => { Vec<$item> };
    (Projected $item:ty) => { JsonObject };
    (ProjectedItems $item:ty) => { Value };
    (Items $item:ty, $page:ty) => { $page };
    ($layout:ident $type:ty) => { $type };
}

macro_rules! answers {
    ($($name:ident: $layout:ident $type:ty $(, $page:ty)?;)*) => {
        /// How the body of a successful answer is read.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[allow(missing_docs)] // most are named after their wire type
        pub enum Answer {
            /// The body is not read.
            Nothing,
            /// An array of texts.
            Texts,
            /// The bytes as a `Uint8Array`.
            Bytes,
            /// The bytes as text; anything but UTF-8 is refused.
            Utf8,
            /// The bytes as a `Blob`.
            Blob,
            /// The bytes as a `ReadableStream`, handed over as soon as the answer begins.
            Stream,
            $($name,)*
        }

        impl Answer {
            /// Those with a wire type.
            pub const TYPED: &[Answer] = &[$(Answer::$name),*];

            /// The key in `decoders.js`; empty for [`Answer::Nothing`].
            pub fn name(self) -> &'static str {
                // In the order of the variants. Of a `match` the module would hold code, four times as long.
                const NAMES: &[&str] =
                    &["", "Texts", "#bytes", "#text", "#blob", "#stream", $(stringify!($name)),*];
                NAMES[self as usize]
            }

            /// How a body with a wire type is laid out.
            pub fn layout(self) -> Option<Layout> {
                match self {
                    $(Answer::$name => Some(Layout::$layout),)*
                    _ => None,
                }
            }

            /// Decodes a body into its wire type and encodes it again; the body itself where it has no type. Fails with
            /// what is wrong with it.
            pub fn again(self, body: &Value) -> Result<Value, String> {
                match self {
                    $(Answer::$name => again::<whole!($layout $type $(, $page)?)>(body),)*
                    Answer::Texts => again::<Vec<String>>(body),
                    _ => Ok(body.clone()),
                }
            }

            /// Name of the schema of its type, which is added to the generator's.
            #[cfg(feature = "schema")]
            pub fn schema(self, generator: &mut schemars::SchemaGenerator) -> Option<String> {
                match self {
                    $(Answer::$name => {
                        generator.subschema_for::<$type>();
                        Some(<$type as schemars::JsonSchema>::schema_name().into_owned())
                    })*
                    _ => None,
                }
            }
        }
    };
}

answers! {
    MachineInfo: One machine::MachineInfo;
    MachineRow: Projected machine::MachineInfo;
    CreateMachineResponse: One machine::CreateMachineResponse;
    MachineHandle: One machine::MachineHandle;
    ListMachinesResponse: Page machine::ListMachinesResponse;
    MachineRows: ProjectedItems machine::MachineInfo;
    MachineMetricsList: Many machine::MachineMetrics;
    SetTimeoutResponse: One machine::SetTimeoutResponse;
    SnapshotInfo: One machine::SnapshotInfo;
    SnapshotList: Many machine::SnapshotInfo;
    VolumeInfo: One volume::VolumeInfo;
    VolumeList: Many volume::VolumeInfo;
    VolumeAttachment: One volume::VolumeAttachment;
    VolumeAttachmentList: Many volume::VolumeAttachment;
    UpdateEgressResponse: One network::UpdateEgressResponse;
    GetHostResponse: One network::GetHostResponse;
    ExecResponse: One exec::ExecResponse;
    BackgroundExecResponse: One exec::BackgroundExecResponse;
    ProcessList: Many exec::ProcessInfo;
    ProcessLogs: One exec::ProcessLogs;
    LifecycleEvents: One lifecycle::LifecycleEventListResponse;
    LifecycleEvent: One lifecycle::LifecycleEventInfo;
    Webhook: One webhook::LifecycleWebhookInfo;
    WebhookList: Many webhook::LifecycleWebhookInfo;
    DeliveryList: Many webhook::LifecycleWebhookDeliveryInfo;
    Delivery: One webhook::LifecycleWebhookDeliveryDetail;
    MonitorFrame: One monitor::MonitorFrame;
    PreviewUrl: One preview::PreviewUrlResponse;
    PreviewProxyTarget: One preview::PreviewProxyTargetResponse;
    PreviewReadiness: One preview::PreviewReadinessResponse;
    SshAccess: One ssh::SshAccessResponse;
    CodeContext: One code::CodeContext;
    CodeContextList: Many code::CodeContext;
    CodeOutput: One code::CodeOutput;
    CodeResult: One code::ExecutionResult;
    CodeArtifact: One code::CodeArtifact;
    CodeArtifactPage: One code::CodeArtifactListResponse;
    CodeError: One code::ExecutionError;
    CodeRun: One code::CodeRun;
    CodeRunPage: One code::CodeRunListResponse;
    PreviewGrants: Items preview::PreviewGrantInfo, preview::ListPreviewGrantsResponse;
    PreviewRevocation: One preview::RevokePreviewGrantResponse;
    PtySession: One exec::PtySessionInfo;
    PtySessionList: Many exec::PtySessionInfo;
    FileInfo: One files::FileInfo;
    FileList: Many files::FileInfo;
    FileExists: One files::FileExistsResponse;
    SearchMatches: Many files::SearchMatch;
    ReplaceResult: One files::ReplaceResult;
    BatchWrite: One files::BatchWriteResponse;
    DownloadUrl: One files::DownloadUrlResponse;
    UploadUrl: One files::UploadUrlResponse;
    GitCloneResponse: One git::GitCloneResponse;
    GitStatus: One git::GitStatus;
    GitLog: One git::GitLog;
    GitBranchList: One git::GitBranchList;
    GitCommitResponse: One git::GitCommitResponse;
    GitSyncResponse: One git::GitSyncResponse;
    UploadSession: One upload::UploadSession;
    CreateUpload: One upload::CreateUploadResponse;
    CompleteUpload: One upload::CompleteUploadResponse;
    ReadFile: One files::ReadFileResponse;
    TemplateInfo: One template_answers::TemplateInfo;
    TemplateRow: Projected template_answers::TemplateInfo;
    TemplateList: Many template_answers::TemplateInfo;
    TemplateRows: ProjectedItems template_answers::TemplateInfo;
    TemplateTags: Many template::TemplateTagInfo;
    TemplateAliases: Many template::TemplateAliasInfo;
    TemplateNameClaim: One template::TemplateNameClaim;
    TemplateNamespace: One template::TemplateNamespaceInfo;
    TemplateBlobs: One template::PreflightResponse;
    TemplateBuild: One template_answers::TemplateBuild;
    TemplateBuildSnapshot: One template_answers::TemplateBuildStatusSnapshot;
    TemplateBuildLogEntry: One template_answers::TemplateBuildLogEntry;
    TemplateBuildList: One template_answers::TemplateBuildListResponse;
    TemplateValidation: One template::BuildValidation;
    TemplatePlan: One template_answers::TemplateBuildPlanResponse;
    WarmPool: One warm_pool::WarmPool;
    WarmPoolList: Items warm_pool::WarmPool, warm_pool::ListWarmPoolsResponse;
}

fn again<T: DeserializeOwned + Serialize>(body: &Value) -> Result<Value, String> {
    let decoded = T::deserialize(body).map_err(|error| error.to_string())?;
    serde_json::to_value(decoded).map_err(|error| error.to_string())
}
