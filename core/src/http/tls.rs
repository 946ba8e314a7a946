//! HTTPS: an authority of this lab, made once, and a certificate that it signs for the addresses in service, made anew when they change
//! or its end is near.
//!
//! People enroll the authority in their machines' firmware, so it outlives addresses and years. Firmware's clocks are often wrong, so
//! validity begins long ago. Keys are P-256: EDK2 asks OpenSSL for security level 3, on which RSA keys of 2048 bits are too weak, and
//! firmware that knows no elliptic curves has no method in common with rustls anyway. All is in one folder of the lab:
//!
//! | file | what |
//! | --- | --- |
//! | `ca.pem`, `ca.der` | the authority's certificate, for enrolment |
//! | `ca.key` | its key, and until when it holds; mode 0600 |
//! | `server.pem` | the certificate; before it for whom, until when and by which authority |
//! | `server.key` | its key; mode 0600 |

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PublicKeyData as _, SanType,
};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest as _, Sha256};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::stream::Told;
use crate::api::HttpsRefusal;

/// Name of the authority's certificate in the folder and at its URL, as text.
pub const CA_PEM: &str = "ca.pem";
/// The same in the form that firmware's menus take.
pub const CA_DER: &str = "ca.der";

const DAY: i64 = 24 * 60 * 60;
/// How long an authority holds, in seconds.
const CA_HOLDS: i64 = 25 * 365 * DAY;
/// How long a certificate holds from the day on which it is made.
const CERTIFICATE_HOLDS: i64 = 397 * DAY;
/// What ends sooner is made anew.
const NEAR: i64 = 30 * DAY;
/// 2000-01-01.
const LONG_AGO: i64 = 946_684_800;

/// What keeps a client from HTTPS, as far as a person can mend it.
pub(super) fn refusal(error: &rustls::Error) -> Option<HttpsRefusal> {
    use rustls::AlertDescription as Alert;
    match error {
        rustls::Error::PeerIncompatible(_)
        | rustls::Error::AlertReceived(
            Alert::HandshakeFailure | Alert::ProtocolVersion | Alert::InsufficientSecurity,
        ) => Some(HttpsRefusal::NoCommonMethod),
        rustls::Error::AlertReceived(
            Alert::UnknownCA
            | Alert::BadCertificate
            | Alert::CertificateUnknown
            | Alert::CertificateExpired
            | Alert::UnsupportedCertificate,
        ) => Some(HttpsRefusal::UnknownAuthority),
        _ => None,
    }
}

/// Why there is no HTTPS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The folder can't be read or written.
    #[error("cannot {what} {path}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// With which file.
        path: String,
        /// Why not.
        source: io::Error,
    },
    /// The authority's key is there and no key.
    #[error(
        "{0} is damaged; restore it from a copy, or remove it: a new authority is made then, which no machine knows yet"
    )]
    Authority(String),
    /// A certificate can't be made.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// A certificate can't be used.
    #[error("cannot use the certificate in {0}: {1}; remove the folder, and a new one is made")]
    Use(String, String),
}

fn io_error<'a>(what: &'static str, path: &'a Path) -> impl Fn(io::Error) -> TlsError + 'a {
    move |source| TlsError::Io { what, path: path.display().to_string(), source }
}

/// What HTTPS shows for itself. Clones are one.
#[derive(Clone)]
pub struct Tls(Arc<Inner>);

struct Inner {
    folder: PathBuf,
    addresses: BTreeSet<IpAddr>,
    current: Mutex<Ready>,
}

/// A certificate in use.
#[derive(Clone)]
struct Ready {
    config: Arc<ServerConfig>,
    until: Timestamp,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("addresses", &self.0.addresses).finish_non_exhaustive()
    }
}

