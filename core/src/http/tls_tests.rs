//! The authority and its certificate, as a client sees them.

use super::*;
use rustls::RootCertStore;
use rustls::pki_types::ServerName;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

const ONE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 2, 1));
const TWO: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 1, 0, 1));

fn bytes(dir: &Path, name: &str) -> Vec<u8> {
    std::fs::read(dir.join("https").join(name)).unwrap()
}

fn open(dir: &Path, addresses: &[IpAddr], now: Timestamp) -> Tls {
    Tls::open(&dir.join("https"), addresses.iter().copied(), now).unwrap()
}

/// Whether a client that knows this authority alone agrees with the server under this address.
async fn agrees(tls: &Tls, ca: &[u8], address: IpAddr) -> Result<(), String> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = listener.local_addr().unwrap();
    let server = tls.clone();
    let serving = tokio::spawn(async move {
        server.accept(Told::new(listener.accept().await.unwrap().0, <_>::default())).await.map(drop)
    });
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(ca.to_vec())).unwrap();
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(to).await.unwrap();
    let agreed = TlsConnector::from(Arc::new(config)).connect(ServerName::from(address), stream).await;
    let _the_client_may_have_refused = serving.await.unwrap();
    agreed.map(drop).map_err(|e| e.to_string())
}

#[tokio::test]
async fn every_address_in_service_is_vouched_for_by_the_authority_and_no_other_is() {
    let dir = tempfile::tempdir().unwrap();
    let tls = open(dir.path(), &[ONE, TWO], Timestamp::now());
    let ca = bytes(dir.path(), CA_DER);
    agrees(&tls, &ca, ONE).await.unwrap();
    agrees(&tls, &ca, TWO).await.unwrap();
    let other = agrees(&tls, &ca, Ipv4Addr::new(192, 168, 2, 2).into()).await.unwrap_err();
    assert!(other.contains("not valid for name"), "{other}");
    let strange = tempfile::tempdir().unwrap();
    open(strange.path(), &[ONE], Timestamp::now());
    let unknown = agrees(&tls, &bytes(strange.path(), CA_DER), ONE).await.unwrap_err();
    assert!(unknown.contains("UnknownIssuer"), "{unknown}");
    let pem = CertificateDer::from_pem_slice(&bytes(dir.path(), CA_PEM)).unwrap();
    assert_eq!(pem.as_ref(), &ca[..], "both forms are one certificate");
}

#[tokio::test]
async fn keys_are_their_owner_s_alone_and_what_was_made_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let now = Timestamp::now();
    open(dir.path(), &[ONE], now);
    for (name, mode) in [("", 0o700), ("ca.key", 0o600), ("server.key", 0o600)] {
        let meta = std::fs::metadata(dir.path().join("https").join(name)).unwrap();
        assert_eq!(meta.permissions().mode() & 0o777, mode, "{name}");
    }
    let names = ["ca.key", CA_PEM, CA_DER, "server.key", "server.pem"];
    let before = names.map(|name| bytes(dir.path(), name));
    open(dir.path(), &[ONE], now);
    assert_eq!(names.map(|name| bytes(dir.path(), name)), before);
}

#[tokio::test]
async fn new_addresses_and_a_near_end_make_a_new_certificate_of_the_same_authority() {
    let dir = tempfile::tempdir().unwrap();
    let now = Timestamp::now();
    open(dir.path(), &[ONE], now);
    let (ca, first) = (bytes(dir.path(), CA_DER), bytes(dir.path(), "server.pem"));
    let tls = open(dir.path(), &[TWO], now);
    let second = bytes(dir.path(), "server.pem");
    assert_ne!(first, second);
    agrees(&tls, &ca, TWO).await.unwrap();

    let soon = after(now, CERTIFICATE_HOLDS - NEAR - DAY);
    open(dir.path(), &[TWO], soon);
    assert_eq!(bytes(dir.path(), "server.pem"), second, "it holds for a month and a day");
    open(dir.path(), &[TWO], after(soon, 2 * DAY));
    assert_ne!(bytes(dir.path(), "server.pem"), second);
    assert_eq!(bytes(dir.path(), CA_DER), ca, "what was enrolled stays");

    let late = after(now, CA_HOLDS - DAY);
    let tls = open(dir.path(), &[TWO], late);
    assert_ne!(bytes(dir.path(), CA_DER), ca, "an authority ends, too");
    agrees(&tls, &bytes(dir.path(), CA_DER), TWO).await.unwrap();
}

#[tokio::test]
async fn a_certificate_whose_end_came_near_while_it_was_served_is_renewed() {
    let dir = tempfile::tempdir().unwrap();
    let past = after(Timestamp::now(), NEAR - CERTIFICATE_HOLDS);
    let tls = open(dir.path(), &[ONE], past);
    let before = bytes(dir.path(), "server.pem");
    agrees(&tls, &bytes(dir.path(), CA_DER), ONE).await.unwrap();
    assert_ne!(bytes(dir.path(), "server.pem"), before);
}

#[tokio::test]
async fn what_is_broken_or_lost_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let now = Timestamp::now();
    open(dir.path(), &[ONE], now);
    for (name, text) in [("server.pem", "x"), ("server.key", "x"), ("server.pem", "until: never\n")] {
        std::fs::write(dir.path().join("https").join(name), text).unwrap();
        let tls = open(dir.path(), &[ONE], now);
        agrees(&tls, &bytes(dir.path(), CA_DER), ONE).await.unwrap();
    }
    // Another pair's key.
    let key = KeyPair::generate().unwrap();
    std::fs::write(dir.path().join("https/server.key"), key.serialize_pem()).unwrap();
    agrees(&open(dir.path(), &[ONE], now), &bytes(dir.path(), CA_DER), ONE).await.unwrap();
    let enrolled = bytes(dir.path(), CA_DER);
    std::fs::remove_file(dir.path().join("https").join(CA_PEM)).unwrap();
    let tls = open(dir.path(), &[ONE], now);
    agrees(&tls, &enrolled, ONE).await.unwrap();
    agrees(&tls, &CertificateDer::from_pem_slice(&bytes(dir.path(), CA_PEM)).unwrap(), ONE).await.unwrap();
}
