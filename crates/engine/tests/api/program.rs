//! The program as a process: what it prints, what it refuses, how it ends.
//!
//! The process is this test program itself, told by a variable to be the engine over the plain backend.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nullspace_engine::isolation::Backend;
use rustix::process::{kill_process, Pid, Signal};

const ARGUMENTS: &str = "NULLSPACE_TEST_ENGINE_ARGUMENTS";

/// Is the engine when it is told to be, and nothing otherwise.
#[test]
fn engine() {
    let Ok(arguments) = std::env::var(ARGUMENTS) else {
        return;
    };
    let arguments = arguments.split('\n').map(Into::into);
    let code = nullspace_engine::cli::run(arguments, |_| async {
        Ok(crate::support::Plain::new() as Arc<dyn Backend>)
    });
    // `ExitCode` cannot be looked into; its only two values here are these.
    std::process::exit(i32::from(
        format!("{code:?}") != format!("{:?}", std::process::ExitCode::SUCCESS),
    ));
}

/// A process that is ended with the test.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Ended {
    is_success: bool,
    out: String,
    log: String,
}

fn start(state: &Path, arguments: &[&str]) -> Program {
    run("serve", state, arguments)
}

fn run(command: &str, state: &Path, arguments: &[&str]) -> Program {
    let mut all = vec!["nullspace-engine", command, "--state", state.to_str().unwrap()];
    all.extend(arguments);
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["program::engine", "--exact", "--nocapture", "--test-threads=1"])
        .env(ARGUMENTS, all.join("\n"))
        .env_remove("NULLSPACE_API_KEY")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    Program(child)
}

impl Program {
    /// Lines of standard output up to and with the first that begins so; it is given without the beginning.
    fn line(&mut self, out: &mut impl BufRead, start: &str) -> String {
        for line in out.lines() {
            let line = line.unwrap();
            // The test harness prints before the engine does, on the same line.
            if let Some((_, rest)) = line.split_once(start) {
                return rest.to_owned();
            }
        }
        panic!("no line with {start}");
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }

    fn end(mut self) -> Ended {
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                break status;
            }
            assert!(begun.elapsed() < Duration::from_secs(15), "does not end");
            std::thread::sleep(Duration::from_millis(10));
        };
        let (mut out, mut log) = (String::new(), String::new());
        if let Some(mut stdout) = self.0.stdout.take() {
            stdout.read_to_string(&mut out).unwrap();
        }
        self.0.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        Ended {
            is_success: status.success(),
            out,
            log,
        }
    }
}

