//! Settings: the keys of lab.toml that a person changes in the window, each by the place where it stands and its name.
//!
//! [`Settings`] is what is written there; [`SettingChange`] changes it. Whether a value may stand in lab.toml only the reader of the
//! file says ([`crate::lab::Document::change_settings`] writes and reads it), so the window and the file cannot disagree.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use toml_edit::{Document, Item, TableLike, Value};

use super::schema::{Boot, Lab, Unknown};
use crate::api::HostId;

/// Where a setting stands. Entries are named by what they are known by, not counted: a person may edit the file meanwhile.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "in", rename_all = "kebab-case")]
pub enum SettingPlace {
    /// `[network]`.
    Network {
        /// Its interface.
        interface: String,
    },
    /// `[[network.subnet]]`.
    Subnet {
        /// The interface of its network.
        interface: String,
        /// Its `subnet`, as written.
        subnet: String,
    },
    /// `[ports]`.
    Ports,
    /// `[[firmware]]`.
    Firmware {
        /// Its `arch`, as written.
        arch: Option<String>,
        /// Its `mac`, as written.
        mac: Option<String>,
    },
    /// `[[profile]]`.
    Profile {
        /// Its name.
        name: String,
    },
    /// `[[disk]]`.
    Disk {
        /// Its name.
        name: String,
    },
    /// `[[host]]`. A machine that has none gets one with the first key that is written.
    Host {
        /// The machine.
        host: HostId,
    },
}

/// What is written for a key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SettingValue {
    /// `true` or `false`.
    Flag(bool),
    /// A number.
    Number(i64),
    /// A text.
    Text(String),
    /// Texts; a single one is written without brackets.
    List(Vec<String>),
    /// Numbers, such as a seat's row and column.
    Numbers(Vec<i64>),
    /// What machines get.
    Boot(Boot),
    /// A secret.
    Secret(NewSecret),
}

impl SettingValue {
    /// A text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// As a person types it into one line; of a secret nothing.
    #[must_use]
    pub fn shown(&self) -> String {
        match self {
            Self::Flag(on) => on.to_string(),
            Self::Number(n) => n.to_string(),
            Self::Text(text) => text.clone(),
            Self::List(all) => all.join(", "),
            Self::Numbers(all) => all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
            Self::Boot(boot) => boot.to_string(),
            Self::Secret(_) => String::new(),
        }
    }
}

/// A secret on its way into lab.toml; `None` stands for one that is there and is not told. Never printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NewSecret(pub Option<String>);

impl fmt::Debug for NewSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// One change. Several are made together or not at all; in all of them an entry has the place that it has before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
pub enum SettingChange {
    /// Writes a key, or takes it away, so that its default is in force.
    Set {
        /// Where.
        place: SettingPlace,
        /// Which; a key inside another one's table has both names, `lease.max`.
        key: String,
        /// What.
        value: Option<SettingValue>,
    },
    /// Adds a `[[network.subnet]]` or `[[firmware]]`.
    Add {
        /// What it will be known by.
        place: SettingPlace,
        /// Its other keys.
        keys: BTreeMap<String, SettingValue>,
    },
    /// Removes one of these, with the comment directly above it.
    Remove {
        /// Which.
        place: SettingPlace,
    },
}

impl SettingChange {
    /// Where it is.
    #[must_use]
    pub fn place(&self) -> &SettingPlace {
        match self {
            Self::Set { place, .. } | Self::Add { place, .. } | Self::Remove { place } => place,
        }
    }

    /// The key that it changes, where it is one.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::Set { key, .. } => Some(key),
            Self::Add { .. } | Self::Remove { .. } => None,
        }
    }

    /// Whether machines that nobody assigned anything would be installed because of it.
    #[must_use]
    pub fn installs_unknown(&self) -> bool {
        matches!(self, Self::Set { value: Some(SettingValue::Boot(Boot::Install(_))), .. })
    }
}

/// What the reader of lab.toml says of changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SettingProblem {
    /// The number of the change at fault; absent where it is no one of them.
    pub change: Option<usize>,
    /// The sentence: what is wrong and what was expected.
    pub message: String,
    /// Nothing is written; otherwise it works, but hardly as meant.
    pub error: bool,
}

/// What is written in lab.toml. Of secrets it is told that they are set.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Settings {
    /// In the order of the file.
    pub entries: Vec<SettingEntry>,
}

