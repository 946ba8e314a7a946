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
    let config = Config {
        binds,
        ports: Arc::new(Loopback),
        root: Arc::new(Folder(folder.into())),
        reporter,
        tap: <_>::default(),
    };
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

/// Fetches a file as a client does that follows RFC 7440, with the window that it asks for.
async fn fetch(client: &UdpSocket, to: SocketAddr, request: &[u8], block: usize, window: u64) -> Vec<u8> {
    let mut buf = vec![0; 65_536];
    let (mut got, mut blocks, mut acked) = (Vec::new(), 0u64, 0u64);
    client.send_to(request, to).await.unwrap();
    loop {
        let (len, tid) = client.recv_from(&mut buf).await.unwrap();
        match wire::decode(&buf[..len]).unwrap_or_else(|error| panic!("{error}: {len} bytes of {block} x {window}")) {
            Packet::Oack(_) => {}
            Packet::Data { block: number, data } => {
                if u64::from(number) != (blocks + 1) & 0xffff {
                    continue;
                }
                got.extend_from_slice(data);
                blocks += 1;
                if data.len() == block && blocks - acked < window {
                    continue;
                }
            }
            other => panic!("{other:?}"),
        }
        acked = blocks;
        client.send_to(&wire::encode(&Packet::Ack((blocks & 0xffff) as u16)), tid).await.unwrap();
        if blocks > 0 && len < block + 4 {
            return got;
        }
    }
}

fn noise(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    fastrand::Rng::with_seed(len as u64).fill(&mut bytes);
    bytes
}

/// RFC 2348 and 7440: sizes around a full block and a full window, in one send where the kernel cuts it and packet by packet.
#[tokio::test]
async fn files_of_any_length_arrive_in_any_window() {
    let dir = tempfile::tempdir().unwrap();
    let (service, _reports) = serve_folder(dir.path()).await;
    let to = service.addresses()[0];
    for (block, window) in [(512, 1), (1468, 4), (1468, 64), (8, 64), (32_000, 4), (65_464, 2)] {
        for len in [0, 1, block - 1, block, block * 4, 1_000_000.min(block * 70_000)] {
            let content = noise(len);
            std::fs::write(dir.path().join("f"), &content).unwrap();
            let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let (size, blocks) = (block.to_string(), window.to_string());
            let request = rrq("f", &[("blksize", &size), ("windowsize", &blocks)]);
            assert!(fetch(&client, to, &request, block, window).await == content, "{len} bytes, {block} x {window}");
        }
    }
    service.stop().await;
}

/// RFC 1350, section 4: a client is its address and port together; firmware's ports are often the same on every machine.
#[tokio::test]
async fn many_clients_share_one_port_and_none_gets_the_others_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let (service, _reports) = serve_folder(dir.path()).await;
    let to = service.addresses()[0];
    let first = UdpSocket::bind("127.0.0.2:0").await.unwrap();
    let port = first.local_addr().unwrap().port();
    let mut clients = vec![first];
    for host in 3..33 {
        // Where another program has the port on that address, one client less is no loss.
        clients.extend(UdpSocket::bind((Ipv4Addr::new(127, 0, 0, host), port)).await);
    }
    for host in 0..8 {
        clients.push(UdpSocket::bind((Ipv4Addr::new(127, 0, 0, 40 + host % 2), 0)).await.unwrap());
    }
    let mut running = JoinSet::new();
    for (nth, client) in clients.into_iter().enumerate() {
        let (name, content) = (format!("f{nth}"), noise(100_000 + nth));
        std::fs::write(dir.path().join(&name), &content).unwrap();
        running.spawn(async move {
            let request = rrq(&name, &[("blksize", "1468"), ("windowsize", "4")]);
            assert!(fetch(&client, to, &request, 1468, 4).await == content, "{name}");
        });
    }
    while let Some(ended) = running.join_next().await {
        ended.unwrap();
    }
    service.stop().await;
}

