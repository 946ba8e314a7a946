//! The observer, in virtual time.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::*;
use crate::api::{EventKind, Observation, ServiceKind, Who};
use crate::lab::Ports;
use crate::machine::{Machine, Now};
use crate::net::MacAddr;
use crate::trace::testing::{CLIENT, Story, THEM, US};

mod live;
mod recorded;

/// A live observer with its clock.
struct Bench {
    live: Live,
    at: Duration,
}

impl Bench {
    fn new() -> Self {
        let network = Watched {
            interface: "br0".into(),
            mac: US,
            address: "192.168.77.1/24".parse().unwrap(),
            router: Some(Ipv4Addr::new(192, 168, 77, 254)),
        };
        Self { live: Live::new(vec![network], Ports::default()), at: Duration::from_secs(100) }
    }

    fn now(&self) -> Now {
        Now::at(self.at)
    }

    fn frame(&mut self, bytes: &[u8]) -> Vec<Observation> {
        let outgoing = bytes[6..12] == US.0;
        let frame = LiveInput::Frame { network: 0, bytes, original: bytes.len(), outgoing };
        self.live.handle(self.now(), frame);
        self.drain()
    }

    fn told(&mut self, who: Who, kind: EventKind) {
        self.live.handle(self.now(), LiveInput::Told(&Observation::of(who, kind)));
    }

    /// Time passes, in steps that the observer asks for.
    fn wait(&mut self, time: Duration) -> Vec<Observation> {
        let end = self.at + time;
        let mut told = Vec::new();
        while let Some(due) = self.live.deadline().filter(|due| *due <= end) {
            self.at = due.max(self.at);
            self.live.handle(self.now(), LiveInput::Tick);
            told.extend(self.drain());
            if self.live.deadline() == Some(due) {
                break;
            }
        }
        self.at = end;
        self.live.handle(self.now(), LiveInput::Tick);
        told.extend(self.drain());
        told
    }

    fn play(&mut self, story: &Story) -> Vec<Observation> {
        let mut told = Vec::new();
        let mut before = story.packets.first().map(|p| p.time);
        for packet in &story.packets {
            let passed = packet.time.duration_since(before.replace(packet.time).unwrap());
            told.extend(self.wait(Duration::try_from(passed).unwrap()));
            told.extend(self.frame(&packet.data));
        }
        told
    }

    fn drain(&mut self) -> Vec<Observation> {
        std::iter::from_fn(|| self.live.poll())
            .map(|output| match output {
                Output::Event(observation) => *observation,
                other => panic!("an observer says {other:?}"),
            })
            .collect()
    }
}

fn kinds(told: Vec<Observation>) -> Vec<EventKind> {
    told.into_iter().map(|o| o.kind).collect()
}

fn them() -> Who {
    Who { mac: Some(THEM), uuid: None, ip: Some(CLIENT.into()) }
}

fn unheard(service: ServiceKind, port: u16, packets: u32, refused: bool) -> EventKind {
    EventKind::Unheard { service, port, packets, refused }
}

const STRANGER: (MacAddr, Ipv4Addr) = (MacAddr([2, 0, 0, 0, 0, 9]), Ipv4Addr::new(192, 168, 77, 9));
const SECOND: Duration = Duration::from_secs(1);
