//! Certificates: who may enter which machine as whom, and until when.

use std::time::Duration;

use nullspace_wire::Timestamp;
use russh::keys::ssh_key::certificate::{Builder, CertType};
use russh::keys::ssh_key::Fingerprint;
use russh::keys::{Algorithm, Certificate, HashAlg, PrivateKey, PublicKey};

use super::internal;
use crate::machine::ground::clock;
use crate::machine::{unix_seconds, Error, Result};

/// Clocks of clients may be behind by so much.
const CLOCK_SLACK: u64 = 60;
/// What OpenSSH asks for before it opens a terminal or forwards a port.
const EXTENSIONS: [&str; 2] = ["permit-port-forwarding", "permit-pty"];

/// Signs certificates and knows its own.
pub struct Authority {
    key: PrivateKey,
    fingerprint: Fingerprint,
}

/// A certificate that was made.
pub struct Issued {
    /// One line of OpenSSH.
    pub certificate: String,
    /// `ssh_...`
    pub id: String,
    /// Its end.
    pub expires_at: Timestamp,
}

/// What a certificate admits to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// `mch_...`
    pub machine: String,
    /// Checked to be a name.
    pub user: String,
}

/// Reads the key of a request.
pub fn public_key(text: &str) -> Result<PublicKey> {
    let wrong = |why: &str| Error::invalid("public_key", why);
    if text.contains("PRIVATE KEY") {
        return Err(wrong(
            "is a private key, which must not leave its computer: give the line of the file that ends in .pub",
        ));
    }
    let key = PublicKey::from_openssh(text.trim())
        .map_err(|_| wrong("is no key of OpenSSH: give one line such as \"ssh-ed25519 AAAA...\""))?;
    match key.algorithm() {
        Algorithm::Ed25519
        | Algorithm::Ecdsa { .. }
        | Algorithm::SkEd25519
        | Algorithm::SkEcdsaSha2NistP256 => Ok(key),
        other => Err(wrong(&format!(
            "is of the kind {other}, which this engine does not take: give an ed25519 key (ssh-keygen -t ed25519)"
        ))),
    }
}

impl Authority {
    /// Signs with this key.
    pub fn new(key: PrivateKey) -> Self {
        Self {
            fingerprint: key.fingerprint(HashAlg::Sha256),
            key,
        }
    }

    /// Makes a certificate.
    pub fn issue(&self, key: &PublicKey, machine: &str, user: &str, seconds: u64) -> Result<Issued> {
        let now = u64::try_from(unix_seconds()).map_err(internal)?;
        let serial: u64 = rand::random();
        let make = || {
            let mut builder = Builder::new_with_random_nonce(
                &mut rand::rng(),
                key.clone(),
                now.saturating_sub(CLOCK_SLACK),
                now + seconds,
            )?;
            builder.serial(serial)?.cert_type(CertType::User)?;
            builder.key_id(machine)?.valid_principal(user)?;
            for name in EXTENSIONS {
                builder.extension(name, "")?;
            }
            builder.comment(machine)?;
            builder.sign(&self.key)?.to_openssh()
        };
        Ok(Issued {
            certificate: make().map_err(internal)?,
            id: format!("ssh_{serial:016x}"),
            expires_at: clock::after(Duration::from_secs(seconds)),
        })
    }

    /// What a certificate admits to, if it is one of ours and holds now. That the client has its key was checked before.
    pub fn check(&self, user: &str, certificate: &Certificate) -> Option<Admitted> {
        let now = u64::try_from(unix_seconds()).ok()?;
        certificate.validate_at(now, [&self.fingerprint]).ok()?;
        let is_meant = certificate.cert_type() == CertType::User
            && certificate.valid_principals().iter().any(|name| name == user)
            && certificate.critical_options().iter().next().is_none();
        is_meant.then(|| Admitted {
            machine: certificate.key_id().to_owned(),
            user: user.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use russh::keys::ssh_key::EcdsaCurve;

    fn made(algorithm: Algorithm) -> PrivateKey {
        PrivateKey::random(&mut rand::rng(), algorithm).unwrap()
    }

    fn read(issued: &Issued) -> Certificate {
        Certificate::from_openssh(&issued.certificate).unwrap()
    }

    #[test]
    fn a_certificate_admits_its_user_to_its_machine_and_nobody_else() {
        let authority = Authority::new(made(Algorithm::Ed25519));
        for algorithm in [
            Algorithm::Ed25519,
            Algorithm::Ecdsa {
                curve: EcdsaCurve::NistP256,
            },
        ] {
            let key = made(algorithm);
            let line = key.public_key().to_openssh().unwrap();
            let issued = authority
                .issue(&public_key(&line).unwrap(), "mch_1", "root", 60)
                .unwrap();
            let certificate = read(&issued);
            let admitted = authority.check("root", &certificate).unwrap();
            assert_eq!(admitted.machine, "mch_1");
            assert_eq!(certificate.public_key(), key.public_key().key_data());
            assert_eq!(authority.check("nobody", &certificate), None);
            let stranger = Authority::new(made(Algorithm::Ed25519));
            assert_eq!(stranger.check("root", &certificate), None);
        }
    }

    #[test]
    fn a_certificate_that_ended_admits_nobody() {
        let authority = Authority::new(made(Algorithm::Ed25519));
        let key = made(Algorithm::Ed25519);
        let issued = authority.issue(key.public_key(), "mch_1", "root", 0).unwrap();
        assert_eq!(authority.check("root", &read(&issued)), None);
    }

    #[test]
    fn what_is_no_public_key_is_refused_by_name() {
        for (text, why) in [
            ("", "no key of OpenSSH"),
            ("ssh-ed25519 AAAA", "no key of OpenSSH"),
            ("-----BEGIN OPENSSH PRIVATE KEY-----", "private key"),
        ] {
            let error = public_key(text).unwrap_err().to_string();
            assert!(error.contains("public_key") && error.contains(why), "{error}");
        }
    }
}