/// RFC 1350, appendix: netascii ends a line with CR LF and writes a lone CR as CR NUL. The size that is told is the converted one.
#[tokio::test]
async fn a_text_is_converted() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("f"), "one\ntwo\rthree\r\n").unwrap();
    let (service, _reports) = serve_folder(dir.path()).await;
    let to = service.addresses()[0];
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let request = b"\0\x01f\0NetASCII\0";
    assert_eq!(fetch(&client, to, request, 512, 1).await, b"one\r\ntwo\r\0three\r\0\r\n");
    client.send_to(b"\0\x01f\0netascii\0tsize\x000\0", to).await.unwrap();
    let mut buf = [0; 600];
    let (len, _) = client.recv_from(&mut buf).await.unwrap();
    assert_eq!(&buf[..len], b"\0\x06tsize\x0019\0");
    service.stop().await;
}

/// What firmware makes of names: backslashes, a leading slash, option 67 with what stands behind it.
#[tokio::test]
async fn names_are_found_as_firmware_writes_them() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("boot/x64")).unwrap();
    std::fs::write(dir.path().join("boot/x64/wdsmgfw.efi"), b"efi").unwrap();
    let (service, _reports) = serve_folder(dir.path()).await;
    let to = service.addresses()[0];
    for name in [
        &b"boot/x64/wdsmgfw.efi"[..],
        b"\\boot\\x64\\wdsmgfw.efi",
        b"//boot/./x64/wdsmgfw.efi\xff",
        b"boot\\x64/wdsmgfw.efi\r\n",
    ] {
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let request = [b"\0\x01", name, b"\0octet\0"].concat();
        assert_eq!(fetch(&client, to, &request, 512, 1).await, b"efi", "{name:?}");
    }
    service.stop().await;
}

/// 3,000 damaged packets, at the server's port and at the transfer's, from strangers and from the client itself: the file arrives.
#[tokio::test]
async fn mutated_packets_stop_no_transfer() {
    let dir = tempfile::tempdir().unwrap();
    let content = noise(3000 * 512);
    std::fs::write(dir.path().join("f"), &content).unwrap();
    let (service, _reports) = serve_folder(dir.path()).await;
    let to = service.addresses()[0];
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let seeds =
        [rrq("f", &[("tsize", "0"), ("blksize", "1468"), ("windowsize", "4")]), wire::error(0, "no"), vec![0, 4, 0, 1]];
    let mut random = fastrand::Rng::with_seed(7);
    let mut buf = [0; 2048];
    client.send_to(&rrq("f", &[]), to).await.unwrap();
    let mut got = Vec::new();
    loop {
        let (len, tid) = client.recv_from(&mut buf).await.unwrap();
        let Ok(Packet::Data { block, data }) = wire::decode(&buf[..len]) else { continue };
        if tid == to || u64::from(block) != got.len() as u64 / 512 + 1 {
            continue;
        }
        got.extend_from_slice(data);
        let last = data.len() < 512;
        let mut damaged = seeds[random.usize(..seeds.len())].clone();
        for _ in 0..random.usize(1..6) {
            let at = random.usize(..damaged.len());
            damaged[at] = random.u8(..);
        }
        damaged.truncate(random.usize(..=damaged.len()));
        stranger.send_to(&damaged, if random.bool() { to } else { tid }).await.unwrap();
        // What its own machine sends by mistake, too, as long as it means nothing else.
        if wire::decode(&damaged).is_err() {
            client.send_to(&damaged, tid).await.unwrap();
        }
        client.send_to(&wire::encode(&Packet::Ack(block)), tid).await.unwrap();
        if last {
            break;
        }
    }
    assert!(got == content);
    service.stop().await;
}

/// A server that stops says so to its clients and waits for none.
#[tokio::test]
async fn a_stop_ends_what_runs() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("f"), vec![7; 7000]).unwrap();
    let (service, mut reports) = serve_folder(dir.path()).await;
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut buf = [0; 600];
    client.send_to(&rrq("f", &[]), service.addresses()[0]).await.unwrap();
    client.recv_from(&mut buf).await.unwrap();
    service.stop().await;
    loop {
        let (len, _) = client.recv_from(&mut buf).await.unwrap();
        match wire::decode(&buf[..len]).unwrap() {
            Packet::Data { .. } => {}
            Packet::Error { code: 0, .. } => break,
            other => panic!("{other:?}"),
        }
    }
    let kinds: Vec<_> = reports.next().await.iter().map(|r| r.observation.kind.name()).collect();
    assert_eq!(kinds, ["tftp-request", "tftp-failed"]);
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
