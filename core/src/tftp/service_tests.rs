//! The server on loopback.

use super::*;
use crate::api::reports;
use crate::net::testing::Loopback;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

#[derive(Debug)]
struct Folder(PathBuf);

impl Root for Folder {
    fn find(&self, name: &str, _: IpAddr) -> Option<PathBuf> {
        Some(self.0.join(name)).filter(|path| path.exists())
    }
}

async fn serve_folder(folder: &Path) -> (Service, crate::api::Reports) {
    let (reporter, reports) = reports();
    let binds = vec![(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0), None)];
    let config = Config { binds, ports: Arc::new(Loopback), root: Arc::new(Folder(folder.into())), reporter };
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
    let (service, mut reports) = serve_folder(dir.path()).await;
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
    let (service, _reports) = serve_folder(dir.path()).await;
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

#[tokio::test]
async fn another_request_from_the_same_port_takes_the_place_of_the_first() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("old"), vec![1; 5000]).unwrap();
    std::fs::write(dir.path().join("new"), vec![2; 100]).unwrap();
    let (service, mut reports) = serve_folder(dir.path()).await;
    let to = service.addresses()[0];
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut buf = [0; 2048];
    client.send_to(&rrq("old", &[]), to).await.unwrap();
    let (len, _) = client.recv_from(&mut buf).await.unwrap();
    assert_eq!((len, buf[4]), (516, 1));
    client.send_to(&rrq("new", &[]), to).await.unwrap();
    let (len, tid) = client.recv_from(&mut buf).await.unwrap();
    assert_eq!((len, buf[4]), (104, 2));
    client.send_to(&wire::encode(&Packet::Ack(1)), tid).await.unwrap();
    let mut kinds = Vec::new();
    while !kinds.contains(&"tftp-done".to_owned()) {
        kinds.extend(reports.next().await.iter().map(|r| r.observation.kind.name()));
    }
    assert_eq!(kinds, ["tftp-request", "tftp-aborted", "tftp-request", "tftp-done"]);
    service.stop().await;
}

#[tokio::test]
async fn a_flood_of_requests_is_answered_and_told_in_bounds() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("f"), b"x").unwrap();
    let (service, mut reports) = serve_folder(dir.path()).await;
    let to = service.addresses()[0];
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut buf = [0; 2048];
    let began = Now::read().boot;
    for _ in 0..600 {
        client.send_to(&rrq("f", &[]), to).await.unwrap();
        let (len, tid) = client.recv_from(&mut buf).await.unwrap();
        assert_eq!(len, 5);
        client.send_to(&wire::error(code::UNDEFINED, "no"), tid).await.unwrap();
        client.send_to(&rrq("nothing", &[]), to).await.unwrap();
        client.recv_from(&mut buf).await.unwrap();
    }
    let seconds = usize::try_from(Now::read().boot.saturating_sub(began).as_secs()).unwrap() + 1;
    let kinds: Vec<_> = reports.next().await.iter().map(|r| r.observation.kind.name()).collect();
    let count = |name: &str| kinds.iter().filter(|kind| *kind == name).count();
    assert!((400..=400 + 40 * seconds).contains(&count("tftp-request")), "{}", count("tftp-request"));
    assert!(count("tftp-aborted") <= count("tftp-request"));
    assert!((50..=50 + 5 * seconds).contains(&count("tftp-failed")), "{}", count("tftp-failed"));
    service.stop().await;
}

#[test]
fn thirty_machines_with_all_their_modules_are_told_whole() {
    let told = Allowance::new(TOLD, TOLD_TO_ALL);
    for file in 0..300u64 {
        for machine in 1..=30 {
            let client = Ipv4Addr::new(192, 168, 2, machine).into();
            assert!(told.take(Duration::from_millis(file), client), "file {file} of machine {machine}");
        }
    }
}
