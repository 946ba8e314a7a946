//! The DHCP clients of systems get what lab.toml says from `bootyard serve`, and keep it; beside another server they get nothing of ours.

use std::collections::BTreeSet;
use std::io::Read;
use std::time::Duration;

use anyhow::{Context, Result};
use bootyard_core::dhcp::wire::{Packet, code};
use bootyard_tests::bootyard::{LabDir, Serve, is};
use bootyard_tests::dhcp_client::{Lease, Program, Running};
use bootyard_tests::dnsmasq::Dnsmasq;
use bootyard_tests::netns::Netns;
use bootyard_tests::run;
use serde_json::Value;
use socket2::{Domain, Protocol, Socket, Type};

const SERVER: &str = "192.168.77.1";
const NETWORK: &str = r#"router = "192.168.77.254"
dns = ["192.168.77.253", "192.168.77.252"]
domain = "bench.example.org""#;
const DISCOVER: &str = "broadcast-dhcp-discover";

/// What lab.toml says, for this address.
fn promised(address: &str) -> Lease {
    Lease {
        address: address.to_owned(),
        mask: "255.255.255.0".to_owned(),
        router: "192.168.77.254".to_owned(),
        dns: "192.168.77.253 192.168.77.252".to_owned(),
        domain: "bench.example.org".to_owned(),
        server: SERVER.to_owned(),
    }
}

fn in_range(address: &str, first: u8, last: u8) -> bool {
    let host = address.strip_prefix("192.168.77.").and_then(|h| h.parse::<u8>().ok());
    host.is_some_and(|h| (first..=last).contains(&h))
}

/// A computer for each client, with the hardware address `02:00:00:00:GROUP:N`.
fn computers(bench: &Netns, group: &str) -> Result<Vec<(Program, String, Netns)>> {
    let plug = |(program, n): (Program, u8)| {
        let mac = format!("02:00:00:00:{group}:{n:02x}");
        let computer = bench.plug(program.name(), &mac)?;
        Ok((program, mac, computer))
    };
    Program::ALL.into_iter().zip(1..).map(plug).collect()
}

#[test]
fn each_gets_what_lab_toml_says_and_the_same_again() -> Result<()> {
    let bench = Netns::bench("clients", Some("192.168.77.1/24"))?;
    let network = format!("mode = \"dhcp\"\nrange = \"192.168.77.20-192.168.77.40\"\n{NETWORK}");
    let lab = LabDir::new("dhcp-clients", &network)?;
    let mut serve = Serve::start(&bench, &lab)?;
    let computers = computers(&bench, "c1")?;
    let dir = lab.scratch().to_owned();

    // All at once, as a bench is switched on.
    let start = || -> Result<Vec<Running>> {
        computers.iter().map(|(program, _, computer)| program.start(computer, &dir, None)).collect()
    };
    let leases = |running: &[Running]| -> Result<Vec<Lease>> {
        let each = running.iter().zip(&computers);
        each.map(|(client, (_, _, computer))| client.lease(computer)).collect()
    };
    let running = start()?;
    let first = leases(&running)?;
    for (lease, (program, _, _)) in first.iter().zip(&computers) {
        assert_eq!(*lease, promised(&lease.address), "{program:?}");
        assert!(in_range(&lease.address, 20, 40), "{program:?}: {lease:?}");
    }
    let addresses: BTreeSet<&str> = first.iter().map(|l| l.address.as_str()).collect();
    assert_eq!(addresses.len(), computers.len(), "two have one address: {first:?}");

    // Given back, it is kept for whom it belonged to.
    for (client, (program, mac, computer)) in running.into_iter().zip(&computers) {
        client.release(computer)?;
        serve
            .wait_for_event("dhcp-release", Duration::from_secs(30), |e| is(e, "dhcp-release", mac))
            .with_context(|| format!("{program:?}"))?;
    }
    let running = start()?;
    assert_eq!(leases(&running)?, first, "after a release");

    // After a power cut some ask for what they had (INIT-REBOOT), some begin anew.
    for (client, (_, _, computer)) in running.into_iter().zip(&computers) {
        client.cut(computer)?;
    }
    let running = start()?;
    assert_eq!(leases(&running)?, first, "after a power cut");
    assert!(!serve.saw(|e| e["kind"] == "dhcp-nak"), "one was refused what it had");
    let told: Vec<String> =
        running.iter().map(Running::told).collect::<Result<Vec<_>>>()?.into_iter().flatten().map(|(w, _)| w).collect();
    assert!(told.contains(&"REBOOT".to_owned()), "nobody asked for what it had: {told:?}");
    drop(running);

    // The server forgets nobody when it is killed.
    serve.kill9()?;
    for (_, _, computer) in &computers {
        computer.ip(&["-4", "address", "flush", "dev", "eth0"])?;
    }
    let _serve = Serve::start(&bench, &lab)?;
    let running = start()?;
    assert_eq!(leases(&running)?, first, "after the server was killed");
    Ok(())
}

