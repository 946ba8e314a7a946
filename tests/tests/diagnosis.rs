//! What goes wrong in practice, with real packets: each finding is in `bootyard hosts --json` with its proof, and goes when it is cured.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use bootyard_tests::bootyard::{LabDir, Serve};
use bootyard_tests::dnsmasq::Dnsmasq;
use bootyard_tests::findings::check_whole;
use bootyard_tests::netns::Netns;
use bootyard_tests::pxe_client::{Client, Kind};
use bootyard_tests::run;

const NETWORK: &str = "mode = \"dhcp\"\nrange = \"192.168.77.20-192.168.77.40\"";
const MAC: &str = "02:00:00:00:0f:01";

fn fetch(client: &Client, file: &str) -> Result<bool> {
    let url = format!("tftp://192.168.77.1/{file}");
    Ok(run::output(client.ns.command("curl").args(["-fsS", "--max-time", "20", "-o", "/dev/null", &url]))?
        .status
        .success())
}

fn get(client: &Client, path: &str) -> Result<String> {
    client.ns.tool("curl", &["-fsS", "--max-time", "10", "-A", "iPXE/1.21.1", &format!("http://192.168.77.1{path}")])
}

/// Boots once, takes the address, and leaves the interface as a ROM would find it at its next boot.
fn boot(client: &Client, kind: Kind) -> Result<()> {
    let told = client.boot(kind, true)?;
    client.ns.ip(&["address", "flush", "dev", "eth0"])?;
    client.take(&told)?;
    let _there_already = client.ns.ip(&["route", "add", "default", "dev", "eth0"]);
    Ok(())
}

#[test]
fn another_server_s_address() -> Result<()> {
    let bench = Netns::bench("dother", Some("192.168.77.1/24"))?;
    let mut lab = LabDir::new("diagnosis-other", &format!("{NETWORK}\nforce = true"))?;
    lab.add_host(MAC, "bench-1", "\"local\"")?;
    let _other = Dnsmasq::start(&bench, lab.scratch(), &[])?;
    let serve = Serve::start(&bench, &lab)?;
    let client = Client::plug(&bench, "dother", MAC)?;
    client.take_from(Kind::Rom, Dnsmasq::ADDRESS)?;
    let finding = lab.wait_for_finding(&bench, MAC, "took-other-offer", true)?;
    check_whole(&serve, &finding)?;
    assert!(finding["seen"].as_str().is_some_and(|s| s.contains(Dnsmasq::ADDRESS)), "{finding}");
    Ok(())
}

#[test]
fn a_style_of_proxy_offer_that_firmware_ignores() -> Result<()> {
    let bench = Netns::bench("dproxy", Some("192.168.77.1/24"))?;
    let mut lab = LabDir::new("diagnosis-proxy", "mode = \"proxy\"")?;
    lab.add_host(MAC, "bench-1", "\"wait\"")?;
    let _other = Dnsmasq::start(&bench, lab.scratch(), &[])?;
    let mut serve = Serve::start(&bench, &lab)?;
    let client = Client::plug(&bench, "dproxy", MAC)?;
    client.ask(Kind::Uefi, 4, Duration::from_millis(1300))?;
    let finding = lab.wait_for_finding(&bench, MAC, "offer-ignored", true)?;
    check_whole(&serve, &finding)?;
    serve.wait_for_event("proxy-style", Duration::from_secs(30), |e| e["kind"] == "proxy-style")?;
    client.take_from(Kind::Uefi, Dnsmasq::ADDRESS)?;
    lab.wait_for_finding(&bench, MAC, "offer-ignored", false)?;
    Ok(())
}

