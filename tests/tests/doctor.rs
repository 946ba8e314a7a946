//! The doctor: each defect is prepared for real, its row is seen, then the fix is applied or the command run, and the row is well.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bootyard_tests::bootyard::{Installed, LabDir, NOBODY, Serve};
use bootyard_tests::dnsmasq::Dnsmasq;
use bootyard_tests::netns::Netns;
use bootyard_tests::run;
use serde_json::Value;

const NETWORK: &str = "mode = \"dhcp\"\nrange = \"192.168.77.20-192.168.77.40\"";

/// What the doctor said, by row.
struct Rows {
    rows: BTreeMap<String, Value>,
    status: Option<i32>,
}

impl Rows {
    fn of(out: &Output) -> Result<Self> {
        let text = String::from_utf8_lossy(&out.stdout);
        let report: Value = serde_json::from_slice(&out.stdout)
            .with_context(|| format!("no JSON: {text}{}", String::from_utf8_lossy(&out.stderr)))?;
        let rows = report["rows"].as_array().context("rows")?.iter();
        let rows = rows.map(|row| (row["id"].as_str().unwrap_or_default().to_owned(), row.clone())).collect();
        Ok(Self { rows, status: out.status.code() })
    }

    fn row(&self, id: &str) -> Result<&Value> {
        self.rows.get(id).with_context(|| format!("no row {id} among {:?}", self.rows.keys()))
    }

    /// The row, which must be in this state and of this case.
    fn expect(&self, id: &str, state: &str, case: &str) -> Result<&Value> {
        let row = self.row(id)?;
        if row["state"] != state || row["case"] != case {
            bail!("{id} should be {state}, {case}: {row:#}");
        }
        if state != "ok" && (row["means"] == "" || row["remedy"] == "") {
            bail!("{id} does not say what it means or what to do: {row:#}");
        }
        Ok(row)
    }

    fn ok(&self, id: &str) -> Result<()> {
        let row = self.row(id)?;
        if row["state"] != "ok" { bail!("{id} is not well: {row:#}") } else { Ok(()) }
    }
}

fn look(bench: &Netns, lab: &LabDir, more: &[&str]) -> Result<Rows> {
    Rows::of(&lab.output(bench, &[&["doctor", "--json"], more].concat())?)
}

/// Runs a row's command in the bench, as root: `sudo` is what a person needs.
fn run_command(bench: &Netns, row: &Value, which: &str) -> Result<()> {
    let command = row["fix"][which].as_str().with_context(|| format!("no {which}: {row:#}"))?;
    run::stdout(bench.command("sh").args(["-c", &command.replace("sudo ", "")])).with_context(|| command.to_owned())?;
    Ok(())
}

struct Other(Child);

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The smallest PE header of this machine type.
fn pe(machine: u16) -> Vec<u8> {
    let mut out = vec![0; 0x80];
    out[..2].copy_from_slice(b"MZ");
    out[0x3c] = 0x80;
    out.extend(b"PE\0\0");
    out.extend(machine.to_le_bytes());
    out.extend(b"this is iPXE");
    out.resize(1024, 0);
    out
}

/// A bench with a link, and boot files for the architectures that Debian's package lacks.
fn healthy(tag: &str) -> Result<(Netns, Netns, LabDir)> {
    let bench = Netns::bench(tag, Some("192.168.77.1/24"))?;
    let peer = bench.plug(tag, "02:00:00:00:0e:01")?;
    let lab = LabDir::new(&format!("doctor-{tag}"), NETWORK)?;
    for (dir, machine) in [("arm64", 0xaa64), ("ia32", 0x014c)] {
        fs::create_dir_all(lab.path().join("firmware").join(dir))?;
        fs::write(lab.path().join("firmware").join(dir).join("snponly.efi"), pe(machine))?;
    }
    Ok((bench, peer, lab))
}

fn start(bench: &Netns, program: &str, args: &[&str], listens: &[&str]) -> Result<Other> {
    let mut command = bench.command(program);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let other = Other(command.spawn().with_context(|| program.to_owned())?);
    run::wait_until(&format!("{program} to listen"), Duration::from_secs(10), || {
        Ok(bench.tool("ss", listens)?.contains(':').then_some(()))
    })?;
    Ok(other)
}

