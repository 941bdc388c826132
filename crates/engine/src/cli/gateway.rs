//! `nullspace-engine gateway`: serves the API of a cluster; `gateway keys`: whom it lets in.

use std::io::Write;
use std::net::IpAddr;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::{end_of_input, join, listen, log, metrics, origin, tls, url, Outcome, Signals};
use crate::cluster::db::Db;
use crate::cluster::nodes::Limits;
use crate::cluster::quotas::{self, Quota};
use crate::cluster::{self, keys, Cluster};
use crate::server::access::Access;
use crate::server::preview_hosts::Domain;

/// How long requests may take to end.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Gateway {
    #[command(subcommand)]
    command: Option<GatewayCommand>,

    #[command(flatten)]
    serve: Serve,
}

#[derive(Subcommand)]
enum GatewayCommand {
    /// Make, list, limit and revoke the keys of users.
    Keys(Keys),
}

#[derive(Args)]
pub struct Database {
    /// The cluster's PostgreSQL (15 or newer), such as postgresql://nullspace@db:5432/nullspace.
    #[arg(
        long,
        value_name = "URL",
        env = "NULLSPACE_DATABASE_URL",
        hide_env_values = true
    )]
    database: Option<String>,

    #[command(flatten)]
    trusted: tls::Trusted,
}

impl Database {
    fn url(&self) -> Outcome<&str> {
        self.database.as_deref().ok_or_else(|| {
            "there is no --database (nor NULLSPACE_DATABASE_URL): give one such as postgresql://nullspace@db:5432/nullspace"
                .to_owned()
        })
    }

    /// Opens it, with the schema of this version.
    pub async fn open(&self) -> Outcome<Db> {
        self.trusted.trust()?;
        let db = Db::open(self.url()?)?;
        db.migrate().await.map_err(|e| e.message)?;
        Ok(db)
    }
}

#[derive(Args)]
struct Serve {
    #[command(flatten)]
    database: Database,

    #[command(flatten)]
    shared: join::Shared,

    /// Address and port [default: 127.0.0.1:3000].
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,

    /// Allow an address other than loopback in --listen: whoever reaches it and has a key runs code on the nodes.
    #[arg(long)]
    allow_remote: bool,

    /// Accept this name in `Host` headers too: NAME or NAME:PORT. Repeatable.
    #[arg(long, value_name = "NAME")]
    allow_host: Vec<String>,

    /// Let pages of this origin use the cluster, such as https://app.example.com. Repeatable.
    #[arg(long, value_name = "URL")]
    allow_origin: Vec<String>,

    /// Ports of machines have names below this domain: PORT-mch_ID.DOMAIN. Other domains than localhost are reached by https, which
    /// a load balancer speaks; write http:// before one that has no TLS.
    #[arg(long, value_name = "DOMAIN", default_value = "localhost")]
    preview_domain: String,

    /// End when standard input does, as it does with the program that holds its other end, however that ends.
    #[arg(long)]
    end_with_stdin: bool,

    /// An address of the cluster's own that no machine reaches, such as the database's. Those of nodes are refused anyway. Repeatable.
    #[arg(long, value_name = "ADDRESS")]
    protect: Vec<IpAddr>,

    /// Send webhooks also to link-local addresses, where clouds tell a computer its credentials, and to parts of the cluster.
    #[arg(long)]
    allow_private_webhooks: bool,

    /// Nodes that have each snapshot and each template. With 2, one lost node loses none.
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u8).range(1..=9))]
    copies: u8,

    /// Seconds without a heartbeat after which a node is unreachable: it gets no machines, and calls to it are refused.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = clap::value_parser!(u64).range(3..=3600))]
    unreachable_after: u64,

    /// Seconds without a heartbeat after which a node is lost: its machines count as ended, for good.
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = clap::value_parser!(u64).range(5..=86400))]
    lost_after: u64,

    #[command(flatten)]
    shown: tls::Shown,

    #[command(flatten)]
    metrics: metrics::Metrics,

    /// Form of the log, which goes to standard error.
    #[arg(long, value_enum, default_value = "text")]
    log: log::Form,

    /// What the log holds: error, warn, info, debug.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log_level: tracing::Level,
}

#[derive(Args)]
struct Keys {
    #[command(subcommand)]
    command: KeysCommand,
}

#[derive(Subcommand)]
enum KeysCommand {
    /// Make a key and print it, this once.
    Add {
        #[command(flatten)]
        database: Database,
        /// What people call it, such as web-backend.
        name: String,
        /// Take the key of the variable NULLSPACE_API_KEY instead of a random one; nothing happens if the name has a key.
        #[arg(long)]
        from_env: bool,
        #[command(flatten)]
        quota: Quota,
    },
    /// Give a key other quotas, within a second; those that are left out are none. More than a quota is refused with 429.
    Limit {
        #[command(flatten)]
        database: Database,
        /// As `list` shows it.
        name: String,
        #[command(flatten)]
        quota: Quota,
    },
    /// Show all keys, without what they are.
    List {
        #[command(flatten)]
        database: Database,
    },
    /// Make a key good for nothing. Its machines go on.
    Revoke {
        #[command(flatten)]
        database: Database,
        /// As `list` shows it.
        name: String,
    },
}

