//! TLS between the parts of a cluster: what this process shows, and whom it trusts.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

/// Between two looks at whether the files of a certificate changed.
const LOOK: Duration = Duration::from_secs(5);

/// Authorities of `--cluster-ca`, in addition to those of the computer.
static TRUSTED: RwLock<Vec<CertificateDer<'static>>> = RwLock::new(Vec::new());

/// Trusts the authorities of a file from now on, wherever this process connects to another part of its cluster.
pub fn trust(file: &Path) -> Result<(), String> {
    let wrong = |error: &dyn std::fmt::Display| {
        format!(
            "--cluster-ca {}: {error}; give a file of certificates in PEM form",
            file.display()
        )
    };
    let read = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| wrong(&error))?;
    if read.is_empty() {
        return Err(wrong(&"it holds no certificate"));
    }
    let mut roots = RootCertStore::empty();
    for certificate in &read {
        roots.add(certificate.clone()).map_err(|error| wrong(&error))?;
    }
    TRUSTED
        .write()
        .unwrap_or_else(PoisonError::into_inner)
        .extend(read);
    Ok(())
}

/// How this process connects to other parts of its cluster.
pub fn client() -> ClientConfig {
    let mut roots = RootCertStore::empty();
    let more = TRUSTED.read().unwrap_or_else(PoisonError::into_inner).clone();
    for certificate in rustls_native_certs::load_native_certs()
        .certs
        .into_iter()
        .chain(more)
    {
        // One that cannot be read is one that signs nothing.
        let _ = roots.add(certificate);
    }
    ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// What this process shows to whoever connects. The files are read again when they change, so that a certificate can be renewed
/// while machines run; what cannot be used then leaves the old one in place.
pub fn acceptor(certificate: &Path, key: &Path) -> Result<TlsAcceptor, String> {
    let shown = Shown::open(certificate, key)?;
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(shown));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

#[derive(Debug)]
struct Shown {
    certificate: PathBuf,
    key: PathBuf,
    read: Mutex<Read>,
}

#[derive(Debug)]
struct Read {
    key: Arc<CertifiedKey>,
    /// Of both files, when they were read.
    changed: [SystemTime; 2],
    looked: Instant,
}

impl Shown {
    fn open(certificate: &Path, key: &Path) -> Result<Self, String> {
        let changed = changed(certificate, key).map_err(|error| {
            format!(
                "--tls-cert {} and --tls-key {}: {error}",
                certificate.display(),
                key.display()
            )
        })?;
        Ok(Self {
            read: Mutex::new(Read {
                key: Arc::new(load(certificate, key)?),
                changed,
                looked: Instant::now(),
            }),
            certificate: certificate.to_owned(),
            key: key.to_owned(),
        })
    }

    fn current(&self, every: Duration) -> Arc<CertifiedKey> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if read.looked.elapsed() >= every {
            read.looked = Instant::now();
            match changed(&self.certificate, &self.key) {
                Ok(now) if now != read.changed => match load(&self.certificate, &self.key) {
                    Ok(key) => {
                        tracing::info!("the TLS certificate was renewed");
                        (read.key, read.changed) = (Arc::new(key), now);
                    }
                    // Perhaps one of the two files is still to be replaced.
                    Err(error) => tracing::warn!("{error}; the old certificate is still shown"),
                },
                _ => {}
            }
        }
        read.key.clone()
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current(LOOK))
    }
}

fn changed(certificate: &Path, key: &Path) -> io::Result<[SystemTime; 2]> {
    Ok([certificate.metadata()?.modified()?, key.metadata()?.modified()?])
}

fn load(certificate: &Path, key: &Path) -> Result<CertifiedKey, String> {
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| {
            format!(
                "--tls-cert {}: {error}; give a certificate chain in PEM form",
                certificate.display()
            )
        })?;
    let wrong_key = |error: &dyn std::fmt::Display| {
        format!(
            "--tls-key {}: {error}; give the private key of --tls-cert in PEM form",
            key.display()
        )
    };
    let read = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong_key(&error))?;
    let provider = rustls::crypto::ring::default_provider();
    CertifiedKey::from_der(chain, read, &provider).map_err(|error| wrong_key(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(directory: &Path, name: &str) -> (PathBuf, PathBuf) {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
        let (certificate, key) = (directory.join("cert.pem"), directory.join("key.pem"));
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        (certificate, key)
    }

    #[test]
    fn a_renewed_certificate_is_shown_and_a_broken_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let (certificate, key) = write(directory.path(), "one.test");
        let shown = Shown::open(&certificate, &key).unwrap();
        let first = shown.current(Duration::ZERO);
        write(directory.path(), "two.test");
        let later = SystemTime::now() + Duration::from_secs(5);
        let touch = |path: &Path, at| {
            std::fs::File::options()
                .append(true)
                .open(path)
                .unwrap()
                .set_modified(at)
                .unwrap()
        };
        touch(&certificate, later);
        let second = shown.current(Duration::ZERO);
        assert_ne!(first.cert, second.cert);
        std::fs::write(&key, "no key").unwrap();
        touch(&key, later + Duration::from_secs(5));
        assert_eq!(shown.current(Duration::ZERO).cert, second.cert);
    }

    #[test]
    fn files_that_cannot_be_used_are_named_with_their_option() {
        let directory = tempfile::tempdir().unwrap();
        let (certificate, key) = write(directory.path(), "one.test");
        let other = tempfile::tempdir().unwrap();
        let (_, other_key) = write(other.path(), "one.test");
        let error = |certificate: &Path, key: &Path| acceptor(certificate, key).err().unwrap();
        let mismatch = error(&certificate, &other_key);
        assert!(mismatch.starts_with("--tls-key"), "{mismatch}");
        let missing = error(&directory.path().join("none"), &key);
        assert!(missing.contains("--tls-cert"), "{missing}");
        let empty = trust(&key).unwrap_err();
        assert!(
            empty.contains("--cluster-ca") && empty.contains("no certificate"),
            "{empty}"
        );
    }
}
