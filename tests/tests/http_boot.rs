//! UEFI HTTP Boot: EDK2 loads iPXE by the URI of our offer, and iPXE asks for its script; with our addresses and beside dnsmasq's.

use std::time::Duration;

use anyhow::Result;
use bootyard_tests::bootyard::{LabDir, Serve, is, seconds_between};
use bootyard_tests::dnsmasq::Dnsmasq;
use bootyard_tests::netns::Netns;
use bootyard_tests::qemu::{Firmware, Machine, Spec};
use serde_json::Value;

const URI: &str = "http://192.168.77.1/firmware/snponly.efi";
const SECURE_URI: &str = "https://192.168.77.1/firmware/snponly.efi";
/// EDK2 tries PXE before HTTP Boot; without PXE it has nothing else to try.
const NO_PXE: [&str; 4] = [
    "-fw_cfg",
    "name=opt/org.tianocore/IPv4PXESupport,string=no",
    "-fw_cfg",
    "name=opt/org.tianocore/IPv6PXESupport,string=no",
];

/// From power-on to iPXE's script.
fn boots(bench: &Netns, lab: &LabDir, serve: &mut Serve, mac: &str, name: &str) -> Result<()> {
    let spec = Spec { firmware: Firmware::Uefi, mac, memory: 512, name, serial: None };
    let mut machine = Machine::start_with(bench, lab.scratch(), &spec, &NO_PXE)?;

    let discover = serve.wait_for_event("dhcp-discover", Duration::from_secs(90), |e| is(e, "dhcp-discover", mac))?;
    assert_eq!(discover["client"], "http-boot", "{discover}");
    assert_eq!(discover["arch"], "uefi-x64-http", "{discover}");
    machine.wait_for(&format!("URI: {URI}"), Duration::from_secs(60))?;
    let path = |e: &Value| is(e, "http-request", mac) && e["path"] == "/firmware/snponly.efi" && e["status"] == 200;
    let head = serve.wait_for_event("HEAD", Duration::from_secs(30), |e| path(e) && e["method"] == "HEAD")?;
    serve.wait_for_event("GET", Duration::from_secs(30), |e| path(e) && e["method"] == "GET")?;
    let script = serve.wait_for_event("script-served", Duration::from_secs(60), |e| is(e, "script-served", mac))?;
    assert_eq!(script["dialect"], "ipxe", "{script}");
    // The size was known before the transfer, and every byte came.
    let size = std::fs::metadata("/usr/lib/ipxe/snponly.efi")?.len();
    let done = serve.wait_for_event("http-done", Duration::from_secs(30), |e| is(e, "http-done", mac))?;
    assert_eq!(done["bytes"], size, "{done}");
    machine.wait_for(&format!("File Size: {size} Bytes"), Duration::from_secs(5))?;
    machine.wait_for("script.ipxe... ok", Duration::from_secs(30))?;
    assert!(!serve.saw(|e| is(e, "tftp-request", mac)), "that was no HTTP Boot");
    lab.no_findings(bench, mac)?;
    measured(seconds_between(&discover, &head)?, seconds_between(&head, &script)?);
    Ok(())
}

#[expect(clippy::print_stdout, reason = "a figure of the test run, for people")]
fn measured(head: f64, script: f64) {
    println!("HTTP Boot: first DISCOVER to HEAD {head:.2} s, HEAD to script {script:.2} s");
}

#[test]
fn edk2_takes_the_uri_with_its_address() -> Result<()> {
    const MAC: &str = "52:54:00:00:0c:01";
    let bench = Netns::bench("httpboot", Some("192.168.77.1/24"))?;
    let mut lab = LabDir::new("http-boot", "mode = \"dhcp\"\nrange = \"192.168.77.20-192.168.77.40\"")?;
    lab.add_host(MAC, "bench-1", "\"local\"")?;
    let mut serve = Serve::start(&bench, &lab)?;
    boots(&bench, &lab, &mut serve, MAC, "http")?;
    let offer = serve.wait_for_event("dhcp-offer", Duration::from_secs(30), |e| is(e, "dhcp-offer", MAC))?;
    assert_eq!(offer["file"], URI, "{offer}");
    Ok(())
}

/// UEFI 2.10 32.4.1: an `EFI_SIGNATURE_LIST` with this one X.509 certificate, as OVMF takes authorities.
fn signature_list(der: &[u8]) -> Result<Vec<u8>> {
    const X509: [u8; 16] =
        [0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94, 0xa7, 0x4a, 0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72];
    let entry = u32::try_from(16 + der.len())?;
    let lengths = [28 + entry, 0, entry].map(u32::to_le_bytes).concat();
    // The owner may be anybody.
    Ok([&X509[..], &lengths, &[0x42; 16], der].concat())
}

/// Debian 12's OVMF knows the lab's authority here, but its TLS has no elliptic curves, and ours nothing else: the technician is told.
#[test]
fn edk2_without_elliptic_curves_is_told_apart() -> Result<()> {
    const MAC: &str = "52:54:00:00:0c:03";
    let bench = Netns::bench("httpsboot", Some("192.168.77.1/24"))?;
    let mut lab = LabDir::new("https-boot", "mode = \"dhcp\"\nrange = \"192.168.77.20-192.168.77.40\"")?;
    lab.add_host(MAC, "bench-3", "\"local\"")?;
    lab.add("\n[[firmware]]\narch = \"uefi-x64-http\"\nfile = \"snponly.efi\"\nhttps = true\n")?;
    let mut serve = Serve::start(&bench, &lab)?;
    let list = lab.scratch().join("cacerts");
    std::fs::write(&list, signature_list(&std::fs::read(lab.path().join("https/ca.der"))?)?)?;
    let authority = format!("name=etc/edk2/https/cacerts,file={}", list.display());
    let more = [&NO_PXE[..], &["-fw_cfg", &authority]].concat();
    let spec = Spec { firmware: Firmware::Uefi, mac: MAC, memory: 512, name: "https", serial: None };
    let mut machine = Machine::start_with(&bench, lab.scratch(), &spec, &more)?;
    machine.wait_for(&format!("URI: {SECURE_URI}"), Duration::from_secs(90))?;
    let event = serve.wait_for_event("https-refused", Duration::from_secs(30), |e| is(e, "https-refused", MAC))?;
    assert_eq!(event["why"], "no-common-method", "{event}");
    Ok(())
}

#[test]
fn edk2_takes_the_uri_beside_dnsmasq() -> Result<()> {
    const MAC: &str = "52:54:00:00:0c:02";
    let bench = Netns::bench("httpproxy", Some("192.168.77.1/24"))?;
    let mut lab = LabDir::new("http-boot-proxy", "mode = \"proxy\"")?;
    lab.add_host(MAC, "bench-2", "\"local\"")?;
    let dnsmasq = Dnsmasq::start(&bench, lab.scratch(), &[])?;
    let mut serve = Serve::start(&bench, &lab)?;
    boots(&bench, &lab, &mut serve, MAC, "httpprx")?;
    assert!(dnsmasq.leased(MAC)?, "the address was not dnsmasq's");
    assert!(!serve.saw(|e| !e["address"].is_null() && (e["kind"] == "dhcp-offer" || e["kind"] == "dhcp-ack")));
    Ok(())
}
