//! Files of a machine, or of a volume. Bytes, batches, uploads and watches are in `client`. Source: PROTOCOL.md sections 5 and 9.

use std::time::Duration;

use nullspace_wire::answers::Answer;
use nullspace_wire::api;
use nullspace_wire::limits::Range;

use super::kinds::{any_text, pattern};
use super::{by, fields, filled, flag, int, one_of, trimmed, Field, Inputs, Operation, Request, Time};
use crate::core::error::Error;
use crate::core::files;
use crate::core::options::Value;

/// HTTP time of what moves the bytes of a file: for silence, not for the whole.
pub const TRANSFER_TIME: Duration = Duration::from_secs(300);

const DEPTH: Range = Range { min: 0, max: 64 };
const PATH: Field = filled("path").required();
/// Whose rights and home directory count. The wire wants the field, `null` when nobody is named: see [`user`].
const USER: &[Field] = fields![
    /// Name of a user in the machine: whose rights and home directory count, and who owns what is made. Files of a volume have
    /// no users: there it is refused.
    ///
    /// @default root
    trimmed("user"),
];
const USER_IN_QUERY: &[Field] = &[trimmed("user").in_query()];

/// The bytes of a file, in the format asked for.
pub static READ: Operation = Operation::on(&api::DOWNLOAD_FILE)
    .volume(&api::DOWNLOAD_VOLUME_FILE_DIRECT)
    .args(&[filled("path").in_query().required()])
    .options(&[
        fields![
            /// `text` refuses what is no UTF-8; `stream` begins as soon as the first bytes come. @default 'text'
            one_of("format", &["text", "bytes", "blob", "stream"]).local(),
        ],
        USER_IN_QUERY,
    ])
    .shown(
        "ReadFileOptions",
        &["FileOptions"],
        "Options of {@link Files.read}.",
    )
    .rules(|given, request| {
        request.answer = match given.text("format")? {
            Some("bytes") => Answer::Bytes,
            Some("blob") => Answer::Blob,
            Some("stream") => Answer::Stream,
            _ => Answer::Utf8,
        };
        Ok(())
    })
    .time(Time::Long(TRANSFER_TIME));

/// The bytes of the archive of a directory. For a machine the local engine's own.
pub static ARCHIVE: Operation = Operation::on(&api::DOWNLOAD_FILE)
    .volume(&api::DOWNLOAD_VOLUME_FILE_DIRECT)
    .args(&[filled("path").in_query().required()])
    .options(&[USER_IN_QUERY])
    .rules(|_, request| {
        request.query.push(("archive_format".into(), "tar".to_owned()));
        request.answer = Answer::Stream;
        Ok(())
    })
    .time(Time::Long(TRANSFER_TIME));

/// What a directory holds; `/` when none is named.
pub static LIST: Operation = Operation::on(&api::LIST_DIR)
    .volume(&api::LIST_VOLUME_FILES)
    .args(&[filled("path").in_query()])
    .options(&[
        fields![
            /// Levels below the directory, {range}: 0 is the directory alone. @default 0
            int("depth", DEPTH).in_query(),
        ],
        USER_IN_QUERY,
    ])
    .shown(
        "ListFilesOptions",
        &["FileOptions"],
        "Options of {@link Files.list}.",
    )
    .rules(|given, request| {
        if !given.args.has("path") {
            request.query.insert(0, ("path".into(), "/".to_owned()));
        }
        Ok(())
    });

/// Writes a short text: one request. Longer ones and bytes go another way.
pub static WRITE_TEXT: Operation = Operation::on(&api::WRITE_FILE)
    .volume(&api::WRITE_VOLUME_FILE)
    .args(&[PATH, by("content", any_text).required()])
    .options(&[
        fields![
            /// Of the written file; a hosted server may not know it. @default those of the file that is there, or 0o644
            by("mode", permissions).typed("FileMode"),
        ],
        USER,
    ])
    .shown(
        "WriteFileOptions",
        &["FileOptions"],
        "Options of {@link Files.write}.",
    )
    .rules(|given, request| {
        request.put("encoding", "utf8");
        user(given, request)
    });

/// Whether there is something at a path.
pub static EXISTS: Operation = in_body(
    Operation::on(&api::FILE_EXISTS)
        .volume(&api::VOLUME_FILE_EXISTS)
        .args(&[PATH]),
)
.gives("exists");

