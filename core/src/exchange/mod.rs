//! Configuration that comes and goes: foreign files become a lab, a lab becomes foreign files.
//!
//! [`import`] reads dhcpd.conf ([`dhcpd`]), dnsmasq.conf ([`dnsmasq`]), Kea's JSON ([`kea`]), tgt's targets.conf ([`tgt`]) and the
//! scripts of iPXE and gPXE ([`script`]) into one [`model`]; [`build`] makes a lab of it. Every statement has its place in the
//! [`ledger`]: it stands in the lab, Bootyard does it anyway, or it is lost and said so. Conditions on what a client sends are not
//! translated but evaluated for each kind of [`client`], so that any spelling of "is it iPXE, and for which architecture" is understood.
//!
//! [`export()`] goes the other way, with static scripts in place of those that the engine makes.

mod build;
mod client;
mod condition;
mod dhcpd;
mod dnsmasq;
pub mod export;
mod import;
mod kea;
mod ledger;
mod model;
mod script;
mod source;
mod tgt;
mod words;

/// How the initiator names begin that [`crate::boot::initiator_name`] gives.
const OWN_INITIATORS: &str = "iqn.2026-11.org.bootyard:host.";

use dhcpd::cidr as dhcpd_cidr;
#[doc(hidden)]
pub use import::fuzz;
pub use import::{Format, Import, ImportError, Options, format_of, import};
pub use ledger::{Fate, Need, Statement};
