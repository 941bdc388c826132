//! The code interpreter: contexts that keep what their cells define, cells one after the other, runs that nobody waits
//! for, artifacts. Source: PROTOCOL.md section 8.
//!
//! - [`kernel`]: the process of one context, and the lines that it speaks (`kernel.py`, `kernel.js`)
//! - [`cell`]: one cell from its place in the queue to its last event
//! - [`runs`]: cells that run by themselves
//! - [`artifacts`]: what cells keep, in the machine's own files
//!
//! Contexts and runs live in memory: a kernel is a process, and ends with its machine. Artifacts are files, and go on in
//! forks and snapshots.

pub mod artifacts;
pub mod cell;
mod kernel;
pub mod runs;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nullspace_wire::code::{CodeContext, CreateCodeContextRequest};

use crate::machine::ground::sync::lock;
use crate::machine::ground::{ids, Error, Kind, Result};
use crate::machine::live::{Busy, Machine};
use crate::machine::templates::Reference;
use crate::machine::validate::{self, CODE_INTERPRETER};
use crate::machine::Engine;
use kernel::Kernel;

/// Contexts of one machine.
const MOST_CONTEXTS: usize = 32;

/// What a context runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// With what `python3` is in the machine.
    Python,
    /// With what `node` is in the machine.
    JavaScript,
    /// With what `bash` is in the machine.
    Bash,
}

impl Language {
    /// Reads a name; nothing = Python.
    fn read(name: Option<&str>) -> Result<Self> {
        match name.unwrap_or("python") {
            "python" | "python3" | "py" => Ok(Language::Python),
            "javascript" | "js" | "node" => Ok(Language::JavaScript),
            "bash" | "sh" | "shell" => Ok(Language::Bash),
            other => Err(Error::invalid(
                "language",
                format_args!("is {other:?}: give \"python\", \"javascript\" or \"bash\""),
            )),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Language::Python => "python",
            Language::JavaScript => "javascript",
            Language::Bash => "bash",
        }
    }
}

/// How often a signal that interrupts is sent again, and after which time, as long as its cell runs.
const INTERRUPTS: u32 = 20;
const INTERRUPT_AGAIN: Duration = Duration::from_millis(100);

/// A kernel and the cells that wait for it.
pub struct Context {
    /// `ctx_...`
    pub id: String,
    language: Language,
    cwd: String,
    /// Held by the cell that runs; the others wait for it in order. `None` = the kernel is not running.
    kernel: tokio::sync::Mutex<Option<Kernel>>,
    /// Process of the kernel, 0 = none: for who wants to interrupt it while a cell holds it.
    pid: AtomicU32,
    /// The number of the cell that runs, 0 = none.
    running: AtomicU64,
    is_removed: AtomicBool,
}

impl Context {
    fn new(language: Language, cwd: String) -> Arc<Self> {
        Arc::new(Self {
            id: ids::context(),
            language,
            cwd,
            kernel: tokio::sync::Mutex::new(None),
            pid: AtomicU32::new(0),
            running: AtomicU64::new(0),
            is_removed: AtomicBool::new(false),
        })
    }

    /// What answers show.
    fn info(&self) -> CodeContext {
        CodeContext {
            id: self.id.clone(),
            language: self.language.name().into(),
            cwd: self.cwd.clone(),
        }
    }

    /// Interrupts the cell that runs and what it started. Between cells nothing hears it.
    async fn interrupt(self: &Arc<Self>, machine: &Arc<Machine>) {
        let cell = self.running.load(Ordering::Acquire);
        if cell == 0 {
            return;
        }
        self.signal(machine).await;
        if self.language == Language::JavaScript {
            // Node forgets a signal that comes in the moment between code that runs and code that waits.
            let (context, machine) = (self.clone(), machine.clone());
            tokio::spawn(async move {
                for _ in 0..INTERRUPTS {
                    tokio::time::sleep(INTERRUPT_AGAIN).await;
                    if context.running.load(Ordering::Acquire) != cell {
                        return;
                    }
                    context.signal(&machine).await;
                }
            });
        }
    }

    async fn signal(&self, machine: &Machine) {
        let pid = self.pid.load(Ordering::Acquire);
        if let (true, Ok(running)) = (pid != 0, machine.running()) {
            // It may have ended just now.
            let _ = running.signal(pid, libc::SIGINT).await;
        }
    }

    /// Ends the kernel and what its cells started, while a cell may hold it.
    async fn end(&self, machine: &Machine) {
        let pid = self.pid.load(Ordering::Acquire);
        if let (true, Ok(running)) = (pid != 0, machine.running()) {
            // As above.
            let _ = running.end(pid).await;
        }
    }
}

/// Contexts and runs of one machine.
#[derive(Default)]
pub struct Code {
    contexts: Mutex<Vec<Arc<Context>>>,
    /// The contexts of cells that name none, by language.
    defaults: tokio::sync::Mutex<BTreeMap<&'static str, String>>,
    runs: Mutex<runs::Runs>,
}