/// Runs the command.
pub async fn run(options: Gateway) -> Outcome<()> {
    match options.command {
        Some(GatewayCommand::Keys(options)) => keys(options.command).await,
        None => serve(options.serve).await,
    }
}

async fn serve(options: Serve) -> Outcome<()> {
    log::start(options.log, options.log_level, None)?;
    let mut signals = Signals::new()?;
    let token = options.shared.token()?;
    if options.lost_after <= options.unreachable_after {
        return Err(format!(
            "--lost-after {} must be more than --unreachable-after {}: give 60 and 10",
            options.lost_after, options.unreachable_after
        ));
    }
    let origins = options
        .allow_origin
        .iter()
        .map(|o| origin(o))
        .collect::<Outcome<Vec<_>>>()?;
    options.database.trusted.trust()?;
    let shown = options.shown.acceptor()?;
    let db = Db::open(options.database.url()?)?;
    let cluster = Cluster::open(
        db,
        cluster::Options {
            token,
            limits: Limits {
                unreachable_after: Duration::from_secs(options.unreachable_after),
                lost_after: Duration::from_secs(options.lost_after),
            },
            protected: options.protect,
            copies: options.copies.into(),
            allow_private_webhooks: options.allow_private_webhooks,
        },
    )
    .await
    .map_err(|e| e.message)?;
    let listener = listen(options.listen.as_deref(), options.allow_remote).await?;
    let address = listener.local_addr().map_err(|e| e.to_string())?;
    let access = Access::with_keys(cluster.keys(), address)
        .with_hosts(options.allow_host)
        .with_origins(origins)
        .with_preview_domain(Some(Domain::parse(&options.preview_domain, address.port())?))
        .with_tls(shown);
    let read = cluster.clone();
    options.metrics.serve(move || read.clone().readings()).await?;
    let serving = tokio::spawn(cluster::serve(listener, cluster.clone(), access));
    let mut out = std::io::stdout().lock();
    let _ = writeln!(
        out,
        "NULLSPACE_API_URL={}",
        url(address, options.shown.is_given())
    );
    let _ = out.flush();
    drop(out);
    let name = tokio::select! {
        name = signals.next() => name,
        () = end_of_input(options.end_with_stdin) => "end of standard input",
    };
    tracing::info!("{name}: ending; machines go on");
    cluster.closing().cancel();
    tokio::select! {
        _ = tokio::time::timeout(PATIENCE, serving) => {}
        name = signals.next() => tracing::warn!("{name} again: not waiting any longer"),
    }
    Ok(())
}

async fn keys(command: KeysCommand) -> Outcome<()> {
    match command {
        KeysCommand::Add {
            database,
            name,
            from_env,
            quota,
        } => {
            let db = database.open().await?;
            let given = match from_env {
                true => Some(
                    std::env::var("NULLSPACE_API_KEY")
                        .map_err(|_| "--from-env: NULLSPACE_API_KEY is not set")?,
                ),
                false => None,
            };
            let is_there = from_env
                && keys::list(&db)
                    .await
                    .map_err(|e| e.message)?
                    .iter()
                    .any(|key| key.name == name);
            if is_there {
                return Ok(());
            }
            let key = keys::add(&db, &name, given.as_deref())
                .await
                .map_err(|e| e.message)?;
            quotas::limit(&db, &name, quota).await.map_err(|e| e.message)?;
            if !from_env {
                println!("NULLSPACE_API_KEY={key}");
            }
            Ok(())
        }
        KeysCommand::Limit {
            database,
            name,
            quota,
        } => {
            let db = database.open().await?;
            quotas::limit(&db, &name, quota).await.map_err(|e| e.message)
        }
        KeysCommand::List { database } => {
            let db = database.open().await?;
            println!(
                "{:<24} {:<22} {:<22} {:>8}  QUOTA",
                "NAME", "CREATED", "REVOKED", "MACHINES"
            );
            for key in keys::list(&db).await.map_err(|e| e.message)? {
                let revoked = key.revoked_at.as_deref().unwrap_or("-");
                println!(
                    "{:<24} {:<22} {revoked:<22} {:>8}  {}",
                    key.name, key.created_at, key.machines, key.quota
                );
            }
            Ok(())
        }
        KeysCommand::Revoke { database, name } => {
            let db = database.open().await?;
            keys::revoke(&db, &name).await.map_err(|e| e.message)
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        gateway: Gateway,
    }

    #[test]
    fn it_serves_with_a_database_alone_and_keys_are_commands() {
        let parse = |words: &[&str]| Program::try_parse_from([&["gateway"], words].concat());
        let serving = parse(&["--database", "postgresql://db/nullspace"])
            .ok()
            .unwrap()
            .gateway;
        assert!(serving.command.is_none());
        assert_eq!(serving.serve.database.url(), Ok("postgresql://db/nullspace"));
        assert_eq!(serving.serve.preview_domain, "localhost");
        let keys = parse(&["keys", "list", "--database", "postgresql://db/nullspace"]);
        assert!(matches!(
            keys.ok().unwrap().gateway.command,
            Some(GatewayCommand::Keys(_))
        ));
        assert!(parse(&["--listen", "127.0.0.1:0", "keys", "list"]).is_err());
    }
}
