use super::*;
use crate::inspect::volume::Tree;

/// Who would take the network away, and of what.
fn found(files: &[(&str, &str)], generator: Generator) -> Vec<(NetworkSetter, String)> {
    troubles(&Tree::of(files), Some(generator)).into_iter().map(|t| (t.by, t.what)).collect()
}

fn of_dracut(files: &[(&str, &str)]) -> Vec<(NetworkSetter, String)> {
    found(files, Generator::Dracut)
}

#[test]
fn cloud_init_knows_what_debians_initramfs_did_and_no_more() {
    let on = ("/usr/bin/cloud-init", "");
    let config = ("/etc/cloud/cloud.cfg", "users:\n - default\n");
    assert_eq!(of_dracut(&[on, config]), [(NetworkSetter::CloudInit, String::new())]);
    assert_eq!(found(&[on, config], Generator::InitramfsTools), []);
    assert_eq!(of_dracut(&[config]), []);
    assert_eq!(of_dracut(&[on, config, ("/etc/cloud/cloud-init.disabled", "")]), []);
    for off in ["network: {config: disabled}\n", "network:\n  config: disabled\n"] {
        assert_eq!(of_dracut(&[on, config, ("/etc/cloud/cloud.cfg.d/99.cfg", off)]), []);
    }
    let comment = ("/etc/cloud/cloud.cfg.d/99.cfg", "# network: {config: disabled}\n");
    assert_eq!(of_dracut(&[on, config, comment]).len(), 1);
}

#[test]
fn netplan_wants_critical() {
    let plan = |rest: &str| format!("network:\n  version: 2\n  ethernets:\n    eth0:\n      dhcp4: true\n{rest}");
    let bad = |text: &str| of_dracut(&[("/etc/netplan/50.yaml", text)]);
    assert_eq!(bad(&plan("")), [(NetworkSetter::Netplan, "eth0".into())]);
    assert_eq!(bad(&plan("      critical: true\n")), []);
    assert_eq!(
        bad(&plan("      critical: true\n    eth1:\n      dhcp4: true\n")),
        [(NetworkSetter::Netplan, "eth1".into())]
    );
    assert_eq!(bad(&plan("  renderer: NetworkManager\n")), []);
    assert_eq!(bad("network:\n  ethernets:\n    e0: {dhcp4: true, critical: true}\n"), []);
    assert_eq!(bad("network: {}\n"), []);
}

#[test]
fn networkd_wants_to_keep_what_is_there() {
    let enabled = ("/etc/systemd/system/multi-user.target.wants/systemd-networkd.service", "");
    let file = "/etc/systemd/network/20-wired.network";
    let text = "[Match]\nName=en*\n[Network]\nDHCP=yes\n";
    assert_eq!(of_dracut(&[enabled, (file, text)]), [(NetworkSetter::Networkd, "en*".into())]);
    assert_eq!(of_dracut(&[(file, text)]), [], "it does not run");
    assert_eq!(of_dracut(&[enabled, (file, &format!("{text}KeepConfiguration=yes\n"))]), []);
    assert_eq!(of_dracut(&[enabled, (file, "[Match]\nName=en*\n[Network]\nLLDP=yes\n")]), []);
}

#[test]
fn networkmanager_is_harmless_unless_it_takes_the_address_away() {
    let file = "/etc/NetworkManager/system-connections/Wired.nmconnection";
    let with = |method: &str, more: &str| {
        format!("[connection]\nid=Wired\ntype=ethernet\n{more}\n[ipv4]\nmethod={method}\n[ipv6]\nmethod=disabled\n")
    };
    assert_eq!(of_dracut(&[(file, &with("auto", ""))]), []);
    assert_eq!(of_dracut(&[(file, &with("disabled", ""))]), [(NetworkSetter::NetworkManager, "Wired".into())]);
    assert_eq!(of_dracut(&[(file, &with("disabled", "autoconnect=false"))]), []);
    assert_eq!(of_dracut(&[(file, &with("shared", "").replace("ethernet", "wifi"))]), []);
}

#[test]
fn ifupdown_is_told_where_it_brings_an_interface_up() {
    let ifup = ("/usr/sbin/ifup", "");
    let file = "/etc/network/interfaces";
    let text = "source /etc/network/interfaces.d/*\nauto lo\niface lo inet loopback\nallow-hotplug ens3\niface ens3 inet dhcp\n";
    assert_eq!(of_dracut(&[ifup, (file, text)]), [(NetworkSetter::Ifupdown, "ens3".into())]);
    assert_eq!(of_dracut(&[(file, text)]), [], "it is not installed");
    assert_eq!(of_dracut(&[ifup, (file, &text.replace("dhcp", "manual"))]), []);
    assert_eq!(of_dracut(&[ifup, (file, "auto lo\niface lo inet loopback\niface ens3 inet dhcp\n")]), []);
    let split = [ifup, (file, "auto ens3\n"), ("/etc/network/interfaces.d/ens3", "iface ens3 inet static\n")];
    assert_eq!(of_dracut(&split), [(NetworkSetter::Ifupdown, "ens3".into())]);
}