impl Code {
    fn find(&self, id: &str) -> Option<Arc<Context>> {
        lock(&self.contexts)
            .iter()
            .find(|context| context.id == id)
            .cloned()
    }
}

fn find(machine: &Machine, id: &str) -> Result<Arc<Context>> {
    machine.code.find(id).ok_or_else(|| {
        Error::new(
            Kind::NotFound,
            format!("machine {} has no code context {id}", machine.id),
        )
        .with_action("list the contexts, or make one")
    })
}

impl Engine {
    /// A machine that may run code.
    async fn interpreter(self: &Arc<Self>, id: &str) -> Result<(Arc<Machine>, Busy)> {
        let (machine, busy) = self.ready(id).await?;
        let template = machine.read(|r| r.template.clone());
        let subject = Reference::parse(&template).map(|reference| reference.subject);
        if matches!(subject.as_deref(), Some("base" | "tmpl_base")) {
            return Err(Error::new(
                Kind::FeatureUnavailable,
                format!("machine {id} is of template {template:?}, which has no code interpreter"),
            )
            .with_action(format!("create the machine with template {CODE_INTERPRETER:?}")));
        }
        Ok((machine, busy))
    }

    /// Makes a context, and starts its kernel.
    pub async fn create_code_context(
        self: &Arc<Self>,
        id: &str,
        request: CreateCodeContextRequest,
    ) -> Result<CodeContext> {
        let (machine, _busy) = self.interpreter(id).await?;
        let language = Language::read(request.language.as_deref())?;
        let cwd = request
            .cwd
            .map(|cwd| validate::absolute("cwd", &cwd))
            .transpose()?;
        Ok(self.new_context(&machine, language, cwd).await?.info())
    }

    async fn new_context(
        &self,
        machine: &Arc<Machine>,
        language: Language,
        cwd: Option<String>,
    ) -> Result<Arc<Context>> {
        if lock(&machine.code.contexts).len() >= MOST_CONTEXTS {
            return Err(Error::new(
                Kind::Conflict,
                format!(
                    "machine {} has {MOST_CONTEXTS} code contexts, the most there can be",
                    machine.id
                ),
            )
            .with_action("remove one that is not needed"));
        }
        let cwd = cwd.unwrap_or_else(|| machine.read(|r| r.cwd.clone()));
        let context = Context::new(language, cwd);
        let kernel = Kernel::start(self, machine, &context).await?;
        *context.kernel.lock().await = Some(kernel);
        lock(&machine.code.contexts).push(context.clone());
        Ok(context)
    }

    /// The context that a cell names, or the one that all cells without a name share.
    async fn context_for(
        &self,
        machine: &Arc<Machine>,
        id: Option<&str>,
        language: Option<&str>,
    ) -> Result<Arc<Context>> {
        if let Some(id) = id {
            return find(machine, id);
        }
        let language = Language::read(language)?;
        // Held while it is made, so that two first cells share one.
        let mut defaults = machine.code.defaults.lock().await;
        let known = defaults.get(language.name()).and_then(|id| machine.code.find(id));
        if let Some(context) = known {
            return Ok(context);
        }
        let context = self.new_context(machine, language, None).await?;
        defaults.insert(language.name(), context.id.clone());
        Ok(context)
    }

    /// The contexts of a machine, in the order in which they were made.
    pub async fn list_code_contexts(self: &Arc<Self>, id: &str) -> Result<Vec<CodeContext>> {
        let (machine, _busy) = self.interpreter(id).await?;
        let all = lock(&machine.code.contexts);
        Ok(all.iter().map(|context| context.info()).collect())
    }

    /// Ends a context. Cells that wait for it fail.
    pub async fn remove_code_context(self: &Arc<Self>, id: &str, context: &str) -> Result<()> {
        let (machine, _busy) = self.interpreter(id).await?;
        let context = find(&machine, context)?;
        context.is_removed.store(true, Ordering::Release);
        lock(&machine.code.contexts).retain(|known| known.id != context.id);
        context.end(&machine).await;
        if let Some(kernel) = context.kernel.lock().await.take() {
            kernel.kill(self, &machine).await;
        }
        Ok(())
    }

    /// Ends the kernel and starts another one, which knows nothing of before.
    pub async fn restart_code_context(self: &Arc<Self>, id: &str, context: &str) -> Result<()> {
        let (machine, _busy) = self.interpreter(id).await?;
        let context = find(&machine, context)?;
        context.end(&machine).await;
        let mut kernel = context.kernel.lock().await;
        // A cell that waited may have started another one.
        if let Some(other) = kernel.take() {
            other.kill(self, &machine).await;
        }
        *kernel = Some(Kernel::start(self, &machine, &context).await?);
        Ok(())
    }

    /// Stops the cell that runs, which fails; what was defined stays.
    pub async fn interrupt_code_context(self: &Arc<Self>, id: &str, context: &str) -> Result<()> {
        let (machine, _busy) = self.interpreter(id).await?;
        let context = find(&machine, context)?;
        context.interrupt(&machine).await;
        Ok(())
    }
}