/// An entry and the keys that are written in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SettingEntry {
    /// Where.
    pub place: SettingPlace,
    /// What; a key that is not here has its default.
    pub keys: BTreeMap<String, SettingValue>,
}

impl Settings {
    /// The entry there.
    #[must_use]
    pub fn entry(&self, place: &SettingPlace) -> Option<&SettingEntry> {
        self.entries.iter().find(|entry| entry.place == *place)
    }

    /// What is written for a key.
    #[must_use]
    pub fn value(&self, place: &SettingPlace, key: &str) -> Option<&SettingValue> {
        self.entry(place)?.keys.get(key)
    }

    /// What undoes these changes. A secret that is replaced or removed does not come back: it is not known here.
    #[must_use]
    pub fn undo(&self, changes: &[SettingChange]) -> Vec<SettingChange> {
        let back = |change: &SettingChange| match change {
            SettingChange::Set { place, key, .. } => {
                let was = self.value(place, key).cloned();
                if matches!(was, Some(SettingValue::Secret(_))) {
                    return None;
                }
                Some(SettingChange::Set { place: renamed(changes, place), key: key.clone(), value: was })
            }
            SettingChange::Add { place, .. } => Some(SettingChange::Remove { place: place.clone() }),
            SettingChange::Remove { place } => {
                let mut keys = self.entry(place)?.keys.clone();
                keys.retain(|key, _| !["subnet", "arch", "mac"].contains(&key.as_str()));
                Some(SettingChange::Add { place: place.clone(), keys })
            }
        };
        let mut undo: Vec<SettingChange> = changes.iter().rev().filter_map(back).collect();
        // Half of a login without its secret would be refused.
        if undo.len() < changes.len() {
            undo.retain(|change| change.key().is_none_or(|key| !key.starts_with("chap.")));
        }
        undo
    }
}

/// What an entry is known by after these changes: some of its own keys are what it is known by.
pub(super) fn renamed(changes: &[SettingChange], place: &SettingPlace) -> SettingPlace {
    let mut now = place.clone();
    for change in changes {
        let SettingChange::Set { place: of, key, value } = change else { continue };
        if of != place {
            continue;
        }
        let text = value.as_ref().map(SettingValue::shown);
        match (&mut now, key.as_str()) {
            (SettingPlace::Subnet { subnet, .. }, "subnet") => *subnet = text.unwrap_or_default(),
            (SettingPlace::Firmware { arch, .. }, "arch") => *arch = text,
            (SettingPlace::Firmware { mac, .. }, "mac") => *mac = text,
            _ => {}
        }
    }
    now
}

/// The keys that can be changed there, in the order in which a person reads them.
#[must_use]
pub fn setting_keys(place: &SettingPlace) -> &'static [&'static str] {
    match place {
        SettingPlace::Network { .. } => &[
            "address",
            "mode",
            "force",
            "range",
            "router",
            "dns",
            "domain",
            "lease.default",
            "lease.max",
            "unknown",
            "unknown-erases-disks",
            "wait-timeout",
        ],
        SettingPlace::Subnet { .. } => &["subnet", "range", "router", "dns", "domain", "lease.default", "lease.max"],
        SettingPlace::Ports => &["http", "https", "iscsi"],
        SettingPlace::Firmware { .. } => &["arch", "mac", "file", "https"],
        SettingPlace::Profile { .. } => &["args", "hypervisor-args", "iscsi-args", "kind", "arch"],
        SettingPlace::Disk { .. } => &[
            "writes",
            "readonly",
            "removable",
            "allow",
            "redirect",
            "chap.user",
            "chap.secret",
            "chap.mutual-user",
            "chap.mutual-secret",
        ],
        SettingPlace::Host { .. } => &["name", "group", "seat", "mac", "uuid", "address", "firmware"],
    }
}

