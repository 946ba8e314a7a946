//! The server on loopback, on either wire.

use super::*;
use crate::api::{EventKind, Reports, Who, reports};
use crate::http::{AppBody, AppReply, AppRequest};
use crate::machine::Now;
use crate::net::testing::Loopback;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[path = "clauses_tests.rs"]
#[allow(clippy::duplicate_mod, reason = "the same clauses hold on both wires")]
mod clauses;

#[derive(Debug, Default)]
struct Site {
    folder: PathBuf,
    delivered: Mutex<Vec<String>>,
    left: Arc<AtomicBool>,
}

struct Left(Arc<AtomicBool>);

impl Drop for Left {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl App for Site {
    async fn respond(&self, request: AppRequest) -> AppReply {
        let body = match request.path.as_str() {
            "/script" => AppBody::Bytes(200, "text/plain", format!("{:?}", request.query).into_bytes()),
            "/post" => AppBody::Bytes(200, "text/plain", request.body),
            "/hold" => {
                let _left = Left(self.left.clone());
                std::future::pending().await
            }
            "/panic" => panic!("a handler's mistake"),
            path => match self.folder.join(path.trim_start_matches('/')) {
                file if file.exists() => AppBody::File(file),
                _ => AppBody::NotFound(format!("there is no {path} here")),
            },
        };
        AppReply { who: Who::default(), body }
    }

    fn delivered(&self, _: &Who, path: &str) {
        self.delivered.lock().unwrap().push(path.to_owned());
    }
}

fn limits() -> Limits {
    Limits { library_only: module_path!().ends_with("library_wire"), ..Limits::default() }
}

async fn serve(folder: &Path) -> (Service, Reports, Arc<Site>) {
    serve_within(folder, limits()).await
}

async fn serve_within(folder: &Path, limits: Limits) -> (Service, Reports, Arc<Site>) {
    let (reporter, reports) = reports();
    let app = Arc::new(Site { folder: folder.into(), ..Site::default() });
    let binds = vec![(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0), None)];
    let config =
        Config { binds, secure: None, ports: Arc::new(Loopback), app: app.clone(), reporter, tap: <_>::default() };
    (start_with(config, limits).await.unwrap(), reports, app)
}

/// Sends bytes on a new connection and reads to its end.
async fn talk(to: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut out = Vec::new();
    let _ = stream.read_to_end(&mut out).await;
    String::from_utf8_lossy(&out).into_owned()
}

async fn get(to: SocketAddr, path: &str, headers: &str) -> String {
    talk(to, &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n")).await
}

fn status(answer: &str) -> &str {
    answer.get(9..12).unwrap_or_default()
}

#[tokio::test]
async fn files_come_whole_in_parts_and_are_told_when_delivered() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("boot.efi"), b"0123456789").unwrap();
    std::fs::write(dir.path().join("empty"), b"").unwrap();
    let (service, mut events, site) = serve(dir.path()).await;
    let to = service.addresses()[0];

    let whole = get(to, "//boot.efi", "").await.to_ascii_lowercase();
    assert!(whole.starts_with("http/1.1 200") && whole.ends_with("\r\n\r\n0123456789"), "{whole}");
    for line in ["content-type: application/efi\r\n", "content-length: 10\r\n", "accept-ranges: bytes\r\n", "etag: \""]
    {
        assert!(whole.contains(line), "{line} in {whole}");
    }
    assert!(!whole.contains("transfer-encoding"));
    assert_eq!(*site.delivered.lock().unwrap(), ["/boot.efi"]);

    let part = get(to, "/boot.efi", "Range: bytes=5-\r\n").await;
    assert!(part.contains("content-range: bytes 5-9/10") && part.ends_with("56789"), "{part}");
    assert_eq!(site.delivered.lock().unwrap().len(), 1);
    get(to, "/boot.efi", "Range: bytes=0-4\r\n").await;
    assert_eq!(site.delivered.lock().unwrap().len(), 2, "the last missing range");
    let behind = get(to, "/boot.efi", "Range: bytes=10-\r\n").await;
    assert!(status(&behind) == "416" && behind.contains("content-range: bytes */10"));

    let head = talk(to, "HEAD /boot.efi HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(head.contains("content-length: 10\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    let empty = get(to, "/empty", "").await;
    assert!(empty.contains("content-length: 0\r\n"), "{empty}");
    assert_eq!(site.delivered.lock().unwrap().last().unwrap(), "/empty");
    let names: Vec<_> = events.next().await.iter().map(|r| r.observation.kind.name()).collect();
    assert_eq!(names.iter().filter(|n| *n == "http-request").count(), 6, "{names:?}");
    assert_eq!(names.iter().filter(|n| *n == "http-done").count(), 4);
    service.stop().await;
}

