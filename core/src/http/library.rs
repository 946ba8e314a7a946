//! A connection that hyper reads and writes: one with TLS, one with a body in its request, and every one where the kernel does not send
//! files by itself.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};

use super::App;
use super::body::{Answer, FileBody};
use super::exchange::{Ends, Exchange};
use super::head::Head;
use super::reply::{Content, Reply};
use super::service::{MAX_BODY, MAX_HEAD, Shared, over};
use super::stream::{Stream, Unflushed, Wire};
use crate::api::Who;

/// Serves requests until the connection ends. `before` was read from it already, and `served` requests were answered.
pub(super) async fn serve<A: App>(shared: Arc<Shared<A>>, wire: impl Wire, before: Vec<u8>, ends: Ends, served: u32) {
    let unflushed = Unflushed::default();
    let io = TokioIo::new(Stream::new(wire, before, unflushed.clone(), shared.limits.stalled));
    let mut stopped = shared.stopped.clone();
    let head_within = shared.limits.head_within;
    let answered = AtomicU32::new(served);
    let service = service_fn(move |request| {
        let last = answered.fetch_add(1, Ordering::Relaxed).saturating_add(1) >= shared.limits.requests;
        let (shared, unflushed) = (shared.clone(), unflushed.clone());
        async move {
            let reply = answer(&shared, ends, request, &unflushed).await;
            let reply = if last { reply.closing() } else { reply };
            Ok::<_, Infallible>(response(reply, unflushed))
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_within)
        .max_buf_size(MAX_HEAD)
        .serve_connection(io, service);
    let mut connection = std::pin::pin!(connection);
    // What a client's connection ends with is told by its answers' events; there is nobody to hand the error to.
    tokio::select! {
        _ = connection.as_mut() => {}
        () = over(&mut stopped) => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}

async fn answer<A: App>(shared: &Shared<A>, ends: Ends, request: Request<Incoming>, unflushed: &Unflushed) -> Reply {
    let (parts, incoming) = request.into_parts();
    let request = Request::from_parts(parts, ());
    let head = Head::of(&request);
    let exchange = Exchange::begin(shared, ends, &head);
    let (who, path, reply) = match exchange.admit(&head) {
        Err(reply) => (Who::default(), head.path.to_owned(), *reply),
        Ok(path) => match body(shared, &head, incoming).await {
            Err(reply) => (Who::default(), path, *reply),
            Ok(body) => {
                let said = exchange.ask(&head, &path, body).await;
                let who = said.who.clone();
                let reply = exchange.form(&head, &path, said, unflushed).await;
                (who, path, reply)
            }
        },
    };
    exchange.tell(&head, &who, &path, &reply);
    reply
}

/// The body of a POST, which is small and comes soon.
async fn body<A>(shared: &Shared<A>, head: &Head<'_>, incoming: Incoming) -> Result<Vec<u8>, Box<Reply>> {
    if head.method != "POST" {
        return Ok(Vec::new());
    }
    let collected = tokio::time::timeout(shared.limits.body_within, Limited::new(incoming, MAX_BODY).collect()).await;
    let reply = match collected {
        Ok(Ok(collected)) => return Ok(collected.to_bytes().to_vec()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Reply::sentence(413, "a body has at most 64 KiB"),
        Ok(Err(_)) => Reply::sentence(400, "the body is cut off or malformed"),
        Err(_) => Reply::sentence(408, "the body did not come in time"),
    };
    Err(Box::new(reply.closing()))
}

fn response(reply: Reply, unflushed: Unflushed) -> Response<Answer> {
    let mut response = Response::new(Answer::Small(Bytes::new()));
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    reply.fields(|name, value| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    });
    if reply.close {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    *response.body_mut() = match reply.content {
        Content::Small(bytes) => Answer::Small(bytes),
        Content::Short(bytes, delivery) => Answer::Short(bytes, delivery, unflushed),
        Content::File(file) => {
            let (served, delivery) = *file;
            Answer::File(FileBody::new(served, delivery, unflushed))
        }
    };
    response
}
