//! dnsmasq.conf.

use super::site::{File, Machine, Script, Site};

pub(super) fn write(site: &Site<'_>) -> String {
    let mut out = String::from("# Written by `bootyard export dnsmasq`.\nport=0\nbind-dynamic\ndhcp-authoritative\n");
    let mut line = |text: String| {
        out.push_str(&text);
        out.push('\n');
    };
    for scope in site.scopes.iter().filter(|s| s.own) {
        line(format!("interface={}", scope.interface));
    }
    line("enable-tftp".into());
    line(format!("tftp-root={}", site.subject.place.join("tftp").display()));
    // Who asks.
    for text in [
        "dhcp-match=set:scripts,175",
        "dhcp-userclass=set:ipxe,iPXE",
        "tag-if=set:gpxe,tag:scripts,tag:!ipxe",
        "dhcp-vendorclass=set:pxe,PXEClient",
        "dhcp-vendorclass=set:http,HTTPClient",
    ] {
        line(text.into());
    }
    let mut arches: Vec<u16> = site.all_files().map(|f| f.arch).collect();
    arches.sort_unstable();
    arches.dedup();
    for arch in arches {
        line(format!("dhcp-match=set:arch{arch},option:client-arch,{arch}"));
    }
    for (n, scope) in site.scopes.iter().enumerate() {
        line(String::new());
        let mask = scope.subnet.mask();
        if scope.proxy {
            line(format!("dhcp-range=set:net{n},{},proxy,{mask}", scope.subnet.network()));
            continue;
        }
        let lease = scope.lease.default.as_secs();
        for range in &scope.ranges {
            line(format!("dhcp-range=set:net{n},{},{},{mask},{lease}s", range.first(), range.last()));
        }
        match scope.router {
            Some(router) => line(format!("dhcp-option=tag:net{n},option:router,{router}")),
            // Else dnsmasq names itself.
            None => line(format!("dhcp-option=tag:net{n},option:router")),
        }
        if scope.dns.is_empty() {
            line(format!("dhcp-option=tag:net{n},option:dns-server"));
        } else {
            let list: Vec<String> = scope.dns.iter().map(ToString::to_string).collect();
            line(format!("dhcp-option=tag:net{n},option:dns-server,{}", list.join(",")));
        }
        if let Some(domain) = &scope.domain {
            line(format!("dhcp-option=tag:net{n},option:domain-name,{domain}"));
        }
    }
    line(String::new());
    let own = site.machines.iter().filter(|m| m.script != Script::None).flat_map(|m| m.files.iter().flatten());
    if site.files.iter().chain(own).any(|f| f.http) {
        line("dhcp-option-force=tag:http,60,HTTPClient".into());
    }
    let quiet = site.machines.iter().any(|m| m.script == Script::None);
    let rooted = site.machines.iter().any(|m| matches!(m.script, Script::Root(..)));
    let mut but = String::new();
    if quiet {
        but.push_str(",tag:!quiet");
    }
    let script_but = if rooted { format!("{but},tag:!san") } else { but.clone() };
    files(&mut line, &site.files, "", &but, site);
    script(&mut line, &site.script, "", &script_but);
    let beside = site.scopes.iter().find(|s| s.proxy).map(|s| s.server);
    if let Some(server) = beside {
        // A service outweighs every `dhcp-boot`, so that a machine with a file of its own has a service of its own and no other.
        let own = site.machines.iter().any(|m| own_files(m).is_some());
        let but = if own { format!("{but},tag:!own") } else { but };
        services(&mut line, &site.files, &but, server);
    }
    if site.beside() {
        if quiet {
            line("dhcp-ignore=tag:quiet".into());
        }
        if site.script == Script::None {
            line("dhcp-ignore=tag:!known".into());
        }
    }
    for (n, machine) in site.machines.iter().enumerate() {
        line(String::new());
        let mut sets = format!("set:host{n}");
        match machine.script {
            Script::None => sets.push_str(",set:quiet"),
            Script::Root(..) => sets.push_str(",set:san"),
            Script::Url(_) => {}
        }
        if own_files(machine).is_some() && beside.is_some() {
            sets.push_str(",set:own");
        }
        let address = machine.address.map(|a| format!(",{a}")).unwrap_or_default();
        let named = machine.host.name.is_some() && !is_own_word(&machine.name);
        let name = if named { format!(",{}", machine.name) } else { String::new() };
        line(format!("dhcp-host={},{sets}{address}{name}", machine.mac));
        // Later lines outweigh earlier ones.
        if let Some(own) = own_files(machine) {
            files(&mut line, own, &format!("tag:host{n},"), "", site);
            if let Some(server) = beside {
                services(&mut line, own, &format!(",tag:host{n}"), server);
            }
        }
        if machine.host.boot.is_some() {
            script(&mut line, &machine.script, &format!("tag:host{n},"), "");
        }
    }
    line(String::new());
    line("dhcp-option=tag:scripts,encap:175,176,1b".into());
    out
}

/// The boot files that only this machine is given.
fn own_files<'m>(machine: &'m Machine<'_>) -> Option<&'m [File]> {
    machine.files.as_deref().filter(|_| machine.script != Script::None)
}

fn files(line: &mut impl FnMut(String), files: &[File], tags: &str, but: &str, site: &Site<'_>) {
    let server = site.network.address.address;
    for file in files {
        let class = if file.http { "http" } else { "pxe" };
        line(format!("dhcp-boot={tags}tag:{class},tag:arch{},tag:!scripts{but},{},,{server}", file.arch, file.name));
    }
}

fn script(line: &mut impl FnMut(String), script: &Script, tags: &str, but: &str) {
    match script {
        Script::Url(url) => {
            for kind in ["ipxe", "gpxe"] {
                line(format!("dhcp-boot={tags}tag:{kind}{but},{url}.{kind}"));
            }
        }
        Script::Root(path, initiator) => {
            line(format!("dhcp-option={tags}tag:scripts,option:root-path,\"{path}\""));
            line(format!("dhcp-option={tags}tag:scripts,203,\"{initiator}\""));
        }
        Script::None => {}
    }
}

/// Whether dnsmasq takes this for a lease time or for a word of its own, wherever it stands in a `dhcp-host`.
pub(super) fn is_own_word(name: &str) -> bool {
    let number = name.strip_suffix(['s', 'm', 'h', 'd', 'w']).unwrap_or(name);
    matches!(name, "ignore" | "infinite") || (!number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

/// Beside another server, firmware takes a service of its architecture; UEFI takes none where there are several.
fn services(line: &mut impl FnMut(String), files: &[File], tags: &str, server: std::net::Ipv4Addr) {
    for file in files.iter().filter(|f| !f.http) {
        let name = match file.arch {
            0 => "x86PC",
            6 => "IA32_EFI",
            // dnsmasq's words since 2.76, which follow what firmware sends.
            7 => "x86-64_EFI",
            9 => "BC_EFI",
            10 => "ARM32_EFI",
            11 => "ARM64_EFI",
            _ => continue,
        };
        line(format!("pxe-service=tag:!scripts{tags},{name},\"Bootyard\",{},{server}", file.name));
    }
}
