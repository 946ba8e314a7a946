//! The target against initiators that we did not write: libiscsi's tools and conformance suite, and QEMU's tools.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "code of tests")]

mod target;

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use target::{PREFIX, target};

/// Tests that cannot pass on any target: this one asserts a flag before any callback could set it.
const IMPOSSIBLE: &[&str] = &["iSCSI.iSCSITMF.LUNResetSimpleAsync"];

fn run(program: &str, package: &str, args: &[&str]) -> Output {
    match Command::new("timeout").arg("60").arg(program).args(args).output() {
        Ok(output) if output.status.code() != Some(127) => output,
        _ => panic!("`{program}` is missing: apt-get install {package}"),
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

fn url(address: SocketAddr, disk: &str, user: &str) -> String {
    format!("iscsi://{user}{address}/{PREFIX}{disk}/0")
}

#[test]
fn libiscsi_tools_see_the_disks_and_chap_keeps_its_own() {
    let (service, address, _reports) = target(0);
    let package = "libiscsi-bin";
    let listed = text(&run("iscsi-ls", package, &[&format!("iscsi://{address}")]));
    for disk in ["thin", "removable", "readonly", "chap"] {
        assert!(listed.contains(&format!("{PREFIX}{disk}")), "{listed}");
    }
    let inquiry = text(&run("iscsi-inq", package, &[&url(address, "thin", "")]));
    assert!(inquiry.contains("Vendor:BOOTYARD"), "{inquiry}");
    let capacity = text(&run("iscsi-readcapacity16", package, &[&url(address, "thin", "")]));
    assert!(capacity.contains("Total size:67108864"), "{capacity}");
    let right = text(&run("iscsi-inq", package, &[&url(address, "chap", "user%topsecret123@")]));
    assert!(right.contains("Vendor:BOOTYARD"), "{right}");
    let mutual =
        format!("{}?target_user=target&target_password=othersecret1", url(address, "chap", "user%topsecret123@"));
    let mutual = text(&run("iscsi-inq", package, &[&mutual]));
    assert!(mutual.contains("Vendor:BOOTYARD"), "{mutual}");
    for user in ["", "user%wrongsecret1@", "other%topsecret123@"] {
        let wrong = text(&run("iscsi-inq", package, &[&url(address, "chap", user)]));
        assert!(wrong.contains("Authentication failure"), "{user}: {wrong}");
    }
    let missing = text(&run("iscsi-inq", package, &[&url(address, "missing", "")]));
    assert!(missing.contains("Target not found"), "{missing}");
    assert!(service.sessions().is_empty(), "every session has ended");
    service.stop();
}

/// The conformance suite, a process for each test: those that pass now must go on passing.
#[test]
fn libiscsi_conformance() {
    let (service, address, _reports) = target(0);
    let list = text(&run("iscsi-test-cu", "libiscsi-bin", &["--list"]));
    let tests: Vec<String> = list
        .lines()
        .map(str::trim)
        .filter(|t| (t.starts_with("SCSI.") || t.starts_with("iSCSI.")) && t.matches('.').count() == 2)
        .filter(|t| !IMPOSSIBLE.iter().any(|i| t == i))
        .map(str::to_owned)
        .collect();
    assert!(tests.len() > 200, "{list}");
    let mut failed = Vec::new();
    let mut passed = std::collections::BTreeSet::new();
    let mut skipped = std::collections::BTreeSet::new();
    // A removable LUN first; what is skipped there, on one with physical blocks of 4096 bytes.
    for disk in ["removable", "thin", "readonly"] {
        let url = url(address, disk, "");
        for test in &tests {
            if passed.contains(test) || (disk == "readonly") != test.starts_with("SCSI.ReadOnly.") {
                continue;
            }
            let output = text(&run("iscsi-test-cu", "libiscsi-bin", &["-d", "-S", "-t", test, &url, &url]));
            // Before and after the test itself, the tool clears reservations, which may say [SKIPPED] and [FAILED].
            let result = output.split("Test: ").nth(1).unwrap_or_default();
            let fails = result.find("\nFAILED").or_else(|| result.find("...FAILED"));
            match (result.find("passed"), fails) {
                (Some(end), None) if result[..end].contains("[SKIPPED]") => {
                    skipped.insert(test.clone());
                }
                (Some(_), None) => {
                    passed.insert(test.clone());
                }
                _ => failed.push((disk, test.clone(), output)),
            }
        }
    }
    skipped.retain(|test| !passed.contains(test));
    println!("passed {}, skipped {}: {skipped:?}", passed.len(), skipped.len());
    for (disk, test, output) in &failed {
        println!("--- {test} on {disk}\n{output}");
    }
    assert!(failed.is_empty(), "{:?}", failed.iter().map(|(d, t, _)| (d, t)).collect::<Vec<_>>());
    assert!(passed.len() >= FLOOR, "only {} tests ran and passed", passed.len());
    service.stop();
}

/// How many of the suite's tests run and pass.
const FLOOR: usize = 212;

#[test]
fn qemu_copies_an_image_in_and_out_unchanged() {
    let (service, address, _reports) = target(0);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (source, back) = (path("source.raw"), path("back.raw"));
    let mut state = 1_u32;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(8 << 20)
    .collect();
    std::fs::write(&source, &noise).unwrap();
    std::fs::File::options().write(true).open(&source).unwrap().set_len(64 << 20).unwrap();
    let disk = url(address, "thin", "");
    let package = "qemu-utils qemu-block-extra";
    let convert = |args: &[&str]| {
        let output = run("qemu-img", package, args);
        assert!(output.status.success(), "{args:?} (apt-get install {package}): {}", text(&output));
    };
    convert(&["convert", "-n", "-f", "raw", "-O", "raw", &source, &disk]);
    convert(&["convert", "-f", "raw", "-O", "raw", &disk, &back]);
    assert!(same(Path::new(&source), Path::new(&back)), "what came back differs");
    let io = run(
        "qemu-io",
        package,
        &[
            "-f",
            "raw",
            "-c",
            "write -P 0x5a 1M 64k",
            "-c",
            "discard 2M 1M",
            "-c",
            "read -P 0x5a 1M 64k",
            "-c",
            "read -P 0 2M 1M",
            &disk,
        ],
    );
    assert!(io.status.success() && !text(&io).contains("failed"), "{}", text(&io));
    service.stop();
}

fn same(a: &Path, b: &Path) -> bool {
    std::fs::read(a).unwrap() == std::fs::read(b).unwrap()
}

/// Many hosts at once, each with its own initiator name.
#[test]
fn sixty_four_sessions_read_at_once() {
    let (service, address, _reports) = target(0);
    let done = Arc::new(AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for n in 0..64 {
            let done = done.clone();
            scope.spawn(move || {
                let name = format!("iqn.2026-11.org.example:host{n}");
                let url = url(address, "thin", "");
                let output = run("iscsi-inq", "libiscsi-bin", &["-i", &name, &url]);
                if text(&output).contains("Vendor:BOOTYARD") {
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(done.load(Ordering::Relaxed), 64);
    service.stop();
}
