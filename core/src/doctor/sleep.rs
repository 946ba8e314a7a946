//! Whether this computer can be kept awake while machines run from its disks.

use super::{Check, Facts, Row, State, row};
use crate::net;

pub(super) struct Sleep;

impl Check for Sleep {
    fn name(&self) -> &'static str {
        "sleep"
    }

    fn look(&self, _facts: &Facts) -> Vec<Row> {
        vec![match net::can_inhibit_sleep() {
            None => row("sleep", "", "none", State::Ok, &[]),
            Some(true) => row("sleep", "", "inhibited", State::Ok, &[]),
            Some(false) => row("sleep", "", "refused", State::Warning, &[]),
        }]
    }
}
