//! Git in a machine, with the machine's own git. Source: PROTOCOL.md section 7.
//!
//! Credentials reach git by the environment of one process, never by its arguments, and the site of the remote only: a
//! server may send git on to another one. A private key lies in a directory of its own while git runs, readable by root
//! only.

use std::sync::Arc;

use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use base64::Engine as _;
use nullspace_wire::exec::ExecRequest;
use nullspace_wire::git::{
    GitAddRequest, GitAuth, GitBranchAction, GitBranchList, GitBranchRequest, GitChangedFile,
    GitCheckoutRequest, GitCloneRequest, GitCommit, GitCommitRequest, GitStatus, GitSyncRequest,
};
use nullspace_wire::Envs;
use serde_json::json;

use super::output::CAPTURE_LIMIT;
use crate::machine::ground::{Error, Kind, Result};
use crate::machine::Engine;

/// Longest run of one operation, seconds: clones may be long.
const TIMEOUT: u64 = 600;
/// Most commits of a log.
const MOST_COMMITS: u32 = 10_000;
/// Commits of a log when nobody says how many.
const COMMITS: u32 = 50;

/// Runs git with what the environment says of credentials. `$@` is git's arguments.
const SCRIPT: &str = r#"
command -v git >/dev/null || { echo "this machine has no git" >&2; exit 127; }
export GIT_TERMINAL_PROMPT=0 LC_ALL=C
if [ -n "$NULLSPACE_GIT_KEY" ]; then
  dir=$(umask 077; mktemp -d /dev/shm/nullspace-git.XXXXXX 2>/dev/null || mktemp -d) || exit 1
  trap 'rm -rf "$dir"' EXIT
  trap 'exit 143' TERM INT HUP
  ( umask 077; printf '%s\n' "$NULLSPACE_GIT_KEY" > "$dir/key"
    printf '#!/bin/sh\nprintf "%%s\\n" "$NULLSPACE_GIT_PASSPHRASE"\n' > "$dir/ask"; chmod 700 "$dir/ask" )
  unset NULLSPACE_GIT_KEY
  export SSH_ASKPASS="$dir/ask" SSH_ASKPASS_REQUIRE=force DISPLAY=none
  export GIT_SSH_COMMAND="ssh -i $dir/key -o IdentitiesOnly=yes -o StrictHostKeyChecking=accept-new -o UserKnownHostsFile=$dir/hosts"
  git "$@"
  exit $?
fi
if [ -n "$NULLSPACE_GIT_USERNAME" ]; then
  exec git -c credential.helper= -c credential.helper='!f() {
    test "$1" = get || exit 0
    while IFS== read -r name value; do
      case "$name" in protocol) protocol=$value ;; host) host=$value ;; esac
    done
    case " $NULLSPACE_GIT_SITES " in *" $protocol://$host "*)
      printf "username=%s\npassword=%s\n" "$NULLSPACE_GIT_USERNAME" "$NULLSPACE_GIT_PASSWORD" ;;
    esac
  }; f' "$@"
fi
exec git "$@"
"#;

fn credentials(auth: Option<GitAuth>) -> Result<Envs> {
    let named = |name: &str, value: String, field: &str| {
        if value.trim().is_empty() {
            return Err(Error::invalid(
                field,
                "is empty: leave `auth` out when there is none",
            ));
        }
        Ok((name.to_owned(), value))
    };
    let pairs = match auth {
        None => Vec::new(),
        Some(GitAuth::Https { username, password }) => vec![
            named("NULLSPACE_GIT_USERNAME", username, "auth.username")?,
            named("NULLSPACE_GIT_PASSWORD", password, "auth.password")?,
        ],
        Some(GitAuth::Ssh {
            private_key,
            passphrase,
        }) => vec![
            named("NULLSPACE_GIT_KEY", private_key, "auth.private_key")?,
            (
                "NULLSPACE_GIT_PASSPHRASE".to_owned(),
                passphrase.unwrap_or_default(),
            ),
        ],
    };
    Ok(pairs.into_iter().collect())
}

