//! A bench whose computer has no packet sockets: what a machine did there is seen by our servers' own sockets.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::Command as Program;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::api::{Command, Packets, Reply};
use crate::net::bench::{Bench, ip};
use crate::net::{
    AddressHold, Direct, Ipv4Cidr, MacAddr, NetError, PacketSocket, PacketUse, PortSet, TcpSpec, UdpSpec,
};
use crate::trace::decode::decode;
use crate::trace::testing::{ROM, THEM, dhcp, dhcp_up, login};
use crate::trace::view::{self, Body, Transport};
use crate::trace::{file, own};

/// The ports of a system without packet sockets.
#[derive(Debug)]
struct WithoutPackets;

impl PortSet for WithoutPackets {
    fn udp(&self, spec: &UdpSpec) -> Result<UdpSocket, NetError> {
        Direct.udp(spec)
    }
    fn tcp(&self, spec: &TcpSpec) -> Result<TcpListener, NetError> {
        Direct.tcp(spec)
    }
    fn packet(&self, _: &str, _: PacketUse) -> Result<Box<dyn PacketSocket>, NetError> {
        Err(NetError::Unsupported("packet sockets in this test".into()))
    }
    fn hold_address(&self, interface: &str, address: Ipv4Cidr) -> Result<Box<dyn AddressHold>, NetError> {
        Direct.hold_address(interface, address)
    }
}

const PEER: &str = "by-own-peer";
const FILE: usize = 200_000;

fn inside(args: &[&str]) -> String {
    ip(&[&["-n", PEER], args].concat())
}

/// Runs in a thread of the machine's.
fn on_the_machine<T: Send>(story: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let there = scope.spawn(|| {
            let namespace = std::fs::File::open(format!("/run/netns/{PEER}")).unwrap();
            let kind = Some(rustix::thread::LinkNameSpaceType::Network);
            rustix::thread::move_into_link_name_space(std::os::fd::AsFd::as_fd(&namespace), kind).unwrap();
            story()
        });
        there.join().unwrap()
    })
}

/// Asks by DHCP until this kind of message answers.
fn asks(socket: &dyn PacketSocket, frame: &[u8], kind: u8) {
    let end = Instant::now() + Duration::from_secs(20);
    let mut buffer = [0; 2048];
    socket.send(frame).unwrap();
    loop {
        assert!(Instant::now() < end, "no answer of kind {kind}");
        let Ok(len) = socket.recv(&mut buffer) else {
            std::thread::sleep(Duration::from_millis(5));
            continue;
        };
        if let Some(Body::Ip { transport: Transport::Udp(udp), .. }) = view::read(&buffer[..len], len).map(|v| v.body)
            && let Ok(message) = crate::dhcp::wire::Packet::decode(udp.payload)
            && message.option(53) == Some(&[kind])
        {
            return;
        }
    }
}