#[test]
fn a_healthy_lab_is_well_throughout_before_and_while_it_serves() -> Result<()> {
    let (bench, _peer, mut lab) = healthy("well")?;
    let mut kernel = vec![0; 0x400];
    kernel[0x202..0x206].copy_from_slice(b"HdrS");
    fs::write(lab.path().join("media/linux"), kernel)?;
    fs::write(lab.path().join("media/initrd.gz"), b"\x1f\x8b\x08 an archive")?;
    lab.add("\n[[profile]]\nname = \"live\"\nkernel = \"linux\"\ninitrd = [\"initrd.gz\"]\n")?;
    let all_well = |rows: &Rows| -> Result<()> {
        let wrong: Vec<&Value> = rows.rows.values().filter(|row| row["state"] != "ok").collect();
        assert!(wrong.is_empty(), "a false alarm is a defect: {wrong:#?}");
        assert_eq!(rows.status, Some(0));
        Ok(())
    };
    let before = look(&bench, &lab, &[])?;
    all_well(&before)?;
    for check in [
        "lab",
        "folder:",
        "privileges",
        "link:br0",
        "address:br0",
        "other-dhcp:br0",
        "port:udp-67@br0",
        "firewall:br0",
        "kernel:rp-filter@br0",
        "firmware:bios",
        "firmware:uefi-x64",
        "profile:live",
        "space:",
        "lab-db",
        "clock",
        "sleep",
    ] {
        assert!(before.rows.keys().any(|id| id.starts_with(check)), "no row of {check}: {:?}", before.rows.keys());
    }
    let human = lab.output(&bench, &["doctor"])?;
    let text = String::from_utf8_lossy(&human.stdout);
    assert!(human.status.success() && text.lines().all(|line| line.starts_with("ok ")), "{text}");

    let mut serve = Serve::start(&bench, &lab)?;
    let during = look(&bench, &lab, &[])?;
    all_well(&during)?;
    during.expect("port:udp-67@br0", "ok", "ours")?;
    during.expect("reachable:iscsi@br0", "ok", "fine")?;
    assert!(serve.terminate()?.success());
    Ok(())
}

#[test]
fn a_taken_port_has_an_owner_and_a_way_out() -> Result<()> {
    let (bench, _peer, lab) = healthy("ports")?;
    let range = "--dhcp-range=192.168.77.50,192.168.77.60";
    let args = ["--no-daemon", "--conf-file=/dev/null", "--port=0", "--user=root", "--interface=br0", range];
    let leases = format!("--dhcp-leasefile={}", lab.scratch().join("leases").display());
    let args = [&args[..], &["--pid-file=", &leases]].concat();
    let dnsmasq = start(&bench, "dnsmasq", &args, &["-Hlun", "sport = :67"])?;
    let rows = look(&bench, &lab, &[])?;
    let row = rows.expect("port:udp-67@br0", "failed", "taken")?;
    let seen = row["seen"].as_str().unwrap_or_default();
    assert!(seen.contains(&format!("dnsmasq (pid {})", dnsmasq.0.id())), "{seen}");
    assert!(seen.contains("dnsmasq-base"), "the package is not named: {seen}");
    assert_eq!(rows.status, Some(1));
    run_command(&bench, row, "command")?;
    drop(dnsmasq);
    look(&bench, &lab, &[])?.ok("port:udp-67@br0")?;

    let _web = start(&bench, "busybox", &["httpd", "-f", "-p", "192.168.77.1:80"], &["-Hltn", "sport = :80"])?;
    let rows = look(&bench, &lab, &[])?;
    let row = rows.expect("port:tcp-80@br0", "failed", "moveable")?;
    assert_eq!(row["fix"]["act"]["http"], 8080, "{row:#}");
    // Another row than the one that was asked for is left alone.
    let unknown = lab.output(&bench, &["doctor", "--fix", "port:tcp-81@br0"])?;
    assert_eq!(unknown.status.code(), Some(2), "{unknown:?}");
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("port:tcp-80@br0"), "{unknown:?}");
    run::output(&mut lab.command(&bench, &["doctor", "--fix", "port:tcp-80@br0"])?)?;
    let toml = fs::read_to_string(lab.toml())?;
    assert!(toml.contains("[ports]") && toml.contains("http = 8080"), "{toml}");
    let rows = look(&bench, &lab, &[])?;
    rows.expect("port:tcp-8080@br0", "ok", "free")?;
    assert_eq!(rows.status, Some(0));
    Ok(())
}

