//! Two hundred machines that are switched on within one second, over a network that loses, doubles and reorders packets.
//!
//! The servers are the real machines of the crate, driven in virtual time; the clients are written from the RFCs and from what
//! firmware is known to do, with a codec of their own. A seed decides everything: the same seed is the same morning.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    unreachable_pub,
    reason = "code of tests: what must be there is unwrapped, and figures are printed"
)]

mod client;
mod load;
mod server;
mod wire;
mod world;

use bootyard_core::lab::Mode;
use world::World;

const SEEDS: std::ops::Range<u64> = 0..5;

/// Says which seed it was if the test fails.
struct Seed(u64, Mode);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("this was seed {} in mode {:?}", self.0, self.1);
        }
    }
}

fn everyone_arrives(mode: Mode) {
    for number in SEEDS {
        let seed = Seed(number, mode);
        let mut world = World::new(number, mode);
        world.run();
        world.check();
        eprintln!("{mode:?}, seed {number}: {}", world.summary());
        drop(seed);
    }
}

#[test]
fn two_hundred_machines_arrive_in_mode_dhcp() {
    everyone_arrives(Mode::Dhcp);
}

#[test]
fn two_hundred_machines_arrive_beside_another_server() {
    everyone_arrives(Mode::Proxy);
}
