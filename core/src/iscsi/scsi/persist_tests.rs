//! The rules of SPC-4 5.13, one after the other.

use proptest::prelude::*;

use super::*;

const A: &str = "iqn.2026-11.org.example:a,i,0x800000000001";
const B: &str = "iqn.2026-11.org.example:b,i,0x800000000001";
const C: &str = "iqn.2026-11.org.example:c,i,0x800000000001";

const TYPES: [u8; 6] = [1, 3, 5, 6, 7, 8];

const REGISTER: u8 = 0;
const RESERVE: u8 = 1;
const RELEASE: u8 = 2;
const CLEAR: u8 = 3;
const PREEMPT: u8 = 4;
const PREEMPT_AND_ABORT: u8 = 5;
const REGISTER_AND_IGNORE: u8 = 6;
const REGISTER_AND_MOVE: u8 = 7;

/// A unit's reservations with a name for each outcome.
#[derive(Debug, Clone, Default)]
struct Bench(Persistent);

#[derive(Debug, PartialEq, Eq)]
enum Came {
    Good(Effects),
    Conflict,
    Sense(u16),
}

fn good() -> Came {
    Came::Good(Effects::default())
}

fn told(who: &[&str], sense: Sense) -> Came {
    Came::Good(Effects { attentions: who.iter().map(|w| ((*w).to_owned(), sense)).collect(), ..Effects::default() })
}

fn cdb(action: u8, kind: u8) -> [u8; 16] {
    let mut cdb = [0; 16];
    (cdb[0], cdb[1], cdb[2]) = (0x5f, action, kind);
    cdb
}

impl Bench {
    fn list(&mut self, name: &str, action: u8, kind: u8, list: &[u8], lasts: bool) -> Came {
        let mut changed = self.0.clone();
        match apply(&mut changed, name, &cdb(action, kind), list, lasts) {
            Ok(effects) => {
                self.0 = changed;
                Came::Good(effects)
            }
            Err(Refused::Conflict) => Came::Conflict,
            Err(Refused::Check(sense)) => Came::Sense(sense.code),
            Err(Refused::Memory(error)) => panic!("{error}"),
        }
    }

    fn out(&mut self, name: &str, action: u8, kind: u8, key: u64, new: u64) -> Came {
        self.flags(name, action, kind, key, new, 0)
    }

    fn flags(&mut self, name: &str, action: u8, kind: u8, key: u64, new: u64, flags: u8) -> Came {
        let mut list = [key.to_be_bytes(), new.to_be_bytes(), [0; 8]].concat();
        list[20] = flags;
        self.list(name, action, kind, &list, true)
    }

    fn keys(&self) -> Vec<u64> {
        self.0.table.registrations.values().map(|r| r.key).collect()
    }

    fn held(&self) -> Option<(&str, u8)> {
        self.0.table.held.as_ref().map(|held| (held.holder.as_str(), held.kind))
    }
}

/// A and B are registered with the keys 0xa and 0xb, and A holds a reservation of this type.
fn held(kind: u8) -> Bench {
    let mut bench = Bench::default();
    assert_eq!(bench.out(A, REGISTER, 0, 0, 0xa), good());
    assert_eq!(bench.out(B, REGISTER, 0, 0, 0xb), good());
    assert_eq!(bench.out(A, RESERVE, kind, 0xa, 0), good());
    bench
}

#[test]
fn a_key_is_given_changed_and_taken_back() {
    let mut b = Bench::default();
    assert_eq!(b.out(A, REGISTER, 0, 0x1, 0xa), Came::Conflict, "not registered with this key");
    assert_eq!(b.out(A, REGISTER, 0, 0, 0), good());
    assert_eq!((b.keys(), b.0.generation), (vec![], 0), "nothing came of nothing");
    b.out(A, REGISTER, 0, 0, 0xa);
    assert_eq!(b.out(A, REGISTER, 0, 0x1, 0x2), Came::Conflict);
    assert_eq!(b.out(A, REGISTER, 0, 0xa, 0xaa), good());
    assert_eq!(b.out(A, REGISTER_AND_IGNORE, 0, 0x77, 0xab), good());
    assert_eq!((b.keys(), b.0.generation), (vec![0xab], 3));
    for action in [RESERVE, RELEASE, CLEAR, PREEMPT, PREEMPT_AND_ABORT] {
        assert_eq!(b.out(B, action, 1, 0, 0xab), Came::Conflict, "not registered: {action}");
        assert_eq!(b.out(A, action, 1, 0x1, 0xab), Came::Conflict, "another key: {action}");
    }
    assert_eq!(b.out(A, REGISTER, 0, 0xab, 0), good());
    assert!(b.0.is_empty());
    for (action, kind) in [(RESERVE, 0), (RESERVE, 2), (RESERVE, 4), (RESERVE, 9), (RESERVE, 0x11), (PREEMPT, 2)] {
        b.out(A, REGISTER_AND_IGNORE, 0, 0, 0xa);
        assert_eq!(b.out(A, action, kind, 0xa, 0xa), Came::Sense(0x2400), "{action} {kind}");
    }
}

