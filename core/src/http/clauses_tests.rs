//! What firmware and RFC 9110 ask of the server, clause by clause, on either wire.

use super::*;

/// Answers on one connection, each with its head in lower case and its body as long as the head says.
struct Asker(TcpStream);

impl Asker {
    async fn to(server: SocketAddr) -> Self {
        Self(TcpStream::connect(server).await.unwrap())
    }

    async fn ask(&mut self, method: &str, path: &str, fields: &str) -> (String, Vec<u8>) {
        let request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
        self.0.write_all(request.as_bytes()).await.unwrap();
        self.answer(method == "HEAD").await
    }

    async fn answer(&mut self, bodiless: bool) -> (String, Vec<u8>) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.0.read_u8().await.expect("the connection ended"));
        }
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        let length = field(&head, "content-length").map_or(0, |n| n.parse().unwrap());
        let mut body = vec![0; if bodiless { 0 } else { length }];
        self.0.read_exact(&mut body).await.unwrap();
        (head, body)
    }
}

/// The value of a field, which comes once at most.
fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut values = head.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let value = values.next();
    assert_eq!(values.next(), None, "{name} twice in {head}");
    value
}

fn etag(answer: &str) -> String {
    field(answer, "etag").unwrap().to_owned()
}

#[tokio::test]
async fn firmware_gets_what_it_asks_for_on_one_connection() {
    let dir = tempfile::tempdir().unwrap();
    let content: Vec<u8> = (0..200_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    for name in ["bootx64.efi", "disc.iso", "disk.img"] {
        std::fs::write(dir.path().join(name), &content).unwrap();
    }
    let (service, _events, _) = serve(dir.path()).await;
    let mut edk2 = Asker::to(service.addresses()[0]).await;
    let agent = "Accept: */*\r\nUser-Agent: UefiHttpBoot/1.0\r\n";
    for (path, kind) in [
        ("/bootx64.efi", "application/efi"),
        ("//bootx64.efi", "application/efi"),
        ("/disc.iso", "application/vnd.efi-iso"),
        ("/disk.img", "application/vnd.efi-img"),
    ] {
        let (head, _) = edk2.ask("HEAD", path, agent).await;
        assert!(head.starts_with("http/1.1 200 ok\r\n"), "no redirect, whatever the path: {head}");
        assert_eq!(field(&head, "content-type"), Some(kind), "and nothing after it");
        assert_eq!(field(&head, "content-length"), Some("200000"));
        let (got, body) = edk2.ask("GET", path, agent).await;
        assert!(body == content && field(&got, "content-length") == field(&head, "content-length"));
        for name in ["transfer-encoding", "connection", "location"] {
            assert_eq!((field(&head, name), field(&got, name)), (None, None), "{name}");
        }
        assert!(got.lines().skip(1).all(|line| !line.trim_end().ends_with(':')), "an empty field: {got}");
        assert!(field(&got, "date").is_some_and(|date| date.ends_with(" gmt")));
        assert!(etag(&got).starts_with('"') && etag(&got) == etag(&head), "strong");
    }
    service.stop().await;
}

#[tokio::test]
async fn a_transfer_is_resumed_only_in_the_version_that_it_began_with() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f.efi");
    let content: Vec<u8> = (0..100_000_u32).map(|n| n.to_le_bytes()[1]).collect();
    std::fs::write(&path, &content).unwrap();
    let (service, _events, _) = serve(dir.path()).await;
    let mut client = Asker::to(service.addresses()[0]).await;
    let (head, _) = client.ask("HEAD", "/f.efi", "").await;
    let (old, stamp) = (etag(&head), field(&head, "last-modified").unwrap().to_owned());
    for valid in [format!("If-Match: {old}"), format!("If-Unmodified-Since: {stamp}"), format!("If-Range: {old}")] {
        let (head, body) = client.ask("GET", "/f.efi", &format!("Range: bytes=60000-99999\r\n{valid}\r\n")).await;
        assert!(head.starts_with("http/1.1 206"), "{valid}: {head}");
        assert_eq!(field(&head, "content-range"), Some("bytes 60000-99999/100000"));
        assert!(body == content[60_000..]);
    }
    let (head, body) = client.ask("GET", "/f.efi", &format!("If-None-Match: {old}\r\n")).await;
    assert!(head.starts_with("http/1.1 304") && body.is_empty() && etag(&head) == old, "{head}");
    assert_eq!(field(&head, "content-length"), None);

    std::fs::write(&path, vec![7; 100_000]).unwrap();
    File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_modified(std::time::UNIX_EPOCH + Duration::from_secs(2_000_000_000))
        .unwrap();
    for gone in [format!("If-Match: {old}"), format!("If-Unmodified-Since: {stamp}")] {
        let (head, _) = client.ask("GET", "/f.efi", &format!("Range: bytes=60000-99999\r\n{gone}\r\n")).await;
        assert!(head.starts_with("http/1.1 412"), "{gone}: {head}");
    }
    let (head, body) = client.ask("GET", "/f.efi", &format!("Range: bytes=60000-99999\r\nIf-Range: {old}\r\n")).await;
    assert!(head.starts_with("http/1.1 200") && body == vec![7; 100_000] && etag(&head) != old, "{head}");
    service.stop().await;
}

