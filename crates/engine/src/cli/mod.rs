//! The command line: options, log, signals, and the order in which an engine begins and ends.
//!
//! Everything but the backend, which the program gives, so that tests can run all of this over another one.

mod container;
mod gateway;
mod ids;
mod join;
mod log;
mod metrics;
mod node;
mod prune;
mod running;
mod scope;
mod template;
mod temporary;
mod tls;

use std::ffi::OsString;
use std::future::Future;
use std::io::Write;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use tokio::net::TcpListener;
use tokio::signal::unix::{signal, Signal, SignalKind};

use crate::control;
use crate::isolation::{descriptors, remove, Backend, Limit};
use crate::machine::network::previews::Ports;
use crate::machine::{Engine, Ids};
use crate::node::membership::Membership;
use crate::server::{self, access::Access, faults::Faults, preview_hosts::Domain};
use crate::store::Store;
use crate::webhooks::Webhooks;

/// Where the SDKs look when they are told nothing. Source: PROTOCOL.md section 1.
const DEFAULT_LISTEN: &str = "127.0.0.1:3000";
/// How long the end may take; what is left then is ended by the kernel and by the next start.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(20);
/// The same after a second signal.
const HURRIED_PATIENCE: Duration = Duration::from_secs(2);
/// Fewer descriptors than this are worth a word.
const FEW_DESCRIPTORS: u64 = 4_096;
/// How long requests may take to end once all machines are gone.
const REQUEST_PATIENCE: Duration = Duration::from_secs(3);

/// Isolated Linux machines on this computer, behind the Nullspace HTTP API.
#[derive(Parser)]
#[command(name = "nullspace-engine", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the API until SIGTERM or SIGINT; then end all machines.
    Serve(Serve),
    /// Serve the API of a cluster: many engines on many computers, which join with `serve --join`.
    Gateway(gateway::Gateway),
    /// List, drain, resume and forget the nodes of a cluster.
    Node(node::Node),
    /// Import, list, inspect and delete templates.
    Template(template::Template),
    /// Remove layers of images that nothing uses, and with --cache also what only the cache of builds keeps.
    Prune(prune::Prune),
    /// Say what this computer can isolate and limit. Exit code 1 if it cannot isolate at all.
    Doctor,
}

#[derive(Args)]
struct Serve {
    /// Address and port; port 0 takes a free one. Without this option 127.0.0.1:3000, or a free port if that is busy.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,

    /// Port on 127.0.0.1; 0 takes a free one.
    #[arg(long, value_name = "PORT", conflicts_with = "listen")]
    port: Option<u16>,

    /// Directory for all state; made if missing, one engine at a time
    /// [default: $XDG_STATE_HOME/nullspace or ~/.local/state/nullspace].
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,

    /// State in a directory of its own below TMPDIR, which is removed at the end. For tests: what machines begin with is taken
    /// from $XDG_CACHE_HOME/nullspace or ~/.cache/nullspace, where such engines share it.
    #[arg(long, conflicts_with = "state")]
    temporary: bool,

    /// End when standard input does, as it does with the program that holds its other end, however that ends.
    #[arg(long)]
    end_with_stdin: bool,

    /// The key that clients must send. Without it (and the variable) the one in the file api-key of the state directory, which
    /// is made if it is missing, and printed.
    #[arg(long, value_name = "KEY", env = "NULLSPACE_API_KEY", hide_env_values = true)]
    api_key: Option<String>,

    /// Let pages of this origin use the engine, such as http://localhost:5173. Repeatable.
    #[arg(long, value_name = "URL")]
    allow_origin: Vec<String>,

    /// Accept this name in `Host` headers too: NAME or NAME:PORT. Repeatable.
    #[arg(long, value_name = "NAME")]
    allow_host: Vec<String>,

    /// Allow an address other than loopback in --listen: whoever reaches it and has the key runs code here.
    #[arg(long)]
    allow_remote: bool,

    /// Send webhooks also to link-local addresses, where clouds tell a computer its credentials, and to the engine itself.
    #[arg(long)]
    allow_private_webhooks: bool,

    /// Let no machine reach this range, whatever its policy, such as 10.0.0.0/8. Repeatable. Where the engine runs in a container,
    /// the computer below it is refused without being named.
    #[arg(long, value_name = "CIDR")]
    deny_egress: Vec<ipnet::IpNet>,

