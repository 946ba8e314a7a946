//! What requests get.

use super::*;
use proptest::prelude::*;
use std::net::Ipv4Addr;

#[test]
fn paths_are_made_plain_and_climbers_refused() {
    assert_eq!(normalise("//boot/./x%20y//ipxe.efi").unwrap(), "/boot/x y/ipxe.efi");
    assert_eq!(normalise("/").unwrap(), "/");
    assert_eq!(normalise("/a/").unwrap(), "/a/");
    assert_eq!(normalise("/%252e%252e/x").unwrap(), "/%2e%2e/x", "decoded once");
    assert_eq!(normalise("/a/../../etc/passwd"), Err(PathError::Climbs));
    assert_eq!(normalise("/%2e%2E%2fetc"), Err(PathError::Climbs));
    assert_eq!(normalise("/a\\b"), Err(PathError::Character));
    assert_eq!(normalise("/a%00"), Err(PathError::Character));
    assert_eq!(normalise("/a%ff"), Err(PathError::Character));
    assert_eq!(normalise("/a%4"), Err(PathError::Percent));
    assert_eq!(normalise("a"), Err(PathError::Relative));
}

#[test]
fn queries_are_pairs_in_order() {
    let expected = [("mac", "52:54:00:00:00:01"), ("a b", "c=d"), ("x", ""), ("p", "100%")];
    let expected = expected.map(|(k, v)| (k.to_owned(), v.to_owned()));
    assert_eq!(query("mac=52%3a54:00:00:00:01&a%20b=c%3Dd&&x&p=100%"), expected);
}

#[test]
fn a_plus_is_a_plus() {
    // As iPXE's `:uristring` sends it.
    let expected = [("version", "1.0.0+git-2019"), ("product", "PowerEdge R640")];
    let expected = expected.map(|(k, v)| (k.to_owned(), v.to_owned()));
    assert_eq!(query("version=1.0.0+git-2019&product=PowerEdge%20R640"), expected);
}

fn file() -> Version {
    Version::new(1000, (1_767_225_600, 5), (1_767_225_600, 5), 42)
}

fn range(range: &str) -> Verdict {
    evaluate(&Conditions { range: Some(range), ..Conditions::default() }, &file(), true)
}

#[test]
fn ranges_are_cut_to_the_file() {
    assert_eq!(range("bytes=0-0"), Verdict::Part { first: 0, last: 0 });
    assert_eq!(range("bytes=10-"), Verdict::Part { first: 10, last: 999 });
    assert_eq!(range("bytes=-5"), Verdict::Part { first: 995, last: 999 });
    assert_eq!(range("bytes=-5000"), Verdict::Part { first: 0, last: 999 });
    assert_eq!(range("bytes=990-99999999999999999999999"), Verdict::Part { first: 990, last: 999 });
    for gone in ["bytes=1000-", "bytes=-0", "bytes=5000-6000"] {
        assert_eq!(range(gone), Verdict::Unsatisfiable, "{gone}");
    }
    for ignored in ["bytes=5-4", "bytes=", "lines=1-2", "bytes=a-b", "bytes=-", "bytes=+1-2", "bytes"] {
        assert_eq!(range(ignored), Verdict::Whole, "{ignored}");
    }
}

#[test]
fn several_ranges_are_one_piece_or_the_whole_file() {
    assert_eq!(range("bytes=0-1,2-6"), Verdict::Part { first: 0, last: 6 }, "side by side");
    assert_eq!(range("bytes=5-20, ,0-9"), Verdict::Part { first: 0, last: 20 }, "overlapping, in any order");
    assert_eq!(range("bytes=990-,-20"), Verdict::Part { first: 980, last: 999 });
    assert_eq!(range("bytes=2000-3000,10-19"), Verdict::Part { first: 10, last: 19 }, "only one has bytes");
    assert_eq!(range("bytes=2000-3000,1000-"), Verdict::Unsatisfiable, "none has");
    for apart in ["bytes=0-1,5-6", "bytes=0-0,-1", "bytes=0-1,x", "bytes=,", "bytes=0-1,9-5"] {
        assert_eq!(range(apart), Verdict::Whole, "{apart}");
    }
    let many = format!("bytes={}", (0..=MAX_RANGES).map(|n| format!("{n}-{n}")).collect::<Vec<_>>().join(","));
    assert_eq!(range(&many), Verdict::Whole, "confetti");
}

#[test]
fn a_file_that_was_written_without_a_trace_in_its_time_is_another_version() {
    let (size, modified) = (1000, (1_767_225_600, 5));
    assert_ne!(
        Version::new(size, modified, (1_767_225_600, 5), 42),
        Version::new(size, modified, (1_767_225_600, 6), 42)
    );
    assert!(file().etag.starts_with('"') && file().etag.ends_with('"'), "strong: {}", file().etag);
}

#[test]
fn types_are_what_firmware_compares_whole() {
    let types = [
        ("/a/BOOTX64.EFI", "application/efi"),
        ("/x.iso", "application/vnd.efi-iso"),
        ("/x.img", "application/vnd.efi-img"),
        ("/https/ca.der", "application/pkix-cert"),
        ("/linux", "application/octet-stream"),
        ("/a.efi/linux", "application/octet-stream"),
    ];
    for (path, kind) in types {
        assert_eq!(content_type(path), kind, "{path}");
    }
}

