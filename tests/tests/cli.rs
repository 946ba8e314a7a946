//! The command line: what it prints, how it ends, and that it does the same with and without an engine.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use bootyard_tests::bootyard::{LabDir, Serve, is, program};
use bootyard_tests::netns::Netns;
use bootyard_tests::pxe_client::{Client, Kind};
use bootyard_tests::run;
use serde_json::Value;

const MAC: &str = "02:00:00:00:0c:01";

fn lab(name: &str) -> Result<LabDir> {
    let mut lab = LabDir::new(name, "mode = \"dhcp\"\nrange = \"192.168.77.20-192.168.77.40\"")?;
    lab.add("\n# The machine by the window.\n")?;
    lab.add_host(MAC, "bench-1", "\"wait\"")?;
    Ok(lab)
}

fn host(hosts: &Value) -> Result<Value> {
    let of_mac = |h: &&Value| h["macs"].to_string().contains(MAC);
    hosts
        .as_array()
        .context("`hosts --json` is an array")?
        .iter()
        .find(of_mac)
        .cloned()
        .context("our host is not listed")
}

#[test]
fn without_an_engine() -> Result<()> {
    let bench = Netns::bench("cli", None)?;
    let lab = lab("cli-alone")?;

    let before = host(&lab.json(&bench, &["hosts", "--json"])?)?;
    assert_eq!((&before["name"], &before["boot"]), (&"bench-1".into(), &"wait".into()), "{before}");
    let assigned = lab.output(&bench, &["assign", "bench-1", "local"])?;
    assert!(assigned.status.success(), "{assigned:?}");
    let toml = fs::read_to_string(lab.toml())?;
    assert!(toml.contains("boot = \"local\"") && toml.contains("# The machine by the window."), "{toml}");
    assert_eq!(host(&lab.json(&bench, &["hosts", "--json"])?)?["boot"], "local");

    // A machine that nobody knows, words that mean nothing, and an engine that is not there.
    let out = lab.output(&bench, &["assign", "nobody", "local"])?;
    assert_eq!(out.status.code(), Some(1), "{out:?}");
    assert!(String::from_utf8_lossy(&out.stderr).contains("nobody"), "the error names what is wrong: {out:?}");
    assert_eq!(lab.output(&bench, &["assign", "bench-1", "nonsense"])?.status.code(), Some(2));
    assert_eq!(lab.output(&bench, &["frobnicate"])?.status.code(), Some(2));
    let out = lab.output(&bench, &["events", "--follow"])?;
    assert_eq!(out.status.code(), Some(3), "{out:?}");
    assert!(String::from_utf8_lossy(&out.stderr).contains("serve"), "the error says what to start: {out:?}");
    assert!(!String::from_utf8_lossy(&out.stderr).contains("backtrace"));
    Ok(())
}

#[test]
fn disks_are_made_and_imported() -> Result<()> {
    let bench = Netns::bench("disks", None)?;
    let lab = lab("cli-disks")?;
    let raw = lab.scratch().join("source.raw");
    let mut bytes = vec![0; 4 << 20];
    for (i, b) in bytes.iter_mut().enumerate().skip(1 << 20).take(1 << 20) {
        *b = u8::try_from(i % 251)?;
    }
    fs::write(&raw, &bytes)?;
    let qcow2 = lab.scratch().join("source.qcow2");
    run::stdout(Command::new("qemu-img").args(["convert", "-f", "raw", "-O", "qcow2"]).args([&raw, &qcow2]))?;

    run::stdout(&mut lab.command(&bench, &["disks", "create", "empty", "8M"])?)?;
    run::stdout(&mut lab.command(&bench, &["disks", "import", &raw.to_string_lossy(), "--name", "from-raw"])?)?;
    run::stdout(&mut lab.command(&bench, &["disks", "import", &qcow2.to_string_lossy(), "--name", "from-qcow2"])?)?;
    let disks = lab.json(&bench, &["disks", "list", "--json"])?;
    let disk = |name: &str| {
        disks.as_array().and_then(|d| d.iter().find(|d| d["name"] == name)).cloned().context(name.to_owned())
    };
    assert_eq!(disk("empty")?["size"], 8 << 20);
    for name in ["from-raw", "from-qcow2"] {
        let disk = disk(name)?;
        assert_eq!((&disk["size"], &disk["writes"]), (&(4 << 20).into(), &"keep".into()), "{disk}");
        assert!(disk["problem"].is_null(), "{disk}");
        let image = fs::read(lab.path().join("disks").join(disk["image"].as_str().context("image")?))?;
        assert!(image == bytes, "{name} is not what was imported");
    }
    // The same name again is refused, and says so.
    let out = lab.output(&bench, &["disks", "create", "empty", "8M"])?;
    assert_eq!(out.status.code(), Some(1), "{out:?}");
    assert!(String::from_utf8_lossy(&out.stderr).contains("empty"), "{out:?}");
    Ok(())
}

