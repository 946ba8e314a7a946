//! The self-test: a machine that does not exist boots from our own servers, and what it met is said.
//!
//! Its packets are real, and so are the sockets that take them. A broadcast that is sent on an interface comes back to the sockets
//! of this computer on that interface (Linux' `ip_mc_output`), so a DISCOVER reaches our DHCP server as a machine's would, the
//! firewall's rules for broadcasts included, and goes out of the port, too. The replies are frames for a machine elsewhere; a packet
//! socket that sees what leaves shows them. TFTP, HTTP and iSCSI are asked at our address on that interface: such packets stay inside
//! this computer but are taken by the very sockets that serve the interface, because the kernel counts them as come in there.
//!
//! What it does not cover: the cable, the switch and its ports, the firewall's rules for what comes in by unicast (the check
//! [`super::firewall`] walks those), and a firmware's own whims.
//!
//! The machine has one locally administered hardware address, [`SELF_TEST`](crate::net::SELF_TEST). The engine keeps it out of lab.db, the list of machines and
//! the history, opens disks for it for reading only, and forgets it at the end.

mod dhcp;
mod fetch;
mod iscsi;

use std::fmt::Display;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use self::dhcp::{Client, Kind, Told};
use super::{About, Check, Facts, Row, State};
use crate::boot::script::host_path;
use crate::boot::{Plan, PlanNetwork, base_url, initiator_name};
use crate::lab::{Boot, Install, InstallThen, IscsiBoot, IscsiVia, Mode};
use crate::lang::Param;
use crate::net::SELF_TEST as MAC;

/// As much of a kernel as shows that it is served.
const HEAD: u64 = 4096;

/// What the engine does for the self-test.
pub(crate) trait Stage: Send + Sync {
    /// From now on the machine gets this, and is taken for the one that asks from `server`, our own address.
    fn give(&self, server: Ipv4Addr, boot: Boot) -> Arc<Plan>;

    /// So many of so many things were tried.
    fn tried(&self, done: u64, of: u64);

    /// Whether somebody called it off.
    fn is_cancelled(&self) -> bool;
}

/// See the module's text. Needs servers that run.
pub(crate) struct SelfTest(pub(crate) Arc<dyn Stage>);

impl Check for SelfTest {
    fn name(&self) -> &'static str {
        "self-test"
    }

    fn limit(&self) -> Duration {
        Duration::from_secs(120)
    }

    fn look(&self, facts: &Facts) -> Vec<Row> {
        let mut rows = Vec::new();
        self.tell(facts, &mut |row| rows.push(row));
        rows
    }

    fn tell(&self, facts: &Facts, tell: &mut dyn FnMut(Row)) {
        let serving: Vec<&PlanNetwork> = facts.places.iter().filter_map(|place| place.serving.as_ref()).collect();
        if serving.is_empty() {
            return tell(About("self-test", "").row("not-serving", State::Unknown, &[]));
        }
        let lab = &facts.lab;
        let each = Kind::ALL.len() + lab.profiles.len() + lab.disks.iter().filter(|d| d.redirect.is_none()).count();
        let of = u64::try_from(each * serving.len()).unwrap_or(u64::MAX);
        for (at, network) in serving.into_iter().enumerate() {
            let mut steps = Steps { done: u64::try_from(each * at).unwrap_or(u64::MAX), of };
            self.on(facts, network, &mut steps, tell);
        }
        self.0.tried(of, of);
    }
}

type Words<'a> = Vec<Param<'a>>;

/// How far it is.
struct Steps {
    done: u64,
    of: u64,
}

impl SelfTest {
    /// The next thing is tried; false when nobody wants to know any more.
    fn next(&self, facts: &Facts, steps: &mut Steps) -> bool {
        self.0.tried(steps.done, steps.of);
        steps.done += 1;
        !facts.is_cancelled() && !self.0.is_cancelled()
    }

    fn on(&self, facts: &Facts, network: &PlanNetwork, steps: &mut Steps, tell: &mut dyn FnMut(Row)) {
        let (interface, server) = (&network.interface, network.address.address);
        let mut plan = self.0.give(server, Boot::Wait);
        let client = match Client::open(&*facts.ports, network) {
            Ok(client) => client,
            Err(error) => {
                let words: Words<'_> = vec![("interface", interface), ("error", &error)];
                return tell(About("self-test", interface).row("no-client", State::Unknown, &words));
            }
        };
        for kind in Kind::ALL {
            if !self.next(facts, steps) {
                return;
            }
            // Without a boot file for it there is nothing to find out; the check of the firmware says so.
            if kind.arch().is_some_and(|arch| !plan.firmware.contains_key(&arch.without_http())) {
                continue;
            }
            tell(boot(&client, network, kind));
        }
        client.release();
        let profiles: Vec<_> = plan.lab.profiles.iter().map(|p| p.name.clone()).collect();
        for profile in profiles {
            if !self.next(facts, steps) {
                return;
            }
            plan = self.0.give(server, Boot::Install(Install { profile: profile.clone(), then: InstallThen::Local }));
            tell(kernel(&plan, network, profile.as_str()));
        }
        let disks: Vec<_> = plan.lab.disks.iter().filter(|d| d.redirect.is_none()).map(|d| d.name.clone()).collect();
        for disk in disks {
            if !self.next(facts, steps) {
                return;
            }
            let iscsi = IscsiBoot { disk: disk.clone(), profile: None, via: IscsiVia::Script, writes: None };
            plan = self.0.give(server, Boot::Iscsi(iscsi));
            if let Some(disk) = plan.lab.disk(&disk) {
                tell(login(&plan, network, disk));
            }
        }
        tell(About("self-test", &format!("scope@{interface}")).row("scope", State::Ok, &[("interface", interface)]));
    }
}

