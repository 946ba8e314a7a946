//! Installers: D29.

use jiff::{SignedDuration, Timestamp};

use super::around::Around;
use super::book::Book;
use super::findings::Rules;
use crate::api::{Certainty, Event, EventKind, FindingAction, Severity};
use crate::lab::Boot;
use crate::lang::finding;

/// A machine that gets its installer again so soon goes round in circles.
const AGAIN_WITHIN: SignedDuration = SignedDuration::from_secs(30 * 60);

/// See the module's text.
#[derive(Debug, Clone, Default)]
pub(super) struct System {
    /// The profile that it was given last, with the event.
    given: Option<(String, u64)>,
    /// The installer that was started last, with when, by which event it was given, and by which started; outlives boots.
    started: Option<(String, Timestamp, [u64; 2])>,
}

impl Rules for System {
    fn apply(&mut self, event: &Event, _around: &Around, book: &mut Book) {
        match &event.kind {
            EventKind::ScriptServed { boot: Boot::Install(install), .. } => {
                let profile = install.profile.to_string();
                let before =
                    self.started.take_if(|(p, at, _)| *p == profile && event.time.duration_since(*at) < AGAIN_WITHIN);
                if let Some((_, at, [given, started])) = before {
                    let minutes = (event.time.duration_since(at).as_secs() + 59) / 60;
                    let said =
                        finding("reinstall-loop", Severity::Warning, &[("profile", &profile), ("minutes", &minutes)]);
                    let said = said.sure(Certainty::Likely).proven_by(&[given, started, event.seq]);
                    book.raise(event.time, said.cured_by(FindingAction::Assign { to: Boot::Local }));
                }
                self.given = Some((profile, event.seq));
            }
            EventKind::ScriptServed { .. } => {
                self.given = None;
                book.cure(&["reinstall-loop"]);
            }
            EventKind::ScriptStep { step } if step == "kernel-start" => {
                if let Some((profile, seq)) = &self.given {
                    self.started = Some((profile.clone(), event.time, [*seq, event.seq]));
                }
            }
            // Over before its kernel starts: with the last file that it loads. What follows is given then.
            EventKind::InstallConsumed { .. } => {
                (self.given, self.started) = (None, None);
                book.cure(&["reinstall-loop"]);
            }
            // A person wants it again; or its kernel was refused, and it did not run.
            EventKind::Assigned { .. } | EventKind::ScriptError { .. } => {
                self.started = None;
                book.cure(&["reinstall-loop"]);
            }
            _ => {}
        }
    }

    fn new_boot(&mut self) {
        self.given = None;
    }
}
