//! A machine that runs from a disk goes on when Bootyard is stopped, killed and started again: its sessions come back, what was
//! acknowledged is there, and its system sees no error.

use std::time::Duration;

use anyhow::{Context, Result};
use bootyard_tests::bootyard::{LabDir, Serve, is};
use bootyard_tests::disk;
use bootyard_tests::netns::Netns;
use bootyard_tests::qemu::{Firmware, Machine, Spec};

const MAC: &str = "52:54:00:00:04:11";
const RECORDS: u32 = 45;

#[test]
fn a_running_machine_outlives_stops_and_kills_of_its_server() -> Result<()> {
    let golden = disk::debian()?;
    let bench = Netns::bench("again", Some("192.168.77.1/24"))?;
    let mut lab = LabDir::new("iscsi-restart", "mode = \"dhcp\"\nrange = \"192.168.77.20-192.168.77.40\"")?;
    lab.add_disk("debian", &golden, "keep")?;
    lab.add_host(MAC, "bench-4", r#"{ iscsi = "debian" }"#)?;
    let mut serve = Serve::start(&bench, &lab)?;

    let work = format!("bootyard-work-{RECORDS}");
    let spec = Spec { firmware: Firmware::Bios, mac: MAC, memory: 1024, name: "again", serial: Some(&work) };
    let mut machine = Machine::start(&bench, lab.scratch(), &spec)?;
    let (long, short) = (Duration::from_secs(420), Duration::from_secs(120));
    machine.wait_for("WORK 5\n", long)?;
    // In order, with a pause as long as a person needs to look for the button.
    assert!(serve.terminate()?.success(), "{}", serve.stderr());
    std::thread::sleep(Duration::from_secs(6));
    serve = Serve::start(&bench, &lab)?;
    serve.wait_for_event("login after the stop", short, |e| is(e, "iscsi-login", MAC))?;
    machine.wait_for("WORK 15\n", short)?;
    // And at any moment.
    serve.kill9()?;
    serve = Serve::start(&bench, &lab)?;
    serve.wait_for_event("login after the kill", short, |e| is(e, "iscsi-login", MAC))?;

    let end = |machine: &mut Machine| -> Result<(String, String)> {
        machine.wait_for("PROOF end", long)?;
        let line = |label: &str| machine.line(&format!("PROOF {label}:")).with_context(|| format!("no PROOF {label}"));
        let all = (line("work")?, line("trouble")?);
        println!("work {}, trouble {}, reconnects {}", all.0, all.1, line("reconnects")?);
        machine.wait_off(short)?;
        Ok(all)
    };
    let (written, trouble) = end(&mut machine)?;
    assert!(written.starts_with(&format!("{RECORDS} ")), "{written}");
    assert_eq!(trouble, "0", "the system saw errors:\n{}", machine.serial());
    // What it had written is on the disk, not only in its memory.
    let spec = Spec { name: "again-2", serial: None, ..spec };
    let mut machine = Machine::start(&bench, lab.scratch(), &spec)?;
    assert_eq!(end(&mut machine)?, (written, trouble));
    assert!(serve.terminate()?.success(), "{}", serve.stderr());
    Ok(())
}
