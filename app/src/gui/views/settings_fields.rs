//! The settings of lab.toml as a form has them: how each key is called, how it is typed, and what is so where nothing is written.

use bootyard_core::api::{HostId, Snapshot};
use bootyard_core::lab::{Lease, Ports, SettingPlace, SettingValue, Settings, duration_text};

use crate::gui::lang::t;
use crate::gui::{say, targets};

/// How a value is given.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Form {
    /// One line.
    Text,
    /// Several, between commas.
    List,
    /// A number.
    Number,
    /// Several, between commas.
    Numbers,
    /// Yes or no; absent is no.
    Flag,
    /// One of a few words, each with its name; the first is so by default.
    Words(Vec<(&'static str, &'static str)>),
    /// A secret, which is never shown.
    Secret,
}

/// One key.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Field {
    /// As lab.toml calls it.
    pub(super) key: &'static str,
    /// As the window calls it.
    pub(super) label: &'static str,
    /// What it means.
    pub(super) tip: &'static str,
    pub(super) form: Form,
    /// What is so where nothing is written.
    pub(super) default: String,
}

impl Form {
    /// What this text would be in lab.toml; `None`: nothing is written. What does not fit goes as it is, and the reader says so.
    pub(super) fn value(&self, text: &str) -> Option<SettingValue> {
        let text = text.trim();
        if text.is_empty() {
            return None;
        }
        Some(match self {
            Self::Number => text.parse().map_or_else(|_| SettingValue::text(text), SettingValue::Number),
            Self::Numbers => {
                let all: Result<Vec<i64>, _> = text.split(',').map(|one| one.trim().parse()).collect();
                all.map_or_else(|_| SettingValue::text(text), SettingValue::Numbers)
            }
            Self::Flag => SettingValue::Flag(text == "true"),
            Self::List => {
                let all: Vec<String> =
                    text.split(',').map(str::trim).filter(|one| !one.is_empty()).map(str::to_owned).collect();
                match all.as_slice() {
                    [] => return None,
                    [one] => SettingValue::text(one.as_str()),
                    _ => SettingValue::List(all),
                }
            }
            Self::Secret => SettingValue::Secret(bootyard_core::lab::NewSecret(Some(text.to_owned()))),
            Self::Text | Self::Words(_) => SettingValue::text(text),
        })
    }
}

/// Whether two values mean the same: a list of one is that one.
pub(super) fn same(a: Option<&SettingValue>, b: Option<&SettingValue>) -> bool {
    let plain = |value: Option<&SettingValue>| match value {
        Some(SettingValue::List(all)) => match all.as_slice() {
            [one] => Some(SettingValue::text(one.as_str())),
            _ => Some(SettingValue::List(all.clone())),
        },
        Some(SettingValue::Flag(false)) => None,
        other => other.cloned(),
    };
    plain(a) == plain(b)
}

fn field(key: &'static str, label: &'static str, form: Form, default: impl Into<String>, tip: &'static str) -> Field {
    Field { key, label, tip, form, default: default.into() }
}

/// The keys of a place, in the order in which they are shown. What machines without an assignment get is a card of its own.
pub(super) fn fields(place: &SettingPlace, shot: &Snapshot) -> Vec<Field> {
    match place {
        SettingPlace::Network { interface } => network(interface, shot),
        SettingPlace::Subnet { interface, .. } => subnet(interface, &shot.settings),
        SettingPlace::Ports => ports(),
        SettingPlace::Firmware { .. } => firmware(),
        SettingPlace::Profile { .. } => profile(),
        SettingPlace::Disk { .. } => disk(),
        SettingPlace::Host { host } => machine(*host, shot),
    }
}

