//! The timeline of one machine: its steps, the files that it loads in them, and how far it is.

use jiff::{SignedDuration, Timestamp};

use super::host::Host;
use super::paths::{leaf, part_of};
use super::progress::Meter;
use crate::api::{Stage, Step, StepPart, StepState};
use crate::lang;

/// The timeline keeps the newest steps.
const MAX_STEPS: usize = 200;
/// A transfer of which nothing came for so long has a gap.
const GAP: SignedDuration = SignedDuration::from_secs(2);
/// Gaps of a step that are told.
const MAX_GAPS: usize = 8;

impl Host {
    /// Something had to be repeated in the step that goes on.
    pub(super) fn again(&mut self, times: u32) {
        if let Some(step) = self.timeline.last_mut().filter(|step| step.state == StepState::Active) {
            step.retries = step.retries.saturating_add(times);
        }
    }

    /// A file is asked for that is being loaded: from its beginning again, `moving` only where something of it came already.
    pub(super) fn asks_again(&mut self, path: &str, moving: bool) {
        let loads = |(name, meter): &(String, Meter)| name == leaf(path) && (!moving || meter.progress().done > 0);
        if self.meter.as_ref().is_some_and(loads) {
            self.again(1);
        }
    }

    /// A transfer goes on, or ends: nothing came of it since the machine was heard last.
    pub(super) fn note_gap(&mut self, now: Timestamp, name: &str) {
        let Some(heard) = self.heard.filter(|heard| now.duration_since(*heard) > GAP) else { return };
        let last = self.timeline.last_mut().filter(|s| s.state == StepState::Active && s.text == name);
        if let Some(step) = last.filter(|step| step.gaps.len() < MAX_GAPS) {
            step.gaps.push((heard.max(step.start).min(now), now));
        }
    }

    pub(super) fn san_progress(&mut self, now: Timestamp, target: &str, session: u16, bytes: u64) {
        if self.stage == Stage::Loading {
            // The disk is only held for the system; what counts is the file that comes over HTTP.
            return;
        }
        let system = self.sessions.iter().any(|(t, s, firmware)| t == target && *s == session && !firmware);
        match &mut self.meter {
            Some((name, meter)) if name == target => {
                meter.update(now, bytes, 0);
            }
            _ => self.meter = Some((target.to_owned(), Meter::start(now, bytes, 0))),
        }
        if let Some(step) = self.timeline.last_mut().filter(|s| s.part.is_none()) {
            step.bytes = bytes;
        }
        let settled = self.since.is_some_and(|at| now.duration_since(at) > SignedDuration::from_secs(10));
        if system && settled && self.stage == Stage::OsLogin {
            self.step(now, Stage::Running, said("runs", &[]));
        }
    }

    pub(super) fn load(&mut self, now: Timestamp, stage: Stage, path: &str, sent: u64, total: u64) {
        let name = leaf(path);
        if self.meter.as_ref().is_none_or(|(n, _)| n != name) {
            self.meter = Some((name.to_owned(), Meter::start(now, 0, total)));
            self.step(now, stage, name.to_owned());
            self.is_part(part_of(path));
        } else {
            self.note_gap(now, name);
        }
        if let Some((_, meter)) = &mut self.meter {
            meter.update(now, sent, total);
        }
        if let Some(step) = self.timeline.iter_mut().rev().find(|s| s.text == name) {
            step.bytes = sent;
        }
    }

    pub(super) fn loaded(&mut self, now: Timestamp, stage: Stage, path: &str, bytes: u64) {
        // Told late, when the machine is further already: its step is completed, the stage stays.
        let name = leaf(path);
        if self.stage != stage
            && let Some(step) = self.timeline.iter_mut().rev().find(|s| s.stage == stage && s.text == name)
        {
            step.bytes = bytes;
            return;
        }
        self.load(now, stage, path, bytes, bytes);
        self.meter = None;
        self.close_step(now, StepState::Done);
    }

    pub(super) fn lost(&mut self, now: Timestamp, path: &str, sent: u64, why: &str) {
        self.meter = None;
        let name = leaf(path);
        self.note_gap(now, name);
        if let Some(step) = self.timeline.iter_mut().rev().find(|s| s.text == name && s.state == StepState::Active) {
            step.bytes = sent;
            step.state = StepState::Failed;
            step.end = Some(now);
            step.text = said(why, &[("file", &name)]);
        }
    }

    /// Begins a step, unless it is the one that goes on, and moves to its stage.
    pub(super) fn step(&mut self, now: Timestamp, stage: Stage, text: String) {
        let same = self.timeline.last().is_some_and(|s| s.stage == stage && s.text == text);
        if !same {
            self.close_step(now, StepState::Done);
            self.push(Step { stage, start: now, text, ..Step::default() });
        }
        self.enter(now, stage);
    }

    /// Something that took no time.
    pub(super) fn note(&mut self, now: Timestamp, stage: Stage, state: StepState, text: String) {
        self.close_step(now, state);
        self.push(Step { stage, start: now, end: Some(now), text, state, ..Step::default() });
    }

    /// What of its stage the newest step is.
    pub(super) fn is_part(&mut self, part: Option<StepPart>) {
        if let Some(last) = self.timeline.last_mut() {
            last.part = part;
        }
    }

    pub(super) fn push(&mut self, step: Step) {
        if self.timeline.len() >= MAX_STEPS {
            self.timeline.remove(0);
        }
        self.timeline.push(Step { seq: self.at_event, ..step });
    }

    pub(super) fn close_step(&mut self, now: Timestamp, state: StepState) {
        if let Some(last) = self.timeline.last_mut()
            && last.end.is_none()
        {
            last.end = Some(now);
            last.state = state;
        }
    }

    pub(super) fn enter(&mut self, now: Timestamp, stage: Stage) {
        if self.stage != stage || self.since.is_none() {
            self.stage = stage;
            self.since = Some(now);
        }
    }
}

/// What a step of the timeline says, by its id.
pub(super) fn said(key: &str, params: &[lang::Param<'_>]) -> String {
    lang::fill(lang::sentence("step", key), params)
}