#[test]
fn boot_files_that_do_not_fit_are_missing_or_do_not_start() -> Result<()> {
    let bench = Netns::bench("dfiles", Some("192.168.77.1/24"))?;
    let mut lab = LabDir::new("diagnosis-files", NETWORK)?;
    fs::copy("/usr/lib/ipxe/snponly.efi", lab.path().join("firmware/own.efi")).context("is `ipxe` installed?")?;
    lab.add(&format!("\n[[host]]\nmac = \"{MAC}\"\nname = \"bench-1\"\nfirmware = \"own.efi\"\nboot = \"local\"\n"))?;
    let serve = Serve::start(&bench, &lab)?;
    let client = Client::plug(&bench, "dfiles", MAC)?;

    // A BIOS is not given a UEFI program that lab.toml names for it.
    boot(&client, Kind::Rom)?;
    check_whole(&serve, &lab.wait_for_finding(&bench, MAC, "boot-file-unfit", true)?)?;

    // A file that is not there, then the right one.
    assert!(!fetch(&client, "nosuch.kpxe")?);
    check_whole(&serve, &lab.wait_for_finding(&bench, MAC, "tftp-failed", true)?)?;
    assert!(fetch(&client, "undionly.kpxe")?);
    lab.wait_for_finding(&bench, MAC, "tftp-failed", false)?;

    // It was delivered, and the ROM asks again at once: it did not start. Then it does.
    client.ns.ip(&["address", "flush", "dev", "eth0"])?;
    let _there_already = client.ns.ip(&["route", "add", "default", "dev", "eth0"]);
    boot(&client, Kind::Rom)?;
    let finding = lab.wait_for_finding(&bench, MAC, "nbp-not-started", true)?;
    check_whole(&serve, &finding)?;
    assert_eq!(finding["action"]["do"], "other-firmware", "{finding}");
    client.ns.ip(&["address", "flush", "dev", "eth0"])?;
    let _there_already = client.ns.ip(&["route", "add", "default", "dev", "eth0"]);
    boot(&client, Kind::Gpxe)?;
    lab.wait_for_finding(&bench, MAC, "nbp-not-started", false)?;
    Ok(())
}

#[test]
fn silence_after_an_offer_is_told_and_ends() -> Result<()> {
    const SECOND: &str = "02:00:00:00:0f:02";
    let bench = Netns::bench("dsilent", Some("192.168.77.1/24"))?;
    let mut lab = LabDir::new("diagnosis-silent", NETWORK)?;
    lab.add_host(MAC, "rom", "\"local\"")?;
    lab.add_host(SECOND, "gpxe", "\"local\"")?;
    let serve = Serve::start(&bench, &lab)?;
    let (rom, gpxe) = (Client::plug(&bench, "dsilenta", MAC)?, Client::plug(&bench, "dsilentb", SECOND)?);
    boot(&rom, Kind::Rom)?;
    boot(&gpxe, Kind::Gpxe)?;
    check_whole(&serve, &lab.wait_for_finding(&bench, MAC, "boot-file-not-asked", true)?)?;
    check_whole(&serve, &lab.wait_for_finding(&bench, SECOND, "script-not-fetched", true)?)?;
    assert!(fetch(&rom, "undionly.kpxe")?);
    get(&gpxe, "/boot/02-00-00-00-0f-02/boot.ipxe")?;
    lab.wait_for_finding(&bench, MAC, "boot-file-not-asked", false)?;
    lab.wait_for_finding(&bench, SECOND, "script-not-fetched", false)?;
    lab.no_findings(&bench, MAC)?;
    lab.no_findings(&bench, SECOND)
}