#[test]
fn a_firewall_that_drops_is_named_with_the_command_that_opens_it_and_the_one_that_undoes_it() -> Result<()> {
    let (bench, _peer, lab) = healthy("nft")?;
    let nft = |rule: &str| bench.tool("nft", &[rule]);
    nft("add table inet guard")?;
    nft("add chain inet guard in { type filter hook input priority 0; policy drop; }")?;
    nft("add chain inet guard from_bench")?;
    nft("add set inet guard web { type inet_service; elements = { 80, 443 }; }")?;
    nft("add rule inet guard in ct state established,related accept")?;
    nft("add rule inet guard in iifname \"br*\" jump from_bench")?;
    nft("add rule inet guard from_bench tcp dport @web accept")?;
    nft("add rule inet guard from_bench udp dport { 67, 4011 } accept")?;
    let rows = look(&bench, &lab, &[])?;
    let row = rows.expect("firewall:br0", "failed", "dropped")?;
    let seen = row["seen"].as_str().unwrap_or_default();
    assert!(seen.contains("UDP 69, TCP 3260.") && seen.contains("inet guard in"), "{seen}");
    run_command(&bench, row, "command")?;
    look(&bench, &lab, &[])?.expect("firewall:br0", "ok", "open")?;
    run_command(&bench, row, "undo")?;
    look(&bench, &lab, &[])?.expect("firewall:br0", "failed", "dropped")?;
    // Without the rule for what belongs to a connection a transfer dies.
    nft("flush chain inet guard in")?;
    nft("add rule inet guard in iifname br0 udp dport { 67, 69, 4011 } accept")?;
    nft("add rule inet guard in tcp dport { 80, 443, 3260 } accept")?;
    let rows = look(&bench, &lab, &[])?;
    run_command(&bench, rows.expect("firewall:br0", "failed", "transfers")?, "command")?;
    look(&bench, &lab, &[])?.expect("firewall:br0", "ok", "open")?;

    nft("flush ruleset")?;
    for rule in [
        "-P INPUT DROP",
        "-A INPUT -i lo -j ACCEPT",
        "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        "-A INPUT -i br0 -p tcp -m multiport --dports 80,443,3260 -j ACCEPT",
        "-A INPUT -i br0 -p udp -m udp --dport 67 -m comment --comment \"for DHCP\" -j ACCEPT",
    ] {
        run::stdout(bench.command("sh").args(["-c", &format!("iptables {rule}")]))?;
    }
    let rows = look(&bench, &lab, &[])?;
    let row = rows.expect("firewall:br0", "failed", "dropped")?;
    assert!(row["seen"].as_str().is_some_and(|s| s.contains("UDP 69, UDP 4011.")), "{row:#}");
    run_command(&bench, row, "command")?;
    look(&bench, &lab, &[])?.expect("firewall:br0", "ok", "open")?;
    run_command(&bench, row, "undo")?;
    look(&bench, &lab, &[])?.expect("firewall:br0", "failed", "dropped")?;
    Ok(())
}