/// A boot in short: DHCP, a file over TFTP and over HTTP, a login at a disk.
fn boot() {
    on_the_machine(|| {
        let socket = Direct.packet("right", PacketUse::DhcpListen).unwrap();
        let broadcast = |kind, options: &[(u8, &[u8])]| {
            let mut packet = dhcp(1, kind, &[ROM, options].concat());
            packet.flags = 0x8000;
            dhcp_up(&packet)
        };
        asks(&*socket, &broadcast(1, &[]), 2);
        asks(&*socket, &broadcast(3, &[(54, &[192, 168, 77, 1]), (50, &[192, 168, 77, 20])]), 5);
    });
    inside(&["address", "add", "192.168.77.20/24", "dev", "right"]);
    on_the_machine(|| {
        let udp = UdpSocket::bind("192.168.77.20:2001").unwrap();
        udp.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        udp.send_to(b"\0\x01tiny.efi\0octet\0blksize\x001400\0", "192.168.77.1:69").unwrap();
        let mut buffer = [0; 2048];
        let mut got = 0;
        while got < FILE {
            let (len, from) = udp.recv_from(&mut buffer).unwrap();
            let ack = match buffer[1] {
                6 => [0, 4, 0, 0],
                3 => {
                    got += len - 4;
                    [0, 4, buffer[2], buffer[3]]
                }
                other => panic!("{other}: {:?}", String::from_utf8_lossy(&buffer[..len])),
            };
            udp.send_to(&ack, from).unwrap();
        }
        let mut http = TcpStream::connect("192.168.77.1:80").unwrap();
        http.write_all(b"GET /firmware/tiny.efi HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut whole = Vec::new();
        http.read_to_end(&mut whole).unwrap();
        assert!(whole.starts_with(b"HTTP/1.1 200") && whole.len() > FILE);
        let mut iscsi = TcpStream::connect("192.168.77.1:3260").unwrap();
        let keys =
            b"InitiatorName=iqn.2020-01.org.example:x\0TargetName=iqn.2001-04.com.example:a\0SessionType=Normal\0";
        iscsi.write_all(&login(keys)).unwrap();
        let mut answer = [0; 48];
        iscsi.read_exact(&mut answer).unwrap();
        assert_eq!((answer[0], &answer[36..38]), (0x23, &[0, 0][..]), "the login is accepted");
        // What is left unread would make the end a reset.
        let text = usize::from(answer[6]) << 8 | usize::from(answer[7]);
        iscsi.read_exact(&mut vec![0; text.next_multiple_of(4)]).unwrap();
    });
}

/// The machine's packets when the last of them is there.
async fn packets(engine: &Engine) -> Packets {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let told = engine.handle().call(Command::Packets { host: THEM.to_string() }).await;
        if let Ok(Reply::Packets(packets)) = told {
            let read = file::read(&packets.file()).unwrap().packets;
            let over = |line: &str| line.starts_with("login accepted");
            let ended = read.iter().filter(|p| decode(p).line.starts_with("ends its side")).count();
            if ended >= 3 && read.iter().any(|p| over(&decode(p).line)) {
                return packets;
            }
            let lines: Vec<_> = read.iter().map(|p| decode(p).line).collect();
            assert!(Instant::now() < end, "{lines:#?}");
        }
        assert!(Instant::now() < end, "no packets");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Wireshark's own program, if it is there, finds nothing wrong with the file.
fn wireshark_agrees(bytes: &[u8], folder: &Path) {
    let path = folder.join("own.pcapng");
    std::fs::write(&path, bytes).unwrap();
    let path = path.display().to_string();
    let sums = ["ip", "tcp", "udp"].map(|protocol| format!("{protocol}.check_checksum:TRUE"));
    let shark = |more: &[&str]| {
        let options = sums.iter().flat_map(|sum| ["-o", sum]);
        Program::new("tshark").args(["-r", &path]).args(options).args(more).output()
    };
    let Ok(shown) = shark(&["-T", "fields", "-e", "_ws.col.Protocol"]) else {
        let text = "NOT RUN: tshark is not installed, so nobody else reads the packets\n";
        return std::io::stderr().write_all(text.as_bytes()).unwrap();
    };
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    for protocol in ["DHCP", "TFTP", "HTTP", "iSCSI", "TCP"] {
        assert!(shown.lines().any(|line| line.starts_with(protocol)), "tshark sees no {protocol}: {shown}");
    }
    let bad = "_ws.malformed || ip.checksum.status == \"Bad\" || tcp.checksum.status == \"Bad\" || udp.checksum.status == \"Bad\" \
               || tcp.analysis.lost_segment || tcp.analysis.retransmission || tcp.analysis.out_of_order \
               || tcp.analysis.ack_lost_segment || tcp.analysis.window_full";
    let bad = shark(&["-Y", bad]).unwrap();
    assert!(bad.status.success(), "{}", String::from_utf8_lossy(&bad.stderr));
    assert_eq!(String::from_utf8_lossy(&bad.stdout), "", "tshark finds these wrong");
}

#[test]
fn where_there_are_no_packet_sockets_our_own_sockets_tell_what_a_machine_did() {
    Bench::run("own", || {
        let _left_by_the_last_run = Program::new("ip").args(["netns", "del", PEER]).output();
        ip(&["netns", "add", PEER]);
        ip(&["link", "set", "right", "netns", PEER]);
        inside(&["link", "set", "right", "address", &THEM.to_string()]);
        inside(&["link", "set", "right", "up"]);
        let dir = tempfile::tempdir().unwrap();
        for folder in ["firmware", "disks"] {
            std::fs::create_dir(dir.path().join(folder)).unwrap();
        }
        std::fs::write(dir.path().join("firmware/tiny.efi"), vec![7; FILE]).unwrap();
        std::fs::write(dir.path().join("disks/a.raw"), vec![1; 1 << 20]).unwrap();
        let lab = "version = 1\n[network]\ninterface = \"left\"\nmode = \"dhcp\"\n\
                   range = \"192.168.77.20-192.168.77.40\"\nunknown = \"wait\"\n\
                   [[disk]]\nname = \"a\"\nimage = \"a.raw\"\niqn = \"iqn.2001-04.com.example:a\"\n\
                   allow = [\"192.168.77.0/24\"]\n";
        std::fs::write(dir.path().join("lab.toml"), lab).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let (engine, shared) = Engine::open_sharing(dir.path(), Options::default()).await.unwrap();
            let ports: Arc<dyn PortSet> = Arc::new(WithoutPackets);
            let serving = serving::start(shared.clone(), ports, true).await.unwrap();
            tokio::task::spawn_blocking(boot).await.unwrap();
            let packets = packets(&engine).await;
            let why = "not supported on this system: packet sockets in this test";
            assert_eq!((packets.absent.clone(), packets.lost), (None, 0));
            assert_eq!(packets.sockets.as_deref(), Some(&*own::about(why)));
            let read = file::read(&packets.file()).unwrap();
            assert!(read.comments.iter().any(|c| c.starts_with("these packets are what Bootyard's own sockets")));
            let lines: Vec<String> = read.packets.iter().map(|packet| decode(packet).line).collect();
            for line in ["DISCOVER of 52:54:00:00:00:01", "read tiny.efi", "GET /firmware/tiny.efi", "login accepted"] {
                assert!(lines.iter().any(|l| l.starts_with(line)), "{line} is not in {lines:#?}");
            }
            let comments: Vec<&String> = read.packets.iter().flat_map(|packet| &packet.comments).collect();
            assert!(comments.iter().any(|c| c.starts_with("tftp-request file=tiny.efi")), "{comments:?}");
            for packet in &read.packets {
                let seen = view::read(&packet.data, packet.original as usize).unwrap();
                assert!([seen.from, seen.to].contains(&THEM) || seen.to == MacAddr::BROADCAST, "{seen:?}");
            }
            wireshark_agrees(&packets.file(), dir.path());
            let recorded = recorded::fold(&read.packets);
            let [host] = &recorded.hosts[..] else { panic!("{:?}", recorded.hosts) };
            assert_eq!((host.macs[0], host.findings.len()), (THEM, 0), "{:?}", host.findings);
            let steps: Vec<&str> = host.timeline.iter().map(|step| step.text.as_str()).collect();
            assert!(steps.contains(&"iqn.2001-04.com.example:a"), "{steps:?}");
            serving.stop(&shared).await;
            engine.close().await;
        });
        ip(&["netns", "del", PEER]);
    });
}
