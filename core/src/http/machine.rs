//! What a request gets, without sockets: paths and queries, conditions and ranges (RFC 9110), and which files a client has whole.
//!
//! HTTP keeps no timers of its own, so these are functions and one table rather than a [`crate::machine::Machine`].

use std::collections::VecDeque;
use std::net::IpAddr;

use jiff::Timestamp;

/// A path that is refused with 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// `%` without two hexadecimal digits.
    #[error("the path has a % without two hexadecimal digits")]
    Percent,
    /// Not UTF-8, or a control character or backslash.
    #[error("the path has a character that no path may have")]
    Character,
    /// `..`
    #[error("the path climbs with ..")]
    Climbs,
    /// Does not begin with a slash.
    #[error("the path does not begin with /")]
    Relative,
}

fn hex(digit: Option<&u8>) -> Option<u8> {
    digit.and_then(|d| (*d as char).to_digit(16)).and_then(|d| u8::try_from(d).ok())
}

/// Decodes once; `None` for a `%` without digits if `strict`, else it stays as it is.
fn percent(raw: &[u8], strict: bool) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(raw.len());
    let mut at = 0;
    while let Some(&byte) = raw.get(at) {
        at += 1;
        match byte {
            b'%' => match (hex(raw.get(at)), hex(raw.get(at + 1))) {
                (Some(high), Some(low)) => {
                    out.push(high << 4 | low);
                    at += 2;
                }
                _ if strict => return None,
                _ => out.push(b'%'),
            },
            other => out.push(other),
        }
    }
    Some(out)
}

/// The path that a request means: decoded once, `//` and `/./` made one slash. Never a redirect: firmware does not follow it.
///
/// # Errors
/// [`PathError`] for what could name something outside.
pub fn normalise(raw: &str) -> Result<String, PathError> {
    let decoded = percent(raw.as_bytes(), true).ok_or(PathError::Percent)?;
    let text = String::from_utf8(decoded).map_err(|_| PathError::Character)?;
    if text.chars().any(|c| c.is_control() || c == '\\') {
        return Err(PathError::Character);
    }
    if !text.starts_with('/') {
        return Err(PathError::Relative);
    }
    let mut out = String::with_capacity(text.len());
    for part in text.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if part == ".." {
            return Err(PathError::Climbs);
        }
        out.push('/');
        out.push_str(part);
    }
    if out.is_empty() || text.ends_with('/') {
        out.push('/');
    }
    Ok(out)
}

/// Decoded pairs of a query, in order; what is no UTF-8 is replaced. A `+` stays one: iPXE's `:uristring` writes a space as `%20`
/// and leaves the plus of `1.21.1+git` alone.
#[must_use]
pub fn query(raw: &str) -> Vec<(String, String)> {
    let decode = |part: &str| {
        let bytes = percent(part.as_bytes(), false).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let pairs = raw.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).map(|(k, v)| (decode(k), decode(v))).collect()
}

/// The content type by the name's end. UEFI's HTTP boot compares the whole value, so none has parameters.
#[must_use]
pub fn content_type(path: &str) -> &'static str {
    let end = path.rsplit_once('.').map(|(_, end)| end.to_ascii_lowercase());
    match end.as_deref() {
        Some("efi") => "application/efi",
        Some("iso") => "application/vnd.efi-iso",
        Some("img") => "application/vnd.efi-img",
        Some("ipxe" | "txt" | "cfg" | "seed" | "ks") => "text/plain",
        Some("json") => "application/json",
        Some("pem") => "application/x-pem-file",
        Some("der" | "cer") => "application/pkix-cert",
        _ => "application/octet-stream",
    }
}

/// One state of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Bytes.
    pub size: u64,
    /// Strong, with its quotes: firmware puts a weak one where a date belongs.
    pub etag: String,
    /// Last change; `None` if it can't be told.
    pub modified: Option<Timestamp>,
}

