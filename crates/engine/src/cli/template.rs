//! `nullspace-engine template`: what machines can be made from, beside `base`.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::{default_state, BackendOptions, Outcome};
use crate::control::{self, Order};
use crate::isolation::Backend;
use crate::machine::commands::start_command::{Readiness, StartCommand, DEFAULT_SECONDS, INTERVAL_MS};
use crate::machine::templates::{ImportTemplate, TemplateSource};
use crate::machine::Engine;
use crate::store::Store;

#[derive(Args)]
pub struct Template {
    /// The engine's directory; the engine may run or not
    /// [default: $XDG_STATE_HOME/nullspace or ~/.local/state/nullspace].
    #[arg(long, value_name = "DIR", global = true)]
    state: Option<PathBuf>,

    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Make a template from a snapshot, a root file system directory or a tarball.
    Import(Box<Import>),
    /// List the templates.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show a template as JSON.
    Inspect {
        /// Name or id.
        name: String,
    },
    /// Delete a template. Machines and snapshots that come from it keep its files.
    Delete {
        /// Name or id.
        name: String,
    },
}

#[derive(Args)]
struct Import {
    /// 1 to 64 letters, digits, `.`, `_` and `-`.
    name: String,

    #[command(flatten)]
    source: Source,

    /// Run this in each machine before anybody has it; its output goes to /run/start-command.log inside.
    #[arg(long, value_name = "COMMAND")]
    start_command: Option<String>,

    /// A machine is ready when this TCP port of it accepts.
    #[arg(
        long,
        value_name = "PORT",
        requires = "start_command",
        conflicts_with = "ready_command"
    )]
    ready_port: Option<u16>,

    /// A machine is ready when the port answers HTTP for this path, with a status below 500.
    #[arg(long, value_name = "PATH", requires = "ready_port")]
    ready_path: Option<String>,

    /// A machine is ready when this command ends with 0.
    #[arg(long, value_name = "COMMAND", requires = "start_command")]
    ready_command: Option<String>,

    /// Seconds until it must be ready.
    #[arg(long, value_name = "SECONDS", default_value_t = DEFAULT_SECONDS)]
    ready_timeout: u64,

    /// Set a variable for all commands: NAME=VALUE. Repeatable.
    #[arg(long, value_name = "NAME=VALUE")]
    env: Vec<String>,

    /// Where commands start.
    #[arg(long, value_name = "PATH")]
    workdir: Option<String>,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
struct Source {
    /// Files, environment and working directory of this snapshot; the snapshot can be deleted afterwards.
    #[arg(long, value_name = "ID")]
    snapshot: Option<String>,

    /// A directory that holds a root file system.
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,

    /// A tarball of one, such as `docker export` writes; it may be packed with gzip, xz or zstd.
    #[arg(long, value_name = "FILE")]
    tarball: Option<PathBuf>,
}

impl Import {
    fn order(self) -> Outcome<ImportTemplate> {
        let (name, source) = (self.name, self.source);
        let files = source.directory.or(source.tarball);
        let source = match (source.snapshot, files) {
            (Some(id), _) => TemplateSource::Snapshot(id),
            // The engine may run in another directory.
            (None, Some(path)) => TemplateSource::Files(
                path.canonicalize()
                    .map_err(|e| format!("cannot read {}: {e}", path.display()))?,
            ),
            (None, None) => return Err("give --snapshot, --directory or --tarball".into()),
        };
        let mut envs = nullspace_wire::Envs::new();
        for pair in self.env {
            let (key, value) = pair
                .split_once('=')
                .ok_or_else(|| format!("--env {pair}: give NAME=VALUE"))?;
            envs.insert(key.to_owned(), value.to_owned());
        }
        let readiness = match (self.ready_port, self.ready_path, self.ready_command) {
            (Some(port), Some(path), _) => Some(Readiness::Http { port, path }),
            (Some(port), None, _) => Some(Readiness::Port { port }),
            (None, _, Some(command)) => Some(Readiness::Command { command }),
            (None, _, None) => None,
        };
        Ok(ImportTemplate {
            name,
            source,
            envs,
            workdir: self.workdir,
            start: self.start_command.map(|command| StartCommand {
                command,
                readiness,
                timeout_secs: self.ready_timeout,
                interval_ms: INTERVAL_MS,
            }),
        })
    }
}