/// What nmap's script was offered: each answer's lines. `eth0` must have an address.
fn discover(computer: &Netns) -> Result<Vec<Vec<(String, String)>>> {
    let seconds = format!("{DISCOVER}.timeout=4");
    let text = computer.tool("nmap", &["--script", DISCOVER, "--script-args", &seconds, "-e", "eth0"])?;
    let mut answers: Vec<Vec<(String, String)>> = Vec::new();
    for line in text.lines().filter_map(|l| l.strip_prefix('|')) {
        let line = line.trim_start_matches(['_', ' ']);
        if line.starts_with("Response ") {
            answers.push(Vec::new());
        } else if let (Some((name, value)), Some(answer)) = (line.split_once(": "), answers.last_mut()) {
            answer.push((name.to_owned(), value.to_owned()));
        }
    }
    Ok(answers)
}

fn field<'a>(answer: &'a [(String, String)], name: &str) -> &'a str {
    answer.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value)
}

#[test]
fn nmaps_script_sees_one_server_and_one_stable_offer() -> Result<()> {
    let bench = Netns::bench("nmap", Some("192.168.77.1/24"))?;
    let network = format!("mode = \"dhcp\"\nrange = \"192.168.77.20-192.168.77.40\"\nlease = \"2h\"\n{NETWORK}");
    let lab = LabDir::new("dhcp-clients-nmap", &network)?;
    let _serve = Serve::start(&bench, &lab)?;
    let computer = bench.plug("nmap", "02:00:00:00:c2:01")?;
    computer.ip(&["address", "add", "192.168.77.9/24", "dev", "eth0"])?;
    let mut offered = Vec::new();
    for _ in 0..2 {
        let answers = discover(&computer)?;
        let [answer] = answers.as_slice() else { anyhow::bail!("not one answer: {answers:?}") };
        let is = |name: &str, value: &str| assert_eq!(field(answer, name), value, "{name}: {answer:?}");
        is("DHCP Message Type", "DHCPOFFER");
        is("Server Identifier", SERVER);
        is("Subnet Mask", "255.255.255.0");
        is("Router", "192.168.77.254");
        is("Domain Name Server", "192.168.77.253, 192.168.77.252");
        is("Domain Name", "bench.example.org");
        is("IP Address Lease Time", "2h00m00s");
        is("Renewal Time Value", "1h00m00s");
        is("Rebinding Time Value", "1h45m00s");
        assert!(in_range(field(answer, "IP Offered"), 20, 40), "{answer:?}");
        offered.push(field(answer, "IP Offered").to_owned());
    }
    assert_eq!(offered.first(), offered.last(), "an offer is reserved");
    Ok(())
}

/// What goes over a computer's `eth0` from now on, in both directions.
struct Wire(Socket);

