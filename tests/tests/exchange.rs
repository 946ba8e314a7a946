//! What is exported works where it goes: real dnsmasq, dhcpd and Kea answer the same clients as we do, tgt serves the disk, and iPXE boots
//! from them. What comes back from their files boots the same machine from us.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use bootyard_tests::bootyard::{LabDir, Serve, is};
use bootyard_tests::netns::Netns;
use bootyard_tests::pxe_client::{Client, Kind, Told};
use bootyard_tests::qemu::{Firmware, Machine, Spec};
use bootyard_tests::run;
use serde_json::{Value, json};

const KNOWN: &str = "02:00:00:00:0e:01";
const STRANGER: &str = "02:00:00:00:0e:02";
const MACHINE: &str = "52:54:00:00:0e:03";
const NETWORK: &str = "mode = \"dhcp\"\nrange = \"192.168.77.20-192.168.77.40\"\nrouter = \"192.168.77.254\"\n\
                       dns = [\"192.168.77.253\", \"9.9.9.9\"]\ndomain = \"lab.example\"\nlease = { default = \"1h\", max = \"1h\" }";

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a program inside, with its output in `DIR/NAME.log`.
fn start(bench: &Netns, dir: &Path, name: &str, script: &str) -> Result<Running> {
    let log = File::create(dir.join(format!("{name}.log")))?;
    let mut command = bench.command("sh");
    command.args(["-ec", script]).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    Ok(Running(command.spawn().with_context(|| name.to_owned())?))
}

/// Exports into a folder of the test.
fn export(bench: &Netns, lab: &LabDir, format: &str, more: &[&str]) -> Result<PathBuf> {
    let to = lab.scratch().join(format!("export-{format}"));
    let path = to.to_string_lossy().into_owned();
    let mut args = vec!["export", format, "--to", &path, "--json"];
    args.extend(more);
    let told = lab.json(bench, &args)?;
    assert!(told["files"].as_array().is_some_and(|f| !f.is_empty()), "{told}");
    Ok(to)
}

/// A DHCP server that runs on an export, once its own check has accepted it.
fn serve_export(bench: &Netns, lab: &LabDir, format: &str, to: &Path) -> Result<Running> {
    let dir = lab.scratch();
    let (to, dir_text) = (to.display(), dir.display());
    let (check, run) = match format {
        "dnsmasq" => (
            format!("dnsmasq --test -C {to}/dnsmasq.conf"),
            format!(
                "exec dnsmasq --no-daemon -C {to}/dnsmasq.conf --user=root --pid-file= --log-dhcp \
                 --dhcp-leasefile={dir_text}/dnsmasq.leases"
            ),
        ),
        "dhcpd" => (
            format!("dhcpd -4 -t -cf {to}/dhcpd.conf"),
            format!(
                ": > {dir_text}/dhcpd.leases; exec dhcpd -4 -f -d -cf {to}/dhcpd.conf -lf {dir_text}/dhcpd.leases \
                 -pf {dir_text}/dhcpd.pid br0"
            ),
        ),
        _ => (
            format!("kea-dhcp4 -t {to}/kea-dhcp4.conf"),
            // What it keeps goes into file systems of its own.
            format!(
                "mkdir -p /run/kea /run/lock/kea /var/lib/kea; mount -t tmpfs -o mode=750 none /run/kea; mount -t tmpfs -o mode=750 none \
                 /var/lib/kea; exec kea-dhcp4 -c {to}/kea-dhcp4.conf"
            ),
        ),
    };
    run::stdout(bench.command("sh").args(["-ec", &check])).with_context(|| format!("{format} refuses the export"))?;
    let server = start(bench, dir, format, &run)?;
    run::wait_until(&format!("{format} to listen"), Duration::from_secs(20), || {
        let listens = bench.tool("ss", &["-Hlun", "sport = :67"])?.contains(":67");
        // Kea and dhcpd read frames as well.
        let frames = || Ok::<_, anyhow::Error>(!bench.tool("ss", &["-Hl", "--packet"])?.trim().is_empty());
        Ok((listens || frames()?).then_some(()))
    })?;
    Ok(server)
}

