//! Initiators as they are: what each of them really sends, in the order in which it sends it, and what it needs to get.
//!
//! iPXE and Linux run against the target in the whole-program tests, too; Windows cannot be run there, so that its exchange as it is
//! documented stands here alone.

use super::*;

/// Windows' initiator: full login with both stages, discovery of LUNs, then the pages that its disk class driver asks for.
const WINDOWS_ISID: [u8; 6] = [0x40, 0x00, 0x01, 0x37, 0, 0];

impl Bench {
    /// A command that reads; its data.
    fn data(&mut self, cdb: &[u8], expected: u32) -> Vec<u8> {
        let mut whole = [0; 16];
        whole[..cdb.len()].copy_from_slice(cdb);
        self.start(whole, false, expected, true, &[]);
        let got = self.take();
        let status = got.iter().rev().find_map(|(r, _)| match r {
            Response::DataIn { status, .. } => *status,
            Response::Scsi { status, .. } => Some(*status),
            _ => None,
        });
        assert_eq!(status, Some(0), "{cdb:02x?}");
        got.into_iter().filter(|(r, _)| matches!(r, Response::DataIn { .. })).flat_map(|(_, data)| data).collect()
    }

    fn vpd(&mut self, page: u8) -> Vec<u8> {
        let data = self.data(&[0x12, 1, page, 0, 0xff, 0], 255);
        assert_eq!(data[1], page);
        assert_eq!(usize::from(u16::from_be_bytes([data[2], data[3]])), data.len() - 4, "page {page:02x} is whole");
        data
    }
}

/// Designators of VPD 0x83: association, type, value.
fn designators(page: &[u8]) -> Vec<(u8, u8, Vec<u8>)> {
    let mut rest = &page[4..];
    let mut found = Vec::new();
    while rest.len() >= 4 {
        let len = usize::from(rest[3]);
        found.push((rest[1] >> 4 & 3, rest[1] & 0x0f, rest[4..4 + len].to_vec()));
        rest = &rest[4 + len..];
    }
    assert!(rest.is_empty());
    found
}

fn windows(serial: &str) -> Bench {
    let mut b = bench();
    b.unit = Unit::new(
        Identity {
            target: "iqn.t".into(),
            serial: serial.into(),
            removable: false,
            readonly: false,
            medium: None,
            atomic: 0,
        },
        SIZE as u64,
    );
    b.isid = WINDOWS_ISID;
    let (status, transit, _) = b.login(
        0,
        Some(1),
        "InitiatorName=iqn.1991-05.com.microsoft:pc-03 TargetName=iqn.t SessionType=Normal InitiatorAlias=pc-03 \
         AuthMethod=None",
    );
    assert_eq!((status, transit), (0, true));
    let (status, transit, keys) = b.login(
        1,
        Some(3),
        "HeaderDigest=None,CRC32C DataDigest=None,CRC32C ErrorRecoveryLevel=2 InitialR2T=No ImmediateData=Yes \
         MaxRecvDataSegmentLength=262144 MaxBurstLength=262144 FirstBurstLength=65536 MaxConnections=1 \
         DataPDUInOrder=Yes DataSequenceInOrder=Yes DefaultTime2Wait=0 DefaultTime2Retain=60 MaxOutstandingR2T=16",
    );
    assert_eq!((status, transit), (0, true));
    assert_eq!(value(&keys, "ErrorRecoveryLevel").as_deref(), Some("0"));
    assert_eq!(value(&keys, "HeaderDigest").as_deref(), Some("None"));
    assert!(!b.login.as_ref().is_some_and(|l| l.firmware), "an operating system");
    b
}