/// A request by hand: these tests need no runtime.
fn get(url: &str, key: &str) -> String {
    use std::io::Write;
    let address = url.strip_prefix("http://").unwrap();
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let head = format!("GET /v1/machines HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {key}\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn it_prints_the_lines_to_paste_and_ends_well_on_either_signal() {
    for signal in [Signal::TERM, Signal::INT] {
        let state = tempfile::tempdir().unwrap();
        let mut program = start(state.path(), &["--listen", "127.0.0.1:0", "--log", "json"]);
        let mut out = BufReader::new(program.0.stdout.take().unwrap());
        let url = program.line(&mut out, "NULLSPACE_API_URL=");
        let key = program.line(&mut out, "NULLSPACE_API_KEY=");
        assert!(key.len() >= 32, "{key}");
        assert!(get(&url, &key).starts_with("HTTP/1.1 200"));
        assert!(get(&url, "wrong").starts_with("HTTP/1.1 401"));
        program.signal(signal);
        let ended = program.end();
        assert!(ended.is_success, "{}", ended.log);
        assert!(!ended.log.contains(&key), "the log holds the key");
        let first: serde_json::Value = serde_json::from_str(ended.log.lines().next().unwrap()).unwrap();
        assert_eq!(
            (&first["path"], &first["status"]),
            (&"/v1/machines".into(), &200.into())
        );
    }
}

#[test]
fn a_given_key_is_not_printed() {
    let state = tempfile::tempdir().unwrap();
    let mut program = start(
        state.path(),
        &["--listen", "127.0.0.1:0", "--api-key", "given-key"],
    );
    let mut out = BufReader::new(program.0.stdout.take().unwrap());
    let url = program.line(&mut out, "NULLSPACE_API_URL=");
    assert!(get(&url, "given-key").starts_with("HTTP/1.1 200"));
    program.signal(Signal::TERM);
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    let ended = program.end();
    assert!(ended.is_success && !rest.contains("given-key") && !ended.log.contains("given-key"));
}

#[test]
fn what_cannot_work_is_refused_with_a_way_out() {
    let state = tempfile::tempdir().unwrap();
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let busy_address = busy.local_addr().unwrap().to_string();
    for (arguments, words) in [
        (vec!["--listen", busy_address.as_str()], "port 0 for a free one"),
        (vec!["--listen", "0.0.0.0:0"], "--allow-remote"),
        (vec!["--listen", "nonsense"], "such as 127.0.0.1:3000"),
        (vec!["--api-key", ""], "--api-key is empty"),
        (vec!["--allow-origin", "*"], "http://localhost:5173"),
        (
            vec!["--allow-origin", "http://localhost:5173/path"],
            "http://localhost:5173",
        ),
        (vec!["--no-such-option"], "--no-such-option"),
    ] {
        let ended = start(state.path(), &arguments).end();
        assert!(!ended.is_success, "{arguments:?}");
        assert!(ended.log.contains(words), "{arguments:?}: {}", ended.log);
        assert!(!ended.out.contains("NULLSPACE_API_URL"), "{arguments:?}");
    }
}

#[test]
fn a_busy_default_port_is_replaced_by_a_free_one() {
    // Held by this test, or by whoever else has it: busy either way.
    let _busy = TcpListener::bind("127.0.0.1:3000");
    let state = tempfile::tempdir().unwrap();
    let mut program = start(state.path(), &["--api-key", "k"]);
    let mut out = BufReader::new(program.0.stdout.take().unwrap());
    let url = program.line(&mut out, "NULLSPACE_API_URL=");
    assert_ne!(url, "http://127.0.0.1:3000");
    assert!(get(&url, "k").starts_with("HTTP/1.1 200"));
    program.signal(Signal::TERM);
    assert!(program.end().is_success);
}

#[test]
fn a_second_engine_on_the_same_state_is_told_so() {
    let state = tempfile::tempdir().unwrap();
    let mut first = start(state.path(), &["--listen", "127.0.0.1:0"]);
    let mut out = BufReader::new(first.0.stdout.take().unwrap());
    first.line(&mut out, "NULLSPACE_API_URL=");
    let second = start(state.path(), &["--listen", "127.0.0.1:0"]).end();
    assert!(!second.is_success);
    assert!(
        second.log.contains("in use by another nullspace-engine"),
        "{}",
        second.log
    );
    assert!(
        second.log.contains(&format!("pid {}", first.0.id())),
        "{}",
        second.log
    );
}

#[test]
fn prune_is_done_by_the_engine_that_runs_or_without_one() {
    let state = tempfile::tempdir().unwrap();
    let prune = |arguments: &[&str]| {
        let ended = run("prune", state.path(), arguments).end();
        assert!(ended.is_success, "{}", ended.log);
        ended.out
    };
    let told = "layers removed: 0, 0.0 MiB; of images in use: 0, 0.0 MiB\n";
    assert!(prune(&[]).contains(told));
    let mut engine = start(state.path(), &["--listen", "127.0.0.1:0"]);
    let mut out = BufReader::new(engine.0.stdout.take().unwrap());
    engine.line(&mut out, "NULLSPACE_API_URL=");
    assert!(prune(&[]).contains(told));
    assert!(prune(&["--cache"]).contains(told));
    assert!(prune(&["--json"]).contains("\"cached\": {}"));
    engine.signal(Signal::TERM);
    assert!(engine.end().is_success);
}
