//! What needs a privilege on Linux, and nothing else: low ports, packet sockets, an address on a bare interface.
//!
//! Two programs use it. The engine of a process that is privileged itself calls [`open`] and [`hold`] directly; the window, which
//! is not, starts the small program of this crate and asks it over [`wire`]. So the rules are written once and hold for both.
//!
//! In reading order: [`frame`] says which frames a packet socket may send and receive ([`capture`] is the longest of its filters), [`open`] opens sockets, [`link`] lists
//! interfaces and changes them over netlink, [`hold`] keeps an address on a bare interface, [`wire`] is the conversation and
//! [`service`] the program's end of it. [`sys`] is the only place with `unsafe`.
#![cfg(target_os = "linux")]

pub mod capture;
pub mod frame;
pub mod hold;
pub mod link;
pub mod open;
pub mod service;
pub mod sys;
pub mod wire;

use std::fmt;
use std::io;

/// Why something was not done.
#[derive(Debug)]
pub enum Refusal {
    /// The operating system said no.
    Os {
        /// What was tried, as in "listen on UDP port 67".
        what: String,
        /// Its error.
        source: io::Error,
    },
    /// No such interface.
    NoInterface(String),
    /// A rule of safety forbids it; the text says which and what to do.
    Rule(String),
}

impl Refusal {
    /// For `map_err`: names what was tried.
    pub(crate) fn os(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Os { what, source }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Os { what, source } => write!(f, "cannot {what}: {source}"),
            Self::NoInterface(name) => write!(f, "there is no network interface `{name}`"),
            Self::Rule(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Refusal {}