#[test]
fn windows_finds_one_disk_that_it_can_tell_from_every_other() {
    let mut identities = Vec::new();
    for serial in ["3f2a", "3f2b", "3f2a"] {
        let mut b = windows(serial);
        // It asks for LUNs before it has seen the power-on attention; INQUIRY and REPORT LUNS must not be stopped by it.
        let luns = b.data(&[0xa0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0x08, 0, 0], 0x1008);
        assert_eq!(luns, [&[0, 0, 0, 8, 0, 0, 0, 0][..], &[0; 8]].concat());
        let inquiry = b.data(&[0x12, 0, 0, 0, 0x24, 0], 36);
        assert_eq!((inquiry[0], inquiry.len()), (0, 36), "a disk, and as much as it asked for");
        assert!(inquiry[2] >= 5, "SPC-3 or later, or it asks for no pages");
        assert!(inquiry[8..16].iter().all(|c| c.is_ascii_graphic()), "without a vendor Linux drops the disk");
        let pages = b.vpd(0x00)[4..].to_vec();
        for page in [0x80, 0x83, 0xb0, 0xb1, 0xb2] {
            assert!(pages.contains(&page), "page {page:02x}");
        }
        let serial_page = b.vpd(0x80)[4..].to_vec();
        assert!(!serial_page.is_empty());
        let names = designators(&b.vpd(0x83));
        let unit: Vec<_> = names.iter().filter(|(association, ..)| *association == 0).collect();
        // Types 3 (NAA), 2 (EUI-64) or 8 (SCSI name) are those that clusters and the boot disk check accept.
        assert!(unit.iter().any(|(_, kind, value)| matches!(kind, 2 | 3 | 8) && !value.is_empty()), "{names:?}");
        identities.push((serial_page, unit.into_iter().cloned().collect::<Vec<_>>()));

        // Then the first command proper learns of the power-on, and it goes on.
        let (status, sense) = b.command([0; 16], false, 0, &[]);
        assert_eq!((status, sense), (2, Some((6, 0x2900))));
        let mut capacity16 = [0_u8; 16];
        (capacity16[0], capacity16[1], capacity16[13]) = (0x9e, 0x10, 32);
        let capacity = b.data(&capacity16, 32);
        assert_eq!(u64::from_be_bytes(capacity[..8].try_into().unwrap()) + 1, SIZE as u64 / 512);
        assert_ne!(capacity[14] & 0x80, 0, "thin, as page B2 says: Windows trims only then");
        let thin = b.vpd(0xb2);
        assert_ne!(thin[5] & 0x80, 0, "UNMAP");
        assert_eq!(thin[6] & 7, 2, "thin provisioned");
        let limits = b.vpd(0xb0);
        let long = |at: usize| u32::from_be_bytes(limits[at..at + 4].try_into().unwrap());
        assert!(long(20) > 0 && long(24) > 0, "UNMAP takes blocks and descriptors");
        assert_eq!(limits.len(), 64);
        assert_eq!(u16::from_be_bytes(b.vpd(0xb1)[4..6].try_into().unwrap()), 1, "no rotation: no defragmentation");
        let caching = b.data(&[0x1a, 0, 0x08, 0, 0xc0, 0], 192);
        assert_ne!(caching[4 + usize::from(caching[3]) + 2] & 0x04, 0, "a write cache, which it flushes");
        let all = b.data(&[0x1a, 0, 0x3f, 0, 0xc0, 0], 192);
        assert_eq!(usize::from(all[0]) + 1, all.len());
    }
    assert_eq!(identities[0], identities[2], "the same disk after a reboot");
    assert_ne!(identities[0].0, identities[1].0, "two identical serial numbers stop Windows");
    assert_ne!(identities[0].1, identities[1].1);
}

/// Windows' own path: log in, ask a LUN that is not there, as its bus scan does.
#[test]
fn a_scan_of_absent_units_gets_answers() {
    let mut b = windows("3f2a");
    for lun in 1..4 {
        let itt = b.itt();
        let mut cdb = [0; 16];
        (cdb[0], cdb[4]) = (0x12, 36);
        let command = ScsiCommand {
            immediate: false,
            last: true,
            read: true,
            write: false,
            attribute: 1,
            lun: [0, lun, 0, 0, 0, 0, 0, 0],
            itt,
            expected: 36,
            cmd_sn: b.cmd_sn,
            exp_stat_sn: 0,
            cdb,
        };
        b.cmd_sn += 1;
        b.send(&Pdu::Command(command), &[]);
        let (_, data) = b.take().pop().unwrap();
        assert_eq!(data[0], 0x7f, "no device there");
    }
}

