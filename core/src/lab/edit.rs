//! Changing lab.toml without losing a word of what a person wrote: comments, order and spelling of all else stay.
//!
//! Each change is all or nothing: where the new text would have a problem, the document stays as it was. [`tables`] finds and adds
//! entries, [`words`] and [`whole`] write values and whole entries, [`splice`] lays the new text over the old one, and [`settings`]
//! changes single keys by their names.

use toml_edit::{Array, DocumentMut, Item, Table};
use uuid::Uuid;

use self::splice::{plain, splice};
use self::tables::{
    append, append_after, disk_index, entry_index, last_position, on_disk, on_entry, on_host, on_network, remove_entry,
    set, unset,
};
use self::whole::{ProfileTexts, fill_disk, fill_profile};
use self::words::{boot_value, iscsi_args_word, mode_word, path_text, seat_value, size_text};
use super::folder::LabError;
use super::problem::Problem;
use super::read::parse;
use super::schema::{Boot, Disk, IscsiArgs, Lab, Mode, Name, Profile, ProfileWords, Seat};
use crate::net::{Ipv4Cidr, MacAddr};

mod settings;
mod splice;
mod tables;
mod whole;
mod words;

pub use settings::SettingSurroundings;

/// Which `[[host]]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostRef {
    /// The entry of this number, as in `Lab::hosts`.
    Entry(usize),
    /// A machine without an entry: one is appended. Whether it has one is the caller's to know.
    New {
        /// Its hardware address.
        mac: MacAddr,
        /// Set where other entries have the same address.
        uuid: Option<Uuid>,
    },
}

/// lab.toml as text that can be changed.
#[derive(Debug, Clone)]
pub struct Document {
    text: String,
    /// Of `text` without byte order mark and with `\n` alone.
    doc: DocumentMut,
}

impl Document {
    /// Takes a text for changing.
    ///
    /// # Errors
    /// [`LabError::Problems`] if it has an error: what is broken is mended by a person first.
    pub fn parse(text: &str) -> Result<Self, LabError> {
        Ok(Self { doc: checked(&plain(text))?, text: text.to_owned() })
    }

    /// The text as it is now.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What a host gets from now on.
    ///
    /// # Errors
    /// [`LabError::NoEntry`]; [`LabError::Problems`] if it names a disk or profile that the lab lacks.
    pub fn set_boot(&mut self, host: HostRef, boot: &Boot) -> Result<(), LabError> {
        self.change(|doc| on_host(doc, host, |table| set(table, "boot", boot_value(boot))))
    }

    /// A host gets from now on what one without an assignment gets. One without an entry needs none for that.
    ///
    /// # Errors
    /// [`LabError::NoEntry`].
    pub fn unset_boot(&mut self, host: HostRef) -> Result<(), LabError> {
        match host {
            HostRef::Entry(_) => self.change(|doc| on_host(doc, host, |table| unset(table, "boot"))),
            HostRef::New { .. } => Ok(()),
        }
    }

    /// Names a host; `None` takes the name away.
    ///
    /// # Errors
    /// [`LabError::NoEntry`]; [`LabError::Problems`] if another host has the name.
    pub fn set_name(&mut self, host: HostRef, name: Option<&Name>) -> Result<(), LabError> {
        self.change(|doc| {
            on_host(doc, host, |table| match name {
                Some(name) => set(table, "name", name.as_str().into()),
                None => unset(table, "name"),
            })
        })
    }

    /// Puts a host into a group; `None` takes it out. Its seat is one of the group's plan, so another group has none for it yet.
    ///
    /// # Errors
    /// [`LabError::NoEntry`].
    pub fn set_group(&mut self, host: HostRef, group: Option<&Name>) -> Result<(), LabError> {
        self.change(|doc| {
            on_host(doc, host, |table| {
                let was = table.get("group").and_then(Item::as_str).map(str::to_owned);
                if was.as_deref() == group.map(Name::as_str) {
                    return;
                }
                unset(table, "seat");
                match group {
                    Some(group) => set(table, "group", group.as_str().into()),
                    None => unset(table, "group"),
                }
            })
        })
    }

    /// Gives hosts their places in the seating plan, in one change; `None` takes a host's away.
    ///
    /// # Errors
    /// [`LabError::NoEntry`].
    pub fn set_seats(&mut self, seats: &[(HostRef, Option<Seat>)]) -> Result<(), LabError> {
        self.change(|doc| {
            seats.iter().try_for_each(|(host, seat)| {
                on_host(doc, *host, |table| match seat {
                    Some(seat) => set(table, "seat", seat_value(*seat)),
                    None => unset(table, "seat"),
                })
            })
        })
    }

