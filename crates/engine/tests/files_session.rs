//! File operations over a session, as a machine's process serves them; here it is a thread of this process, on a
//! temporary directory.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use nullspace_engine::isolation::files::{
    EntryKind, EventKind, FileError, Files, How, Op, Reply, Spot, Step, Stepped, LARGEST_PIECE, MOST_HANDLES,
    RESERVED,
};
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
#[cfg_attr(not_root, ignore = "needs root")]
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
#[cfg_attr(not_root, ignore = "needs root")]
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
    let counted = s
        .files
        .replace(vec![a.clone(), b.clone()], "two".into(), "2".into(), true)
        .await
        .unwrap();
    assert_eq!(counted, [2, 1]);
    assert!(
        !std::fs::read_to_string(&a).unwrap().contains('2'),
        "only counted"
    );
    let counts = s
        .files
        .replace(vec![a.clone(), b.clone()], "two".into(), "2".into(), false)
        .await
        .unwrap();
    assert_eq!(counts, [2, 1]);
    assert_eq!(std::fs::read_to_string(&a).unwrap(), "one\n2 2\r\nthree");
    assert_eq!(s.files.info(b).await.unwrap().mode, 0o600);
    let empty = Op::Replace {
        files: vec![a],
        pattern: String::new(),
        dry_run: false,
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
    assert_eq!(
        search("*.{py,txt}").await,
        ["a.py", "b.txt", "d/c.py", "d/e/f.py"]
    );
    assert_eq!(search("d/*.{py,txt}").await, ["d/c.py"]);
    assert_eq!(search("./*.py").await, ["a.py"]);
    assert_eq!(search("/d/*.py").await, ["d/c.py"]);
    assert_eq!(search(&format!("{root}d/*.py")).await, ["d/c.py"]);
    assert_eq!(search("{a.py,e/}").await, ["a.py", "d/e"]);
    for pattern in ["", "[", "d/../*.py", "*.{py,txt", "./"] {
        let op = Op::Search {
            path: root.clone(),
            pattern: pattern.into(),
        };
        assert_eq!(s.errno(op).await, libc::EINVAL, "{pattern:?}");
    }
}

