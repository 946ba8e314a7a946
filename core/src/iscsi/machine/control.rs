//! The rest of full-feature phase: NOP, task management, Text (SendTargets), logout (RFC 7143 11.5, 11.6, 11.10, 11.11, 11.14,
//! 11.15, 11.18, 11.19).

use super::super::wire::request::{self, NopOut, TaskManagement};
use super::super::wire::response::Response;
use super::super::wire::{NO_TAG, Payload, Raw, be24, be32, be64, text};
use super::Request;
use super::command::{Lun, lun};
use super::core::Core;
use super::keys::{Place, Reply, place};
use super::session::{INVALID_FIELD, PROTOCOL_ERROR, Session};
use crate::api::EventKind;
use crate::iscsi::scsi::{Done, Job, Sense};
use crate::machine::Ticket;

/// Most text of one negotiation step.
const MAX_TEXT: usize = 64 << 10;

/// A Text negotiation under way.
#[derive(Debug, Default)]
pub(super) struct TextState {
    /// Text of an unfinished request.
    coming: Vec<u8>,
    /// The tag by which it goes on.
    more: Option<u32>,
    /// The request that waits for the names of targets, its other replies, and what it asked for.
    waiting: Option<(Ticket, request::Text, Vec<u8>, String)>,
    /// What of an answer is still to be fetched, and by which tag.
    rest: Option<(u32, Vec<u8>)>,
}

/// The block that a CDB names first.
pub(super) fn lba(cdb: &[u8; 16]) -> u64 {
    match cdb[0] >> 5 {
        0 => u64::from(be24(cdb, 1) & 0x1f_ffff),
        1 | 2 | 5 => u64::from(be32(cdb, 2)),
        _ => be64(cdb, 2),
    }
}

impl Session {
    pub(super) fn nop(&mut self, core: &mut Core, nop: &NopOut, raw: Raw<'_>) {
        // Without a task tag it is an answer or a sign of life, and wants none.
        if nop.itt == NO_TAG {
            return;
        }
        let at = core.advance();
        let len = raw.data.len().min(core.params.max_send as usize);
        let payload = match raw.data.get(..len) {
            Some(ping) if !ping.is_empty() => Payload::Owned(ping.to_vec()),
            _ => Payload::None,
        };
        core.send(&Response::NopIn { lun: nop.lun, itt: nop.itt, ttt: NO_TAG, at }, payload);
    }

    pub(super) fn task_management(&mut self, core: &mut Core, request: &TaskManagement) {
        const COMPLETE: u8 = 0;
        const NO_TASK: u8 = 1;
        const NO_LUN: u8 = 2;
        const NO_REASSIGNMENT: u8 = 4;
        const REJECTED: u8 = 255;
        let lun = lun(request.lun);
        // The well-known unit has no task that lasts.
        let own = lun == Lun::Zero;
        let response = match request.function {
            1..=5 if lun == Lun::Other => NO_LUN,
            1 => {
                let known = self.taking.contains_key(&request.referenced)
                    || self.running.values().any(|r| r.command.itt == request.referenced);
                self.forget(|itt, _| itt == request.referenced);
                // Not come yet though sent before this: it counts as come and aborted (RFC 7143 11.6.1).
                let sent = (request.ref_cmd_sn.wrapping_sub(request.cmd_sn) as i32) < 0;
                let coming = sent && (request.ref_cmd_sn.wrapping_sub(core.exp_cmd_sn) as i32) >= 0;
                if known || coming { COMPLETE } else { NO_TASK }
            }
            2 => {
                self.forget(|_, of| of == lun);
                COMPLETE
            }
            // CLEAR ACA: there never is one.
            3 => COMPLETE,
            4 | 5 if !own => COMPLETE,
            4..=7 => {
                self.forget(|_, _| true);
                if let Some(nexus) = &self.nexus {
                    match request.function {
                        4 => nexus.clear_tasks(),
                        5 => nexus.reset(Sense::RESET),
                        _ => nexus.reset(Sense::HARD_RESET),
                    }
                    // The answer says that no task is at work any more, so it waits for those of other sessions.
                    let job = nexus.task(Job::Settle { power_on: request.function == 7 }, nexus.epoch());
                    let ticket = core.request(Request::Run { job, data: Default::default() });
                    self.managing.push((ticket, request.clone()));
                }
                return;
            }
            // TASK REASSIGN is for an ErrorRecoveryLevel of 2.
            8 => NO_REASSIGNMENT,
            _ => REJECTED,
        };
        self.managed(core, request.itt, response);
    }

    fn managed(&mut self, core: &mut Core, itt: u32, response: u8) {
        let at = core.advance();
        core.send(&Response::TaskManagement { response, itt, at }, Payload::None);
        self.grant(core);
    }

    /// Whether a job was a function's that waited for tasks to end: it has an answer now.
    pub(super) fn settled(&mut self, core: &mut Core, ticket: Ticket, done: &Done) -> bool {
        let Some(at) = self.managing.iter().position(|(waiting, _)| *waiting == ticket) else { return false };
        let (_, request) = self.managing.swap_remove(at);
        if let Done::Failed { error: Some(message), .. } = done {
            let (target, message) = (self.login.target.clone(), message.clone());
            core.event(self.who.as_ref(), EventKind::IscsiError { target, lba: 0, message });
        }
        self.managed(core, request.itt, 0);
        // TARGET COLD RESET is a power-on: it ends all sessions, this one included (RFC 7143 11.5.1).
        if request.function == 7 {
            core.request(Request::EndOthers);
            self.end(core, "it reset the target");
            core.closing = true;
        }
        true
    }

