//! Beside dnsmasq: D2 to D6, and files that another server names.

use std::time::Duration;

use anyhow::{Result, ensure};
use bootyard_tests::bootyard::{LabDir, Serve, is, seconds_between};
use bootyard_tests::dnsmasq::Dnsmasq;
use bootyard_tests::findings::Scene;
use bootyard_tests::netns::Netns;
use serde_json::Value;

use crate::stops::idle_disk;
use crate::{DHCP, FIRMWARE, Firewall, OURS, SOON, power_on, script};

const PROXY: &str = "mode = \"proxy\"";
/// An offer that UEFI prefers to any ProxyDHCP offer: of a PXE server, with the word to take the file that it names (PXE 2.1).
const OUTRANKS: [&str; 2] = ["--dhcp-option-force=60,PXEClient", "--dhcp-option-force=43,06:01:08:ff"];

/// Addresses of ours beside addresses of dnsmasq's, on a switch that drops our offers as DHCP snooping does.
#[test]
#[ignore = "long: tests/run --long firmware-findings-all"]
fn a_second_server_gives_the_address_and_goes() -> Result<()> {
    const MAC: &str = "52:54:00:00:0f:11";
    let bench = Netns::bench("fsecond", Some(OURS))?;
    let mut lab = LabDir::new("firmware-second", &format!("{DHCP}\nforce = true"))?;
    lab.add_host(MAC, "bench-1", "\"wait\"")?;
    let mut dnsmasq = Dnsmasq::start(&bench, lab.scratch(), &["--no-ping", "--dhcp-broadcast"])?;
    let serve = Serve::start(&bench, &lab)?;
    let scene = Scene { bench: &bench, lab: &lab, serve: &serve, mac: MAC, firmware: "BIOS" };
    bench
        .tool("nft", &["add table bridge snoop; add chain bridge snoop out { type filter hook output priority 0; }"])?;
    bench.tool("nft", &["add rule bridge snoop out ether type ip udp sport 67 drop"])?;
    let machine = power_on(&scene, "second-1")?;
    let said = scene.told("D5", "dnsmasq gives addresses, too, and iPXE takes its", "took-other-offer", FIRMWARE)?;
    ensure!(said["seen"].to_string().contains(Dnsmasq::ADDRESS), "{said}");
    scene.told("D5", "the same", "second-dhcp", SOON)?;
    drop(machine);

    bench.tool("nft", &["delete table bridge snoop"])?;
    dnsmasq.stop();
    let behind = scene.now();
    let _machine = power_on(&scene, "second-2")?;
    script(&scene, behind)?;
    scene.cured("took-other-offer", "dnsmasq is gone, and the machine boots", SOON)?;
    lab.no_findings(&bench, MAC)?;
    let gone = scene.any_event(behind, "foreign-dhcp-gone", Duration::from_secs(300), |e| e["interface"] == "br0")?;
    let heard = serve.events().into_iter().rfind(|e| e["kind"] == "foreign-dhcp").unwrap_or_default();
    println!("     that it is gone is known {:.0} s after it was heard last", seconds_between(&heard, &gone)?);
    ensure!(!serve.saw(|e| e["mac"] == "02:00:00:00:00:01"), "our own question was taken for a machine's");
    Ok(())
}

/// UEFI as dnsmasq misleads it, one power-on after the other; then dnsmasq gives addresses only.
#[test]
#[ignore = "long: tests/run --long firmware-findings-all"]
fn boot_files_of_another_server() -> Result<()> {
    const MAC: &str = "52:54:00:00:0f:12";
    let bench = Netns::bench("ffiles", Some(OURS))?;
    let mut lab = LabDir::new("firmware-files", PROXY)?;
    lab.add_host(MAC, "bench-1", "\"wait\"")?;
    let with = |file: &'static str| [OUTRANKS[0], OUTRANKS[1], file];
    let mut dnsmasq = Dnsmasq::start(&bench, lab.scratch(), &with("--dhcp-boot=pxelinux.0,elsewhere,192.168.77.2"))?;
    let serve = Serve::start(&bench, &lab)?;
    let scene = Scene { bench: &bench, lab: &lab, serve: &serve, mac: MAC, firmware: "UEFI x64" };

    let machine = power_on(&scene, "other")?;
    let said = scene.told("D6", "dnsmasq's offer names a boot file of its own", "other-boot-file", FIRMWARE)?;
    ensure!(said["seen"].to_string().contains("pxelinux.0"), "{said}");
    drop(machine);

    dnsmasq.restart(&with("--dhcp-boot=nosuch.efi,ours,192.168.77.1"))?;
    let machine = power_on(&scene, "missing")?;
    scene.told("-", "dnsmasq names a file of ours that is not there", "tftp-failed", FIRMWARE)?;
    drop(machine);

    dnsmasq.restart(&with("--dhcp-boot=undionly.kpxe,ours,192.168.77.1"))?;
    let machine = power_on(&scene, "bios-file")?;
    scene.told("D2", "dnsmasq names our BIOS program, and UEFI is given it", "nbp-not-started", 2 * FIRMWARE)?;
    drop(machine);

    dnsmasq.restart(&[])?;
    let behind = scene.now();
    let machine = power_on(&scene, "well")?;
    script(&scene, behind)?;
    for id in ["other-boot-file", "tftp-failed", "nbp-not-started"] {
        scene.cured(id, "dnsmasq gives addresses only", SOON)?;
    }
    lab.no_findings(&bench, MAC)?;
    drop(machine);

    let wall = Firewall::new(&bench)?;
    wall.drops(&["udp dport 4011"])?;
    let machine = power_on(&scene, "pxe-port")?;
    scene.told("D4", "the firewall drops UDP 4011", "boot-server-unheard", FIRMWARE)?;
    drop(machine);
    wall.drops(&[])?;
    let behind = scene.now();
    let _machine = power_on(&scene, "pxe-port-2")?;
    script(&scene, behind)?;
    lab.no_findings(&bench, MAC)
}

