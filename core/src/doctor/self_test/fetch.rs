//! A boot file over TFTP, a file or its beginning over HTTP, as a firmware would ask for them.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream, UdpSocket};
use std::time::Duration;

use crate::tftp::wire::{self, Mode, Packet, Request};

const PATIENCE: Duration = Duration::from_secs(3);
const TRIES: u32 = 3;
/// More is no boot file.
const LARGEST: usize = 16 << 20;
const BLOCK: usize = 1468;

/// The whole file; how many bytes it has, which are as many as the server has told.
pub(super) fn tftp(server: Ipv4Addr, file: &str) -> Result<usize, String> {
    let io = |e: std::io::Error| format!("TFTP: {e}");
    let socket = UdpSocket::bind((server, 0)).map_err(io)?;
    socket.set_read_timeout(Some(PATIENCE)).map_err(io)?;
    let options = vec![("tsize".to_owned(), "0".to_owned()), ("blksize".to_owned(), BLOCK.to_string())];
    let request = Request { file: file.as_bytes().to_vec(), mode: Mode::Octet, options };
    let mut last = (wire::encode(&Packet::Rrq(request)), SocketAddr::V4(SocketAddrV4::new(server, 69)));
    let (mut total, mut size, mut next, mut block) = (0usize, None, 1u16, 512usize);
    let mut buffer = vec![0; 65_536];
    let mut tries = 0;
    socket.send_to(&last.0, last.1).map_err(io)?;
    while total <= LARGEST {
        let (len, from) = match socket.recv_from(&mut buffer) {
            Ok(received) => received,
            Err(_) if tries < TRIES => {
                tries += 1;
                socket.send_to(&last.0, last.1).map_err(io)?;
                continue;
            }
            Err(_) => return Err(format!("TFTP: after {total} bytes no answer came")),
        };
        let ack = match wire::decode(buffer.get(..len).unwrap_or_default()) {
            Ok(Packet::Oack(options)) => {
                let value = |name: &str| options.iter().find(|(n, _)| n == name).and_then(|(_, v)| v.parse().ok());
                size = value("tsize");
                block = value("blksize").unwrap_or(512);
                0
            }
            Ok(Packet::Data { block: number, data }) if number == next => {
                total += data.len();
                next = next.wrapping_add(1);
                if data.len() < block {
                    socket.send_to(&wire::encode(&Packet::Ack(number)), from).map_err(io)?;
                    return match size {
                        Some(size) if size != total => {
                            Err(format!("TFTP: {total} bytes came of {size} that were announced"))
                        }
                        _ if total == 0 => Err("TFTP: the file is empty".into()),
                        _ => Ok(total),
                    };
                }
                number
            }
            Ok(Packet::Error { code, message }) => return Err(format!("TFTP error {code}: {message}")),
            _ => continue,
        };
        tries = 0;
        last = (wire::encode(&Packet::Ack(ack)), from);
        socket.send_to(&last.0, last.1).map_err(io)?;
    }
    Err("TFTP: the file is larger than any boot file".into())
}

/// What an HTTP server answered.
#[derive(Debug)]
pub(super) struct Got {
    pub(super) body: Vec<u8>,
    /// Bytes of the whole file, where a part was asked for.
    pub(super) total: Option<u64>,
}

/// GET, of the first `head` bytes where that is given. The URL's host must be `server`.
pub(super) fn http(server: Ipv4Addr, url: &str, agent: &str, head: Option<u64>) -> Result<Got, String> {
    let io = |e: std::io::Error| format!("HTTP: {e}");
    let rest = url.strip_prefix("http://").ok_or_else(|| format!("{url} is no HTTP URL"))?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (name, port) = host.split_once(':').unwrap_or((host, "80"));
    if name != server.to_string() {
        return Err(format!("{url} is on another computer"));
    }
    let port: u16 = port.parse().map_err(|_| format!("{url} names no port"))?;
    let at = SocketAddr::V4(SocketAddrV4::new(server, port));
    let mut stream = TcpStream::connect_timeout(&at, PATIENCE).map_err(io)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(io)?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(io)?;
    let range = head.map(|n| format!("Range: bytes=0-{}\r\n", n.saturating_sub(1))).unwrap_or_default();
    let request =
        format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {agent}\r\n{range}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(io)?;
    let mut answer = Vec::new();
    stream.take(LARGEST as u64).read_to_end(&mut answer).map_err(io)?;
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n").ok_or("HTTP: the answer has no end of its head")?;
    let text = String::from_utf8_lossy(answer.get(..end).unwrap_or_default()).into_owned();
    let body = answer.get(end + 4..).unwrap_or_default().to_vec();
    let status = text.split_whitespace().nth(1).unwrap_or_default().to_owned();
    if !matches!(status.as_str(), "200" | "206") {
        return Err(format!("HTTP status {status} for /{path}"));
    }
    let header = |name: &str| {
        text.lines()
            .find_map(|l| l.split_once(':').filter(|(n, _)| n.eq_ignore_ascii_case(name)))
            .map(|(_, v)| v.trim())
    };
    if let Some(length) = header("content-length").and_then(|l| l.parse::<usize>().ok())
        && length != body.len()
    {
        return Err(format!("HTTP: {} bytes came of {length}", body.len()));
    }
    let total = header("content-range").and_then(|r| r.rsplit_once('/')?.1.parse().ok());
    Ok(Got { body, total })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_computer_s_url_is_not_fetched() {
        let error = http(Ipv4Addr::LOCALHOST, "http://192.0.2.9/x", "a", None).unwrap_err();
        assert!(error.contains("another computer"), "{error}");
        assert!(http(Ipv4Addr::LOCALHOST, "ftp://127.0.0.1/x", "a", None).is_err());
    }
}
