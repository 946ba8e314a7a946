//! What was on the wire: kept for each machine, read by Wireshark's own programs, without secrets; and what of it never reached a server.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bootyard_tests::bootyard::{LabDir, Serve, is};
use bootyard_tests::netns::Netns;
use bootyard_tests::pxe_client::{Client, Kind};
use bootyard_tests::run;
use serde_json::Value;

const MAC: &str = "02:00:00:00:0c:01";
const NETWORK: &str = "mode = \"dhcp\"\nrange = \"192.168.77.20-192.168.77.40\"";
const CHAP: &str = "s3cr3t-of-chap";
const ANSWERS: &str = "s3cr3t-of-answers";

/// What only the observer tells.
fn observed(serve: &Serve) -> Vec<Value> {
    serve.events().into_iter().filter(|e| e["source"] == "observed").collect()
}

fn lab() -> Result<LabDir> {
    let mut lab = LabDir::new("capture", NETWORK)?;
    let media = lab.path().join("media/debian");
    fs::create_dir_all(&media)?;
    fs::write(media.join("linux"), vec![0x55; 300_000])?;
    fs::write(lab.path().join("media/answers.cfg"), format!("d-i passwd/root-password password {ANSWERS}\n"))?;
    fs::write(lab.path().join("disks/a.raw"), vec![0; 1 << 20])?;
    lab.add(&format!(
        "\n[[profile]]\nname = \"debian\"\nkernel = \"debian/linux\"\nanswers = \"answers.cfg\"\nkind = \"preseed\"\n\
         \n[[disk]]\nname = \"a\"\nimage = \"a.raw\"\niqn = \"iqn.2001-04.com.example:a\"\nallow = [\"192.168.77.0/24\"]\n\
         chap = {{ user = \"u\", secret = \"{CHAP}\" }} # {CHAP}\n"
    ))?;
    lab.add_host(MAC, "bench-1", "{ install = \"debian\" }")?;
    Ok(lab)
}

/// A boot as far as no emulator is needed for it: firmware, gPXE, script, kernel, answers, a login with CHAP. The answers' token.
fn boot(client: &Client, lab: &LabDir, serve: &mut Serve) -> Result<String> {
    let told = client.boot(Kind::Rom, true)?;
    client.take(&told)?;
    let got = lab.scratch().join("undionly.kpxe").display().to_string();
    client.ns.tool("curl", &["-fsS", "-o", &got, "tftp://192.168.77.1/undionly.kpxe"])?;
    client.ns.ip(&["address", "flush", "dev", "eth0"])?;
    client.ns.ip(&["route", "replace", "default", "dev", "eth0"])?;
    let told = client.boot(Kind::Gpxe, true)?;
    client.take(&told)?;
    let url = told.ack["file"].as_str().context("no script")?;
    let script = client.ns.tool("curl", &["-fsS", "--max-time", "5", "-A", "gPXE/1.0.1", url])?;
    let part = script.split("/answers/").nth(1).with_context(|| format!("no answers in {script}"))?;
    let token = part.split('/').nth(1).context("no token")?.to_owned();
    let kernel = script.split_whitespace().find(|w| w.contains("/media/")).context("no kernel")?.to_owned();
    client.ns.tool("curl", &["-fsS", "-o", "/dev/null", &kernel])?;
    let path: String = part.chars().take_while(|c| !c.is_whitespace()).collect();
    let answers = client.ns.tool("curl", &["-fsS", &format!("http://192.168.77.1/answers/{path}")])?;
    ensure!(answers.contains(ANSWERS), "other answers: {answers}");
    let disk = format!("iscsi://u%{CHAP}@192.168.77.1/iqn.2001-04.com.example:a/0");
    client.ns.tool("iscsi-inq", &["-i", "iqn.2001-04.com.example:tester", &disk])?;
    serve.wait_for("iscsi-login", Duration::from_secs(30))?;
    Ok(token)
}

