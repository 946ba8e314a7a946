//! From the engine's state to the parts of a [`Snapshot`](crate::api::Snapshot) that need more than a copy.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::api::{Finding, HostId, HostView, NetworkView, Severity};
use crate::boot::{Decision, Plan, PlanNetwork, assignment};
use crate::diagnose::Findings;
use crate::hosts::{Directory, Host};
use crate::lab::{Boot, Lab, Mode};
use crate::lang::{fill, finding, sentence};
use crate::net::{Interface, vendor};

/// What a machine gets: on the network of its address, or on the first one where it has none yet.
pub(super) fn boot_of(plan: &Plan, directory: &Directory, id: HostId, ip: Option<IpAddr>) -> Option<Decision<Boot>> {
    let mac = *directory.macs(id).first()?;
    let of_ip = ip.and_then(|ip| match ip {
        IpAddr::V4(ip) => plan.network_of(ip),
        IpAddr::V6(_) => None,
    });
    let network = of_ip.or_else(|| plan.networks.first())?;
    Some(assignment(plan, network, mac, directory.uuid(id)))
}

/// One machine as it is shown.
pub(super) fn host_view(
    id: HostId,
    host: &Host,
    findings: &Findings,
    lab: &Lab,
    entry: Option<usize>,
    plan: &Plan,
    directory: &Directory,
) -> HostView {
    let entry = entry.and_then(|i| lab.hosts.get(i));
    let boot = match boot_of(plan, directory, id, host.ip) {
        Some(decision) => decision.value,
        None => entry.and_then(|e| e.boot.clone()).unwrap_or_default(),
    };
    let missing = plan.missing(&boot).map(|name| fill(sentence("boot-problem", "missing"), &[("name", &name)]));
    let unfit = plan.unfit(&boot, host.arch).zip(host.arch);
    let boot_problem = missing.or_else(|| {
        unfit.map(|(name, arch)| fill(sentence("boot-problem", "unfit"), &[("name", &name), ("arch", &arch)]))
    });
    let activity = host.activity();
    let mut findings = findings.list();
    if let Some(finding) = firmware_finding(host, plan) {
        findings.insert(0, finding);
    }
    HostView {
        id,
        macs: directory.macs(id).to_vec(),
        uuid: directory.uuid(id),
        name: entry.and_then(|e| e.name.as_ref()).map(ToString::to_string).or_else(|| host.hostname.clone()),
        named: entry.is_some_and(|e| e.name.is_some()),
        group: entry.and_then(|e| e.group.as_ref()).map(ToString::to_string),
        seat: entry.and_then(|e| e.seat),
        vendor: directory.macs(id).iter().find_map(|mac| vendor(*mac)).map(str::to_owned),
        configured: entry.is_some(),
        ip: host.ip,
        arch: host.arch,
        client: host.client,
        manufacturer: host.manufacturer.clone(),
        product: host.product.clone(),
        serial: host.serial.clone(),
        memory_mib: host.memory_mib,
        boot,
        assigned: entry.is_some_and(|e| e.boot.is_some()),
        boot_problem,
        stage: host.stage,
        since: host.since,
        progress: activity.map(|(_, p)| p),
        activity: activity.map(|(name, _)| name.to_owned()),
        timeline: host.timeline.clone(),
        findings,
        first_seen: host.first_seen,
        last_seen: host.last_seen,
        woken: host.woken,
    }
}

/// A machine whose architecture has no boot file here will never get past its firmware.
fn firmware_finding(host: &Host, plan: &Plan) -> Option<Finding> {
    let arch = host.arch?;
    if plan.networks.is_empty() || plan.firmware.contains_key(&arch.without_http()) {
        return None;
    }
    let remedy = crate::boot::firmware_remedy(arch);
    Some(finding("firmware-missing", Severity::Error, &[("arch", &arch), ("remedy", &remedy)]))
}

/// The networks of lab.toml with what is in force.
pub(super) fn networks(
    lab: &Lab,
    plan: &Plan,
    because: &HashMap<String, String>,
    foreign: &HashMap<String, Vec<std::net::Ipv4Addr>>,
    interfaces: &[Interface],
    hosts: impl Iterator<Item = IpAddr>,
) -> Vec<NetworkView> {
    let held: Vec<_> = hosts.collect();
    lab.networks
        .iter()
        .map(|network| {
            let serving = plan.networks.iter().find(|n| n.interface == network.interface);
            let address = serving
                .map(|n| n.address)
                .or_else(|| interfaces.iter().find(|i| i.name == network.interface)?.addresses.first().copied())
                .or(network.address);
            let in_net = |n: &PlanNetwork| {
                held.iter().filter(|ip| matches!(ip, IpAddr::V4(v4) if n.address.contains(*v4))).count() as u64
            };
            NetworkView {
                interface: network.interface.clone(),
                address: address.map(|a| a.to_string()),
                configured: mode_name(network.mode).to_owned(),
                mode: serving.map(|n| mode_name(n.mode).to_owned()),
                because: because.get(&network.interface).cloned(),
                pool: match &network.ranges[..] {
                    [] => address.map_or(0, |a| (1u64 << (32 - u32::from(a.prefix))).saturating_sub(3)),
                    ranges => ranges.iter().map(|r| r.count()).sum(),
                },
                leased: serving.filter(|n| n.mode == Mode::Dhcp).map_or(0, in_net),
                foreign: foreign.get(&network.interface).cloned().unwrap_or_default(),
            }
        })
        .collect()
}

/// The word of lab.toml.
pub(super) fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Dhcp => "dhcp",
        Mode::Proxy => "proxy",
        Mode::Auto => "auto",
    }
}

/// What a machine without an assignment gets: of the first network in service, else as lab.toml says for it.
pub(super) fn unknown(lab: &Lab, plan: &Plan) -> Option<Boot> {
    if let Some(network) = plan.networks.first() {
        return Some(plan.unknown(network));
    }
    match &lab.networks.first()?.unknown {
        crate::lab::Unknown::Boot(boot) => Some(boot.clone()),
        crate::lab::Unknown::ByMode => None,
    }
}