#[tokio::test]
async fn several_ranges_are_answered_with_one_piece_or_all() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("f"), b"0123456789").unwrap();
    let (service, _events, _) = serve(dir.path()).await;
    let mut client = Asker::to(service.addresses()[0]).await;
    for (range, status, part, expected) in [
        ("0-1,2-3", "206", Some("bytes 0-3/10"), "0123"),
        ("20-,-2", "206", Some("bytes 8-9/10"), "89"),
        ("0-1,8-9", "200", None, "0123456789"),
        ("x", "200", None, "0123456789"),
        ("20-,30-", "416", Some("bytes */10"), "the range is behind the file's end\n"),
    ] {
        let (head, body) = client.ask("GET", "/f", &format!("Range: bytes={range}\r\n")).await;
        assert_eq!((status_of(&head), field(&head, "content-range")), (status, part), "{range}");
        assert_eq!(String::from_utf8(body).unwrap(), expected, "{range}");
    }
    service.stop().await;
}

fn status_of(head: &str) -> &str {
    head.get(9..12).unwrap_or_default()
}

#[tokio::test]
async fn a_connection_ends_in_order_after_its_last_request() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("f"), vec![5; 100_000]).unwrap();
    let (service, _events, _) = serve_within(dir.path(), Limits { requests: 3, ..limits() }).await;
    let mut client = Asker::to(service.addresses()[0]).await;
    for n in 1..=3 {
        let (head, body) = client.ask("GET", "/f", "").await;
        assert_eq!(body.len(), 100_000);
        assert_eq!(field(&head, "connection"), (n == 3).then_some("close"), "answer {n}");
    }
    assert_eq!(ended(&mut client.0).await, "");
    // What was sent behind the last request does not take its answer away.
    let all = "GET /f HTTP/1.1\r\nHost: x\r\n\r\n".repeat(200);
    let answers = talk(service.addresses()[0], &all).await;
    assert_eq!((answers.matches("HTTP/1.1 200").count(), answers.matches('\u{5}').count()), (3, 300_000));
    service.stop().await;
}

#[tokio::test]
async fn what_is_not_plain_is_answered_between_what_is() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("f"), b"file").unwrap();
    let (service, _events, _) = serve(dir.path()).await;
    let to = service.addresses()[0];
    let get = "GET /f HTTP/1.1\r\nHost: x\r\n\r\n";
    let post = "POST /post HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n";
    let body = "GET /f HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nxyz";
    let last = "GET /f HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answers = talk(to, &format!("{get}{get}{post}{body}{last}")).await;
    let bodies: Vec<&str> = answers.split("\r\n\r\n").skip(1).map(|part| part.get(..4).unwrap_or_default()).collect();
    assert_eq!(bodies, ["file", "file", "body", "file", "file"], "{answers}");

    let old = talk(to, "GET /f HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /f HTTP/1.0\r\n\r\n").await;
    assert_eq!(old.matches("200 OK").count(), 2, "{old}");
    // Not to its end: what is left unread may take the answer with it.
    let long = format!("GET /f HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "a".repeat(256 * 1024));
    assert!(["431", ""].contains(&status(&talk(to, &long).await)));
    let many = format!("GET /f HTTP/1.1\r\nHost: x\r\n{}\r\n", "X: a\r\n".repeat(200));
    assert_eq!(status(&talk(to, &many).await), "431");
    service.stop().await;
}

