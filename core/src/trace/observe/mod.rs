//! Frames to events: the machine of the observer, in two forms that share their parts.
//!
//! * [`Live`] watches beside our servers, which tell of everything that they see. It tells what they cannot know: other servers' offers
//!   ([`EventKind::ForeignOffer`]), requests that came to this computer and never reached them ([`EventKind::Unheard`]), segments that
//!   nobody acknowledges, frames that come through a router, a switch that speaks spanning tree. A healthy boot yields none of these.
//! * [`Recorder`] reads a recording from anywhere, and tells all of it, so that hosts and findings fold the same timelines.
//!
//! Neither has a socket or a clock.

mod dhcp;
mod gateway;
mod live;
mod names;
mod recorder;
mod retransmits;
mod stations;
mod stream;
mod tcp;
mod tftp;
mod unanswered;

pub use live::{Live, LiveInput, Watched};
pub use recorder::{Recorder, record};

use std::convert::Infallible;

use crate::machine::Output as MachineOutput;

/// An observer sends nothing.
pub type Output = MachineOutput<Infallible>;

#[cfg(doc)]
use crate::api::EventKind;

#[cfg(test)]
#[path = "../observe_tests/mod.rs"]
mod tests;
