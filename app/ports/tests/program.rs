//! The program as the engine uses it: started by a thread that has no capabilities, in a network namespace of the test's own.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test says by it what it relies on")]

#[path = "../../../core/src/net/bench.rs"]
mod bench;

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bench::{Bench, ip};
use bootyard_core::net::{Direct, Helper, Ipv4Cidr, NetError, PacketUse, PortSet, TcpSpec, UdpSpec, drop_privileges};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

const PROGRAM: &str = env!("CARGO_BIN_EXE_bootyard-ports");

/// Set for the children that two tests start from this same file; without it those do nothing.
const CHILD: &str = "BOOTYARD_TEST_CHILD";

/// Takes every capability from the calling thread. What it starts has root's again, as the installed program has its own.
fn give_up_capabilities() {
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none }).unwrap();
}

fn helper() -> Helper {
    Helper::spawn(Path::new(PROGRAM)).unwrap()
}

/// Process numbers of the programs in the calling thread's network namespace.
fn running() -> Vec<String> {
    let namespace = fs::read_link("/proc/thread-self/ns/net").unwrap();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter(|p| fs::read_to_string(p.path().join("comm")).is_ok_and(|c| c.trim() == "bootyard-ports"))
        .filter(|p| fs::read_link(p.path().join("ns/net")).is_ok_and(|n| n == namespace))
        .map(|p| p.file_name().into_string().unwrap())
        .collect()
}

fn bench_address() -> Ipv4Cidr {
    "192.168.99.1/24".parse().unwrap()
}

fn has_address(interface: &str) -> bool {
    ip(&["-4", "addr", "show", "dev", interface]).contains("192.168.99.1/24")
}

/// Waits up to `seconds` until the interface has lost the address.
fn loses_address(interface: &str, seconds: u64) -> bool {
    let until = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < until {
        if !has_address(interface) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    false
}

#[test]
fn by_hand_it_says_what_to_run_instead() {
    let out = Command::new(PROGRAM).stdin(Stdio::null()).output().unwrap();
    assert!(!out.status.success() && out.stdout.is_empty());
    assert!(String::from_utf8(out.stderr).unwrap().contains("run `bootyard` instead"));
}

#[test]
fn a_process_without_privileges_gets_its_ports_and_the_program_keeps_three_capabilities() {
    Bench::run("program", || {
        let program = helper();
        let pids = running();
        assert_eq!(pids.len(), 1);
        let status = fs::read_to_string(format!("/proc/{}/status", pids[0])).unwrap();
        for line in ["CapPrm:\t0000000000003400", "CapEff:\t0000000000003400", "CapBnd:\t0000000000000000"] {
            assert!(status.contains(line), "{line} in {status}");
        }
        assert!(status.contains("NoNewPrivs:\t1"));
        assert_eq!(fs::read_dir(format!("/proc/{}/fd", pids[0])).unwrap().count(), 3);
        assert_eq!(fs::read(format!("/proc/{}/environ", pids[0])).unwrap().iter().filter(|b| **b != 0).count(), 0);

        give_up_capabilities();
        let dhcp = UdpSpec {
            bind: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 67),
            interface: Some("right".to_owned()),
            broadcast: true,
            packet_info: true,
        };
        assert!(matches!(Direct.udp(&dhcp), Err(NetError::NoPrivilege { .. })));
        let socket = program.udp(&dhcp).unwrap();
        assert_eq!(socket.local_addr().unwrap().port(), 67);
        assert!(socket.broadcast().unwrap());
        let again = program.udp(&dhcp).unwrap_err();
        assert!(matches!(&again, NetError::Taken { port: 67, .. }), "{again}");

        let http = TcpSpec { bind: "192.168.77.1:80".parse().unwrap(), interface: None };
        let listener = program.tcp(&http).unwrap();
        assert_eq!(listener.local_addr().unwrap(), http.bind);
        let dns = UdpSpec { bind: "192.168.77.1:53".parse().unwrap(), ..dhcp };
        assert!(matches!(program.udp(&dns), Err(NetError::Refused(text)) if text.contains("UDP port 53")));

        use PacketUse::{ArpProbe, DhcpListen, DhcpReplies, DhcpWatch, Ipv4Send, RouterDiscovery};
        for purpose in [Ipv4Send, RouterDiscovery, DhcpListen, DhcpReplies, DhcpWatch, ArpProbe] {
            assert!(matches!(Direct.packet("left", purpose), Err(NetError::NoPrivilege { .. })));
            program.packet("left", purpose).unwrap();
        }
        drop(program);
        assert!(running().is_empty(), "it ends with the last who could ask it");
    });
}

#[test]
fn a_held_address_comes_and_goes_and_leaves_the_link_as_it_was() {
    Bench::run("held", || {
        ip(&["link", "set", "right", "down"]);
        let program = helper();
        let hold = program.hold_address("right", bench_address()).unwrap();
        assert_eq!(hold.describe(), "192.168.99.1/24 on right");
        let shown = ip(&["-4", "addr", "show", "dev", "right"]);
        assert!(shown.contains("192.168.99.1/24 brd 192.168.99.255") && shown.contains("valid_lft"), "{shown}");
        assert!(!shown.contains("forever") && ip(&["link", "show", "right"]).contains(",UP"));
        assert!(ip(&["route"]).contains("192.168.99.0/24 dev right"));
        drop(hold);
        assert!(!has_address("right") && ip(&["link", "show", "right"]).contains("state DOWN"));

        let pid = running().remove(0);
        Command::new("kill").args(["-TERM", &pid]).status().unwrap();
        let hold = program.hold_address("right", bench_address()).unwrap();
        assert_eq!(running(), [pid], "a service manager's signal does not end it before its parent");
        drop(program);
        assert!(has_address("right"), "a hold keeps the program");
        drop(hold);
        assert!(!has_address("right") && running().is_empty());
    });
}

