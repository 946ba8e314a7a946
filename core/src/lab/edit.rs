//! Changing lab.toml without losing a word of what a person wrote: comments, order and spelling of all else stay.
//!
//! Each change is all or nothing: where the new text would have a problem, the document stays as it was.

use std::net::Ipv4Addr;
use std::path::Path;

use toml_edit::visit_mut::{self, VisitMut};
use toml_edit::{Array, ArrayOfTables, DocumentMut, InlineTable, Item, Table, TableLike, Value};
use uuid::Uuid;

use super::folder::LabError;
use super::problem::Problem;
use super::read::{derived_iqn, parse};
use super::schema::{
    Allow, Boot, Disk, Install, InstallThen, IscsiArgs, IscsiBoot, IscsiVia, Mode, Name, Profile, ProfileKind, Writes,
};
use crate::net::{Ipv4Cidr, MacAddr};

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

const MARK: char = '\u{feff}';

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

    /// Names a host; `None` takes the name away.
    ///
    /// # Errors
    /// [`LabError::NoEntry`]; [`LabError::Problems`] if another host has the name.
    pub fn set_name(&mut self, host: HostRef, name: Option<&Name>) -> Result<(), LabError> {
        self.change(|doc| {
            on_host(doc, host, |table| match name {
                Some(name) => set(table, "name", name.as_str().into()),
                None => drop(table.remove("name")),
            })
        })
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

    /// The network of interface `from` is that of `to` from now on: a lab that was copied to another computer.
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
            append(doc, "disk", |table| {
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
            });
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
        let kernel = path_text(&profile.kernel)?;
        let initrds = profile.initrds.iter().map(|p| path_text(p)).collect::<Result<Vec<_>, _>>()?;
        let answers = profile.answers.as_deref().map(path_text).transpose()?;
        let hypervisor = profile.hypervisor.as_deref().map(path_text).transpose()?;
        self.change(|doc| {
            append(doc, "profile", |table| {
                let mut text = |key, value: &str| {
                    if !value.is_empty() {
                        set(table, key, value.into());
                    }
                };
                text("name", profile.name.as_str());
                text("kernel", kernel);
                text("args", &profile.args);
                text("answers", answers.unwrap_or_default());
                text("kind", profile.kind.map(kind_word).unwrap_or_default());
                text("hypervisor", hypervisor.unwrap_or_default());
                text("hypervisor-args", &profile.hypervisor_args);
                text("iscsi-args", profile.iscsi_args.map(iscsi_args_word).unwrap_or_default());
                if !initrds.is_empty() {
                    set(table, "initrd", initrds.iter().copied().collect::<Array>().into());
                }
                if !profile.arch.is_empty() {
                    set(table, "arch", profile.arch.iter().map(|a| a.as_str()).collect::<Array>().into());
                }
            });
            Ok(())
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

/// Without byte order mark, and lines end with `\n` alone.
fn plain(text: &str) -> String {
    text.strip_prefix(MARK).unwrap_or(text).replace("\r\n", "\n")
}

/// The new text, with every line that is as it was taken from the old one, its line end included.
fn splice(old: &str, new: &str) -> String {
    let bare = |line: &str| line.trim_end_matches(['\r', '\n']).to_owned();
    let (mark, old) = match old.strip_prefix(MARK) {
        Some(rest) => (MARK.to_string(), rest),
        None => (String::new(), old),
    };
    let old: Vec<&str> = old.split_inclusive('\n').collect();
    let new: Vec<&str> = new.split_inclusive('\n').collect();
    let same = |(a, b): &(&&str, &&str)| bare(a) == bare(b);
    let head = old.iter().zip(&new).take_while(same).count();
    let rest = old.len().min(new.len()) - head;
    let tail = old.iter().rev().zip(new.iter().rev()).take(rest).take_while(same).count();
    let end = if old.first().is_some_and(|l| l.ends_with("\r\n")) { "\r\n" } else { "\n" };

    let changed = new.iter().take(new.len() - tail).skip(head).map(|line| bare(line) + end);
    let kept = |lines: &[&str]| lines.iter().map(|l| (*l).to_owned()).collect::<Vec<_>>();
    let lines = kept(old.get(..head).unwrap_or_default()).into_iter();
    let lines = lines.chain(changed).chain(kept(old.get(old.len() - tail..).unwrap_or_default()));
    lines.fold(mark, |mut out, line| {
        // The last line of the old text may have had no end.
        if !out.is_empty() && !out.ends_with(['\n', MARK]) {
            out.push_str(end);
        }
        out.push_str(&line);
        out
    })
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

/// Sets a key; the spaces and the comment around an old value stay.
fn set(table: &mut dyn TableLike, key: &str, mut value: Value) {
    if let Some(old) = table.get_mut(key).and_then(Item::as_value_mut) {
        *value.decor_mut() = old.decor().clone();
        *old = value;
        return;
    }
    table.remove(key);
    table.insert(key, Item::Value(value));
}

/// As a person writes it, where that is exact.
fn size_text(size: u64) -> String {
    for (shift, unit) in [(40, "T"), (30, "G"), (20, "M")] {
        if size.is_multiple_of(1 << shift) {
            return format!("{}{unit}", size >> shift);
        }
    }
    size.to_string()
}

fn disk_index(doc: &DocumentMut, name: &Name) -> Result<usize, LabError> {
    let is = |table: &dyn TableLike| table.get("name").and_then(Item::as_str) == Some(name.as_str());
    let item = doc.get("disk").ok_or(LabError::NoEntry)?;
    let found = match (item.as_array_of_tables(), item.as_array()) {
        (Some(tables), _) => tables.iter().position(|t| is(t)),
        (None, Some(inline)) => inline.iter().position(|v| v.as_inline_table().is_some_and(|t| is(t))),
        (None, None) => None,
    };
    found.ok_or(LabError::NoEntry)
}

fn on_disk(doc: &mut DocumentMut, index: usize, edit: impl FnOnce(&mut dyn TableLike)) -> Result<(), LabError> {
    let item = doc.get_mut("disk").ok_or(LabError::NoEntry)?;
    if let Some(tables) = item.as_array_of_tables_mut() {
        edit(tables.get_mut(index).ok_or(LabError::NoEntry)?);
        return Ok(());
    }
    let value = item.as_array_mut().and_then(|array| array.get_mut(index));
    let inline = value.and_then(Value::as_inline_table_mut).ok_or(LabError::NoEntry)?;
    edit(inline);
    inline.fmt();
    Ok(())
}

fn on_host(doc: &mut DocumentMut, host: HostRef, edit: impl FnOnce(&mut dyn TableLike)) -> Result<(), LabError> {
    match host {
        HostRef::Entry(index) => {
            let item = doc.get_mut("host").ok_or(LabError::NoEntry)?;
            if let Some(array) = item.as_array_of_tables_mut() {
                edit(array.get_mut(index).ok_or(LabError::NoEntry)?);
                return Ok(());
            }
            let inline = item
                .as_array_mut()
                .and_then(|a| a.get_mut(index))
                .and_then(Value::as_inline_table_mut)
                .ok_or(LabError::NoEntry)?;
            edit(inline);
            inline.fmt();
        }
        HostRef::New { mac, uuid } => append(doc, "host", |table| {
            set(table, "mac", mac.to_string().into());
            if let Some(uuid) = uuid {
                set(table, "uuid", uuid.to_string().into());
            }
            edit(table);
        }),
    }
    Ok(())
}

fn on_network(doc: &mut DocumentMut, interface: &str, edit: impl FnOnce(&mut dyn TableLike)) {
    let is = |table: &dyn TableLike| table.get("interface").and_then(Item::as_str) == Some(interface);
    match doc.get_mut("network") {
        Some(Item::Table(table)) if is(table) => return edit(table),
        Some(Item::Value(Value::InlineTable(table))) if is(table) => {
            edit(table);
            return table.fmt();
        }
        Some(Item::ArrayOfTables(array)) => {
            if let Some(table) = array.iter_mut().find(|t| is(*t)) {
                return edit(table);
            }
        }
        Some(Item::Value(Value::Array(array))) => {
            let inline = array.iter_mut().filter_map(Value::as_inline_table_mut).find(|t| is(*t));
            if let Some(table) = inline {
                edit(table);
                return table.fmt();
            }
        }
        _ => {}
    }
    let fill = |table: &mut dyn TableLike| {
        set(table, "interface", interface.into());
        edit(table);
    };
    match doc.get_mut("network") {
        // The only one is written with single brackets.
        None => {
            let mut table = Table::new();
            fill(&mut table);
            place_last(doc, &mut table);
            doc.insert("network", Item::Table(table));
        }
        Some(item) => {
            to_list(item);
            append(doc, "network", fill);
        }
    }
}

/// `[network]` becomes `[[network]]`.
fn to_list(item: &mut Item) {
    match std::mem::take(item) {
        Item::Table(mut table) => {
            table.set_dotted(false);
            table.set_implicit(false);
            let mut array = ArrayOfTables::new();
            array.push(table);
            *item = Item::ArrayOfTables(array);
        }
        Item::Value(Value::InlineTable(table)) => {
            *item = Item::Value(Value::Array(Array::from_iter([Value::InlineTable(table)])));
        }
        other => *item = other,
    }
}

/// Appends an entry to a list of tables, at the end of the file.
fn append(doc: &mut DocumentMut, key: &str, fill: impl FnOnce(&mut dyn TableLike)) {
    if let Some(array) = doc.get_mut(key).and_then(Item::as_array_mut) {
        let mut inline = InlineTable::new();
        fill(&mut inline);
        inline.fmt();
        array.push(inline);
        return;
    }
    let mut table = Table::new();
    fill(&mut table);
    place_last(doc, &mut table);
    let list = doc.entry(key).or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new()));
    if let Some(list) = list.as_array_of_tables_mut() {
        list.push(table);
    }
}

/// Places a table behind all else, comments at the end of the file included.
fn place_last(doc: &mut DocumentMut, table: &mut Table) {
    let mut last = 0;
    each_table(doc, |t| last = last.max(t.position().unwrap_or_default()));
    table.set_position(Some(last.saturating_add(1)));
    let mut above = doc.trailing().as_str().unwrap_or_default().to_owned();
    if !above.is_empty() && !above.ends_with('\n') {
        above.push('\n');
    }
    if !above.ends_with("\n\n") {
        above.push('\n');
    }
    table.decor_mut().set_prefix(above);
    doc.set_trailing("");
}

fn remove_entry(doc: &mut DocumentMut, key: &str, index: usize) -> Result<(), LabError> {
    let item = doc.get_mut(key).ok_or(LabError::NoEntry)?;
    if let Some(array) = item.as_array_mut() {
        if index >= array.len() {
            return Err(LabError::NoEntry);
        }
        array.remove(index);
        return Ok(());
    }
    let array = item.as_array_of_tables_mut().ok_or(LabError::NoEntry)?;
    let table = array.get(index).ok_or(LabError::NoEntry)?;
    let position = table.position();
    let above = table.decor().prefix().and_then(|p| p.as_str()).unwrap_or_default();
    // What stands apart from the entry, behind an empty line, is not about it.
    let apart = above.rfind("\n\n").and_then(|n| above.get(..=n)).unwrap_or_default().to_owned();
    array.remove(index);
    if array.is_empty() {
        doc.remove(key);
    }
    if apart.trim().is_empty() {
        return Ok(());
    }
    let mut next: Option<isize> = None;
    each_table(doc, |t| {
        if t.position() > position && next.is_none_or(|n| t.position() < Some(n)) {
            next = t.position();
        }
    });
    match next {
        None => {
            let rest = doc.trailing().as_str().unwrap_or_default().to_owned();
            doc.set_trailing(apart + &rest);
        }
        Some(_) => each_table(doc, |t| {
            if t.position() == next {
                let own = t.decor().prefix().and_then(|p| p.as_str()).unwrap_or_default().to_owned();
                t.decor_mut().set_prefix(apart.clone() + &own);
            }
        }),
    }
    Ok(())
}

/// Visits every table that has a header.
fn each_table(doc: &mut DocumentMut, visit: impl FnMut(&mut Table)) {
    struct Visitor<F>(F);
    impl<F: FnMut(&mut Table)> VisitMut for Visitor<F> {
        fn visit_table_mut(&mut self, table: &mut Table) {
            if !table.is_implicit() && !table.is_dotted() {
                (self.0)(table);
            }
            visit_mut::visit_table_mut(self, table);
        }
    }
    let mut visitor = Visitor(visit);
    for (_, item) in doc.iter_mut() {
        visitor.visit_item_mut(item);
    }
}

fn boot_value(boot: &Boot) -> Value {
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

fn iscsi_value(iscsi: &IscsiBoot) -> Value {
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

fn path_text(path: &Path) -> Result<&str, LabError> {
    path.to_str().ok_or_else(|| {
        let message = format!("the file name {} is not UTF-8 and cannot stand in lab.toml", path.display());
        LabError::Problems(vec![Problem::error(None, message).suggest("rename the file")])
    })
}

fn allow_text(allow: &Allow) -> String {
    match allow {
        Allow::Net(Ipv4Cidr { address, prefix: 32 }) => Ipv4Addr::to_string(address),
        Allow::Net(net) => net.to_string(),
        Allow::Initiator(prefix) => prefix.clone(),
    }
}

fn mode_word(mode: Mode) -> &'static str {
    match mode {
        Mode::Dhcp => "dhcp",
        Mode::Proxy => "proxy",
        Mode::Auto => "auto",
    }
}

fn kind_word(kind: ProfileKind) -> &'static str {
    match kind {
        ProfileKind::Preseed => "preseed",
        ProfileKind::Kickstart => "kickstart",
        ProfileKind::Autoinstall => "autoinstall",
        ProfileKind::None => "none",
    }
}

fn iscsi_args_word(args: IscsiArgs) -> &'static str {
    match args {
        IscsiArgs::Debian => "debian",
        IscsiArgs::Dracut => "dracut",
        IscsiArgs::None => "none",
    }
}

#[cfg(test)]
mod tests;
