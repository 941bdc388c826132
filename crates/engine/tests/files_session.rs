//! File operations over a session, as a machine's process serves them; here it is a thread of this process, on a
//! temporary directory.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use nullspace_engine::isolation::files::{EntryKind, EventKind, FileError, Files, Op, Reply};
use tempfile::TempDir;

struct Session {
    files: Files,
    directory: TempDir,
    server: std::thread::JoinHandle<()>,
}

impl Session {
    fn start() -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        Self {
            files: Files::new(ours).unwrap(),
            directory: tempfile::tempdir().unwrap(),
            server: std::thread::spawn(move || nullspace_agent::files::serve(theirs)),
        }
    }

    fn path(&self, below: &str) -> String {
        self.directory.path().join(below).to_str().unwrap().to_owned()
    }

    fn put(&self, below: &str, content: &str) -> String {
        let path = self.path(below);
        std::fs::create_dir_all(Path::new(&path).parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    /// Names in the directory, hidden ones too.
    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.directory.path()).unwrap();
        let mut names: Vec<_> = entries
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    async fn write(&mut self, below: &str, content: &str) -> Result<(), FileError> {
        let path = self.path(below);
        let mut new = self.files.create(path).await?;
        new.file.write_all(content.as_bytes()).unwrap();
        self.files.commit(new.token, true, None).await.map(drop)
    }

    async fn errno(&mut self, op: Op) -> i32 {
        match self.files.ask(op).await {
            Err(FileError::Fault(fault)) => fault.errno,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn content_appears_whole_and_keeps_what_the_old_file_had() {
    let mut s = Session::start();
    let path = s.path("a/b/new.txt");
    let mut new = s.files.create(path.clone()).await.unwrap();
    assert!(!new.exists);
    new.file.write_all(b"whole").unwrap();
    assert!(!s.files.exists(path.clone()).await.unwrap());
    let info = s.files.commit(new.token, true, None).await.unwrap();
    assert_eq!(
        (info.name.as_str(), info.size, info.mode, info.kind),
        ("new.txt", 5, 0o644, EntryKind::File)
    );
    assert_eq!((info.owner.as_str(), info.group.as_str()), ("root", "root"));
    assert_eq!(info.path, path);

    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o750)).unwrap();
    s.write("a/b/new.txt", "again").await.unwrap();
    let (info, mut file) = s.files.read(path).await.unwrap();
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    assert_eq!((text.as_str(), info.mode), ("again", 0o750));
}

#[tokio::test]
async fn what_was_not_committed_is_gone_with_the_session() {
    let mut s = Session::start();
    let old = s.put("x", "old");
    let mut new = s.files.create(old.clone()).await.unwrap();
    new.file.write_all(b"half").unwrap();
    let aborted = s.files.create(s.path("y")).await.unwrap();
    assert_eq!(s.names().len(), 3);
    assert_eq!(
        s.files.ask(Op::Abort { token: aborted.token }).await.unwrap(),
        Reply::Done
    );
    assert_eq!(s.names().len(), 2);
    drop(s.files);
    s.server.join().unwrap();
    assert_eq!(std::fs::read_to_string(old).unwrap(), "old");
    assert_eq!(std::fs::read_dir(s.directory.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn a_commit_that_must_not_replace_leaves_what_came_first() {
    let mut s = Session::start();
    let new = s.files.create(s.path("x")).await.unwrap();
    s.put("x", "first");
    let commit = Op::Commit {
        token: new.token,
        replace: false,
        mode: None,
    };
    assert_eq!(s.errno(commit).await, libc::EEXIST);
    assert_eq!(s.names(), ["x"]);
    assert_eq!(std::fs::read_to_string(s.path("x")).unwrap(), "first");
    let other = s.files.create(s.path("y")).await.unwrap();
    s.files.commit(other.token, false, Some(0o600)).await.unwrap();
    assert_eq!(s.files.info(s.path("y")).await.unwrap().mode, 0o600);
}

#[tokio::test]
async fn writing_follows_symlinks_and_looking_does_not() {
    let mut s = Session::start();
    let target = s.put("real", "old");
    let op = Op::Symlink {
        target: "real".into(),
        path: s.path("link"),
    };
    s.files.ask(op).await.unwrap();
    s.write("link", "new").await.unwrap();
    assert_eq!(std::fs::read_to_string(target).unwrap(), "new");
    let info = s.files.info(s.path("link")).await.unwrap();
    assert_eq!(info.kind, EntryKind::Symlink);
    assert_eq!(info.symlink_target.as_deref(), Some("real"));
    std::os::unix::fs::symlink("loop", s.path("loop")).unwrap();
    assert_eq!(s.errno(Op::Create { path: s.path("loop") }).await, libc::ELOOP);
}

#[tokio::test]
async fn lists_go_as_deep_as_asked_and_do_not_follow_symlinks() {
    let mut s = Session::start();
    s.put("b/c/d", "1");
    s.put("a", "22");
    std::os::unix::fs::symlink("..", s.path("b/up")).unwrap();
    let root = s.path("");
    let mut at = async |depth| {
        let list = s.files.list(root.clone(), depth).await.unwrap();
        let below: Vec<_> = list
            .iter()
            .map(|i| i.path.strip_prefix(&root).unwrap().to_owned())
            .collect();
        below
    };
    assert_eq!(at(0).await, ["a", "b"]);
    assert_eq!(at(1).await, ["a", "b", "b/c", "b/up"]);
    assert_eq!(at(99).await, ["a", "b", "b/c", "b/c/d", "b/up"]);
}

#[tokio::test]
async fn the_plain_operations_do_what_they_say() {
    let mut s = Session::start();
    let made = s.path("p/q");
    for _ in 0..2 {
        s.files
            .ask(Op::MakeDirectory { path: made.clone() })
            .await
            .unwrap();
    }
    let file = s.put("p/q/f", "x");
    s.files
        .ask(Op::SetMode {
            path: file.clone(),
            mode: 0o4711,
        })
        .await
        .unwrap();
    let moved = s.files.rename(file, s.path("g")).await.unwrap();
    assert_eq!((moved.mode, moved.name.as_str()), (0o4711, "g"));
    s.files.ask(Op::Remove { path: s.path("p") }).await.unwrap();
    assert_eq!(s.names(), ["g"]);
    assert!(s.files.exists(s.path("g")).await.unwrap());
    assert!(!s.files.exists(s.path("g/below")).await.unwrap());
    assert_eq!(s.files.home().await.unwrap(), "/root");
}

#[tokio::test]
async fn failures_have_the_number_of_the_system_and_name_the_path() {
    let mut s = Session::start();
    let (directory, missing) = (s.path(""), s.path("missing"));
    s.put("file", "");
    std::os::unix::net::UnixListener::bind(s.path("socket")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        s.path("pipe"),
        rustix::fs::FileType::Fifo,
        0o644.into(),
        0,
    )
    .unwrap();
    let file = s.path("file");
    let cases = [
        (
            Op::Info {
                path: missing.clone(),
            },
            libc::ENOENT,
        ),
        (
            Op::Read {
                path: missing.clone(),
            },
            libc::ENOENT,
        ),
        (
            Op::Read {
                path: directory.clone(),
            },
            libc::EISDIR,
        ),
        (Op::Read { path: s.path("pipe") }, libc::EINVAL),
        (
            Op::Read {
                path: s.path("socket"),
            },
            libc::ENXIO,
        ),
        (
            Op::Read {
                path: "/dev/null".into(),
            },
            libc::EINVAL,
        ),
        (
            Op::Create {
                path: directory.clone(),
            },
            libc::EISDIR,
        ),
        (Op::Create { path: s.path("pipe") }, libc::EINVAL),
        (
            Op::Create {
                path: s.path("file/below"),
            },
            libc::ENOTDIR,
        ),
        (Op::Create { path: "/".into() }, libc::EBUSY),
        (
            Op::List {
                path: file.clone(),
                depth: 0,
            },
            libc::ENOTDIR,
        ),
        (
            Op::Remove {
                path: missing.clone(),
            },
            libc::ENOENT,
        ),
        (Op::Remove { path: "/".into() }, libc::EBUSY),
        (Op::MakeDirectory { path: file }, libc::EEXIST),
        (
            Op::Watch {
                path: missing.clone(),
                recursive: false,
            },
            libc::ENOENT,
        ),
    ];
    for (op, errno) in cases {
        let name = format!("{op:?}");
        if matches!(op, Op::Watch { .. }) {
            // It ends the session.
            assert_eq!(s.errno(op).await, errno, "{name}");
            break;
        }
        assert_eq!(s.errno(op).await, errno, "{name}");
    }
}

#[tokio::test]
async fn the_reserved_directory_is_refused_however_it_is_reached() {
    let mut s = Session::start();
    // It does not exist here, so that only the name can be looked at; a symlink to where it would be counts too.
    std::os::unix::fs::symlink("/workspace/.nullspace/x", s.path("door")).unwrap();
    for path in [
        "/workspace/.nullspace",
        "/workspace/.nullspace/a/b",
        "/../workspace/.nullspace/a",
    ] {
        assert_eq!(
            s.errno(Op::Remove { path: path.into() }).await,
            libc::EPERM,
            "{path}"
        );
        assert_eq!(
            s.errno(Op::Create { path: path.into() }).await,
            libc::EPERM,
            "{path}"
        );
        assert_eq!(
            s.errno(Op::MakeDirectory { path: path.into() }).await,
            libc::EPERM,
            "{path}"
        );
    }
    assert_eq!(s.errno(Op::Create { path: s.path("door") }).await, libc::EPERM);
}

#[tokio::test]
async fn text_is_found_and_replaced() {
    let mut s = Session::start();
    let a = s.put("a.txt", "one\ntwo two\r\nthree");
    let b = s.put("d/b.txt", "two\n");
    s.put("d/binary", "two\0two");
    std::os::unix::fs::symlink("a.txt", s.path("link")).unwrap();
    let found = s.files.find(s.path(""), "two".into()).await.unwrap();
    let found: Vec<_> = found
        .iter()
        .map(|m| (m.file.as_str(), m.line, m.content.as_str()))
        .collect();
    assert_eq!(found, [(a.as_str(), 2, "two two"), (b.as_str(), 1, "two")]);

    std::fs::set_permissions(&b, PermissionsExt::from_mode(0o600)).unwrap();
    let counts = s
        .files
        .replace(vec![a.clone(), b.clone()], "two".into(), "2".into())
        .await
        .unwrap();
    assert_eq!(counts, [2, 1]);
    assert_eq!(std::fs::read_to_string(&a).unwrap(), "one\n2 2\r\nthree");
    assert_eq!(s.files.info(b).await.unwrap().mode, 0o600);
    let empty = Op::Replace {
        files: vec![a],
        pattern: String::new(),
        replacement: "x".into(),
    };
    assert_eq!(s.errno(empty).await, libc::EINVAL);
}

#[tokio::test]
async fn names_are_searched_by_pattern() {
    let mut s = Session::start();
    for name in ["a.py", "b.txt", "d/c.py", "d/e/f.py"] {
        s.put(name, "");
    }
    let root = s.path("");
    let mut search = async |pattern: &str| {
        let found = s.files.search(root.clone(), pattern.into()).await.unwrap();
        found
            .iter()
            .map(|p| p.strip_prefix(&root).unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(search("*.py").await, ["a.py", "d/c.py", "d/e/f.py"]);
    assert_eq!(search("d/*.py").await, ["d/c.py"]);
    assert_eq!(search("d/**/*.py").await, ["d/c.py", "d/e/f.py"]);
    assert_eq!(search("[ab].*").await, ["a.py", "b.txt"]);
    assert_eq!(search("e").await, ["d/e"]);
}

#[tokio::test]
async fn files_of_proc_are_read_inside() {
    let mut s = Session::start();
    let (info, mut file) = s.files.read("/proc/self/stat".into()).await.unwrap();
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    assert!(text.starts_with(&std::process::id().to_string()));
    assert_eq!(info.size, text.len() as u64);
}

#[tokio::test]
async fn changes_are_told_also_in_directories_made_meanwhile() {
    let mut s = Session::start();
    s.put("old/x", "");
    let root = s.path("").trim_end_matches('/').to_owned();
    s.files.watch(root.clone(), true).await.unwrap();
    let until = async |files: &mut Files, kind: EventKind, name: &str| {
        let path = format!("{root}/{name}");
        loop {
            let event = tokio::time::timeout(Duration::from_secs(5), files.next_event()).await;
            let event = event.unwrap_or_else(|_| panic!("no {kind:?} of {name}")).unwrap();
            if (event.kind, event.name.as_str()) == (kind, name) {
                return assert_eq!(event.path, path);
            }
        }
    };
    s.put("old/y", "content");
    until(&mut s.files, EventKind::Create, "old/y").await;
    until(&mut s.files, EventKind::Write, "old/y").await;
    s.put("new/deep/z", "1");
    until(&mut s.files, EventKind::Create, "new").await;
    until(&mut s.files, EventKind::Create, "new/deep/z").await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    s.put("new/deep/z", "22");
    until(&mut s.files, EventKind::Write, "new/deep/z").await;
    std::fs::rename(s.path("new"), s.path("other")).unwrap();
    until(&mut s.files, EventKind::Rename, "new").await;
    until(&mut s.files, EventKind::Create, "other").await;
    std::fs::remove_file(s.path("other/deep/z")).unwrap();
    until(&mut s.files, EventKind::Remove, "other/deep/z").await;
    drop(s.files);
    s.server.join().unwrap();
}

#[tokio::test]
async fn a_watch_ends_with_what_it_watches() {
    let mut s = Session::start();
    let path = s.put("d/f", "");
    let directory = s.path("d");
    s.files.watch(directory.clone(), false).await.unwrap();
    std::fs::remove_file(path).unwrap();
    std::fs::remove_dir(directory).unwrap();
    let mut kinds = Vec::new();
    let end = loop {
        match s.files.next_event().await {
            Ok(event) => kinds.push((event.kind, event.name)),
            Err(error) => break error,
        }
    };
    assert!(matches!(end, FileError::Fault(fault) if fault.errno == libc::ENOENT));
    assert_eq!(
        kinds,
        [(EventKind::Remove, "f".into()), (EventKind::Remove, "d".into())]
    );
    s.server.join().unwrap();
}
