//! Events to findings: what was seen, what it means, what to do.
//!
//! A finding belongs to a host or to the lab, has a stable id, names the events that prove it, and goes when it is cured: by the
//! event that shows the cure, or by the host's next boot. Knows events, never services; time is the events' time, so that a capture
//! from elsewhere tells the same.
//!
//! * [`Findings`] is the fold over one host's events. Its rules stand in groups: [`offers`] (who gives address and boot file),
//!   [`files`] (the boot file), [`script`] (iPXE and its script), [`san`] (the disk), [`system`] (installers), [`identity`] (who it is).
//!   A rule that fires when something does *not* happen has a deadline: [`Findings::deadline`], [`Findings::due`].
//! * [`LabFindings`] is the fold over the lab's; [`Around`] is what a host's rules must know of the lab.
//! * [`codes`] reads the error codes of iPXE, PXE ROMs and UEFI.
//! * [`crate::lang`] has the sentences.

mod around;
mod book;
pub mod codes;
mod files;
mod findings;
mod identity;
mod offers;
mod san;
mod script;
mod system;

#[cfg(test)]
mod rules_tests;

pub use around::Around;
pub use findings::{Findings, LabFindings};

use crate::api::{Certainty, FindingAction, Place};
use crate::lang;

/// The word for how sure a finding is, in the language that is spoken.
#[must_use]
pub fn certainty(certainty: Certainty) -> &'static str {
    lang::spoken_sentence(
        "certainty",
        match certainty {
            Certainty::Possible => "possible",
            Certainty::Likely => "likely",
            Certainty::Certain => "certain",
        },
    )
}

/// What stands on the button, in the language that is spoken; `to` is an assignment as people call it.
#[must_use]
pub fn action(action: &FindingAction, to: &str) -> String {
    let key = match action {
        FindingAction::Assign { .. } => "assign",
        FindingAction::OtherFirmware => "other-firmware",
        FindingAction::StartDirectly { .. } => "start-directly",
        FindingAction::Show { place: Place::Network } => "network",
        FindingAction::Show { place: Place::Images } => "images",
    };
    lang::spoken_sentence("finding-action", key).replace("{to}", to)
}
