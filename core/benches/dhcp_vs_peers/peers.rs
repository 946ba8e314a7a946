//! The others, as Debian has them, each in its fastest usual configuration.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::Fallible;
use crate::report::Row;
use crate::wire::{LEFT, RANGE, SERVER, Wire};

/// That the programs are installed.
pub(crate) fn present(rows: &[Row], peers: bool) -> Fallible<()> {
    let mut wanted = Vec::new();
    for row in rows {
        wanted.extend(match (row, peers) {
            (Row::Relay, true) => vec![("perfdhcp", "kea-admin"), ("kea-dhcp4", "kea-dhcp4-server")],
            (Row::Relay, false) => vec![("perfdhcp", "kea-admin")],
            (Row::Direct, true) => vec![("dnsmasq", "dnsmasq-base")],
            (Row::New, true) => vec![("dhcpd", "isc-dhcp-server")],
            (Row::Direct | Row::New, false) => vec![],
        });
    }
    for (program, package) in wanted {
        if Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
            return Err(format!("`{program}` is missing: apt-get install {package}").into());
        }
    }
    Ok(())
}

/// Kea with two threads and its memfile kept on the disk. It never syncs it.
pub(crate) fn kea(wire: &Wire, folder: &Path) -> Fallible<Command> {
    let (first, last) = RANGE;
    let leases = folder.join("kea-leases.csv");
    let config = format!(
        r#"{{ "Dhcp4": {{
            "interfaces-config": {{ "interfaces": ["{LEFT}"], "dhcp-socket-type": "udp" }},
            "multi-threading": {{ "enable-multi-threading": true, "thread-pool-size": 2, "packet-queue-size": 64 }},
            "lease-database": {{ "type": "memfile", "persist": true, "name": "{}", "lfc-interval": 0 }},
            "valid-lifetime": 1800,
            "next-server": "{SERVER}", "boot-file-name": "undionly.kpxe",
            "subnet4": [ {{
                "id": 1, "subnet": "10.50.0.0/16", "pools": [ {{ "pool": "{first} - {last}" }} ],
                "option-data": [ {{ "name": "routers", "data": "{SERVER}" }} ]
            }} ],
            "loggers": [ {{ "name": "kea-dhcp4", "severity": "ERROR", "output_options": [ {{ "output": "stderr" }} ] }} ]
        }} }}"#,
        leases.display()
    );
    let path = folder.join("kea.json");
    fs::write(&path, config)?;
    let mut command = wire.server_side("kea-dhcp4");
    command.arg("-c").arg(path).env("KEA_PIDFILE_DIR", folder).env("KEA_LOCKFILE_DIR", folder);
    Ok(command)
}

/// dnsmasq without its conflict probe, which would cost each new client three seconds.
pub(crate) fn dnsmasq(wire: &Wire, folder: &Path) -> Fallible<Command> {
    let (first, last) = RANGE;
    let mut command = wire.server_side("dnsmasq");
    command.args(["--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--bind-interfaces", "--no-ping"]);
    command.args(["--quiet-dhcp", "--log-facility=-", "--user=root", "--dhcp-authoritative", "--dhcp-lease-max=20000"]);
    command.arg(format!("--interface={LEFT}"));
    command.arg(format!("--dhcp-range={first},{last},255.255.0.0,30m"));
    command.arg(format!("--dhcp-option=option:router,{SERVER}"));
    command.arg("--dhcp-boot=undionly.kpxe");
    command.arg(format!("--dhcp-leasefile={}", folder.join("dnsmasq.leases").display()));
    command.arg(format!("--pid-file={}", folder.join("dnsmasq.pid").display()));
    Ok(command)
}

/// ISC dhcpd without its conflict probe.
pub(crate) fn dhcpd(wire: &Wire, folder: &Path) -> Fallible<Command> {
    let (first, last) = RANGE;
    let config = format!(
        "authoritative;\nping-check false;\ndefault-lease-time 1800;\nlog-facility local7;\n\
         next-server {SERVER};\nfilename \"undionly.kpxe\";\n\
         subnet 10.50.0.0 netmask 255.255.0.0 {{ range {first} {last}; option routers {SERVER}; }}\n"
    );
    let (path, leases) = (folder.join("dhcpd.conf"), folder.join("dhcpd.leases"));
    fs::write(&path, config)?;
    fs::write(&leases, "")?;
    let mut command = wire.server_side("dhcpd");
    command.args(["-4", "-f", "-q", "--no-pid", "-cf"]).arg(path).arg("-lf").arg(leases).arg(LEFT);
    Ok(command)
}
