use super::*;
use crate::trace::testing::{Ends, SERVER, Story, dhcp, dhcp_down, login, login_answer, pdu, tcp, udp};

fn contains(bytes: &[u8], what: &str) -> bool {
    find(bytes, what.as_bytes()).is_some()
}

/// All that is kept of a story.
fn kept(story: &Story) -> Vec<Kept> {
    let mut clipper = Clipper::new(Ports::default(), vec![SERVER.into()]);
    story.packets.iter().filter_map(|p| clipper.clip(&p.data, p.data.len())).collect()
}

fn all(kept: &[Kept]) -> Vec<u8> {
    kept.iter().flat_map(|k| k.data.clone()).collect()
}

#[test]
fn heads_of_http_are_kept_and_no_body_nor_token() {
    let mut story = Story::default();
    let head = "GET /answers/52-54-00-00-00-01/s3cr3t-t0ken/preseed.cfg HTTP/1.1\r\nHost: x\r\nAuthorization: Basic Zm9v\r\n\r\n";
    let body =
        format!("HTTP/1.1 200 OK\r\nContent-Length: 5020\r\n\r\nroot-password{}GET /hidden HTTP/1.1", "p".repeat(4987));
    story.exchange(50000, 80, head.as_bytes(), body.as_bytes());
    let kept = kept(&story);
    let bytes = all(&kept);
    assert!(contains(&bytes, "/answers/52-54-00-00-00-01/xxxxxxxxxxxx/preseed.cfg"));
    assert!(contains(&bytes, "200 OK") && contains(&bytes, "Content-Length: 5020"));
    for secret in ["s3cr3t", "Zm9v", "root-password", "pppp", "/hidden"] {
        assert!(!contains(&bytes, secret), "{secret} was kept");
    }
    let talk = kept.iter().filter(|k| !k.bulk).count();
    assert_eq!(talk, 6, "SYN, SYN ACK, two heads, two FINs");
}

#[test]
fn a_body_that_looks_like_a_head_after_a_gap_is_not_kept() {
    let (up, down) = (Ends::up(50000, 80), Ends::down(80, 50000));
    let mut clipper = Clipper::new(Ports::default(), vec![SERVER.into()]);
    let mut clip = |frame: &[u8]| clipper.clip(frame, frame.len()).unwrap().data;
    clip(&tcp(up, 999, 0, "S", &[]));
    clip(&tcp(down, 4999, 1000, "SA", &[]));
    clip(&tcp(up, 1000, 5000, "A", b"GET / HTTP/1.1\r\n\r\n"));
    // A segment is missing here.
    let bytes = clip(&tcp(down, 9000, 1018, "A", b"HTTP/1.1 200 OK\r\nX: s3cr3t\r\n\r\n"));
    assert_eq!(bytes.len(), 54);
    // A connection whose beginning was not heard.
    let bytes = clip(&tcp(Ends::down(80, 50001), 1, 1, "A", b"HTTP/1.1 200 OK\r\nX: s3cr3t\r\n\r\n"));
    assert_eq!(bytes.len(), 54);
}

#[test]
fn a_login_is_kept_without_its_chap_and_data_is_not() {
    let (up, down) = (Ends::up(50000, 3260), Ends::down(3260, 50000));
    let mut clipper = Clipper::new(Ports::default(), vec![SERVER.into()]);
    let mut clip = |frame: &[u8]| clipper.clip(frame, frame.len()).unwrap();
    clip(&tcp(up, 999, 0, "S", &[]));
    clip(&tcp(down, 4999, 1000, "SA", &[]));
    let asked = login(b"InitiatorName=iqn.a\0CHAP_N=user\0CHAP_R=0xfeedbeef\0");
    let first = clip(&tcp(up, 1000, 5000, "A", &asked));
    assert!(contains(&first.data, "InitiatorName=iqn.a") && !first.bulk);
    assert!(!contains(&first.data, "feedbeef") && !contains(&first.data, "user"));
    assert_eq!(first.data.len(), 54 + asked.len(), "lengths stay");
    let told = login_answer(0, b"CHAP_C=0xabad1dea\0TargetPortalGroupTag=1\0");
    let second = clip(&tcp(down, 5000, 1000, "A", &told));
    assert!(!contains(&second.data, "abad1dea") && contains(&second.data, "TargetPortalGroupTag=1"));
    // READ(10), then its data in two segments.
    let seq = 5000 + u32::try_from(told.len()).unwrap();
    let mut bhs = [0; 48];
    bhs[0] = 0x25;
    let data = pdu(bhs, &[0x5a; 3000]);
    let third = clip(&tcp(down, seq, 1000, "A", &data[..1448]));
    assert_eq!((third.data.len(), third.bulk), (54 + 48, true));
    let rest = clip(&tcp(down, seq + 1448, 1000, "A", &data[1448..]));
    assert_eq!((rest.data.len(), rest.bulk), (54, true));
    let seq = seq + u32::try_from(data.len()).unwrap();
    let after = clip(&tcp(down, seq, 1000, "A", &data[..100]));
    assert_eq!(after.data.len(), 54 + 48, "the next header is found behind the data");
    // After a gap a header is known by its look; a login is not looked for.
    let gap = clip(&tcp(down, seq + 50_000, 1000, "A", &login_answer(0, b"CHAP_C=0xabad1dea\0")));
    assert_eq!(gap.data.len(), 54);
    let gap = clip(&tcp(down, seq + 90_000, 1000, "A", &data[..100]));
    assert_eq!(gap.data.len(), 54 + 48);
}

