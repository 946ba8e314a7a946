//! Commands, data, task management and the end of a session.

use proptest::prelude::*;

use super::*;

#[test]
fn a_write_that_comes_after_its_abort_does_not_reach_the_disk() {
    use crate::iscsi::scsi::Job;
    let mut b = bench();
    let (one, other) = (b.unit.attach("one".into()), b.unit.attach("other".into()));
    let write = |nexus: &crate::iscsi::scsi::Nexus| {
        nexus.task(Job::Write { offset: 0, durable: false, verify: false }, nexus.epoch())
    };
    // Both are on their way to the disk when one of them resets the unit; only what follows is written.
    let (before, theirs) = (write(&one), write(&other));
    other.reset(crate::iscsi::scsi::Sense::RESET);
    for task in [&before, &theirs] {
        assert_eq!(execute(task, &[1; 512], &b.unit, &b.disk, &mut b.buffers), Done::Aborted);
    }
    assert!(b.disk.data.lock().unwrap()[..512].iter().all(|&byte| byte == 0));
    assert_eq!(execute(&write(&one), &[2; 512], &b.unit, &b.disk, &mut b.buffers), Done::Good);
}

#[test]
fn part_of_a_block_is_refused_not_torn_or_lost() {
    let mut b = bench();
    b.session("");
    b.start(write10(0, 1), true, 200, true, &[1; 200]);
    let Some((Response::Scsi { status, residual, .. }, sense)) = b.take().pop() else { panic!("no status") };
    assert_eq!((status, residual), (2, Residual::Over(312)));
    assert_eq!((sense[4], &sense[14..16]), (5, &[0x0e, 0x03][..]));
    // Whole blocks of a longer write are written.
    assert_eq!(b.command(write10(0, 2), true, 512, &[1; 512]).0, 0);
    assert_eq!(b.disk.data.lock().unwrap()[..1024], [[1; 512], [0; 512]].concat());
}

#[test]
fn a_cold_reset_is_answered_and_then_ends_the_session() {
    let mut b = bench();
    b.session("");
    let request = TaskManagement {
        immediate: true,
        function: 7,
        lun: [0; 8],
        itt: 5000,
        referenced: 0,
        cmd_sn: b.cmd_sn,
        exp_stat_sn: 0,
        ref_cmd_sn: 0,
        exp_data_sn: 0,
    };
    b.send(&Pdu::TaskManagement(request), &[]);
    assert!(matches!(b.take()[..], [(Response::TaskManagement { response: 0, itt: 5000, .. }, _)]));
    assert!(b.closed && b.ended_others);
    assert!(matches!(b.events.last(), Some(EventKind::IscsiEnded { .. })));
}

#[test]
fn reads_come_in_segments_with_the_status_in_the_last() {
    let mut b = bench();
    b.session("MaxRecvDataSegmentLength=1024 MaxBurstLength=2048");
    let pattern: Vec<u8> = (0..4096).map(|n| (n % 251) as u8).collect();
    b.disk.data.lock().unwrap()[512..4608].copy_from_slice(&pattern);
    b.start(read10(1, 8), false, 4096, true, &[]);
    let got = b.take();
    assert_eq!(got.len(), 4);
    let bytes: Vec<u8> = got.iter().flat_map(|(_, data)| data.clone()).collect();
    assert_eq!(bytes, pattern);
    for (n, (response, _)) in got.iter().enumerate() {
        let Response::DataIn { last, status, data_sn, offset, .. } = response else { panic!("{response:?}") };
        assert_eq!((*data_sn, *offset), (n as u32, n as u32 * 1024));
        // Bursts end after two of them.
        assert_eq!((*last, *status), (n % 2 == 1, (n == 3).then_some(0)));
    }
    // Expecting less and more than the command moves.
    b.start(read10(0, 2), false, 512, true, &[]);
    assert!(
        matches!(b.take()[..], [(Response::DataIn { residual: Residual::Over(512), .. }, ref data)] if data.len() == 512)
    );
    b.start(read10(0, 1), false, 700, true, &[]);
    assert!(matches!(b.take()[..], [(Response::DataIn { residual: Residual::Under(188), .. }, _)]));
}

