//! `[[host]]`.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Boot, Name};
use crate::net::MacAddr;

/// `[[host]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Hardware addresses; at least one.
    pub macs: Vec<MacAddr>,
    /// Tells sharers of one MAC apart.
    pub uuid: Option<Uuid>,
    /// Name.
    pub name: Option<Name>,
    /// Group: a room, or a row of one.
    pub group: Option<Name>,
    /// Its place in the group's seating plan.
    pub seat: Option<Seat>,
    /// Reserved address.
    pub address: Option<Ipv4Addr>,
    /// Boot file.
    pub firmware: Option<String>,
    /// What it gets; `None`: as an unknown machine.
    pub boot: Option<Boot>,
}

/// A place in a group's seating plan, `[row, column]` in lab.toml. The first row is at the front.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "[u8; 2]", into = "[u8; 2]")]
pub struct Seat {
    /// From 1 to [`Seat::MOST`].
    pub row: u8,
    /// From 1 to [`Seat::MOST`].
    pub column: u8,
}

impl Seat {
    /// Rows and columns that a plan can have.
    pub const MOST: u8 = 50;

    /// The seat there, where a plan can have one.
    #[must_use]
    pub fn at(row: u8, column: u8) -> Option<Self> {
        let may_be = 1..=Self::MOST;
        (may_be.contains(&row) && may_be.contains(&column)).then_some(Self { row, column })
    }
}

/// Numbers that other programs send are brought within a plan's bounds.
impl From<[u8; 2]> for Seat {
    fn from([row, column]: [u8; 2]) -> Self {
        Self { row: row.clamp(1, Self::MOST), column: column.clamp(1, Self::MOST) }
    }
}

impl From<Seat> for [u8; 2] {
    fn from(seat: Seat) -> Self {
        [seat.row, seat.column]
    }
}