/// A connection with a login in which both sides said this; what is kept of the segments after it.
fn after_login(asked: &[u8], told: &[u8], segments: &[&[u8]]) -> Vec<Kept> {
    let (up, down) = (Ends::up(50000, 3260), Ends::down(3260, 50000));
    let mut clipper = Clipper::new(Ports::default(), vec![SERVER.into()]);
    let mut clip = |frame: &[u8]| clipper.clip(frame, frame.len()).unwrap();
    clip(&tcp(up, 999, 0, "S", &[]));
    clip(&tcp(down, 4999, 1000, "SA", &[]));
    clip(&tcp(up, 1000, 5000, "A", &login(asked)));
    let told = login_answer(0, told);
    let mut seq = 5000;
    for part in told.chunks(1448) {
        clip(&tcp(down, seq, 1000, "A", part));
        seq += u32::try_from(part.len()).unwrap();
    }
    let mut kept = Vec::new();
    for segment in segments {
        kept.push(clip(&tcp(down, seq, 1000, "A", segment)));
        seq += u32::try_from(segment.len()).unwrap();
    }
    kept
}

/// Data-in with digests. Whoever does not expect them finds the header of a login eight bytes too early, in its last data.
fn data_with_digests() -> Vec<u8> {
    let mut bhs = [0; 48];
    bhs[0] = 0x25;
    let mut disk = b"s3cr3t-of-a-disk".to_vec();
    disk.resize(696, 0x5a);
    disk.extend([0x23, 0x87, 0, 0]);
    let mut sent = pdu(bhs, &disk);
    sent.splice(48..48, *b"CRC1");
    sent.extend(*b"CRC2");
    sent
}

#[test]
fn with_digests_a_disk_s_data_is_never_taken_for_a_login() {
    let agreed: &[u8] = b"HeaderDigest=CRC32C\0DataDigest=CRC32C\0TargetPortalGroupTag=1\0";
    let offered: &[u8] = b"HeaderDigest=CRC32C,None\0DataDigest=CRC32C,None\0InitiatorName=iqn.a\0";
    let data = data_with_digests();
    // Two at once: the second begins behind both digests of the first.
    let both = [&data[..], &data].concat();
    for kept in [after_login(offered, agreed, &[&both]), after_login(offered, agreed, &[&data, &data])] {
        assert!(!contains(&all(&kept), "s3cr3t") && !contains(&all(&kept), "CRC"));
        assert!(kept.iter().all(|k| k.data.len() == 54 + 48 && k.data[54] == 0x25), "each header is found");
    }
    // What was agreed on is not known: part of the login's text came in another segment.
    let long = [&[b'x'; 3000][..], b"=1\0", agreed].concat();
    for told in [&long[..], b"TargetPortalGroupTag=1\0"] {
        let kept = after_login(offered, told, &[&data, &data, &both]);
        assert!(!contains(&all(&kept), "s3cr3t"), "{kept:?}");
    }
}

#[test]
fn the_text_of_a_discovery_is_kept_and_that_of_no_other_session() {
    let mut bhs = [0; 48];
    bhs[0] = 0x24;
    let names = pdu(bhs, b"TargetName=iqn.2026-01.org.bootyard:lab\0");
    let kept = after_login(b"SessionType=Discovery\0", b"", &[&names]);
    assert!(contains(&all(&kept), "iqn.2026-01.org.bootyard:lab"));
    let kept = after_login(b"SessionType=Normal\0", b"", &[&names]);
    assert!(!contains(&all(&kept), "org.bootyard:lab"));
}

#[test]
fn of_tftp_no_data_and_of_other_datagrams_nothing() {
    let mut clipper = Clipper::new(Ports::default(), vec![SERVER.into()]);
    let mut clip = |frame: &[u8]| clipper.clip(frame, frame.len());
    let data = [&[0, 3, 0, 2][..], b"s3cr3t"].concat();
    assert_eq!(clip(&udp(Ends::down(40000, 2000), &data)), None, "nobody asked");
    let request = clip(&udp(Ends::up(2000, 69), b"\0\x01f\0octet\0")).unwrap();
    assert!(!request.bulk);
    let block = clip(&udp(Ends::down(40000, 2000), &data)).unwrap();
    assert_eq!((block.data.len(), block.bulk), (14 + 20 + 8 + 4, true));
    assert_eq!(clip(&udp(Ends::down(53, 5353), b"\0\x03ab")), None);
}

