//! Reservations, resets and reports of the target, as sessions see them.
#![allow(clippy::unwrap_used, reason = "code of tests")]

mod target;

use std::sync::Arc;

use bootyard_core::api::EventKind;
use bootyard_core::iscsi::wire::response::Response;
use target::initiator::{CONFLICT, Initiator};
use target::stored::{Stored, stored};
use target::{Memory, Open, serve, target};

const READ: [u8; 10] = [0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0];
const WRITE: [u8; 10] = [0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0];
const READY: [u8; 6] = [0; 6];

/// Bit APTPL of a registration.
const APTPL: u8 = 1;

#[test]
fn reservations_with_aptpl_outlive_a_restart_and_others_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let memory = Stored::new(folder.path()).memory();
    let (service, address, _reports) = stored(folder.path());
    let mut a = Initiator::open(address, "kept", "a", 1);
    let mut b = Initiator::open(address, "kept", "b", 1);
    assert_eq!(a.reserve_in(2)[2..4], [0x15, 0x80], "it can, and it does not yet");
    assert_eq!(a.reserve_out(0, 0, 0, 0xa, APTPL).status, 0);
    assert_eq!(a.reserve_in(2)[3], 0x81);
    assert_eq!(b.reserve_out(0, 0, 0, 0xb, APTPL).status, 0);
    assert_eq!(a.reserve_out(1, 5, 0xa, 0, 0).status, 0);
    assert_eq!(a.command(&WRITE, 0, &[7; 512]).status, 0);
    assert_eq!(a.command(&[0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0], 0, &[]).status, 0);
    drop((a, b));
    service.stop();
    assert!(memory.exists());

    let (service, address, _reports) = stored(folder.path());
    let mut c = Initiator::open(address, "kept", "c", 1);
    assert_eq!((c.keys(), c.reservation()), (vec![0xa, 0xb], Some((0xa, 5))));
    assert_eq!(c.reserve_in(0)[..4], [0; 4], "PRGENERATION begins anew");
    assert_eq!(c.command(&READ, 512, &[]).data, [7; 512]);
    assert_eq!(c.command(&WRITE, 0, &[9; 512]).status, CONFLICT);
    let mut b = Initiator::open(address, "kept", "b", 1);
    assert_eq!(b.command(&WRITE, 0, &[8; 512]).status, 0, "registered, and the type lets all of them write");
    let mut other_port = Initiator::open(address, "kept", "b", 2);
    assert_eq!(
        other_port.command(&WRITE, 0, &[9; 512]).status,
        CONFLICT,
        "registrations are of ports, not of machines"
    );
    // The last registration decides for all: now without APTPL.
    assert_eq!(b.reserve_out(0, 0, 0xb, 0xb, 0).status, 0);
    assert!(!memory.exists());
    drop((b, c, other_port));
    service.stop();

    let (service, address, _reports) = stored(folder.path());
    let mut c = Initiator::open(address, "kept", "c", 1);
    assert_eq!((c.keys(), c.reservation()), (vec![], None));
    assert_eq!(c.command(&WRITE, 0, &[9; 512]).status, 0);
    service.stop();
}

#[test]
fn a_reset_disk_has_no_reservations() {
    let folder = tempfile::tempdir().unwrap();
    let gate = Arc::new(Stored::new(folder.path()));
    let (service, address, _reports) = serve(gate.clone(), 0);
    let mut a = Initiator::open(address, "kept", "a", 1);
    assert_eq!(a.reserve_out(0, 0, 0, 0xa, APTPL).status, 0);
    assert_eq!(a.reserve_out(1, 3, 0xa, 0, 0).status, 0);
    a.logout();
    wait_until(|| service.sessions().is_empty());
    let mut b = Initiator::open(address, "kept", "b", 1);
    assert_eq!(b.command(&READ, 512, &[]).status, CONFLICT, "nothing is forgotten with a session");
    b.logout();
    wait_until(|| service.sessions().is_empty());
    gate.reset();
    assert!(!gate.memory().exists());
    let mut b = Initiator::open(address, "kept", "b", 1);
    assert_eq!(b.command(&READ, 512, &[]).status, 0);
    assert_eq!((b.keys(), b.reservation()), (vec![], None));
    service.stop();
}

