//! `[[disk]]`.

use std::net::{Ipv4Addr, SocketAddrV4};

use super::fields::{Fields, Reader};
use super::profile::name;
use super::text;
use crate::lab::problem::Problem;
use crate::lab::schema::{Allow, Chap, Disk, Secret, Writes};
use crate::net::Ipv4Cidr;

pub(super) const WRITES: &[(&str, Writes)] =
    &[("keep", Writes::Keep), ("fresh", Writes::Fresh), ("image", Writes::Image)];

pub(super) fn disk(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Option<Disk> {
    let known = ["name", "image", "iqn", "size", "writes", "chap", "allow", "readonly", "removable", "redirect"];
    reader.only(fields, "[[disk]]", &known);
    reader.required(fields, "[[disk]]", "name", "\"server01\"");
    reader.required(fields, "[[disk]]", "image", "\"server01.raw\"");
    let image = reader.string(fields, "image").and_then(|text| match text::path(text, "disks") {
        Ok(path) if former_generation(&path) => {
            let line = fields.line(reader, "image");
            let text = format!("`image`: {text} is a former generation, which goes when nothing stands on it");
            reader.problem(Problem::error(line, text).suggest("copy it to a name of its own"));
            None
        }
        Ok(path) => Some(path),
        Err(error) => {
            let line = fields.line(reader, "image");
            reader.error(line, format!("`image`: {error}"));
            None
        }
    });
    let iqn = iqn(reader, fields);
    let size = size(reader, fields);
    let writes = reader.word(fields, "writes", WRITES);
    let chap = chap(reader, fields);
    let allow = allow(reader, fields);
    let readonly = reader.boolean(fields, "readonly");
    let removable = reader.boolean(fields, "removable");
    let redirect = redirect(reader, fields);
    if fields.has("redirect") && redirect.is_none() {
        return None;
    }
    let name = name(reader, fields, "name")?;
    // What cannot be read must not fall back to something weaker or more destructive.
    if fields.has("chap") && chap.is_none() || fields.has("writes") && writes.is_none() {
        return None;
    }
    let iqn = iqn.unwrap_or_else(|| text::derived_iqn(&name));
    Some(Disk {
        name,
        image: image?,
        iqn,
        size,
        writes: writes.unwrap_or_default(),
        chap,
        allow,
        readonly,
        removable,
        redirect,
    })
}

/// Whether a file is called as a commit calls the image that it replaces: `server01.raw.g3`.
fn former_generation(path: &std::path::Path) -> bool {
    let suffix = path.extension().and_then(|e| e.to_str()).and_then(|e| e.strip_prefix('g'));
    suffix.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

/// iPXE knows IPv4 addresses only here, and no names.
fn redirect(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Option<SocketAddrV4> {
    let text = reader.string(fields, "redirect")?;
    let line = fields.line(reader, "redirect");
    let with_port = text.parse().or_else(|_| text.parse().map(|address| SocketAddrV4::new(address, 3260)));
    match with_port {
        Ok(to) => Some(to),
        Err(_) => {
            reader
                .error(line, format!("`redirect`: `{text}` is not the address of a target, such as 192.168.2.2:3260"));
            None
        }
    }
}

fn size(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Option<u64> {
    let text = reader.string(fields, "size")?;
    let line = fields.line(reader, "size");
    match text::parse_size(text) {
        Ok(size) => Some(size),
        Err(error) => {
            reader.error(line, format!("`size`: {error}"));
            None
        }
    }
}

fn iqn(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Option<String> {
    let text = reader.string(fields, "iqn")?;
    let line = fields.line(reader, "iqn");
    if let Err((message, better)) = text::iscsi_name(text) {
        let problem = Problem::error(line, format!("`iqn`: {message}"));
        reader.problem(match better {
            Some(better) => problem.suggest(format!("write `{better}`")),
            None => problem,
        });
        return None;
    }
    if text.contains('_') {
        reader.warning(line, format!("`iqn`: RFC 3722 has no `_` in iSCSI names; some initiators refuse `{text}`"));
    }
    Some(text.to_owned())
}

fn chap(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Option<Chap> {
    let inner = reader.table(fields, "chap")?;
    reader.only(&inner, "`chap`", &["user", "secret", "mutual-user", "mutual-secret"]);
    reader.required(&inner, "`chap`", "user", "\"…\"");
    reader.required(&inner, "`chap`", "secret", "\"…\" (12 to 16 characters)");
    let user = chap_user(reader, &inner, "user");
    let secret = chap_secret(reader, &inner, "secret");
    let mutual_user = chap_user(reader, &inner, "mutual-user");
    let mutual_secret = chap_secret(reader, &inner, "mutual-secret");
    for (key, other) in [("mutual-user", "mutual-secret"), ("mutual-secret", "mutual-user")] {
        if inner.has(key) && !inner.has(other) {
            let line = inner.line(reader, key);
            reader.missing(line, format!("`{key}` without `{other}`"), format!("add `{other}`, or remove `{key}`"));
            return None;
        }
    }
    if secret.is_some() && secret == mutual_secret {
        let line = inner.line(reader, "mutual-secret");
        // RFC 7143 9.2.1: otherwise a reflected challenge would do.
        reader.error(line, "`secret` and `mutual-secret` must differ (RFC 7143)");
        return None;
    }
    let mutual = match (inner.has("mutual-user"), mutual_user, mutual_secret) {
        (false, ..) => None,
        (true, Some(user), Some(secret)) => Some((user, secret)),
        (true, ..) => return None,
    };
    Some(Chap { user: user?, secret: secret?, mutual })
}

fn chap_user(reader: &mut Reader<'_>, fields: &Fields<'_>, key: &str) -> Option<String> {
    let text = reader.string(fields, key)?;
    if text.is_empty() || text.len() > 255 || text.chars().any(char::is_control) {
        let line = fields.line(reader, key);
        reader.error(line, format!("`{key}` must be 1 to 255 bytes without control characters"));
        return None;
    }
    Some(text.to_owned())
}

/// Says nothing of the secret but its length.
fn chap_secret(reader: &mut Reader<'_>, fields: &Fields<'_>, key: &str) -> Option<Secret> {
    let text = reader.string(fields, key)?;
    let line = fields.line(reader, key);
    match text.len() {
        0 => {
            reader.error(line, format!("`{key}` is empty"));
            return None;
        }
        256.. => {
            reader.error(line, format!("`{key}` is {} bytes long; 255 are allowed", text.len()));
            return None;
        }
        12..=16 => {}
        length => reader.warning(
            line,
            format!("`{key}` is {length} bytes long; many initiators, Windows among them, take 12 to 16 only"),
        ),
    }
    Some(Secret::new(text.to_owned()))
}

fn allow(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Vec<Allow> {
    let texts = reader.strings(fields, "allow");
    let mut out = Vec::new();
    for (text, line) in texts {
        if text.starts_with("iqn.") || text.starts_with("eui.") || text.starts_with("naa.") {
            if text.len() > 223 || text.chars().any(|c| c.is_control() || c.is_whitespace()) {
                reader.error(line, format!("`allow`: `{text}` cannot be the beginning of an initiator's name"));
            } else {
                out.push(Allow::Initiator(text.to_lowercase()));
            }
        } else if let Ok(address) = text.parse::<Ipv4Addr>() {
            out.push(Allow::Net(Ipv4Cidr { address, prefix: 32 }));
        } else if let Ok(net) = text.parse::<Ipv4Cidr>() {
            if net.prefix == 0 {
                reader.warning(line, "`allow`: /0 lets every machine log in");
            }
            out.push(Allow::Net(net));
        } else {
            reader.error(
                line,
                format!(
                    "`allow`: `{text}` is neither an address, a network such as 192.168.2.0/24, nor the beginning of \
                     an initiator's name (iqn., eui., naa.)"
                ),
            );
        }
    }
    out
}
