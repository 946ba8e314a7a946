//! What of a request is granted.

use super::*;
use crate::tftp::wire::Mode;
use proptest::prelude::*;

fn request(options: &[(String, String)]) -> Request {
    Request { file: b"f".to_vec(), mode: Mode::Octet, options: options.to_vec() }
}

fn granted(options: &[(&str, &str)], total: u64) -> Vec<(String, String)> {
    let options: Vec<_> = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    negotiate(&request(&options), total).accepted
}

fn pairs<const N: usize>(pairs: [(&str, &str); N]) -> Vec<(String, String)> {
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
}

/// RFC 2347: without options there is nothing to acknowledge, and the terms are RFC 1350's.
#[test]
fn a_request_without_options_is_granted_what_rfc_1350_says() {
    let terms = negotiate(&request(&[]), 1000);
    assert_eq!(terms, Terms { block: 512, window: 1, timeout: None, accepted: Vec::new() });
}

/// RFC 2347: an option that is not understood is left out, and so is one whose value is out of its range (RFC 2348: 8 to 65464;
/// RFC 2349: 1 to 255 seconds; RFC 7440: 1 to 65535 blocks).
#[test]
fn what_is_unknown_or_out_of_range_is_left_out() {
    for (name, value) in [
        ("x-secret", "1"),
        ("multicast", ""),
        ("blksize", "4"),
        ("blksize", "7"),
        ("blksize", "-1"),
        ("blksize", ""),
        ("blksize", "many"),
        ("blksize", "99999999999999999999999"),
        ("timeout", "0"),
        ("timeout", "256"),
        ("windowsize", "0"),
        ("windowsize", "65536"),
        ("tsize", "what"),
    ] {
        assert_eq!(granted(&[(name, value)], 9), [], "{name}={value}");
    }
}

/// RFC 2348: a server may answer with less than was asked for. RFC 7440, section 3: the same for the window.
#[test]
fn sizes_are_granted_or_lowered() {
    for (asked, answer) in [("8", "8"), ("512", "512"), ("1468", "1468"), ("65464", "65464"), ("65535", "65464")] {
        assert_eq!(granted(&[("blksize", asked)], 9), pairs([("blksize", answer)]));
    }
    for (asked, answer) in [("1", "1"), ("4", "4"), ("16", "16"), ("64", "64"), ("65535", "64")] {
        assert_eq!(granted(&[("windowsize", asked)], 9), pairs([("windowsize", answer)]));
    }
    // A window is also bounded in bytes, wherever the block size stands in the request.
    let both = [("windowsize", "32"), ("blksize", "65464")];
    assert_eq!(granted(&both, 9), pairs([("windowsize", "2"), ("blksize", "65464")]));
}

/// RFC 2349: the size of the file answers `tsize`; a timeout is granted as it is or not at all.
#[test]
fn the_size_is_told_and_a_timeout_never_changed() {
    assert_eq!(granted(&[("tsize", "0")], 5_000_000_000), pairs([("tsize", "5000000000")]));
    assert_eq!(granted(&[("timeout", "3")], 9), pairs([("timeout", "3")]));
    assert_eq!(granted(&[("timeout", "200")], 9), []);
}

proptest! {
    /// RFC 2347: the answer has nothing that was not asked for, in the order of the request; EDK2 ends a transfer whose answer adds
    /// an option, raises a size or changes the timeout.
    #[test]
    fn an_answer_is_a_part_of_the_request(
        options in prop::collection::vec(("blksize|tsize|timeout|windowsize|multicast|x", "[0-9]{0,6}"), 0..6),
        total in 0u64..1 << 40,
    ) {
        let mut asked: Vec<(String, String)> = Vec::new();
        for (name, value) in options {
            if asked.iter().all(|(known, _)| *known != name) { asked.push((name, value)); }
        }
        let terms = negotiate(&request(&asked), total);
        let mut rest = asked.iter();
        for (name, value) in &terms.accepted {
            let asked = rest.find(|(asked, _)| asked == name);
            prop_assert!(asked.is_some(), "{name} was not asked for");
            let asked: u64 = asked.unwrap().1.parse().unwrap();
            let value: u64 = value.parse().unwrap();
            match name.as_str() {
                "tsize" => prop_assert_eq!(value, total),
                "timeout" => prop_assert_eq!(value, asked),
                _ => prop_assert!((1..=asked).contains(&value), "{} of {}", value, asked),
            }
        }
        let has = |name: &str| terms.accepted.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        prop_assert_eq!(has("blksize").unwrap_or("512".into()), terms.block.to_string());
        prop_assert_eq!(has("windowsize").unwrap_or("1".into()), terms.window.to_string());
    }
}