fn network(interface: &str, shot: &Snapshot) -> Vec<Field> {
    let own = shot.interfaces.iter().find(|i| i.name == interface).and_then(|i| i.addresses.first().cloned());
    let modes = vec![
        ("auto", t!("Automatic")),
        ("dhcp", t!("Give the addresses (DHCP server)")),
        ("proxy", t!("Beside another DHCP server (ProxyDHCP)")),
    ];
    let mut all = vec![
        field(
            "mode",
            t!("Mode"),
            Form::Words(modes),
            "auto",
            t!(
                "Who gives the addresses. Automatic: this computer, unless another DHCP server answers when it is looked for"
            ),
        ),
        field(
            "address",
            t!("Own address"),
            Form::Text,
            own.unwrap_or_else(|| t!("The interface has none").to_owned()),
            t!("Put on the interface while serving, if it has none; with its prefix length, such as 192.168.2.1/24"),
        ),
    ];
    all.extend(addresses(t!("The free part of the interface's own subnet"), t!("None"), t!("None")));
    all.extend(leases(None));
    all.push(field(
        "force",
        t!("Serve DHCP beside another DHCP server"),
        Form::Flag,
        "",
        t!("Two servers give the addresses of one network then, and machines take whichever answers first"),
    ));
    all
}

/// How long a waiting machine waits.
pub(super) fn waiting() -> Field {
    field(
        "wait-timeout",
        t!("A machine waits"),
        Form::Text,
        t!("For ever"),
        t!("Then it boots from its own disk: a number with s, m or h, such as 10m"),
    )
}

fn addresses(range: impl Into<String>, dns: impl Into<String>, domain: impl Into<String>) -> [Field; 4] {
    [
        field(
            "range",
            t!("Addresses to give"),
            Form::List,
            range,
            t!("One range or several between commas, such as 192.168.2.20-192.168.2.200"),
        ),
        field(
            "router",
            t!("Router"),
            Form::Text,
            t!("None"),
            t!("The machines' way to other networks (DHCP option 3)"),
        ),
        field("dns", t!("DNS servers"), Form::List, dns, t!("Addresses between commas (DHCP option 6)")),
        field("domain", t!("Domain"), Form::Text, domain, t!("Such as lab.example.org (DHCP option 15)")),
    ]
}

/// `network`: what the network of a subnet says.
fn leases(network: Option<[String; 2]>) -> [Field; 2] {
    let standard = Lease::default();
    let [default, max] = network.unwrap_or_else(|| [duration_text(standard.default), duration_text(standard.max)]);
    [
        field(
            "lease.default",
            t!("Lease"),
            Form::Text,
            default,
            t!("How long a machine may keep its address without asking again: a number with s, m, h or d, such as 30m"),
        ),
        field("lease.max", t!("Longest lease"), Form::Text, max, t!("The most that a machine can ask for")),
    ]
}

fn subnet(interface: &str, settings: &Settings) -> Vec<Field> {
    let network = SettingPlace::Network { interface: interface.to_owned() };
    let of_network = |key: &str, default: &str| {
        settings.value(&network, key).map_or_else(|| default.to_owned(), SettingValue::shown)
    };
    let standard = Lease::default();
    let mut all = vec![field(
        "subnet",
        t!("Subnet"),
        Form::Text,
        t!("Such as 10.1.0.0/24"),
        t!("Its machines' requests come through a DHCP relay, such as a router or a switch"),
    )];
    all.extend(addresses(
        t!("Such as 10.1.0.20-10.1.0.200"),
        of_network("dns", t!("None")),
        of_network("domain", t!("None")),
    ));
    all.extend(leases(Some([
        of_network("lease.default", &duration_text(standard.default)),
        of_network("lease.max", &duration_text(standard.max)),
    ])));
    all
}

fn ports() -> Vec<Field> {
    let standard = Ports::default();
    vec![
        field(
            "http",
            "HTTP",
            Form::Number,
            standard.http.to_string(),
            t!("Scripts, kernels and initrds come from there"),
        ),
        field("https", "HTTPS", Form::Number, standard.https.to_string(), t!("For firmware that loads by HTTPS alone")),
        field("iscsi", "iSCSI", Form::Number, standard.iscsi.to_string(), t!("Disks are served there")),
    ]
}