#[test]
fn a_boot_is_kept_both_ways_read_by_wireshark_and_sent_without_secrets() -> Result<()> {
    let bench = Netns::bench("capture", Some("192.168.77.1/24"))?;
    let lab = lab()?;
    let mut serve = Serve::start(&bench, &lab)?;
    let client = Client::plug(&bench, "capture", MAC)?;
    let token = boot(&client, &lab, &mut serve)?;
    // What is not answered is told after two seconds.
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(observed(&serve), Vec::<Value>::new(), "a healthy boot is not worth a word");

    let packets = lab.json(&bench, &["packets", MAC, "--json"])?;
    let packets = packets.as_array().context("no list")?;
    for way in [true, false] {
        assert!(packets.iter().any(|p| p["outgoing"] == way), "none with outgoing {way}");
    }
    for line in ["DISCOVER of 02:00:00:00:0c:01, PXE firmware bios", "agrees to", "login accepted, session"] {
        let found = packets.iter().any(|p| p["line"].as_str().is_some_and(|l| l.starts_with(line)));
        assert!(found, "no line `{line}`: {:#?}", packets.iter().map(|p| &p["line"]).collect::<Vec<_>>());
    }

    let file = lab.scratch().join("boot.pcapng");
    let _left_by_the_last_run = fs::remove_file(&file);
    let name = file.display().to_string();
    run::stdout(&mut lab.command(&bench, &["packets", "bench-1", "--save", &name])?)?;
    let about = run::tool("capinfos", &[&name])?;
    assert!(about.contains("pcapng") && about.contains("bench-1 (02:00:00:00:0c:01)"), "{about}");
    let fields = ["-T", "fields", "-e", "_ws.col.Protocol", "-e", "frame.comment"];
    let shown = run::tool("tshark", &[&["-r", &name][..], &fields].concat())?;
    for protocol in ["DHCP", "TFTP", "HTTP", "iSCSI", "ARP", "TCP"] {
        assert!(shown.lines().any(|l| l.starts_with(protocol)), "tshark sees no {protocol}: {shown}");
    }
    for comment in ["dhcp-discover arch=bios client=pxe-rom", "tftp-request file=undionly.kpxe", "iscsi-login"] {
        assert!(shown.contains(comment), "tshark sees no comment `{comment}`: {shown}");
    }
    let broken = run::tool("tshark", &["-r", &name, "-Y", "_ws.malformed"])?;
    assert_eq!(broken, "", "tshark takes these for malformed");

    let told = lab.json(&bench, &["explain", "--pcap", &name, MAC, "--json"])?;
    let host = &told["hosts"][0];
    let steps: Vec<&str> =
        host["timeline"].as_array().context("steps")?.iter().filter_map(|s| s["text"].as_str()).collect();
    assert!(steps.contains(&"linux") && steps.contains(&"iqn.2001-04.com.example:a"), "{steps:?}");
    assert_eq!(host["findings"], serde_json::json!([]), "{host}");

    let secrets = [CHAP, ANSWERS, token.as_str()];
    no_secret(&lab, &bench, "with-engine", &secrets)?;
    assert!(serve.terminate()?.success());
    no_secret(&lab, &bench, "without-engine", &secrets)
}

/// The archive, unpacked, has all of its files and none of the secrets.
fn no_secret(lab: &LabDir, bench: &Netns, tag: &str, secrets: &[&str]) -> Result<()> {
    let folder = lab.scratch().join(tag);
    let _left_by_the_last_run = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder)?;
    let archive = folder.join("bundle.zip").display().to_string();
    run::stdout(&mut lab.command(bench, &["bundle", MAC, "--to", &archive])?)?;
    run::tool("unzip", &["-q", &archive, "-d", &folder.display().to_string()])?;
    let read = |name: &str| fs::read(folder.join(name)).with_context(|| format!("{name} in {tag}"));
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        let bytes = fs::read(&path)?;
        for secret in secrets {
            let found = bytes.windows(secret.len()).any(|w| w == secret.as_bytes());
            assert!(!found, "{} of {tag} has `{secret}`", path.display());
        }
    }
    let text = |name: &str| -> Result<String> { Ok(String::from_utf8_lossy(&read(name)?).into_owned()) };
    assert!(text("timeline.txt")?.contains("undionly.kpxe"), "{}", text("timeline.txt")?);
    assert!(text("events.jsonl")?.lines().any(|l| l.contains("\"iscsi-login\"")));
    assert!(text("lab.toml")?.contains("user = \"u\""));
    let packets = text("packets.txt")?;
    assert_eq!(packets.contains("DHCP  DISCOVER"), tag == "with-engine", "{packets}");
    Ok(())
}