#[test]
fn what_is_not_offered_is_refused_as_an_invalid_field() {
    let mut b = Bench::default();
    assert_eq!(b.flags(A, REGISTER, 0, 0, 0xa, 0x08), Came::Sense(0x2600), "SPEC_I_PT");
    assert_eq!(b.flags(A, REGISTER_AND_IGNORE, 0, 0, 0xa, 0x08), Came::Sense(0x2600));
    assert_eq!(b.list(A, REGISTER, 0, &[0; 48], true), Came::Sense(0x1a00));
    let aptpl = |bench: &mut Bench, lasts| {
        let mut list = [0; 24];
        (list[15], list[20]) = (0xa, 1);
        bench.list(A, REGISTER, 0, &list, lasts)
    };
    assert_eq!(aptpl(&mut b, false), Came::Sense(0x2600));
    assert_eq!(aptpl(&mut b, true), good());
    // To other service actions these bits mean nothing.
    assert_eq!(b.flags(A, RESERVE, 1, 0xa, 0, 0x0d), good());
    assert!(b.0.remembered().is_some());
    assert_eq!(b.flags(A, REGISTER, 0, 0xa, 0xa, 0x04), good());
    assert!(b.0.table.registrations[A].all_ports);
    assert_eq!(b.0.remembered(), None, "the last registration decides, and it was without APTPL");
}

#[test]
fn a_reservation_is_made_once_and_released_by_its_holder() {
    for kind in TYPES {
        let everybodys = kind >= 7;
        let mut b = held(kind);
        let before = b.0.generation;
        assert_eq!(b.out(A, RESERVE, kind, 0xa, 0), good(), "the same once more");
        assert_eq!(b.out(A, RESERVE, if kind == 1 { 3 } else { 1 }, 0xa, 0), Came::Conflict);
        assert_eq!(b.out(B, RESERVE, kind, 0xb, 0), if everybodys { good() } else { Came::Conflict });
        assert_eq!(b.out(A, RELEASE, if kind == 1 { 3 } else { 1 }, 0xa, 0), Came::Sense(0x2604));
        if !everybodys {
            assert_eq!(b.out(B, RELEASE, kind, 0xb, 0), good(), "not the holder: nothing happens");
            assert!(b.held().is_some());
        }
        let others: &[&str] = if kind >= 5 { &[B] } else { &[] };
        assert_eq!(b.out(A, RELEASE, kind, 0xa, 0), told(others, Sense::RELEASED_RESERVATIONS));
        assert_eq!(b.held(), None);
        assert_eq!(b.out(A, RELEASE, kind, 0xa, 0), good(), "there is none");
        assert_eq!(b.0.generation, before, "RESERVE and RELEASE do not count");
    }
}

#[test]
fn who_unregisters_lets_go_of_what_it_held_alone() {
    for kind in TYPES {
        let mut b = held(kind);
        let others: &[&str] = if matches!(kind, 5 | 6) { &[B] } else { &[] };
        assert_eq!(b.out(A, REGISTER, 0, 0xa, 0), told(others, Sense::RELEASED_RESERVATIONS), "type {kind}");
        assert_eq!(b.held().is_some(), kind >= 7, "type {kind}");
        assert_eq!(b.out(B, REGISTER, 0, 0xb, 0), good());
        assert_eq!(b.held(), None, "the last one of all registrants");
    }
}

#[test]
fn clear_takes_everything_from_everybody() {
    for kind in TYPES {
        let mut b = held(kind);
        assert_eq!(b.out(B, CLEAR, 0, 0xb, 0), told(&[A], Sense::PREEMPTED_RESERVATIONS));
        assert!(b.0.is_empty() && b.held().is_none());
    }
}

