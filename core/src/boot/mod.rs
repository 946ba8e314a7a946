//! The one decision: what a client is given, and why.
//!
//! [`Plan`] is an immutable picture of all that bears on it, made from lab.toml by the engine and pushed to the machines as an
//! `Arc`. [`decide`] is pure. DHCP answers, scripts, access to disks and `explain` use only it.

mod arch;
mod decide;
mod firmware;
mod plan;
pub mod script;

pub use arch::Arch;
pub use decide::{
    Because, BootFile, ClientFacts, Decision, Given, Unfit, assignment, base_url, decide, initiator_name, root_path,
};
#[doc(hidden)]
pub use firmware::fuzz as fuzz_pe;
pub use firmware::{Firmware, find as find_firmware, firmware_remedy, pe_machine};
pub use plan::{FirmwareFile, Plan, PlanNetwork};
