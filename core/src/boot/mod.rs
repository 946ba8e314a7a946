//! The one decision: what a client is given, and why.
//!
//! [`Plan`] is an immutable picture of all that bears on it, made from lab.toml by the engine and pushed to the machines as an
//! `Arc`. [`decide`] is pure. DHCP answers, scripts, access to disks and `explain` use only it.

mod arch;
mod builds;
mod chain;
mod decide;
mod explain;
mod firmware;
mod plan;
pub mod script;
mod xen;

pub use arch::Arch;
pub use builds::other_build;
pub use chain::{Explained, Explanation, Link, Part, Setting, Value};
pub use decide::{
    Because, BootFile, ClientFacts, Decision, Given, Unfit, assignment, base_url, decide, initiator_name, root_path,
};
pub use explain::explain;
#[doc(hidden)]
pub use firmware::fuzz as fuzz_pe;
pub(crate) use firmware::of_machine as arch_of_machine;
pub use firmware::{Firmware, find as find_firmware, firmware_remedy, pe_machine, pe_signed};
pub use plan::{FirmwareFile, Plan, PlanNetwork};
pub use xen::{XEN_CONFIG, xen_config};