impl Wire {
    fn of(computer: &Netns) -> Result<Self> {
        computer.within(|| {
            // ETH_P_ALL in network order: whole frames, whatever their destination.
            let wire = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(i32::from(3_u16.to_be()))))?;
            wire.set_recv_buffer_size(1 << 20)?;
            wire.set_nonblocking(true)?;
            Ok(Self(wire))
        })
    }

    /// The DHCP packets since the last call: their senders, and what is in them.
    fn packets(&mut self) -> Vec<(String, Packet)> {
        let mut packets = Vec::new();
        let mut frame = [0; 2048];
        while let Ok(n) = self.0.read(&mut frame) {
            let frame = frame.get(..n).unwrap_or_default();
            // IPv4 without options, and UDP.
            if frame.get(12..15) == Some(&[8, 0, 0x45])
                && frame.get(23) == Some(&17)
                && let (Some(sender), Some(payload)) = (frame.get(26..30), frame.get(42..))
                && let Ok(packet) = Packet::decode(payload)
            {
                packets.push((sender.iter().map(ToString::to_string).collect::<Vec<_>>().join("."), packet));
            }
        }
        packets
    }
}

/// A machine's ROM, its installer and its system name themselves differently. The range has a single address: whoever counted them as
/// four machines would have nothing for the second.
#[test]
fn one_machine_is_one_lease_whatever_identifier_its_clients_send() -> Result<()> {
    let bench = Netns::bench("one", Some("192.168.77.1/24"))?;
    let network = format!("mode = \"dhcp\"\nrange = \"192.168.77.20-192.168.77.20\"\n{NETWORK}");
    let lab = LabDir::new("dhcp-clients-one", &network)?;
    let mut serve = Serve::start(&bench, &lab)?;
    let mac = "02:00:00:00:c3:01";
    let computer = bench.plug("one", mac)?;
    let mut wire = Wire::of(&computer)?;
    let mut identifiers = BTreeSet::new();
    for (n, program) in Program::ALL.into_iter().enumerate() {
        // None gives its address back: the lease of the one before still runs.
        let client = program.start(&computer, lab.scratch(), Some(&format!("a{n}")))?;
        assert_eq!(client.lease(&computer)?, promised("192.168.77.20"), "{program:?}");
        client.cut(&computer)?;
        let packets = wire.packets();
        let sent = packets.iter().filter(|(_, p)| p.op == 1).filter_map(|(_, p)| p.option(code::CLIENT_ID));
        identifiers.extend(sent.map(<[u8]>::to_vec));
    }
    assert_eq!(identifiers.len(), Program::ALL.len(), "that proves nothing: {identifiers:x?}");
    assert!(!serve.saw(|e| is(e, "dhcp-release", mac)));
    let hosts = lab.json(&bench, &["hosts", "--json"])?;
    assert_eq!(hosts.as_array().map(Vec::len), Some(1), "{hosts}");

    // The range is truly used up: another machine gets nothing.
    let other = bench.plug("other", "02:00:00:00:c3:02")?;
    let client = Program::Udhcpc.start(&other, &lab.scratch().join("other"), None)?;
    let other = |e: &Value| is(e, "dhcp-discover", "02:00:00:00:c3:02");
    serve.wait_for_event("dhcp-discover of another machine", Duration::from_secs(20), other)?;
    let silent = |e: &Value| is(e, "dhcp-silent", "02:00:00:00:c3:02");
    let why = serve.wait_for_event("dhcp-silent", Duration::from_secs(20), silent)?;
    assert!(why["reason"].as_str().is_some_and(|reason| reason.contains("taken")), "{why}");
    assert_eq!(client.told()?, [], "{}", client.said());
    Ok(())
}

