//! What is wrong is answered by a clear error or by silence, and never by a crash: the next good request is served as ever.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bootyard_tests::bootyard::{Installed, LabDir, NOBODY, Serve};
use bootyard_tests::netns::Netns;
use bootyard_tests::pxe_client::{Client, Kind};
use bootyard_tests::run;

const NETWORK: &str = "mode = \"dhcp\"\nrange = \"192.168.77.20-192.168.77.40\"";

/// Starts `serve`, which must end with status 1; what it said.
fn refused(bench: &Netns, lab: &LabDir) -> Result<String> {
    let mut serve = Serve::spawn(bench, lab)?;
    let status = serve.wait_exit(Duration::from_secs(20))?;
    let said = serve.stderr();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(!said.contains("panicked") && !said.contains("backtrace"), "{said}");
    Ok(said)
}

/// Takes a UDP port and sits on it.
const HOLD: &str = "import socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('0.0.0.0', int(sys.argv[1])))
time.sleep(60)";

struct Other(Child);

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_taken_port_names_its_owner() -> Result<()> {
    let bench = Netns::bench("taken", Some("192.168.77.1/24"))?;
    for (protocol, port, program, args) in [
        ("TCP", "80", "busybox", &["httpd", "-f", "-p", "192.168.77.1:80"][..]),
        ("UDP", "69", "python3", &["-c", HOLD, "69"][..]),
        ("UDP", "67", "python3", &["-c", HOLD, "67"][..]),
    ] {
        let lab = LabDir::new(&format!("taken-{protocol}-{port}"), NETWORK)?;
        let mut command = bench.command(program);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let other = Other(command.spawn()?);
        let list = if protocol == "TCP" { "-Hltn" } else { "-Hlun" };
        run::wait_until(&format!("{program} to take {protocol} port {port}"), Duration::from_secs(5), || {
            Ok(bench.tool("ss", &[list, &format!("sport = :{port}")])?.contains(':').then_some(()))
        })?;
        let said = refused(&bench, &lab)?;
        assert!(said.contains(&format!("port {port}")), "{said}");
        assert!(
            said.contains(program) && said.contains(&other.0.id().to_string()),
            "its owner is {program} {}: {said}",
            other.0.id()
        );
    }
    Ok(())
}

#[test]
fn without_privileges_it_says_what_to_run() -> Result<()> {
    let bench = Netns::bench("nopriv", Some("192.168.77.1/24"))?;
    // Without `bootyard-ports` beside it, as after a plain `cargo build`.
    let installed = Installed::new("nopriv", false)?;
    let lab = LabDir::at(installed.user_dir(), NETWORK)?;
    lab.give_to(NOBODY)?;
    let mut command = bench.command("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"]);
    command.arg(installed.program()).arg("--lab").arg(lab.path()).arg("serve");
    lab.environment(&mut command);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let ended = run::wait_exit(&mut child, "serve without privileges to end", Duration::from_secs(20));
    let _ = child.kill();
    let out = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(ended?.code(), Some(1), "{said}");
    assert!(said.contains("permission") && said.contains("packaging/run"), "it does not say what to run: {said}");
    Ok(())
}

#[test]
fn nothing_starts_on_a_broken_lab() -> Result<()> {
    let bench = Netns::bench("broken", Some("192.168.77.1/24"))?;
    for (name, toml, word) in [
        (
            "twice",
            "[[host]]\nmac = \"02:00:00:00:0d:01\"\n[[host]]\nmac = \"02:00:00:00:0d:01\"\n",
            "02:00:00:00:0d:01",
        ),
        ("outside", "[[host]]\nmac = \"02:00:00:00:0d:01\"\naddress = \"10.9.9.9\"\n", "10.9.9.9"),
        ("key", "[[disk]]\nname = \"d\"\nimmage = \"d.raw\"\n", "image"),
        ("no-such", "[[host]]\nmac = \"02:00:00:00:0d:01\"\nboot = { install = \"nothing\" }\n", "nothing"),
        ("syntax", "[[host]\n", "lab.toml:"),
        ("table", "[network.x]\n", "x"),
    ] {
        // The address tells what the subnet is before the interface is looked at.
        let mut lab = LabDir::new(&format!("broken-{name}"), &format!("address = \"192.168.77.1/24\"\n{NETWORK}"))?;
        lab.add(toml)?;
        let said = refused(&bench, &lab)?;
        assert!(said.contains("lab.toml:") && said.contains(word), "{name}: {said}");
        let check = lab.output(&bench, &["check"])?;
        assert_eq!(check.status.code(), Some(1), "{name}: {check:?}");
    }
    Ok(())
}

