//! The answer to iPXE's router solicitation leaves the IPv6 of every other computer on the network alone, whether a router is there or
//! not: a Linux host beside it hears no advertisement of ours, and keeps what the router gave it.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bootyard_tests::bootyard::{LabDir, Serve, is};
use bootyard_tests::netns::Netns;
use bootyard_tests::qemu::{Firmware, Machine, Spec};
use bootyard_tests::run;
use serde_json::Value;

const MAC: &str = "52:54:00:00:0d:01";
/// An iPXE that boots over and over would be answered over and over; once is what is looked at.
const BOOT: Duration = Duration::from_secs(90);

/// A bench where a machine is to boot, and a Linux host that listens to routers.
struct Beside {
    bench: Netns,
    lab: LabDir,
    host: Netns,
}

impl Beside {
    fn new(tag: &str) -> Result<Self> {
        let bench = Netns::bench(tag, Some("192.168.77.1/24"))?;
        let mut lab = LabDir::new(&format!("ipv6-{tag}"), "mode = \"dhcp\"\nrange = \"192.168.77.20-192.168.77.40\"")?;
        lab.add_host(MAC, "bench-1", "\"local\"")?;
        let host = bench.plug(tag, "02:00:00:00:0d:02")?;
        // As a desktop has it; a namespace may have inherited something else.
        for (key, value) in [("disable_ipv6", "0"), ("accept_ra", "1"), ("autoconf", "1")] {
            host.tool("sysctl", &["-qw", &format!("net.ipv6.conf.eth0.{key}={value}")])?;
        }
        Ok(Self { bench, lab, host })
    }

    /// Boots a machine whose ROM is iPXE up to its script; whether its solicitation was answered, which beside a router it need not make.
    fn boot(&self) -> Result<bool> {
        let mut serve = Serve::start(&self.bench, &self.lab)?;
        let spec = Spec { firmware: Firmware::Bios, mac: MAC, memory: 256, name: "ipv6", serial: None };
        let _machine = Machine::start(&self.bench, self.lab.scratch(), &spec)?;
        serve.wait_for_event("the script", BOOT, |e| is(e, "script-served", MAC))?;
        // It is told of before the script that it makes way for, if it is.
        let answered = serve.saw(|e: &Value| is(e, "router-solicitation", MAC) && e["answered"] == true);
        ensure!(serve.terminate()?.success(), "{}", serve.stderr());
        Ok(answered)
    }

    /// What the host has of IPv6: its addresses, and its routes by routers.
    fn state(&self) -> Result<(Vec<String>, Vec<String>)> {
        let addresses = self.host.ip(&["-6", "-o", "address", "show", "dev", "eth0"])?;
        let addresses = addresses.lines().filter_map(|line| line.split_whitespace().nth(3)).map(str::to_owned);
        let mut addresses: Vec<_> = addresses.collect();
        addresses.sort();
        let routes = self.host.ip(&["-6", "route", "show", "proto", "ra"])?;
        let mut routes: Vec<_> =
            routes.lines().map(|line| line.split(" expires").next().unwrap_or_default().trim().to_owned()).collect();
        // What autoconfiguration adds on its own is the kernel's.
        routes.sort();
        Ok((addresses, routes))
    }

    /// Router advertisements that the host has received since it was plugged in.
    fn advertisements(&self) -> Result<u64> {
        let text = self.host.tool("cat", &["/proc/net/snmp6"])?;
        let line = text.lines().find(|line| line.starts_with("Icmp6InRouterAdvertisements"));
        let count = line.and_then(|line| line.split_whitespace().nth(1)).context("no count of advertisements")?;
        Ok(count.parse()?)
    }
}

#[test]
fn a_host_hears_nothing_of_it_where_no_router_is() -> Result<()> {
    let beside = Beside::new("ra-none")?;
    run::wait_until("the host's link-local address", Duration::from_secs(30), || {
        let (addresses, _) = beside.state()?;
        Ok(addresses.first().filter(|a| a.starts_with("fe80:")).map(|_| ()))
    })?;
    let before = beside.state()?;
    ensure!(beside.boot()?, "iPXE was left to wait for a router");
    ensure!(beside.advertisements()? == 0, "an advertisement reached the host");
    ensure!(beside.state()? == before && before.1.is_empty(), "{:?} became {:?}", before, beside.state()?);
    Ok(())
}

/// Debian's radvd, ended with the test.
struct Router {
    child: Child,
    // Its namespace goes after it.
    _ns: Netns,
}

impl Drop for Router {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Router {
    fn start(bench: &Netns, dir: &Path) -> Result<Self> {
        let ns = bench.plug("router", "02:00:00:00:0d:fe")?;
        ns.tool("sysctl", &["-qw", "net.ipv6.conf.all.forwarding=1", "net.ipv6.conf.eth0.disable_ipv6=0"])?;
        let config = dir.join("radvd.conf");
        std::fs::write(
            &config,
            "interface eth0 {\n  AdvSendAdvert on;\n  MinRtrAdvInterval 3;\n  MaxRtrAdvInterval 5;\n  AdvDefaultLifetime 60;\n  \
             prefix 2001:db8:77::/64 { };\n};\n",
        )?;
        let pid = dir.join("radvd.pid");
        let child = ns
            .command("radvd")
            .args(["-n", "-u", "root", "-m", "stderr", "-C"])
            .arg(&config)
            .arg("-p")
            .arg(&pid)
            .stdin(Stdio::null())
            .stderr(std::fs::File::create(dir.join("radvd.log"))?)
            .spawn()
            .context("radvd")?;
        Ok(Self { child, _ns: ns })
    }
}

#[test]
fn a_host_keeps_what_a_real_router_gave_it() -> Result<()> {
    let beside = Beside::new("ra-real")?;
    let _router = Router::start(&beside.bench, beside.lab.scratch())?;
    let configured = || -> Result<Option<(Vec<String>, Vec<String>)>> {
        let state = beside.state()?;
        let address = state.0.iter().any(|a| a.starts_with("2001:db8:77:"));
        let default = state.1.iter().any(|r| r.starts_with("default via fe80:"));
        Ok((address && default).then_some(state))
    };
    let before = run::wait_until("the router's prefix and route", Duration::from_secs(20), configured)?;
    ensure!(!beside.boot()?, "answered beside a router");
    ensure!(beside.state()? == before, "{before:?} became {:?}", beside.state()?);
    // Whoever advertises on this network is the router alone, and it still does.
    let count = beside.advertisements()?;
    run::wait_until("the router's next advertisement", Duration::from_secs(30), || {
        Ok((beside.advertisements()? > count).then_some(()))
    })?;
    ensure!(beside.state()? == before, "{before:?} became {:?}", beside.state()?);
    Ok(())
}
