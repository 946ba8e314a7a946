//! What the direct reader takes, and what it leaves to hyper.

use super::*;

fn plain(text: &str) -> (Head<'_>, bool) {
    match parse(text.as_bytes()) {
        Parsed::Plain(head, len, keep) if len == text.len() => (head, keep),
        other => panic!("{text:?}: {other:?}"),
    }
}

#[test]
fn a_plain_request_is_read_with_what_its_answer_depends_on() {
    let text = "GET //boot.efi?a=1#x HTTP/1.1\r\nHost: x\r\nUser-Agent: UefiHttpBoot/1.0\r\nRANGE: bytes=0-1\r\n\
                If-Match: \"a\"\r\nif-none-match: \"b\"\r\nIf-Range: \"c\"\r\nIf-Modified-Since: d\r\n\
                If-Unmodified-Since: e\r\nRange: bytes=5-\r\n\r\n";
    let (head, keep) = plain(text);
    let conditions = Conditions {
        range: Some("bytes=0-1"),
        if_range: Some("\"c\""),
        if_match: Some("\"a\""),
        if_none_match: Some("\"b\""),
        if_modified_since: Some("d"),
        if_unmodified_since: Some("e"),
    };
    let agent = Some("UefiHttpBoot/1.0");
    let expected = Head { method: "GET", path: "//boot.efi", query: "a=1", one_one: true, hosts: 1, agent, conditions };
    assert_eq!((head, keep), (expected, true));
}

#[test]
fn connections_stay_as_the_versions_say() {
    for (text, stays) in [
        ("GET / HTTP/1.1\r\n\r\n", true),
        ("GET / HTTP/1.1\r\nConnection: close\r\n\r\n", false),
        ("GET / HTTP/1.1\r\nConnection: TE, Close\r\n\r\n", false),
        ("GET / HTTP/1.0\r\n\r\n", false),
        ("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true),
        ("HEAD / HTTP/1.1\r\nContent-Length: 0\r\n\r\n", true),
    ] {
        assert_eq!(plain(text).1, stays, "{text}");
    }
}

#[test]
fn the_absolute_form_is_a_path() {
    for (target, path) in [("http://x/a", "/a"), ("HTTP://1.2.3.4:80//a?b", "//a"), ("/a", "/a")] {
        assert_eq!(plain(&format!("GET {target} HTTP/1.1\r\n\r\n")).0.path, path);
    }
}

#[test]
fn all_else_is_left_to_hyper() {
    for other in [
        "POST / HTTP/1.1\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\n\r\n",
        "GET * HTTP/1.1\r\n\r\n",
        "GET x HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: 1\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\n",
        "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET / HTTP/1.1\r\nExpect: 100-continue\r\n\r\n",
        "GET / HTTP/1.1\r\nUpgrade: h2c\r\n\r\n",
        "GET / HTTP/2.0\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "\x16\x03\x01",
        "GET / HTTP/1.1\r\nBad Name: 1\r\n\r\n",
    ] {
        assert_eq!(parse(other.as_bytes()), Parsed::Other, "{other:?}");
    }
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(MAX_FIELDS + 1));
    assert_eq!(parse(many.as_bytes()), Parsed::Other);
}

#[test]
fn a_head_ends_where_it_ends() {
    let one = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n";
    for at in 0..one.len() {
        assert_eq!(parse(one.get(..at).unwrap().as_bytes()), Parsed::Partial, "{at}");
    }
    let two = format!("{one}GET /b");
    assert!(matches!(parse(two.as_bytes()), Parsed::Plain(head, len, true) if head.path == "/a" && len == one.len()));
    fuzz(two.repeat(3).as_bytes());
}

#[test]
fn values_that_are_no_text_are_none() {
    let (head, _) = match parse(b"GET / HTTP/1.1\r\nUser-Agent: \xff\r\nRange: bytes=0-1\r\n\r\n") {
        Parsed::Plain(head, _, keep) => (head, keep),
        other => panic!("{other:?}"),
    };
    assert_eq!((head.agent, head.conditions.range), (None, Some("bytes=0-1")));
}