/// What a test compares of an answer: where the boot file is, and the options of the network. The time is in minutes:
/// to who comes again soon, dhcpd gives what is left of the lease that it has (`dhcp-cache-threshold`), a second less.
fn boiled(kind: Kind, told: &Told, known: bool) -> Value {
    let ack = &told.ack;
    let mut file = ack["file"].as_str().unwrap_or_default().to_owned();
    // A static server has one script for all strangers, and gPXE's in a file of its own.
    if file.contains("/boot/") {
        file = file.replace(".gpxe", ".ipxe");
        if !known {
            let folder = STRANGER.replace(':', "-");
            file = file.replace("/boot/default/", &format!("/boot/{folder}/"));
        }
    }
    let options = &ack["options"];
    json!({
        "file": file,
        "server": if kind == Kind::Os { Value::Null } else { ack["siaddr"].clone() },
        "address": if known { ack["yiaddr"].clone() } else { Value::Null },
        "network": [&options["1"], &options["3"], &options["6"], options["15"].as_str().map(|d| d.trim_end_matches("00"))],
        "minutes": options["51"].as_str().and_then(|seconds| u32::from_str_radix(seconds, 16).ok()).map(|seconds| (seconds + 30) / 60),
    })
}

fn answers(bench: &Netns) -> Result<Vec<Value>> {
    let mut out = Vec::new();
    for (tag, mac, known) in [("known", KNOWN, true), ("strange", STRANGER, false)] {
        let client = Client::plug(bench, tag, mac)?;
        for kind in [Kind::Rom, Kind::Gpxe, Kind::Ipxe, Kind::Os] {
            let told = client.boot(kind, true).with_context(|| format!("{tag} {kind:?}"))?;
            out.push(json!({ "who": tag, "kind": kind.word(), "told": boiled(kind, &told, known) }));
        }
    }
    Ok(out)
}

#[test]
fn other_servers_give_the_answers_that_we_give() -> Result<()> {
    let mut lab = LabDir::new("exchange-answers", &format!("address = \"192.168.77.1/24\"\n{NETWORK}"))?;
    lab.add(&format!(
        "\n[[host]]\nmac = \"{KNOWN}\"\nname = \"one\"\naddress = \"192.168.77.11\"\nboot = \"local\"\n"
    ))?;
    let ours = {
        let bench = Netns::bench("xours", Some("192.168.77.1/24"))?;
        let mut serve = Serve::start(&bench, &lab)?;
        let ours = answers(&bench)?;
        assert!(serve.terminate()?.success());
        ours
    };
    assert!(ours.iter().any(|a| a["told"]["file"] == "undionly.kpxe"), "{ours:?}");
    for format in ["dnsmasq", "dhcpd", "kea"] {
        let bench = Netns::bench(&format!("x{format}"), Some("192.168.77.1/24"))?;
        let to = export(&bench, &lab, format, &[])?;
        // Kea opens no socket on a switch to which nothing is plugged in.
        let _port = bench.plug("port", "02:00:00:00:0e:0f")?;
        let _server = serve_export(&bench, &lab, format, &to)?;
        let theirs = answers(&bench)?;
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert_eq!(ours, theirs, "{format} answers otherwise than we do (left)");
        }
    }
    Ok(())
}

/// A disk whose boot sector does nothing, for ever: the machine stays logged in. It is larger than a cylinder of 255 heads and 63 sectors,
/// below which iPXE's INT 13 has no cylinder at all and refuses to read the boot sector.
fn idle_disk(path: &Path) -> Result<()> {
    let mut sector = [0_u8; 512];
    for (at, byte) in [(0, 0xeb), (1, 0xfe), (510, 0x55), (511, 0xaa)] {
        if let Some(place) = sector.get_mut(at) {
            *place = byte;
        }
    }
    let mut file = File::create(path)?;
    file.write_all(&sector)?;
    file.set_len(16 << 20)?;
    Ok(())
}