impl Version {
    /// Of a file with this size in bytes, times (seconds and nanoseconds) and inode. The change time tells what was written by those
    /// who set the modification time back.
    #[must_use]
    pub fn new(size: u64, modified: (i64, i64), changed: (i64, i64), inode: u64) -> Self {
        let ((seconds, nanos), (changed, changed_nanos)) = (modified, changed);
        Self {
            size,
            etag: format!("\"{size:x}-{seconds:x}.{nanos:x}-{changed:x}.{changed_nanos:x}-{inode:x}\""),
            modified: Timestamp::from_second(seconds).ok(),
        }
    }

    /// For `Last-Modified`.
    #[must_use]
    pub fn last_modified(&self) -> Option<String> {
        jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&self.modified?).ok()
    }
}

/// The headers of a request on which the answer depends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Conditions<'a> {
    pub range: Option<&'a str>,
    pub if_range: Option<&'a str>,
    pub if_match: Option<&'a str>,
    pub if_none_match: Option<&'a str>,
    pub if_modified_since: Option<&'a str>,
    pub if_unmodified_since: Option<&'a str>,
}

/// What of a file is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// 200.
    Whole,
    /// 206: bytes from the first to the last, both included.
    Part {
        /// First byte.
        first: u64,
        /// Last byte.
        last: u64,
    },
    /// 304.
    NotModified,
    /// 412.
    PreconditionFailed,
    /// 416.
    Unsatisfiable,
}

fn date(text: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text.trim()).ok()
}

fn lists(header: &str, etag: &str, weak: bool) -> bool {
    header
        .split(',')
        .map(str::trim)
        .any(|one| one == "*" || one == etag || (weak && one.strip_prefix("W/").is_some_and(|opaque| opaque == etag)))
}

/// Evaluates in the order of RFC 9110, section 13.2.2. `get` is false for HEAD, which knows no ranges.
#[must_use]
pub fn evaluate(conditions: &Conditions<'_>, file: &Version, get: bool) -> Verdict {
    let unchanged_since = |text: &str| Some(file.modified? <= date(text)?);
    if let Some(header) = conditions.if_match {
        if !lists(header, &file.etag, false) {
            return Verdict::PreconditionFailed;
        }
    } else if conditions.if_unmodified_since.and_then(unchanged_since) == Some(false) {
        return Verdict::PreconditionFailed;
    }
    if let Some(header) = conditions.if_none_match {
        if lists(header, &file.etag, true) {
            return Verdict::NotModified;
        }
    } else if conditions.if_modified_since.and_then(unchanged_since) == Some(true) {
        return Verdict::NotModified;
    }
    let Some(range) = conditions.range.filter(|_| get) else { return Verdict::Whole };
    let same = conditions.if_range.is_none_or(|header| {
        let header = header.trim();
        // Section 13.1.5: a date must be the very one that was given.
        header == file.etag || (file.modified.is_some() && date(header) == file.modified)
    });
    if same { part(range, file.size) } else { Verdict::Whole }
}

/// Ranges of one request that are looked at; who asks for more gets the whole file.
const MAX_RANGES: usize = 16;

/// Section 14.2: what is no valid set of ranges is ignored. Several ranges that make one piece are that piece; of others the whole file
/// is sent, which is a right answer to any of them and the only one that no client misreads.
fn part(range: &str, size: u64) -> Verdict {
    let Some((unit, set)) = range.split_once('=') else { return Verdict::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Verdict::Whole;
    }
    let mut pieces = Vec::new();
    for spec in set.split(',').map(str::trim) {
        match one_range(spec, size) {
            // Section 5.6.1: a list may have empty elements.
            _ if spec.is_empty() => {}
            Some(piece) if pieces.len() < MAX_RANGES => pieces.push(piece),
            _ => return Verdict::Whole,
        }
    }
    if pieces.is_empty() {
        return Verdict::Whole;
    }
    let mut inside: Vec<(u64, u64)> = pieces.into_iter().flatten().collect();
    inside.sort_unstable();
    let mut inside = inside.into_iter();
    let Some((first, mut last)) = inside.next() else { return Verdict::Unsatisfiable };
    for (from, to) in inside {
        if from > last + 1 {
            return Verdict::Whole;
        }
        last = last.max(to);
    }
    Verdict::Part { first, last }
}

