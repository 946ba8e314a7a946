//! How each rule is provoked: an exchange as our servers and the capture would tell it.

mod disks;
mod files;
mod offers;
mod others;
mod scripts;

use super::Row;
use super::tale::Tale;

/// The parts of `tests/run` in which real firmware is provoked.
const SHORT: &str = "firmware-findings";
const LONG: &str = "firmware-findings-all";

fn row(rule: &'static str, how: &'static str, says: &'static [&'static str], tale: Tale, cure: Tale) -> Row {
    Row { rule, how, whole_program: None, firmware: None, tale, says, cure: Some(cure) }
}

/// Nothing is said.
fn quiet(rule: &'static str, how: &'static str, tale: Tale) -> Row {
    Row { rule, how, whole_program: None, firmware: None, tale, says: &[], cure: None }
}

impl Row {
    /// The part of `tests/run` that does it with real programs, too.
    fn in_part(self, part: &'static str) -> Self {
        Self { whole_program: Some(part), ..self }
    }

    /// The part that does it with real firmware, too.
    fn on_firmware(self, part: &'static str) -> Self {
        Self { firmware: Some(part), ..self }
    }
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = offers::rows();
    rows.extend(files::rows());
    rows.extend(scripts::rows());
    rows.extend(disks::rows());
    rows.extend(others::rows());
    rows
}