/// iPXE: T set in every login PDU, one command at a time, data in pieces of 8 KiB, data out in pieces of 512 bytes.
#[test]
fn ipxe_boots_with_the_little_that_it_can() {
    let mut b = bench();
    b.isid = IPXE_ISID;
    b.chap = Some(chap(None));
    let names = "InitiatorName=iqn.2010-04.org.ipxe:laptop TargetName=iqn.t SessionType=Normal";
    let (status, transit, keys) = b.login(0, Some(1), &format!("{names} AuthMethod=CHAP,None"));
    assert_eq!((status, transit), (0, false), "T is set too early, and that is no error");
    assert_eq!(value(&keys, "AuthMethod").as_deref(), Some("CHAP"));
    let (_, _, keys) = b.login(0, Some(1), "CHAP_A=5");
    let id: u8 = value(&keys, "CHAP_I").unwrap().parse().unwrap();
    let challenge = text::binary(&value(&keys, "CHAP_C").unwrap()).unwrap();
    let response = super::super::chap::Algorithm::Md5.respond(id, b"topsecret123", &challenge);
    let (status, transit, _) = b.login(0, Some(1), &format!("CHAP_N=u CHAP_R={}", text::hex(&response)));
    assert_eq!((status, transit), (0, true));
    let (status, transit, keys) = b.login(
        1,
        Some(3),
        "HeaderDigest=None DataDigest=None MaxConnections=1 InitialR2T=Yes ImmediateData=No \
         MaxRecvDataSegmentLength=8192 MaxBurstLength=262144 FirstBurstLength=65536 DefaultTime2Wait=0 \
         DefaultTime2Retain=0 MaxOutstandingR2T=1 DataPDUInOrder=Yes DataSequenceInOrder=Yes ErrorRecoveryLevel=0",
    );
    assert_eq!((status, transit), (0, true));
    for (key, value) in &keys {
        assert_ne!(value, "Reject", "{key}: iPXE gives up at any Reject");
        assert_ne!(key, "TargetAddress", "iPXE takes it for a redirection");
    }
    // Its first TEST UNIT READY absorbs the power-on attention.
    assert_eq!(b.command([0; 16], false, 0, &[]).1, Some((6, 0x2900)));
    assert_eq!(b.command([0; 16], false, 0, &[]).0, 0);
    assert_eq!(b.data(&[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0], 8).len(), 8);

    // 127 sectors: one R2T, 127 Data-Outs.
    let sectors = 127_u32;
    let content: Vec<u8> = (0..sectors * 512).map(|n| (n / 512) as u8).collect();
    let itt = b.start(write10(3, sectors as u16), true, sectors * 512, true, &[]);
    let (ttt, len) = match b.take().as_slice() {
        [(Response::R2t { ttt, offset: 0, len, .. }, _)] => (*ttt, *len),
        other => panic!("{other:?}"),
    };
    assert_eq!(len, sectors * 512, "one R2T for all");
    for n in 0..sectors {
        let piece = &content[n as usize * 512..][..512];
        b.data_out(itt, ttt, n, n * 512, n + 1 == sectors, piece);
    }
    assert_eq!(b.status().0, 0);
    b.start(read10(3, sectors as u16), false, sectors * 512, true, &[]);
    let got = b.take();
    assert!(got.iter().all(|(_, data)| data.len() <= 8192));
    assert_eq!(got.iter().flat_map(|(_, data)| data.clone()).collect::<Vec<_>>(), content);
    // It sends nothing while it waits for a key press, and nobody may take that for an end.
    let mut later = b.now;
    for _ in 0..20 {
        later += Duration::from_secs(30);
        b.now = later;
        b.input(Input::Tick);
    }
    assert!(b.take().is_empty(), "no NOP-In, no Async: iPXE ends the connection at some, and answers none");
    assert!(!b.closed);
}

