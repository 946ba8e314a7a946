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
