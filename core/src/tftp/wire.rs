//! TFTP packets: bytes to types and back (RFC 1350, section 5; RFC 2347).

/// Error codes of RFC 1350 and RFC 2347.
pub mod code {
    /// Not defined; see the message.
    pub const UNDEFINED: u16 = 0;
    /// File not found.
    pub const NOT_FOUND: u16 = 1;
    /// Access violation.
    pub const ACCESS: u16 = 2;
    /// Illegal operation.
    pub const ILLEGAL: u16 = 4;
    /// Unknown transfer ID.
    pub const UNKNOWN_TID: u16 = 5;
    /// Option negotiation refused.
    pub const OPTION: u16 = 8;
}

/// Most options that are read of one request; what follows is ignored.
const MAX_OPTIONS: usize = 16;

/// Why bytes are not a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Shorter than its kind's fixed part.
    #[error("the packet ends too early")]
    Short,
    /// Not one of the six operations.
    #[error("there is no operation {0}; expected 1 to 6")]
    Operation(u16),
    /// A string without its NUL.
    #[error("a string has no NUL at its end")]
    Unterminated,
    /// Neither octet nor netascii.
    #[error("the transfer mode is unknown; expected octet or netascii")]
    Mode,
}

/// How bytes are represented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// As they are.
    Octet,
    /// Text with CR LF.
    Netascii,
}

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Name as sent, without its NUL.
    pub file: Vec<u8>,
    /// Mode.
    pub mode: Mode,
    /// Names in lower case with values, in order; the first of duplicates only (RFC 2347: an option may be given once).
    pub options: Vec<(String, String)>,
}

/// One packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet<'a> {
    /// Read request.
    Rrq(Request),
    /// Write request.
    Wrq(Request),
    /// A block of data.
    Data {
        /// Block number.
        block: u16,
        /// Content.
        data: &'a [u8],
    },
    /// Acknowledgement of a block.
    Ack(u16),
    /// The other side ends it.
    Error {
        /// See [`code`].
        code: u16,
        /// For people.
        message: String,
    },
    /// Options accepted.
    Oack(Vec<(String, String)>),
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16, WireError> {
    bytes.get(at..at + 2).and_then(|b| b.try_into().ok()).map(u16::from_be_bytes).ok_or(WireError::Short)
}

fn string(bytes: &[u8]) -> Result<(&[u8], &[u8]), WireError> {
    let end = bytes.iter().position(|b| *b == 0).ok_or(WireError::Unterminated)?;
    let (text, rest) = bytes.split_at(end);
    Ok((text, rest.get(1..).unwrap_or_default()))
}

fn options(mut rest: &[u8]) -> Vec<(String, String)> {
    let mut out: Vec<(String, String)> = Vec::new();
    // Padding and a cut-off option behind good ones are seen in old ROMs: what was whole counts.
    while let Ok((name, after)) = string(rest) {
        let Ok((value, after)) = string(after) else { break };
        rest = after;
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        if name.is_empty() || out.iter().any(|(known, _)| *known == name) {
            continue;
        }
        out.push((name, String::from_utf8_lossy(value).into_owned()));
        if out.len() == MAX_OPTIONS {
            break;
        }
    }
    out
}

fn request(rest: &[u8]) -> Result<Request, WireError> {
    let (file, rest) = string(rest)?;
    let (mode, rest) = string(rest)?;
    let mode = match mode.to_ascii_lowercase().as_slice() {
        b"octet" | b"binary" => Mode::Octet,
        b"netascii" => Mode::Netascii,
        _ => return Err(WireError::Mode),
    };
    Ok(Request { file: file.to_vec(), mode, options: options(rest) })
}

/// Reads one datagram.
///
/// # Errors
/// [`WireError`] when it is no TFTP packet.
pub fn decode(bytes: &[u8]) -> Result<Packet<'_>, WireError> {
    let rest = bytes.get(2..).unwrap_or_default();
    Ok(match u16_at(bytes, 0)? {
        1 => Packet::Rrq(request(rest)?),
        2 => Packet::Wrq(request(rest)?),
        3 => Packet::Data { block: u16_at(bytes, 2)?, data: bytes.get(4..).unwrap_or_default() },
        4 => Packet::Ack(u16_at(bytes, 2)?),
        5 => {
            let text = bytes.get(4..).unwrap_or_default();
            // Some clients leave the NUL out.
            let text = string(text).map_or(text, |(text, _)| text);
            Packet::Error { code: u16_at(bytes, 2)?, message: String::from_utf8_lossy(text).into_owned() }
        }
        6 => Packet::Oack(options(rest)),
        other => return Err(WireError::Operation(other)),
    })
}

fn put_string(out: &mut Vec<u8>, text: &[u8]) {
    out.extend(text.iter().copied().filter(|b| *b != 0));
    out.push(0);
}