#[test]
fn preempting_takes_the_reservation_or_only_registrations() {
    let gone = |kind: u8, abort: bool, new: u8| {
        let mut b = held(kind);
        b.out(C, REGISTER, 0, 0, 0xc);
        let came = b.out(B, if abort { PREEMPT_AND_ABORT } else { PREEMPT }, new, 0xb, 0xa);
        (came, b)
    };
    for kind in [1, 3, 5, 6] {
        for new in TYPES {
            let (came, b) = gone(kind, true, new);
            let mut attentions = vec![(A.to_owned(), Sense::PREEMPTED_REGISTRATIONS)];
            if new != kind {
                attentions.push((C.to_owned(), Sense::RELEASED_RESERVATIONS));
            }
            assert_eq!(came, Came::Good(Effects { attentions, aborts: vec![A.to_owned()], settle: true }));
            assert_eq!((b.keys(), b.held()), (vec![0xb, 0xc], Some((B, new))));
        }
    }
    // Of all registrants, a key only takes registrations; 0 takes all others and the reservation.
    let (came, mut b) = gone(7, false, 1);
    assert_eq!(came, told(&[A], Sense::PREEMPTED_REGISTRATIONS));
    assert_eq!(b.held().map(|held| held.1), Some(7));
    assert_eq!(b.out(B, PREEMPT, 1, 0xb, 0), told(&[C], Sense::PREEMPTED_REGISTRATIONS));
    assert_eq!((b.keys(), b.held()), (vec![0xb], Some((B, 1))));
    // Who holds nothing loses its registration alone, and the type does not matter.
    let mut b = held(5);
    assert_eq!(b.out(A, PREEMPT, 3, 0xa, 0xb), told(&[B], Sense::PREEMPTED_REGISTRATIONS));
    assert_eq!((b.keys(), b.held()), (vec![0xa], Some((A, 5))));
    assert_eq!(b.out(A, PREEMPT, 3, 0xa, 0xb), Came::Conflict, "nobody has this key");
    assert_eq!(b.out(A, PREEMPT, 3, 0xa, 0), Came::Sense(0x2600));
    // The holder may preempt itself, to another type.
    assert_eq!(b.out(A, PREEMPT, 3, 0xa, 0xa), good());
    assert_eq!((b.keys(), b.held()), (vec![0xa], Some((A, 3))));
}

#[test]
fn a_reservation_moves_to_a_port_that_need_not_be_there() {
    let list = |key: u64, new: u64, flags: u8, port: u16, to: &str| {
        let id = transport_id(to);
        let mut list = [key.to_be_bytes(), new.to_be_bytes()].concat();
        list.extend_from_slice(&[0, flags]);
        list.extend_from_slice(&port.to_be_bytes());
        list.extend_from_slice(&(id.len() as u32).to_be_bytes());
        list.extend_from_slice(&id);
        list
    };
    let moved = |kind: u8, name: &str, list: &[u8]| {
        let mut b = held(kind);
        let came = b.list(name, REGISTER_AND_MOVE, 0, list, true);
        (came, b)
    };
    let (came, b) = moved(3, A, &list(0xa, 0xc, 0x01, 1, &C.to_uppercase()));
    assert_eq!(came, good());
    assert_eq!((b.keys(), b.held()), (vec![0xa, 0xb, 0xc], Some((C, 3))));
    assert!(b.0.remembered().is_some(), "with APTPL");
    let (_, b) = moved(5, A, &list(0xa, 0xbb, 0x02, 1, B));
    assert_eq!((b.keys(), b.held()), (vec![0xbb], Some((B, 5))), "and the old one is unregistered");
    for (kind, name, wrong, came) in [
        (3, A, list(0xa, 0, 0, 1, C), Came::Sense(0x2600)),
        (3, A, list(0xa, 0xc, 0, 2, C), Came::Sense(0x2600)),
        (3, A, list(0xa, 0xc, 0, 1, A), Came::Sense(0x2600)),
        (3, A, list(0xa, 0xc, 0, 1, "iqn.2026-11.org.example:no-port"), Came::Sense(0x2600)),
        (3, A, list(0xa, 0xc, 0, 1, C)[..40].to_vec(), Came::Sense(0x1a00)),
        (3, A, list(0xb, 0xc, 0, 1, C), Came::Conflict),
        (3, B, list(0xb, 0xc, 0, 1, C), Came::Conflict),
        (3, C, list(0, 0xc, 0, 1, C), Came::Conflict),
        (7, A, list(0xa, 0xc, 0, 1, C), Came::Conflict),
    ] {
        assert_eq!(moved(kind, name, &wrong).0, came, "{name} {wrong:x?}");
    }
    let mut none = Bench::default();
    none.out(A, REGISTER, 0, 0, 0xa);
    assert_eq!(none.list(A, REGISTER_AND_MOVE, 0, &list(0xa, 0xc, 0, 1, C), true), Came::Sense(0x2400));
}