#[test]
fn conditions_hold_in_the_order_of_the_rfc() {
    let file = file();
    let stamp = file.last_modified().unwrap();
    assert_eq!(stamp, "Thu, 01 Jan 2026 00:00:00 GMT");
    let (etag, weak) = (file.etag.clone(), format!("W/{}", file.etag));
    let (old, new) = ("Wed, 31 Dec 2025 00:00:00 GMT", "Fri, 02 Jan 2026 00:00:00 GMT");
    let none = Conditions::default();
    let check = |conditions: Conditions<'_>, expected| assert_eq!(evaluate(&conditions, &file, true), expected);
    check(Conditions { if_match: Some(&etag), if_unmodified_since: Some(old), ..none }, Verdict::Whole);
    check(Conditions { if_match: Some(&weak), ..none }, Verdict::PreconditionFailed);
    check(Conditions { if_match: Some("\"x\", *"), ..none }, Verdict::Whole);
    check(Conditions { if_unmodified_since: Some(old), ..none }, Verdict::PreconditionFailed);
    check(Conditions { if_unmodified_since: Some("\"no date\""), ..none }, Verdict::Whole);
    check(Conditions { if_none_match: Some(&weak), ..none }, Verdict::NotModified);
    check(Conditions { if_none_match: Some("\"x\""), if_modified_since: Some(new), ..none }, Verdict::Whole);
    check(Conditions { if_modified_since: Some(&stamp), ..none }, Verdict::NotModified);
    check(Conditions { if_modified_since: Some(old), ..none }, Verdict::Whole);
    let part = Verdict::Part { first: 1, last: 2 };
    let ranged = Conditions { range: Some("bytes=1-2"), ..none };
    check(Conditions { if_range: Some(&etag), ..ranged }, part);
    check(Conditions { if_range: Some(&stamp), ..ranged }, part);
    check(Conditions { if_range: Some(new), ..ranged }, Verdict::Whole);
    check(Conditions { if_range: Some(&weak), ..ranged }, Verdict::Whole);
    assert_eq!(evaluate(&ranged, &file, false), Verdict::Whole, "HEAD knows no ranges");
}

#[test]
fn a_file_is_delivered_by_its_last_missing_piece() {
    let (mut deliveries, file, client) = (Deliveries::default(), file(), IpAddr::from(Ipv4Addr::LOCALHOST));
    assert!(!deliveries.add(client, "/x", &file, 0, 400));
    assert!(!deliveries.add(client, "/x", &file, 600, 1000));
    assert!(!deliveries.add(IpAddr::from(Ipv4Addr::BROADCAST), "/x", &file, 400, 600), "another client's piece");
    assert!(deliveries.add(client, "/x", &file, 300, 700));
    assert!(!deliveries.add(client, "/x", &file, 300, 700), "a new fetch begins from nothing");
    let changed = Version { etag: "\"other\"".into(), ..file.clone() };
    assert!(!deliveries.add(client, "/x", &changed, 0, 300));
    assert!(!deliveries.add(client, "/x", &changed, 700, 1000), "the old version's piece counts no more");
    assert!(deliveries.add(client, "/x", &changed, 0, 1000));
}

proptest! {
    #[test]
    fn a_normal_path_never_climbs(raw in "(/|\\.|%2e|%2f|%5c|a|%|\\\\){0,20}") {
        if let Ok(path) = normalise(&format!("/{raw}")) {
            prop_assert!(path.starts_with('/') && !path.contains("//") && !path.contains('\\'));
            prop_assert!(path.split('/').all(|part| part != ".." && part != "."));
        }
    }

    #[test]
    fn any_request_is_survived(lines in prop::collection::vec("[ -~]{0,40}|bytes=[0-9]{0,9}-[0-9]{0,9}", 0..8)) {
        fuzz(lines.join("\n").as_bytes());
    }

    #[test]
    fn a_part_is_always_inside(text in "bytes=[0-9]{0,3}-[0-9]{0,4}", size in 0u64..2000) {
        let file = Version::new(size, (0, 0), (0, 0), 0);
        let conditions = Conditions { range: Some(&text), ..Conditions::default() };
        if let Verdict::Part { first, last } = evaluate(&conditions, &file, true) {
            prop_assert!(first <= last && last < size);
        }
    }

    #[test]
    fn pieces_make_a_whole_exactly_when_every_byte_came(pieces in prop::collection::vec((0u64..50, 1u64..20), 1..20)) {
        let file = Version::new(50, (0, 0), (0, 0), 0);
        let (mut deliveries, mut seen) = (Deliveries::default(), [false; 50]);
        for (first, len) in pieces {
            let end = (first + len).min(50);
            for byte in first..end { seen[usize::try_from(byte).unwrap()] = true; }
            let whole = deliveries.add(IpAddr::from(Ipv4Addr::LOCALHOST), "/x", &file, first, end);
            prop_assert_eq!(whole, seen.iter().all(|s| *s));
            if whole { seen = [false; 50]; }
        }
    }
}
