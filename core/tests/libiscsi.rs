//! The target against initiators that we did not write: libiscsi's tools and conformance suite, and QEMU's tools.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "code of tests")]

mod target;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use target::stored::Overlays;
use target::{PREFIX, remembering, serve, target};

/// Tests that cannot pass on any target: this one asserts a flag before any callback could set it.
const IMPOSSIBLE: &[&str] = &["iSCSI.iSCSITMF.LUNResetSimpleAsync"];

fn run(program: &str, package: &str, args: &[&str]) -> Output {
    // The longest test of the suite sleeps for a minute.
    match Command::new("timeout").arg("300").arg(program).args(args).output() {
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

/// The suite's program. Another release of it can be given by the environment.
fn suite() -> String {
    std::env::var("ISCSI_TEST_CU").unwrap_or_else(|_| "iscsi-test-cu".into())
}

/// Which disks a test is run on, in this order, until it is not skipped: a removable one first, then one with physical blocks of
/// 4096 bytes.
fn disks(test: &str) -> &'static [(&'static str, &'static str)] {
    match test.rsplit_once('.') {
        Some(("SCSI.ReadOnly", _)) => &[("readonly", "")],
        // Looks on for some seconds while it is at work.
        Some(("SCSI.Sanitize", "Reset")) => &[("slow", "")],
        // Names of users that look like numbers.
        Some(("iSCSI.iSCSICHAP", "HexName")) => &[("chap-0xu", "0xu%topsecret123@")],
        Some(("iSCSI.iSCSICHAP", "Base64Name")) => &[("chap-0bu", "0bu%topsecret123@")],
        Some(("iSCSI.iSCSICHAP", _)) => &[("chap-u", "u%topsecret123@")],
        _ => &[("removable", ""), ("thin", "")],
    }
}

/// One test of the suite, in a process of its own.
fn conformance(test: &str, address: SocketAddr) -> Outcome {
    let mut result = Outcome::Skipped;
    for (disk, user) in disks(test) {
        // Twice: the tests of several paths want a second one.
        let url = url(address, disk, user);
        let output = text(&run(&suite(), "libiscsi-bin", &["-d", "-S", "-t", test, &url, &url]));
        result = Outcome::of(&output);
        if result == Outcome::Failed {
            println!("--- {test} on {disk}\n{output}");
        }
        if result != Outcome::Skipped {
            break;
        }
    }
    result
}

/// The conformance suite, on disks in memory.
#[test]
fn libiscsi_conformance() {
    let folder = tempfile::tempdir().unwrap();
    let (service, address, _reports) = remembering(folder.path());
    conforms("disks in memory", address);
    service.stop();
}

/// The same on what machines get: overlays of a golden image.
#[test]
fn libiscsi_conformance_of_overlays() {
    let folder = tempfile::tempdir().unwrap();
    let (service, address, _reports) = serve(Arc::new(Overlays::new(folder.path())), 0);
    conforms("overlays of a golden image", address);
    service.stop();
}

fn conforms(disks: &str, address: SocketAddr) {
    let list = text(&run(&suite(), "libiscsi-bin", &["--list"]));
    let tests: Vec<&str> = list
        .lines()
        .map(str::trim)
        .filter(|t| (t.starts_with("SCSI.") || t.starts_with("iSCSI.")) && t.matches('.').count() == 2)
        .collect();
    let (impossible, tests): (Vec<&str>, Vec<&str>) = tests.into_iter().partition(|test| IMPOSSIBLE.contains(test));
    // This one sleeps for a minute, on a disk that no other one has.
    let (sleepy, quick): (Vec<&str>, Vec<&str>) = tests.iter().partition(|test| **test == "SCSI.Sanitize.Reset");
    let results: Vec<(&str, Outcome)> = std::thread::scope(|scope| {
        let sleepy: Vec<_> =
            sleepy.into_iter().map(|test| scope.spawn(move || (test, conformance(test, address)))).collect();
        let mut results: Vec<_> = quick.into_iter().map(|test| (test, conformance(test, address))).collect();
        results.extend(sleepy.into_iter().map(|test| test.join().unwrap()));
        results
    });
    let named = |outcome| results.iter().filter(move |(_, is)| *is == outcome).map(|(test, _)| *test);
    let passed = named(Outcome::Passed).count();
    let (failed, skipped): (Vec<&str>, Vec<&str>) =
        (named(Outcome::Failed).collect(), named(Outcome::Skipped).collect());
    let mut table = format!(
        "\n| libiscsi's conformance tests on {disks} | |\n| --- | --- |\n| in the suite | {} |\n| run | {} |\n| passed | {passed} |\n\
         | failed | {} |\n| skipped | {} |\n| impossible on any target | {} |\n",
        tests.len() + impossible.len(),
        tests.len(),
        failed.len(),
        skipped.len(),
        impossible.len()
    );
    for (what, names) in [("failed", &failed), ("skipped", &skipped), ("impossible", &impossible)] {
        names.iter().for_each(|name| table += &format!("{what}: {name}\n"));
    }
    // Past the capture of what a test prints: the table is to be seen when all is well, too.
    std::io::stdout().write_all(table.as_bytes()).unwrap();
    assert!(failed.is_empty(), "{failed:?}");
    if std::env::var_os("ISCSI_TEST_CU").is_none() {
        assert_eq!((tests.len() + impossible.len(), passed), (230, PASSED));
    }
}

/// How many of the 230 tests run and pass.
const PASSED: usize = 229;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Passed,
    Failed,
    Skipped,
}

impl Outcome {
    /// What the suite's program says of its one test.
    fn of(output: &str) -> Self {
        // Before and after the test itself, it clears reservations, which may say [SKIPPED] and [FAILED].
        let result = output.split("Test: ").nth(1).unwrap_or_default();
        let fails = result.contains("\nFAILED") || result.contains("...FAILED");
        match result.find("passed") {
            Some(end) if !fails && result[..end].contains("[SKIPPED]") => Self::Skipped,
            Some(_) if !fails => Self::Passed,
            _ => Self::Failed,
        }
    }
}

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