    /// Ports for previews, on all addresses, instead of free ones on loopback: FROM-TO. For containers, which publish them.
    #[arg(long, value_name = "RANGE", value_parser = port_range, requires = "allow_remote")]
    preview_ports: Option<RangeInclusive<u16>>,

    /// Give ports of machines names on the engine's own port: PORT-mch_ID.DOMAIN. For containers, which publish it. Other domains
    /// than localhost are reached by https, which something before the engine speaks; write http:// before one that has no TLS.
    #[arg(long, value_name = "DOMAIN", conflicts_with_all = ["preview_ports", "join"])]
    preview_domain: Option<String>,

    /// Port for SSH; without this option a free one, the same at each start.
    #[arg(long, value_name = "PORT")]
    ssh_port: Option<u16>,

    /// For tests of programs that use the engine: routes under /faults/v1 make requests fail and move the clock.
    /// Only on loopback.
    #[arg(long)]
    faults: bool,

    /// Where this computer cannot enforce a size that is asked for, start the machine with a warning instead of an error.
    #[arg(long)]
    best_effort: bool,

    #[command(flatten)]
    join: join::Join,

    #[command(flatten)]
    shown: tls::Shown,

    #[command(flatten)]
    metrics: metrics::Metrics,

    /// Whether an answer waits until what was made (snapshots, volumes, machines with a key) is on the disk: `fast` does not,
    /// and a power cut may lose the last seconds. For tests and CI.
    #[arg(long, value_enum, default_value = "full")]
    durability: Durability,

    /// For tests, which start many engines: those with the same directory share what `base` is made of. Nobody looks whether an engine
    /// still has a tree that is a week old, so it is not for engines that stay.
    #[arg(long, value_name = "DIR", hide = true)]
    base_cache: Option<PathBuf>,

    /// Form of the log, which goes to standard error.
    #[arg(long, value_enum, default_value = "text")]
    log: log::Form,

    /// Write the log to this file instead. At 8 MiB it begins anew, and the last one is kept beside it, with `.1` behind its name.
    #[arg(long, value_name = "FILE")]
    log_file: Option<PathBuf>,

    /// What the log holds: error, warn, info, debug.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log_level: tracing::Level,
}

/// What a power cut may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Durability {
    /// Nothing that was answered.
    Full,
    /// The last seconds.
    Fast,
}

/// A result, or what went wrong, for the person who started the program.
pub type Outcome<T> = Result<T, String>;

/// What the backend is opened with.
#[derive(Debug, Clone)]
pub struct BackendOptions {
    /// Directory of its own, inside the state directory.
    pub directory: PathBuf,
    /// Where engines of this user share what `base` is made of.
    pub base_cache: Option<PathBuf>,
    /// What no machine reaches.
    pub refused: Vec<ipnet::IpNet>,
    /// Start machines with a warning where a limit cannot be enforced.
    pub best_effort: bool,
    /// Layers are on the disk before anybody hears of them.
    pub durable: bool,
}

/// Runs the program. `arguments` begin with its name.
pub fn run<F>(
    arguments: impl IntoIterator<Item = OsString>,
    open_backend: impl Fn(BackendOptions) -> F,
) -> ExitCode
where
    F: Future<Output = Outcome<Arc<dyn Backend>>>,
{
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        // Help and version come this way too; clap knows where each goes and which code it gives.
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(error.exit_code() as u8);
        }
    };
    if matches!(cli.command, Command::Serve(_) | Command::Doctor) {
        scope::enter(&arguments);
    }
    ids::enter();
    // Before anything is opened: clients, machines and their connections take descriptors by the thousand.
    descriptors::raise();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("nullspace-engine: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = match cli.command {
        Command::Serve(options) => runtime.block_on(serve(options, open_backend)),
        Command::Gateway(options) => runtime.block_on(gateway::run(options)),
        Command::Node(options) => runtime.block_on(node::run(options)),
        Command::Template(options) => runtime.block_on(template::run(options, open_backend)),
        Command::Prune(options) => runtime.block_on(prune::run(options, open_backend)),
        Command::Doctor => runtime.block_on(doctor(open_backend)),
    };
    // A command of a machine that does not end must not hold the program.
    runtime.shutdown_timeout(Duration::from_secs(1));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("nullspace-engine: {message}");
            ExitCode::FAILURE
        }
    }
}

