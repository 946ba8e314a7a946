//! Kea's JSON.

use serde_json::{Map, Value, json};

use super::site::{File, Script, Site};

pub(super) fn write(site: &Site<'_>) -> String {
    let interfaces: Vec<&str> = site.scopes.iter().filter(|s| s.own).map(|s| s.interface.as_str()).collect();
    let dhcp4 = json!({
        "interfaces-config": { "interfaces": interfaces },
        "lease-database": { "type": "memfile", "lfc-interval": 3600 },
        "authoritative": true,
        "client-classes": classes(site),
        "subnet4": subnets(site),
        "reservations-global": outside(site),
        "reservations-in-subnet": true,
        "reservations": reservations(site, None),
    });
    let text = serde_json::to_string_pretty(&json!({ "Dhcp4": dhcp4 })).unwrap_or_default();
    format!("// Written by `bootyard export kea`.\n{text}\n")
}

/// Whether machines have entries outside of all subnets.
fn outside(site: &Site<'_>) -> bool {
    !reservations(site, None).is_empty()
}

fn subnets(site: &Site<'_>) -> Vec<Value> {
    let one = |(n, scope): (usize, &super::site::Scope)| {
        let pools: Vec<Value> =
            scope.ranges.iter().map(|r| json!({ "pool": format!("{} - {}", r.first(), r.last()) })).collect();
        let mut options = Vec::new();
        let mut option = |name: &str, data: String| options.push(json!({ "name": name, "data": data }));
        if let Some(router) = scope.router {
            option("routers", router.to_string());
        }
        if !scope.dns.is_empty() {
            option("domain-name-servers", scope.dns.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "));
        }
        if let Some(domain) = &scope.domain {
            option("domain-name", domain.clone());
        }
        json!({
            "id": n + 1,
            "subnet": scope.subnet.to_string(),
            "next-server": scope.server.to_string(),
            "valid-lifetime": scope.lease.default.as_secs(),
            "max-valid-lifetime": scope.lease.max.as_secs(),
            "pools": pools,
            "option-data": options,
            "reservations": reservations(site, Some(n)),
        })
    };
    site.scopes.iter().enumerate().map(one).collect()
}

/// The machines whose address is in this subnet; `None`: in none. Those without an address are the first subnet's.
fn reservations(site: &Site<'_>, scope: Option<usize>) -> Vec<Value> {
    let of = |machine: &super::site::Machine<'_>| match machine.address {
        Some(address) => site.scopes.iter().position(|s| s.subnet.contains(address)),
        None => Some(0),
    };
    let one = |machine: &super::site::Machine<'_>| {
        let mut out = Map::new();
        out.insert("hw-address".into(), machine.mac.to_string().into());
        if let Some(address) = machine.address {
            out.insert("ip-address".into(), address.to_string().into());
        }
        if machine.host.name.is_some() {
            out.insert("hostname".into(), machine.name.clone().into());
        }
        Value::Object(out)
    };
    site.machines.iter().filter(|m| of(m) == scope && (m.address.is_some() || m.host.name.is_some())).map(one).collect()
}

/// Of several classes that a client is in, the first one's file is taken: machines come before everybody.
fn classes(site: &Site<'_>) -> Vec<Value> {
    let mut out = vec![
        json!({ "name": "iPXE", "test": "option[77].hex == 'iPXE'" }),
        json!({ "name": "gPXE", "test": "option[175].exists and not member('iPXE')" }),
    ];
    let quiet: Vec<String> = site
        .machines
        .iter()
        .filter(|m| m.script == Script::None)
        .map(|m| format!("pkt4.mac == {}", hex(m.mac)))
        .collect();
    let mut but = String::new();
    if !quiet.is_empty() {
        out.push(json!({ "name": "quiet", "test": quiet.join(" or ") }));
        but = " and not member('quiet')".to_owned();
    }
    for (n, machine) in site.machines.iter().enumerate() {
        let is = format!(" and pkt4.mac == {}", hex(machine.mac));
        if machine.host.boot.is_some() {
            script(&mut out, &machine.script, &format!("host{n}"), &is);
        }
        if let Some(own) = machine.files.as_deref().filter(|_| machine.script != Script::None) {
            files(&mut out, own, &format!("host{n}"), &is);
        }
    }
    files(&mut out, &site.files, "all", &but);
    script(&mut out, &site.script, "all", &but);
    out
}

fn hex(mac: crate::net::MacAddr) -> String {
    mac.0.iter().fold("0x".to_owned(), |text, b| text + &format!("{b:02x}"))
}

fn script(out: &mut Vec<Value>, script: &Script, name: &str, more: &str) {
    for kind in ["iPXE", "gPXE"] {
        let test = format!("member('{kind}'){more}");
        let name = format!("{name}-{kind}");
        match script {
            Script::Url(url) => {
                let file = format!("{url}.{}", kind.to_ascii_lowercase());
                out.push(json!({ "name": name, "test": test, "boot-file-name": file }));
            }
            // There is none: see `Site::scripts_only`.
            Script::Root(..) | Script::None => {}
        }
    }
}

fn files(out: &mut Vec<Value>, files: &[File], name: &str, more: &str) {
    for file in files {
        let class = if file.http { "HTTPClient" } else { "PXEClient" };
        let test = format!(
            "substring(option[60].hex,0,{}) == '{class}' and option[93].hex == 0x{:04x} and not option[175].exists{more}",
            class.len(),
            file.arch
        );
        let mut options = vec![json!({ "name": "vendor-class-identifier", "data": class })];
        if !file.http {
            // Discovery control 8: the file of this offer, no boot server.
            options.push(json!({ "name": "vendor-encapsulated-options", "csv-format": false, "data": "060108ff" }));
        }
        out.push(json!({
            "name": format!("{name}-{class}-{}", file.arch),
            "test": test,
            "boot-file-name": file.name,
            "option-data": options,
        }));
    }
}
