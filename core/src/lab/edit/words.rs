//! Values as lab.toml writes them.

use std::net::Ipv4Addr;
use std::path::Path;

use toml_edit::{Array, InlineTable, Value};

use crate::lab::duration_text;
use crate::lab::folder::LabError;
use crate::lab::problem::Problem;
use crate::lab::schema::{
    Allow, Boot, Install, InstallThen, IscsiArgs, IscsiBoot, IscsiVia, Lease, Mode, ProfileKind, Seat,
};
use crate::net::Ipv4Cidr;

/// As a person writes it, where that is exact.
pub(super) fn size_text(size: u64) -> String {
    for (shift, unit) in [(40, "T"), (30, "G"), (20, "M")] {
        if size.is_multiple_of(1 << shift) {
            return format!("{}{unit}", size >> shift);
        }
    }
    size.to_string()
}

pub(super) fn boot_value(boot: &Boot) -> Value {
    match boot {
        Boot::Local | Boot::Wait | Boot::Menu | Boot::Ignore => boot.to_string().into(),
        Boot::Iscsi(iscsi) => iscsi_value(iscsi),
        Boot::Install(Install { profile, then }) => {
            let mut table = InlineTable::new();
            table.insert("install", profile.as_str().into());
            table.insert(
                "then",
                match then {
                    InstallThen::Local => "local".into(),
                    InstallThen::Iscsi(iscsi) => iscsi_value(iscsi),
                },
            );
            table.into()
        }
    }
}

pub(super) fn iscsi_value(iscsi: &IscsiBoot) -> Value {
    let mut table = InlineTable::new();
    table.insert("iscsi", iscsi.disk.as_str().into());
    if let Some(profile) = &iscsi.profile {
        table.insert("profile", profile.as_str().into());
    }
    if iscsi.via == IscsiVia::RootPath {
        table.insert("via", "root-path".into());
    }
    if let Some(writes) = iscsi.writes {
        table.insert("writes", writes.to_string().into());
    }
    table.into()
}

pub(super) fn path_text(path: &Path) -> Result<&str, LabError> {
    path.to_str().ok_or_else(|| {
        let message = format!("the file name {} is not UTF-8 and cannot stand in lab.toml", path.display());
        LabError::Problems(vec![Problem::error(None, message).suggest("rename the file")])
    })
}

pub(super) fn allow_text(allow: &Allow) -> String {
    match allow {
        Allow::Net(Ipv4Cidr { address, prefix: 32 }) => Ipv4Addr::to_string(address),
        Allow::Net(net) => net.to_string(),
        Allow::Initiator(prefix) => prefix.clone(),
    }
}

pub(super) fn seat_value(seat: Seat) -> Value {
    [seat.row, seat.column].map(i64::from).into_iter().collect::<Array>().into()
}

pub(super) fn mode_word(mode: Mode) -> &'static str {
    match mode {
        Mode::Dhcp => "dhcp",
        Mode::Proxy => "proxy",
        Mode::Auto => "auto",
    }
}

pub(super) fn kind_word(kind: ProfileKind) -> &'static str {
    match kind {
        ProfileKind::Preseed => "preseed",
        ProfileKind::Kickstart => "kickstart",
        ProfileKind::Autoinstall => "autoinstall",
        ProfileKind::None => "none",
    }
}

pub(super) fn iscsi_args_word(args: IscsiArgs) -> &'static str {
    match args {
        IscsiArgs::Debian => "debian",
        IscsiArgs::Dracut => "dracut",
        IscsiArgs::None => "none",
    }
}

pub(super) fn lease(lease: Lease) -> Value {
    let mut inner = InlineTable::new();
    inner.insert("default", duration_text(lease.default).into());
    inner.insert("max", duration_text(lease.max).into());
    inner.into()
}
