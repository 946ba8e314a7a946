//! A plain PXE ROM, without user class and option 175, gets a network boot program; what that starts, gPXE known by its bus-id alone, gets
//! the script. No client gets the same thing twice: that would be a loop.

use std::time::Duration;

use anyhow::{Context, Result};
use bootyard_tests::bootyard::{LabDir, Serve, is};
use bootyard_tests::netns::Netns;
use bootyard_tests::pxe_client::{Client, Kind};

const MAC: &str = "02:00:00:00:0a:01";

#[test]
fn a_rom_gets_undionly_and_then_as_gpxe_the_script() -> Result<()> {
    let bench = Netns::bench("rom", Some("192.168.77.1/24"))?;
    let mut lab = LabDir::new("pxe-rom", "mode = \"dhcp\"\nrange = \"192.168.77.20-192.168.77.40\"")?;
    lab.add_host(MAC, "bench-1", "\"local\"")?;
    let mut serve = Serve::start(&bench, &lab)?;
    let client = Client::plug(&bench, "rom", MAC)?;

    // A ROM that asks for broadcast answers, and one that takes unicast at an address it does not have yet.
    let told = client.boot(Kind::Rom, true)?;
    assert_eq!(told.ack["to"], "255.255.255.255", "the broadcast flag was ignored: {told:?}");
    let unicast = client.boot(Kind::Rom, false)?;
    assert_eq!(unicast.ack["to"], unicast.ack["yiaddr"], "the answer went elsewhere: {unicast:?}");
    assert_eq!(told.ack["yiaddr"], unicast.ack["yiaddr"], "one machine got two addresses");

    for answer in [&told.offer, &told.ack] {
        assert_eq!(answer["file"], "undionly.kpxe", "{answer}");
        assert_eq!(answer["siaddr"], "192.168.77.1", "{answer}");
    }
    // The ROM fetches what it was told, as ROMs do: by the size first.
    let address = client.take(&told)?;
    let got = lab.scratch().join("undionly.kpxe");
    client.ns.tool("curl", &["-fsS", "-o", &got.to_string_lossy(), "tftp://192.168.77.1/undionly.kpxe"])?;
    let (got, original) = (std::fs::read(&got)?, std::fs::read("/usr/lib/ipxe/undionly.kpxe")?);
    assert!(got == original, "TFTP changed the file: {} bytes of {}", got.len(), original.len());
    serve.wait_for_event("tftp-done", Duration::from_secs(30), |e| is(e, "tftp-done", MAC))?;

    // What it started says that it is gPXE, only by its bus-id.
    client.ns.ip(&["address", "flush", "dev", "eth0"])?;
    client.ns.ip(&["route", "replace", "default", "dev", "eth0"])?;
    let gpxe = client.boot(Kind::Gpxe, true)?;
    let url = gpxe.ack["file"].as_str().context("no file")?;
    assert!(url.starts_with("http://192.168.77.1/"), "gPXE was given {url:?}, not the script's URL");
    assert_eq!(gpxe.ack["yiaddr"], address.as_str());
    client.take(&gpxe)?;
    let script = client.ns.tool("curl", &["-fsS", "--max-time", "5", "-A", "gPXE/1.0.1", url])?;
    assert!(script.starts_with("#!gpxe\n"), "gPXE does not take a script that begins so: {script}");
    let served = serve.wait_for_event("script-served", Duration::from_secs(30), |e| is(e, "script-served", MAC))?;
    assert_eq!(served["dialect"], "gpxe", "{served}");
    assert_eq!(served["boot"], "local", "{served}");
    lab.no_findings(&bench, MAC)?;
    assert!(serve.terminate()?.success());
    Ok(())
}

#[test]
fn an_operating_system_gets_an_address_and_no_boot_file() -> Result<()> {
    let bench = Netns::bench("os", Some("192.168.77.1/24"))?;
    let lab = LabDir::new("pxe-rom-os", "mode = \"dhcp\"\nrange = \"192.168.77.20-192.168.77.40\"")?;
    let _serve = Serve::start(&bench, &lab)?;
    let client = Client::plug(&bench, "os", "02:00:00:00:0a:02")?;
    let told = client.boot(Kind::Os, true)?;
    assert_eq!(told.ack["file"], "", "{told:?}");
    assert_eq!(told.ack["options"]["1"], "ffffff00", "{told:?}");
    client.take(&told)?;
    client.ns.tool("bash", &["-c", "exec 3<>/dev/tcp/192.168.77.1/80"])?;
    Ok(())
}
