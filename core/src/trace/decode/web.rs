//! TFTP and the heads of HTTP.

use super::{Field, Said, text};
use crate::tftp::wire::{self, Packet, Request};
use crate::trace::view::{self, Datagram};

pub(super) fn tftp(udp: &Datagram<'_>) -> Option<Said> {
    let named = |options: &[(String, String)]| -> String {
        options.iter().map(|(name, value)| format!(" {}={}", text(name.as_bytes()), text(value.as_bytes()))).collect()
    };
    let listed = |options: &[(String, String)]| -> Vec<Field> {
        options.iter().map(|(name, value)| Field::new(&text(name.as_bytes()), text(value.as_bytes()))).collect()
    };
    let asks = |word: &str, request: &Request| {
        let file = text(&request.file);
        let mut fields = vec![Field::new("operation", word), Field::new("file", &file)];
        fields.push(Field::new("mode", format!("{:?}", request.mode).to_lowercase()));
        fields.extend(listed(&request.options));
        (format!("{word} {file}{}", named(&request.options)), fields)
    };
    let (line, fields) = match wire::decode(udp.payload).ok()? {
        Packet::Rrq(request) => asks("read", &request),
        Packet::Wrq(request) => asks("write", &request),
        Packet::Data { block, .. } => {
            let bytes = udp.len.saturating_sub(4);
            let fields = vec![Field::new("block", block), Field::new("bytes", bytes)];
            (format!("block {block}, {bytes} bytes"), fields)
        }
        Packet::Ack(block) => (format!("acknowledges block {block}"), vec![Field::new("block", block)]),
        Packet::Error { code, message } => {
            let message = text(message.as_bytes());
            let fields = vec![Field::new("code", code), Field::new("message", &message)];
            (format!("error {code}: {message}"), fields)
        }
        Packet::Oack(options) => (format!("agrees to{}", named(&options)), listed(&options)),
    };
    // Other protocols over UDP may begin with the same bytes; only requests tell their port.
    let request = matches!(view::half(udp.payload, 0), Some(1 | 2));
    (!request || udp.to == 69).then_some(Said { protocol: "TFTP", line, fields })
}

pub(super) fn http(payload: &[u8]) -> Option<Said> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let (line, mut told, headers): (String, Vec<Field>, &[httparse::Header<'_>]) = if payload.starts_with(b"HTTP/") {
        let mut response = httparse::Response::new(&mut fields);
        let _partial_heads_count = response.parse(payload).ok()?;
        let status = response.code?;
        let reason = text(response.reason.unwrap_or_default().as_bytes());
        (format!("{status} {reason}").trim_end().to_owned(), vec![Field::new("status", status)], response.headers)
    } else {
        let mut request = httparse::Request::new(&mut fields);
        let _partial_heads_count = request.parse(payload).ok()?;
        let (method, path) = (request.method?, text(request.path?.as_bytes()));
        let told = vec![Field::new("method", text(method.as_bytes())), Field::new("path", &path)];
        (format!("{} {path}", text(method.as_bytes())), told, request.headers)
    };
    let whole = headers.iter().take_while(|field| !field.name.is_empty());
    told.extend(whole.map(|field| Field::new(&text(field.name.as_bytes()), text(field.value))));
    Some(Said { protocol: "HTTP", line, fields: told })
}