fn wait_until(is: impl Fn() -> bool) {
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !is() {
        assert!(std::time::Instant::now() < until, "it does not come");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

#[test]
fn a_damaged_memory_keeps_everybody_out_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let memory = Stored::new(folder.path()).memory();
    std::fs::create_dir_all(memory.parent().unwrap()).unwrap();
    std::fs::write(&memory, "{").unwrap();
    let (service, address, mut reports) = stored(folder.path());
    assert_eq!(Initiator::login(address, "kept", "a", 1).err(), Some(0x0301));
    service.stop();
    let events = tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(reports.next());
    let said = events.iter().any(|event| {
        matches!(&event.observation.kind, EventKind::IscsiRefused { reason, .. } if reason.contains("host-1.unit is damaged"))
    });
    assert!(said, "{events:?}");
}

#[test]
fn a_registration_without_aptpl_outlives_its_session_but_not_the_service() {
    let folder = tempfile::tempdir().unwrap();
    let (service, address, _reports) = stored(folder.path());
    let mut a = Initiator::open(address, "kept", "a", 1);
    assert_eq!(a.reserve_out(6, 0, 0, 0xa, 0).status, 0);
    assert_eq!(a.reserve_out(1, 1, 0xa, 0, 0).status, 0);
    a.logout();
    let mut b = Initiator::open(address, "kept", "b", 1);
    assert_eq!(b.command(&WRITE, 0, &[1; 512]).status, CONFLICT);
    b.logout();
    let mut a = Initiator::open(address, "kept", "a", 1);
    assert_eq!(a.command(&WRITE, 0, &[1; 512]).status, 0);
    a.logout();
    service.stop();
    let (service, address, _reports) = stored(folder.path());
    let mut b = Initiator::open(address, "kept", "b", 1);
    assert_eq!(b.command(&WRITE, 0, &[1; 512]).status, 0);
    service.stop();
}

#[test]
fn sessions_that_register_at_once_all_stay_registered() {
    let folder = tempfile::tempdir().unwrap();
    let (service, address, _reports) = stored(folder.path());
    std::thread::scope(|scope| {
        for n in 0..16_u8 {
            scope.spawn(move || {
                let mut one = Initiator::open(address, "kept", "a", n);
                for round in 0..8_u64 {
                    let key = u64::from(n) << 8 | round | 1 << 32;
                    assert_eq!(one.reserve_out(6, 0, 0, key, APTPL).status, 0);
                }
            });
        }
    });
    service.stop();
    let (service, address, _reports) = stored(folder.path());
    let mut one = Initiator::open(address, "kept", "b", 1);
    let mut keys = one.keys();
    keys.sort_unstable();
    assert_eq!(keys, (0..16).map(|n| 1 << 32 | n << 8 | 7).collect::<Vec<u64>>());
    service.stop();
}

#[test]
fn who_is_preempted_with_abort_writes_no_more() {
    let (service, address, _reports) = target(0);
    let mut a = Initiator::open(address, "thin", "a", 1);
    let mut b = Initiator::open(address, "thin", "b", 1);
    assert_eq!(a.reserve_out(0, 0, 0, 0xa, 0).status, 0);
    assert_eq!(b.reserve_out(0, 0, 0, 0xb, 0).status, 0);
    assert_eq!(b.reserve_out(1, 5, 0xb, 0, 0).status, 0);
    // Memory alone: a restart would lose it, so APTPL is refused.
    assert_eq!(a.reserve_in(2)[2..4], [0x14, 0x80]);
    assert_eq!(a.reserve_out(0, 0, 0xa, 0xa, APTPL).sense, Some((5, 0x2600)));
    let itt = b.start(&WRITE, true, 512, &[]);
    let Some((Response::R2t { ttt, .. }, _)) = b.receive() else { panic!("no R2T") };
    assert_eq!(a.reserve_out(5, 5, 0xa, 0xb, 0).status, 0);
    b.give(itt, ttt, &[1; 512]);
    assert_eq!(b.command(&READY, 0, &[]).sense, Some((6, 0x2a05)), "and no answer to the write before that");
    assert_eq!(b.command(&WRITE, 0, &[1; 512]).status, CONFLICT);
    assert_eq!(a.command(&READ, 512, &[]).data, [0; 512]);
    assert_eq!((a.keys(), a.reservation()), (vec![0xa], Some((0xa, 5))));
    service.stop();
}

#[test]
fn resets_abort_the_tasks_of_all_sessions_and_tell_them() {
    let (service, address, _reports) = target(0);
    let mut a = Initiator::open(address, "thin", "a", 1);
    let mut b = Initiator::open(address, "thin", "b", 1);
    // CLEAR TASK SET, LUN RESET, TARGET WARM RESET.
    for (function, told) in [(4, 0x2f00), (5, 0x2903), (6, 0x2902)] {
        let itt = b.start(&WRITE, true, 512, &[]);
        let Some((Response::R2t { ttt, .. }, _)) = b.receive() else { panic!("no R2T") };
        assert_eq!(a.manage(function, 0), 0);
        b.give(itt, ttt, &[1; 512]);
        assert_eq!(b.command(&READY, 0, &[]).sense, Some((6, told)), "function {function}");
        assert_eq!(b.command(&READY, 0, &[]).status, 0);
        let own = a.command(&READY, 0, &[]).sense;
        assert_eq!(own, (function != 4).then_some((6, told)), "function {function}");
        assert_eq!(a.command(&READ, 512, &[]).data, [0; 512]);
    }
    // Who has lost nothing to CLEAR TASK SET is not told of it.
    assert_eq!(a.manage(4, 0), 0);
    assert_eq!(b.command(&READY, 0, &[]).status, 0);
    // ABORT TASK SET is for its own session alone.
    let itt = b.start(&WRITE, true, 512, &[]);
    let Some((Response::R2t { ttt, .. }, _)) = b.receive() else { panic!("no R2T") };
    assert_eq!(a.manage(2, 0), 0);
    b.give(itt, ttt, &[2; 512]);
    assert_eq!(b.answer().status, 0);
    // TASK REASSIGN needs another level of recovery.
    assert_eq!(a.manage(8, itt), 4);
    service.stop();
}

#[test]
fn a_cold_reset_ends_every_session_of_the_unit_and_no_other() {
    let (service, address, _reports) = target(0);
    let mut a = Initiator::open(address, "thin", "a", 1);
    let mut b = Initiator::open(address, "thin", "b", 1);
    let mut elsewhere = Initiator::open(address, "removable", "b", 1);
    assert_eq!(b.reserve_out(0, 0, 0, 0xb, 0).status, 0);
    assert_eq!(b.reserve_out(1, 3, 0xb, 0, 0).status, 0);
    assert_eq!(a.manage(7, 0), 0, "it is answered first");
    assert!(a.receive().is_none() && b.receive().is_none());
    assert_eq!(elsewhere.command(&READY, 0, &[]).status, 0);
    // It is a power-on: what was reserved without APTPL is reserved no more.
    let mut a = Initiator::open(address, "thin", "a", 1);
    assert_eq!(a.command(&READ, 512, &[]).status, 0);
    assert!(a.keys().is_empty());
    service.stop();
}

#[test]
fn every_session_learns_once_that_the_disk_has_grown() {
    let gate = Open::default();
    let disk = Memory::new(1 << 20, false);
    gate.disks.lock().unwrap().insert("thin".into(), disk.clone());
    let (service, address, _reports) = serve(Arc::new(gate), 0);
    let mut a = Initiator::open(address, "thin", "a", 1);
    let mut b = Initiator::open(address, "thin", "b", 1);
    let last = |i: &mut Initiator| i.command(&[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0], 8, &[]);
    assert_eq!(last(&mut a).data[..4], 2047_u32.to_be_bytes());
    disk.grow(2 << 20);
    for one in [&mut a, &mut b] {
        assert_eq!(last(one).sense, Some((6, 0x2a09)));
        assert_eq!(last(one).data[..4], 4095_u32.to_be_bytes());
        let mode = one.command(&[0x1a, 0, 0x0a, 0, 64, 0], 64, &[]).data;
        assert_eq!(mode[4..8], 4096_u32.to_be_bytes());
    }
    // Who comes later knows no other size.
    let mut c = Initiator::open(address, "thin", "c", 1);
    assert_eq!(c.command(&READY, 0, &[]).status, 0);
    service.stop();
}

#[test]
fn what_one_boot_ejected_is_in_the_drive_at_the_next() {
    let (service, address, _reports) = target(0);
    let mut a = Initiator::open(address, "removable", "a", 1);
    let mut b = Initiator::open(address, "removable", "b", 1);
    let (eject, load) = ([0x1b, 0, 0, 0, 2, 0], [0x1b, 0, 0, 0, 3, 0]);
    assert_eq!(b.command(&[0x1e, 0, 0, 0, 1, 0], 0, &[]).status, 0);
    assert_eq!(a.command(&eject, 0, &[]).sense, Some((5, 0x5302)));
    assert_eq!(b.command(&[0x1e, 0, 0, 0, 0, 0], 0, &[]).status, 0);
    assert_eq!(a.command(&eject, 0, &[]).status, 0);
    assert_eq!(b.command(&READY, 0, &[]).sense, Some((2, 0x3a02)));
    assert_eq!(a.command(&load, 0, &[]).status, 0);
    assert_eq!(b.command(&READY, 0, &[]).sense, Some((6, 0x2800)));
    assert_eq!(b.command(&READ, 512, &[]).status, 0);
    assert_eq!(a.command(&eject, 0, &[]).status, 0);
    a.logout();
    assert_eq!(b.command(&READY, 0, &[]).sense, Some((2, 0x3a02)));
    b.logout();
    let mut a = Initiator::open(address, "removable", "a", 1);
    assert_eq!(a.command(&READ, 512, &[]).status, 0);
    service.stop();
}

#[test]
fn old_and_new_reservations_exclude_each_other() {
    let (service, address, _reports) = target(0);
    let mut a = Initiator::open(address, "thin", "a", 1);
    let mut b = Initiator::open(address, "thin", "b", 1);
    let (reserve, release) = ([0x16, 0, 0, 0, 0, 0], [0x17, 0, 0, 0, 0, 0]);
    let keys = [0x5e, 0, 0, 0, 0, 0, 0, 0x10, 0, 0];
    assert_eq!(a.command(&reserve, 0, &[]).status, 0);
    for one in [&mut a, &mut b] {
        assert_eq!(one.command(&keys, 4096, &[]).status, CONFLICT);
        assert_eq!(one.reserve_out(0, 0, 0, 1, 0).status, CONFLICT);
    }
    assert_eq!(b.command(&READ, 512, &[]).status, CONFLICT);
    assert_eq!(a.command(&release, 0, &[]).status, 0);
    assert_eq!(a.reserve_out(0, 0, 0, 0xa, 0).status, 0);
    assert_eq!(b.command(&reserve, 0, &[]).status, CONFLICT);
    assert_eq!(a.reserve_out(1, 3, 0xa, 0, 0).status, 0);
    // The holder's are good and change nothing.
    assert_eq!((a.command(&reserve, 0, &[]).status, a.command(&release, 0, &[]).status), (0, 0));
    assert_eq!(a.reservation(), Some((0xa, 3)));
    service.stop();
}

#[test]
fn a_disk_says_who_it_is_and_by_which_port() {
    let (service, address, _reports) = target(0);
    let mut designators = Vec::new();
    for disk in ["thin", "removable"] {
        let mut a = Initiator::open(address, disk, "a", 1);
        let page = a.command(&[0x12, 1, 0x83, 0x10, 0, 0], 4096, &[]).data;
        let mut rest = &page[4..];
        let mut found = Vec::new();
        while let [_, kind, _, len, ..] = *rest {
            found.push((kind & 0x3f, rest[4..4 + usize::from(len)].to_vec()));
            rest = &rest[4 + usize::from(len)..];
        }
        let kinds: Vec<u8> = found.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, [0x03, 0x01, 0x14, 0x15, 0x18, 0x28]);
        assert_eq!((&found[2].1, &found[3].1), (&vec![0, 0, 0, 1], &vec![0, 0, 0, 1]));
        assert_eq!(found[0].1[0] >> 4, 3, "assigned here");
        assert!(found[5].1.starts_with(format!("iqn.2026-11.org.example:{disk}\0").as_bytes()));
        // The port group that INQUIRY promises.
        assert_eq!(a.command(&[0x12, 0, 0, 0, 96, 0], 96, &[]).data[5] & 0x30, 0x10);
        let groups = a.command(&[0xa3, 0x0a, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0], 256, &[]).data;
        assert_eq!(groups, [0, 0, 0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1]);
        let extended = a.command(&[0xa3, 0x2a, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0], 256, &[]).data;
        assert_eq!((extended.len(), &extended[..8]), (20, &[0, 0, 0, 16, 0x10, 0, 0, 0][..]));
        // As much as there is room for; the lengths in it stay.
        let short = a.command(&[0xa3, 0x0a, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0], 256, &[]).data;
        assert_eq!(short, [0, 0, 0, 12]);
        designators.push((found[0].1.clone(), found[1].1.clone()));
        let mut again = Initiator::open(address, disk, "other", 9);
        assert_eq!(again.command(&[0x12, 1, 0x83, 0x10, 0, 0], 4096, &[]).data, page, "every path tells the same");
    }
    assert!(designators[0].0 != designators[1].0 && designators[0].1 != designators[1].1, "never two that look alike");
    service.stop();
}

