//! A request's head, whichever reader it came through: the direct one here, or hyper's.

use hyper::Request;
use hyper::header::{self, HeaderName};

use super::machine::{self, Conditions};

/// What of a request's head the answer depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head<'a> {
    pub(super) method: &'a str,
    /// As it was sent, before decoding.
    pub(super) path: &'a str,
    pub(super) query: &'a str,
    /// HTTP/1.1, not 1.0.
    pub(super) one_one: bool,
    /// How many `Host` fields.
    pub(super) hosts: usize,
    pub(super) agent: Option<&'a str>,
    pub(super) conditions: Conditions<'a>,
}

/// What the direct reader makes of bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed<'a> {
    /// The head does not end here.
    Partial,
    /// A plain request without a body: its head, the bytes that it has, and whether the connection stays afterwards.
    Plain(Head<'a>, usize, bool),
    /// Anything else, and what is no request: hyper knows what to do.
    Other,
}

/// Fields that the direct reader takes.
const MAX_FIELDS: usize = 64;

/// Reads one head from the start of `buf`. A method other than GET and HEAD, a body, an upgrade or an expectation is `Other`.
pub(super) fn parse(buf: &[u8]) -> Parsed<'_> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    let len = match request.parse(buf) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) => return Parsed::Partial,
        Err(_) => return Parsed::Other,
    };
    let (Some(method @ ("GET" | "HEAD")), Some(target), Some(minor)) = (request.method, request.path, request.version)
    else {
        return Parsed::Other;
    };
    let Some((path, query)) = split(target) else { return Parsed::Other };
    let one_one = minor == 1;
    let mut head = Head { method, path, query, one_one, hosts: 0, agent: None, conditions: Conditions::default() };
    let mut keep = one_one;
    for field in request.headers.iter() {
        let is = |name: &str| field.name.eq_ignore_ascii_case(name);
        // A value that is no text is no value, as in hyper's `to_str`.
        let text = || visible(field.value);
        let conditions = &mut head.conditions;
        // The length tells most names apart.
        match field.name.len() {
            4 if is("host") => head.hosts += 1,
            5 if is("range") => first(&mut conditions.range, text),
            6 if is("expect") => return Parsed::Other,
            7 if is("upgrade") => return Parsed::Other,
            8 if is("if-range") => first(&mut conditions.if_range, text),
            8 if is("if-match") => first(&mut conditions.if_match, text),
            10 if is("user-agent") => first(&mut head.agent, text),
            10 if is("connection") => {
                for option in field.value.split(|b| *b == b',').map(<[u8]>::trim_ascii) {
                    keep =
                        (keep || option.eq_ignore_ascii_case(b"keep-alive")) && !option.eq_ignore_ascii_case(b"close");
                }
            }
            13 if is("if-none-match") => first(&mut conditions.if_none_match, text),
            14 if is("content-length") && field.value != b"0" => return Parsed::Other,
            17 if is("if-modified-since") => first(&mut conditions.if_modified_since, text),
            17 if is("transfer-encoding") => return Parsed::Other,
            19 if is("if-unmodified-since") => first(&mut conditions.if_unmodified_since, text),
            _ => {}
        }
    }
    Parsed::Plain(head, len, keep)
}

/// The first field of a name counts, as in hyper's map.
fn first<'a>(value: &mut Option<&'a str>, text: impl Fn() -> Option<&'a str>) {
    if value.is_none() {
        *value = text();
    }
}

fn visible(value: &[u8]) -> Option<&str> {
    let plain = value.iter().all(|b| matches!(b, b'\t' | b' '..=b'~'));
    std::str::from_utf8(value).ok().filter(|_| plain)
}

/// Path and query of a target: RFC 9112, section 3.2, with the absolute form that proxies are sent. `None` for what else there is.
fn split(target: &str) -> Option<(&str, &str)> {
    let target = target.split('#').next().unwrap_or_default();
    let at = match target.as_bytes() {
        [b'/', ..] => target,
        _ => {
            let scheme = target.get(..7).filter(|s| s.eq_ignore_ascii_case("http://"))?;
            let rest = target.get(scheme.len()..)?;
            rest.get(rest.find('/')?..)?
        }
    };
    Some(at.split_once('?').unwrap_or((at, "")))
}

impl<'a> Head<'a> {
    /// Of a request that hyper read.
    pub(super) fn of<B>(request: &'a Request<B>) -> Self {
        let text = |name: &HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok());
        Self {
            method: request.method().as_str(),
            path: request.uri().path(),
            query: request.uri().query().unwrap_or_default(),
            one_one: request.version() == hyper::Version::HTTP_11,
            hosts: request.headers().get_all(header::HOST).iter().count(),
            agent: text(&header::USER_AGENT),
            conditions: Conditions {
                range: text(&header::RANGE),
                if_range: text(&header::IF_RANGE),
                if_match: text(&header::IF_MATCH),
                if_none_match: text(&header::IF_NONE_MATCH),
                if_modified_since: text(&header::IF_MODIFIED_SINCE),
                if_unmodified_since: text(&header::IF_UNMODIFIED_SINCE),
            },
        }
    }
}

/// For fuzzing: bytes of a connection are read as heads, one after the other; none is longer than what there is, and what a whole head
/// says does not depend on what comes after it.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    let mut rest = data;
    while let Parsed::Plain(head, len, keep) = parse(rest) {
        assert!(len > 0 && len <= rest.len());
        let (one, next) = rest.split_at(len);
        assert_eq!(parse(one), Parsed::Plain(head, len, keep));
        assert!(one.ends_with(b"\n"));
        assert!(head.path.starts_with('/'));
        let _ = machine::normalise(head.path);
        let file = machine::Version::new(data.len() as u64, (1, 2), (3, 4), 5);
        if let machine::Verdict::Part { first, last } = machine::evaluate(&head.conditions, &file, head.method == "GET")
        {
            assert!(first <= last && last < file.size);
        }
        rest = next;
    }
}

#[cfg(test)]
#[path = "head_tests.rs"]
mod tests;