/// The same, as the whole answer.
pub static EXISTENCE: Operation = in_body(Operation::on(&api::FILE_EXISTS).args(&[PATH]));

/// Describes what is at a path.
pub static INFO: Operation = in_body(
    Operation::on(&api::FILE_INFO)
        .volume(&api::GET_VOLUME_FILE_INFO)
        .args(&[PATH]),
);

/// Makes a directory and those above it.
pub static MKDIR: Operation = in_body(
    Operation::on(&api::MAKE_DIR)
        .volume(&api::MAKE_VOLUME_DIR)
        .args(&[PATH]),
);

/// Removes a file, or a directory with all in it.
pub static REMOVE: Operation = in_body(
    Operation::on(&api::REMOVE_FILE)
        .volume(&api::REMOVE_VOLUME_FILE)
        .args(&[PATH]),
);

/// Gives it another path.
pub static RENAME: Operation = in_body(
    Operation::on(&api::RENAME_FILE)
        .volume(&api::RENAME_VOLUME_FILE)
        .args(&[
            filled("from").wire("old_path").required(),
            filled("to").wire("new_path").required(),
        ]),
);

/// Changes its mode.
pub static SET_PERMISSIONS: Operation = in_body(
    Operation::on(&api::SET_FILE_PERMISSIONS)
        .volume(&api::SET_VOLUME_FILE_PERMISSIONS)
        .args(&[PATH, by("permissions", permissions).required()]),
);

/// Lines that match, in the files below a path.
pub static FIND: Operation = in_body(
    Operation::on(&api::FIND_IN_FILES)
        .volume(&api::FIND_IN_VOLUME_FILES)
        .args(&[PATH, by("pattern", pattern).required()]),
);

/// Paths below a path whose names match.
pub static SEARCH: Operation = in_body(
    Operation::on(&api::SEARCH_FILES)
        .volume(&api::SEARCH_VOLUME_FILES)
        .args(&[PATH, by("pattern", pattern).required()]),
);

/// Puts one text in the place of another, in several files.
pub static REPLACE: Operation = Operation::on(&api::REPLACE_IN_FILES)
    .volume(&api::REPLACE_IN_VOLUME_FILES)
    .args(&[
        by("files", paths).required(),
        by("pattern", pattern).required(),
        by("replacement", any_text).required(),
    ])
    .options(&[
        USER,
        fields![
            /// Only count; a hosted server may know it for volumes alone. @default false
            flag("dryRun"),
        ],
    ])
    .shown(
        "ReplaceOptions",
        &["FileOptions"],
        "Options of {@link Files.replaceInFiles}.",
    )
    .rules(user);

/// An address from which anybody can read the file for a while.
pub static DOWNLOAD_URL: Operation = Operation::on(&api::DOWNLOAD_URL)
    .volume(&api::VOLUME_DOWNLOAD_URL)
    .args(&[PATH])
    .options(&[
        USER,
        fields![
            /// `tar` for a directory; a hosted server may know it for volumes alone. @default none: a file
            one_of("archiveFormat", &["tar"]),
        ],
    ])
    .shown(
        "DownloadUrlOptions",
        &["FileOptions"],
        "Options of {@link Files.downloadUrl}.",
    )
    .rules(user)
    .gives("url");

/// An address to which anybody can write the file for a while.
pub static UPLOAD_URL: Operation = in_body(
    Operation::on(&api::UPLOAD_URL)
        .volume(&api::VOLUME_UPLOAD_URL)
        .args(&[PATH]),
);

/// A small file as text, for what is kept on behalf of the caller.
pub static READ_SMALL: Operation =
    in_body(Operation::on(&api::READ_FILE).args(&[PATH])).rules(|given, request| {
        request.put("encoding", "utf8");
        user(given, request)
    });

const fn in_body(operation: Operation) -> Operation {
    operation
        .options(&[USER])
        .shown("FileOptions", &["CallOptions"], "What every call on files takes.")
        .rules(user)
}

fn user(given: &Inputs<'_>, request: &mut Request) -> Result<(), Error> {
    if !given.has("user") && request.route.path.starts_with("/v1/machines/") {
        request.put("user", Value::Null);
    }
    Ok(())
}

fn permissions(name: &str, value: &Value) -> Result<Value, Error> {
    files::permissions(name, value).map(Value::from)
}

fn paths(_: &str, value: &Value) -> Result<Value, Error> {
    files::paths(value).map(Value::from)
}
