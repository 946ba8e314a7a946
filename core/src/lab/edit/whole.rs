//! Whole entries, as a person would write them: what is as by default is left out.

use std::net::Ipv4Addr;
use std::time::Duration;

use toml_edit::{Array, ArrayOfTables, InlineTable, Item, Table, TableLike};

use super::tables::set;
use super::words::{
    allow_text, boot_value, iscsi_args_word, kind_word, lease, mode_word, path_text, seat_value, size_text,
};

use crate::lab::folder::LabError;
use crate::lab::schema::{Disk, FirmwareRule, Host, Lease, Mode, Network, Profile, Subnet, Unknown, Writes};
use crate::lab::{derived_iqn, duration_text};
use crate::net::Ipv4Range;

/// `[network]` without its interface, which is there.
pub(super) fn fill_network(table: &mut dyn TableLike, network: &Network) {
    if let Some(address) = network.address {
        set(table, "address", address.to_string().into());
    }
    if network.mode != Mode::Auto {
        set(table, "mode", mode_word(network.mode).into());
    }
    if network.force {
        set(table, "force", true.into());
    }
    common(table, &network.ranges, network.router, &network.dns, network.domain.as_deref());
    if network.lease != Lease::default() {
        set(table, "lease", lease(network.lease));
    }
    if let Unknown::Boot(boot) = &network.unknown {
        set(table, "unknown", boot_value(boot));
    }
    if network.wait_timeout != Duration::ZERO {
        set(table, "wait-timeout", duration_text(network.wait_timeout).into());
    }
    if network.subnets.is_empty() {
        return;
    }
    let mut list = ArrayOfTables::new();
    for subnet in &network.subnets {
        let mut inner = Table::new();
        fill_subnet(&mut inner, subnet);
        list.push(inner);
    }
    table.insert("subnet", Item::ArrayOfTables(list));
}

fn fill_subnet(table: &mut dyn TableLike, subnet: &Subnet) {
    set(table, "subnet", subnet.subnet.to_string().into());
    common(table, &subnet.ranges, subnet.router, &subnet.dns, subnet.domain.as_deref());
    if let Some(value) = subnet.lease {
        set(table, "lease", lease(value));
    }
}

fn common(
    table: &mut dyn TableLike,
    ranges: &[Ipv4Range],
    router: Option<Ipv4Addr>,
    dns: &[Ipv4Addr],
    domain: Option<&str>,
) {
    match ranges {
        [] => {}
        [one] => set(table, "range", one.to_string().into()),
        several => set(table, "range", several.iter().map(ToString::to_string).collect::<Array>().into()),
    }
    if let Some(router) = router {
        set(table, "router", router.to_string().into());
    }
    if !dns.is_empty() {
        set(table, "dns", dns.iter().map(ToString::to_string).collect::<Array>().into());
    }
    if let Some(domain) = domain {
        set(table, "domain", domain.into());
    }
}

/// `[[firmware]]`.
pub(super) fn fill_firmware(table: &mut dyn TableLike, rule: &FirmwareRule) {
    if let Some(arch) = rule.arch {
        set(table, "arch", arch.as_str().into());
    }
    if let Some(prefix) = &rule.mac_prefix {
        let bytes: Vec<String> = prefix.iter().map(|b| format!("{b:02x}")).collect();
        set(table, "mac", bytes.join(":").into());
    }
    set(table, "file", rule.file.as_str().into());
    if rule.https {
        set(table, "https", true.into());
    }
}

/// `[[host]]`.
pub(super) fn fill_host(table: &mut dyn TableLike, host: &Host) {
    match host.macs.as_slice() {
        [one] => set(table, "mac", one.to_string().into()),
        several => set(table, "mac", several.iter().map(ToString::to_string).collect::<Array>().into()),
    }
    if let Some(uuid) = host.uuid {
        set(table, "uuid", uuid.to_string().into());
    }
    let mut text = |key, value: Option<&str>| {
        if let Some(value) = value {
            set(table, key, value.into());
        }
    };
    text("name", host.name.as_ref().map(|n| n.as_str()));
    text("group", host.group.as_ref().map(|n| n.as_str()));
    text("address", host.address.map(|a| a.to_string()).as_deref());
    text("firmware", host.firmware.as_deref());
    if let Some(seat) = host.seat {
        set(table, "seat", seat_value(seat));
    }
    if let Some(boot) = &host.boot {
        set(table, "boot", boot_value(boot));
    }
}

