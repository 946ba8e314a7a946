//! What login and session share: sequence numbers, framing, the outputs that wait.

use std::collections::VecDeque;

use super::super::wire::response::{Numbers, Response};
use super::super::wire::{Bhs, Frame, Framing, Payload};
use super::{Ends, MAX_LOGIN_RECV, Outgoing, Output, Params, Request};
use crate::api::{EventKind, Observation, Who};
use crate::machine::{Now, Ticket};

/// Commands that an initiator may have under way (the CmdSN window).
pub(super) const WINDOW: u32 = 128;

#[derive(Debug)]
pub(super) struct Core {
    /// When the input at hand came.
    pub(super) now: Now,
    pub(super) ends: Ends,
    pub(super) params: Params,
    /// How PDUs look that come in.
    pub(super) receiving: Framing,
    /// How PDUs look that go out.
    pub(super) sending: Framing,
    pub(super) stat_sn: u32,
    pub(super) exp_cmd_sn: u32,
    pub(super) max_cmd_sn: u32,
    pub(super) out: VecDeque<Output>,
    /// What waits is to be sent, and then the end.
    pub(super) closing: bool,
    next_ticket: u64,
}

impl Core {
    pub(super) fn new(now: Now, ends: Ends) -> Self {
        Self {
            now,
            ends,
            params: Params::default(),
            receiving: Framing::login(MAX_LOGIN_RECV),
            sending: Framing::login(u32::MAX),
            stat_sn: 0,
            exp_cmd_sn: 0,
            max_cmd_sn: 0,
            out: VecDeque::new(),
            closing: false,
            next_ticket: 1,
        }
    }

    /// The first CmdSN is known.
    pub(super) fn start_numbers(&mut self, cmd_sn: u32, stat_sn: u32) {
        self.exp_cmd_sn = cmd_sn;
        self.max_cmd_sn = cmd_sn.wrapping_add(WINDOW - 1);
        self.stat_sn = stat_sn;
    }

    /// A numbered command was taken; `open` are those not yet answered. MaxCmdSN never goes back (RFC 7143 4.2.2.1).
    pub(super) fn window(&mut self, open: usize) {
        let free = WINDOW.saturating_sub(u32::try_from(open).unwrap_or(WINDOW));
        let max = self.exp_cmd_sn.wrapping_add(free).wrapping_sub(1);
        if (max.wrapping_sub(self.max_cmd_sn) as i32) > 0 {
            self.max_cmd_sn = max;
        }
    }

    /// The numbers for a PDU that does not use up a StatSN.
    pub(super) fn numbers(&self) -> Numbers {
        Numbers { stat_sn: self.stat_sn, exp_cmd_sn: self.exp_cmd_sn, max_cmd_sn: self.max_cmd_sn }
    }

    /// The numbers for a PDU that carries a status.
    pub(super) fn advance(&mut self) -> Numbers {
        let at = self.numbers();
        self.stat_sn = self.stat_sn.wrapping_add(1);
        at
    }

    pub(super) fn send(&mut self, response: &Response, payload: Payload) {
        let frame = Frame::new(response.encode(), payload, &self.sending);
        self.out.push_back(Output::Send(Outgoing::Pdu(frame)));
    }

    /// Rejects a PDU (RFC 7143 11.17).
    pub(super) fn reject(&mut self, reason: u8, rejected: &Bhs) {
        let at = self.advance();
        self.send(&Response::Reject { reason, at }, Payload::Owned(rejected.to_vec()));
    }

    pub(super) fn request(&mut self, request: Request) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.out.push_back(Output::Persist(ticket, request));
        ticket
    }

    pub(super) fn event(&mut self, who: Option<&Who>, kind: EventKind) {
        let who = who.cloned().unwrap_or_else(|| Who::ip(self.ends.peer.ip()));
        self.out.push_back(Output::Event(Box::new(Observation::of(who, kind))));
    }
}
