//! An answer before it has a form: both the direct writer and hyper give it its bytes.

use std::cell::RefCell;

use hyper::StatusCode;
use hyper::body::Bytes;

use super::file::Served;
use super::ledger::Delivery;
use super::machine::Version;
use crate::machine::Now;

/// An answer's content.
#[derive(Debug)]
pub(super) enum Content {
    /// In memory, or nothing.
    Small(Bytes),
    /// Bytes of a file, at least one, from a copy.
    Short(Bytes, Box<Delivery>),
    /// Bytes of a file, at least one.
    File(Box<(Served, Delivery)>),
}

/// Status and fields, and what follows them.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    /// `Content-Type`.
    pub(super) kind: Option<&'static str>,
    /// `Content-Length`; with HEAD, of what a GET would get.
    pub(super) length: Option<u64>,
    /// What is a file's tells which: `ETag`, `Last-Modified`, `Accept-Ranges`; all else must not be kept.
    pub(super) version: Option<Version>,
    /// `Content-Range`.
    pub(super) range: Option<String>,
    /// `Allow`.
    pub(super) allow: Option<&'static str>,
    /// The connection ends with it.
    pub(super) close: bool,
    pub(super) content: Content,
}

impl Reply {
    /// Something small that was made for this request.
    pub(super) fn small(status: u16, kind: &'static str, bytes: Vec<u8>) -> Self {
        Self {
            // What is no status is a mistake of the app's.
            status: if StatusCode::from_u16(status).is_ok() { status } else { 500 },
            kind: Some(kind),
            length: Some(bytes.len() as u64),
            version: None,
            range: None,
            allow: None,
            close: false,
            content: Content::Small(bytes.into()),
        }
    }

    /// A sentence for whoever reads the answer.
    pub(super) fn sentence(status: u16, text: &str) -> Self {
        Self::small(status, "text/plain", format!("{text}\n").into_bytes())
    }

    /// 405.
    pub(super) fn not_allowed(methods: &'static str) -> Self {
        Self { allow: Some(methods), ..Self::sentence(405, &format!("use {methods}")) }
    }

    /// The connection ends with this answer: what is left of the request's body is not read.
    pub(super) fn closing(self) -> Self {
        Self { close: true, ..self }
    }

    /// All fields but those about the connection. None is empty: that has locked up firmware.
    pub(super) fn fields(&self, mut put: impl FnMut(&'static str, &str)) {
        let mut put = |name, value: Option<&str>| {
            if let Some(value) = value.filter(|v| !v.is_empty()) {
                put(name, value);
            }
        };
        put("content-type", self.kind);
        if let Some(length) = self.length {
            put("content-length", Some(&length.to_string()));
        }
        match &self.version {
            Some(version) => {
                put("etag", Some(&version.etag));
                put("last-modified", version.last_modified().as_deref());
                put("accept-ranges", Some("bytes"));
            }
            None => put("cache-control", Some("no-store")),
        }
        put("content-range", self.range.as_deref());
        put("allow", self.allow);
    }

    /// Status line and fields in HTTP/1.1, with the empty line behind them.
    pub(super) fn write_head(&self, out: &mut Vec<u8>, one_one: bool, keep: bool) {
        let reason = StatusCode::from_u16(self.status).ok().and_then(|s| s.canonical_reason()).unwrap_or_default();
        out.extend_from_slice(b"HTTP/1.1 ");
        out.extend_from_slice(self.status.to_string().as_bytes());
        out.push(b' ');
        out.extend_from_slice(reason.as_bytes());
        out.extend_from_slice(b"\r\n");
        let mut put = |name: &str, value: &str| {
            // A value of another file or a client can't end its line.
            if value.bytes().all(|b| matches!(b, b'\t' | b' '..=b'~')) {
                out.extend_from_slice(name.as_bytes());
                out.extend_from_slice(b": ");
                out.extend_from_slice(value.as_bytes());
                out.extend_from_slice(b"\r\n");
            }
        };
        self.fields(&mut put);
        match (keep, one_one) {
            (true, true) => {}
            (true, false) => put("connection", "keep-alive"),
            (false, _) => put("connection", "close"),
        }
        with_date(|date| put("date", date));
        out.extend_from_slice(b"\r\n");
    }
}

/// The time as `Date` has it, made once a second.
fn with_date(put: impl FnOnce(&str)) {
    thread_local! {
        static DATE: RefCell<(i64, String)> = const { RefCell::new((i64::MIN, String::new())) };
    }
    DATE.with_borrow_mut(|(second, text)| {
        let now = Now::read().wall;
        if *second != now.as_second() {
            *second = now.as_second();
            *text = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&now).unwrap_or_default();
        }
        put(text);
    });
}