async fn serve<F>(options: Serve, open_backend: impl Fn(BackendOptions) -> F) -> Outcome<()>
where
    F: Future<Output = Outcome<Arc<dyn Backend>>>,
{
    log::start(options.log, options.log_level, options.log_file.as_deref())?;
    let most = descriptors::limit();
    if most < FEW_DESCRIPTORS {
        tracing::warn!("only {most} files may be open at once, which a few busy machines use up: raise the hard limit (ulimit -Hn)");
    }
    let mut signals = Signals::new()?;
    let given_key = options.api_key.as_deref().map(str::trim);
    if given_key == Some("") {
        return Err("--api-key is empty: give a key, or leave it out to get a random one".into());
    }
    let origins = options
        .allow_origin
        .iter()
        .map(|o| origin(o))
        .collect::<Outcome<Vec<_>>>()?;
    let temporary = options.temporary.then(temporary::State::make).transpose()?;
    let directory = match (&temporary, options.state) {
        (Some(temporary), _) => temporary.path().to_owned(),
        (None, Some(directory)) => directory,
        (None, None) => default_state()?,
    };
    let shown = options.shown.acceptor()?;
    if shown.is_some() && options.faults {
        return Err("--faults serves without TLS: leave out --tls-cert and --tls-key".into());
    }
    let drain_within = options.join.drain_within;
    let membership = join::join(options.join, &directory).await?;
    let store = Store::open(&directory).map_err(|e| e.to_string())?;
    let store = match options.durability {
        Durability::Full => store,
        Durability::Fast => store.fast(),
    };
    // Machines see it from other working directories.
    let directory = directory
        .canonicalize()
        .map_err(|e| format!("cannot use {}: {e}", directory.display()))?;
    let key = match (given_key, &membership) {
        // Keys of users are the gateways'; the variable may be set for other programs.
        (_, Some(membership)) => membership.key(),
        (Some(key), None) => key.to_owned(),
        (None, None) => running::key(&directory)
            .map_err(|e| format!("cannot keep a key in {}: {e}", directory.display()))?,
    };
    let asked = options.port.map(|port| format!("127.0.0.1:{port}"));
    let listener = listen(
        asked.as_deref().or(options.listen.as_deref()),
        options.allow_remote,
    )
    .await?;
    let address = listener.local_addr().map_err(|e| e.to_string())?;
    if options.faults && !address.ip().is_loopback() {
        return Err(format!(
            "--faults lets who has the key break the engine, so it needs a loopback address: use --listen 127.0.0.1:{}",
            address.port()
        ));
    }
    let backend = open_backend(BackendOptions {
        directory: directory.join("machines"),
        refused: options
            .deny_egress
            .into_iter()
            .chain(container::below())
            .collect(),
        base_cache: options.base_cache.or_else(|| {
            let is_temporary = temporary.is_some();
            is_temporary.then(|| user_directory("XDG_CACHE_HOME", ".cache"))?
        }),
        best_effort: options.best_effort,
        durable: store.is_durable(),
    })
    .await?;
    let notes = backend.capabilities().notes.clone();
    for note in &notes {
        tracing::warn!("{note}");
    }
    let ids = membership
        .as_ref()
        .map_or_else(Ids::default, |membership| Ids::tagged(membership.tag()));
    let engine = Engine::open(store, backend, ids)
        .await
        .map_err(|e| e.to_string())?;
    let webhooks = Webhooks::open(engine.clone()).await.map_err(|e| e.to_string())?;
    if options.allow_private_webhooks {
        webhooks.reach().allow_everywhere();
    }
    engine.use_ports(Ports {
        previews: options.preview_ports,
        ssh: options.ssh_port,
        host: membership.as_ref().and_then(Membership::host),
    });
    let domain = options
        .preview_domain
        .map(|domain| Domain::parse(&domain, address.port()))
        .transpose()?;
    let access = Access::new(&key, address)
        .with_hosts(options.allow_host)
        .with_origins(origins)
        .with_preview_domain(domain)
        .with_tls(shown);
    let access = match membership {
        Some(_) => access.of_node(),
        None => access,
    };
    let faults = options.faults.then(Faults::new);
    if faults.is_some() {
        tracing::warn!("--faults: this engine fails when it is told to");
    }
    let orders =
        control::listen(&directory).map_err(|e| format!("cannot listen in {}: {e}", directory.display()))?;
    tokio::spawn(control::serve(orders, engine.clone()));
    let read = engine.clone();
    options.metrics.serve(move || read.clone().readings()).await?;
    let serving = tokio::spawn(server::serve(listener, engine.clone(), webhooks, access, faults));
    let url = url(address, options.shown.is_given());
    running::Running::here(&url, &key, options.log_file.as_deref(), &notes)
        .announce(&directory)
        .map_err(|e| format!("cannot write to {}: {e}", directory.display()))?;
    match &membership {
        Some(membership) => join::announce(&url, membership),
        None => announce(&url, given_key.is_none().then_some(&key)),
    }
    let leaving = membership.as_ref().map(Membership::leaving);
    let drained = join::take_part(membership, engine.clone());
    tokio::pin!(drained);

    let closing = engine.closing().clone();
    tokio::select! {
        name = signals.next() => match (leaving, drain_within) {
            (Some(leaving), Some(within)) => {
                tracing::info!("{name}: draining for {} s at most; again: ending all machines", within.as_secs());
                leaving.cancel();
                tokio::select! {
                    () = &mut drained => {}
                    () = tokio::time::sleep(within) => tracing::warn!("--drain-within is over: ending all machines"),
                    name = signals.next() => tracing::info!("{name}: ending all machines"),
                }
            }
            _ => tracing::info!("{name}: ending all machines"),
        },
        () = end_of_input(options.end_with_stdin) => tracing::info!("standard input ended: ending all machines"),
        () = closing.cancelled() => {}
        () = &mut drained => {}
    }
    // Nobody shall find it any more.
    running::forget(&directory);
    let ending = tokio::spawn(async move { engine.shutdown().await });
    let hurried = async {
        tokio::select! {
            () = tokio::time::sleep(SHUTDOWN_PATIENCE) => {}
            name = signals.next() => {
                tracing::warn!("{name} again: not waiting any longer");
                tokio::time::sleep(HURRIED_PATIENCE).await;
            }
        }
    };
    let is_whole = tokio::select! {
        _ = ending => true,
        () = hurried => false,
    };
    let _ = tokio::time::timeout(REQUEST_PATIENCE, serving).await;
    control::forget(&directory);
    if is_whole {
        Ok(())
    } else {
        Err("ended before all machines were gone; the next start on this state removes what is left".into())
    }
}