/// The settings of a lab.toml that has no errors, and that `lab` was read from. `hosts` are the machines of its entries.
#[must_use]
pub(crate) fn settings_of(text: &str, lab: &Lab, hosts: &[HostId]) -> Settings {
    let plain = text.strip_prefix('\u{feff}').unwrap_or(text).to_owned();
    let Ok(document) = Document::parse(plain) else { return Settings::default() };
    let root = document.as_table();
    let mut settings = Settings::default();
    let mut add = |place: SettingPlace, table: &dyn TableLike| {
        let keys = setting_keys(&place).iter().filter_map(|key| Some(((*key).to_owned(), written(table, key)?)));
        let mut keys: BTreeMap<String, SettingValue> = keys.collect();
        if let SettingPlace::Network { interface } = &place
            && let Some(network) = lab.networks.iter().find(|n| n.interface == *interface)
            && let Unknown::Boot(boot) = &network.unknown
        {
            keys.insert("unknown".to_owned(), SettingValue::Boot(boot.clone()));
        }
        settings.entries.push(SettingEntry { place, keys });
    };
    for network in entries(root.get("network")) {
        let interface = text_of(network, "interface").unwrap_or_default();
        add(SettingPlace::Network { interface: interface.clone() }, network);
        for subnet in entries(network.get("subnet")) {
            let own = text_of(subnet, "subnet").unwrap_or_default();
            add(SettingPlace::Subnet { interface: interface.clone(), subnet: own }, subnet);
        }
    }
    for ports in entries(root.get("ports")) {
        add(SettingPlace::Ports, ports);
    }
    for rule in entries(root.get("firmware")) {
        add(SettingPlace::Firmware { arch: text_of(rule, "arch"), mac: text_of(rule, "mac") }, rule);
    }
    for profile in entries(root.get("profile")) {
        add(SettingPlace::Profile { name: text_of(profile, "name").unwrap_or_default() }, profile);
    }
    for disk in entries(root.get("disk")) {
        add(SettingPlace::Disk { name: text_of(disk, "name").unwrap_or_default() }, disk);
    }
    for (host, id) in entries(root.get("host")).into_iter().zip(hosts) {
        add(SettingPlace::Host { host: *id }, host);
    }
    settings
}

/// The tables of a key, whichever way a person wrote them.
pub(super) fn entries(item: Option<&Item>) -> Vec<&dyn TableLike> {
    match item {
        Some(Item::ArrayOfTables(all)) => all.iter().map(|t| t as &dyn TableLike).collect(),
        Some(Item::Value(Value::Array(all))) => {
            all.iter().filter_map(Value::as_inline_table).map(|t| t as &dyn TableLike).collect()
        }
        Some(item) => item.as_table_like().into_iter().collect(),
        None => Vec::new(),
    }
}

/// Whether a table is the entry that is known so.
pub(super) fn is_entry(table: &dyn TableLike, place: &SettingPlace) -> bool {
    let is = |key: &str, text: &str| table.get(key).and_then(Item::as_str) == Some(text);
    match place {
        SettingPlace::Network { interface } => is("interface", interface),
        SettingPlace::Subnet { subnet, .. } => is("subnet", subnet),
        SettingPlace::Firmware { arch, mac } => text_of(table, "arch") == *arch && text_of(table, "mac") == *mac,
        SettingPlace::Profile { name } | SettingPlace::Disk { name } => is("name", name),
        SettingPlace::Ports | SettingPlace::Host { .. } => true,
    }
}

/// The item of a key, or of a key inside another one's table. A plain `lease` is its `default`.
pub(super) fn item_of<'t>(table: &'t dyn TableLike, key: &str) -> Option<&'t Item> {
    let Some((outer, inner)) = key.split_once('.') else { return table.get(key) };
    let item = table.get(outer)?;
    match item.as_table_like() {
        Some(within) => within.get(inner),
        None => Some(item).filter(|_| key == "lease.default"),
    }
}

fn text_of(table: &dyn TableLike, key: &str) -> Option<String> {
    table.get(key).and_then(Item::as_str).map(str::to_owned)
}

fn written(table: &dyn TableLike, key: &str) -> Option<SettingValue> {
    let item = item_of(table, key)?;
    if key.ends_with("secret") {
        return Some(SettingValue::Secret(NewSecret(None)));
    }
    match item {
        Item::Value(Value::Boolean(on)) => Some(SettingValue::Flag(*on.value())),
        Item::Value(Value::Integer(n)) => Some(SettingValue::Number(*n.value())),
        Item::Value(Value::String(text)) => Some(SettingValue::Text(text.value().clone())),
        Item::Value(Value::Array(all)) if !all.is_empty() && all.iter().all(Value::is_integer) => {
            Some(SettingValue::Numbers(all.iter().filter_map(Value::as_integer).collect()))
        }
        Item::Value(Value::Array(all)) => {
            Some(SettingValue::List(all.iter().filter_map(Value::as_str).map(str::to_owned).collect()))
        }
        _ => None,
    }
}
