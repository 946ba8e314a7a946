//! Events to findings: what was seen, what it means, what to do.
//!
//! A finding belongs to a host or to the lab, has a stable id, and goes when it is cured: by the event that shows the cure, or by
//! the host's next boot. Knows events, never services.

mod findings;
pub(crate) mod lang;

pub use findings::{Findings, LabFindings};
