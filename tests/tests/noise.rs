//! Thousands of damaged packets at a server at work: no lease is lost, no transfer stops, nothing crashes.

use std::fs;
use std::io::Write;
use std::net::{Ipv6Addr, SocketAddrV6, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bootyard_tests::bootyard::{LabDir, Serve};
use bootyard_tests::netns::Netns;
use bootyard_tests::pxe_client::{Client, Kind};
use fastrand::Rng;
use serde_json::Value;
use socket2::{Domain, Protocol, Socket, Type};

const SERVER: &str = "192.168.77.1";
const MACS: [&str; 2] = ["02:00:00:00:0e:01", "02:00:00:00:0e:02"];
/// Datagrams and frames.
const PACKETS: usize = 3000;
/// Every so many there is a damaged HTTP request or iSCSI PDU, too.
const STREAMS: usize = 20;

/// The seeds of a fuzz target: packets that are right, and such that are wrong in known ways.
fn seeds(target: &str) -> Result<Vec<Vec<u8>>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/fuzz/corpus").join(target);
    let mut paths: Vec<_> = fs::read_dir(&folder)
        .with_context(|| folder.display().to_string())?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    paths.sort();
    paths.iter().map(|path| Ok(fs::read(path)?)).collect()
}

fn damaged(random: &mut Rng, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = random.choice(seeds).cloned().unwrap_or_default();
    for _ in 0..random.usize(1..8) {
        let len = bytes.len();
        if len == 0 {
            break;
        }
        let at = random.usize(0..len);
        match random.u8(0..6) {
            0 => bytes[at] ^= 1 << random.u8(0..8),
            1 => bytes[at] = random.choice([0, 1, 0x7f, 0x80, 0xff]).unwrap_or(0),
            2 => bytes.truncate(at),
            3 => {
                let end = random.usize(at..=len);
                let copy = bytes[at..end].to_vec();
                bytes.extend(copy);
            }
            4 => {
                bytes.remove(at);
            }
            _ => bytes.insert(at, random.u8(..)),
        }
    }
    bytes.truncate(1472);
    bytes
}