#[test]
fn a_dead_link_an_overlap_and_a_foreign_server_are_seen_and_mended() -> Result<()> {
    let (bench, _peer, lab) = healthy("wire")?;
    bench.ip(&["link", "add", "v0", "type", "veth", "peer", "name", "v1"])?;
    bench.ip(&["address", "add", "10.77.0.1/24", "dev", "v0"])?;
    let rows = look(&bench, &lab, &["--interface", "v0"])?;
    run_command(&bench, rows.expect("link:v0", "failed", "down")?, "command")?;
    look(&bench, &lab, &["--interface", "v0"])?.expect("link:v0", "failed", "no-carrier")?;
    bench.ip(&["link", "set", "v1", "up"])?;
    look(&bench, &lab, &["--interface", "v0"])?.ok("link:v0")?;
    let none = lab.output(&bench, &["doctor", "--interface", "nosuch0"])?;
    assert_eq!(none.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&none.stderr).contains("nosuch0"), "{none:?}");

    bench.ip(&["address", "add", "192.168.77.130/25", "dev", "v0"])?;
    let rows = look(&bench, &lab, &[])?;
    let row = rows.expect("address:br0", "failed", "overlaps")?;
    assert!(row["seen"].as_str().is_some_and(|s| s.contains("v0 (192.168.77.130/25)")), "{row:#}");
    run_command(&bench, row, "command")?;
    look(&bench, &lab, &[])?.ok("address:br0")?;

    // Cable and Wi-Fi at one router: well, once each answers for itself, and the kernel does not drop what comes in.
    bench.ip(&["address", "add", "192.168.77.9/24", "dev", "v0"])?;
    let rows = look(&bench, &lab, &[])?;
    run_command(&bench, rows.expect("address:br0", "warning", "both-answer")?, "command")?;
    look(&bench, &lab, &[])?.expect("address:br0", "ok", "beside-another")?;
    bench.tool("sysctl", &["-qw", "net.ipv4.conf.br0.rp_filter=1"])?;
    look(&bench, &lab, &[])?.expect("address:br0", "ok", "beside-another")?;
    bench.ip(&["route", "del", "192.168.77.0/24", "dev", "br0"])?;
    bench.ip(&["route", "add", "192.168.77.0/24", "dev", "br0", "src", "192.168.77.1", "metric", "600"])?;
    let rows = look(&bench, &lab, &[])?;
    run_command(&bench, rows.expect("address:br0", "failed", "same-network")?, "command")?;
    look(&bench, &lab, &[])?.expect("address:br0", "ok", "beside-another")?;
    bench.ip(&["address", "del", "192.168.77.9/24", "dev", "v0"])?;

    let _dnsmasq = Dnsmasq::start(&bench, lab.scratch(), &[])?;
    let rows = look(&bench, &lab, &[])?;
    let row = rows.expect("other-dhcp:br0", "failed", "refused")?;
    assert!(row["seen"].as_str().is_some_and(|s| s.contains(Dnsmasq::ADDRESS)), "{row:#}");
    run::stdout(&mut lab.command(&bench, &["doctor", "--fix", "other-dhcp:br0"])?)?;
    assert!(fs::read_to_string(lab.toml())?.contains("mode = \"proxy\""));
    look(&bench, &lab, &[])?.expect("other-dhcp:br0", "ok", "beside")?;
    Ok(())
}

#[test]
fn boot_files_that_boot_nothing_and_a_readable_lab_toml_are_told() -> Result<()> {
    let (bench, _peer, mut lab) = healthy("files")?;
    let firmware = lab.path().join("firmware");
    fs::write(firmware.join("undionly.kpxe"), b"")?;
    fs::write(firmware.join("arm64/snponly.efi"), pe(0x8664))?;
    fs::write(firmware.join("broken.efi"), b"not a program")?;
    fs::write(lab.path().join("media/linux"), b"<!DOCTYPE html><title>404 Not Found</title>")?;
    lab.add("\n[[profile]]\nname = \"live\"\nkernel = \"linux\"\n")?;
    fs::set_permissions(lab.toml(), fs::Permissions::from_mode(0o644))?;
    let rows = look(&bench, &lab, &[])?;
    rows.expect("firmware:undionly.kpxe", "failed", "empty")?;
    rows.expect("firmware:arm64/snponly.efi", "failed", "wrong-machine")?;
    rows.expect("firmware:broken.efi", "failed", "not-pe")?;
    rows.expect("profile:live/kernel", "failed", "page")?;
    rows.expect("folder:lab.toml", "warning", "open")?;
    assert_eq!(rows.status, Some(1));

    fs::remove_file(firmware.join("undionly.kpxe"))?;
    fs::remove_file(firmware.join("broken.efi"))?;
    fs::write(firmware.join("arm64/snponly.efi"), pe(0xaa64))?;
    let mut kernel = vec![0; 0x400];
    kernel[0x202..0x206].copy_from_slice(b"HdrS");
    fs::write(lab.path().join("media/linux"), kernel)?;
    run::stdout(&mut lab.command(&bench, &["doctor", "--fix", "folder:lab.toml"])?)?;
    assert_eq!(fs::metadata(lab.toml())?.permissions().mode() & 0o777, 0o600);
    let rows = look(&bench, &lab, &[])?;
    for id in ["firmware:bios", "firmware:uefi-arm64", "profile:live", "folder:lab.toml"] {
        rows.ok(id)?;
    }
    assert_eq!(rows.status, Some(0), "{:?}", rows.rows);
    assert!(!rows.rows.contains_key("firmware:undionly.kpxe"));
    // A part that is missing is made.
    fs::remove_dir_all(lab.path().join("disks"))?;
    look(&bench, &lab, &[])?.expect("folder:parts", "failed", "missing")?;
    run::stdout(&mut lab.command(&bench, &["doctor", "--fix", "folder:parts"])?)?;
    look(&bench, &lab, &[])?.ok("folder:parts")?;
    Ok(())
}