/// The life of a disk, without an engine and with one that serves.
#[test]
fn disks_live_and_go() -> Result<()> {
    let bench = Netns::bench("life", Some("192.168.77.1/24"))?;
    let mut lab = lab("cli-life")?;
    let golden = lab.scratch().join("golden.raw");
    fs::write(&golden, vec![7; 2 << 20])?;
    lab.add_disk("room", &golden, "fresh")?;
    let mut serve = None;
    for with_engine in [false, true] {
        if with_engine {
            serve = Some(Serve::start(&bench, &lab)?);
        }
        let ok = |args: &[&str]| -> Result<String> {
            let mut all = vec!["disks"];
            all.extend(args);
            run::stdout(&mut lab.command(&bench, &all)?)
        };
        let out = lab.scratch().join(format!("out-{with_engine}.qcow2"));
        let out = out.to_string_lossy();
        ok(&["snapshot", "room", "before"])?;
        ok(&["clone", "room", "other"])?;
        let size = if with_engine { "16M" } else { "8M" };
        ok(&["resize", "room", size])?;
        ok(&["export", "room", &out])?;
        run::stdout(Command::new("qemu-img").args(["compare", "-f", "raw", "-F", "qcow2"]).arg(&golden).arg(&*out))?;
        ok(&["compact", "room"])?;
        let listed = lab.json(&bench, &["disks", "list", "--json"])?;
        let disk = |name: &str| listed.as_array().and_then(|d| d.iter().find(|d| d["name"] == name)).cloned();
        let room = disk("room").context("room")?;
        assert_eq!(room["size"], if with_engine { 16 << 20 } else { 8 << 20 }, "{room}");
        assert_eq!(disk("before").context("before")?["parent"][0], "room", "{listed}");
        assert!(disk("other").context("other")?["parent"].is_null(), "{listed}");
        assert!(fs::read_to_string(lab.toml())?.contains(&format!("size = \"{size}\"")));
        assert!(ok(&["list"])?.contains("\n  before"), "a snapshot stands below its disk");

        // What is lost is named, and nobody there means no.
        let refused = lab.output(&bench, &["disks", "delete", "other"])?;
        assert_eq!(refused.status.code(), Some(2), "{refused:?}");
        assert!(String::from_utf8_lossy(&refused.stderr).contains("--yes"), "{refused:?}");
        for (args, says) in [
            (&["commit", "room", "bench-1", "--yes"][..], "overlay"),
            (&["resize", "room", "1M"], "shrink"),
            (&["export", "room", &out], "exists"),
            (&["snapshot", "room", "before"], "already"),
            (&["compact", "nothing"], "no disk"),
        ] {
            let mut all = vec!["disks"];
            all.extend(args);
            let refused = lab.output(&bench, &all)?;
            assert_eq!(refused.status.code(), Some(1), "{args:?}: {refused:?}");
            assert!(String::from_utf8_lossy(&refused.stderr).contains(says), "{args:?}: {refused:?}");
        }
        ok(&["reset", "room", "--all", "--yes"])?;
        for name in ["before", "other"] {
            ok(&["delete", name, "--yes"])?;
        }
        let toml = fs::read_to_string(lab.toml())?;
        assert!(!toml.contains("before") && toml.contains("# The machine by the window."), "{toml}");
    }
    // A machine that gets it waits from then on, and nothing of it is left.
    run::stdout(&mut lab.command(&bench, &["assign", "bench-1", "iscsi", "room", "--writes", "keep"])?)?;
    let toml = fs::read_to_string(lab.toml())?;
    assert!(toml.contains("boot = { iscsi = \"room\", writes = \"keep\" }"), "{toml}");
    run::stdout(&mut lab.command(&bench, &["disks", "delete", "room", "--yes"])?)?;
    let toml = fs::read_to_string(lab.toml())?;
    assert!(toml.contains("boot = \"wait\"") && !toml.contains("[[disk]]"), "{toml}");
    let left: Vec<_> =
        fs::read_dir(lab.path().join("disks"))?.map(|e| e.map(|e| e.file_name())).collect::<Result<_, _>>()?;
    assert!(left.is_empty(), "{left:?}");
    let mut serve = serve.context("it serves")?;
    serve.wait_for("disk-deleted", Duration::from_secs(30))?;
    assert!(serve.terminate()?.success(), "{}", serve.stderr());
    Ok(())
}