fn curl(client: &Client, args: &[&str]) -> Result<String> {
    let out = run::output(client.ns.command("curl").args(["-sS", "--max-time", "5", "--path-as-is"]).args(args))?;
    Ok(String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned())
}

#[test]
fn no_path_leads_out_of_its_folder_and_noise_harms_nobody() -> Result<()> {
    let bench = Netns::bench("climb", Some("192.168.77.1/24"))?;
    let mut lab = LabDir::new("climb", NETWORK)?;
    lab.add_host("02:00:00:00:0d:02", "bench-1", "\"wait\"")?;
    fs::write(lab.path().join("firmware/own.efi"), "our own")?;
    let secret = lab.path().join("secret.txt");
    fs::write(&secret, "root:secret")?;
    std::os::unix::fs::symlink(&secret, lab.path().join("firmware/link.efi"))?;
    let mut serve = Serve::start(&bench, &lab)?;
    let client = Client::plug(&bench, "climb", "02:00:00:00:0d:02")?;
    let told = client.boot(Kind::Rom, true)?;
    client.take(&told)?;

    let paths = [
        "/../../../../etc/passwd",
        "/firmware/../lab.toml",
        "/firmware/../../../../../../etc/passwd",
        "/firmware/..%2flab.toml",
        "/firmware/%2e%2e/%2e%2e/etc/passwd",
        "/firmware//etc/passwd",
        "/firmware/..\\..\\etc\\passwd",
        "/firmware/%00/etc/passwd",
        "/media/../lab.toml",
        "/boot/02-00-00-00-0d-02/../../lab.toml",
        "//etc/passwd",
        "/lab.toml",
        "/lab.db",
        "/firmware/link.efi/..",
    ];
    for path in paths {
        let http = curl(&client, &["-w", "status %{http_code}", &format!("http://192.168.77.1{path}")])?;
        assert!(!http.contains("root:") && !http.contains("interface ="), "HTTP gave away {path}: {http}");
        assert!(http.contains("status 4"), "HTTP {path}: {http}");
        let tftp = curl(&client, &[&format!("tftp://192.168.77.1/{path}")])?;
        assert!(!tftp.contains("root:") && !tftp.contains("interface ="), "TFTP gave away {path}: {tftp}");
        assert!(tftp.contains("curl:"), "TFTP {path} was no error: {tftp}");
    }
    for absolute in ["/etc/passwd", "../lab.toml", "firmware/../../lab.toml", "..\\lab.toml"] {
        let to = lab.scratch().join("got");
        let _ = run::output(
            client.ns.command("timeout").args(["5", "tftp", "192.168.77.1", "-c", "get", absolute]).arg(&to),
        )?;
        let got = fs::read_to_string(&to).unwrap_or_default();
        assert!(got.is_empty(), "TFTP gave away {absolute}: {got}");
    }

    // Noise on every port, then the same services as ever.
    for port in ["67", "69", "4011"] {
        for bytes in ["0", "1", "11", "239", "240", "300", "1400", "9000"] {
            let noise = format!("head -c {bytes} /dev/urandom > /dev/udp/192.168.77.1/{port}");
            let _ = run::output(client.ns.command("bash").args(["-c", &noise]))?;
        }
    }
    for port in ["80", "3260"] {
        for bytes in ["1", "47", "48", "4096", "100000"] {
            let noise = format!("exec 3<>/dev/tcp/192.168.77.1/{port} && head -c {bytes} /dev/urandom >&3");
            let _ = run::output(client.ns.command("timeout").args(["5", "bash", "-c", &noise]))?;
        }
    }
    let again = client.boot(Kind::Rom, true)?;
    assert_eq!(again.ack["yiaddr"], told.ack["yiaddr"]);
    assert_eq!(curl(&client, &["http://192.168.77.1/firmware/own.efi"])?, "our own");
    assert_eq!(curl(&client, &["tftp://192.168.77.1/own.efi"])?, "our own");
    assert!(serve.terminate()?.success(), "{}", serve.stderr());
    assert!(!serve.stderr().contains("panicked"), "{}", serve.stderr());
    Ok(())
}