/// Runs the command: by the engine that runs on the state directory, else by itself.
pub async fn run<F>(options: Template, open_backend: impl Fn(BackendOptions) -> F) -> Outcome<()>
where
    F: Future<Output = Outcome<Arc<dyn Backend>>>,
{
    let directory = options.state.map_or_else(default_state, Ok)?;
    let (order, show): (Order, fn(&Value) -> String) = match options.verb {
        Verb::Import(import) => (Order::ImportTemplate(import.order()?), imported),
        Verb::List { json: false } => (Order::ListTemplates, table),
        Verb::List { json: true } => (Order::ListTemplates, pretty),
        Verb::Inspect { name } => (Order::InspectTemplate(name), pretty),
        Verb::Delete { name } => (Order::DeleteTemplate(name), deleted),
    };
    println!("{}", show(&carry_out(&directory, order, open_backend).await?));
    Ok(())
}

/// Gives an order to the engine that runs on the state directory, or carries it out where none does.
pub async fn carry_out<F>(
    directory: &Path,
    order: Order,
    open_backend: impl Fn(BackendOptions) -> F,
) -> Outcome<Value>
where
    F: Future<Output = Outcome<Arc<dyn Backend>>>,
{
    match give(directory, &order).await? {
        Some(answer) => answer,
        None => alone(directory, order, open_backend).await,
    }
}

async fn give(directory: &Path, order: &Order) -> Outcome<Option<Outcome<Value>>> {
    if !directory.exists() {
        return Ok(None);
    }
    control::ask(directory, order)
        .await
        .map_err(|e| format!("cannot reach the engine on {}: {e}", directory.display()))
}

async fn alone<F>(
    directory: &Path,
    order: Order,
    open_backend: impl Fn(BackendOptions) -> F,
) -> Outcome<Value>
where
    F: Future<Output = Outcome<Arc<dyn Backend>>>,
{
    let store = Store::open(directory).map_err(|e| e.to_string())?;
    let directory = directory
        .canonicalize()
        .map_err(|e| format!("cannot use {}: {e}", directory.display()))?;
    let backend = open_backend(BackendOptions {
        directory: directory.join("machines"),
        refused: Vec::new(),
        base_cache: None,
        best_effort: true,
        durable: true,
    })
    .await?;
    let engine = Engine::offline(store, backend);
    order.run(&engine).await.map_err(|e| control::text(&e))
}

fn field<'a>(template: &'a Value, name: &str) -> &'a str {
    template[name].as_str().unwrap_or_default()
}

fn imported(template: &Value) -> String {
    format!(
        "{} ({}): use it with Machine.create({{ template: '{}' }})",
        field(template, "name"),
        field(template, "id"),
        field(template, "name")
    )
}

fn deleted(template: &Value) -> String {
    format!(
        "{} ({}) is deleted",
        field(template, "name"),
        field(template, "id")
    )
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

fn table(all: &Value) -> String {
    let mut lines = vec![format!("{:<24} {:<28} {:>9}  start command", "NAME", "ID", "MIB")];
    for template in all.as_array().into_iter().flatten() {
        let mib = template["size_bytes"].as_u64().unwrap_or(0) as f64 / f64::from(1 << 20);
        let start = template["start"]["command"].as_str().unwrap_or("-");
        let (name, id) = (field(template, "name"), field(template, "id"));
        lines.push(format!(
            "{name:<24} {id:<28} {mib:>9.1}  {}",
            start.lines().next().unwrap_or_default()
        ));
    }
    lines.join("\n")
}
