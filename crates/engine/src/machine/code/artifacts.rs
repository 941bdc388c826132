//! What cells keep: files of the machine, each beside a description. The machine may have written anything there, so
//! descriptions are read with the same care as requests.

use std::sync::Arc;

use nullspace_wire::code::{CodeArtifact, CodeArtifactListResponse};

use super::runs::page;
use crate::isolation::ExecSpec;
use crate::machine::commands::exec::{environment, Wanted};
use crate::machine::commands::output::{Capture, Sink};
use crate::machine::ground::{Error, Kind, Result};
use crate::machine::live::Machine;
use crate::machine::Engine;

/// Where they are. Machines refuse to have files there through the API.
pub const DIRECTORY: &str = "/workspace/.nullspace/artifacts";
/// How long a look may take.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);
const KINDS: [&str; 4] = ["image", "html", "document", "file"];
/// Prints every description on a line of its own.
const PRINT_ALL: &str = "cd \"$1\" 2>/dev/null || exit 0; for f in art_*.json; do [ -f \"$f\" ] && head -c 65536 \"$f\" && echo; done; :";
const REMOVE: &str = "cd \"$1\" 2>/dev/null && rm -f -- \"$2.json\" \"$2\"";

/// What a list is limited to.
#[derive(Debug, Default)]
pub struct Filter {
    /// Of this context.
    pub context: Option<String>,
    /// Of this cell of it.
    pub execution_count: Option<u64>,
    /// Of this kind.
    pub kind: Option<String>,
}

fn is_id(text: &str) -> bool {
    let digits = text.strip_prefix("art_").unwrap_or_default();
    digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn missing(machine: &str, id: &str) -> Error {
    Error::new(
        Kind::NotFound,
        format!("machine {machine} has no artifact {id}: it never was, or was deleted"),
    )
}

impl Engine {
    /// A page of artifacts, newest first.
    pub async fn list_artifacts(
        self: &Arc<Self>,
        id: &str,
        filter: Filter,
        limit: usize,
        cursor: Option<String>,
    ) -> Result<CodeArtifactListResponse> {
        if let Some(kind) = filter.kind.as_deref().filter(|kind| !KINDS.contains(kind)) {
            return Err(Error::invalid(
                "kind",
                format_args!("is {kind:?}: give one of {}", KINDS.join(", ")),
            ));
        }
        let all = self.artifacts(id).await?;
        let wanted = |artifact: &&CodeArtifact| {
            filter
                .context
                .as_ref()
                .is_none_or(|context| artifact.context_id == *context)
                && filter.kind.as_ref().is_none_or(|kind| artifact.kind == *kind)
                && (filter.execution_count.is_none() || artifact.execution_count == filter.execution_count)
        };
        let (items, next_cursor) = page(all.iter(), wanted, |artifact| &artifact.id, limit, cursor)?;
        Ok(CodeArtifactListResponse {
            items: items.into_iter().cloned().collect(),
            next_cursor,
        })
    }

    /// One artifact.
    pub async fn artifact(self: &Arc<Self>, id: &str, artifact: &str) -> Result<CodeArtifact> {
        let all = self.artifacts(id).await?;
        let found = all.into_iter().find(|known| known.id == artifact);
        found.ok_or_else(|| missing(id, artifact))
    }

    /// Where its bytes are.
    pub async fn artifact_path(self: &Arc<Self>, id: &str, artifact: &str) -> Result<String> {
        self.artifact(id, artifact).await?;
        Ok(format!("{DIRECTORY}/{artifact}"))
    }

    /// Deletes one.
    pub async fn delete_artifact(self: &Arc<Self>, id: &str, artifact: &str) -> Result<()> {
        self.artifact(id, artifact).await?;
        let (machine, _busy) = self.interpreter(id).await?;
        self.shell(&machine, REMOVE, &[DIRECTORY, artifact])
            .await
            .map(drop)
    }

    async fn artifacts(self: &Arc<Self>, id: &str) -> Result<Vec<CodeArtifact>> {
        let (machine, _busy) = self.interpreter(id).await?;
        let printed = self.shell(&machine, PRINT_ALL, &[DIRECTORY]).await?;
        let mut all: Vec<CodeArtifact> = printed
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .filter(|artifact: &CodeArtifact| is_id(&artifact.id) && KINDS.contains(&artifact.kind.as_str()))
            .collect();
        all.sort_by(|a, b| (&b.created_at, &b.id).cmp(&(&a.created_at, &a.id)));
        Ok(all)
    }

    /// What a short script of the engine's own prints in a machine.
    async fn shell(&self, machine: &Arc<Machine>, script: &str, arguments: &[&str]) -> Result<String> {
        let mut argv: Vec<String> = ["/bin/sh", "-c", script, "sh"].map(str::to_owned).into();
        argv.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        let wanted = Wanted {
            text: "artifacts".into(),
            spec: ExecSpec {
                argv,
                envs: environment(machine, Default::default()),
                cwd: "/".into(),
                ..Default::default()
            },
            timeout: None,
        };
        let sink = Sink::Capture(Capture::default());
        let command = self.start_command(machine, wanted, sink, None).await?;
        // The machine may have put something there that cannot be read to its end.
        let ended = tokio::time::timeout(PATIENCE, command.end()).await;
        if ended.is_err() {
            let _ = self.kill_command(machine, &command).await;
        }
        machine.processes.forget(command.pid);
        Ok(command.logs().stdout)
    }
}
