//! tgt's targets.conf.

use std::fmt::Write as _;
use std::path::PathBuf;

use super::{Export, OutFile, Subject};
use crate::boot::initiator_name;
use crate::lab::{Allow, Boot, Chap, Disk, Host, Lab, Writes};
use crate::net::{Ipv4Cidr, MacAddr};

pub(super) fn write(subject: &Subject<'_>, out: &mut Export) {
    let mut text = String::from("# Written by `bootyard export tgt`.\ndefault-driver iscsi\n");
    let mut secret = false;
    for disk in subject.lab.disks.iter().filter(|d| d.redirect.is_none()) {
        let image = store(subject, disk);
        let _infallible = writeln!(text, "\n<target {}>", disk.iqn);
        let _infallible = writeln!(text, "    <backing-store {}>\n        lun 1", quoted(&image.display().to_string()));
        if disk.readonly {
            text.push_str("        readonly 1\n");
        }
        text.push_str("    </backing-store>\n");
        match &disk.chap {
            Some(chap) if !can_be_said(chap) => {
                // Without its CHAP lines it would be open to all that the other lines let in.
                text.push_str("    initiator-address 127.0.0.1\n");
                out.notes.push(format!(
                    "{}: targets.conf cannot say its CHAP names and secrets, which may have letters, digits and ._:@%+=,/- there; they are \
                     left out, and only this computer may log in",
                    disk.name
                ));
            }
            Some(chap) => {
                secret = true;
                let _infallible = writeln!(text, "    incominguser {} {}", chap.user, chap.secret.expose());
                if let Some((user, secret)) = &chap.mutual {
                    let _infallible = writeln!(text, "    outgoinguser {user} {}", secret.expose());
                }
                access(subject.lab, disk, &mut text, out);
            }
            None => access(subject.lab, disk, &mut text, out),
        }
        text.push_str("</target>\n");
    }
    shared_notes(subject, out);
    out.notes.push("a disk is LUN 1 of its target: export the DHCP server's files with --lun 1".to_owned());
    out.files.push(OutFile { path: "targets.conf".into(), text, secret });
}

/// Whether targets.conf takes these names and secrets as they are. In quotes or with other characters its parser reads something else.
fn can_be_said(chap: &Chap) -> bool {
    let plain = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:@%+=,/-".contains(&b));
    let both = |user: &str, secret: &str| plain(user) && plain(secret);
    both(&chap.user, chap.secret.expose()) && chap.mutual.as_ref().is_none_or(|(u, s)| both(u, s.expose()))
}

/// Whether hosts write into overlays of their own here, which a plain target does not have.
pub(super) fn overlaid(disk: &Disk) -> bool {
    disk.writes != Writes::Image && !disk.readonly && disk.redirect.is_none()
}

/// What the target serves: the image, or in place of one that nobody may write into a copy that is still to be made.
pub(super) fn store(subject: &Subject<'_>, disk: &Disk) -> PathBuf {
    if overlaid(disk) { subject.place.join(format!("{}.raw", disk.name)) } else { subject.disks.join(&disk.image) }
}

/// tgt asks for a right address and a right name: with `allow` by address it is the address, else the names that we issue.
fn access(lab: &Lab, disk: &Disk, text: &mut String, out: &mut Export) {
    let nets: Vec<Ipv4Cidr> =
        disk.allow.iter().filter_map(|a| if let Allow::Net(net) = a { Some(*net) } else { None }).collect();
    let prefixes = disk.allow.iter().any(|a| matches!(a, Allow::Initiator(_)));
    if prefixes {
        out.notes.push(format!("{}: tgt knows whole initiator names, no beginnings of them", disk.name));
    }
    for net in &nets {
        let _infallible = match net.prefix {
            0 => writeln!(text, "    initiator-address ALL"),
            32 => writeln!(text, "    initiator-address {}", net.address),
            _ => writeln!(text, "    initiator-address {net}"),
        };
    }
    if !nets.is_empty() {
        outside(lab, disk, &nets, text, out);
    } else {
        for mac in macs(lab, disk) {
            let _infallible = writeln!(text, "    initiator-name {}", initiator_name(mac));
        }
        if macs(lab, disk).is_empty() {
            // Without any line everybody could log in.
            text.push_str("    initiator-address 127.0.0.1\n");
            out.notes.push(format!("{}: no host is given it, so only this computer may log in", disk.name));
        }
    }
}

/// The hosts that are given the disk may log in from outside of the networks, too.
fn outside(lab: &Lab, disk: &Disk, nets: &[Ipv4Cidr], text: &mut String, out: &mut Export) {
    if nets.iter().any(|net| net.prefix == 0) {
        return;
    }
    for host in assigned(lab, disk) {
        match host.address {
            Some(address) if nets.iter().any(|net| net.contains(address)) => {}
            Some(address) => {
                let _infallible = writeln!(text, "    initiator-address {address}");
            }
            None => {
                let who = host.name.as_ref().map(ToString::to_string);
                let who = who.or_else(|| host.macs.first().map(ToString::to_string)).unwrap_or_default();
                out.notes.push(format!(
                    "{}: {who} is given it and has no `address`: it may log in from the networks of `allow` only",
                    disk.name
                ));
            }
        }
    }
}

/// The hosts that are given a disk, now or after their installation.
fn assigned<'l>(lab: &'l Lab, disk: &Disk) -> impl Iterator<Item = &'l Host> {
    let has = |boot: &Option<Boot>| boot.as_ref().and_then(Boot::any_disk) == Some(&disk.name);
    lab.hosts.iter().filter(move |h| has(&h.boot))
}

/// Their MAC addresses, each once: hosts that are told apart by UUID may share one.
pub(super) fn macs(lab: &Lab, disk: &Disk) -> Vec<MacAddr> {
    let mut out = Vec::new();
    for mac in assigned(lab, disk).flat_map(|h| &h.macs) {
        if !out.contains(mac) {
            out.push(*mac);
        }
    }
    out
}

/// What both targets cannot do.
pub(super) fn shared_notes(subject: &Subject<'_>, out: &mut Export) {
    for disk in &subject.lab.disks {
        let machines = macs(subject.lab, disk).len();
        if let Some(to) = disk.redirect {
            out.notes.push(format!("{}: it is served at {to} already", disk.name));
        } else if overlaid(disk) {
            let name = &disk.name;
            out.notes.push(format!(
                "{name}: hosts write into overlays of their own here; the target would write into the image itself, so it serves a copy \
                 that is still to be made: `bootyard disks export {name} {}`. What hosts have written is not in it; `--host HOST` takes \
                 along what one has",
                store(subject, disk).display()
            ));
            if machines != 1 {
                out.notes.push(format!("{name}: every machine writes into that copy; give each one of its own"));
            }
        }
    }
}

/// A word of the file; a quote in it cannot be written.
fn quoted(text: &str) -> String {
    if text.chars().any(|c| c.is_whitespace() || "#<>\\".contains(c)) { format!("\"{text}\"") } else { text.to_owned() }
}