#[test]
fn a_blocked_port_is_told_within_seconds() -> Result<()> {
    let bench = Netns::bench("blocked", Some("192.168.77.1/24"))?;
    let lab = LabDir::new("capture-blocked", NETWORK)?;
    let mut serve = Serve::start(&bench, &lab)?;
    bench.tool("nft", &["add table ip t; add chain ip t in { type filter hook input priority 0; }"])?;
    bench.tool("nft", &["add rule ip t in udp dport 69 drop"])?;
    let client = Client::plug(&bench, "blocked", MAC)?;
    let told = client.boot(Kind::Rom, true)?;
    client.take(&told)?;
    let fetch = ["-sS", "--max-time", "8", "-o", "/dev/null", "tftp://192.168.77.1/undionly.kpxe"];
    let fetched = run::output(client.ns.command("curl").args(fetch))?;
    assert!(!fetched.status.success(), "the port is not blocked");
    let event = serve.wait_for_event("unheard", Duration::from_secs(30), |e| is(e, "unheard", MAC))?;
    assert_eq!((&event["service"], &event["port"]), (&"tftp".into(), &69.into()), "{event}");
    assert_eq!((&event["refused"], &event["source"]), (&false.into(), &"observed".into()), "{event}");
    // It is at the packet that shows it.
    let packets = lab.json(&bench, &["packets", MAC, "--json"])?;
    let said = |p: &Value| p["protocol"] == "TFTP" && p["comments"].to_string().contains("unheard packets=");
    let comments = || packets.as_array().into_iter().flatten().map(|p| &p["comments"]).collect::<Vec<_>>();
    assert!(packets.as_array().is_some_and(|all| all.iter().any(said)), "{:?}", comments());
    assert!(serve.terminate()?.success());
    Ok(())
}

/// What the capture costs while a file goes out as fast as it can. Nothing depends on the figures, which are printed.
#[test]
fn a_fast_transfer_goes_on_beside_it() -> Result<()> {
    const BYTES: u64 = 2 << 30;
    let bench = Netns::bench("cost", Some("192.168.77.1/24"))?;
    let lab = LabDir::new("capture-cost", NETWORK)?;
    let file = fs::File::create(lab.path().join("firmware/large.efi"))?;
    file.set_len(BYTES)?;
    let mut serve = Serve::start(&bench, &lab)?;
    let client = bench.plug("cost", MAC)?;
    client.ip(&["address", "add", "192.168.77.9/24", "dev", "eth0"])?;
    let before = packet_ticks(serve.pid())?;
    let start = Instant::now();
    let url = "http://192.168.77.1/firmware/large.efi";
    let size = client.tool("curl", &["-fsS", "-o", "/dev/null", "-w", "%{size_download}", url])?;
    let seconds = start.elapsed().as_secs_f64();
    let ticks = packet_ticks(serve.pid())? - before;
    let hertz: f64 = run::tool("getconf", &["CLK_TCK"])?.trim().parse()?;
    assert_eq!(size.trim().parse::<u64>()?, BYTES);
    let packets = lab.output(&bench, &["packets", MAC])?;
    let told = String::from_utf8_lossy(&packets.stderr).into_owned();
    println!(
        "capture: {} MiB in {seconds:.2} s, its thread {:.2} s of processor; {}",
        BYTES >> 20,
        ticks / hertz,
        told.trim()
    );
    assert!(String::from_utf8_lossy(&packets.stdout).contains("GET /firmware/large.efi"), "the request is kept");
    assert!(serve.terminate()?.success());
    Ok(())
}

/// Processor time of the thread that captures, in ticks.
fn packet_ticks(pid: u32) -> Result<f64> {
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let path = task?.path();
        if fs::read_to_string(path.join("comm"))?.trim() == "packets" {
            return ticks(&path);
        }
    }
    anyhow::bail!("no thread captures")
}

fn ticks(task: &Path) -> Result<f64> {
    let stat = fs::read_to_string(task.join("stat"))?;
    let (_, rest) = stat.rsplit_once(") ").context("stat")?;
    let both: Vec<f64> = rest.split(' ').skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
    Ok(both.iter().sum())
}
