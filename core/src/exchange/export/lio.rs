//! LIO's configuration, as `targetcli restoreconfig` takes it.

use std::fs::File;
use std::io::{Seek as _, SeekFrom};
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

use serde_json::{Value, json};

use super::tgt::{macs, overlaid, shared_notes, store as path_of};
use super::{Export, ExportError, OutFile, Subject};
use crate::boot::initiator_name;
use crate::lab::{Allow, Disk};

pub(super) fn write(subject: &Subject<'_>, out: &mut Export) -> Result<(), ExportError> {
    let (mut disks, mut stores, mut unknown) = (Vec::new(), Vec::new(), None);
    for disk in subject.lab.disks.iter().filter(|d| d.redirect.is_none()) {
        match store(subject, disk) {
            Ok(store) => {
                disks.push(disk);
                stores.push(store);
            }
            Err(error) => {
                out.notes.push(format!("{} is left out: {error}", disk.name));
                unknown = Some(error);
            }
        }
    }
    // The restore would take away what is configured there, and bring nothing.
    if let Some(error) = unknown.filter(|_| stores.is_empty()) {
        return Err(error);
    }
    let targets: Vec<Value> = disks.iter().map(|d| target(subject, d, out)).collect();
    let secret = disks.iter().any(|d| d.chap.is_some());
    let whole = json!({ "fabric_modules": [], "storage_objects": stores, "targets": targets });
    let text = serde_json::to_string_pretty(&whole).unwrap_or_default() + "\n";
    shared_notes(subject, out);
    out.notes.push("`targetcli restoreconfig saveconfig.json` replaces whatever is configured there".to_owned());
    out.files.push(OutFile { path: "saveconfig.json".into(), text, secret });
    Ok(())
}

fn store(subject: &Subject<'_>, disk: &Disk) -> Result<Value, ExportError> {
    let image = subject.disks.join(&disk.image);
    let served = path_of(subject, disk).display().to_string();
    if plugin(subject, disk) == "block" {
        return Ok(json!({ "plugin": "block", "name": disk.name.as_str(), "dev": served, "readonly": disk.readonly }));
    }
    let size = disk.size.or_else(|| size_of(&image)).ok_or(ExportError::NoSize(image))?;
    Ok(json!({
        "plugin": "fileio", "name": disk.name.as_str(), "dev": served, "size": size,
        "write_back": false,
    }))
}

/// The bytes of an image, or of the device that is one; none where there is nothing.
fn size_of(image: &Path) -> Option<u64> {
    let about = std::fs::metadata(image).ok()?;
    let size = match about.file_type().is_block_device() {
        true => File::open(image).ok()?.seek(SeekFrom::End(0)).ok()?,
        false => about.len(),
    };
    (size > 0).then_some(size)
}

/// A device is served as it is, but its copy is a file.
fn plugin(subject: &Subject<'_>, disk: &Disk) -> &'static str {
    if !overlaid(disk) && subject.disks.join(&disk.image).starts_with("/dev") { "block" } else { "fileio" }
}

fn target(subject: &Subject<'_>, disk: &Disk, out: &mut Export) -> Value {
    let store = plugin(subject, disk);
    let everybody = disk.allow.iter().any(|a| matches!(a, Allow::Net(net) if net.prefix == 0));
    if disk.allow.iter().any(|a| !matches!(a, Allow::Net(net) if net.prefix == 0)) {
        out.notes.push(format!(
            "{}: LIO tells initiators by their whole names; `allow` by address or by the beginning of a name has no equal",
            disk.name
        ));
    }
    let acl = |mac| {
        let mut acl = json!({
            "node_wwn": initiator_name(mac),
            "attributes": {},
            "mapped_luns": [{ "index": 0, "tpg_lun": 0, "write_protect": disk.readonly }],
        });
        chap(disk, &mut acl);
        acl
    };
    let acls: Vec<Value> = macs(subject.lab, disk).into_iter().map(acl).collect();
    let flag = |on: bool| i32::from(on);
    let mut group = json!({
        "tag": 1,
        "enable": true,
        "attributes": {
            "authentication": flag(disk.chap.is_some()),
            "generate_node_acls": flag(everybody),
            "cache_dynamic_acls": flag(everybody),
            "demo_mode_write_protect": flag(!everybody || disk.readonly),
        },
        "luns": [{ "index": 0, "storage_object": format!("/backstores/{store}/{}", disk.name) }],
        "portals": [{ "ip_address": "0.0.0.0", "port": subject.lab.ports.iscsi, "iser": false, "offload": false }],
        "node_acls": acls,
    });
    if everybody {
        // Who has no entry of its own is asked for the group's.
        chap(disk, &mut group);
    }
    json!({ "fabric": "iscsi", "wwn": disk.iqn, "tpgs": [group] })
}

/// What an initiator has to know, in an entry of its own or in the target's.
fn chap(disk: &Disk, of: &mut Value) {
    let (Some(chap), Some(map)) = (&disk.chap, of.as_object_mut()) else { return };
    map.insert("chap_userid".into(), chap.user.clone().into());
    map.insert("chap_password".into(), chap.secret.expose().into());
    if let Some((user, secret)) = &chap.mutual {
        map.insert("chap_mutual_userid".into(), user.clone().into());
        map.insert("chap_mutual_password".into(), secret.expose().into());
    }
}
