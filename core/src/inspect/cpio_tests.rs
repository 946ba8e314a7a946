use std::io::Write;
use std::process::{Command, Stdio};

use super::*;

/// What one of the system's programs makes of this.
pub(in crate::inspect) fn piped(program: &str, args: &[&str], package: &str, input: &[u8]) -> Vec<u8> {
    let spawned =
        Command::new(program).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut child = spawned.unwrap_or_else(|e| panic!("{program}: {e}: apt-get install {package}"));
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let feeder = std::thread::spawn(move || stdin.write_all(&input));
    let out = child.wait_with_output().unwrap();
    feeder.join().unwrap().unwrap();
    assert!(out.status.success(), "{program} failed");
    out.stdout
}

fn names(bytes: &[u8]) -> io::Result<Vec<(String, String)>> {
    let mut names = Vec::new();
    walk(bytes, &|_| Ok(()), &mut |name, _, content| {
        let mut text = String::new();
        // A part alone: the rest is skipped.
        content.take(5).read_to_string(&mut text)?;
        names.push((name.to_owned(), text));
        Ok(())
    })?;
    Ok(names)
}

fn two() -> (Vec<u8>, Vec<u8>) {
    let early = archive(&[("kernel/x86/microcode/GenuineIntel.bin", b"microcode")]);
    let main = archive(&[("./init", b"#!/bin/sh"), ("/etc/a", b""), ("b", b"12345678")]);
    (early, main)
}

fn all() -> Vec<(String, String)> {
    let pair = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    vec![
        pair("kernel/x86/microcode/GenuineIntel.bin", "micro"),
        pair("init", "#!/bi"),
        pair("etc/a", ""),
        pair("b", "12345"),
    ]
}

#[test]
fn archives_follow_each_other_plain_and_packed_in_every_way() {
    let (early, main) = two();
    let packed = |program: &str, args: &[&str], package: &str| {
        let mut bytes = early.clone();
        bytes.extend([0; 512]);
        bytes.extend(piped(program, args, package, &main));
        bytes
    };
    let plain = [&early[..], &[0; 512], &main, &[0; 100]].concat();
    assert_eq!(names(&plain).unwrap(), all());
    assert_eq!(names(&packed("gzip", &["-9n"], "gzip")).unwrap(), all());
    assert_eq!(names(&packed("zstd", &["-19"], "zstd")).unwrap(), all());
    assert_eq!(names(&packed("xz", &["--check=crc32"], "xz-utils")).unwrap(), all());
    // As kernels have it.
    assert_eq!(names(&packed("lz4", &["-l", "-9"], "lz4")).unwrap(), all());
    assert_eq!(names(&packed("lz4", &[], "lz4")).unwrap(), all());
}

#[test]
fn what_is_none_is_told() {
    let (_, main) = two();
    for wrong in [&b""[..], b"hello, this is no archive", &main[..main.len() - 200], &main[..50], &[0; 64]] {
        assert!(names(wrong).is_err(), "{} bytes", wrong.len());
    }
    let lzop = [b"\x89LZO\0\r\n".to_vec(), vec![0; 100]].concat();
    assert_eq!(names(&lzop).unwrap_err().kind(), io::ErrorKind::Unsupported);
    let mut long = archive(&[("a", b"x")]);
    long[6 + 8 * 11..14 + 8 * 11].copy_from_slice(b"ffffffff");
    assert!(names(&long).is_err());
    // It claims more than an initramfs may have, and is not believed.
    let mut huge = archive(&[("a", b"x")]);
    huge[6 + 8 * 6..14 + 8 * 6].copy_from_slice(b"ffffffff");
    assert!(names(&huge).unwrap_err().to_string().contains("too large"));
}

#[test]
fn a_dictionary_that_would_take_all_memory_is_refused() {
    let (_, main) = two();
    let packed = piped("xz", &["--lzma2=dict=1GiB"], "xz-utils", &main);
    assert!(names(&packed).is_err());
}

proptest::proptest! {
    #[test]
    fn a_damaged_one_is_told_and_nothing_else(at: Vec<(proptest::sample::Index, u8)>, cut: proptest::sample::Index) {
        let (early, main) = two();
        let mut gzip = flate2::write::GzEncoder::new(early, flate2::Compression::fast());
        gzip.write_all(&main).unwrap();
        let mut bytes = gzip.finish().unwrap();
        let len = bytes.len();
        for (index, byte) in at {
            bytes[index.index(len)] = byte;
        }
        fuzz(&bytes);
        fuzz(&bytes[..cut.index(len)]);
    }
}

#[test]
fn what_is_unpacked_is_paid_for_and_may_be_too_much() {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut packed, &archive(&[("zeroes", &vec![0; 4 << 20])])).unwrap();
    let packed = packed.finish().unwrap();
    assert!(packed.len() < 64 << 10);
    let paid = std::cell::Cell::new(0);
    let most = |most: u64| {
        paid.set(0);
        let pay = |bytes| {
            paid.set(paid.get() + bytes);
            if paid.get() > most { Err(io::Error::other("enough")) } else { Ok(()) }
        };
        walk(&packed[..], &pay, &mut |_, _, _| Ok(()))
    };
    assert!(most(5 << 20).is_ok() && paid.get() > 4 << 20);
    assert_eq!(most(1 << 20).unwrap_err().to_string(), "enough");
    assert!(paid.get() < 2 << 20);
}
