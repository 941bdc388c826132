//! A root file system of this computer: a directory, or an archive such as `docker export` writes.

use std::fs::File;
use std::io;
use std::path::Path;

use super::error::{Error, Kind};
use super::{unpack, Room};
use crate::isolation::{IsolationError, Result, RootFiles};

/// Looks at a root file system; an archive is unpacked when its turn comes, as long as `room` says that there is some.
pub fn root_files(source: &Path, room: Room) -> Result<RootFiles> {
    let wrong =
        |error: io::Error| IsolationError::Invalid(format!("{} cannot be read: {error}", source.display()));
    let file = File::open(source).map_err(wrong)?;
    let found = file.metadata().map_err(wrong)?;
    if found.is_dir() {
        return Ok(RootFiles::Directory(source.to_owned()));
    }
    // What comes through a pipe has no size.
    let packed = if found.is_file() { found.len() } else { u64::MAX };
    let named = source.display().to_string();
    Ok(RootFiles::Packed(Box::new(move |root| {
        let room = || room().map_err(|text| Error::new(Kind::NoRoom, text));
        let unpacked = unpack::layer(file, packed, root, &unpack::Limits::default(), &room);
        unpacked.map(drop).map_err(|error| {
            let error = error.at(named);
            match error.kind {
                Kind::NoRoom => IsolationError::Exhausted(error.message),
                Kind::Refused => IsolationError::Invalid(error.message),
                _ => IsolationError::Failed(error.message),
            }
        })
    })))
}