#[test]
fn with_an_engine() -> Result<()> {
    let bench = Netns::bench("engine", Some("192.168.77.1/24"))?;
    let lab = lab("cli-engine")?;
    let mut serve = Serve::start(&bench, &lab)?;
    let client = Client::plug(&bench, "cli", MAC)?;
    let told = client.boot(Kind::Rom, true)?;

    // Snapshots are made a few times a second.
    run::wait_until("the machine's address in `hosts`", Duration::from_secs(30), || {
        Ok((host(&lab.json(&bench, &["hosts", "--json"])?)?["ip"] == told.ack["yiaddr"]).then_some(()))
    })?;
    run::stdout(&mut lab.command(&bench, &["assign", MAC, "local"])?)?;
    let event = serve.wait_for_event("assigned", Duration::from_secs(30), |e| is(e, "assigned", MAC))?;
    assert_eq!(event["to"], "local", "{event}");
    assert_eq!(host(&lab.json(&bench, &["hosts", "--json"])?)?["boot"], "local");
    assert!(fs::read_to_string(lab.toml())?.contains("# The machine by the window."));

    // `--lab` may follow the subcommand; events are JSON lines with stable fields, in order.
    let mut after = bench.command(program()?);
    lab.environment(&mut after);
    let text = run::stdout(after.args(["events", "--json", "--lab"]).arg(lab.path()))?;
    let events: Vec<Value> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    assert!(events.iter().any(|e| is(e, "dhcp-ack", MAC)), "{text}");
    for pair in events.windows(2) {
        let [a, b] = pair else { continue };
        assert!(a["seq"].as_u64() < b["seq"].as_u64(), "out of order: {a} {b}");
    }
    for event in &events {
        assert!(event["v"].is_u64() && event["source"].is_string(), "{event}");
        bootyard_tests::bootyard::time_of(event)?;
    }

    // One engine a lab: a second one says who has it, and the first goes on.
    let second = lab.output(&bench, &["serve"])?;
    assert_eq!(second.status.code(), Some(1), "{second:?}");
    assert!(!second.stderr.is_empty());
    client.boot(Kind::Rom, true)?;
    // lab.toml edited by hand while it runs is taken over.
    fs::write(lab.toml(), fs::read_to_string(lab.toml())?.replace("boot = \"local\"", "boot = \"menu\""))?;
    run::wait_until("the edit of lab.toml to be seen", Duration::from_secs(30), || {
        Ok((host(&lab.json(&bench, &["hosts", "--json"])?)?["boot"] == "menu").then_some(()))
    })?;
    assert!(serve.terminate()?.success(), "{}", serve.stderr());
    Ok(())
}