#[test]
fn a_target_that_refuses_and_a_reinstall_loop() -> Result<()> {
    const SECOND: &str = "02:00:00:00:0f:02";
    let bench = Netns::bench("drefuse", Some("192.168.77.1/24"))?;
    let mut lab = LabDir::new("diagnosis-refuse", NETWORK)?;
    let iqn = "iqn.2026-11.test:d";
    fs::File::create(lab.path().join("disks/d.raw"))?.set_len(8 << 20)?;
    lab.add(&format!(
        "\n[[disk]]\nname = \"d\"\nimage = \"d.raw\"\niqn = \"{iqn}\"\n\
         chap = {{ user = \"u\", secret = \"rightrightright\" }}\n"
    ))?;
    fs::write(lab.path().join("media/linux"), "kernel")?;
    fs::write(lab.path().join("media/p.cfg"), "d-i nothing string x\n")?;
    lab.add("\n[[profile]]\nname = \"p\"\nkernel = \"linux\"\ninitrd = []\nanswers = \"p.cfg\"\nkind = \"preseed\"\n")?;
    lab.add_host(MAC, "disk", "{ iscsi = \"d\" }")?;
    lab.add_host(SECOND, "install", "{ install = \"p\", then = \"local\" }")?;
    let serve = Serve::start(&bench, &lab)?;
    let (disk, install) = (Client::plug(&bench, "drefusea", MAC)?, Client::plug(&bench, "drefuseb", SECOND)?);

    boot(&disk, Kind::Gpxe)?;
    get(&disk, "/boot/02-00-00-00-0f-01/script.ipxe")?;
    let inquire = |secret: &str| {
        let url = format!("iscsi://u%{secret}@192.168.77.1/{iqn}/0");
        run::output(disk.ns.command("iscsi-inq").args(["-i", "iqn.2026-11.test:initiator", &url]))
    };
    assert!(!inquire("wrongwrongwrong")?.status.success());
    let finding = lab.wait_for_finding(&bench, MAC, "iscsi-refused", true)?;
    check_whole(&serve, &finding)?;
    assert!(finding["seen"].as_str().is_some_and(|s| s.contains("0201")), "{finding}");
    let good = inquire("rightrightright")?;
    assert!(good.status.success(), "{}", String::from_utf8_lossy(&good.stderr));
    lab.wait_for_finding(&bench, MAC, "iscsi-refused", false)?;

    // The installer starts twice, and its answers are never fetched.
    boot(&install, Kind::Gpxe)?;
    let path = "/boot/02-00-00-00-0f-02";
    for _ in 0..2 {
        get(&install, &format!("{path}/script.ipxe"))?;
        get(&install, &format!("{path}/step?name=kernel-start"))?;
    }
    let finding = lab.wait_for_finding(&bench, SECOND, "reinstall-loop", true)?;
    check_whole(&serve, &finding)?;
    assert_eq!(finding["action"]["to"], "local", "{finding}");
    run::stdout(&mut lab.command(&bench, &["assign", SECOND, "local"])?)?;
    lab.wait_for_finding(&bench, SECOND, "reinstall-loop", false)?;
    Ok(())
}

#[test]
fn codes_and_what_a_machine_would_get_are_told_with_and_without_an_engine() -> Result<()> {
    let bench = Netns::bench("dtell", Some("192.168.77.1/24"))?;
    let mut lab = LabDir::new("diagnosis-tell", NETWORK)?;
    fs::File::create(lab.path().join("disks/d.raw"))?.set_len(1 << 20)?;
    lab.add("\n[[disk]]\nname = \"d\"\nimage = \"d.raw\"\nchap = { user = \"u\", secret = \"hunter2hunter2\" }\n")?;
    lab.add_host(MAC, "bench-1", "{ iscsi = \"d\" }")?;
    let mut serve = None;
    for engine in [false, true] {
        if engine {
            serve = Some(Serve::start(&bench, &lab)?);
        }
        let told = lab.json(&bench, &["explain", "bench-1", "--arch", "uefi-x64", "--json"])?;
        let stages: Vec<&str> =
            told["stages"].as_array().context("stages")?.iter().filter_map(|s| s["stage"].as_str()).collect();
        assert_eq!(stages, ["firmware", "boot-file", "ipxe", "script", "disk", "system"], "engine {engine}: {told}");
        let setting = &told["stages"][2]["setting"];
        assert_eq!((setting["part"].as_str(), setting["key"].as_str()), (Some("host"), Some("boot")), "{told}");
        assert!(setting["line"].is_u64(), "{told}");
        assert!(!told.to_string().contains("hunter2"), "{told}");
        let decoded = lab.json(&bench, &["decode", "--json", "--host", "bench-1", "(http://ipxe.org/4c0a6035)"])?;
        assert_eq!(decoded["codes"][0]["component"], "tcp", "{decoded}");
        assert_eq!(decoded["host"]["name"], "bench-1", "{decoded}");
    }
    drop(serve);
    let stranger = lab.json(&bench, &["explain", "52:54:00:00:00:99", "--json"])?;
    assert!(stranger["stages"][2]["because"].as_str().is_some_and(|s| s.contains("unknown")), "{stranger}");
    let out = lab.output(&bench, &["decode", "nonsense"])?;
    assert_eq!(out.status.code(), Some(1), "{out:?}");
    Ok(())
}