/// Linux opens a session in the firmware, one in the initramfs from the iBFT, and connects again whenever a connection broke.
#[test]
fn linux_pings_and_numbers_its_data() {
    let mut b = bench();
    b.isid = [0x00, 0x02, 0x3d, 0x00, 0x00, 0x00];
    let (status, transit, keys) = b.login(
        1,
        Some(3),
        "InitiatorName=iqn.1993-08.org.debian:01:ab TargetName=iqn.t SessionType=Normal HeaderDigest=None \
         DataDigest=None DefaultTime2Wait=2 DefaultTime2Retain=0 IFMarker=No OFMarker=No ErrorRecoveryLevel=0 \
         InitialR2T=No ImmediateData=Yes MaxBurstLength=16776192 FirstBurstLength=262144 MaxOutstandingR2T=1 \
         MaxConnections=1 DataPDUInOrder=Yes DataSequenceInOrder=Yes MaxRecvDataSegmentLength=262144",
    );
    assert_eq!((status, transit), (0, true));
    for marker in ["IFMarker", "OFMarker"] {
        assert!(matches!(value(&keys, marker).as_deref(), Some("No" | "NotUnderstood" | "Reject")), "{keys:?}");
    }
    assert_eq!(b.command([0; 16], false, 0, &[]).1, Some((6, 0x2900)));
    // The kernel's ping, which must come back whatever else goes on.
    let ping = NopOut { immediate: true, lun: [0; 8], itt: 77, ttt: NO_TAG, cmd_sn: b.cmd_sn, exp_stat_sn: 0 };
    b.send(&Pdu::NopOut(ping), b"ping");
    let got = b.take();
    assert!(matches!(got.as_slice(), [(Response::NopIn { itt: 77, .. }, data)] if data == b"ping"), "{got:?}");
}

/// RFC 7143 11.13.5, and as iPXE reads it: address and port, nothing else.
#[test]
fn a_disk_that_has_moved_sends_its_initiators_on() {
    let mut b = bench();
    b.refuse = Some(0x0101);
    b.redirect = Some("192.0.2.7:3261".parse().unwrap());
    let (status, _, keys) = b.login(0, Some(1), &format!("{NAMES} AuthMethod=None"));
    assert_eq!(status, 0x0101);
    assert_eq!(keys, [("TargetAddress".to_owned(), "192.0.2.7:3261".to_owned())]);
    assert!(b.closed);
    assert!(matches!(b.events[..], [EventKind::IscsiRedirected { .. }]), "no failure");
}

/// A name that could be read as a number in hexadecimal or base64 is a name all the same.
#[test]
fn chap_names_that_look_like_numbers_are_names() {
    for user in ["u", "0xu", "0bu", "0x75"] {
        for (given, right) in [(user, true), ("75", false), ("u0x", false)] {
            let mut b = bench();
            b.chap = Some(Chap { user: user.into(), secret: Secret::new("topsecret123".into()), mutual: None });
            b.login(0, Some(1), &format!("{NAMES} AuthMethod=CHAP"));
            let (_, _, keys) = b.login(0, None, "CHAP_A=5");
            let challenge = text::binary(&value(&keys, "CHAP_C").unwrap()).unwrap();
            let id: u8 = value(&keys, "CHAP_I").unwrap().parse().unwrap();
            let response = super::super::chap::Algorithm::Md5.respond(id, b"topsecret123", &challenge);
            let (status, ..) = b.login(0, Some(1), &format!("CHAP_N={given} CHAP_R={}", text::hex(&response)));
            assert_eq!(status == 0, right, "{user}, given {given}");
        }
    }
}

/// A copy list with one target, this unit by its NAA name, and one segment.
fn copy_list(b: &mut Bench, blocks: u16, from: u64, to: u64) -> Vec<u8> {
    let naa = designators(&b.vpd(0x83)).into_iter().find(|(a, kind, _)| (*a, *kind) == (0, 3)).unwrap().2;
    let mut list = vec![0; 16 + 32 + 28];
    (list[0], list[3], list[11]) = (7, 32, 28);
    (list[16], list[20], list[21], list[23]) = (0xe4, 1, 3, naa.len() as u8);
    list[24..24 + naa.len()].copy_from_slice(&naa);
    list[46] = 2;
    (list[48], list[51]) = (0x02, 24);
    list[58..60].copy_from_slice(&blocks.to_be_bytes());
    list[60..68].copy_from_slice(&from.to_be_bytes());
    list[68..76].copy_from_slice(&to.to_be_bytes());
    list
}