/// `[[disk]]`.
pub(super) fn fill_disk(table: &mut dyn TableLike, disk: &Disk, image: &str) {
    set(table, "name", disk.name.as_str().into());
    set(table, "image", image.into());
    if let Some(size) = disk.size {
        set(table, "size", size_text(size).into());
    }
    if disk.iqn != derived_iqn(&disk.name) && !disk.iqn.is_empty() {
        set(table, "iqn", disk.iqn.as_str().into());
    }
    match disk.writes {
        Writes::Keep => {}
        Writes::Fresh => set(table, "writes", "fresh".into()),
        Writes::Image => set(table, "writes", "image".into()),
    }
    if let Some(chap) = &disk.chap {
        let mut inner = InlineTable::new();
        inner.insert("user", chap.user.as_str().into());
        inner.insert("secret", chap.secret.expose().into());
        if let Some((user, secret)) = &chap.mutual {
            inner.insert("mutual-user", user.as_str().into());
            inner.insert("mutual-secret", secret.expose().into());
        }
        set(table, "chap", inner.into());
    }
    if !disk.allow.is_empty() {
        set(table, "allow", disk.allow.iter().map(allow_text).collect::<Array>().into());
    }
    if let Some(to) = disk.redirect {
        set(table, "redirect", to.to_string().into());
    }
    for (key, on) in [("readonly", disk.readonly), ("removable", disk.removable)] {
        if on {
            set(table, key, true.into());
        }
    }
}

/// The paths of a profile as text.
pub(super) struct ProfileTexts<'p> {
    kernel: &'p str,
    initrds: Vec<&'p str>,
    answers: Option<&'p str>,
    hypervisor: Option<&'p str>,
    hypervisor_efi: Option<&'p str>,
}

impl<'p> ProfileTexts<'p> {
    pub(super) fn of(profile: &'p Profile) -> Result<Self, LabError> {
        Ok(Self {
            kernel: path_text(&profile.kernel)?,
            initrds: profile.initrds.iter().map(|p| path_text(p)).collect::<Result<Vec<_>, _>>()?,
            answers: profile.answers.as_deref().map(path_text).transpose()?,
            hypervisor: profile.hypervisor.as_deref().map(path_text).transpose()?,
            hypervisor_efi: profile.hypervisor_efi.as_deref().map(path_text).transpose()?,
        })
    }
}

/// `[[profile]]`.
pub(super) fn fill_profile(table: &mut dyn TableLike, profile: &Profile, texts: &ProfileTexts<'_>) {
    let mut text = |key, value: &str| {
        if !value.is_empty() {
            set(table, key, value.into());
        }
    };
    text("name", profile.name.as_str());
    text("kernel", texts.kernel);
    text("args", &profile.args);
    text("answers", texts.answers.unwrap_or_default());
    text("kind", profile.kind.map(kind_word).unwrap_or_default());
    text("hypervisor", texts.hypervisor.unwrap_or_default());
    text("hypervisor-efi", texts.hypervisor_efi.unwrap_or_default());
    text("hypervisor-args", &profile.hypervisor_args);
    text("iscsi-args", profile.iscsi_args.map(iscsi_args_word).unwrap_or_default());
    if !texts.initrds.is_empty() {
        set(table, "initrd", texts.initrds.iter().copied().collect::<Array>().into());
    }
    if !profile.arch.is_empty() {
        set(table, "arch", profile.arch.iter().map(|a| a.as_str()).collect::<Array>().into());
    }
}