fn put_options(out: &mut Vec<u8>, options: &[(String, String)]) {
    for (name, value) in options {
        put_string(out, name.as_bytes());
        put_string(out, value.as_bytes());
    }
}

/// Writes one packet.
#[must_use]
pub fn encode(packet: &Packet<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    let op = |code: u16, out: &mut Vec<u8>| out.extend_from_slice(&code.to_be_bytes());
    match packet {
        Packet::Rrq(request) | Packet::Wrq(request) => {
            op(if matches!(packet, Packet::Rrq(_)) { 1 } else { 2 }, &mut out);
            put_string(&mut out, &request.file);
            put_string(&mut out, if request.mode == Mode::Octet { b"octet" } else { b"netascii" });
            put_options(&mut out, &request.options);
        }
        Packet::Data { block, data } => {
            op(3, &mut out);
            op(*block, &mut out);
            out.extend_from_slice(data);
        }
        Packet::Ack(block) => {
            op(4, &mut out);
            op(*block, &mut out);
        }
        Packet::Error { code, message } => {
            op(5, &mut out);
            op(*code, &mut out);
            put_string(&mut out, message.as_bytes());
        }
        Packet::Oack(options) => {
            op(6, &mut out);
            put_options(&mut out, options);
        }
    }
    out
}

/// An ERROR packet.
#[must_use]
pub fn error(code: u16, message: &str) -> Vec<u8> {
    encode(&Packet::Error { code, message: message.to_owned() })
}

/// The name that a request means: backslashes are slashes, trailing 0xFF and control bytes (option 67 without its end) and leading
/// slashes are gone, `//` and `/./` are one slash. `None` if it climbs, is empty or has a control character inside.
#[must_use]
pub fn clean_name(raw: &[u8]) -> Option<String> {
    let end = raw.iter().rposition(|b| *b != 0xff && !b.is_ascii_control() && *b != b' ').map_or(0, |at| at + 1);
    let text = String::from_utf8_lossy(raw.get(..end)?).replace('\\', "/");
    if text.chars().any(char::is_control) {
        return None;
    }
    let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    (!parts.is_empty() && !parts.contains(&"..")).then(|| parts.join("/"))
}

/// Whether a name goes on behind its end: option 67 without its zero, read on by firmware.
#[must_use]
pub fn has_tail(raw: &[u8]) -> bool {
    raw.last().is_some_and(|b| *b == 0xff || b.is_ascii_control())
}

/// Reads anything without a panic; what it understands survives being written and read again.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    if let Ok(packet) = decode(data) {
        let bytes = encode(&packet);
        assert_eq!(decode(&bytes).as_ref(), Ok(&packet), "a packet changed on its way");
        if let Packet::Rrq(request) = packet {
            let clean = clean_name(&request.file);
            assert!(clean.is_none_or(|name| !name.starts_with('/') && !name.split('/').any(|part| part == "..")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_firmware_size_probe_is_read() {
        let packet = decode(b"\0\x01ipxe.efi\0octet\0TSize\x000\0blksize\x001468\0tsize\x009\0").unwrap();
        let Packet::Rrq(request) = packet else { panic!() };
        assert_eq!(request.file, b"ipxe.efi");
        assert_eq!(request.options, [("tsize".into(), "0".into()), ("blksize".into(), "1468".into())]);
    }

    #[test]
    fn names_are_cleaned_and_climbers_refused() {
        assert_eq!(clean_name(b"/boot\\x64\\wdsmgfw.efi").as_deref(), Some("boot/x64/wdsmgfw.efi"));
        assert_eq!(clean_name(b"undionly.kpxe\xff").as_deref(), Some("undionly.kpxe"));
        assert_eq!(clean_name(b"ipxe.efi\r\n\x01\xff").as_deref(), Some("ipxe.efi"));
        assert_eq!(clean_name(b"//a/./b").as_deref(), Some("a/b"));
        for bad in [&b""[..], b"/", b"..", b"a/../../b", b"..\\..\\etc\\passwd", b"a\nb", b"\xff"] {
            assert_eq!(clean_name(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn what_is_no_packet_is_said_to_be_none() {
        assert_eq!(decode(b""), Err(WireError::Short));
        assert_eq!(decode(b"\0\x09xx"), Err(WireError::Operation(9)));
        assert_eq!(decode(b"\0\x01abc"), Err(WireError::Unterminated));
        assert_eq!(decode(b"\0\x01abc\0mail\0"), Err(WireError::Mode));
        assert_eq!(decode(b"\0\x04\0"), Err(WireError::Short));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(op in 0u8..8, rest: Vec<u8>) {
            let mut bytes = vec![0, op];
            bytes.extend(rest);
            fuzz(&bytes);
        }
    }
}