async fn doctor<F>(open_backend: impl Fn(BackendOptions) -> F) -> Outcome<()>
where
    F: Future<Output = Outcome<Arc<dyn Backend>>>,
{
    let directory = temporary::directory("nullspace-doctor")?;
    let opened = open_backend(BackendOptions {
        directory: directory.clone(),
        refused: Vec::new(),
        base_cache: user_directory("XDG_CACHE_HOME", ".cache"),
        best_effort: true,
        durable: false,
    })
    .await;
    let found = opened.map(|backend| backend.capabilities().clone());
    // After the backend, which removes what its first machine had.
    let _ = remove::directory(&directory);
    let found = found?;
    let word = |limit| match found.enforces(limit) {
        true => "enforced",
        false => "not enforced",
    };
    println!("isolation   {}", found.backend);
    println!("memory_mb   {}", word(Limit::Memory));
    println!("vcpus       {}", word(Limit::Cpu));
    println!("processes   {}", word(Limit::Pids));
    println!("disk_mb     {}", word(Limit::Disk));
    println!("open files  {}", descriptors::limit());
    println!("users       {}", if found.users { "all" } else { "root only" });
    for feature in &found.features {
        let word = match (feature.is_there, feature.is_vital) {
            (true, _) => "found",
            (false, true) => "MISSING, machines cannot start",
            (false, false) => "MISSING",
        };
        println!("kernel      {word}: {} ({})", feature.name, feature.promise);
    }
    for note in &found.notes {
        println!("note: {note}");
    }
    Ok(())
}

