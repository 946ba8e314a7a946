//! The server over TLS, as a client sees it that knows the authority alone.

use super::*;
use crate::api::{EventKind, HttpsRefusal, Who, reports};
use crate::http::tls::CA_DER;
use crate::http::{AppBody, AppReply, AppRequest};
use crate::net::testing::Loopback;
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, ServerName};
use std::path::{Path, PathBuf};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;

struct Folder(PathBuf);

impl App for Folder {
    async fn respond(&self, request: AppRequest) -> AppReply {
        AppReply { who: Who::default(), body: AppBody::File(self.0.join(request.path.trim_start_matches('/'))) }
    }

    fn delivered(&self, _: &Who, _: &str) {}
}

const LOCAL: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);

fn config(folder: &Path, bind: SocketAddrV4) -> (Config<Folder>, crate::api::Reports) {
    let (reporter, reports) = reports();
    let tls = Tls::open(&folder.join("https"), [Ipv4Addr::LOCALHOST.into()], jiff::Timestamp::now()).unwrap();
    let secure = Some(Secure { binds: vec![(bind, None)], tls });
    let app = Arc::new(Folder(folder.into()));
    (
        Config { binds: vec![(LOCAL, None)], secure, ports: Arc::new(Loopback), app, reporter, tap: <_>::default() },
        reports,
    )
}

async fn get(to: SocketAddr, ca: &[u8], path: &str, fields: &str) -> Vec<u8> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(ca.to_vec())).unwrap();
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(to).await.unwrap();
    let name = ServerName::from(std::net::IpAddr::from(Ipv4Addr::LOCALHOST));
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{fields}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("its end is told, so that nothing can be cut off unseen");
    answer
}

#[tokio::test]
async fn files_and_ranges_come_over_tls_and_are_told_as_all_others() {
    let dir = tempfile::tempdir().unwrap();
    let content: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[1]).collect();
    std::fs::write(dir.path().join("boot.efi"), &content).unwrap();
    let (config, mut events) = config(dir.path(), LOCAL);
    let service = start(config).await.unwrap();
    let to = service.secure_addresses()[0];
    let ca = std::fs::read(dir.path().join("https").join(CA_DER)).unwrap();
    let whole = get(to, &ca, "//boot.efi", "").await;
    assert!(whole.starts_with(b"HTTP/1.1 200 OK\r\n") && whole.ends_with(&content));
    let part = get(to, &ca, "/boot.efi", "Range: bytes=1000000-1999999\r\n").await;
    assert!(part.starts_with(b"HTTP/1.1 206") && part.ends_with(&content[1_000_000..2_000_000]));
    let mut done = 0;
    while done < 2 {
        let batch = events.next().await;
        done += batch.iter().filter(|r| matches!(r.observation.kind, EventKind::HttpDone { .. })).count();
    }
    service.stop().await;
}

#[tokio::test]
async fn who_does_not_agree_is_let_go_and_a_taken_port_stops_nobody_else() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("f"), b"plain").unwrap();
    let (first, _events) = config(dir.path(), LOCAL);
    let short = Limits { head_within: Duration::from_millis(150), ..Limits::default() };
    let service = start_with(first, short).await.unwrap();
    let to = service.secure_addresses()[0];
    for says in ["", "GET /f HTTP/1.1\r\nHost: x\r\n\r\n"] {
        let mut stream = TcpStream::connect(to).await.unwrap();
        stream.write_all(says.as_bytes()).await.unwrap();
        let mut out = Vec::new();
        let end = tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut out)).await;
        assert!(end.is_ok() && !out.starts_with(b"HTTP"), "{says:?}: {out:?}");
    }
    let SocketAddr::V4(taken) = to else { panic!("{to}") };
    let (second, _events) = config(dir.path(), taken);
    let other = start(second).await.unwrap();
    assert!(other.secure_failure().is_some() && other.secure_addresses().is_empty());
    let mut stream = TcpStream::connect(other.addresses()[0]).await.unwrap();
    stream.write_all(b"GET /f HTTP/1.0\r\n\r\n").await.unwrap();
    let mut out = Vec::new();
    stream.read_to_end(&mut out).await.unwrap();
    assert!(out.ends_with(b"\r\n\r\nplain"));
    service.stop().await;
    other.stop().await;
}

/// The methods of a TLS 1.2 that has no elliptic curves, as EDK2 of 2022 greets: DHE and RSA alone.
const NO_CURVES: [u8; 12] = [0x00, 0x9f, 0x00, 0x9e, 0x00, 0x6b, 0x00, 0x67, 0x00, 0x39, 0x00, 0x33];

#[tokio::test]
async fn who_cannot_have_https_is_told_and_why_once() {
    let dir = tempfile::tempdir().unwrap();
    let (config, mut events) = config(dir.path(), LOCAL);
    let service = start(config).await.unwrap();
    let to = service.secure_addresses()[0];
    let mut refusal = async || loop {
        let told = events.next().await.into_iter().find_map(|told| match told.observation.kind {
            EventKind::HttpsRefused { why, .. } => Some(why),
            _ => None,
        });
        if let Some(why) = told {
            break why;
        }
    };

    // ClientHello: version 3.3, random, no session, these methods, no compression, signature algorithms.
    let mut hello = [&[3, 3][..], &[7; 32], &[0], &[0, 12], &NO_CURVES, &[1, 0]].concat();
    hello.extend([0, 10, 0, 13, 0, 6, 0, 4, 4, 3, 4, 1]);
    let len = hello.len() as u8;
    let greeting = [&[0x16, 3, 1, 0, len + 4, 1, 0, 0, len][..], &hello].concat();
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(&greeting).await.unwrap();
    let mut alert = Vec::new();
    let _ = stream.read_to_end(&mut alert).await;
    assert_eq!(alert.first(), Some(&0x15), "an alert, not a hang");
    assert_eq!(refusal().await, HttpsRefusal::NoCommonMethod);

    tokio::time::sleep(super::super::ledger::SAME_REFUSAL).await;
    let connector = TlsConnector::from(Arc::new(
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth(),
    ));
    let name = ServerName::from(std::net::IpAddr::from(Ipv4Addr::LOCALHOST));
    connector.connect(name, TcpStream::connect(to).await.unwrap()).await.unwrap_err();
    assert_eq!(refusal().await, HttpsRefusal::UnknownAuthority);
    service.stop().await;
}
