//! What is changed in lab.toml while it is served is in force at once, and costs nobody a lease, a transfer or a disk.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bootyard_tests::bootyard::{LabDir, Serve};
use bootyard_tests::client::{Program, SECTOR, SERVER, good, log_in, log_in_at, read_cdb};
use bootyard_tests::netns::Netns;
use bootyard_tests::pxe_client::{Client, Kind};

const MAC: &str = "02:00:00:00:0d:01";
const NETWORK: &str = "mode = \"dhcp\"\nrange = \"192.168.77.20-192.168.77.40\"";
const SOON: Duration = Duration::from_secs(30);

/// What the machine gets at this port; as iPXE asks.
fn script(client: &Client, port: u16) -> Result<String> {
    let url = format!("http://192.168.77.1:{port}/boot/{}/script.ipxe", MAC.replace(':', "-"));
    client.ns.tool("curl", &["-fsS", "--max-time", "20", "-A", "iPXE/1.21.1", &url])
}

#[test]
fn ports_are_opened_beside_those_that_machines_run_from() -> Result<()> {
    let bench = Netns::bench("ports", Some("192.168.77.1/24"))?;
    let mut lab = LabDir::new("settings-ports", NETWORK)?;
    let image = lab.scratch().join("image.raw");
    fs::write(&image, vec![0x5a; 16 << 20])?;
    lab.add_disk("kept", &image, "keep")?;
    lab.add_host(MAC, "pc", "{ iscsi = \"kept\" }")?;
    // More than the kernel takes of a transfer that nobody reads.
    let file: Vec<u8> = (0..10_000_000_u32).flat_map(u32::to_le_bytes).collect();
    fs::write(lab.path().join("firmware/own.efi"), &file)?;
    let mut serve = Serve::start(&bench, &lab)?;

    let client = Client::plug(&bench, "pc", MAC)?;
    let before = client.boot(Kind::Os, true)?;
    client.take(&before)?;
    let first = script(&client, 80)?;
    ensure!(first.contains("iscsi:192.168.77.1:::0:iqn"), "{first}");
    let mut disk = log_in(&client.ns, MAC, "kept", Program::System)?;
    let mut transfer = client.ns.within(|| Ok(TcpStream::connect((SERVER, 80))?))?;
    transfer.set_read_timeout(Some(SOON))?;
    write!(transfer, "GET /firmware/own.efi HTTP/1.1\r\nHost: {SERVER}\r\nConnection: close\r\n\r\n")?;
    let mut got = vec![0; 4096];
    transfer.read_exact(&mut got)?;

    lab.add("\n[ports]\nhttp = 8080\niscsi = 3261\n")?;
    for (service, port) in [("http", ":8080"), ("iscsi", ":3261")] {
        serve.wait_for_event(&format!("{service} at {port}"), SOON, |e| {
            e["kind"] == "service-up"
                && e["service"] == service
                && e["address"].as_str().is_some_and(|a| a.ends_with(port))
        })?;
    }
    ensure!(
        !serve.saw(|e| e["kind"] == "http-done"),
        "the transfer was over before the ports moved: it proves nothing"
    );
    let sector = vec![0x5a; SECTOR];
    assert_eq!(good(disk.command(&read_cdb(7, 1), 512, &[])?)?, sector, "the disk's session goes on");

    // Who was told the former port asks there, and is sent to the new ones.
    for port in [80, 8080] {
        let told = script(&client, port)?;
        assert!(told.contains("iscsi:192.168.77.1::3261:0:"), "at port {port}:\n{told}");
    }
    transfer.read_to_end(&mut got)?;
    assert!(got.ends_with(&file), "of the transfer came {} bytes", got.len());
    drop(disk);
    let mut disk = log_in_at(&client.ns, 3261, MAC, "kept", Program::System).context("at the new port")?;
    assert_eq!(good(disk.command(&read_cdb(7, 1), 512, &[])?)?, sector);

    let after = client.boot(Kind::Os, true)?;
    assert_eq!(after.ack["yiaddr"], before.ack["yiaddr"], "the lease stays");
    assert!(serve.terminate()?.success(), "{}", serve.stderr());
    Ok(())
}

#[test]
fn a_mode_that_is_changed_and_changed_back_keeps_the_leases() -> Result<()> {
    let bench = Netns::bench("mode", Some("192.168.77.1/24"))?;
    let lab = LabDir::new("settings-mode", NETWORK)?;
    let mut serve = Serve::start(&bench, &lab)?;
    let one = Client::plug(&bench, "one", "02:00:00:00:0d:02")?;
    let two = Client::plug(&bench, "two", "02:00:00:00:0d:03")?;
    let before = one.boot(Kind::Os, true)?;

    lab.replace("mode = \"dhcp\"", "mode = \"proxy\"")?;
    let chosen = |event: &serde_json::Value, mode: &str| event["kind"] == "mode-chosen" && event["mode"] == mode;
    let proxy = serve.wait_for_event("ProxyDHCP", SOON, |e| chosen(e, "proxy"))?;
    assert!(one.boot(Kind::Os, true).is_err(), "beside another server no system gets an address from here");

    lab.replace("mode = \"proxy\"", "mode = \"dhcp\"")?;
    serve.wait_for_event("DHCP", SOON, |e| chosen(e, "dhcp") && e["seq"].as_u64() > proxy["seq"].as_u64())?;
    assert_ne!(two.boot(Kind::Os, true)?.ack["yiaddr"], before.ack["yiaddr"], "a leased address was given away");
    assert_eq!(one.boot(Kind::Os, true)?.ack["yiaddr"], before.ack["yiaddr"], "the lease was forgotten");
    assert!(serve.terminate()?.success(), "{}", serve.stderr());
    Ok(())
}