#[test]
fn what_is_reported_as_supported_is_there() {
    let (service, address, _reports) = target(0);
    let mut a = Initiator::open(address, "thin", "a", 1);
    let one = |a: &mut Initiator, option: u8, opcode: u8, action: u8| {
        a.command(&[0xa3, 0x0c, option, opcode, 0, action, 0, 0, 1, 0, 0, 0], 256, &[])
    };
    let all = a.command(&[0xa3, 0x0c, 0x80, 0, 0, 0, 0, 0, 0x40, 0, 0, 0], 16384, &[]).data;
    assert_eq!(all[..4], (all.len() as u32 - 4).to_be_bytes());
    for entry in all[4..].chunks_exact(20) {
        let (opcode, action, has_action) = (entry[0], entry[3], entry[5] & 1 != 0);
        assert_eq!((entry[5] & 2, &entry[8..10]), (2, &[0, 0x0a][..]), "each with its timeouts");
        let answer = one(&mut a, if has_action { 0x82 } else { 0x81 }, opcode, action);
        let size = usize::from(entry[7]);
        assert_eq!((answer.data[1], answer.data.len()), (0x83, 4 + size + 12), "{opcode:x} {action:x}");
        assert_eq!(answer.data[4], opcode);
        assert!(!has_action || answer.data[5] & 0x1f == action, "{opcode:x} {action:x}");
        // The wrong way to ask for it.
        let wrong = one(&mut a, if has_action { 0x01 } else { 0x02 }, opcode, action);
        assert_eq!(wrong.sense, Some((5, 0x2400)), "{opcode:x}");
    }
    assert_eq!(one(&mut a, 1, 0xff, 0).data, [0, 1, 0, 0]);
    assert_eq!(one(&mut a, 2, 0x9e, 0x1f).data, [0, 1, 0, 0]);
    assert_eq!(one(&mut a, 5, 0, 0).sense, Some((5, 0x2400)));
    let functions = a.command(&[0xa3, 0x0d, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0], 16, &[]).data;
    assert_eq!(functions, [0xfa, 0, 0, 0]);
    service.stop();
}

