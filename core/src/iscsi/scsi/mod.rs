//! The logical unit: what SCSI commands mean (SPC-4, SBC-3).
//!
//! [`unit`] is the state that sessions share and [`Nexus`] one session's view of it; both are pure, apart from a lock. A command is
//! answered at once, or says what is to be done with the disk: to read ([`Reads`]), or a [`Job`], which [`execute`] carries out on a
//! [`crate::disks::BlockDevice`]. One file a command family; [`opcodes`] is the table of them all.

mod block;
mod buffers;
mod capacity;
mod control;
mod copy;
mod execute;
mod identity;
mod inquiry;
mod memory;
mod mode;
mod opcodes;
mod persist;
mod reserve;
mod sanitize;
mod sense;
mod thin;
mod unit;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

pub use buffers::{Buffers, Data};
pub use execute::{Done, Reader, Reads, execute};
pub use identity::Identity;
pub use memory::{Held, Memory, MemoryError, Registration, Remembered, Reservations, Sanitize};
pub use sanitize::{Sanitizing, resume as resume_sanitize, start as start_sanitize};
pub use sense::Sense;
pub use unit::{Nexus, Unit, elsewhere};

/// Bytes in a logical block.
pub const BLOCK: u64 = 512;
/// Most bytes that one command moves.
pub const MAX_TRANSFER: u32 = 16 << 20;

/// Status of a command (SAM-5 5.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// Done.
    Good = 0x00,
    /// Sense data say why not.
    CheckCondition = 0x02,
    /// Another nexus holds a reservation.
    ReservationConflict = 0x18,
    /// No room for another task.
    TaskSetFull = 0x28,
}

/// What a command comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Over.
    Status(Status),
    /// Over, with sense data.
    Check(Sense),
    /// Over, with these bytes for the initiator.
    Data(Vec<u8>),
    /// Wants this many bytes from the initiator; then [`Nexus::data`] says how it goes on.
    Take(u32),
    /// The same, but the initiator must expect exactly this many: a command whose data have parts cannot be done by halves.
    TakeExactly(u32),
    /// So many bytes are for the initiator from this place of the disk.
    Read { offset: u64, len: u32 },
    /// The disk must do this.
    Run(Job),
    /// A sanitize operation must begin: [`start_sanitize`]. `immediate`: the status does not wait for its end.
    Sanitize { order: Sanitize, immediate: bool },
}

impl Action {
    const GOOD: Self = Self::Status(Status::Good);
}

impl From<Sense> for Action {
    fn from(sense: Sense) -> Self {
        Self::Check(sense)
    }
}

/// Work on the disk, but for plain reads ([`Reads`]). Offsets and lengths in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Job {
    /// Write the command's data. `durable`: flush before the status; `verify`: read back and compare.
    Write { offset: u64, durable: bool, verify: bool },
    /// Compare with the command's data, which is one block for the whole range where `single`; no data: only read.
    Verify { offset: u64, len: u64, single: bool },
    /// Make all that was written durable.
    Flush,
    /// Make ranges (offset, length) read as zeroes.
    Zero { ranges: Vec<(u64, u64)>, unmap: bool, durable: bool },
    /// Repeat the command's data, one block, over the range.
    WriteSame { offset: u64, len: u64, durable: bool },
    /// Compare with the first half of the command's data, and if equal write the second, at once.
    CompareAndWrite { offset: u64, durable: bool },
    /// Or the command's data into what is there, at once.
    OrWrite { offset: u64, durable: bool },
    /// Copy within the disk: from where, to where, how many bytes; one after the other. `keep`: by which session and list identifier
    /// its end is asked for.
    Copy { moves: Vec<(u64, u64, u64)>, keep: Option<(u64, u8)>, durable: bool },
    /// GET LBA STATUS: describe allocation from here, in at most `room` bytes.
    Allocation { offset: u64, room: u32 },
    /// PERSISTENT RESERVE OUT by this nexus, with the command's data as its list: the unit's memory has it before the status.
    Remember { nexus: u64, cdb: [u8; 16] },
    /// Write the command's data as a whole or not at all, durably.
    WriteAtomic { offset: u64 },
    /// SANITIZE's EXIT FAILURE MODE.
    ExitFailure,
    /// Tasks were aborted: wait until none of them writes any more. `power_on`: forget as after a loss of power.
    Settle { power_on: bool },
}

/// A job of a command: one that was aborted since it began changes nothing.
#[derive(Debug, Clone)]
pub struct Task {
    /// What is to be done.
    pub job: Job,
    /// By which command.
    pub begun: Begun,
}

/// The moment at which a command began.
#[derive(Debug, Clone)]
pub struct Begun {
    aborts: Arc<AtomicU64>,
    epoch: u64,
}

impl Begun {
    /// It was aborted since.
    fn is_aborted(&self, unit: &Unit) -> bool {
        unit.epoch(&self.aborts) != self.epoch
    }
}

impl Job {
    /// First block, for messages.
    #[must_use]
    pub fn lba(&self) -> u64 {
        match self {
            Self::Write { offset, .. }
            | Self::WriteAtomic { offset, .. }
            | Self::Verify { offset, .. }
            | Self::WriteSame { offset, .. }
            | Self::CompareAndWrite { offset, .. }
            | Self::OrWrite { offset, .. }
            | Self::Allocation { offset, .. } => offset / BLOCK,
            Self::Zero { ranges, .. } => ranges.first().map_or(0, |r| r.0 / BLOCK),
            Self::Copy { moves, .. } => moves.first().map_or(0, |m| m.0 / BLOCK),
            Self::Flush | Self::Remember { .. } | Self::ExitFailure | Self::Settle { .. } => 0,
        }
    }
}

/// Cuts a reply to the allocation length of its command.
fn allocated(mut data: Vec<u8>, allocation: u32) -> Action {
    data.truncate(allocation as usize);
    Action::Data(data)
}