/// Sites that may be told the credentials for a remote, as git names them to its helpers, with spaces between. A server
/// that sends `http` on to `https` is the same one.
fn sites(urls: &str) -> String {
    let mut sites = Vec::new();
    for url in urls.lines() {
        let Some((scheme, rest)) = url.split_once("://") else {
            continue;
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or_default();
        if ["http", "https"].contains(&scheme) && !host.is_empty() && !host.contains(' ') {
            sites.extend([format!("{scheme}://{host}"), format!("https://{host}")]);
        }
    }
    sites.join(" ")
}

/// Texts that give the credentials away: as they are, as they stand in URLs, and as they are sent.
fn secrets(envs: &Envs) -> Vec<String> {
    let mut found: Vec<String> = envs.values().filter(|value| value.len() > 3).cloned().collect();
    let value = |name: &str| envs.get(name).map(String::as_str).unwrap_or_default();
    let (user, password) = (value("NULLSPACE_GIT_USERNAME"), value("NULLSPACE_GIT_PASSWORD"));
    if !password.is_empty() {
        for text in [format!("{user}:{password}"), password.to_owned()] {
            let encoded =
                [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD].map(|base64| base64.encode(&text));
            found.extend(encoded.into_iter().filter(|encoded| encoded.len() > 3));
        }
        let in_url: String = form_urlencoded::byte_serialize(password.as_bytes()).collect();
        found.push(in_url.replace('+', "%20"));
    }
    // The longest first: one that holds another must not be left in part.
    found.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    found
}

fn without(text: &str, secrets: &[String]) -> String {
    let mut text = text.to_owned();
    for secret in secrets.iter().filter(|secret| secret.len() > 3) {
        text = text.replace(secret.as_str(), "***");
    }
    text
}

/// What must not begin with a dash: git would read it as an option.
fn plain<'a>(field: &str, value: &'a str) -> Result<&'a str> {
    if value.is_empty() || value.starts_with('-') || value.contains('\0') {
        return Err(Error::invalid(
            field,
            format_args!("is {value:?}: it must not be empty or begin with a dash"),
        ));
    }
    Ok(value)
}

/// A remote without credentials in it.
pub(in crate::machine) fn remote_url(url: &str) -> Result<&str> {
    let url = plain("url", url)?;
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or_default();
    let scheme = url.split("://").next().unwrap_or_default();
    // `ssh://git@host` names a user, which is no secret.
    if authority.contains('@') && !scheme.eq_ignore_ascii_case("ssh")
        || authority
            .split('@')
            .next()
            .is_some_and(|user| authority.contains('@') && user.contains(':'))
    {
        return Err(Error::invalid(
            "url",
            "holds credentials: pass them in `auth`, which forgets them",
        ));
    }
    Ok(url)
}

impl Engine {
    /// Runs git; its output. `path`: where, `None` for a clone.
    async fn git(
        self: &Arc<Self>,
        id: &str,
        path: Option<&str>,
        args: &[&str],
        auth: Option<GitAuth>,
    ) -> Result<String> {
        self.git_at(id, path, args, auth, "").await
    }

    /// The same with a remote, whose URLs say which sites may be told the credentials.
    async fn git_at(
        self: &Arc<Self>,
        id: &str,
        path: Option<&str>,
        args: &[&str],
        auth: Option<GitAuth>,
        urls: &str,
    ) -> Result<String> {
        let mut envs = credentials(auth)?;
        let secrets = secrets(&envs);
        envs.insert("NULLSPACE_GIT_SITES".to_owned(), sites(urls));
        let mut argv = vec!["-c".to_owned(), SCRIPT.to_owned(), "git".to_owned()];
        if let Some(path) = path {
            // Files that came from elsewhere may belong to anybody; a machine has one owner.
            argv.extend(["-c", "safe.directory=*", "-C", path].map(str::to_owned));
        }
        argv.extend(args.iter().map(|arg| (*arg).to_owned()));
        let request = ExecRequest {
            command: "/bin/sh".to_owned(),
            args: Some(argv),
            timeout_secs: Some(TIMEOUT),
            cwd: None,
            envs: Some(envs),
            shell: None,
            background: Some(false),
            encoding: None,
        };
        let done = self.exec(id, request).await?;
        if done.exit_code == 0 && done.dropped.truncated.is_some() {
            return Err(Error::new(
                Kind::ExecFailed,
                format!(
                    "what git answers is longer than the {} MiB that are kept",
                    CAPTURE_LIMIT >> 20
                ),
            )
            .retryable(false)
            .with_action(
                "ask for less, such as one path at a time, or run git yourself and stream its output",
            )
            .with_details(json!({ "dropped_stdout_bytes": done.dropped.dropped_stdout_bytes })));
        }
        if done.exit_code == 0 {
            return Ok(without(&done.stdout, &secrets));
        }
        let said = without(done.stderr.trim(), &secrets);
        let kind = match done.exit_code {
            127 if said.contains("no git") => Kind::NotImplemented,
            _ => Kind::ExecFailed,
        };
        let verb = args
            .iter()
            .find(|arg| !arg.starts_with('-'))
            .copied()
            .unwrap_or("git");
        let mut error = Error::new(
            kind,
            format!("git {verb} failed with exit code {}: {said}", done.exit_code),
        );
        error.details = Some(Box::new(json!({ "exit_code": done.exit_code, "stderr": said })));
        Err(error)
    }