#[test]
fn allocation_is_told_however_little_room_there_is() {
    let (service, address, _reports) = target(0);
    let mut a = Initiator::open(address, "thin", "a", 1);
    assert_eq!(a.command(&WRITE, 0, &[1; 512]).status, 0);
    let status = |a: &mut Initiator, lba: u32, room: u8| {
        let lba = lba.to_be_bytes();
        a.command(&[0x9e, 0x12, 0, 0, 0, 0, lba[0], lba[1], lba[2], lba[3], 0, 0, 0, room, 0, 0], 255, &[])
    };
    let whole = status(&mut a, 0, 40).data;
    assert_eq!(whole.len(), 40);
    assert_eq!((&whole[16..20], whole[20], whole[36]), (&[0, 0, 0, 8][..], 0, 1), "one cluster, then nothing");
    for room in [0, 4, 8, 16, 23] {
        let cut = status(&mut a, 0, room);
        assert_eq!((cut.status, cut.data.len()), (0, usize::from(room)));
        assert!(room < 4 || cut.data[3] == 20, "a length is of what would be there");
    }
    assert_eq!(status(&mut a, 131_071, 24).status, 0);
    assert_eq!(status(&mut a, 131_072, 24).sense, Some((5, 0x2100)));
    service.stop();
}

#[test]
fn a_readonly_disk_refuses_every_kind_of_write() {
    let (service, address, _reports) = target(0);
    let mut a = Initiator::open(address, "readonly", "a", 1);
    let unmap = [&[0, 22, 0, 16, 0, 0, 0, 0][..], &[0; 8], &[0, 0, 0, 1, 0, 0, 0, 0]].concat();
    let mut same = [0; 16];
    (same[0], same[13]) = (0x93, 1);
    let unmapping = |flag: u8| {
        let mut cdb = same;
        cdb[1] = flag;
        cdb
    };
    let refused = Some((7, 0x2700));
    assert_eq!(a.command(&WRITE, 0, &[1; 512]).sense, refused);
    assert_eq!(a.command(&[0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0], 0, &unmap).sense, refused);
    for flag in [0x00, 0x08] {
        assert_eq!(a.command(&unmapping(flag), 0, &[0; 512]).sense, refused);
        assert_eq!(a.command(&unmapping(flag | 1), 0, &[]).sense, refused, "without data");
    }
    assert_eq!(a.command(&[0x1a, 0, 0x3f, 0, 255, 0], 255, &[]).data[2] & 0x80, 0x80, "and MODE SENSE says so");
    service.stop();
}