    /// The boot file of a host, whatever its architecture's is.
    ///
    /// # Errors
    /// [`LabError::NoEntry`].
    pub fn set_firmware(&mut self, host: HostRef, file: &str) -> Result<(), LabError> {
        self.change(|doc| on_host(doc, host, |table| set(table, "firmware", file.into())))
    }

    /// Removes a `[[host]]`, with the comment that stands directly above it.
    ///
    /// # Errors
    /// [`LabError::NoEntry`].
    pub fn remove_host(&mut self, index: usize) -> Result<(), LabError> {
        self.change(|doc| remove_entry(doc, "host", index))
    }

    /// Sets mode, and address if one is given, of the network of this interface; makes the network if there is none.
    ///
    /// # Errors
    /// [`LabError::Problems`], for example when the address contradicts a range.
    pub fn set_network(&mut self, interface: &str, address: Option<Ipv4Cidr>, mode: Mode) -> Result<(), LabError> {
        self.change(|doc| {
            on_network(doc, interface, |table| {
                if let Some(address) = address {
                    set(table, "address", address.to_string().into());
                }
                set(table, "mode", mode_word(mode).into());
            });
            Ok(())
        })
    }

    /// Sets those ports of `[ports]` that are given.
    ///
    /// # Errors
    /// [`LabError::Problems`], for example when two of them would be the same.
    pub fn set_ports(&mut self, ports: [(&str, Option<u16>); 3]) -> Result<(), LabError> {
        self.change(|doc| {
            if doc.get("ports").is_none() {
                doc.insert("ports", Item::Table(Table::new()));
            }
            if let Some(table) = doc.get_mut("ports").and_then(Item::as_table_like_mut) {
                for (name, port) in ports {
                    if let Some(port) = port {
                        set(table, name, i64::from(port).into());
                    }
                }
            }
            Ok(())
        })
    }

    /// The network of interface `from` is that of `to` from now on: another one was chosen, or the lab was copied to another computer.
    ///
    /// # Errors
    /// [`LabError::Problems`], for example when `to` has a network already.
    pub fn move_network(&mut self, from: &str, to: &str) -> Result<(), LabError> {
        self.change(|doc| {
            on_network(doc, from, |table| set(table, "interface", to.into()));
            Ok(())
        })
    }

    /// Appends a `[[disk]]`.
    ///
    /// # Errors
    /// [`LabError::Problems`], for example when the name is taken.
    pub fn add_disk(&mut self, disk: &Disk) -> Result<(), LabError> {
        let image = path_text(&disk.image)?;
        self.change(|doc| {
            append(doc, "disk", |table| fill_disk(table, disk, image));
            Ok(())
        })
    }

    /// Sets the bytes that machines see of a disk.
    ///
    /// # Errors
    /// [`LabError::NoEntry`].
    pub fn set_disk_size(&mut self, name: &Name, size: u64) -> Result<(), LabError> {
        self.change(|doc| {
            let index = disk_index(doc, name)?;
            on_disk(doc, index, |table| set(table, "size", size_text(size).into()))
        })
    }

    /// Removes a `[[disk]]`; hosts that get it wait from then on.
    ///
    /// # Errors
    /// [`LabError::NoEntry`]; [`LabError::Problems`] if `unknown` gives it to machines.
    pub fn remove_disk(&mut self, name: &Name) -> Result<(), LabError> {
        let lab = super::parse(self.text()).map_err(LabError::Problems)?;
        let with_it = |boot: &Boot| boot.any_disk() == Some(name);
        let hosts: Vec<usize> = lab
            .hosts
            .iter()
            .enumerate()
            .filter(|(_, h)| h.boot.as_ref().is_some_and(with_it))
            .map(|(n, _)| n)
            .collect();
        self.change(|doc| {
            let index = disk_index(doc, name)?;
            for host in hosts {
                on_host(doc, HostRef::Entry(host), |table| set(table, "boot", boot_value(&Boot::Wait)))?;
            }
            remove_entry(doc, "disk", index)
        })
    }

    /// Appends a `[[profile]]`.
    ///
    /// # Errors
    /// [`LabError::Problems`], for example when the name is taken.
    pub fn add_profile(&mut self, profile: &Profile) -> Result<(), LabError> {
        let texts = ProfileTexts::of(profile)?;
        self.change(|doc| {
            append(doc, "profile", |table| fill_profile(table, profile, &texts));
            Ok(())
        })
    }