fn firmware() -> Vec<Field> {
    vec![
        field(
            "arch",
            t!("Architecture"),
            Form::Text,
            t!("Any, such as bios, uefi-x64, uefi-arm64"),
            t!("The rule is for machines of this architecture alone"),
        ),
        field(
            "mac",
            t!("MAC begins with"),
            Form::Text,
            t!("Any, such as b8:27:eb"),
            t!("The rule is for machines whose hardware address begins so"),
        ),
        field(
            "file",
            t!("Boot file"),
            Form::Text,
            t!("Such as snponly.efi"),
            t!("A file in the lab's folder firmware/, or one that was installed with iPXE"),
        ),
        field(
            "https",
            t!("Load it by HTTPS"),
            Form::Flag,
            "",
            t!("For UEFI HTTP Boot of firmware that knows the lab's authority and refuses plain HTTP"),
        ),
    ]
}

fn profile() -> Vec<Field> {
    let roots = vec![
        ("", t!("Nothing is said")),
        ("debian", t!("Debian's arguments")),
        ("dracut", t!("dracut's arguments")),
        ("none", t!("By the iBFT alone")),
    ];
    vec![
        field(
            "args",
            t!("Kernel arguments"),
            Form::Text,
            t!("None"),
            t!("The argument that names the answers is appended"),
        ),
        field("hypervisor-args", t!("Xen's arguments"), Form::Text, t!("None"), t!("Such as dom0_mem=1G")),
        field(
            "iscsi-args",
            t!("Root on iSCSI"),
            Form::Words(roots),
            "",
            t!("How its initramfs is told of the disk on which its root is"),
        ),
        field(
            "arch",
            t!("Only for"),
            Form::List,
            t!("Every architecture"),
            t!("Architectures between commas, such as bios, uefi-x64"),
        ),
    ]
}

fn disk() -> Vec<Field> {
    let writes = vec![("keep", t!("Keep")), ("fresh", t!("Fresh")), ("image", t!("Image"))];
    vec![
        field(
            "writes",
            t!("Writes"),
            Form::Words(writes),
            "keep",
            t!(
                "Keep: each machine keeps its own changes. Fresh: each starts anew at every boot. Image: into the image itself"
            ),
        ),
        field("readonly", t!("Read-only"), Form::Flag, "", t!("No machine can write to it at all")),
        field(
            "removable",
            t!("A removable medium"),
            Form::Flag,
            "",
            t!("Machines see it as a stick, not as a fixed disk"),
        ),
        field(
            "allow",
            t!("Also allowed"),
            Form::List,
            t!("Nobody but the machines that it is assigned to"),
            t!("Addresses, networks such as 192.168.2.0/24, or beginnings of initiators' names, between commas"),
        ),
        field(
            "redirect",
            t!("Moved to"),
            Form::Text,
            t!("It is served here"),
            t!("Another target's address: whoever logs in is sent there"),
        ),
        field(
            "chap.user",
            t!("CHAP user"),
            Form::Text,
            t!("No login is asked for"),
            t!("Initiators prove who they are by CHAP"),
        ),
        field(
            "chap.secret",
            t!("CHAP secret"),
            Form::Secret,
            "",
            t!("12 to 16 characters; many initiators take no others"),
        ),
        field(
            "chap.mutual-user",
            t!("Our CHAP user"),
            Form::Text,
            t!("We prove nothing"),
            t!("Mutual CHAP: this computer proves who it is, too"),
        ),
        field("chap.mutual-secret", t!("Our CHAP secret"), Form::Secret, "", t!("Another one than the initiator's")),
    ]
}