#[tokio::test]
async fn a_client_that_takes_little_is_served_to_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let size = 6 << 20;
    File::create(dir.path().join("big")).unwrap().set_len(size).unwrap();
    let limits = Limits { stalled: Duration::from_millis(300), ..limits() };
    let (service, _events, site) = serve_within(dir.path(), limits).await;
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    let mut stream = socket.connect(service.addresses()[0]).await.unwrap();
    stream.write_all(b"GET /big HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let (mut buf, mut got) = (vec![0; 32 * 1024], 0);
    loop {
        match stream.read(&mut buf).await.unwrap() {
            0 => break,
            len => got += len as u64,
        }
        tokio::time::sleep(Duration::from_millis(4)).await;
    }
    assert!(got > size, "{got}");
    assert_eq!(*site.delivered.lock().unwrap(), ["/big"]);
    service.stop().await;
}

#[tokio::test]
async fn a_file_that_is_written_while_it_is_sent_is_cut_off_and_one_that_is_replaced_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let (path, size) = (dir.path().join("big"), 64 << 20);
    let old = vec![1; 4096];
    let mut file = File::create(&path).unwrap();
    for _ in 0..size / old.len() {
        std::io::Write::write_all(&mut file, &old).unwrap();
    }
    let (service, mut events, site) = serve(dir.path()).await;
    let mut kinds = Vec::new();
    for replaced in [true, false] {
        let mut stream = TcpStream::connect(service.addresses()[0]).await.unwrap();
        stream.write_all(b"GET /big HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut begin = vec![0; 100_000];
        stream.read_exact(&mut begin).await.unwrap();
        if replaced {
            // As it is done well: the old one goes on under no name.
            std::fs::copy(&path, dir.path().join("new")).unwrap();
            std::fs::rename(dir.path().join("new"), &path).unwrap();
        } else {
            let file = File::options().write(true).open(&path).unwrap();
            std::os::unix::fs::FileExt::write_all_at(&file, &[2; 4096], size as u64 - 4096).unwrap();
        }
        let mut rest = Vec::new();
        let whole = stream.read_to_end(&mut rest).await.is_ok();
        let body = begin.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
        let got = begin.len() - body + rest.len();
        assert_eq!(got == size, replaced, "{got} bytes of a file that was {replaced:?} replaced");
        assert!(!replaced || (whole && rest.iter().all(|byte| *byte == 1)));
        let end = if replaced { "http-done" } else { "http-aborted" };
        while !kinds.contains(&end.to_owned()) {
            kinds.extend(events.next().await.iter().map(|r| r.observation.kind.name()));
        }
    }
    assert_eq!(site.delivered.lock().unwrap().len(), 1);
    service.stop().await;
}

#[tokio::test]
async fn what_is_on_the_disk_alone_comes_as_what_is_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let content: Vec<u8> = (0..2_500_000_u32).flat_map(u32::to_le_bytes).collect();
    let path = dir.path().join("cold.img");
    std::fs::write(&path, &content).unwrap();
    let (service, _events, _) = serve(dir.path()).await;
    let mut client = Asker::to(service.addresses()[0]).await;
    for (range, expected) in
        [("0-", &content[..]), ("1234567-9000000", &content[1_234_567..=9_000_000]), ("5-9", &content[5..10])]
    {
        let file = File::open(&path).unwrap();
        file.sync_all().unwrap();
        // Where there is a disk, the file is on it alone now.
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
        let (_, body) = client.ask("GET", "/cold.img", &format!("Range: bytes={range}\r\n")).await;
        assert!(body == expected, "{range}");
    }
    service.stop().await;
}
