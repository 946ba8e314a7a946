//! The server on loopback.

use super::*;
use crate::api::{Reports, reports};
use crate::net::{AddressHold, Ipv4Cidr, PacketSocket, PacketUse, UdpSpec};
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Opens ordinary sockets.
#[derive(Debug)]
struct Loopback;

impl PortSet for Loopback {
    fn udp(&self, _: &UdpSpec) -> Result<std::net::UdpSocket, NetError> {
        Err(NetError::Unsupported("test".into()))
    }
    fn tcp(&self, spec: &TcpSpec) -> Result<std::net::TcpListener, NetError> {
        std::net::TcpListener::bind(spec.bind).map_err(|source| NetError::Io { what: "bind".into(), source })
    }
    fn packet(&self, _: &str, _: PacketUse) -> Result<Box<dyn PacketSocket>, NetError> {
        Err(NetError::Unsupported("test".into()))
    }
    fn hold_address(&self, _: &str, _: Ipv4Cidr) -> Result<Box<dyn AddressHold>, NetError> {
        Err(NetError::Unsupported("test".into()))
    }
}

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

async fn serve(folder: PathBuf, port: u16) -> (Service, Reports, Arc<Site>) {
    let (reporter, reports) = reports();
    let app = Arc::new(Site { folder, ..Site::default() });
    let binds = vec![(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port), None)];
    let config = Config { binds, ports: Arc::new(Loopback), app: app.clone(), reporter };
    (start(config).await.unwrap(), reports, app)
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
    let (service, mut events, site) = serve(dir.path().into(), 0).await;
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
    let (service, _events, _) = serve(dir.path().into(), 0).await;
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
    let (service, _events, _) = serve(dir.path().into(), 0).await;
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
    let (service, mut events, site) = serve(dir.path().into(), 0).await;
    let to = service.addresses()[0];
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(b"GET /hold HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!site.left.load(Ordering::Relaxed));
    drop(stream);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(site.left.load(Ordering::Relaxed), "the held request outlived its client");
    let mut held = TcpStream::connect(to).await.unwrap();
    held.write_all(b"GET /hold HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    tokio::time::timeout(STOP_WITHIN * 2, service.stop()).await.unwrap();
    let none = tokio::time::timeout(Duration::from_millis(50), events.next()).await;
    assert!(none.is_err(), "a request without an answer was told");
}

#[tokio::test]
async fn a_client_that_leaves_is_told_and_has_nothing_delivered() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("big"), vec![1; 64 << 20]).unwrap();
    let (service, mut events, site) = serve(dir.path().into(), 0).await;
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

/// For trying real clients by hand: `BOOTYARD_HTTP_DIR=/tmp/x cargo test … http::service::tests::by_hand -- --ignored`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "serves a folder on 127.0.0.1:8069 until it is killed"]
async fn by_hand() {
    let Some(dir) = std::env::var_os("BOOTYARD_HTTP_DIR") else { return };
    let (_service, mut events, _site) = serve(dir.into(), 8069).await;
    loop {
        for report in events.next().await {
            println!("{:?}", report.observation);
        }
    }
}
