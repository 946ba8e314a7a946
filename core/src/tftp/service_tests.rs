//! The server on loopback.

use super::*;
use crate::api::reports;
use crate::net::{AddressHold, Ipv4Cidr, PacketSocket, PacketUse, TcpSpec};
use std::net::{IpAddr, TcpListener};
use std::path::PathBuf;

/// Opens ordinary sockets.
#[derive(Debug)]
struct Loopback;

impl PortSet for Loopback {
    fn udp(&self, spec: &UdpSpec) -> Result<std::net::UdpSocket, NetError> {
        std::net::UdpSocket::bind(spec.bind).map_err(|source| NetError::Io { what: "bind".into(), source })
    }
    fn tcp(&self, _: &TcpSpec) -> Result<TcpListener, NetError> {
        Err(NetError::Unsupported("test".into()))
    }
    fn packet(&self, _: &str, _: PacketUse) -> Result<Box<dyn PacketSocket>, NetError> {
        Err(NetError::Unsupported("test".into()))
    }
    fn hold_address(&self, _: &str, _: Ipv4Cidr) -> Result<Box<dyn AddressHold>, NetError> {
        Err(NetError::Unsupported("test".into()))
    }
}

#[derive(Debug)]
struct Folder(PathBuf);

impl Root for Folder {
    fn find(&self, name: &str, _: IpAddr) -> Option<PathBuf> {
        Some(self.0.join(name)).filter(|path| path.exists())
    }
}

async fn serve_folder(folder: PathBuf, port: u16) -> (Service, crate::api::Reports) {
    let (reporter, reports) = reports();
    let binds = vec![(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port), None)];
    let config = Config { binds, ports: Arc::new(Loopback), root: Arc::new(Folder(folder)), reporter };
    (start(config).await.unwrap(), reports)
}

fn rrq(file: &str, options: &[(&str, &str)]) -> Vec<u8> {
    let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    wire::encode(&Packet::Rrq(Request { file: file.into(), mode: wire::Mode::Octet, options }))
}

#[tokio::test]
async fn a_repeated_request_is_one_transfer_and_a_stranger_is_turned_away() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("f"), vec![7; 700]).unwrap();
    let (service, mut reports) = serve_folder(dir.path().into(), 0).await;
    let to = service.addresses()[0];
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut buf = [0; 2048];
    client.send_to(&rrq("f", &[]), to).await.unwrap();
    let (len, tid) = client.recv_from(&mut buf).await.unwrap();
    assert_eq!((len, &buf[..4]), (516, &[0, 3, 0, 1][..]));
    client.send_to(&rrq("f", &[]), to).await.unwrap();
    let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    stranger.send_to(&wire::encode(&Packet::Ack(1)), tid).await.unwrap();
    let (len, _) = stranger.recv_from(&mut buf).await.unwrap();
    assert!(matches!(wire::decode(&buf[..len]).unwrap(), Packet::Error { code: 5, .. }));
    client.send_to(&wire::encode(&Packet::Ack(1)), tid).await.unwrap();
    loop {
        let (len, from) = client.recv_from(&mut buf).await.unwrap();
        assert_eq!(from, tid, "a second transfer was begun");
        if buf[..4] == [0, 3, 0, 2] {
            assert_eq!(len, 4 + 188);
            break;
        }
    }
    client.send_to(&wire::encode(&Packet::Ack(2)), tid).await.unwrap();
    let mut kinds = Vec::new();
    while !kinds.contains(&"tftp-done".to_owned()) {
        kinds.extend(reports.next().await.iter().map(|r| r.observation.kind.name()));
    }
    assert_eq!(kinds, ["tftp-request", "tftp-done"]);
    service.stop().await;
}

#[tokio::test]
async fn refusals_carry_the_code_that_says_why() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("d")).unwrap();
    let (service, _reports) = serve_folder(dir.path().into(), 0).await;
    let to = service.addresses()[0];
    let mut write = rrq("f", &[]);
    write[1] = 2;
    for (packet, expected) in [
        (rrq("nothing", &[]), 1),
        (write, 2),
        (rrq("../etc/passwd", &[]), 2),
        (rrq("d", &[]), 0),
        (b"\0\x01".to_vec(), 4),
    ] {
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut buf = [0; 2048];
        client.send_to(&packet, to).await.unwrap();
        let (len, _) = client.recv_from(&mut buf).await.unwrap();
        let Ok(Packet::Error { code, message }) = wire::decode(&buf[..len]) else { panic!() };
        assert_eq!(code, expected, "{message}");
    }
    service.stop().await;
}

/// For trying real clients by hand: `BOOTYARD_TFTP_DIR=/tmp/x cargo test … tftp::service::tests::by_hand -- --ignored`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "serves a folder on 127.0.0.1:6969 until it is killed"]
async fn by_hand() {
    let Some(dir) = std::env::var_os("BOOTYARD_TFTP_DIR") else { return };
    let (_service, mut reports) = serve_folder(dir.into(), 6969).await;
    loop {
        for report in reports.next().await {
            println!("{:?}", report.observation);
        }
    }
}
