//! Boot files over HTTP and HTTPS to the clients that everybody has: curl and wget, in a network of their own.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use bootyard_tests::bootyard::{LabDir, Serve};
use bootyard_tests::netns::Netns;
use bootyard_tests::run;

const NETWORK: &str = "mode = \"dhcp\"\nrange = \"192.168.77.20-192.168.77.40\"";
const SERVER: &str = "192.168.77.1";

/// A bench that serves `firmware/own.efi`, and a client on it.
struct Shop {
    client: Netns,
    lab: LabDir,
    content: Vec<u8>,
    serve: Serve,
    _bench: Netns,
}

impl Shop {
    fn open(tag: &str) -> Result<Self> {
        let bench = Netns::bench(tag, Some("192.168.77.1/24"))?;
        let lab = LabDir::new(&format!("http-{tag}"), NETWORK)?;
        // Large enough for several of the kernel's buffers, and nowhere the same.
        let content: Vec<u8> = (0..6_000_000_u32).flat_map(u32::to_le_bytes).collect();
        fs::write(lab.path().join("firmware/own.efi"), &content)?;
        let serve = Serve::start(&bench, &lab)?;
        let client = bench.plug(tag, "02:00:00:00:0e:01")?;
        client.ip(&["address", "add", "192.168.77.9/24", "dev", "eth0"])?;
        Ok(Self { client, lab, content, serve, _bench: bench })
    }

    fn file(&self, name: &str) -> String {
        self.lab.scratch().join(name).display().to_string()
    }

    /// curl, which must succeed; the head of the answer, in lower case.
    fn curl(&self, args: &[&str]) -> Result<String> {
        let mut command = self.client.command("curl");
        command.args(["-sS", "--max-time", "20", "--path-as-is", "-D", "-"]).args(args);
        Ok(run::stdout(&mut command)?.to_ascii_lowercase())
    }
}

fn same(path: &str, content: &[u8]) -> Result<()> {
    let read = fs::read(Path::new(path)).with_context(|| path.to_owned())?;
    assert!(
        read == content,
        "{path} has {} bytes, which are not the {} that were asked for",
        read.len(),
        content.len()
    );
    Ok(())
}

#[test]
fn curl_and_wget_get_files_parts_and_the_rest_of_them() -> Result<()> {
    let mut shop = Shop::open("plain")?;
    let (url, size) = (format!("http://{SERVER}//firmware/own.efi"), shop.content.len());
    let head = shop.curl(&["-I", &url])?;
    assert!(head.starts_with("http/1.1 200 ok\r\n") && head.contains(&format!("content-length: {size}\r\n")), "{head}");
    assert!(head.contains("content-type: application/efi\r\n") && !head.contains("location"), "{head}");

    let out = shop.file("whole");
    shop.curl(&["-o", &out, &url])?;
    same(&out, &shop.content)?;
    let head = shop.curl(&["-r", "1000-1048575", "-o", &out, &url])?;
    assert!(head.contains(&format!("content-range: bytes 1000-1048575/{size}\r\n")), "{head}");
    same(&out, shop.content.get(1000..1_048_576).unwrap_or_default())?;

    // A transfer that broke off goes on where it ended, with both.
    for (name, program) in [("curl", "curl"), ("wget", "wget")] {
        let out = shop.file(&format!("rest-{name}"));
        fs::write(&out, shop.content.get(..1_234_567).unwrap_or_default())?;
        let mut command = shop.client.command(program);
        match program {
            "curl" => command.args(["-sS", "--fail", "-C", "-", "-o", &out, &url]),
            _ => command.args(["-q", "--continue", "-O", &out, &url]),
        };
        run::stdout(&mut command)?;
        same(&out, &shop.content)?;
    }

    // One connection, kept.
    let mut command = shop.client.command("curl");
    let (a, b) = (shop.file("a"), shop.file("b"));
    let count = "%{num_connects}\n";
    command.args(["-sS", "-w", count, "-o", &a, &url, "-o", &b, &url]);
    assert_eq!(run::stdout(&mut command)?, "1\n0\n", "the second file opened a connection of its own");

    let tag = head.lines().find_map(|l| l.strip_prefix("etag: ")).context("etag")?.to_owned();
    let again = shop.curl(&["-H", &format!("If-None-Match: {tag}"), "-o", &a, &url])?;
    assert!(again.starts_with("http/1.1 304"), "{again}");
    let done = |e: &serde_json::Value| e["kind"] == "http-done" && e["bytes"] == size;
    shop.serve.wait_for_event("http-done of the whole file", std::time::Duration::from_secs(30), done)?;
    assert!(shop.serve.terminate()?.success(), "{}", shop.serve.stderr());
    Ok(())
}

#[test]
fn who_knows_the_lab_s_authority_gets_files_over_https() -> Result<()> {
    let mut shop = Shop::open("tls")?;
    let url = format!("https://{SERVER}/firmware/own.efi");
    let stranger = run::output(shop.client.command("curl").args(["-sS", "-I", "--max-time", "5", &url]))?;
    assert_eq!(stranger.status.code(), Some(60), "a certificate that nobody vouches for was taken");
    let ca = shop.file("ca.pem");
    shop.curl(&["-o", &ca, &format!("http://{SERVER}/https/ca.pem")])?;

    let head = shop.curl(&["--cacert", &ca, "-I", &url])?;
    assert!(head.contains("content-type: application/efi\r\n"), "{head}");
    for version in ["1.2", "1.3"] {
        let out = shop.file(version);
        shop.curl(&["--cacert", &ca, &format!("--tlsv{version}"), "--tls-max", version, "-o", &out, &url])?;
        same(&out, &shop.content)?;
    }
    let out = shop.file("wget");
    fs::write(&out, shop.content.get(..100).unwrap_or_default())?;
    let mut command = shop.client.command("wget");
    run::stdout(command.args(["-q", "--continue", &format!("--ca-certificate={ca}"), "-O", &out, &url]))?;
    same(&out, &shop.content)?;

    // Another name of this computer is not vouched for.
    let lying = format!("other.example:443:{SERVER}");
    let other = ["-sS", "--cacert", &ca, "--resolve", &lying, "-I", "https://other.example/"];
    assert_eq!(run::output(shop.client.command("curl").args(other))?.status.code(), Some(60));

    let said = run::stdout(&mut shop.lab.command(&shop.client, &["check"])?)?;
    let der = shop.lab.path().join("https/ca.der");
    assert!(said.contains(&der.display().to_string()), "{said}");
    let dates =
        run::tool("openssl", &["x509", "-inform", "DER", "-in", &der.display().to_string(), "-noout", "-subject"])?;
    assert!(dates.contains("Bootyard lab"), "{dates}");
    assert!(shop.serve.terminate()?.success(), "{}", shop.serve.stderr());
    Ok(())
}