/// Sends all of them from inside the namespace of somebody who holds no lease.
fn noise(random: &mut Rng) -> Result<()> {
    let [dhcp, tftp, ndp, http, iscsi] = ["dhcp", "tftp", "ndp", "http-head", "iscsi-wire"].map(seeds);
    let (dhcp, tftp, ndp, http, iscsi) = (dhcp?, tftp?, ndp?, http?, iscsi?);
    let socket = UdpSocket::bind("0.0.0.0:68")?;
    socket.set_broadcast(true)?;
    let icmp = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
    let index = fs::read_to_string("/sys/class/net/eth0/ifindex")?.trim().parse()?;
    let routers = SocketAddrV6::new(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2), 0, 0, index).into();
    for n in 0..PACKETS {
        let to = |socket: &UdpSocket, bytes: &[u8], to: &str, port: u16| {
            // A datagram that the kernel refuses to send is none of the server's.
            let _ = socket.send_to(bytes, (to, port));
        };
        match random.u8(0..10) {
            kind @ 0..=5 => {
                let mut bytes = damaged(random, &dhcp);
                // Half of them say that they are of the machines that have leases.
                if kind < 3 && bytes.len() > 34 {
                    bytes[28..34].copy_from_slice(&[2, 0, 0, 0, 0x0e, random.u8(1..=2)]);
                }
                let place = if random.bool() { "255.255.255.255" } else { SERVER };
                to(&socket, &bytes, place, if random.u8(0..4) == 0 { 4011 } else { 67 });
            }
            6..=8 => to(&socket, &damaged(random, &tftp), SERVER, 69),
            _ => {
                // What follows the Ethernet and IPv6 headers; the kernel writes those.
                let _ = icmp.send_to(damaged(random, &ndp).get(54..).unwrap_or_default(), &routers);
            }
        }
        if n % STREAMS == 0 {
            let (port, bytes) = match random.bool() {
                true => (80, damaged(random, &http)),
                false => (3260, damaged(random, &iscsi)),
            };
            let mut stream = TcpStream::connect((SERVER, port)).context("a server refuses connections")?;
            let _ = stream.write_all(&bytes);
        }
        // A switch's worth, not more than the server's sockets hold: what the kernel drops tests nothing.
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Fetches a file again and again until told to stop; how often it came whole.
fn fetch(client: &Client, url: &str, to: &Path, wanted: &[u8], stop: &AtomicBool, limit: &str) -> Result<u32> {
    let mut whole = 0;
    while !stop.load(Ordering::Relaxed) {
        let place = to.to_string_lossy();
        client.ns.tool("curl", &["-sS", "--fail", "--limit-rate", limit, "-o", &place, url])?;
        ensure!(fs::read(to)? == wanted, "{url}: other bytes than those of the file");
        whole += 1;
    }
    Ok(whole)
}

#[test]
fn three_thousand_damaged_packets_lose_no_lease_and_stop_no_transfer() -> Result<()> {
    let bench = Netns::bench("noise", Some("192.168.77.1/24"))?;
    let lab = LabDir::new("noise", "mode = \"dhcp\"\nrange = \"192.168.77.20-192.168.77.250\"")?;
    let bytes: Vec<u8> = (0..4_usize << 20).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    fs::write(lab.path().join("firmware/large.bin"), &bytes)?;
    let mut serve = Serve::start(&bench, &lab)?;
    let clients = [0, 1].map(|n| Client::plug(&bench, &format!("noise-{n}"), MACS[n]));
    let [first, second] = clients;
    let clients = [first?, second?];
    let mut leases = Vec::new();
    for client in &clients {
        let told = client.boot(Kind::Rom, true)?;
        leases.push(client.take(&told)?);
    }
    let other = bench.plug("noise-x", "02:00:00:00:0e:77")?;
    other.ip(&["address", "add", "192.168.77.251/24", "dev", "eth0"])?;
    other.ip(&["-6", "address", "add", "fe80::99/64", "dev", "eth0", "nodad"])?;

    let stop = AtomicBool::new(false);
    let (tftp, http) = std::thread::scope(|scope| -> Result<_> {
        let to = |name: &str| lab.scratch().join(name);
        let (stop, bytes, clients) = (&stop, &bytes, &clients);
        let tftp = scope.spawn(move || {
            let url = format!("tftp://{SERVER}/large.bin");
            fetch(&clients[0], &url, &to("tftp.got"), bytes, stop, "100M")
        });
        let http = scope.spawn(move || {
            let url = format!("http://{SERVER}/firmware/large.bin");
            fetch(&clients[1], &url, &to("http.got"), bytes, stop, "20M")
        });
        let sent = other.within(|| noise(&mut Rng::with_seed(4)));
        stop.store(true, Ordering::Relaxed);
        let ended = |thread: std::thread::ScopedJoinHandle<'_, Result<u32>>| {
            thread.join().map_err(|_| anyhow::anyhow!("a client panicked"))?
        };
        let (tftp, http) = (ended(tftp)?, ended(http)?);
        sent?;
        Ok((tftp, http))
    })?;
    let heard = |kind: &str, of_ours: bool| {
        serve.saw(|e| e["kind"] == kind && e["mac"].as_str().is_some_and(|mac| MACS.contains(&mac)) == of_ours)
    };
    ensure!(heard("dhcp-discover", false) && heard("tftp-request", false), "the noise did not reach the server");
    ensure!(tftp > 1 && http > 1, "nothing was fetched meanwhile: {tftp} and {http} times");

    for (client, lease) in clients.iter().zip(&leases) {
        let told = client.boot(Kind::Rom, true)?;
        ensure!(told.ack["yiaddr"] == **lease, "{} instead of {lease}", told.ack["yiaddr"]);
    }
    let hosts = lab.json(&bench, &["hosts", "--json"])?;
    for (mac, lease) in MACS.iter().zip(&leases) {
        let known = |host: &Value| host["macs"].to_string().contains(mac) && host["ip"] == **lease;
        let all = hosts.as_array().or_else(|| hosts["hosts"].as_array()).context("no list of hosts")?;
        ensure!(all.iter().any(known), "{mac} with {lease} is not among {hosts}");
    }
    ensure!(serve.terminate()?.success(), "{}", serve.stderr());
    ensure!(!serve.stderr().contains("panicked"), "{}", serve.stderr());
    Ok(())
}