impl Tls {
    /// The certificate for these addresses, from the folder or made now and kept there. Reads and writes files, so it blocks.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn open(folder: &Path, addresses: impl IntoIterator<Item = IpAddr>, now: Timestamp) -> Result<Self, TlsError> {
        let addresses = addresses.into_iter().collect();
        let current = Mutex::new(ready(folder, &addresses, now)?);
        Ok(Self(Arc::new(Inner { folder: folder.to_owned(), addresses, current })))
    }

    /// Agrees with a client.
    ///
    /// # Errors
    /// The client's, or the connection's.
    pub(super) async fn accept(&self, stream: Told) -> io::Result<TlsStream<Told>> {
        let now = Timestamp::now();
        let mut current = self.current();
        if near(current.until, now) {
            let inner = self.0.clone();
            // Should it fail, the old one is shown: the client may still take it.
            let made = tokio::task::spawn_blocking(move || inner.renew(now)).await;
            if let Ok(Ok(made)) = made {
                current = made;
            }
        }
        TlsAcceptor::from(current.config).accept(stream).await
    }

    fn current(&self) -> Ready {
        self.0.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Inner {
    fn renew(&self, now: Timestamp) -> Result<Ready, TlsError> {
        // Whoever comes meanwhile waits here and finds the new one.
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if near(current.until, now) {
            *current = ready(&self.folder, &self.addresses, now)?;
        }
        Ok(current.clone())
    }
}

fn near(until: Timestamp, now: Timestamp) -> bool {
    until.duration_since(now) < SignedDuration::from_secs(NEAR)
}

/// Of the folder if it fits, else made.
fn ready(folder: &Path, addresses: &BTreeSet<IpAddr>, now: Timestamp) -> Result<Ready, TlsError> {
    if !folder.is_dir() {
        fs::DirBuilder::new().mode(0o700).create(folder).map_err(io_error("make the folder", folder))?;
    }
    let authority = Authority::open(folder, now)?;
    let list = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    if let Some(kept) = kept(folder, &authority, &list, now) {
        return Ok(kept);
    }
    let until = after(now, CERTIFICATE_HOLDS);
    let key = KeyPair::generate()?;
    let mut params = validity(until)?;
    let first = addresses.first().map_or_else(|| "Bootyard".to_owned(), ToString::to_string);
    params.distinguished_name.push(DnType::CommonName, first);
    params.subject_alt_names = addresses.iter().map(|a| SanType::IpAddress(*a)).collect();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let certificate = params.signed_by(&key, &authority.issuer)?;
    write(&folder.join("server.key"), 0o600, key.serialize_pem().as_bytes())?;
    let text = format!("addresses: {list}\nuntil: {until}\nauthority: {}\n{}", authority.name, certificate.pem());
    write(&folder.join("server.pem"), 0o644, text.as_bytes())?;
    kept(folder, &authority, &list, now).ok_or_else(|| {
        TlsError::Use(folder.display().to_string(), "it does not read back as it was written".to_owned())
    })
}

/// The certificate in the folder, if it is for these addresses, of this authority, and holds for a while.
fn kept(folder: &Path, authority: &Authority, addresses: &str, now: Timestamp) -> Option<Ready> {
    let text = fs::read_to_string(folder.join("server.pem")).ok()?;
    let until: Timestamp = field(&text, "until")?.parse().ok()?;
    let fits = field(&text, "addresses")? == addresses && field(&text, "authority")? == authority.name;
    if !fits || near(until, now) {
        return None;
    }
    let certificate = CertificateDer::from_pem_slice(text.as_bytes()).ok()?;
    let key = PrivateKeyDer::from_pem_file(folder.join("server.key")).ok()?;
    let chain = vec![certificate, authority.issuer.der().clone()];
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .ok()?
        .with_no_client_auth()
        // A key that is another's is an error here.
        .with_single_cert(chain, key);
    let mut config = config.ok()?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Some(Ready { config: Arc::new(config), until })
}

/// What signs.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// By its key: firmware lists several labs' side by side.
    name: String,
}

impl Authority {
    /// Of the folder, or made when there is none or its end is near.
    fn open(folder: &Path, now: Timestamp) -> Result<Self, TlsError> {
        let path = folder.join("ca.key");
        let text = match fs::read_to_string(&path) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            // Another one in its place would be a surprise to every machine that knows this one.
            Err(error) => return Err(io_error("read", &path)(error)),
        };
        let known = match &text {
            Some(text) => Some(read_key(text).ok_or_else(|| TlsError::Authority(path.display().to_string()))?),
            None => None,
        };
        let (key, until, new) = match known {
            Some((key, until)) if !near(until, now) => (key, until, false),
            known => {
                // Whoever's clock was wrong can take the old one up again.
                if known.is_some() {
                    fs::rename(&path, path.with_extension("key.old")).map_err(io_error("rename", &path))?;
                }
                (KeyPair::generate()?, after(now, CA_HOLDS), true)
            }
        };
        let digest = Sha256::digest(key.der_bytes());
        let name: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        let mut params = validity(until)?;
        params.distinguished_name.push(DnType::CommonName, format!("Bootyard lab {name}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        if new {
            let text = format!("until: {until}\n{}", key.serialize_pem());
            write(&path, 0o600, text.as_bytes())?;
        }
        let issuer = CertifiedIssuer::self_signed(params, key)?;
        // One that was enrolled is as good as one that is signed again: name and key are the same.
        if new || !folder.join(CA_PEM).is_file() || !folder.join(CA_DER).is_file() {
            write(&folder.join(CA_PEM), 0o644, issuer.pem().as_bytes())?;
            write(&folder.join(CA_DER), 0o644, issuer.der())?;
        }
        Ok(Self { issuer, name })
    }
}

fn read_key(text: &str) -> Option<(KeyPair, Timestamp)> {
    let until = field(text, "until")?.parse().ok()?;
    let key = text.get(text.find("-----BEGIN")?..)?;
    Some((KeyPair::from_pem(key).ok()?, until))
}

/// A line `name: value` before the first PEM block.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let lines = text.lines().take_while(|line| !line.starts_with("-----"));
    lines.filter_map(|line| line.split_once(": ")).find(|(n, _)| *n == name).map(|(_, value)| value)
}

fn after(now: Timestamp, seconds: i64) -> Timestamp {
    Timestamp::from_second(now.as_second().saturating_add(seconds)).unwrap_or(Timestamp::MAX)
}

fn validity(until: Timestamp) -> Result<CertificateParams, TlsError> {
    let time = |seconds| time::OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| rcgen::Error::Time);
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.not_before = time(LONG_AGO)?;
    params.not_after = time(until.as_second())?;
    Ok(params)
}

/// Writes a file whole or not at all, with this mode from its first byte on.
fn write(path: &Path, mode: u32, bytes: &[u8]) -> Result<(), TlsError> {
    let new = path.with_extension("new");
    let written = (|| {
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&new, path)
    })();
    written.map_err(io_error("write", path))
}

#[cfg(test)]
#[path = "tls_tests.rs"]
mod tests;
