//! Who is booting, how far, and since when: a fold over events.
//!
//! [`Directory`] says which machine a packet or connection belongs to; every service's observation passes through it, and access
//! to disks and answer files asks the same one. [`Host`] is one machine folded from its events: stage, progress, timeline.
//! [`BootRecord`] is what is remembered of a boot, so that the next one can be compared with it.

mod boots;
mod directory;
mod host;
mod paths;
mod progress;
mod timeline;

pub use boots::{BOOTS_KEPT, BootOutcome, BootRecord, BootStep};
pub use directory::Directory;
pub use host::{Changed, Host};
pub(crate) use paths::is_optional;