#[test]
fn writes_take_immediate_unsolicited_and_solicited_data() {
    let mut b = bench();
    b.session("InitialR2T=No ImmediateData=Yes FirstBurstLength=1024 MaxBurstLength=1024");
    let pattern: Vec<u8> = (0..3072).map(|n| (n % 249) as u8).collect();
    let itt = b.start(write10(0, 6), true, 3072, false, &pattern[..512]);
    assert!(b.take().is_empty());
    b.data_out(itt, NO_TAG, 0, 512, true, &pattern[512..1024]);
    for offset in [1024_u32, 2048] {
        let Some((Response::R2t { ttt, offset: at, len, .. }, _)) = b.take().pop() else { panic!("no R2T") };
        assert_eq!((at, len), (offset, 1024));
        let at = offset as usize;
        b.data_out(itt, ttt, 0, offset, false, &pattern[at..at + 512]);
        assert!(b.got.is_empty());
        b.data_out(itt, ttt, 1, offset + 512, true, &pattern[at + 512..at + 1024]);
    }
    assert_eq!(b.status(), (0, None));
    assert_eq!(b.disk.data.lock().unwrap()[..3072], pattern);
}

#[test]
fn data_that_nobody_asked_for_fails_the_command_and_not_the_session() {
    // Unsolicited although InitialR2T=Yes.
    let mut b = bench();
    b.session("InitialR2T=Yes");
    let itt = b.start(write10(0, 2), true, 1024, false, &[]);
    b.data_out(itt, NO_TAG, 0, 0, true, &[1; 512]);
    assert_eq!(b.status(), (2, Some((0xb, 0x0c0c))));
    // More immediate data than FirstBurstLength.
    let mut b = bench();
    b.session("FirstBurstLength=512");
    assert_eq!(b.command(write10(0, 2), true, 1024, &[1; 1024]), (2, Some((0xb, 0x0c0c))));
    // Beyond what the R2T asked for, out of sequence, at a wrong place.
    for (data_sn, offset, len, code) in [(0, 0, 2048, 0x0c0d), (1, 0, 512, 0x4705), (0, 512, 512, 0x4705)] {
        let itt = b.start(write10(0, 2), true, 1024, true, &[]);
        let Some((Response::R2t { ttt, .. }, _)) = b.take().pop() else { panic!("no R2T") };
        b.data_out(itt, ttt, data_sn, offset, true, &vec![1; len]);
        assert_eq!(b.status(), (2, Some((0xb, code))));
    }
    // For a command that is not there: silently thrown away.
    b.data_out(999, 1, 0, 0, true, &[1; 512]);
    assert!(b.got.is_empty() && !b.closed);
    assert!(b.disk.data.lock().unwrap().iter().all(|&byte| byte == 0));
}