#[tokio::test]
async fn what_is_wrong_is_refused_with_its_status() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("f"), b"x").unwrap();
    let (service, _events, _) = serve(dir.path()).await;
    let to = service.addresses()[0];
    assert_eq!(status(&get(to, "/../etc/passwd", "").await), "400");
    assert_eq!(status(&get(to, "/%2e%2e/etc/passwd", "").await), "400");
    assert_eq!(status(&get(to, "/nothing", "").await), "404");
    assert_eq!(status(&talk(to, "GET / HTTP/1.1\r\nConnection: close\r\n\r\n").await), "400");
    let delete = talk(to, "DELETE /f HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(status(&delete) == "405" && delete.contains("allow: GET, HEAD, POST"), "{delete}");
    let post = |len: usize| {
        format!(
            "POST /post HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len}\r\n\r\n{}",
            "y".repeat(len)
        )
    };
    assert_eq!(status(&talk(to, &post(65536)).await), "200");
    assert_eq!(status(&talk(to, &post(65537)).await), "413");
    let file = talk(to, "POST /f HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").await;
    assert!(status(&file) == "405" && file.contains("allow: GET, HEAD\r\n"));
    service.stop().await;
}

#[tokio::test]
async fn one_connection_serves_many_and_one_panic_ends_one() {
    let dir = tempfile::tempdir().unwrap();
    let (service, _events, _) = serve(dir.path()).await;
    let to = service.addresses()[0];
    let script = "GET /script?a=1&b=%20 HTTP/1.1\r\nHost: x\r\n\r\n";
    let last = "GET /script HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answers = talk(to, &format!("{script}{last}")).await;
    assert_eq!(answers.matches("HTTP/1.1 200").count(), 2, "{answers}");
    assert!(answers.contains("cache-control: no-store") && answers.contains(r#"[("a", "1"), ("b", " ")]"#));
    assert_eq!(get(to, "/panic", "").await, "");
    assert_eq!(status(&get(to, "/script", "").await), "200");
    service.stop().await;
}

#[tokio::test]
async fn a_client_that_hangs_up_frees_its_held_request_and_a_stop_waits_for_none() {
    let dir = tempfile::tempdir().unwrap();
    let (service, mut events, site) = serve(dir.path()).await;
    let to = service.addresses()[0];
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(b"GET /hold HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!site.left.load(Ordering::Relaxed));
    drop(stream);
    let left = async {
        while !site.left.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), left).await.expect("the held request outlived its client");
    let mut held = TcpStream::connect(to).await.unwrap();
    held.write_all(b"GET /hold HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    tokio::time::timeout(Duration::from_secs(30), service.stop()).await.unwrap();
    let none = tokio::time::timeout(Duration::from_millis(50), events.next()).await;
    assert!(none.is_err(), "a request without an answer was told");
}

#[tokio::test]
async fn a_dropped_server_lets_go_of_its_clients_and_its_port() {
    let dir = tempfile::tempdir().unwrap();
    let (service, _events, site) = serve(dir.path()).await;
    let to = service.addresses()[0];
    let mut held = TcpStream::connect(to).await.unwrap();
    held.write_all(b"GET /hold HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    drop(service);
    let ended = tokio::time::timeout(Duration::from_secs(30), held.read_to_end(&mut Vec::new())).await;
    assert!(ended.is_ok(), "its client waits for it");
    let over = async {
        while !site.left.load(Ordering::Relaxed) || TcpStream::connect(to).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), over).await.expect("the thread goes on");
}

#[tokio::test]
async fn a_client_that_leaves_is_told_and_has_nothing_delivered() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("big"), vec![1; 64 << 20]).unwrap();
    let (service, mut events, site) = serve(dir.path()).await;
    let mut stream = TcpStream::connect(service.addresses()[0]).await.unwrap();
    stream.write_all(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut buf = vec![0; 100_000];
    stream.read_exact(&mut buf).await.unwrap();
    drop(stream);
    let mut kinds = Vec::new();
    while !kinds.contains(&"http-aborted".to_owned()) {
        kinds.extend(events.next().await.iter().map(|r| r.observation.kind.name()));
    }
    assert!(site.delivered.lock().unwrap().is_empty() && !kinds.contains(&"http-done".to_owned()));
    service.stop().await;
}

/// A connection from this address of the loopback net.
async fn connect_from(from: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    socket.connect(to).await.unwrap()
}

/// Whether a request on this connection is answered; else the server has closed it.
async fn answered(stream: &mut TcpStream) -> bool {
    // A connection that was refused may already be reset.
    let _ = stream.write_all(b"GET /script HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let mut buf = [0; 12];
    stream.read_exact(&mut buf).await.is_ok() && &buf == b"HTTP/1.1 200"
}

/// Reads until the server ends the connection, which must be soon.
async fn ended(stream: &mut TcpStream) -> String {
    let mut out = Vec::new();
    let reading = stream.read_to_end(&mut out);
    let _reset_is_an_end_too = tokio::time::timeout(Duration::from_secs(30), reading).await.expect("still open");
    String::from_utf8_lossy(&out).into_owned()
}

#[tokio::test]
async fn connections_are_limited_for_a_client_and_for_all() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits { connections: 3, per_client: 2, ..limits() };
    let (service, _events, _) = serve_within(dir.path(), limits).await;
    let to = service.addresses()[0];
    let mut first = connect_from([127, 0, 0, 1], to).await;
    let mut second = connect_from([127, 0, 0, 1], to).await;
    assert!(answered(&mut first).await && answered(&mut second).await);
    assert!(!answered(&mut connect_from([127, 0, 0, 1], to).await).await, "one client's third");
    let mut other = connect_from([127, 0, 0, 2], to).await;
    assert!(answered(&mut other).await, "another client's first");
    assert!(!answered(&mut connect_from([127, 0, 0, 3], to).await).await, "the fourth of all");
    drop(first);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(answered(&mut connect_from([127, 0, 0, 3], to).await).await, "a place was given back");
    service.stop().await;
}

#[tokio::test]
async fn a_client_that_dawdles_is_ended() {
    let dir = tempfile::tempdir().unwrap();
    let short = Duration::from_millis(150);
    let limits = Limits { head_within: short, body_within: short, ..limits() };
    let (service, _events, _) = serve_within(dir.path(), limits).await;
    let to = service.addresses()[0];

    let mut silent = TcpStream::connect(to).await.unwrap();
    ended(&mut silent).await;

    let (mut reading, mut writing) = TcpStream::connect(to).await.unwrap().into_split();
    let drip = async {
        for byte in b"GET /script HTTP/1.1\r\nHost: x\r\nX-A: ".iter().chain(std::iter::repeat(&b'a')) {
            if writing.write_all(&[*byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let mut out = Vec::new();
    tokio::select! {
        () = drip => {}
        _ = reading.read_to_end(&mut out) => {}
        () = tokio::time::sleep(Duration::from_secs(30)) => panic!("a header may take for ever"),
    }

    let mut idle = TcpStream::connect(to).await.unwrap();
    assert!(answered(&mut idle).await);
    ended(&mut idle).await;

    let mut body = TcpStream::connect(to).await.unwrap();
    body.write_all(b"POST /post HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nx").await.unwrap();
    assert_eq!(status(&ended(&mut body).await), "408");
    service.stop().await;
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_ended() {
    let dir = tempfile::tempdir().unwrap();
    File::create(dir.path().join("big")).unwrap().set_len(64 << 20).unwrap();
    let limits = Limits { stalled: Duration::from_millis(150), ..limits() };
    let (service, mut events, site) = serve_within(dir.path(), limits).await;
    let mut stream = TcpStream::connect(service.addresses()[0]).await.unwrap();
    stream.write_all(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut kinds = Vec::new();
    while !kinds.contains(&"http-aborted".to_owned()) {
        let batch = tokio::time::timeout(Duration::from_secs(30), events.next()).await.expect("never ended");
        kinds.extend(batch.iter().map(|r| r.observation.kind.name()));
    }
    assert!(site.delivered.lock().unwrap().is_empty());
    service.stop().await;
}

#[tokio::test]
async fn a_file_that_shrinks_while_it_is_sent_is_cut_off_and_not_delivered() {
    let dir = tempfile::tempdir().unwrap();
    let file = File::create(dir.path().join("big")).unwrap();
    file.set_len(64 << 20).unwrap();
    let (service, mut events, site) = serve(dir.path()).await;
    let mut stream = TcpStream::connect(service.addresses()[0]).await.unwrap();
    stream.write_all(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut buf = vec![0; 100_000];
    stream.read_exact(&mut buf).await.unwrap();
    file.set_len(1000).unwrap();
    let rest = ended(&mut stream).await;
    assert!(buf.len() + rest.len() < 64 << 20, "the answer must not be filled up with anything");
    let mut kinds = Vec::new();
    while !kinds.contains(&"http-aborted".to_owned()) {
        kinds.extend(events.next().await.iter().map(|r| r.observation.kind.name()));
    }
    assert!(site.delivered.lock().unwrap().is_empty() && !kinds.contains(&"http-done".to_owned()));
    service.stop().await;
}

#[tokio::test]
async fn a_request_names_one_host_and_a_path_inside() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("a")).unwrap();
    std::fs::write(dir.path().join("a/f"), b"inside").unwrap();
    let (service, _events, _) = serve(dir.path()).await;
    let to = service.addresses()[0];
    let two = talk(to, "GET /a/f HTTP/1.1\r\nHost: x\r\nHost: y\r\nConnection: close\r\n\r\n").await;
    assert_eq!(status(&two), "400");
    let none = talk(to, "GET /a/f HTTP/1.1\r\nConnection: close\r\n\r\n").await;
    assert_eq!(status(&none), "400");
    let old = talk(to, "GET /a/f HTTP/1.0\r\n\r\n").await;
    assert!(status(&old) == "200" && old.ends_with("inside"), "HTTP/1.0 knows no Host: {old}");
    // RFC 9112, section 3.2.2: as to a proxy.
    for target in ["http://192.0.2.1/a/f", "http://192.0.2.1:80//a/./f", "/a%2ff", "/a/%66"] {
        let answer = get(to, target, "").await;
        assert!(status(&answer) == "200" && answer.ends_with("inside"), "{target}: {answer}");
    }
    for target in [
        "http://192.0.2.1/../a/f",
        "/a/%2e%2e/a/f",
        "/a/.%2E/a/f",
        "/%2e%2e%2fetc%2fpasswd",
        "/a/f%00",
        "/a/f%00.txt",
        "/a\\f",
        "/..\\a\\f",
        "/a%5cf",
        "/a/f%0d%0aX:%20y",
        "/a/%zz",
        "*",
    ] {
        assert_eq!(status(&get(to, target, "").await), "400", "{target}");
    }
    service.stop().await;
}

#[tokio::test]
async fn a_flood_is_told_as_what_it_is_and_thirty_machines_are_told_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (service, mut events, _) = serve(dir.path()).await;
    let to = service.addresses()[0];
    let flood = "GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n".repeat(300);
    let last = "GET /script HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let began = Now::read().boot;
    assert_eq!(talk(to, &(flood + last)).await.matches("HTTP/1.1 404").count(), 300, "answered, all of them");
    let seconds = usize::try_from(Now::read().boot.saturating_sub(began).as_secs()).unwrap();
    let refused = |batch: &[crate::api::Reported]| {
        let kinds = batch.iter().map(|r| &r.observation.kind);
        kinds.filter(|k| matches!(k, EventKind::HttpRequest { status: 404, .. })).count()
    };
    let batch = events.next().await;
    assert!((1..=seconds + 2).contains(&refused(&batch)), "{}", refused(&batch));
    assert_eq!(batch.len(), refused(&batch) + 1, "and what was answered");

    let flood = last.replace("Connection: close\r\n", "").repeat(2000);
    assert_eq!(talk(to, &(flood + last)).await.matches("HTTP/1.1 200").count(), 2001);
    let seconds = usize::try_from(Now::read().boot.saturating_sub(began).as_secs()).unwrap();
    let told = events.next().await.len();
    assert!(told <= 500 + 50 * (seconds + 1), "{told} events of one client");

    let asks = "GET /script HTTP/1.1\r\nHost: x\r\n\r\n".repeat(39) + last;
    for machine in 10..40 {
        let mut stream = connect_from([127, 0, 1, machine], to).await;
        stream.write_all(asks.as_bytes()).await.unwrap();
        ended(&mut stream).await;
    }
    assert_eq!(events.next().await.len(), 30 * 40);
    service.stop().await;
}