#[tokio::test]
#[cfg_attr(not_root, ignore = "needs root")]
async fn renaming_to_another_file_system_moves_as_mv_does() {
    use std::os::unix::fs::MetadataExt;
    let mut s = Session::start();
    let memory = tempfile::tempdir_in("/dev/shm").unwrap();
    let device = |path: &Path| std::fs::metadata(path).unwrap().dev();
    if device(memory.path()) == device(s.directory.path()) {
        eprintln!("skipped: /dev/shm and temporary files are on one file system");
        return;
    }
    let there = |name: &str| memory.path().join(name).to_str().unwrap().to_owned();

    s.put("d/script", "#!/bin/sh");
    std::fs::set_permissions(s.path("d/script"), PermissionsExt::from_mode(0o751)).unwrap();
    std::fs::hard_link(s.path("d/script"), s.path("d/again")).unwrap();
    std::os::unix::fs::symlink("script", s.path("d/link")).unwrap();
    s.put("d/closed/x", "deep");
    std::os::unix::fs::chown(s.path("d/closed"), Some(33), Some(34)).unwrap();
    std::fs::set_permissions(s.path("d/closed"), PermissionsExt::from_mode(0o500)).unwrap();
    let made = std::process::Command::new("mkfifo")
        .arg(s.path("d/pipe"))
        .status();
    assert!(made.unwrap().success());
    let stamp = ["-d", "2001-02-03T04:05:06Z"];
    for name in ["d/script", "d/closed", "d"] {
        let touched = std::process::Command::new("touch")
            .args(stamp)
            .arg(s.path(name))
            .status();
        assert!(touched.unwrap().success());
    }
    let before = s.files.info(s.path("d")).await.unwrap();

    let moved = s.files.rename(s.path("d"), there("d")).await.unwrap();
    assert_eq!(
        (moved.kind, moved.modified_secs),
        (EntryKind::Directory, before.modified_secs)
    );
    assert_eq!(s.names(), Vec::<String>::new());
    let found = |name: &str| std::fs::symlink_metadata(there(name)).unwrap();
    assert_eq!(found("d/script").mode() & 0o7777, 0o751);
    assert_eq!(found("d/script").mtime(), 981_173_106);
    assert_eq!(found("d/script").ino(), found("d/again").ino());
    assert_eq!(std::fs::read_link(there("d/link")).unwrap(), Path::new("script"));
    let closed = found("d/closed");
    assert_eq!(
        (closed.uid(), closed.gid(), closed.mode() & 0o7777),
        (33, 34, 0o500)
    );
    assert_eq!(std::fs::read_to_string(there("d/closed/x")).unwrap(), "deep");
    assert_eq!(found("d/pipe").mode() & libc::S_IFMT, libc::S_IFIFO);

    // A file takes the place of another one; what rename(2) refuses is refused, and nothing has changed.
    let old = s.put("old", "old");
    s.files.rename(there("d/script"), old.clone()).await.unwrap();
    assert_eq!(std::fs::read_to_string(&old).unwrap(), "#!/bin/sh");
    s.put("full/x", "");
    let full = s.path("full");
    let mut refused = async |from: String, to: String| s.errno(Op::Rename { from, to }).await;
    assert_eq!(refused(there("d"), full.clone()).await, libc::ENOTEMPTY);
    assert_eq!(refused(there("d"), old.clone()).await, libc::ENOTDIR);
    assert_eq!(refused(there("d/again"), full).await, libc::EISDIR);
    assert_eq!(refused(there("none"), old).await, libc::ENOENT);
    assert_eq!(s.names(), ["full", "old"]);
    assert_eq!(std::fs::read_dir(memory.path()).unwrap().count(), 1);
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

/// The next change, as kind and name.
async fn next(files: &mut Files) -> (EventKind, String) {
    let event = tokio::time::timeout(Duration::from_secs(5), files.next_event()).await;
    let event = event.expect("no change was told").unwrap();
    (event.kind, event.name)
}

#[tokio::test]
async fn a_watch_of_a_file_follows_its_path() {
    let mut s = Session::start();
    let path = s.put("d/f", "1");
    let expect = |kind, name: &str| (kind, name.to_owned());
    s.files.watch(path.clone(), false).await.unwrap();
    // As editors save, and as this product writes.
    for content in ["2", "3"] {
        s.put("d/f.new", content);
        std::fs::rename(s.path("d/f.new"), &path).unwrap();
        assert_eq!(next(&mut s.files).await, expect(EventKind::Write, "f"));
    }
    std::fs::OpenOptions::new()
        .append(true)
        .open(&path)
        .unwrap()
        .write_all(b"more")
        .unwrap();
    assert_eq!(next(&mut s.files).await, expect(EventKind::Write, "f"));
    std::fs::rename(&path, s.path("d/away")).unwrap();
    assert_eq!(next(&mut s.files).await, expect(EventKind::Rename, "f"));
    std::fs::rename(s.path("d/away"), &path).unwrap();
    assert_eq!(next(&mut s.files).await, expect(EventKind::Create, "f"));
    std::fs::remove_file(&path).unwrap();
    assert_eq!(next(&mut s.files).await, expect(EventKind::Remove, "f"));
    s.put("d/f", "");
    assert_eq!(next(&mut s.files).await, expect(EventKind::Create, "f"));
    // The directory above gets another name, and another one takes its place.
    std::fs::rename(s.path("d"), s.path("old")).unwrap();
    s.put("d/f", "");
    loop {
        match next(&mut s.files).await {
            (EventKind::Remove, _) => {}
            told => break assert!(matches!(told.0, EventKind::Write | EventKind::Create), "{told:?}"),
        }
    }
    std::fs::remove_dir_all(s.path("d")).unwrap();
    assert_eq!(next(&mut s.files).await, expect(EventKind::Remove, "f"));
    let end = s.files.next_event().await.unwrap_err();
    assert!(matches!(end, FileError::Fault(fault) if fault.errno == libc::ENOENT));
    s.server.join().unwrap();
}

#[tokio::test]
async fn a_file_renamed_over_another_one_is_a_change_of_it() {
    let mut s = Session::start();
    s.put("old/page", "1");
    let root = s.path("").trim_end_matches('/').to_owned();
    s.files.watch(root.clone(), true).await.unwrap();
    s.put("new/page", "2");
    let until_told = async |files: &mut Files, of: &str| loop {
        let (kind, name) = next(files).await;
        if name == of {
            return kind;
        }
    };
    assert_eq!(until_told(&mut s.files, "new/page").await, EventKind::Create);
    tokio::time::sleep(Duration::from_millis(100)).await;
    for (below, kind) in [
        ("old/page", EventKind::Write),
        ("new/page", EventKind::Write),
        ("new/other", EventKind::Create),
    ] {
        let outside = tempfile::NamedTempFile::new_in(s.directory.path().parent().unwrap()).unwrap();
        outside.persist(s.path(below)).unwrap();
        loop {
            let told = next(&mut s.files).await;
            // What came before may be told twice.
            if told == (kind, below.to_owned()) {
                break;
            }
            assert_ne!(told.1, "old/page", "{told:?}");
        }
    }
}

#[tokio::test]
async fn a_watch_of_a_directory_goes_on_in_the_one_that_replaces_it() {
    let mut s = Session::start();
    s.put("dist/a", "");
    s.files.watch(s.path("dist"), true).await.unwrap();
    std::fs::rename(s.path("dist"), s.path("dist.old")).unwrap();
    s.put("dist/b", "");
    loop {
        let told = next(&mut s.files).await;
        if [EventKind::Resync, EventKind::Create].contains(&told.0) {
            break;
        }
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    s.put("dist/c", "");
    while next(&mut s.files).await != (EventKind::Create, "c".to_owned()) {}
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

fn to_write() -> How {
    How {
        write: true,
        create: true,
        ..How::default()
    }
}

impl Session {
    async fn step(&mut self, step: Step) -> Stepped {
        self.files.step(step).await.unwrap()
    }

    async fn open(&mut self, path: &str, how: How) -> u64 {
        let (path, mode) = (path.to_owned(), 0o600);
        match self.step(Step::Open { path, how, mode }).await {
            Stepped::Handle(handle) => handle,
            other => panic!("{other:?}"),
        }
    }

    async fn read_at(&mut self, handle: u64, offset: u64, length: u32) -> Vec<u8> {
        let step = Step::ReadAt {
            handle,
            offset,
            length,
        };
        match self.step(step).await {
            Stepped::Bytes(bytes) => bytes.into_vec(),
            other => panic!("{other:?}"),
        }
    }

    async fn write_at(&mut self, handle: u64, offset: u64, bytes: &[u8]) {
        let bytes = bytes.to_vec().into();
        let step = Step::WriteAt {
            handle,
            offset,
            bytes,
        };
        assert_eq!(self.step(step).await, Stepped::Done);
    }

    async fn step_errno(&mut self, step: Step) -> i32 {
        self.errno(Op::Step(step)).await
    }
}

#[tokio::test]
#[cfg_attr(not_root, ignore = "needs root")]
async fn open_files_are_read_and_written_in_pieces() {
    let mut s = Session::start();
    let path = s.path("f");
    let file = s.open(&path, to_write()).await;
    s.write_at(file, 3, b"def").await;
    s.write_at(file, 0, b"abc").await;
    assert_eq!(std::fs::read(&path).unwrap(), b"abcdef");
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let change = Step::Change {
        at: Spot::Handle(file),
        size: Some(4),
        mode: Some(0o4755),
        times: Some((1000, 2000)),
        owner: None,
    };
    assert_eq!(s.step(change).await, Stepped::Done);
    let Stepped::Look(look) = s
        .step(Step::Look {
            at: Spot::Handle(file),
        })
        .await
    else {
        panic!("no look");
    };
    assert_eq!(
        (look.size, look.mode, look.accessed, look.modified),
        (4, 0o104_755, 1000, 2000)
    );
    assert_eq!((look.user_name.as_str(), look.links), ("root", 1));

    let append = How {
        append: true,
        ..to_write()
    };
    let end = s.open(&path, append).await;
    s.write_at(end, 0, b"!").await;
    let reader = s.open(&path, How::default()).await;
    assert_eq!(s.read_at(reader, 2, 100).await, b"cd!");
    assert_eq!(s.read_at(reader, 5, 100).await, b"");
    // More than a piece is not given at once, whatever is asked for.
    let big = s.put("big", &"x".repeat(300 << 10));
    let big = s.open(&big, How::default()).await;
    assert_eq!(s.read_at(big, 0, u32::MAX).await.len(), LARGEST_PIECE as usize);

    let empty = How {
        truncate: true,
        ..to_write()
    };
    s.open(&path, empty).await;
    assert_eq!(s.read_at(reader, 0, 100).await, b"");
    let is_new = How {
        is_new: true,
        ..to_write()
    };
    let (how, mode) = (is_new, 0o600);
    assert_eq!(s.step_errno(Step::Open { path, how, mode }).await, libc::EEXIST);
    assert_eq!(s.step(Step::Close { handle: reader }).await, Stepped::Done);
    assert_eq!(s.step_errno(Step::Close { handle: reader }).await, libc::EBADF);
    let file = Step::ReadAt {
        handle: file,
        offset: 0,
        length: 1,
    };
    assert_eq!(s.step_errno(file).await, libc::EBADF, "opened to write only");
}

#[tokio::test]
async fn what_is_no_file_is_not_opened_or_waited_for() {
    let mut s = Session::start();
    let pipe = s.path("pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    for (path, how, errno) in [
        (pipe.clone(), How::default(), libc::EINVAL),
        (pipe, to_write(), libc::ENXIO),
        (s.path(""), How::default(), libc::EISDIR),
        (s.path("missing"), How::default(), libc::ENOENT),
        ("/dev/zero".into(), How::default(), libc::EINVAL),
        (format!("{RESERVED}/f"), to_write(), libc::EPERM),
    ] {
        let step = Step::Open {
            path: path.clone(),
            how,
            mode: 0o600,
        };
        assert_eq!(s.step_errno(step).await, errno, "{path}");
    }
}

#[tokio::test]
async fn a_directory_is_listed_a_few_entries_at_a_time() {
    let mut s = Session::start();
    let mut wanted: Vec<_> = (0..200).map(|n| format!("f{n:03}")).collect();
    for name in &wanted {
        s.put(name, "");
    }
    std::os::unix::fs::symlink("f000", s.path("link")).unwrap();
    wanted.push("link".into());
    let path = s.path("");
    let Stepped::Handle(handle) = s.step(Step::OpenDirectory { path }).await else {
        panic!("no handle");
    };
    let (mut names, mut links) = (Vec::new(), 0);
    loop {
        let Stepped::Entries(entries) = s.step(Step::Next { handle }).await else {
            panic!("no entries");
        };
        assert!(entries.len() <= 64);
        if entries.is_empty() {
            break;
        }
        links += entries
            .iter()
            .filter(|e| e.look.mode & 0o170_000 == 0o120_000)
            .count();
        names.extend(entries.into_iter().map(|e| e.name));
    }
    names.sort();
    assert_eq!((names, links), (wanted, 1));
}

#[tokio::test]
async fn steps_on_names_replace_nothing_and_take_nothing_along() {
    let mut s = Session::start();
    let (one, two, full) = (s.put("one", "1"), s.put("two", "2"), s.path("full"));
    s.put("full/f", "");
    let rename = |from: &str, to: &str| Step::RenameToNew {
        from: from.into(),
        to: to.into(),
    };
    assert_eq!(s.step_errno(rename(&one, &two)).await, libc::EEXIST);
    assert_eq!(
        s.step_errno(rename(&s.path("none"), &s.path("x"))).await,
        libc::ENOENT
    );
    assert_eq!(s.step(rename(&one, &s.path("three"))).await, Stepped::Done);
    let path = full.clone();
    assert_eq!(
        s.step_errno(Step::RemoveDirectory { path }).await,
        libc::ENOTEMPTY
    );
    assert_eq!(s.step_errno(Step::RemoveFile { path: full }).await, libc::EISDIR);
    let link = Step::Link {
        from: two.clone(),
        to: s.path("other"),
    };
    assert_eq!(s.step(link).await, Stepped::Done);
    assert_eq!(s.step(Step::RemoveFile { path: two }).await, Stepped::Done);
    let deep = Step::MakeDirectory {
        path: s.path("a/b"),
        mode: 0o700,
    };
    assert_eq!(s.step_errno(deep).await, libc::ENOENT);
    assert_eq!(s.names(), ["full", "other", "three"]);

    // A link itself, and what it leads to.
    std::os::unix::fs::symlink("three", s.path("link")).unwrap();
    let times = |at: Spot, modified: i64| Step::Change {
        at,
        size: None,
        mode: None,
        times: Some((0, modified)),
        owner: None,
    };
    let link = s.path("link");
    s.step(times(Spot::Link(link.clone()), 111)).await;
    s.step(times(Spot::Path(link.clone()), 222)).await;
    for (at, modified) in [(Spot::Link(link.clone()), 111), (Spot::Path(link), 222)] {
        let Stepped::Look(look) = s.step(Step::Look { at }).await else {
            panic!("no look");
        };
        assert_eq!(look.modified, modified);
    }

    let real = std::fs::canonicalize(s.directory.path()).unwrap();
    let resolve = |path: String| Step::Resolve { path };
    let resolved = s.step(resolve(s.path("full/../full/./new"))).await;
    assert_eq!(
        resolved,
        Stepped::Path(real.join("full/new").to_str().unwrap().into())
    );
    for (path, errno) in [
        ("no/such/path", libc::ENOENT),
        ("no/..", libc::ENOENT),
        ("link/../full", libc::ENOTDIR),
    ] {
        assert_eq!(s.step_errno(resolve(s.path(path))).await, errno, "{path}");
    }
}

#[tokio::test]
async fn a_session_holds_so_many_open_files_and_leaves_none() {
    let mut s = Session::start();
    let path = s.put("f", "kept");
    let own = || {
        let all = std::fs::read_dir("/proc/self/fd").unwrap();
        let links = all.filter_map(|fd| std::fs::read_link(fd.unwrap().path()).ok());
        links.filter(|link| link == Path::new(&path)).count()
    };
    let mut last = 0;
    for _ in 0..MOST_HANDLES {
        last = s.open(&path, How::default()).await;
    }
    assert_eq!(own(), MOST_HANDLES);
    let one_more = Step::Open {
        path: path.clone(),
        how: How {
            truncate: true,
            ..to_write()
        },
        mode: 0,
    };
    assert_eq!(s.step_errno(one_more).await, libc::EMFILE);
    assert_eq!(std::fs::read(&path).unwrap(), b"kept", "it was not opened");
    s.step(Step::Close { handle: last }).await;
    s.open(&path, How::default()).await;
    drop(s.files);
    s.server.join().unwrap();
    assert_eq!(own(), 0);
}

/// A name that is no UTF-8, and the text that it has in requests and answers.
const BYTES: &[u8] = b"caf\xE9 \xF0\x9F.txt";
const TEXT: &str = "caf\u{FFFD}E9 \u{FFFD}F0\u{FFFD}9F.txt";

#[tokio::test]
async fn names_that_are_no_utf8_have_a_text_that_leads_to_them() {
    use std::os::unix::ffi::OsStrExt;
    let mut s = Session::start();
    let real = s.directory.path().join(std::ffi::OsStr::from_bytes(BYTES));
    std::fs::write(&real, "one").unwrap();
    let root = s.path("");
    let listed = s.files.list(root.clone(), 0).await.unwrap();
    assert_eq!((listed[0].name.as_str(), listed.len()), (TEXT, 1));
    let path = listed[0].path.clone();
    assert_eq!(path, s.path(TEXT));
    let searched = s.files.search(root.clone(), TEXT.into()).await.unwrap();
    assert_eq!(searched, std::slice::from_ref(&path));
    let found = s.files.find(root, "one".into()).await.unwrap();
    assert_eq!(found[0].file, path);
    let counts = s
        .files
        .replace(vec![path.clone()], "one".into(), "two".into(), false)
        .await
        .unwrap();
    assert_eq!(counts, [1]);
    let mut content = String::new();
    let (_, mut file) = s.files.read(path.clone()).await.unwrap();
    file.read_to_string(&mut content).unwrap();
    assert_eq!(content, "two");
    s.write(TEXT, "three").await.unwrap();
    assert_eq!(std::fs::read(&real).unwrap(), b"three");

    let link = Op::Symlink {
        target: TEXT.into(),
        path: s.path("link"),
    };
    s.files.ask(link).await.unwrap();
    assert_eq!(
        std::fs::canonicalize(s.path("link")).unwrap(),
        real.canonicalize().unwrap()
    );
    let target = s.files.info(s.path("link")).await.unwrap().symlink_target;
    assert_eq!(target.as_deref(), Some(TEXT));

    let Stepped::Handle(handle) = s.step(Step::OpenDirectory { path: s.path("") }).await else {
        panic!("no handle");
    };
    let Stepped::Entries(entries) = s.step(Step::Next { handle }).await else {
        panic!("no entries");
    };
    assert!(entries.iter().any(|entry| entry.name == TEXT));
    let file = s.open(&path, How::default()).await;
    assert_eq!(s.read_at(file, 0, 10).await, b"three");

    let missing = s.path("no \u{FFFD}FF");
    let error = s.files.info(missing.clone()).await.unwrap_err().to_string();
    assert!(error.contains(&missing), "{error}");
    let moved = s.files.rename(path.clone(), s.path("plain")).await.unwrap();
    assert_eq!(moved.name, "plain");
    assert!(!real.exists());
    s.files.rename(moved.path, path.clone()).await.unwrap();
    assert!(real.exists());
    s.files.ask(Op::Remove { path }).await.unwrap();
    assert_eq!(s.names(), ["link"]);
}

#[tokio::test]
async fn changes_of_names_that_are_no_utf8_are_told_by_their_text() {
    use std::os::unix::ffi::OsStrExt;
    let mut s = Session::start();
    let real = s.directory.path().join(std::ffi::OsStr::from_bytes(BYTES));
    s.files.watch(s.path(""), false).await.unwrap();
    std::fs::write(real, "").unwrap();
    let event = s.files.next_event().await.unwrap();
    assert_eq!((event.name.as_str(), event.path), (TEXT, s.path(TEXT)));
}
