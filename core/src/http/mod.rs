//! HTTP/1.1: scripts, answer files, kernels, initrds and boot files.
//!
//! [`App`] says what a path means; the engine implements it, so this module knows neither hosts nor labs. [`machine`] decides what a
//! request gets (paths, conditions, ranges, what was delivered) without a socket, [`head`] and `reply` are a request and an answer
//! without their bytes, and `exchange` leads from one to the other. Two wires carry them: `direct`, on which the kernel sends files
//! by itself, and `library`, which is hyper's, for all that is not plain: TLS, bodies, other systems. `file`, `shelf`, `ledger` and `stall`
//! are a file, copies of short ones, the fate of answers and the patience with clients, for both. [`tls`] makes the certificate; [`service`] has the sockets
//! and tasks.

mod body;
mod direct;
mod exchange;
mod file;
pub mod head;
mod ledger;
mod library;
pub mod machine;
mod reply;
pub mod service;
mod shelf;
mod stall;
mod stream;
pub mod tls;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use crate::api::Who;

pub use service::{Config, Secure, Service, start, start_portable};

/// A request as an [`App`] sees it: path decoded and normalised, never with `..`, `//`, a NUL or a backslash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppRequest {
    /// `GET`, `HEAD` or `POST`.
    pub method: String,
    /// Decoded path, beginning with `/`.
    pub path: String,
    /// Decoded query pairs, in order.
    pub query: Vec<(String, String)>,
    /// Body of a POST, at most 64 KiB.
    pub body: Vec<u8>,
    /// The client's address.
    pub peer: SocketAddr,
    /// Our address on which the request came.
    pub local: Ipv4Addr,
    /// `User-Agent`.
    pub agent: Option<String>,
}

/// What an [`App`] answers.
#[derive(Debug)]
pub struct AppReply {
    /// The client, for the events of this request; the service fills in its address.
    pub who: Who,
    /// The answer.
    pub body: AppBody,
}

/// The answer's content.
#[derive(Debug)]
pub enum AppBody {
    /// A small text or document, made for this request: status, content type, bytes. Never cached.
    Bytes(u16, &'static str, Vec<u8>),
    /// A file: ranges, strong ETag and progress events are the service's.
    File(PathBuf),
    /// 404 with a sentence.
    NotFound(String),
    /// 403 with a sentence.
    Forbidden(String),
}

/// Says what a path means. Called on the service's task: it must not block for long; `wait` holds a request by returning a future.
pub trait App: Send + Sync + 'static {
    /// The answer to one request.
    fn respond(&self, request: AppRequest) -> impl Future<Output = AppReply> + Send;

    /// A file was sent whole (every byte of it, by one answer or the last of its ranges) to this client.
    fn delivered(&self, who: &Who, path: &str);
}