#[test]
fn what_cannot_be_done_is_said_in_sense_data() {
    let mut b = bench();
    b.session("");
    assert_eq!(b.command(read10(2048, 1), false, 512, &[]), (2, Some((5, 0x2100))));
    assert_eq!(b.command(read10(2047, 2), false, 1024, &[]), (2, Some((5, 0x2100))));
    assert_eq!(b.command(write10(u32::MAX, 1), true, 512, &[0; 512]), (2, Some((5, 0x2100))));
    let mut cdb = [0xff; 16];
    cdb[0] = 0x88;
    assert_eq!(b.command(cdb, false, 512, &[]), (2, Some((5, 0x2400))));
    cdb[1] = 0;
    assert_eq!(b.command(cdb, false, 512, &[]), (2, Some((5, 0x2100))));
    assert_eq!(b.command([0xff; 16], false, 0, &[]), (2, Some((5, 0x2000))));
    b.disk.error = Some(io::ErrorKind::StorageFull);
    assert_eq!(b.command(write10(3, 1), true, 512, &[1; 512]), (2, Some((7, 0x2707))));
    assert!(matches!(b.events.last(), Some(EventKind::IscsiError { lba: 3, .. })));
    b.disk.error = Some(io::ErrorKind::Other);
    assert_eq!(b.command(write10(0, 1), true, 512, &[1; 512]), (2, Some((3, 0x0c00))));
    assert_eq!(b.command(read10(0, 1), false, 512, &[]), (2, Some((3, 0x1100))));
    // Descriptor form after MODE SELECT sets D_SENSE.
    let mut select = [0; 16];
    (select[0], select[1], select[4]) = (0x15, 0x10, 16);
    let mut list = vec![0; 4];
    list.extend_from_slice(&[0x0a, 10, 0x04, 0x10, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(b.command(select, true, 16, &list), (0, None));
    b.start(read10(2048, 1), false, 512, true, &[]);
    assert_eq!(b.take().pop().unwrap().1[2..6], [0x72, 5, 0x21, 0]);
}

#[test]
fn another_lun_answers_what_it_must_and_nothing_else() {
    let mut b = bench();
    b.session("");
    let mut ask = |opcode: u8, lun: [u8; 8]| {
        let mut cdb = [0; 16];
        (cdb[0], cdb[4], cdb[9]) = (opcode, 96, 96);
        let itt = b.itt();
        let command = ScsiCommand {
            immediate: false,
            last: true,
            read: true,
            write: false,
            attribute: 1,
            lun,
            itt,
            expected: 96,
            cmd_sn: b.cmd_sn,
            exp_stat_sn: 0,
            cdb,
        };
        b.cmd_sn += 1;
        b.send(&Pdu::Command(command), &[]);
        b.take().pop().unwrap()
    };
    let other = [0, 1, 0, 0, 0, 0, 0, 0];
    assert_eq!(ask(0x12, other).1[0], 0x7f);
    assert_eq!(ask(0xa0, other).1.len(), 16);
    assert_eq!(ask(0x00, other).1[4], 5);
    assert_eq!(ask(0x12, [0xc1, 1, 0, 0, 0, 0, 0, 0]).1[0], 0x1e);
}

#[test]
fn commands_count_in_order_and_the_window_never_shrinks() {
    let mut b = bench();
    b.session("");
    let (cmd_sn, before) = (b.cmd_sn, b.connection.core.max_cmd_sn);
    for wrong in [cmd_sn - 1, cmd_sn + 1, cmd_sn + 1000] {
        b.cmd_sn = wrong;
        b.start(read10(0, 1), false, 512, true, &[]);
        assert!(b.take().is_empty(), "{wrong}");
    }
    b.cmd_sn = cmd_sn;
    b.start(write10(0, 1), true, 512, true, &[]);
    assert_eq!(b.connection.core.max_cmd_sn, before);
    assert_eq!(b.connection.core.exp_cmd_sn, cmd_sn + 1);
}

#[test]
fn tasks_are_aborted_and_what_still_comes_for_them_is_thrown_away() {
    let mut b = bench();
    b.session("");
    let manage = |b: &mut Bench, function, referenced, lun| {
        let request = TaskManagement {
            immediate: true,
            function,
            lun,
            itt: 5000,
            referenced,
            cmd_sn: b.cmd_sn,
            exp_stat_sn: 0,
            ref_cmd_sn: b.cmd_sn - 1,
            exp_data_sn: 0,
        };
        b.send(&Pdu::TaskManagement(request), &[]);
        match b.take().pop() {
            Some((Response::TaskManagement { response, .. }, _)) => response,
            other => panic!("{other:?}"),
        }
    };
    let itt = b.start(write10(0, 1), true, 512, true, &[]);
    let Some((Response::R2t { ttt, .. }, _)) = b.take().pop() else { panic!("no R2T") };
    assert_eq!(manage(&mut b, 1, itt, [0; 8]), 0);
    b.data_out(itt, ttt, 0, 0, true, &[1; 512]);
    assert!(b.got.is_empty());
    assert_eq!(manage(&mut b, 1, itt, [0; 8]), 1);
    assert_eq!(manage(&mut b, 5, 0, [0, 1, 0, 0, 0, 0, 0, 0]), 2);
    assert_eq!(manage(&mut b, 8, 0, [0; 8]), 4);
    assert_eq!(manage(&mut b, 99, 0, [0; 8]), 255);
    // Another session's reset aborts what this one has begun.
    let itt = b.start(write10(0, 1), true, 512, true, &[]);
    let Some((Response::R2t { ttt, .. }, _)) = b.take().pop() else { panic!("no R2T") };
    b.unit.attach("other".into()).reset(crate::iscsi::scsi::Sense::RESET);
    b.data_out(itt, ttt, 0, 0, true, &[1; 512]);
    assert!(b.got.is_empty());
    assert_eq!(b.command([0; 16], false, 0, &[]), (2, Some((6, 0x2903))));
    assert!(b.disk.data.lock().unwrap().iter().all(|&byte| byte == 0));
}

#[test]
fn pings_are_answered_and_signs_of_life_are_not() {
    let mut b = bench();
    b.session("");
    let nop = |itt| NopOut { immediate: true, lun: [0; 8], itt, ttt: NO_TAG, cmd_sn: 0, exp_stat_sn: 0 };
    b.send(&Pdu::NopOut(nop(3)), b"ping");
    assert!(matches!(&b.take()[..], [(Response::NopIn { itt: 3, ttt: NO_TAG, .. }, data)] if data == b"ping"));
    b.send(&Pdu::NopOut(nop(NO_TAG)), &[]);
    assert!(b.got.is_empty() && !b.closed);
}

#[test]
fn what_is_not_supported_is_rejected_but_firmware_only_sees_the_end() {
    let snack = Pdu::Snack(Snack { kind: 0, lun: [0; 8], itt: 1, ttt: 0, exp_stat_sn: 0, begin: 0, run: 0 });
    let mut b = bench();
    b.session("");
    b.send(&snack, &[]);
    assert!(matches!(&b.take()[..], [(Response::Reject { reason: 3, .. }, data)] if data.len() == BHS));
    let mut b = bench();
    b.isid = IPXE_ISID;
    b.session("");
    b.send(&snack, &[]);
    assert!(b.got.is_empty() && b.closed);
    assert!(matches!(b.events.last(), Some(EventKind::IscsiEnded { .. })));
}

#[test]
fn targets_are_listed_in_pieces_that_the_initiator_takes() {
    let mut b = bench();
    let keys = "InitiatorName=iqn.i SessionType=Discovery HeaderDigest=CRC32C,None MaxRecvDataSegmentLength=512";
    let (status, _, keys) = b.login(1, Some(3), keys);
    assert_eq!((status, value(&keys, "HeaderDigest").as_deref()), (0, Some("None")));
    let (mut listed, mut ttt, mut data) = (Vec::new(), NO_TAG, &b"SendTargets=All\0"[..]);
    loop {
        let request =
            Text { immediate: true, last: true, more: false, lun: [0; 8], itt: 4, ttt, cmd_sn: 0, exp_stat_sn: 0 };
        b.send(&Pdu::Text(request), data);
        let Some((Response::Text { last, ttt: next, .. }, piece)) = b.take().pop() else { panic!("no text") };
        assert!(piece.len() <= 512);
        listed.extend_from_slice(&piece);
        (ttt, data) = (next, &[]);
        if last {
            break;
        }
    }
    let text = String::from_utf8(listed).unwrap();
    assert_eq!(text.matches("TargetName=iqn.").count(), 200);
    assert_eq!(text.matches("TargetAddress=192.0.2.1:3260,1\0").count(), 200);
    // No commands in a discovery session.
    b.start([0; 16], false, 0, true, &[]);
    assert!(matches!(b.take()[..], [(Response::Reject { reason: 4, .. }, _)]));
}

#[test]
fn a_session_ends_with_its_logout_and_says_how_much_it_moved() {
    let mut b = bench();
    b.session("");
    assert_eq!(b.command(read10(0, 4), false, 2048, &[]).0, 0);
    assert_eq!(b.command(read10(0, 4), false, 2048, &[]).0, 0);
    let logout = Logout { immediate: true, reason: 0, itt: 6, cid: 0, cmd_sn: 0, exp_stat_sn: 0 };
    b.send(&Pdu::Logout(logout), &[]);
    assert!(matches!(b.take()[..], [(Response::Logout { response: 0, .. }, _)]));
    assert!(b.closed);
    assert_eq!(b.moved.bytes(), (4096, 0));
    assert!(matches!(b.events.last(), Some(EventKind::IscsiEnded { .. })));
}

#[test]
fn digests_are_checked_and_made() {
    let mut b = bench();
    b.login(1, Some(3), &format!("{NAMES} HeaderDigest=CRC32C DataDigest=CRC32C"));
    assert!(b.connection.framing().header_digest && b.connection.framing().data_digest);
    b.framing = b.connection.framing();
    assert_eq!(b.command([0; 16], false, 0, &[]).0, 2);
    b.input(Input::Broken(FrameError::DataDigest));
    assert!(b.closed);
}

#[test]
fn compare_and_write_writes_only_what_compared() {
    let mut b = bench();
    b.session("");
    let mut cdb = [0; 16];
    (cdb[0], cdb[13]) = (0x89, 1);
    let data = [vec![0; 512], vec![7; 512]].concat();
    assert_eq!(b.command(cdb, true, 1024, &data), (0, None));
    assert_eq!(b.command(cdb, true, 1024, &data), (2, Some((0xe, 0x1d00))));
    assert_eq!(b.disk.data.lock().unwrap()[..512], [7; 512]);
}

#[test]
fn a_reservation_keeps_others_out_until_its_session_ends() {
    let mut b = bench();
    b.session("");
    let other = b.unit.attach("other".into());
    let mut cdb = [0; 16];
    cdb[0] = 0x16;
    let _ = other.begin(&[0; 16]);
    assert_eq!(other.begin(&cdb), crate::iscsi::scsi::Action::Status(crate::iscsi::scsi::Status::Good));
    assert_eq!(b.command(read10(0, 1), false, 512, &[]).0, 0x18);
    drop(other);
    assert_eq!(b.command(read10(0, 1), false, 512, &[]).0, 0);
}

/// Any stream of bytes, cut as the service does.
fn feed(b: &mut Bench, stream: &[u8]) {
    let mut rest = stream;
    while !b.closed {
        match b.connection.framing().parse(rest) {
            Ok(Parsed::Pdu { raw, used }) => {
                b.pdu(raw);
                rest = &rest[used..];
            }
            Ok(Parsed::Need(_)) => return,
            Err(error) => b.input(Input::Broken(error)),
        }
        b.got.clear();
    }
}

fn any_pdu() -> impl Strategy<Value = Vec<u8>> {
    let opcode = prop::sample::select(vec![0_u8, 1, 1, 1, 2, 3, 4, 5, 5, 6, 0x10, 0x3f]);
    (opcode, any::<[u8; 48]>(), prop::collection::vec(any::<u8>(), 0..600), 0_u32..4, any::<bool>()).prop_map(
        |(opcode, mut bhs, data, near, tame)| {
            bhs[0] = opcode | 0x40;
            bhs[4] = 0;
            if tame {
                // Within reach of real tasks, sizes and blocks.
                bhs[8..16].fill(0);
                bhs[16..20].copy_from_slice(&near.to_be_bytes());
                bhs[20..22].fill(0);
                bhs[40..43].fill(0);
            }
            let framing = Framing::login(u32::MAX);
            Frame::new(bhs, Payload::Owned(data), &framing).parts().concat()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_bytes_break_a_login(stream in prop::collection::vec(any_pdu(), 0..8)) {
        feed(&mut bench(), &stream.concat());
    }

    #[test]
    fn no_bytes_break_a_session(stream in prop::collection::vec(any_pdu(), 0..40)) {
        let mut b = bench();
        b.session("InitialR2T=No");
        feed(&mut b, &stream.concat());
        prop_assert!(b.connection.core.out.is_empty());
    }
}

#[test]
fn a_command_that_has_begun_never_waits_for_one_that_has_not() {
    let mut b = bench();
    b.session("InitialR2T=Yes ImmediateData=No MaxBurstLength=524288");
    let begun = b.start(write10(0, 2048), true, 1 << 20, true, &[]);
    let Some((Response::R2t { ttt, .. }, _)) = b.take().pop() else { panic!("no R2T") };
    for _ in 0..16 {
        b.start(write10(0, 2048), true, 1 << 20, true, &[]);
    }
    b.take();
    b.data_out(begun, ttt, 0, 0, false, &vec![1; 256 << 10]);
    b.data_out(begun, ttt, 1, 256 << 10, true, &vec![1; 256 << 10]);
    assert!(matches!(b.take().pop(), Some((Response::R2t { itt, offset: 524_288, .. }, _)) if itt == begun));
}

#[test]
fn the_same_trouble_is_told_once_in_a_while() {
    let mut b = bench();
    b.session("");
    b.disk.error = Some(io::ErrorKind::StorageFull);
    let told = |b: &Bench| b.events.iter().filter(|e| matches!(e, EventKind::IscsiError { .. })).count();
    for _ in 0..5 {
        assert_eq!(b.command(write10(0, 1), true, 512, &[1; 512]), (2, Some((7, 0x2707))), "the machine hears of each");
    }
    assert_eq!(told(&b), 1);
    b.disk.error = Some(io::ErrorKind::Other);
    b.command(write10(0, 1), true, 512, &[1; 512]);
    assert_eq!(told(&b), 2, "another one is news");
    b.now += Duration::from_secs(6);
    b.command(write10(0, 1), true, 512, &[1; 512]);
    assert_eq!(told(&b), 3);
}