/// The machine's card hears the packet, as another program's reading of it says.
#[test]
fn a_machine_is_woken() -> Result<()> {
    let bench = Netns::bench("wake", Some("192.168.77.1/24"))?;
    let lab = lab("cli-wake")?;
    let alone = lab.output(&bench, &["wake", "bench-1"])?;
    assert_eq!(alone.status.code(), Some(3), "{alone:?}");

    let mut serve = Serve::start(&bench, &lab)?;
    let off = bench.plug("off", MAC)?;
    let mut tshark = off.command("tshark");
    tshark.args(["-n", "-i", "eth0", "-c", "1", "-a", "duration:30", "-f", "udp", "-Y", "wol", "-T", "fields"]);
    // Of the address that stands there sixteen times the first.
    tshark.args(["-E", "occurrence=f", "-e", "wol.mac", "-e", "ip.dst"]).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut tshark = tshark.spawn()?;
    // It says nowhere that it listens, so the packet is sent until it has heard one.
    run::wait_until("tshark to hear a magic packet", Duration::from_secs(30), || {
        run::stdout(&mut lab.command(&bench, &["wake", "bench-1"])?)?;
        std::thread::sleep(Duration::from_millis(300));
        Ok(tshark.try_wait()?)
    })?;
    let heard = tshark.wait_with_output()?;
    assert_eq!(String::from_utf8_lossy(&heard.stdout).split_whitespace().collect::<Vec<_>>(), [MAC, "255.255.255.255"]);
    let event = serve.wait_for_event("wake-sent", Duration::from_secs(30), |e| is(e, "wake-sent", MAC))?;
    assert_eq!(event["interfaces"][0], "br0", "{event}");
    let host = host(&lab.json(&bench, &["hosts", "--json"])?)?;
    assert!(host["woken"].is_string() && host["last-seen"].is_null(), "it was not heard of: {host}");

    let unknown = lab.output(&bench, &["wake", "nobody"])?;
    assert_eq!(unknown.status.code(), Some(1), "{unknown:?}");
    assert!(serve.terminate()?.success(), "{}", serve.stderr());
    Ok(())
}

/// A room's machines by one word.
#[test]
fn machines_are_grouped_and_forgotten() -> Result<()> {
    let bench = Netns::bench("group", None)?;
    let lab = lab("cli-group")?;
    run::stdout(&mut lab.command(&bench, &["group", "room-1", "bench-1"])?)?;
    let toml = fs::read_to_string(lab.toml())?;
    assert!(toml.contains("group = \"room-1\"") && toml.contains("# The machine by the window."), "{toml}");
    run::stdout(&mut lab.command(&bench, &["assign", "group:room-1", "local"])?)?;
    let host = host(&lab.json(&bench, &["hosts", "--json"])?)?;
    assert_eq!((&host["group"], &host["boot"]), (&"room-1".into(), &"local".into()), "{host}");
    let wrong = lab.output(&bench, &["group", "Room 1", "bench-1"])?;
    assert_eq!(wrong.status.code(), Some(1), "{wrong:?}");
    let kept = lab.output(&bench, &["forget", "bench-1"])?;
    assert!(
        String::from_utf8_lossy(&kept.stderr).contains("lab.toml"),
        "its entry is not taken away unasked: {kept:?}"
    );
    run::stdout(&mut lab.command(&bench, &["forget", "group:room-1", "--entry"])?)?;
    assert!(!fs::read_to_string(lab.toml())?.contains(MAC));
    Ok(())
}

#[test]
fn check_reports_each_problem_with_its_line_and_changes_nothing() -> Result<()> {
    let bench = Netns::bench("check", None)?;
    let mut lab = lab("cli-check")?;
    run::stdout(&mut lab.command(&bench, &["check"])?).context("a good lab passes")?;
    lab.add("\n[[host]]\nmac = \"02:00:00:00:0c:01\"\nadress = \"192.168.77.21\"\n")?;
    let text = fs::read_to_string(lab.toml())?;
    let line = |needle: &str, nth: usize| {
        text.lines().enumerate().filter(|(_, l)| l.contains(needle)).nth(nth).map(|(i, _)| i + 1)
    };

    let out = lab.output(&bench, &["check"])?;
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert_eq!(out.status.code(), Some(1), "{said}");
    let unknown = line("adress", 0).context("adress")?;
    assert!(
        said.contains(&format!("lab.toml:{unknown}:")) && said.contains("`address`"),
        "no suggestion for the key: {said}"
    );
    let twice = line("02:00:00:00:0c:01", 1).context("mac")?;
    assert!(said.contains(&format!("lab.toml:{twice}:")), "the MAC given twice was not seen: {said}");
    let out = lab.output(&bench, &["check", "--json"])?;
    let problems: Value = serde_json::from_slice(&out.stdout)?;
    assert!(
        problems
            .as_array()
            .is_some_and(|p| p.len() >= 2 && p.iter().all(|p| p["severity"] != "error" || p["line"].is_u64())),
        "{problems}"
    );
    assert_eq!(fs::read_to_string(lab.toml())?, text, "check changed lab.toml");
    Ok(())
}