/// A file system of its own, small enough to fill.
struct Small(PathBuf);

impl Small {
    fn mount(at: &Path, size: &str) -> Result<Self> {
        run::stdout(Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={size}"), "small"]).arg(at))?;
        Ok(Self(at.to_owned()))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = run::output(Command::new("umount").arg("-l").arg(&self.0));
    }
}

#[test]
fn a_full_disk_is_an_io_error_and_loses_nothing_acknowledged() -> Result<()> {
    const CHUNK: usize = 1 << 20;
    let bench = Netns::bench("full", Some("192.168.77.1/24"))?;
    let mut lab = LabDir::new("full-disk", NETWORK)?;
    let _small = Small::mount(&lab.path().join("disks"), "24m")?;
    let image = lab.path().join("disks/golden.raw");
    fs::File::create(&image)?.set_len(64 << 20)?;
    let iqn = "iqn.2026-11.test:golden";
    lab.add(&format!(
        "\n[[disk]]\nname = \"golden\"\nimage = \"golden.raw\"\niqn = \"{iqn}\"\nwrites = \"keep\"\nallow = [\"192.168.77.0/24\"]\n"
    ))?;
    let mut serve = Serve::start(&bench, &lab)?;
    let client = bench.plug("full", "02:00:00:00:0d:03")?;
    client.ip(&["address", "add", "192.168.77.50/24", "dev", "eth0"])?;
    let url = format!("iscsi://192.168.77.1/{iqn}/0");

    // qemu-io prints a line for each command: how much was written, or why not. Each chunk has its own pattern, and a flush behind it.
    let qemu_io = |commands: &[String]| -> Result<String> {
        let mut command = client.command("timeout");
        command.args(["120", "qemu-io", "-f", "raw", "-n", &url]);
        for c in commands {
            command.args(["-c", c]);
        }
        let out = run::output(&mut command)?;
        Ok(String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned())
    };
    let mut acknowledged = Vec::new();
    let mut refusal = None;
    for i in 0..40 {
        let said = qemu_io(&[format!("write -P {} {} {CHUNK}", i + 1, i * CHUNK), "flush".into()])?;
        if said.contains(&format!("wrote {CHUNK}/{CHUNK}")) && !said.contains("failed") {
            acknowledged.push(i);
        } else {
            refusal = Some(said);
            break;
        }
    }
    let Some(refusal) = refusal else { bail!("40 MiB went into a file system of 24 MiB") };
    assert!(acknowledged.len() >= 8, "only {} MiB went in before: {refusal}", acknowledged.len());
    assert!(refusal.contains("No space left") || refusal.contains("Input/output error"), "{refusal}");
    serve.wait_for("iscsi-error", Duration::from_secs(30))?;

    // The engine lives, and so do the data; after a restart, too.
    for attempt in ["before", "after"] {
        let reads: Vec<String> =
            acknowledged.iter().map(|i| format!("read -P {} {} {CHUNK}", i + 1, i * CHUNK)).collect();
        let said = qemu_io(&reads)?;
        assert!(
            !said.contains("Pattern verification failed") && !said.contains("failed"),
            "{attempt} the restart: {said}"
        );
        assert_eq!(said.matches("read 1048576/1048576").count(), acknowledged.len(), "{attempt} the restart: {said}");
        serve.terminate()?;
        serve = Serve::start(&bench, &lab)?;
    }
    let golden = fs::read(&image).context("golden")?;
    assert!(golden.iter().all(|b| *b == 0), "the golden image changed");
    Ok(())
}