fn copy(b: &mut Bench, list: &[u8]) -> (u8, Option<(u8, u16)>) {
    let mut cdb = [0; 16];
    cdb[0] = 0x83;
    cdb[10..14].copy_from_slice(&(list.len() as u32).to_be_bytes());
    b.command(cdb, true, list.len() as u32, list)
}

#[test]
fn blocks_are_copied_by_the_target_itself_and_only_within_this_unit() {
    let mut b = windows("3f2a");
    assert_eq!(b.command([0; 16], false, 0, &[]).1, Some((6, 0x2900)));
    let content: Vec<u8> = (0..100 * 512).map(|n| (n / 512 + 1) as u8).collect();
    b.disk.data.lock().unwrap()[..content.len()].copy_from_slice(&content);
    // Overlapping, forwards and backwards, as if all were read first.
    let list = copy_list(&mut b, 100, 0, 60);
    assert_eq!(copy(&mut b, &list).0, 0);
    assert!(b.disk.data.lock().unwrap()[60 * 512..160 * 512] == content);
    let list = copy_list(&mut b, 100, 60, 10);
    assert_eq!(copy(&mut b, &list).0, 0);
    assert!(b.disk.data.lock().unwrap()[10 * 512..110 * 512] == content);
    // What became of the list is told once.
    let status = b.data(&[0x84, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 64], 64);
    assert_eq!(status, [0, 0, 0, 8, 1, 0, 1, 0xf1, 0, 0, 0, 100]);
    let mut again = [0; 16];
    (again[0], again[2], again[13]) = (0x84, 7, 64);
    assert_eq!(b.command(again, false, 64, &[]).1, Some((5, 0x2400)));
    // Another unit's name, a place past the end, a target that is not in the list: nothing is copied.
    let before = b.disk.data.lock().unwrap().clone();
    let mut foreign = copy_list(&mut b, 1, 0, 500);
    foreign[25] ^= 1;
    assert_eq!(copy(&mut b, &foreign).1, Some((0xa, 0x0d02)));
    let list = copy_list(&mut b, 2, 0, SIZE as u64 / 512 - 1);
    assert_eq!(copy(&mut b, &list).1, Some((0xa, 0x0000)));
    let mut nowhere = copy_list(&mut b, 1, 0, 500);
    nowhere[55] = 1;
    assert_eq!(copy(&mut b, &nowhere).1, Some((0xa, 0x0804)));
    assert!(*b.disk.data.lock().unwrap() == before);
    assert_eq!(b.command(again, false, 64, &[]).1, Some((5, 0x2400)), "of what failed nothing is remembered");
}

#[test]
fn a_disk_that_grew_tells_every_session_once() {
    let mut b = windows("3f2a");
    assert_eq!(b.command([0; 16], false, 0, &[]).1, Some((6, 0x2900)));
    b.unit.resized(2 * SIZE as u64);
    b.unit.resized(2 * SIZE as u64);
    assert_eq!(b.command([0; 16], false, 0, &[]).1, Some((6, 0x2a09)));
    assert_eq!(b.command([0; 16], false, 0, &[]).0, 0);
    let capacity = b.data(&[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0], 8);
    assert_eq!(u32::from_be_bytes(capacity[..4].try_into().unwrap()) + 1, 2 * SIZE as u32 / 512);
}

#[test]
fn there_is_one_port_group_and_it_is_active() {
    let mut b = windows("3f2a");
    assert_eq!(b.command([0; 16], false, 0, &[]).1, Some((6, 0x2900)));
    let groups = b.data(&[0xa3, 0x0a, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0], 64);
    assert_eq!(groups, [0, 0, 0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1]);
    let extended = b.data(&[0xa3, 0x2a, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0], 64);
    assert_eq!((extended[3], extended[4], extended.len()), (16, 0x10, 20));
}