    /// Clones a repository.
    pub async fn git_clone(self: &Arc<Self>, id: &str, request: GitCloneRequest) -> Result<String> {
        let mut args = vec!["clone".to_owned()];
        if let Some(branch) = &request.branch {
            args.extend(["--branch".to_owned(), plain("branch", branch)?.to_owned()]);
        }
        if let Some(depth) = request.depth {
            if depth == 0 {
                return Err(Error::invalid(
                    "depth",
                    "is 0: give a number of commits such as 1",
                ));
            }
            args.extend(["--depth".to_owned(), depth.to_string()]);
        }
        // Relative paths begin where those of files do.
        let path = self.files(id, None).await?.path("path", &request.path).await?;
        args.extend([
            "--".to_owned(),
            remote_url(&request.url)?.to_owned(),
            path.clone(),
        ]);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        self.git_at(id, None, &args, request.auth, &request.url).await?;
        Ok(path)
    }

    /// What has changed.
    pub async fn git_status(self: &Arc<Self>, id: &str, path: &str) -> Result<GitStatus> {
        let args = [
            "status",
            "--porcelain=v2",
            "--branch",
            "-z",
            "--untracked-files=all",
        ];
        Ok(status(&self.git(id, Some(path), &args, None).await?))
    }

    /// Commits, newest first.
    pub async fn git_log(
        self: &Arc<Self>,
        id: &str,
        path: &str,
        limit: Option<u32>,
    ) -> Result<Vec<GitCommit>> {
        let count = format!("--max-count={}", limit.unwrap_or(COMMITS).clamp(1, MOST_COMMITS));
        let args = ["log", &count, "-z", "--format=%H%x1f%an%x1f%ae%x1f%aI%x1f%B"];
        match self.git(id, Some(path), &args, None).await {
            Ok(text) => Ok(commits(&text)),
            // A repository without a commit has a log without one.
            Err(error) if error.message.contains("does not have any commits yet") => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Local branches.
    pub async fn git_branches(self: &Arc<Self>, id: &str, path: &str) -> Result<GitBranchList> {
        let args = ["for-each-ref", "--format=%(HEAD)%(refname:short)", "refs/heads"];
        let text = self.git(id, Some(path), &args, None).await?;
        let mut list = GitBranchList {
            current: None,
            branches: Vec::new(),
        };
        for line in text.lines().filter(|line| line.len() > 1) {
            let (mark, name) = line.split_at(1);
            if mark == "*" {
                list.current = Some(name.to_owned());
            }
            list.branches.push(name.to_owned());
        }
        Ok(list)
    }

    /// Makes or deletes a branch.
    pub async fn git_branch(self: &Arc<Self>, id: &str, request: GitBranchRequest) -> Result<()> {
        let name = plain("name", &request.name)?;
        let args: &[&str] = match (request.action, request.force) {
            (GitBranchAction::Create, false) => &["branch", name],
            (GitBranchAction::Create, true) => &["branch", "--force", name],
            (GitBranchAction::Delete, false) => &["branch", "--delete", name],
            (GitBranchAction::Delete, true) => &["branch", "-D", name],
        };
        self.git(id, Some(&request.path), args, None).await.map(drop)
    }

    /// Changes to a branch, tag or commit.
    pub async fn git_checkout(self: &Arc<Self>, id: &str, request: GitCheckoutRequest) -> Result<()> {
        let reference = plain("ref", &request.reference)?;
        let args: &[&str] = match request.create {
            true => &["checkout", "-b", reference],
            false => &["checkout", reference, "--"],
        };
        self.git(id, Some(&request.path), args, None).await.map(drop)
    }

    /// Adds files, or everything.
    pub async fn git_add(self: &Arc<Self>, id: &str, request: GitAddRequest) -> Result<()> {
        let files = request.files.unwrap_or_default();
        let mut args = vec!["add"];
        match files.is_empty() {
            true => args.push("--all"),
            false => args.push("--"),
        }
        args.extend(files.iter().map(String::as_str));
        self.git(id, Some(&request.path), &args, None).await.map(drop)
    }

    /// Commits: the new commit.
    pub async fn git_commit(self: &Arc<Self>, id: &str, request: GitCommitRequest) -> Result<String> {
        if request.message.trim().is_empty() {
            return Err(Error::invalid("message", "is empty: say what the commit does"));
        }
        let author = match (request.author_name, request.author_email) {
            (Some(name), Some(email)) => Some((name, email)),
            (None, None) => None,
            _ => {
                let what = "and `author_email` belong together: give both or none";
                return Err(Error::invalid("author_name", what));
            }
        };
        if request.add_all || request.files.as_ref().is_some_and(|files| !files.is_empty()) {
            let add = GitAddRequest {
                path: request.path.clone(),
                files: request.files.filter(|_| !request.add_all),
            };
            self.git_add(id, add).await?;
        }
        let mut args: Vec<String> = Vec::new();
        if let Some((name, email)) = author {
            // The committer too: a machine often has none.
            args.extend([
                "-c".to_owned(),
                format!("user.name={name}"),
                "-c".to_owned(),
                format!("user.email={email}"),
            ]);
        }
        args.extend(["commit", "--quiet", "--message", &request.message].map(str::to_owned));
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        self.git(id, Some(&request.path), &args, None).await?;
        let head = self
            .git(id, Some(&request.path), &["rev-parse", "HEAD"], None)
            .await?;
        Ok(head.trim().to_owned())
    }

    /// Pulls; what git said.
    pub async fn git_pull(self: &Arc<Self>, id: &str, request: GitSyncRequest) -> Result<String> {
        let remote = request.remote.as_deref().unwrap_or("origin");
        let mut args = vec!["pull", plain("remote", remote)?];
        if let Some(branch) = &request.branch {
            args.push(plain("branch", branch)?);
        }
        self.git_with(id, &request, remote, &["--all"], &args).await
    }

    /// Runs git with a remote and the credentials of a request.
    async fn git_with(
        self: &Arc<Self>,
        id: &str,
        request: &GitSyncRequest,
        remote: &str,
        which: &[&str],
        args: &[&str],
    ) -> Result<String> {
        let mut urls = remote.to_owned();
        if matches!(request.auth, Some(GitAuth::Https { .. })) {
            let ask = [&["remote", "get-url"], which, &["--", remote]].concat();
            // A remote that has no name is its own URL; what is wrong with one, git says itself.
            if let Ok(known) = self.git(id, Some(&request.path), &ask, None).await {
                urls = known;
            }
        }
        self.git_at(id, Some(&request.path), args, request.auth.clone(), &urls)
            .await
    }

    /// Pushes; what git said.
    pub async fn git_push(self: &Arc<Self>, id: &str, request: GitSyncRequest) -> Result<String> {
        let remote = request.remote.as_deref().unwrap_or("origin");
        let mut args = vec!["push", "--porcelain"];
        if request.set_upstream {
            args.push("--set-upstream");
        }
        args.push(plain("remote", remote)?);
        args.push(match &request.branch {
            Some(branch) => plain("branch", branch)?,
            None => "HEAD",
        });
        self.git_with(id, &request, remote, &["--push", "--all"], &args)
            .await
    }
}

/// Reads `git status --porcelain=v2 --branch -z`. What it does not understand it passes over.
pub fn status(text: &str) -> GitStatus {
    let mut status = GitStatus {
        branch: None,
        detached: false,
        clean: true,
        ahead: None,
        behind: None,
        changed: Vec::new(),
    };
    let mut records = text.split('\0');
    while let Some(record) = records.next() {
        if let Some(head) = record.strip_prefix("# branch.head ") {
            status.detached = head == "(detached)";
            status.branch = (!status.detached).then(|| head.to_owned());
        } else if let Some(counts) = record.strip_prefix("# branch.ab ") {
            let mut counts = counts.split(' ');
            status.ahead = counts
                .next()
                .and_then(|count| count.strip_prefix('+')?.parse().ok());
            status.behind = counts
                .next()
                .and_then(|count| count.strip_prefix('-')?.parse().ok());
        } else if let Some(path) = record.strip_prefix("? ") {
            status.changed.push(GitChangedFile {
                path: path.to_owned(),
                status: "untracked".to_owned(),
                staged: false,
                unstaged: true,
                original_path: None,
            });
        } else if let Some(rest) = record.strip_prefix("1 ") {
            status.changed.extend(changed(rest, 7, None));
        } else if let Some(rest) = record.strip_prefix("2 ") {
            let original = records.next().map(str::to_owned);
            status.changed.extend(changed(rest, 8, original));
        } else if let Some(rest) = record.strip_prefix("u ") {
            status.changed.extend(changed(rest, 9, None).map(|mut file| {
                file.status = "conflicted".to_owned();
                file
            }));
        }
    }
    status.clean = status.changed.is_empty();
    status
}

/// One record: `XY`, fields that nobody asks for, and the path.
fn changed(record: &str, fields: usize, original_path: Option<String>) -> Option<GitChangedFile> {
    let mut parts = record.splitn(fields + 1, ' ');
    let mut letters = parts.next()?.chars();
    let (index, tree) = (letters.next()?, letters.next()?);
    let path = parts.nth(fields - 1)?;
    let letter = if index == '.' { tree } else { index };
    let name = match letter {
        'M' => "modified",
        'A' => "added",
        'D' => "deleted",
        'R' => "renamed",
        'C' => "copied",
        'T' => "type_changed",
        _ => "changed",
    };
    Some(GitChangedFile {
        path: path.to_owned(),
        status: name.to_owned(),
        staged: index != '.',
        unstaged: tree != '.',
        original_path,
    })
}

/// Reads the log's format.
pub fn commits(text: &str) -> Vec<GitCommit> {
    text.split('\0')
        .filter_map(|record| {
            let mut fields = record.trim_start_matches('\n').splitn(5, '\u{1f}');
            let mut next = || fields.next().map(str::to_owned);
            Some(GitCommit {
                sha: next()?,
                author_name: next()?,
                author_email: next()?,
                date: next()?,
                message: next()?.trim_end().to_owned(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_status_is_read_with_renames_conflicts_and_strange_names() {
        let text = "# branch.oid abc\0# branch.head main\0# branch.upstream origin/main\0# branch.ab +2 -1\0\
                    1 .M N... 100644 100644 100644 aaa bbb a file.txt\0\
                    1 A. N... 000000 100644 100644 000 bbb new\0\
                    2 R. N... 100644 100644 100644 aaa bbb R100 to name\0from name\0\
                    u UU N... 1 2 3 4 a b c both\0? un tracked\0";
        let status = status(text);
        assert_eq!(
            (status.branch.as_deref(), status.detached, status.clean),
            (Some("main"), false, false)
        );
        assert_eq!((status.ahead, status.behind), (Some(2), Some(1)));
        let seen: Vec<_> = status
            .changed
            .iter()
            .map(|file| {
                (
                    file.path.as_str(),
                    file.status.as_str(),
                    file.staged,
                    file.unstaged,
                    file.original_path.as_deref(),
                )
            })
            .collect();
        assert_eq!(
            seen,
            [
                ("a file.txt", "modified", false, true, None),
                ("new", "added", true, false, None),
                ("to name", "renamed", true, false, Some("from name")),
                ("both", "conflicted", true, true, None),
                ("un tracked", "untracked", false, true, None),
            ]
        );
    }

    #[test]
    fn a_remote_with_a_password_is_refused_and_a_user_of_ssh_is_not() {
        for good in [
            "https://host/r.git",
            "ssh://git@host/r.git",
            "git@host:r.git",
            "file:///srv/r.git",
            "/srv/r.git",
        ] {
            assert_eq!(remote_url(good).unwrap(), good);
        }
        for bad in [
            "https://u:p@host/r.git",
            "https://token@host/r",
            "ssh://u:p@host/r",
            "--upload-pack=x",
            "",
        ] {
            assert!(remote_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn credentials_are_for_the_site_of_the_remote() {
        assert_eq!(sites("https://host/r.git"), "https://host https://host");
        assert_eq!(
            sites("http://host:8080/r\n"),
            "http://host:8080 https://host:8080"
        );
        assert_eq!(
            sites("https://u@a/r\nhttps://b"),
            "https://a https://a https://b https://b"
        );
        for none in [
            "git@host:r.git",
            "/srv/r.git",
            "ssh://git@host/r",
            "",
            "file:///r",
            "https:///r",
        ] {
            assert_eq!(sites(none), "", "{none}");
        }
    }

    #[test]
    fn no_spelling_of_the_credentials_is_shown() {
        let auth = GitAuth::Https {
            username: "ann".into(),
            password: "p@ss word!".into(),
        };
        let secrets = secrets(&credentials(Some(auth)).unwrap());
        for text in [
            "p@ss word!",
            "YW5uOnBAc3Mgd29yZCE=",
            "YW5uOnBAc3Mgd29yZCE",
            "p%40ss%20word%21",
        ] {
            assert_eq!(
                without(&format!("Basic {text}."), &secrets),
                "Basic ***.",
                "{text}"
            );
        }
    }

    proptest! {
        #[test]
        fn fuzz_whatever_git_prints_is_read(text in "\\PC*", records in prop::collection::vec("[12u?#!] \\PC{0,40}", 0..8)) {
            status(&text);
            commits(&text);
            status(&records.join("\0"));
        }
    }
}