    /// Appends everything that a lab has, in one change: its networks, profiles, disks and hosts.
    ///
    /// # Errors
    /// [`LabError::Problems`]: something contradicts itself, or what is there already.
    pub fn append(&mut self, lab: &Lab) -> Result<(), LabError> {
        let images = lab.disks.iter().map(|d| path_text(&d.image)).collect::<Result<Vec<_>, _>>()?;
        let texts = lab.profiles.iter().map(ProfileTexts::of).collect::<Result<Vec<_>, _>>()?;
        self.change(|doc| {
            for network in &lab.networks {
                on_network(doc, &network.interface, |table| whole::fill_network(table, network));
            }
            let mut last = last_position(doc);
            for rule in &lab.firmware {
                append_after(doc, "firmware", &mut last, |table| whole::fill_firmware(table, rule));
            }
            for (profile, texts) in lab.profiles.iter().zip(&texts) {
                append_after(doc, "profile", &mut last, |table| fill_profile(table, profile, texts));
            }
            for (disk, image) in lab.disks.iter().zip(&images) {
                append_after(doc, "disk", &mut last, |table| fill_disk(table, disk, image));
            }
            for host in &lab.hosts {
                append_after(doc, "host", &mut last, |table| whole::fill_host(table, host));
            }
            Ok(())
        })
    }

    /// Names other files in a `[[profile]]`: its kernel, initrds and hypervisors. Its arguments and how its initramfs takes a root follow,
    /// each unless it is something else than the `former` one: then a person wrote it. All else stays as it is.
    ///
    /// # Errors
    /// [`LabError::NoEntry`]; [`LabError::Problems`].
    pub fn renew_profile(&mut self, profile: &Profile, former: Option<&ProfileWords>) -> Result<(), LabError> {
        let kernel = path_text(&profile.kernel)?;
        let initrds = profile.initrds.iter().map(|p| path_text(p)).collect::<Result<Vec<_>, _>>()?;
        let hypervisor = profile.hypervisor.as_deref().map(path_text).transpose()?;
        let hypervisor_efi = profile.hypervisor_efi.as_deref().map(path_text).transpose()?;
        self.change(|doc| {
            let index = entry_index(doc, "profile", &profile.name)?;
            on_entry(doc, "profile", index, |table| {
                set(table, "kernel", kernel.into());
                set(table, "initrd", initrds.iter().copied().collect::<Array>().into());
                for (key, path) in [("hypervisor", hypervisor), ("hypervisor-efi", hypervisor_efi)] {
                    match path {
                        Some(path) => set(table, key, path.into()),
                        None => unset(table, key),
                    }
                }
                let Some(former) = former else { return };
                let how = |args: Option<IscsiArgs>| args.map(iscsi_args_word).unwrap_or_default();
                for (key, was, is) in [
                    ("args", former.args.as_str(), profile.args.as_str()),
                    ("hypervisor-args", &former.hypervisor_args, &profile.hypervisor_args),
                    ("iscsi-args", how(former.iscsi_args), how(profile.iscsi_args)),
                ] {
                    let written = table.get(key).and_then(Item::as_str).unwrap_or_default();
                    if written != was || was == is {
                        continue;
                    }
                    match is {
                        "" => unset(table, key),
                        is => set(table, key, is.into()),
                    }
                }
            })
        })
    }

    fn change(&mut self, edit: impl FnOnce(&mut DocumentMut) -> Result<(), LabError>) -> Result<(), LabError> {
        let mut next = self.doc.clone();
        edit(&mut next)?;
        let text = splice(&self.text, &next.to_string());
        self.doc = checked(&plain(&text))?;
        self.text = text;
        Ok(())
    }
}

impl PartialEq for Document {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

/// For fuzzing: whatever can be read can be changed, and is then still in order.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(mut document) = Document::parse(text) else { return };
    let new = HostRef::New { mac: MacAddr([0x0e, 1, 2, 3, 4, 5]), uuid: None };
    let mut changes = 0;
    for host in [HostRef::Entry(0), HostRef::Entry(1), new] {
        for boot in [Boot::Menu, Boot::Wait] {
            changes += usize::from(document.set_boot(host, &boot).is_ok());
        }
    }
    changes += usize::from(document.set_network("fuzz0", None, Mode::Proxy).is_ok());
    changes += usize::from(document.remove_host(0).is_ok());
    assert!(changes > 0 && Document::parse(document.text()).is_ok());
}

fn checked(plain: &str) -> Result<DocumentMut, LabError> {
    parse(plain).map_err(LabError::Problems)?;
    plain.parse().map_err(|e: toml_edit::TomlError| LabError::Problems(vec![Problem::error(None, e.message())]))
}

#[cfg(test)]
mod tests;