/// `$XDG_STATE_HOME/nullspace`, else `~/.local/state/nullspace`.
fn default_state() -> Outcome<PathBuf> {
    user_directory("XDG_STATE_HOME", ".local/state")
        .ok_or_else(|| "neither XDG_STATE_HOME nor HOME is set: say where state goes with --state DIR".into())
}

/// Our directory in one of the user's, which a variable names or which is in the home directory.
fn user_directory(variable: &str, in_home: &str) -> Option<PathBuf> {
    let absolute = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|p| p.is_absolute())
    };
    absolute(variable)
        .or_else(|| absolute("HOME").map(|home| home.join(in_home)))
        .map(|base| base.join("nullspace"))
}

async fn listen(asked: Option<&str>, allow_remote: bool) -> Outcome<TcpListener> {
    let text = asked.unwrap_or(DEFAULT_LISTEN);
    let wrong = |e: std::io::Error| {
        format!("--listen {text}: {e}; give an address and a port such as {DEFAULT_LISTEN}")
    };
    let address: SocketAddr = match text.parse() {
        Ok(address) => address,
        Err(_) => {
            let mut found = tokio::net::lookup_host(text).await.map_err(wrong)?;
            found
                .next()
                .ok_or_else(|| format!("--listen {text}: no such host"))?
        }
    };
    if !address.ip().is_loopback() && !allow_remote {
        return Err(format!(
            "--listen {text} is reachable from other computers, and whoever has the key runs code on this one: \
             use {DEFAULT_LISTEN}, or add --allow-remote if that is what you want"
        ));
    }
    match TcpListener::bind(address).await {
        Ok(listener) => Ok(listener),
        // Nobody asked for this very port, so a free one serves as well.
        Err(error) if asked.is_none() && error.kind() == std::io::ErrorKind::AddrInUse => {
            TcpListener::bind((address.ip(), 0))
                .await
                .map_err(|e| format!("cannot listen: {e}"))
        }
        Err(error) => Err(format!(
            "cannot listen on {address}: {error}; give another port, or port 0 for a free one"
        )),
    }
}

/// `FROM-TO`.
fn port_range(text: &str) -> Result<RangeInclusive<u16>, String> {
    let range = || {
        let (from, to) = text.split_once('-')?;
        let range: RangeInclusive<u16> = from.parse().ok()?..=to.parse().ok()?;
        (!range.is_empty() && *range.start() > 0).then_some(range)
    };
    range().ok_or_else(|| "give two ports such as 42000-42063".to_owned())
}

/// Checks an origin: scheme, host and port only.
fn origin(text: &str) -> Outcome<String> {
    let bare = text.trim_end_matches('/');
    let host = bare
        .strip_prefix("http://")
        .or_else(|| bare.strip_prefix("https://"));
    match host {
        Some(host) if !host.is_empty() && !host.contains(['/', '*', '@', ' ', '?', '#']) => {
            Ok(bare.to_owned())
        }
        _ => Err(format!(
            "--allow-origin {text}: give scheme and host such as http://localhost:5173"
        )),
    }
}

/// Where programs of this computer reach the engine.
fn url(mut address: SocketAddr, is_tls: bool) -> String {
    // An address that means "all of them" is no address to connect to.
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() {
            [127, 0, 0, 1].into()
        } else {
            std::net::Ipv6Addr::LOCALHOST.into()
        });
    }
    format!("{}://{address}", if is_tls { "https" } else { "http" })
}

/// The lines to paste, on standard output, once the engine answers.
fn announce(url: &str, key: Option<&String>) {
    let mut out = std::io::stdout().lock();
    // A reader that went away is no reason to end.
    let _ = writeln!(out, "NULLSPACE_API_URL={url}");
    if let Some(key) = key {
        let _ = writeln!(out, "NULLSPACE_API_KEY={key}");
    }
    let _ = out.flush();
}

