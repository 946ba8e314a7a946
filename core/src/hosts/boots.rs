//! A boot as it is remembered: what the machine was given, how it ended, and how long each step took.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Host;
use crate::api::{Stage, Step, StepPart, StepState};
use crate::lab::Boot;

/// So many boots of a machine are remembered.
pub const BOOTS_KEPT: usize = 20;
/// The steps of a boot that are remembered, the first of them.
const MOST_STEPS: usize = 60;
/// Characters of a step's text.
const LONGEST_TEXT: usize = 80;

/// How a boot ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BootOutcome {
    /// It has not, or nobody saw it.
    #[default]
    Underway,
    /// The machine got to its system, its installer or its own disk.
    Arrived,
    /// It stopped.
    Failed,
}

/// A step of a boot that is remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct BootStep {
    /// Its stage.
    pub stage: Stage,
    /// What of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<StepPart>,
    /// Milliseconds after the boot began.
    pub at: u64,
    /// How long it took, in milliseconds; `None` where its end was not seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub millis: Option<u64>,
    /// What the step said of itself.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// Ended in an error.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub failed: bool,
    /// Bytes moved in it.
    #[serde(default, skip_serializing_if = "zero")]
    pub bytes: u64,
    /// How often something had to be repeated.
    #[serde(default, skip_serializing_if = "none")]
    pub retries: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
fn zero(n: &u64) -> bool {
    *n == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
fn none(n: &u32) -> bool {
    *n == 0
}

/// A boot that is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct BootRecord {
    /// When its first packet came.
    pub began: Timestamp,
    /// What it was given, once that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given: Option<Boot>,
    /// How it ended.
    pub outcome: BootOutcome,
    /// Its steps, oldest first.
    pub steps: Vec<BootStep>,
}

impl Host {
    /// This boot as it is remembered; `None` where its beginning was not seen, for then it cannot be compared.
    #[must_use]
    pub fn boot_record(&self) -> Option<BootRecord> {
        let first = self.timeline.first().filter(|step| matches!(step.stage, Stage::Seen | Stage::Ipxe))?;
        let steps = self.timeline.iter().take(MOST_STEPS).map(|step| remembered(step, first.start)).collect();
        let outcome = match self.stage {
            Stage::Failed => BootOutcome::Failed,
            Stage::OsLogin | Stage::Running | Stage::Local | Stage::Installing => BootOutcome::Arrived,
            _ => BootOutcome::Underway,
        };
        Some(BootRecord { began: first.start, given: self.given.clone(), outcome, steps })
    }
}

fn remembered(step: &Step, began: Timestamp) -> BootStep {
    let millis = |from: Timestamp, to: Timestamp| u64::try_from(to.duration_since(from).as_millis()).unwrap_or(0);
    BootStep {
        stage: step.stage,
        part: step.part,
        at: millis(began, step.start),
        millis: step.end.map(|end| millis(step.start, end)),
        text: step.text.chars().take(LONGEST_TEXT).collect(),
        failed: step.state == StepState::Failed,
        bytes: step.bytes,
        retries: step.retries,
    }
}