/// A file system of its own, small enough to fill.
struct Small<'a>(&'a Path);

impl Drop for Small<'_> {
    fn drop(&mut self) {
        let _ = run::output(Command::new("umount").arg("-l").arg(self.0));
    }
}

#[test]
fn a_full_disk_is_told_before_a_machine_is_refused_its_own() -> Result<()> {
    let (bench, _peer, mut lab) = healthy("full")?;
    let disks = lab.path().join("disks");
    run::stdout(Command::new("mount").args(["-t", "tmpfs", "-o", "size=16m", "small"]).arg(&disks))?;
    let _small = Small(&disks);
    fs::File::create(disks.join("golden.raw"))?.set_len(64 << 20)?;
    lab.add("\n[[disk]]\nname = \"golden\"\nimage = \"golden.raw\"\nwrites = \"keep\"\n")?;
    look(&bench, &lab, &[])?.expect("space:disks", "ok", "enough")?;
    lab.add_host("02:00:00:00:0e:02", "pc-1", "{ iscsi = \"golden\" }")?;
    look(&bench, &lab, &[])?.expect("space:disks", "warning", "tight")?;
    fs::write(disks.join("filler"), vec![1; 31 << 19])?;
    let rows = look(&bench, &lab, &[])?;
    rows.expect("space:disks", "failed", "low")?;
    assert_eq!(rows.status, Some(1));
    fs::remove_file(disks.join("filler"))?;
    look(&bench, &lab, &[])?.expect("space:disks", "warning", "tight")?;
    Ok(())
}

#[test]
fn missing_privileges_are_told_and_the_installed_helper_is_enough() -> Result<()> {
    let bench = Netns::bench("rights", Some("192.168.77.1/24"))?;
    let _peer = bench.plug("rights", "02:00:00:00:0e:03")?;
    for (tag, ports, state, case) in
        [("rights-none", false, "failed", "missing"), ("rights-some", true, "ok", "helper")]
    {
        let installed = Installed::new(tag, ports)?;
        let lab = LabDir::at(installed.user_dir(), NETWORK)?;
        lab.give_to(NOBODY)?;
        let mut command = bench.command("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"]);
        if !ports {
            command.arg("--bounding-set=-all");
        }
        command.arg(installed.program()).arg("--lab").arg(lab.path()).args(["doctor", "--json"]);
        lab.environment(&mut command);
        let rows = Rows::of(&run::output(&mut command)?)?;
        let row = rows.expect("privileges", state, case)?;
        if !ports {
            assert!(row["remedy"].as_str().is_some_and(|r| r.contains("packaging/run")), "{row:#}");
            // Whose rules cannot be read, says so.
            rows.expect("firewall:br0", "unknown", "hidden")?;
        }
    }
    Ok(())
}