/// One kind of machine from its DISCOVER to its boot file or script.
fn boot(client: &Client<'_>, network: &PlanNetwork, kind: Kind) -> Row {
    let (what, interface) = (format!("{}@{}", kind.word(), network.interface), &network.interface);
    let about = About("self-test", &what);
    let mut words: Words<'_> = vec![("interface", interface), ("kind", &kind)];
    let offer = match client.discover(kind) {
        Ok(offer) => offer,
        Err(error) => {
            words.push(("error", &error));
            return about.row("no-offer", State::Failed, &words);
        }
    };
    let told = match (kind, network.mode) {
        (Kind::UefiBootServer, _) => client.ask_boot_server(kind),
        // Beside another server ours gives no address, and its offer is the whole answer, unless it sends to the boot server.
        (_, Mode::Proxy) if offer.file.is_none() => client.ask_boot_server(kind),
        (_, Mode::Proxy) => Ok(offer.clone()),
        _ => client.request(kind, &offer),
    };
    let told = match told {
        Ok(told) => told,
        Err(error) => {
            words.push(("error", &error));
            return about.row("no-ack", State::Failed, &words);
        }
    };
    let address = match network.mode {
        Mode::Proxy => "the other server's address".to_owned(),
        _ => offer.address.to_string(),
    };
    let Some(file) = told.file.clone() else { return about.row("no-file", State::Failed, &words) };
    let fetched = fetch(network, kind, &told, &file);
    words.extend([("address", &address as &dyn Display), ("file", &file)]);
    match fetched {
        Ok(bytes) => {
            words.push(("bytes", &bytes));
            about.row("boots", State::Ok, &words)
        }
        Err(error) => {
            words.push(("error", &error));
            about.row("no-bytes", State::Failed, &words)
        }
    }
}

/// The boot file or script that it was told of; how many bytes came.
fn fetch(network: &PlanNetwork, kind: Kind, told: &Told, file: &str) -> Result<usize, String> {
    if file.starts_with("http://") {
        let got = fetch::http(network.address.address, file, kind.agent(), None)?;
        if kind.is_script() && !got.body.starts_with(b"#!") {
            return Err("what came is no script".into());
        }
        return Ok(got.body.len());
    }
    let server = told.next_server.filter(|s| !s.is_unspecified()).unwrap_or(network.address.address);
    if server != network.address.address {
        return Err(format!("it was sent to {server} for it, which is not this computer"));
    }
    fetch::tftp(server, file)
}

/// The first bytes of the kernel that a profile's script names.
fn kernel(plan: &Plan, network: &PlanNetwork, profile: &str) -> Row {
    let (what, interface) = (format!("profile-{profile}@{}", network.interface), &network.interface);
    let about = About("self-test", &what);
    let server = network.address.address;
    let script = format!("{}{}/script.ipxe", base_url(plan, server), host_path(MAC));
    let found = fetch::http(server, &script, "iPXE/1.21.1", None).and_then(|script| {
        let text = String::from_utf8_lossy(&script.body).into_owned();
        let url = text.split_whitespace().find(|word| word.starts_with("http://") && word.contains("/kernel/"));
        let url = url.ok_or("the script names no kernel")?;
        let head = fetch::http(server, url, "iPXE/1.21.1", Some(HEAD))?;
        Ok((url.to_owned(), head.total.unwrap_or(head.body.len() as u64)))
    });
    match found {
        Ok((url, total)) => {
            let words: Words<'_> =
                vec![("interface", interface), ("profile", &profile), ("url", &url), ("bytes", &total)];
            about.row("kernel", State::Ok, &words)
        }
        Err(error) => {
            let words: Words<'_> = vec![("interface", interface), ("profile", &profile), ("error", &error)];
            about.row("no-kernel", State::Failed, &words)
        }
    }
}

/// A login to a disk and its first blocks.
fn login(plan: &Plan, network: &PlanNetwork, disk: &crate::lab::Disk) -> Row {
    let (what, name) = (format!("disk-{}@{}", disk.name, network.interface), disk.name.as_str());
    let about = About("self-test", &what);
    let portal = SocketAddrV4::new(network.address.address, plan.lab.ports.iscsi);
    match iscsi::first_blocks(portal, &initiator_name(MAC), &disk.iqn) {
        Ok(read) => {
            let words: Words<'_> = vec![("disk", &name), ("bytes", &read.first), ("size", &read.size)];
            about.row("disk", State::Ok, &words)
        }
        // We have no business with its secret: that it is asked for is what a machine would meet.
        Err(iscsi::Failure::Refused(0x0201)) if disk.chap.is_some() => about.row("chap", State::Ok, &[("disk", &name)]),
        Err(error) => about.row("no-disk", State::Failed, &[("disk", &name), ("error", &error)]),
    }
}
