//! TFTP clients that others wrote fetch files from `bootyard serve` byte for byte, with the options that each of them knows.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bootyard_tests::bootyard::{LabDir, Serve};
use bootyard_tests::netns::Netns;

const SERVER: &str = "192.168.77.1";
/// More than 65,535 blocks of 512 bytes: their numbers begin again at 0.
const LARGE: usize = 36 << 20;

/// Bytes that repeat nowhere near a block's length.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

/// A lab with files, and a computer beside it that can fetch them.
struct Fetching {
    lab: LabDir,
    serve: Serve,
    client: Netns,
    _bench: Netns,
}

impl Fetching {
    fn new(tag: &str) -> Result<Self> {
        let bench = Netns::bench(tag, Some("192.168.77.1/24"))?;
        let network = "mode = \"dhcp\"\nrange = \"192.168.77.20-192.168.77.40\"";
        let lab = LabDir::new(&format!("tftp-{tag}"), network)?;
        let folder = lab.path().join("firmware/boot");
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join("large.bin"), pattern(LARGE))?;
        std::fs::write(folder.join("small.bin"), pattern(1468 * 4))?;
        std::fs::write(folder.join("middle.bin"), pattern(5000))?;
        std::fs::write(folder.join("empty.bin"), [])?;
        std::fs::write(folder.join("notes.txt"), "one\ntwo\n\nfour\n".repeat(1000))?;
        let serve = Serve::start(&bench, &lab)?;
        let client = bench.plug(tag, "02:00:00:00:0f:01")?;
        client.ip(&["address", "add", "192.168.77.50/24", "dev", "eth0"])?;
        Ok(Self { lab, serve, client, _bench: bench })
    }

    /// Runs a client, whose `{}` is the file to write, and compares that with `boot/NAME`.
    fn check(&self, name: &str, program: &str, args: &[&str]) -> Result<()> {
        let to = self.lab.scratch().join("got");
        // A client that writes nothing must not leave the file of the one before.
        let _ = std::fs::remove_file(&to);
        let place = to.to_string_lossy();
        let args: Vec<String> = args.iter().map(|arg| arg.replace("{}", &place)).collect();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let said = self.client.tool(program, &args)?;
        let told = || format!("{program} {args:?}: {said}");
        let got = std::fs::read(&to).with_context(told)?;
        let wanted = std::fs::read(self.lab.path().join("firmware/boot").join(name))?;
        ensure!(got == wanted, "{} has {} bytes of {}, or others", told(), got.len(), wanted.len());
        Ok(())
    }
}

#[test]
fn tftp_hpa_gets_files_in_both_modes() -> Result<()> {
    let mut lab = Fetching::new("hpa")?;
    for name in ["large.bin", "small.bin", "empty.bin"] {
        lab.check(name, "tftp", &["-m", "binary", SERVER, "-c", "get", &format!("boot/{name}"), "{}"])?;
    }
    // It takes CR LF off again, so that what it writes is what is served.
    lab.check("notes.txt", "tftp", &["-m", "netascii", SERVER, "-c", "get", "boot/notes.txt", "{}"])?;
    let done = |e: &serde_json::Value| e["kind"] == "tftp-done" && e["file"] == "boot/large.bin";
    let event = lab.serve.wait_for_event("the end of the large file", Duration::from_secs(30), done)?;
    ensure!(event["bytes"] == LARGE, "{event}");
    ensure!(lab.serve.terminate()?.success(), "{}", lab.serve.stderr());
    Ok(())
}

#[test]
fn atftp_gets_files_with_every_option() -> Result<()> {
    let lab = Fetching::new("atftp")?;
    for (name, options) in [
        ("large.bin", &[][..]),
        ("large.bin", &["blksize 1468"]),
        ("large.bin", &["blksize 1468", "windowsize 4"]),
        ("large.bin", &["blksize 1468", "windowsize 16", "tsize 0"]),
        ("small.bin", &["blksize 1468", "windowsize 4", "timeout 2"]),
        // A block that must be fragmented, in a window that the kernel therefore does not cut.
        ("large.bin", &["blksize 4000", "windowsize 8"]),
        // Two packets in all, each refused as long as it might have to be cut.
        ("middle.bin", &["blksize 8192", "windowsize 4"]),
        ("empty.bin", &["blksize 1468", "windowsize 16"]),
    ] {
        let remote = format!("boot/{name}");
        let mut args = vec!["--get", "-r", &remote, "-l", "{}"];
        for option in options {
            args.extend(["--option", option]);
        }
        args.push(SERVER);
        lab.check(name, "atftp", &args).with_context(|| format!("{options:?}"))?;
    }
    Ok(())
}

#[test]
fn busybox_gets_files_with_and_without_a_block_size() -> Result<()> {
    let lab = Fetching::new("busybox")?;
    for name in ["large.bin", "small.bin", "empty.bin"] {
        let remote = format!("boot/{name}");
        for size in [&[][..], &["-b", "1468"]] {
            let args = [&["tftp", "-g", "-r", &remote, "-l", "{}"][..], size, &[SERVER]].concat();
            lab.check(name, "busybox", &args).with_context(|| format!("{size:?}"))?;
        }
    }
    Ok(())
}

#[test]
fn curl_gets_files_and_is_told_what_is_missing() -> Result<()> {
    let lab = Fetching::new("curl")?;
    for name in ["large.bin", "small.bin", "empty.bin"] {
        let url = format!("tftp://{SERVER}/boot/{name}");
        for options in [&[][..], &["--tftp-blksize", "1468"], &["--tftp-no-options"]] {
            let args = [options, &["-fsS", "-o", "{}", &url]].concat();
            // It makes no file of nothing.
            if name != "empty.bin" {
                lab.check(name, "curl", &args).with_context(|| format!("{options:?}"))?;
            }
        }
    }
    // As firmware writes it.
    lab.check("small.bin", "curl", &["-fsS", "-o", "{}", &format!("tftp://{SERVER}/BOOT%5CSmall.BIN")])?;
    for missing in ["boot/nothing.bin", "../lab.toml", "boot"] {
        let said = lab.client.tool("curl", &["-sS", "--path-as-is", &format!("tftp://{SERVER}/{missing}")]);
        ensure!(said.is_err(), "{missing} was served: {said:?}");
    }
    let upload = lab.lab.scratch().join("upload");
    std::fs::write(&upload, "mine")?;
    let to = format!("tftp://{SERVER}/boot/small.bin");
    let said = lab.client.tool("curl", &["-sS", "-T", &upload.to_string_lossy(), &to]);
    ensure!(said.is_err(), "a file was taken in");
    unchanged(&lab.lab.path().join("firmware/boot/small.bin"))
}

fn unchanged(small: &Path) -> Result<()> {
    ensure!(std::fs::read(small)? == pattern(1468 * 4), "{} was changed", small.display());
    Ok(())
}
