//! A power cut is no reason for a machine to lose its address, nor for the laptop to keep one that was lent to it.

use std::time::Duration;

use anyhow::{Context, Result};
use bootyard_tests::bootyard::{Installed, LabDir, NOBODY, Serve};
use bootyard_tests::netns::Netns;
use bootyard_tests::pxe_client::{Client, Kind};
use bootyard_tests::run;

const NETWORK: &str = "mode = \"dhcp\"\nrange = \"192.168.77.20-192.168.77.40\"";

#[test]
fn a_lease_outlives_kill_9() -> Result<()> {
    let bench = Netns::bench("lease", Some("192.168.77.1/24"))?;
    let lab = LabDir::new("restart-lease", NETWORK)?;
    let first = Client::plug(&bench, "one", "02:00:00:00:0b:01")?;
    let second = Client::plug(&bench, "two", "02:00:00:00:0b:02")?;

    let mut serve = Serve::start(&bench, &lab)?;
    let before = first.boot(Kind::Os, true)?;
    // The moment after the acknowledgement: whatever was acknowledged is on disk.
    serve.kill9()?;

    let mut serve = Serve::start(&bench, &lab)?;
    let other = second.boot(Kind::Os, true)?;
    assert_ne!(other.ack["yiaddr"], before.ack["yiaddr"], "a leased address was given to another machine");
    let after = first.boot(Kind::Os, true)?;
    assert_eq!(after.ack["yiaddr"], before.ack["yiaddr"], "the lease was forgotten");
    assert!(serve.terminate()?.success(), "{}", serve.stderr());
    Ok(())
}

fn addresses(bench: &Netns) -> Result<String> {
    bench.ip(&["-4", "-o", "address", "show", "dev", "br0"])
}

#[test]
fn a_bare_interface_is_bare_again_however_it_ends() -> Result<()> {
    let bench = Netns::bench("bare", None)?;
    let lab = LabDir::new("restart-bare", &format!("address = \"192.168.77.1/24\"\n{NETWORK}"))?;
    let client = Client::plug(&bench, "bare", "02:00:00:00:0b:03")?;

    for end in ["SIGTERM", "kill -9"] {
        let mut serve = Serve::start(&bench, &lab)?;
        assert!(addresses(&bench)?.contains("192.168.77.1/24"), "no address was put on the interface");
        let told = client.boot(Kind::Os, true)?;
        assert_eq!(told.ack["server"], "192.168.77.1", "{told:?}");
        if end == "SIGTERM" {
            assert!(serve.terminate()?.success(), "{}", serve.stderr());
        } else {
            serve.kill9()?;
        }
        run::wait_until("the interface to be bare", Duration::from_secs(30), || {
            Ok(addresses(&bench)?.is_empty().then_some(()))
        })
        .with_context(|| format!("after {end}"))?;
    }
    Ok(())
}

/// To the operating system it is another one, whatever it is called.
#[test]
fn a_card_that_is_pulled_and_put_in_again_is_served() -> Result<()> {
    let bench = Netns::bench("card", None)?;
    let lab = LabDir::new("restart-card", &format!("address = \"192.168.77.1/24\"\n{NETWORK}"))?;
    let client = Client::plug(&bench, "card", "02:00:00:00:0b:06")?;
    let mut serve = Serve::start(&bench, &lab)?;
    let before = client.boot(Kind::Os, true)?;
    bench.ip(&["link", "delete", "br0"])?;
    // Long enough to be seen, and to be taken for gone.
    std::thread::sleep(Duration::from_secs(3));
    bench.ip(&["link", "add", "br0", "type", "bridge", "forward_delay", "0", "stp_state", "0"])?;
    bench.ip(&["link", "set", "br0", "address", "02:00:00:00:00:01", "up"])?;
    bench.ip(&["link", "set", "p-card", "master", "br0", "up"])?;
    let after = run::wait_until("an answer through the new card", Duration::from_secs(90), || {
        Ok(client.boot(Kind::Os, true).ok())
    })?;
    assert_eq!(after.ack["yiaddr"], before.ack["yiaddr"], "its lease is the same");
    assert!(addresses(&bench)?.contains("192.168.77.1/24"), "the address is on the new card");
    let events = lab.json(&bench, &["events", "--json"]).map(|events| events.to_string()).unwrap_or_default();
    assert!(events.is_empty() || events.contains("was replaced"), "{events}");
    assert!(serve.terminate()?.success(), "{}", serve.stderr());
    Ok(())
}

#[test]
fn an_address_of_the_interfaces_own_stays() -> Result<()> {
    let bench = Netns::bench("own", Some("192.168.77.9/24"))?;
    let lab = LabDir::new("restart-own", &format!("address = \"192.168.77.1/24\"\n{NETWORK}"))?;
    let mut serve = Serve::start(&bench, &lab)?;
    assert!(!addresses(&bench)?.contains("192.168.77.1/24"), "an interface with an address is not bare");
    serve.terminate()?;
    assert!(addresses(&bench)?.contains("192.168.77.9/24"), "the interface's own address was taken");
    Ok(())
}

#[test]
fn serve_as_root_becomes_the_labs_owner() -> Result<()> {
    let bench = Netns::bench("owner", None)?;
    let place = Installed::new("owner", false)?;
    let lab = LabDir::at(place.user_dir(), &format!("address = \"192.168.77.1/24\"\n{NETWORK}"))?;
    lab.give_to(NOBODY)?;
    let client = Client::plug(&bench, "owner", "02:00:00:00:0b:04")?;
    let mut serve = Serve::start(&bench, &lab)?;
    client.boot(Kind::Os, true)?;
    let status = std::fs::read_to_string(format!("/proc/{}/status", serve.pid()))?;
    let ids = |label: &str| status.lines().find_map(|l| l.strip_prefix(label)).map(str::trim).map(str::to_owned);
    assert_eq!(
        ids("Uid:").context("Uid")?,
        format!("{NOBODY}\t{NOBODY}\t{NOBODY}\t{NOBODY}"),
        "it is still somebody else"
    );
    assert_eq!(ids("Gid:").context("Gid")?, format!("{NOBODY}\t{NOBODY}\t{NOBODY}\t{NOBODY}"));
    assert_eq!(ids("CapEff:").context("CapEff")?, "0000000000000000");
    // What it made is its owner's, and what it put on the interface goes all the same.
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(lab.path().join("lab.db"))?), NOBODY);
    assert!(serve.terminate()?.success(), "{}", serve.stderr());
    run::wait_until("the interface to be bare", Duration::from_secs(30), || {
        Ok(addresses(&bench)?.is_empty().then_some(()))
    })
}
