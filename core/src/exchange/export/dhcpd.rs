//! ISC dhcpd.conf.

use std::fmt::Write as _;

use super::site::{File, Scope, Script, Site};

pub(super) fn write(site: &Site<'_>) -> String {
    let mut out = String::from(
        "# Written by `bootyard export dhcpd`.\n\
         authoritative;\n\
         ddns-update-style none;\n\
         use-host-decl-names on;\n\
         option space ipxe;\n\
         option ipxe-encap-opts code 175 = encapsulate ipxe;\n\
         option ipxe.no-pxedhcp code 176 = unsigned integer 8;\n\
         option ipxe.bus-id code 177 = string;\n\
         option client-arch code 93 = unsigned integer 16;\n\
         option iscsi-initiator-iqn code 203 = string;\n",
    );
    for scope in &site.scopes {
        out.push_str(&subnet(site, scope));
    }
    for machine in &site.machines {
        let _infallible = writeln!(out, "\nhost {} {{", machine.name);
        let _infallible = writeln!(out, "    hardware ethernet {};", machine.mac);
        if let Some(address) = machine.address {
            let _infallible = writeln!(out, "    fixed-address {address};");
        }
        let plain = machine.host.boot.is_none() && machine.files.is_none();
        if !plain {
            let files = machine.files.as_deref().unwrap_or(&site.files);
            boot(&mut out, &machine.script, files);
        }
        out.push_str("}\n");
    }
    out
}

fn subnet(site: &Site<'_>, scope: &Scope) -> String {
    let mut out = String::new();
    let mut line = |text: String| {
        out.push_str("    ");
        out.push_str(&text);
        out.push('\n');
    };
    for range in &scope.ranges {
        line(format!("range {} {};", range.first(), range.last()));
    }
    if let Some(router) = scope.router {
        line(format!("option routers {router};"));
    }
    if !scope.dns.is_empty() {
        let list: Vec<String> = scope.dns.iter().map(ToString::to_string).collect();
        line(format!("option domain-name-servers {};", list.join(", ")));
    }
    if let Some(domain) = &scope.domain {
        line(format!("option domain-name \"{domain}\";"));
    }
    line(format!("default-lease-time {};", scope.lease.default.as_secs()));
    line(format!("max-lease-time {};", scope.lease.max.as_secs()));
    line(format!("next-server {};", scope.server));
    boot(&mut out, &site.script, &site.files);
    let what = if scope.own { format!("on {}", scope.interface) } else { "behind a relay".to_owned() };
    let (net, mask) = (scope.subnet.network(), scope.subnet.mask());
    format!("\n# {what}\nsubnet {net} netmask {mask} {{\n{out}}}\n")
}

/// iPXE is told by its user class, gPXE by its bus-id, firmware by its class and architecture; what an operating system asks is none of these.
fn boot(out: &mut String, script: &Script, files: &[File]) {
    let mut branch = "if";
    let mut put = |condition: &str, lines: &[String]| {
        let _infallible = writeln!(out, "    {branch} {condition} {{");
        for line in lines {
            let _infallible = writeln!(out, "        {line}");
        }
        out.push_str("    }\n");
        branch = "elsif";
    };
    let quiet = "option ipxe.no-pxedhcp 1;".to_owned();
    let (ipxe, gpxe) = match script {
        Script::Url(url) => {
            let of = |end: &str| vec![format!("filename \"{url}.{end}\";"), quiet.clone()];
            (of("ipxe"), of("gpxe"))
        }
        Script::Root(path, initiator) => {
            let lines = vec![
                "filename \"\";".to_owned(),
                format!("option root-path \"{path}\";"),
                format!("option iscsi-initiator-iqn \"{initiator}\";"),
                quiet.clone(),
            ];
            (lines.clone(), lines)
        }
        Script::None => (vec!["filename \"\";".to_owned()], vec!["filename \"\";".to_owned()]),
    };
    put("option user-class = \"iPXE\"", &ipxe);
    put("exists ipxe.bus-id", &gpxe);
    if *script == Script::None {
        return put("exists vendor-class-identifier", &["filename \"\";".to_owned()]);
    }
    for (class, http) in [("HTTPClient", true), ("PXEClient", false)] {
        let length = class.len();
        for file in files.iter().filter(|f| f.http == http) {
            let [high, low] = file.arch.to_be_bytes();
            let condition = format!(
                "substring(option vendor-class-identifier, 0, {length}) = \"{class}\" and option client-arch = {high:02x}:{low:02x}"
            );
            let mut lines =
                vec![format!("filename \"{}\";", file.name), format!("option vendor-class-identifier \"{class}\";")];
            if !http {
                // Discovery control 8: the file of this offer, no boot server.
                lines.push("option vendor-encapsulated-options 06:01:08:ff;".to_owned());
            }
            put(&condition, &lines);
        }
    }
    // A ROM from before RFC 4578 names no architecture: a BIOS.
    if let Some(bios) = files.iter().find(|f| f.arch == 0) {
        let condition = "substring(option vendor-class-identifier, 0, 9) = \"PXEClient\" and not exists client-arch";
        put(condition, &[format!("filename \"{}\";", bios.name)]);
    }
}