#[test]
fn passwords_for_ipxe_are_written_over_and_the_rest_of_dhcp_is_whole() {
    let packet = dhcp(2, 2, &[(175, b"\xbe\x04user\xbf\x06s3cr3t\xb0\x01\x01"), (17, b"iscsi:a::::iqn.b")]);
    let frame = dhcp_down(&packet);
    let kept = Clipper::new(Ports::default(), vec![SERVER.into()]).clip(&frame, frame.len()).unwrap().data;
    assert_eq!(kept.len(), frame.len());
    assert!(contains(&frame, "s3cr3t") && !contains(&kept, "s3cr3t"));
    assert!(contains(&kept, "user") && contains(&kept, "iscsi:a::::iqn.b"));
    assert_eq!(kept[40..42], [0, 0], "a wrong checksum is none");
}

/// What other servers of the network send is kept, too, in whichever form.
#[test]
fn a_password_is_written_over_wherever_a_dhcp_server_puts_it() {
    let clip =
        |frame: &[u8]| Clipper::new(Ports::default(), vec![SERVER.into()]).clip(frame, frame.len()).unwrap().data;
    for (number, value) in [
        (17, &b"iscsi:me:s3cr3t@10.0.0.1::::iqn.b"[..]),
        (67, b"http://me:s3cr3t@boot/x?a=b@c"),
        (210, b"tftp://me:s3cr3t@boot/"),
        (175, b"\0\xb0\x01\x01\0\0\xbf\x06s3cr3t\0"),
    ] {
        let frame = dhcp_down(&dhcp(2, 2, &[(number, value)]));
        let kept = clip(&frame);
        assert!(contains(&frame, "s3cr3t") && !contains(&kept, "s3cr3t"), "{number}");
        assert_eq!((kept.len(), &kept[40..42]), (frame.len(), &[0, 0][..]), "{number}");
    }
    // In the file's place: as its name, and as more options.
    let mut named = dhcp(2, 2, &[]);
    named.file = b"http://me:s3cr3t@boot/x".to_vec();
    let kept = clip(&dhcp_down(&named));
    assert!(!contains(&kept, "s3cr3t") && contains(&kept, "@boot/x"));
    let mut overloaded = dhcp_down(&dhcp(2, 2, &[(224, &[1])]));
    let at = overloaded.windows(3).position(|w| w == [224, 1, 1]).unwrap();
    overloaded[at] = 52;
    let file = 14 + 20 + 8 + 108;
    overloaded[file..file + 10].copy_from_slice(b"\xaf\x08\xbf\x06s3cr3t");
    assert!(contains(&overloaded, "s3cr3t") && !contains(&clip(&overloaded), "s3cr3t"));
    let plain = dhcp_down(&dhcp(2, 2, &[(67, b"http://boot/a@b")]));
    assert_eq!(clip(&plain), plain);
}

#[test]
fn a_healthy_boot_is_kept_with_every_word_of_it() {
    let story = Story::healthy();
    let kept = kept(&story);
    assert_eq!(kept.len(), story.packets.len());
    let bytes = all(&kept);
    for word in ["PXEClient", "snponly.efi", "GET /media/debian/linux", "InitiatorName=iqn.2010-04.org.ipxe:bench"] {
        assert!(contains(&bytes, word), "{word}");
    }
    let (before, after) = (story.packets.iter().map(|p| p.data.len()).sum::<usize>(), bytes.len());
    assert!(after < before - 7000, "{after} of {before} bytes");
}

#[test]
fn of_connections_that_are_only_routed_no_payload_is_kept() {
    let mut clipper = Clipper::new(Ports::default(), vec![SERVER.into()]);
    let mut clip = |frame: &[u8]| clipper.clip(frame, frame.len()).unwrap();
    let mut elsewhere = Ends::up(50000, 80);
    elsewhere.ip.1 = [192, 0, 2, 7].into();
    // Nor of what this computer asks of somebody else's server.
    let mut asked = elsewhere;
    asked.ip.0 = SERVER;
    for ends in [elsewhere, asked] {
        for frame in [
            tcp(ends, 999, 0, "S", &[]),
            tcp(ends.back(), 4999, 1000, "SA", &[]),
            tcp(ends, 1000, 5000, "A", b"GET /s3cr3t HTTP/1.1\r\n\r\n"),
            tcp(ends.back(), 5000, 1023, "A", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        ] {
            let kept = clip(&frame);
            assert_eq!((kept.data.len(), kept.bulk), (54, true));
        }
    }
}