fn machine(host: HostId, shot: &Snapshot) -> Vec<Field> {
    let machine = targets::host(shot, host);
    let place = SettingPlace::Host { host };
    let own_name = machine.filter(|_| shot.settings.value(&place, "name").is_none()).and_then(|m| m.name.as_deref());
    let calls_itself = own_name.map(|name| t!("It calls itself {name}", name = say::clean_to(name, 40)));
    let macs = machine.map(|m| m.macs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "));
    let arch = machine.and_then(|m| m.arch);
    let usual = shot.firmware.iter().find(|f| Some(f.arch) == arch && f.path.is_some());
    vec![
        field(
            "name",
            t!("Name"),
            Form::Text,
            calls_itself.unwrap_or_else(|| t!("None, such as pc-01").to_owned()),
            t!("Letters a-z, digits and hyphens; each machine has its own"),
        ),
        field(
            "group",
            t!("Group"),
            Form::Text,
            t!("None, such as room-1"),
            t!("A room, or a row of one. In another group it has no seat yet"),
        ),
        field(
            "seat",
            t!("Seat"),
            Form::Numbers,
            t!("None, such as 2, 3"),
            t!("Row and column in the group's seating plan; the first row is at the front"),
        ),
        field(
            "address",
            t!("Fixed address"),
            Form::Text,
            t!("Any free one"),
            t!("It is given this one from its next boot on, and no other machine is"),
        ),
        field(
            "firmware",
            t!("Boot file"),
            Form::Text,
            usual.map_or_else(
                || t!("As its architecture has it").to_owned(),
                |f| t!("As its architecture has it: {file}", file = say::clean(&f.file)),
            ),
            t!("Before every rule. A file in the lab's folder firmware/, or one that was installed with iPXE"),
        ),
        field(
            "mac",
            "MAC",
            Form::List,
            macs.unwrap_or_default(),
            t!("Its hardware address; several between commas. With another one it is still this machine"),
        ),
        field(
            "uuid",
            "UUID",
            Form::Text,
            t!("Not compared"),
            t!("Tells machines apart that share one MAC, as those at one dock do; each of them needs its own"),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use bootyard_core::lab::setting_keys;

    use super::*;

    #[test]
    fn the_forms_offer_every_key_that_can_be_changed() {
        let interface = "eth0".to_owned();
        let places = [
            SettingPlace::Network { interface: interface.clone() },
            SettingPlace::Subnet { interface, subnet: String::new() },
            SettingPlace::Ports,
            SettingPlace::Firmware { arch: None, mac: None },
            SettingPlace::Profile { name: "a".into() },
            SettingPlace::Disk { name: "a".into() },
            SettingPlace::Host { host: HostId(1) },
        ];
        // Those of the card of unknown machines, and what the file's content says better.
        let elsewhere = ["unknown", "unknown-erases-disks", "wait-timeout", "kind"];
        for place in places {
            let mut shown: Vec<&str> = fields(&place, &Snapshot::default()).iter().map(|f| f.key).collect();
            shown.sort_unstable();
            let mut known: Vec<&str> =
                setting_keys(&place).iter().copied().filter(|k| !elsewhere.contains(k)).collect();
            known.sort_unstable();
            assert_eq!(shown, known, "{place:?}");
        }
    }

    #[test]
    fn what_is_typed_becomes_what_the_file_would_say() {
        assert_eq!(Form::List.value(" 1.1.1.1 , "), Some(SettingValue::text("1.1.1.1")));
        assert_eq!(Form::List.value("a, b"), Some(SettingValue::List(vec!["a".into(), "b".into()])));
        assert_eq!((Form::List.value(" , "), Form::Text.value("  ")), (None, None));
        assert_eq!(Form::Number.value("80"), Some(SettingValue::Number(80)));
        assert_eq!(Form::Number.value("80a"), Some(SettingValue::text("80a")), "the reader of the file refuses it");
        assert_eq!(Form::Numbers.value("2, 3"), Some(SettingValue::Numbers(vec![2, 3])));
        assert_eq!(Form::Numbers.value("2, x"), Some(SettingValue::text("2, x")));
        let one = SettingValue::List(vec!["a".into()]);
        assert!(same(Some(&one), Some(&SettingValue::text("a"))) && same(Some(&SettingValue::Flag(false)), None));
    }
}