/// Waits until the machine is logged in, and then looks whether it still is: one that could not boot from the disk has gone by then.
fn wait_for_login(who: &str, wait: Duration, mut is_in: impl FnMut() -> Result<bool>) -> Result<()> {
    run::wait_until(&format!("{who}'s login at tgt"), wait, || Ok(is_in()?.then_some(())))?;
    std::thread::sleep(Duration::from_secs(3));
    anyhow::ensure!(is_in()?, "{who} logged out again: it did not boot from the disk");
    Ok(())
}

#[test]
fn a_machine_boots_from_the_exports_and_then_from_what_comes_back() -> Result<()> {
    let bench = Netns::bench("xboot", Some("192.168.77.1/24"))?;
    let mut lab = LabDir::new("exchange-boot", &format!("address = \"192.168.77.1/24\"\n{NETWORK}"))?;
    let image = lab.path().join("disks/idle.raw");
    idle_disk(&image)?;
    lab.add("\n[[disk]]\nname = \"idle\"\nimage = \"idle.raw\"\nwrites = \"image\"\n")?;
    lab.add_host(MACHINE, "bench-1", r#"{ iscsi = "idle" }"#)?;
    let dhcp = export(&bench, &lab, "dnsmasq", &["--lun", "1"])?;
    let tgt = export(&bench, &lab, "tgt", &[])?;
    let folder = MACHINE.replace(':', "-");
    let spec = Spec { firmware: Firmware::Bios, mac: MACHINE, memory: 64, name: "xboot", serial: None };

    {
        // Real servers, with nothing of ours among them.
        let _dhcp = serve_export(&bench, &lab, "dnsmasq", &dhcp)?;
        let (_tgtd, control) = serve_disks(&bench, &lab, &tgt)?;
        let web = format!("exec python3 -u -m http.server 80 --bind 192.168.77.1 --directory {}/http", dhcp.display());
        let _web = start(&bench, lab.scratch(), "web", &web)?;
        let asked = format!("GET /boot/{folder}/boot.ipxe HTTP/1.1\" 200");
        let initiator = format!("iqn.2026-11.org.bootyard:host.{folder}");
        let show = |mode| {
            let tid: &[&str] = if mode == "conn" { &["--tid", "1"] } else { &[] };
            let mut command = Command::new("tgtadm");
            run::stdout(command.args(["-C", &control, "--lld", "iscsi", "--op", "show", "--mode", mode]).args(tid))
        };
        fs::write(lab.scratch().join("web.log"), "")?;
        let machine = Machine::start(&bench, lab.scratch(), &spec)?;
        run::wait_until("iPXE to fetch the static script", Duration::from_secs(120), || {
            Ok(fs::read_to_string(lab.scratch().join("web.log"))?.contains(&asked).then_some(()))
        })?;
        wait_for_login("the machine", Duration::from_secs(30), || Ok(show("conn")?.contains(&initiator)))
            .with_context(|| {
                let connections = bench.tool("ss", &["-Htan"]).unwrap_or_default();
                format!("console: {}\nconnections: {connections}\ntgt: {:?}", machine.serial(), show("target"))
            })?;
    }

    // The same files, as a recipe for a lab.
    let back = LabDir::new("exchange-back", "")?;
    fs::remove_dir_all(back.path())?;
    let into = back.path().to_string_lossy().into_owned();
    let path = |p: PathBuf| p.to_string_lossy().into_owned();
    let files = [
        path(dhcp.join("dnsmasq.conf")),
        path(dhcp.join(format!("http/boot/{folder}/boot.ipxe"))),
        path(dhcp.join("http/boot/default/boot.ipxe")),
        path(tgt.join("targets.conf")),
    ];
    let mut args = vec!["import"];
    args.extend(files.iter().map(String::as_str));
    args.extend(["--into", &into, "--json"]);
    let told = lab.json(&bench, &args)?;
    let lost = |s: &&Value| s["fate"] == "lost";
    let lost: Vec<&Value> = told["statements"].as_array().context("no statements")?.iter().filter(lost).collect();
    assert!(lost.is_empty(), "our own export is not understood: {lost:#?}");
    idle_disk(&back.path().join("disks/idle.raw"))?;
    let mut serve = Serve::start(&bench, &back)?;
    let _machine = Machine::start(&bench, back.scratch(), &spec)?;
    let script =
        serve.wait_for_event("script-served", Duration::from_secs(120), |e| is(e, "script-served", MACHINE))?;
    assert_eq!(script["boot"]["iscsi"], "idle", "{script}");
    serve.wait_for_event("iscsi-login", Duration::from_secs(60), |e| is(e, "iscsi-login", MACHINE))?;
    Ok(())
}

/// tgt with what was exported for it. The second value names it to tgtadm.
fn serve_disks(bench: &Netns, lab: &LabDir, targets: &Path) -> Result<(Running, String)> {
    let control = (1024 + std::process::id() % 30_000).to_string();
    let tgtd =
        start(bench, lab.scratch(), "tgtd", &format!("exec tgtd -f -C {control} --iscsi portal=192.168.77.1:3260"))?;
    run::wait_until("tgtd to listen", Duration::from_secs(20), || {
        Ok(bench.tool("ss", &["-Hltn", "sport = :3260"])?.contains(":3260").then_some(()))
    })?;
    let conf = targets.join("targets.conf").to_string_lossy().into_owned();
    bench.tool("tgt-admin", &["-C", &control, "-c", &conf, "-e"]).context("tgt refuses the export")?;
    Ok((tgtd, control))
}

#[test]
#[ignore = "two more ways through a firmware: tests/run --long exchange-all"]
fn a_machine_boots_from_what_dhcpd_and_kea_were_given() -> Result<()> {
    let mut lab = LabDir::new("exchange-boot-all", &format!("address = \"192.168.77.1/24\"\n{NETWORK}"))?;
    idle_disk(&lab.path().join("disks/idle.raw"))?;
    lab.add("\n[[disk]]\nname = \"idle\"\nimage = \"idle.raw\"\nwrites = \"image\"\n")?;
    lab.add_host(MACHINE, "bench-1", r#"{ iscsi = "idle" }"#)?;
    let folder = MACHINE.replace(':', "-");
    let initiator = format!("iqn.2026-11.org.bootyard:host.{folder}");
    let targets = export(&Netns::bench("xball", None)?, &lab, "tgt", &[])?;
    for format in ["dhcpd", "kea"] {
        let bench = Netns::bench(&format!("xb{format}"), Some("192.168.77.1/24"))?;
        let dhcp = export(&bench, &lab, format, &["--lun", "1"])?;
        // Kea opens no socket on a switch to which nothing is plugged in.
        let _port = bench.plug("port", "02:00:00:00:0e:0f")?;
        let _dhcp = serve_export(&bench, &lab, format, &dhcp)?;
        let (_tgtd, control) = serve_disks(&bench, &lab, &targets)?;
        let web = format!("exec python3 -u -m http.server 80 --bind 192.168.77.1 --directory {}/http", dhcp.display());
        let _web = start(&bench, lab.scratch(), &format!("web-{format}"), &web)?;
        let name = format!("xb{format}");
        let spec = Spec { firmware: Firmware::Bios, mac: MACHINE, memory: 64, name: &name, serial: None };
        let begun = std::time::Instant::now();
        let mut machine = Machine::start(&bench, lab.scratch(), &spec)?;
        let asked = format!("GET /boot/{folder}/boot.ipxe HTTP/1.1\" 200");
        let log = lab.scratch().join(format!("web-{format}.log"));
        run::wait_until(&format!("iPXE to fetch the script that {format} names"), Duration::from_secs(120), || {
            Ok(fs::read_to_string(&log)?.contains(&asked).then_some(()))
        })?;
        wait_for_login(&format!("the machine that {format} serves"), Duration::from_secs(120), || {
            let show = ["-C", &control, "--lld", "iscsi", "--op", "show", "--mode", "conn", "--tid", "1"];
            Ok(run::stdout(Command::new("tgtadm").args(show))?.contains(&initiator))
        })?;
        machine.kill();
        eprintln!("{format}: on its disk {} s after power-on", begun.elapsed().as_secs());
    }
    Ok(())
}
