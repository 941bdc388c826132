//! The two keys of the listener and its port, kept in `ssh/` of the state directory so that a restart changes none of them.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use russh::keys::ssh_key::LineEnding;
use russh::keys::{Algorithm, PrivateKey};
use tokio::net::TcpListener;

use super::internal;
use crate::machine::Result;

/// What the listener needs.
pub struct Keys {
    directory: PathBuf,
    /// Signs certificates.
    pub authority: PrivateKey,
    /// Proves to clients that they came to the right listener.
    pub host: PrivateKey,
}

fn place(state: &Path) -> PathBuf {
    state.join("ssh")
}

/// Whether the listener was open once.
pub fn were_made(state: &Path) -> bool {
    place(state).join("port").exists()
}

/// The public half as one line, without its comment.
pub fn line(key: &PrivateKey) -> Result<String> {
    let mut public = key.public_key().clone();
    public.set_comment("");
    public.to_openssh().map_err(internal)
}

impl Keys {
    /// The keys of this state directory.
    pub fn load_or_make(state: &Path) -> io::Result<Self> {
        let directory = place(state);
        DirBuilder::new().mode(0o700).recursive(true).create(&directory)?;
        Ok(Self {
            authority: key(&directory.join("authority"))?,
            host: key(&directory.join("host"))?,
            directory,
        })
    }

    /// Listens on the port that is wanted, else on that of the last time if it is free.
    pub async fn listen(&self, address: IpAddr, wanted: Option<u16>) -> io::Result<TcpListener> {
        if let Some(port) = wanted {
            return TcpListener::bind((address, port)).await;
        }
        let file = self.directory.join("port");
        let known: Option<u16> = std::fs::read_to_string(&file)
            .ok()
            .and_then(|text| text.trim().parse().ok());
        let again = match known {
            Some(port) => TcpListener::bind((address, port)).await.ok(),
            None => None,
        };
        let listener = match again {
            Some(listener) => listener,
            None => TcpListener::bind((address, 0)).await?,
        };
        std::fs::write(&file, listener.local_addr()?.port().to_string())?;
        Ok(listener)
    }
}

fn key(path: &Path) -> io::Result<PrivateKey> {
    match std::fs::read_to_string(path) {
        Ok(text) => PrivateKey::from_openssh(text).map_err(io::Error::other),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let made = PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519).map_err(io::Error::other)?;
            let text = made.to_openssh(LineEnding::LF).map_err(io::Error::other)?;
            // Whole or not at all: half a key would keep the listener shut for ever.
            let draft = path.with_extension("new");
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&draft)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&draft, path)?;
            Ok(made)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn keys_are_the_same_the_next_time_and_nobody_elses() {
        let state = tempfile::tempdir().unwrap();
        let first = Keys::load_or_make(state.path()).unwrap();
        let again = Keys::load_or_make(state.path()).unwrap();
        assert_eq!(line(&first.host).unwrap(), line(&again.host).unwrap());
        assert_ne!(line(&first.host).unwrap(), line(&first.authority).unwrap());
        assert!(line(&first.host).unwrap().starts_with("ssh-ed25519 "));
        for name in ["host", "authority"] {
            let mode = std::fs::metadata(state.path().join("ssh").join(name)).unwrap();
            assert_eq!(mode.permissions().mode() & 0o777, 0o600, "{name}");
        }
    }

    #[tokio::test]
    async fn the_port_is_the_same_the_next_time_unless_it_is_taken() {
        let state = tempfile::tempdir().unwrap();
        let keys = Keys::load_or_make(state.path()).unwrap();
        assert!(!were_made(state.path()));
        let loopback = IpAddr::from([127, 0, 0, 1]);
        let first = keys.listen(loopback, None).await.unwrap();
        let port = first.local_addr().unwrap().port();
        let other = keys
            .listen(loopback, None)
            .await
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        assert_ne!(port, other);
        assert!(were_made(state.path()));
        let again = keys.listen(loopback, None).await.unwrap();
        assert_eq!(again.local_addr().unwrap().port(), other);
    }
}