/// The shortest lease that lab.toml allows is a minute: those that know no signal renew after half of it.
#[test]
fn a_lease_is_renewed() -> Result<()> {
    let bench = Netns::bench("renew", Some("192.168.77.1/24"))?;
    let network = format!("mode = \"dhcp\"\nrange = \"192.168.77.20-192.168.77.40\"\nlease = \"60s\"\n{NETWORK}");
    let lab = LabDir::new("dhcp-clients-renew", &network)?;
    let mut serve = Serve::start(&bench, &lab)?;
    let computers = computers(&bench, "c4")?;
    let dir = lab.scratch().to_owned();
    let start = |(program, _, computer): &(Program, String, Netns)| program.start(computer, &dir, None);
    let running = computers.iter().map(start).collect::<Result<Vec<_>>>()?;
    let mut first = Vec::new();
    for (client, (_, _, computer)) in running.iter().zip(&computers) {
        first.push(client.lease(computer)?);
    }
    let count = |serve: &Serve, wanted: &dyn Fn(&Value) -> bool| serve.events().iter().filter(|e| wanted(e)).count();
    let acks = |serve: &Serve, mac: &str| count(serve, &|e| is(e, "dhcp-ack", mac));
    let discovers = |serve: &Serve| count(serve, &|e| e["kind"] == "dhcp-discover");
    let before: Vec<usize> = computers.iter().map(|(_, mac, _)| acks(&serve, mac)).collect();
    let begun = discovers(&serve);
    for client in &running {
        client.renew()?;
    }
    for (((client, had), before), (program, mac, computer)) in running.iter().zip(first).zip(before).zip(&computers) {
        run::wait_until(&format!("{program:?} to renew"), Duration::from_secs(55), || {
            Ok((acks(&serve, mac) > before).then_some(()))
        })
        .with_context(|| client.said())?;
        assert_eq!(client.lease(computer)?, had, "{program:?}");
    }
    assert_eq!(discovers(&serve), begun, "one began anew instead of renewing");
    assert!(!serve.saw(|e| e["kind"] == "dhcp-nak"));
    assert!(serve.terminate()?.success());
    Ok(())
}

#[test]
fn beside_dnsmasq_a_system_hears_nothing_of_us() -> Result<()> {
    let bench = Netns::bench("quiet", Some("192.168.77.1/24"))?;
    let lab = LabDir::new("dhcp-clients-proxy", "mode = \"proxy\"")?;
    let options = ["--dhcp-option=3,192.168.77.254", "--dhcp-option=15,other.example"];
    let dnsmasq = Dnsmasq::start(&bench, lab.scratch(), &options)?;
    let serve = Serve::start(&bench, &lab)?;
    for (program, mac, computer) in computers(&bench, "c5")? {
        let mut wire = Wire::of(&computer)?;
        let client = program.start(&computer, lab.scratch(), None)?;
        let lease = client.lease(&computer)?;
        assert!(in_range(&lease.address, 50, 60), "{program:?}: {lease:?}");
        assert_eq!(lease.server, Dnsmasq::ADDRESS, "{program:?}");
        assert!(dnsmasq.leased(&mac)?, "{program:?}");
        // We saw it ask.
        assert!(serve.saw(|e| is(e, "dhcp-discover", &mac)), "{program:?}");
        client.release(&computer)?;
        let packets = wire.packets();
        let senders: BTreeSet<&str> = packets.iter().filter(|(_, p)| p.op == 2).map(|(s, _)| s.as_str()).collect();
        assert_eq!(senders, BTreeSet::from([Dnsmasq::ADDRESS]), "{program:?}");
    }
    let computer = bench.plug("nmap", "02:00:00:00:c5:09")?;
    computer.ip(&["address", "add", "192.168.77.9/24", "dev", "eth0"])?;
    let found = discover(&computer)?;
    let servers: Vec<&str> = found.iter().map(|answer| field(answer, "Server Identifier")).collect();
    assert_eq!(servers, [Dnsmasq::ADDRESS]);
    assert!(!serve.saw(|e| ["dhcp-offer", "dhcp-ack", "dhcp-nak"].iter().any(|kind| e["kind"] == *kind)));
    Ok(())
}