    /// Aborts tasks: no status is sent for them.
    fn forget(&mut self, which: impl Fn(u32, Lun) -> bool) {
        self.taking.retain(|itt, taking| !which(*itt, lun(taking.running.command.lun)));
        self.running.retain(|_, running| !which(running.command.itt, lun(running.command.lun)));
        self.granted = self.taking.values().map(super::command::Taking::granted).sum();
    }

    /// Forgets the tasks that other sessions have aborted, those that wait for data included.
    pub(super) fn sweep(&mut self, core: &mut Core) {
        let Some(nexus) = &self.nexus else { return };
        let epoch = nexus.epoch();
        if epoch == self.epoch {
            return;
        }
        self.epoch = epoch;
        let before = self.open();
        self.taking.retain(|_, taking| taking.running.epoch == epoch);
        self.running.retain(|_, running| running.epoch == epoch);
        self.granted = self.taking.values().map(super::command::Taking::granted).sum();
        nexus.swept(self.open() < before);
        self.grant(core);
    }

    pub(super) fn text(&mut self, core: &mut Core, request: &request::Text, raw: Raw<'_>) {
        let goes_on = self.text.more.take().is_some_and(|ttt| ttt == request.ttt);
        if !goes_on {
            self.text.coming = Vec::new();
        }
        if request.ttt != NO_TAG && !goes_on {
            // Wants more of a long answer.
            match self.text.rest.take() {
                Some((ttt, rest)) if ttt == request.ttt && raw.data.is_empty() => self.answer(core, request, rest),
                _ => self.reject(core, PROTOCOL_ERROR, raw),
            }
            return;
        }
        self.text.rest = None;
        if self.text.waiting.is_some() || self.text.coming.len() + raw.data.len() > MAX_TEXT {
            self.text.coming = Vec::new();
            self.reject(core, PROTOCOL_ERROR, raw);
            return;
        }
        self.text.coming.extend_from_slice(raw.data);
        if request.more {
            let ttt = self.take_ttt();
            self.text.more = Some(ttt);
            let at = core.advance();
            let (lun, itt) = (request.lun, request.itt);
            core.send(&Response::Text { last: false, more: false, lun, itt, ttt, at }, Payload::None);
            return;
        }
        let Ok(pairs) = text::parse(&std::mem::take(&mut self.text.coming)) else {
            self.reject(core, INVALID_FIELD, raw);
            return;
        };
        let mut reply = Vec::new();
        let mut wanted = None;
        for (key, value) in &pairs {
            match place(key) {
                Place::Session => wanted = Some(value.clone()),
                // RFC 7143 13: may be declared anew at any time.
                Place::Operational if key == "MaxRecvDataSegmentLength" => {
                    if let Reply::Value(value) = core.params.offer(key, value, false) {
                        text::push(&mut reply, key, &value);
                    }
                }
                Place::Anywhere if key == "InitiatorAlias" => {}
                Place::Unknown => text::push(&mut reply, key, "NotUnderstood"),
                _ => text::push(&mut reply, key, "Reject"),
            }
        }
        match wanted {
            Some(wanted) if self.nexus.is_none() => {
                let ticket = self.ask_targets(core);
                self.text.waiting = Some((ticket, request.clone(), reply, wanted));
            }
            // In a normal session: only its own target is told (RFC 7143 appendix C).
            Some(wanted) => {
                let own = self.login.target.clone();
                self.list(core, request, reply, &wanted, &[own]);
            }
            None => self.answer(core, request, reply),
        }
    }

    /// The service has found the targets.
    pub(super) fn targets(&mut self, core: &mut Core, ticket: Ticket, targets: &[String]) {
        if let Some((_, request, reply, wanted)) = self.text.waiting.take_if(|w| w.0 == ticket) {
            self.list(core, &request, reply, &wanted, targets);
        }
    }

    fn list(&mut self, core: &mut Core, request: &request::Text, mut reply: Vec<u8>, wanted: &str, all: &[String]) {
        let asked = |t: &&String| wanted == "All" || wanted.is_empty() || t.eq_ignore_ascii_case(wanted);
        for target in all.iter().filter(asked) {
            text::push(&mut reply, "TargetName", target);
            text::push(&mut reply, "TargetAddress", &format!("{},1", core.ends.local));
        }
        self.answer(core, request, reply);
    }

    fn take_ttt(&mut self) -> u32 {
        let ttt = self.next_ttt;
        self.next_ttt = if ttt == NO_TAG - 1 { 1 } else { ttt + 1 };
        ttt
    }

    /// Sends as much as the initiator takes in one PDU, and keeps the rest.
    fn answer(&mut self, core: &mut Core, request: &request::Text, mut reply: Vec<u8>) {
        let rest = reply.split_off(reply.len().min(core.params.max_send as usize));
        let more = !rest.is_empty();
        let ttt = if more { self.take_ttt() } else { NO_TAG };
        if more {
            self.text.rest = Some((ttt, rest));
        }
        let at = core.advance();
        let payload = if reply.is_empty() { Payload::None } else { Payload::Owned(reply) };
        let (lun, itt) = (request.lun, request.itt);
        core.send(&Response::Text { last: !more, more, lun, itt, ttt, at }, payload);
    }

    pub(super) fn logout(&mut self, core: &mut Core, request: &request::Logout) {
        let response = match request.reason {
            0 => 0,
            1 if request.cid == self.cid => 0,
            1 => 1,
            // Recovery needs an ErrorRecoveryLevel of 2.
            _ => 2,
        };
        let at = core.advance();
        core.send(&Response::Logout { response, itt: request.itt, at }, Payload::None);
        if response == 0 {
            self.end(core, "logged out");
            core.closing = true;
        }
    }
}
