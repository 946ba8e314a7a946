//! One request and its answer, without the bytes of either.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use hyper::body::Bytes;

use super::head::Head;
use super::ledger::{Delivery, Sent};
use super::machine::{self, Verdict};
use super::reply::{Content, Reply};
use super::service::Shared;
use super::shelf::Opened;
use super::stream::Unflushed;
use super::{App, AppBody, AppReply, AppRequest};
use crate::api::{EventKind, Who};
use crate::machine::Now;

/// The two ends of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ends {
    pub(super) peer: SocketAddr,
    pub(super) local: Ipv4Addr,
}

/// See the module's text.
pub(super) struct Exchange<'a, A> {
    shared: &'a Shared<A>,
    ends: Ends,
    /// The client may cause events with this request.
    told: bool,
    agent: Option<String>,
}

/// As it may be shown: no control characters, not endless.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(512).collect()
}

/// What a refused request is answered, and why its body was not read.
pub(super) type Refused = Box<Reply>;

impl<'a, A: App> Exchange<'a, A> {
    pub(super) fn begin(shared: &'a Shared<A>, ends: Ends, head: &Head<'_>) -> Self {
        let told = shared.ledger.begins(ends.peer.ip());
        Self { shared, ends, told, agent: head.agent.map(shown) }
    }

    /// The path, or why there is no answer.
    pub(super) fn admit(&self, head: &Head<'_>) -> Result<String, Refused> {
        if !["GET", "HEAD", "POST"].contains(&head.method) {
            return Err(Box::new(Reply::not_allowed("GET, HEAD, POST")));
        }
        if head.hosts > 1 || (head.hosts == 0 && head.one_one) {
            return Err(Box::new(Reply::sentence(400, "an HTTP/1.1 request has one Host header")));
        }
        machine::normalise(head.path).map_err(|e| Box::new(Reply::sentence(400, &e.to_string())))
    }

    /// What the app says of it. This is what may take long.
    pub(super) async fn ask(&self, head: &Head<'_>, path: &str, body: Vec<u8>) -> AppReply {
        let request = AppRequest {
            method: head.method.to_owned(),
            path: path.to_owned(),
            query: machine::query(head.query),
            body,
            peer: self.ends.peer,
            local: self.ends.local,
            agent: self.agent.clone(),
        };
        let AppReply { who, body } = self.shared.app.respond(request).await;
        AppReply { who: Who { ip: Some(self.ends.peer.ip()), ..who }, body }
    }

    /// The answer that follows from it. A file without bytes to send joins the `unflushed`.
    pub(super) async fn form(
        &self,
        head: &Head<'_>,
        path: &str,
        AppReply { who, body }: AppReply,
        unflushed: &Unflushed,
    ) -> Reply {
        match body {
            AppBody::Bytes(status, kind, bytes) => Reply::small(status, kind, bytes),
            AppBody::NotFound(text) => Reply::sentence(404, &text),
            AppBody::Forbidden(text) => Reply::sentence(403, &text),
            AppBody::File(_) if head.method == "POST" => Reply::not_allowed("GET, HEAD"),
            AppBody::File(file) => self.file(head, file, &who, path, unflushed).await,
        }
    }

    /// Tells of the request, unless its client has had its share of that.
    pub(super) fn tell(self, head: &Head<'_>, who: &Who, path: &str, reply: &Reply) {
        let client = self.ends.peer.ip();
        let status = reply.status;
        if !self.told {
            return;
        }
        let (method, path) = (shown(head.method), shown(path));
        if status < 400 || self.shared.ledger.refuses(client, status, &path) {
            let who = Who { ip: Some(client), ..who.clone() };
            self.shared.ledger.report(&who, EventKind::HttpRequest { method, path, status, agent: self.agent });
        }
    }

    async fn file(&self, head: &Head<'_>, file: PathBuf, who: &Who, path: &str, unflushed: &Unflushed) -> Reply {
        let opened = match self.shared.shelf.open(file).await {
            Ok(opened) => opened,
            Err(error) => {
                let status = match error.kind() {
                    std::io::ErrorKind::NotFound => 404,
                    std::io::ErrorKind::PermissionDenied => 403,
                    _ => 500,
                };
                return Reply::sentence(status, &format!("{path} can't be opened: {error}"));
            }
        };
        let version = match &opened {
            Opened::File(served) => &served.version,
            Opened::Short(version, _) => version,
        };
        let get = head.method == "GET";
        let verdict = machine::evaluate(&head.conditions, version, get);
        let (status, first, end) = match verdict {
            Verdict::Whole => (200, 0, version.size),
            Verdict::Part { first, last } => (206, first, last + 1),
            Verdict::NotModified => (304, 0, 0),
            Verdict::PreconditionFailed => {
                return Reply::sentence(412, "the file is another one than the client knows");
            }
            Verdict::Unsatisfiable => {
                let range = Some(format!("bytes */{}", version.size));
                return Reply { range, ..Reply::sentence(416, "the range is behind the file's end") };
            }
        };
        let range = match verdict {
            Verdict::Part { first, last } => Some(format!("bytes {first}-{last}/{}", version.size)),
            _ => None,
        };
        let of_file = status != 304;
        let mut reply = Reply {
            status,
            kind: of_file.then(|| machine::content_type(path)),
            length: of_file.then_some(end - first),
            version: Some(version.clone()),
            range,
            allow: None,
            close: false,
            content: Content::Small(Bytes::new()),
        };
        if get && of_file {
            let sent = Sent {
                ledger: Arc::clone(&self.shared.ledger),
                told: self.told,
                who: who.clone(),
                client: self.ends.peer.ip(),
                path: path.to_owned(),
                version: version.clone(),
                first,
                end,
                began: Now::read().boot,
            };
            reply.content = match opened {
                _ if first == end => {
                    unflushed.push(sent);
                    Content::Small(Bytes::new())
                }
                Opened::File(served) => Content::File(Box::new((*served, Delivery::new(sent)))),
                Opened::Short(_, bytes) => {
                    let at = |n: u64| usize::try_from(n).unwrap_or(usize::MAX).min(bytes.len());
                    Content::Short(bytes.slice(at(first)..at(end)), Box::new(Delivery::new(sent)))
                }
            };
        }
        reply
    }
}