/// SPC-4 table 66 and SBC-3 table 13, for the commands that there are: what is refused to a nexus that is not let in, where others
/// may read and where they may not.
#[test]
fn who_is_not_let_in_is_refused_what_the_tables_say() {
    type Row = (&'static [u8], bool, [bool; 2]);
    const ROWS: &[Row] = &[
        (&[0x00], false, [false, false]),              // TEST UNIT READY
        (&[0x03], false, [false, false]),              // REQUEST SENSE
        (&[0x12], false, [false, false]),              // INQUIRY
        (&[0x15], false, [true, true]),                // MODE SELECT
        (&[0x1a], false, [false, true]),               // MODE SENSE
        (&[0x5a], false, [false, true]),               // MODE SENSE(10)
        (&[0x1b, 0, 0, 0, 1], false, [false, false]),  // START STOP UNIT: start
        (&[0x1b, 0, 0, 0, 0], false, [true, true]),    // stop
        (&[0x1b, 0, 0, 0, 0x11], false, [true, true]), // a power condition
        (&[0x1e, 0, 0, 0, 0], false, [false, false]),  // ALLOW MEDIUM REMOVAL
        (&[0x1e, 0, 0, 0, 1], false, [true, true]),    // PREVENT
        (&[0x25], false, [false, false]),              // READ CAPACITY
        (&[0x9e, 0x10], false, [false, false]),        // READ CAPACITY(16)
        (&[0x9e, 0x12], false, [false, true]),         // GET LBA STATUS
        (&[0x28], false, [false, true]),               // READ
        (&[0x2f], false, [false, true]),               // VERIFY
        (&[0x34], false, [false, true]),               // PRE-FETCH
        (&[0x35], false, [true, true]),                // SYNCHRONIZE CACHE
        (&[0x37], false, [false, true]),               // READ DEFECT DATA
        (&[0x2a], true, [true, true]),                 // WRITE
        (&[0x42], true, [true, true]),                 // UNMAP
        (&[0x5e], false, [false, false]),              // PERSISTENT RESERVE IN
        (&[0x5f], false, [false, false]),              // PERSISTENT RESERVE OUT: the key decides
        (&[0xa0], false, [false, false]),              // REPORT LUNS
        (&[0xa3, 0x0a], false, [false, false]),        // REPORT TARGET PORT GROUPS
        (&[0xa3, 0x0c], false, [false, false]),        // REPORT SUPPORTED OPERATION CODES
    ];
    for (bytes, writes, refused) in ROWS {
        let mut cdb = [0; 16];
        cdb[..bytes.len()].copy_from_slice(bytes);
        for kind in TYPES {
            let b = held(kind);
            let exclusive = usize::from(matches!(kind, 3 | 6 | 8));
            assert!(!b.0.conflicts(A, &cdb, *writes), "the holder");
            let registered = kind < 5 && refused[exclusive];
            assert_eq!(b.0.conflicts(B, &cdb, *writes), registered, "{bytes:x?} registered, type {kind}");
            assert_eq!(b.0.conflicts(C, &cdb, *writes), refused[exclusive], "{bytes:x?} type {kind}");
        }
    }
}

#[test]
fn old_reservations_beside_new_ones() {
    let b = held(5);
    assert_eq!(b.0.old_reservation(A), Some(Action::GOOD));
    assert_eq!(b.0.old_reservation(B), Some(Action::GOOD));
    assert_eq!(b.0.old_reservation(C), Some(Action::Status(Status::ReservationConflict)));
    assert_eq!(held(1).0.old_reservation(B), Some(Action::Status(Status::ReservationConflict)));
    assert_eq!(Persistent::default().old_reservation(A), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever three ports do: a reservation has a registered holder, and a file brings back what was in it.
    #[test]
    fn a_reservation_never_outlives_who_could_release_it(
        steps in prop::collection::vec((0_usize..3, 0_u8..8, 0_u8..10, 0_u64..4, 0_u64..4, any::<u8>()), 0..40),
    ) {
        let mut b = Bench::default();
        for (who, action, kind, key, new, flags) in steps {
            let mut list = [key.to_be_bytes(), new.to_be_bytes(), [0; 8]].concat();
            list[20] = flags;
            if action == REGISTER_AND_MOVE {
                let id = transport_id([A, B, C][kind as usize % 3]);
                list[17..20].copy_from_slice(&[flags & 3, 0, 1]);
                list[20..24].copy_from_slice(&(id.len() as u32).to_be_bytes());
                list.extend(id);
            }
            b.list([A, B, C][who], action, kind, &list, true);
            let pr = &b.0;
            if let Some(held) = &pr.table.held {
                prop_assert!(is_type(held.kind));
                prop_assert!(is_everybodys(held.kind) && !pr.is_empty() || pr.key(&held.holder).is_some());
            }
            prop_assert!(pr.table.registrations.values().all(|r| r.key != 0));
            if let Some(saved) = pr.remembered() {
                prop_assert_eq!(&Persistent::from(saved.clone()).table, &pr.table);
                let text = serde_json::to_vec(&saved).unwrap();
                prop_assert_eq!(serde_json::from_slice::<Reservations>(&text).unwrap(), saved);
            }
        }
    }
}
