//! UEFI with Secure Boot on: a signed chain starts over the network, and what nobody signed is loaded and refused. Debian's shim and
//! GRUB stand in for iPXE's signed builds, which Debian does not have; the way is the same: firmware, shim, what the shim starts.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use bootyard_tests::bootyard::{LabDir, Serve, is};
use bootyard_tests::netns::Netns;
use bootyard_tests::qemu::{Firmware, Machine, Spec};
use serde_json::Value;

const SIGNED: &str = "52:54:00:00:05:01";
const UNSIGNED: &str = "52:54:00:00:05:02";

#[test]
fn a_signed_chain_starts_and_an_unsigned_file_does_not() -> Result<()> {
    let bench = Netns::bench("secure", Some("192.168.77.1/24"))?;
    let mut lab = LabDir::new("secure-boot", "mode = \"dhcp\"\nrange = \"192.168.77.20-192.168.77.40\"")?;
    let files = [
        ("/usr/lib/shim/shimx64.efi.signed", "shimx64.efi", "shim-signed"),
        ("/usr/lib/grub/x86_64-efi-signed/grubnetx64.efi.signed", "grubx64.efi", "grub-efi-amd64-signed"),
        ("/usr/lib/ipxe/snponly.efi", "own.efi", "ipxe"),
    ];
    for (from, name, package) in files {
        let to = lab.path().join("firmware").join(name);
        fs::copy(Path::new(from), to).with_context(|| format!("{from} is missing; install the package `{package}`"))?;
    }
    for (mac, name, file) in [(SIGNED, "signed", "shimx64.efi"), (UNSIGNED, "unsigned", "own.efi")] {
        lab.add(&format!("\n[[host]]\nmac = \"{mac}\"\nname = \"{name}\"\nfirmware = \"{file}\"\nboot = \"wait\"\n"))?;
    }
    let mut serve = Serve::start(&bench, &lab)?;
    let start = |mac, name| {
        let spec = Spec { firmware: Firmware::UefiSecure, mac, memory: 512, name, serial: None };
        Machine::start(&bench, lab.scratch(), &spec)
    };
    let minutes = Duration::from_secs(240);

    let signed = start(SIGNED, "signed")?;
    let asks = |file: &'static str| move |e: &Value| is(e, "tftp-request", SIGNED) && e["file"] == file;
    serve.wait_for_event("the request for the shim", minutes, asks("shimx64.efi"))?;
    // Only a shim that runs asks for this, and only a GRUB that runs asks for its configuration.
    serve.wait_for_event("the shim's request for what it starts", minutes, asks("grubx64.efi"))?;
    // There is none, which is said.
    let grub = |e: &Value| is(e, "tftp-failed", SIGNED) && e["file"].as_str().is_some_and(|f| f.ends_with("grub.cfg"));
    serve.wait_for_event("GRUB's request for its configuration", minutes, grub)?;
    drop(signed);

    let unsigned = start(UNSIGNED, "unsigned")?;
    serve.wait_for_event("all of the unsigned file", minutes, |e| is(e, "tftp-done", UNSIGNED))?;
    // It goes on with what it finds next: a file that ran would have asked by DHCP, as iPXE.
    serve.wait_for_event("the next try of the firmware", minutes, |e| {
        is(e, "tftp-request", UNSIGNED) || is(e, "dhcp-discover", UNSIGNED) && e["client"] == "http-boot"
    })?;
    assert!(!serve.saw(|e| is(e, "dhcp-discover", UNSIGNED) && e["client"] == "ipxe"), "an unsigned file ran");
    drop(unsigned);
    Ok(())
}