/// dnsmasq tells iPXE of disks of ours by root-path, as many networks do: of one that wants a secret, of one that is not for this machine.
#[test]
#[ignore = "long: tests/run --long firmware-findings-all"]
fn root_paths_of_another_server() -> Result<()> {
    const MAC: &str = "52:54:00:00:0f:14";
    let bench = Netns::bench("froot", Some(OURS))?;
    let mut lab = LabDir::new("firmware-root", PROXY)?;
    idle_disk(&lab.path().join("disks/d.raw"))?;
    let more = "image = \"d.raw\"\nreadonly = true\niqn = \"iqn.2026-11.test";
    lab.add(&format!(
        "\n[[disk]]\nname = \"a\"\n{more}:a\"\nallow = [\"192.168.77.0/24\"]\n\
         chap = {{ user = \"u\", secret = \"secretsecretsecret\" }}\n"
    ))?;
    lab.add(&format!("\n[[disk]]\nname = \"b\"\n{more}:b\"\nallow = [\"192.168.88.0/24\"]\n"))?;
    let root = |disk: &str| format!("--dhcp-option-force=17,iscsi:192.168.77.1::::iqn.2026-11.test:{disk}");
    let mut dnsmasq = Dnsmasq::start(&bench, lab.scratch(), &[&root("a")])?;
    let serve = Serve::start(&bench, &lab)?;
    let scene = Scene { bench: &bench, lab: &lab, serve: &serve, mac: MAC, firmware: "BIOS" };

    let machine = power_on(&scene, "root-a")?;
    let said = scene.told("D21", "the disk wants a secret, and iPXE was told none", "iscsi-refused", FIRMWARE)?;
    ensure!(said["seen"].to_string().contains("0201"), "{said}");
    drop(machine);
    dnsmasq.restart(&[&root("b")])?;
    let behind = scene.now();
    let machine = power_on(&scene, "root-b")?;
    scene.event(behind, "iscsi-refused", FIRMWARE, |_| true)?;
    let said = scene.told("D21", "the disk is for machines of another network", "iscsi-refused", SOON)?;
    ensure!(said["seen"].to_string().contains("0202"), "{said}");
    drop(machine);

    let behind = scene.now();
    lab.replace("192.168.88.0/24", "192.168.77.0/24")?;
    scene.any_event(behind, "lab-changed", SOON, |_| true)?;
    let _machine = power_on(&scene, "root-b-2")?;
    scene.event(behind, "iscsi-login", FIRMWARE, |_| true)?;
    scene.cured("iscsi-refused", "`allow` names its network", SOON)?;
    lab.no_findings(&bench, MAC)
}

/// UEFI that hears nothing of offers without a file, as firmware is known that drops them.
#[test]
#[ignore = "long: tests/run --long firmware-findings-all"]
fn the_other_style_of_offer_is_found_and_remembered() -> Result<()> {
    const MAC: &str = "52:54:00:00:0f:13";
    let bench = Netns::bench("fstyle", Some(OURS))?;
    let mut lab = LabDir::new("firmware-style", PROXY)?;
    lab.add_host(MAC, "bench-1", "\"wait\"")?;
    let _dnsmasq = Dnsmasq::start(&bench, lab.scratch(), &[])?;
    // The field for the boot file is 108 bytes into the message, behind 8 of UDP; ours are the only offers that leave this computer.
    let table = "add table bridge deaf; add chain bridge deaf out { type filter hook output priority 0; }";
    bench.tool("nft", &[table])?;
    bench.tool("nft", &["add rule bridge deaf out ether type ip udp sport 67 @th,928,32 0 drop"])?;
    let mut serve = Serve::start(&bench, &lab)?;
    let styles = |serve: &Serve| -> Vec<(Value, Value)> {
        let of = |e: &Value| is(e, "proxy-style", MAC);
        serve.events().into_iter().filter(of).map(|e| (e["style"].clone(), e["taken"].clone())).collect()
    };
    {
        let scene = Scene { bench: &bench, lab: &lab, serve: &serve, mac: MAC, firmware: "UEFI x64" };
        let _machine = power_on(&scene, "style-1")?;
        scene.told("D3", "it hears no offer that points to port 4011", "offer-ignored", FIRMWARE)?;
        script(&scene, 0)?;
        scene.cured("offer-ignored", "it takes the offer that names the file", SOON)?;
        lab.no_findings(&bench, MAC)?;
    }
    let file = Value::from("file");
    let expected = [(file.clone(), false.into()), (file, true.into())];
    ensure!(styles(&serve) == expected, "{:?}", styles(&serve));
    ensure!(serve.terminate()?.success(), "it did not stop in order");

    // Its model is known: the next time, after a restart of the engine, the first offer is the right one.
    let serve = Serve::start(&bench, &lab)?;
    let scene = Scene { bench: &bench, lab: &lab, serve: &serve, mac: MAC, firmware: "UEFI x64" };
    let _machine = power_on(&scene, "style-2")?;
    script(&scene, 0)?;
    let asked = |e: &Value| is(e, "dhcp-discover", MAC) && e["client"] == "pxe-rom";
    let count = serve.events().into_iter().filter(asked).count();
    ensure!(count == 1 && styles(&serve).is_empty(), "{count} DISCOVERs, {:?}", styles(&serve));
    lab.no_findings(&bench, MAC)
}