/// First and last byte of one range, cut to the file; `Some(None)` if it has none of it, `None` if it is no range.
fn one_range(spec: &str, size: u64) -> Option<Option<(u64, u64)>> {
    let (first, last) = spec.split_once('-')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let number = |text: &str| text.parse::<u64>().unwrap_or(u64::MAX);
    let (first, last) = (first.trim(), last.trim());
    let (first, last) = match (digits(first), digits(last)) {
        (true, true) if number(first) > number(last) => return None,
        (true, true) => (number(first), number(last)),
        (true, false) if last.is_empty() => (number(first), u64::MAX),
        (false, true) if first.is_empty() => match number(last) {
            0 => return Some(None),
            tail => (size.saturating_sub(tail), u64::MAX),
        },
        _ => return None,
    };
    Some((first < size).then(|| (first, last.min(size - 1))))
}

/// Files of which a client has parts; the longest untouched is forgotten above this many.
const MAX_PARTIAL: usize = 1024;
/// Separate pieces of one file; a client that asks for more confetti than this is no boot client.
const MAX_PIECES: usize = 256;

/// Which bytes of which file each client was sent.
#[derive(Debug, Default)]
pub struct Deliveries {
    partial: VecDeque<Partial>,
}

#[derive(Debug)]
struct Partial {
    client: IpAddr,
    path: String,
    etag: String,
    /// Sorted, apart; first byte and the one behind the last.
    pieces: Vec<(u64, u64)>,
}

impl Deliveries {
    /// Bytes `first..end` of `path` in this version were sent to `client`. True when with them it has the whole file; the count
    /// then begins anew.
    pub fn add(&mut self, client: IpAddr, path: &str, file: &Version, first: u64, end: u64) -> bool {
        let known = self.partial.iter().position(|one| one.client == client && one.path == path);
        let known = known.and_then(|at| self.partial.remove(at));
        if first == 0 && end >= file.size {
            return true;
        }
        let fresh = || Partial { client, path: path.to_owned(), etag: file.etag.clone(), pieces: Vec::new() };
        let mut partial = known.filter(|one| one.etag == file.etag).unwrap_or_else(fresh);
        let (mut from, mut to) = (first, end);
        partial.pieces.retain(|&(a, b)| {
            let apart = b < from || to < a;
            if !apart {
                from = from.min(a);
                to = to.max(b);
            }
            apart
        });
        if from < to && partial.pieces.len() < MAX_PIECES {
            partial.pieces.push((from, to));
            partial.pieces.sort_unstable();
        }
        if partial.pieces.first().is_some_and(|&(a, b)| a == 0 && b >= file.size) {
            return true;
        }
        if self.partial.len() >= MAX_PARTIAL {
            self.partial.pop_front();
        }
        self.partial.push_back(partial);
        false
    }
}

/// For fuzzing: of any target (a line), range (the next) and conditions (those that follow) an answer stays inside the served tree
/// and inside the file.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.split('\n').map(|line| line.trim_end_matches('\r'));
    let target = lines.next().unwrap_or_default();
    let (path, pairs) = target.split_once('?').unwrap_or((target, ""));
    if let Ok(path) = normalise(path) {
        assert!(path.starts_with('/') && !path.contains("//"));
        assert!(!path.contains('\\') && !path.chars().any(char::is_control));
        assert!(path.split('/').all(|part| part != ".." && part != "."));
        let _ = content_type(&path);
    }
    assert!(query(pairs).len() <= pairs.split('&').count());
    let file = Version::new(data.len() as u64, (1_767_225_600, 5), (1_767_225_600, 5), 42);
    let conditions = Conditions {
        range: lines.next(),
        if_range: lines.next(),
        if_match: lines.next(),
        if_none_match: lines.next(),
        if_modified_since: lines.next(),
        if_unmodified_since: lines.next(),
    };
    for get in [true, false] {
        if let Verdict::Part { first, last } = evaluate(&conditions, &file, get) {
            assert!(get && first <= last && last < file.size);
        }
    }
    if let Verdict::Part { first, last } = conditions.range.map_or(Verdict::Whole, |range| part(range, file.size)) {
        assert!(first <= last && last < file.size);
    }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