/// Resolves when standard input is at its end, if anybody wants to know.
async fn end_of_input(is_wanted: bool) {
    if !is_wanted {
        return std::future::pending().await;
    }
    let (ended, end) = tokio::sync::oneshot::channel::<()>();
    // A thread, not a task: nothing waits for it when the engine ends otherwise.
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        drop(ended);
    });
    let _ = end.await;
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Outcome<Self> {
        let listen = |kind| signal(kind).map_err(|e| format!("cannot listen for signals: {e}"));
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::CommandFactory;

    use super::*;

    /// Command lines of the files that deploy the engine, with the names of variables in place of what they hold.
    fn command_lines(path: &Path) -> Vec<Vec<String>> {
        let text = std::fs::read_to_string(path).unwrap().replace("\\\n", " ");
        let mut found: Vec<Vec<String>> = Vec::new();
        let mut is_list = false;
        for line in text.lines().map(str::trim) {
            let program = line.strip_prefix("ExecStart=/usr/bin/nullspace-engine ");
            if let Some(rest) = program {
                found.push(rest.split_whitespace().map(str::to_owned).collect());
            } else if matches!(line, "args:" | "command:") {
                (is_list, _) = (true, found.push(Vec::new()));
            } else if let (true, Some(word), Some(list)) =
                (is_list, line.strip_prefix("- "), found.last_mut())
            {
                let word = word.replace("$(GATEWAYS)", "http://gateway:3000");
                list.push(word.replace("$(POD_IP)", "10.0.0.1"));
            } else if !line.starts_with('#') {
                is_list = false;
            }
        }
        found
    }

    #[test]
    fn the_guide_of_clusters_names_all_options_of_gateways_and_keys_and_tests_that_there_are() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let guide = std::fs::read_to_string(root.join("docs/cluster.md")).unwrap();
        let find = |command: &clap::Command, name: &str| command.find_subcommand(name).unwrap().clone();
        let gateway = find(&Cli::command(), "gateway");
        let add = find(&find(&gateway, "keys"), "add");
        for option in gateway.get_arguments().chain(add.get_arguments()) {
            // `--from-env` is for Compose, which has no other way to give a key.
            let Some(long) = option
                .get_long()
                .filter(|long| !["help", "from-env"].contains(long))
            else {
                continue;
            };
            assert!(
                guide.contains(&format!("--{long}")),
                "docs/cluster.md says nothing of --{long}"
            );
        }
        let tests = ["create", "loss"].map(|name| {
            let file = format!("crates/engine/tests/cluster/{name}.rs");
            std::fs::read_to_string(root.join(file)).unwrap()
        });
        let rows = guide
            .lines()
            .filter_map(|line| line.strip_suffix("` |")?.rsplit_once("| `"));
        let named: Vec<&str> = rows
            .map(|(_, test)| test)
            .filter(|test| test.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
            .collect();
        assert!(named.len() >= 5, "{named:?}");
        for test in named {
            let text = format!("async fn {test}()");
            assert!(
                tests.iter().any(|file| file.contains(&text)),
                "there is no test {test}"
            );
        }
    }

    #[test]
    fn files_that_deploy_a_cluster_name_options_and_variables_that_there_are() {
        let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy");
        let mut variables: Vec<String> = Vec::new();
        let mut commands = vec![Cli::command()];
        while let Some(command) = commands.pop() {
            let named = command.get_arguments().filter_map(|a| a.get_env()?.to_str());
            variables.extend(named.map(str::to_owned));
            commands.extend(command.get_subcommands().cloned());
        }
        for (file, count) in [
            ("kubernetes/base/gateway.yaml", 1),
            ("kubernetes/base/node.yaml", 1),
            ("compose/compose.yaml", 3),
            ("systemd/nullspace-gateway.service", 1),
            ("systemd/nullspace-node.service", 1),
        ] {
            let path = deploy.join(file);
            let lines = command_lines(&path);
            assert_eq!(lines.len(), count, "{file}: {lines:?}");
            for mut line in lines {
                line.insert(0, "nullspace-engine".into());
                // What comes from secrets.
                line.push(match line[1].as_str() {
                    "serve" => "--join-token=0123456789abcdef".into(),
                    _ => "--database=postgresql://db/nullspace".into(),
                });
                if let Err(error) = Cli::try_parse_from(&line) {
                    panic!("{file}: {error}");
                }
            }
            let text = std::fs::read_to_string(&path).unwrap();
            for (at, _) in text.match_indices("NULLSPACE_") {
                let is_word = |c: char| c.is_ascii_uppercase() || c == '_';
                let name: String = text[at..].chars().take_while(|c| is_word(*c)).collect();
                assert!(variables.contains(&name), "{file}: there is no variable {name}");
            }
        }
    }
}