#[test]
fn the_self_test_boots_from_the_real_servers_and_leaves_nothing_behind() -> Result<()> {
    let (bench, _peer, mut lab) = healthy("self")?;
    let mut kernel = vec![7; 100_000];
    kernel[0x202..0x206].copy_from_slice(b"HdrS");
    fs::write(lab.path().join("media/linux"), kernel)?;
    let image = lab.path().join("disks/golden.raw");
    fs::write(&image, vec![3; 8 << 20])?;
    lab.add("\n[[profile]]\nname = \"live\"\nkernel = \"linux\"\n")?;
    lab.add("\n[[disk]]\nname = \"golden\"\nimage = \"golden.raw\"\nwrites = \"keep\"\n")?;
    let mut serve = Serve::start(&bench, &lab)?;
    let rows = look(&bench, &lab, &["--self-test"])?;
    let size =
        |file: &str| -> Result<String> { Ok(fs::metadata(Path::new("/usr/lib/ipxe").join(file))?.len().to_string()) };
    for (kind, file, bytes) in [
        ("bios", "undionly.kpxe", size("undionly.kpxe")?),
        ("uefi", "snponly.efi", size("snponly.efi")?),
        ("uefi-4011", "snponly.efi", size("snponly.efi")?),
        ("uefi-http", "/firmware/snponly.efi", size("snponly.efi")?),
        ("gpxe", "boot.ipxe", String::new()),
        ("ipxe", "boot.ipxe", String::new()),
    ] {
        let row = rows.expect(&format!("self-test:{kind}@br0"), "ok", "boots")?;
        let seen = row["seen"].as_str().unwrap_or_default();
        assert!(seen.contains("192.168.77.") && seen.contains(file) && seen.contains(&bytes), "{kind}: {seen}");
    }
    let kernel = rows.expect("self-test:profile-live@br0", "ok", "kernel")?;
    assert!(kernel["seen"].as_str().is_some_and(|s| s.contains("100000 bytes")), "{kernel:#}");
    let disk = rows.expect("self-test:disk-golden@br0", "ok", "disk")?;
    assert!(disk["seen"].as_str().is_some_and(|s| s.contains("4096") && s.contains("8388608")), "{disk:#}");
    assert_eq!(rows.status, Some(0));

    // No machine, no event, no lease, no overlay: now and after a restart.
    let gone = |when: &str| -> Result<()> {
        let hosts = lab.json(&bench, &["hosts", "--json"])?;
        assert_eq!(hosts, Value::Array(vec![]), "{when}");
        let events = run::stdout(&mut lab.command(&bench, &["events", "--json"])?)?;
        assert!(!events.contains("02:62:79:74:65:73"), "{when}: {events}");
        assert!(!lab.path().join("disks/golden.overlays").exists(), "{when}");
        Ok(())
    };
    gone("while it serves")?;
    assert!(serve.terminate()?.success());
    gone("afterwards")?;
    let mut serve = Serve::start(&bench, &lab)?;
    gone("after a restart")?;

    // What a machine would meet is said: a rule that drops its DISCOVER, a file that is gone.
    bench.tool("nft", &["add table inet guard"])?;
    bench.tool("nft", &["add chain inet guard in { type filter hook input priority 0; }"])?;
    bench.tool("nft", &["add rule inet guard in iifname br0 udp dport 67 drop"])?;
    let rows = look(&bench, &lab, &["--self-test"])?;
    rows.expect("self-test:bios@br0", "failed", "no-offer")?;
    rows.expect("self-test:ipxe@br0", "failed", "no-offer")?;
    rows.expect("self-test:disk-golden@br0", "ok", "disk")?;
    assert_eq!(rows.status, Some(1));
    bench.tool("nft", &["flush ruleset"])?;
    fs::remove_file(lab.path().join("media/linux"))?;
    fs::remove_file(&image)?;
    let rows = look(&bench, &lab, &["--self-test"])?;
    rows.expect("self-test:bios@br0", "ok", "boots")?;
    rows.expect("self-test:profile-live@br0", "failed", "no-kernel")?;
    rows.expect("self-test:disk-golden@br0", "failed", "no-disk")?;
    assert!(serve.terminate()?.success());
    Ok(())
}

#[test]
fn the_self_test_plays_beside_another_server_and_without_a_running_engine() -> Result<()> {
    let (bench, _peer, mut lab) = healthy("beside")?;
    lab.add("unknown = \"ignore\"\n")?;
    let text = fs::read_to_string(lab.toml())?.replace("mode = \"dhcp\"", "mode = \"auto\"");
    fs::write(lab.toml(), text)?;
    let _dnsmasq = Dnsmasq::start(&bench, lab.scratch(), &[])?;
    let rows = look(&bench, &lab, &["--self-test"])?;
    for kind in ["bios", "uefi", "uefi-4011", "uefi-http", "gpxe", "ipxe"] {
        let row = rows.expect(&format!("self-test:{kind}@br0"), "ok", "boots")?;
        assert!(row["seen"].as_str().is_some_and(|s| s.contains("the other server's address")), "{row:#}");
    }
    rows.expect("other-dhcp:br0", "ok", "auto")?;
    // It served for that long only.
    assert_eq!(lab.output(&bench, &["events", "--follow"])?.status.code(), Some(3));
    Ok(())
}