#[test]
fn an_address_is_refused_where_it_would_do_harm() {
    Bench::run("refuse", || {
        let program = helper();
        let refused = |interface: &str, address: &str| {
            let error = program.hold_address(interface, address.parse().unwrap()).unwrap_err();
            assert_eq!(
                error.to_string(),
                Direct.hold_address(interface, address.parse().unwrap()).unwrap_err().to_string()
            );
            error.to_string()
        };
        assert!(refused("left", "192.168.99.1/24").contains("already has the address 192.168.77.1/24"));
        assert!(refused("right", "192.168.0.1/16").contains("overlaps 192.168.77.1/24 of left"));
        assert!(refused("right", "8.8.8.8/24").contains("private network"));
        assert!(refused("nowhere", "192.168.99.1/24").contains("no network interface `nowhere`"));
        ip(&["route", "add", "default", "dev", "right"]);
        assert!(refused("right", "192.168.99.1/24").contains("default route"));
    });
}

#[test]
fn a_direct_hold_comes_and_goes_too() {
    Bench::run("direct", || {
        ip(&["link", "set", "right", "down"]);
        let hold = bootyard_core::net::hold_address(&Direct, "right", bench_address()).unwrap();
        assert!(has_address("right"));
        drop(hold);
        assert!(!has_address("right") && ip(&["link", "show", "right"]).contains("state DOWN"));
    });
}

#[test]
fn the_kernel_takes_an_address_back_when_everybody_who_renewed_it_was_killed() {
    Bench::run("killed", || {
        let address = bench_address();
        let held = bootyard_ports::hold::Held::take("right", address.address, address.prefix, 2).unwrap();
        std::thread::sleep(Duration::from_millis(1500));
        held.renew().unwrap();
        std::thread::sleep(Duration::from_millis(1500));
        assert!(has_address("right"), "renewed in time it stays");
        std::mem::forget(held);
        assert!(loses_address("right", 10));
    });
}

#[test]
fn the_window_killed_takes_its_address_with_it() {
    Bench::run("window", || {
        // A child that holds an address and never lets go, as a window that is killed.
        let mut window = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "window_that_holds", "--nocapture"])
            .env(CHILD, "1")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let until = Instant::now() + Duration::from_secs(10);
        while !has_address("right") && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(has_address("right"));
        window.kill().unwrap();
        window.wait().unwrap();
        assert!(loses_address("right", 5), "the program sees the end of its input and takes it back");
    });
}

#[test]
fn window_that_holds() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let program = helper();
    let _hold = program.hold_address("right", bench_address()).unwrap();
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn root_becomes_the_owner_of_the_lab_and_keeps_what_it_opened() {
    Bench::run("drop", || {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "root_that_drops", "--nocapture"])
            .env(CHILD, "1")
            .output()
            .unwrap();
        assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
        assert!(!has_address("right"));
    });
}

#[test]
fn root_that_drops() {
    use std::os::unix::fs::chown;

    if std::env::var_os(CHILD).is_none() {
        return;
    }

    let lab = std::env::temp_dir().join(format!("bynet-lab-{}", std::process::id()));
    fs::create_dir(&lab).unwrap();
    drop_privileges(&lab).unwrap();
    assert!(rustix::process::geteuid().is_root(), "root's own lab is served as root");
    chown(&lab, Some(65534), Some(65534)).unwrap();

    let http = TcpSpec { bind: "192.168.77.1:80".parse().unwrap(), interface: None };
    let listener = Direct.tcp(&http).unwrap();
    let program = helper();
    let hold = program.hold_address("right", bench_address()).unwrap();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let other = std::thread::spawn(move || {
        let _ = stopped.recv();
        fs::read_to_string("/proc/thread-self/status").unwrap()
    });
    drop_privileges(&lab).unwrap();
    drop(stop);
    for status in [other.join().unwrap(), fs::read_to_string("/proc/thread-self/status").unwrap()] {
        for line in ["Uid:\t65534\t65534\t65534\t65534", "Gid:\t65534\t65534\t65534\t65534", "Groups:\t \n"] {
            assert!(status.contains(line), "{line} in {status}");
        }
        assert!(status.contains("CapPrm:\t0000000000000000") && status.contains("CapEff:\t0000000000000000"));
    }
    std::net::TcpStream::connect(http.bind).unwrap();
    drop(listener);
    let error = Direct.tcp(&http).unwrap_err().to_string();
    assert!(error.contains("no permission to listen on TCP port 80") && error.contains("packaging/run"), "{error}");
    assert!(program.tcp(&http).is_ok());
    drop(hold);
    let _ = fs::remove_dir(&lab);
}
