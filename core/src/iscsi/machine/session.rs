//! Full-feature phase: what a session knows, and which part of it a PDU is for.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::super::wire::request::{Request as Pdu, TaskManagement};
use super::super::wire::{NO_TAG, Raw};
use super::command::{Running, Taking};
use super::control::TextState;
use super::core::{Core, WINDOW};
use super::landing::{Landing, Piece};
use super::{Moved, Opened, Request};
use crate::api::{EventKind, Who};
use crate::iscsi::LoginRequest;
use crate::iscsi::scsi::{Buffers, Done, Nexus, Reads};
use crate::machine::Ticket;

/// The same trouble is told again after this time: a disk that is full fails every write.
const TROUBLE_EVERY: Duration = Duration::from_secs(5);

/// Reasons of Reject (RFC 7143 11.17.1).
pub(super) const SNACK: u8 = 0x03;
pub(super) const PROTOCOL_ERROR: u8 = 0x04;
pub(super) const NOT_SUPPORTED: u8 = 0x05;
pub(super) const TOO_MANY_IMMEDIATE: u8 = 0x06;
pub(super) const TASK_IN_PROGRESS: u8 = 0x07;
pub(super) const INVALID_FIELD: u8 = 0x09;

/// Commands by the tickets of their jobs. The service mostly has but one, so it is a list.
#[derive(Debug, Default)]
pub(super) struct Tasks(Vec<(Ticket, Running)>);

impl Tasks {
    pub(super) fn insert(&mut self, ticket: Ticket, running: Running) {
        self.0.push((ticket, running));
    }

    pub(super) fn remove(&mut self, ticket: &Ticket) -> Option<Running> {
        let at = self.0.iter().position(|(t, _)| t == ticket)?;
        Some(self.0.swap_remove(at).1)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &Running> {
        self.0.iter().map(|(_, running)| running)
    }

    pub(super) fn retain(&mut self, mut keep: impl FnMut(&Ticket, &mut Running) -> bool) {
        self.0.retain_mut(|(ticket, running)| keep(ticket, running));
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// A session with its one connection.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) login: LoginRequest,
    pub(super) who: Option<Who>,
    pub(super) cid: u16,
    pub(super) tsih: u16,
    /// None in a discovery session.
    pub(super) nexus: Option<Nexus>,
    /// Commands whose data are coming in, by task tag.
    pub(super) taking: HashMap<u32, Taking>,
    /// Those of them that wait for room for their R2T, in order.
    pub(super) queue: VecDeque<u32>,
    /// Bytes that R2Ts have asked for and commands still hold.
    pub(super) granted: u64,
    pub(super) next_ttt: u32,
    /// Commands that the service carries out.
    pub(super) running: Tasks,
    /// Buffers for the data of writes.
    pub(super) pool: Buffers,
    /// [`Nexus::epoch`] when it was looked at last.
    pub(super) epoch: u64,
    /// Functions whose answer waits until the tasks have ended that they abort.
    pub(super) managing: Vec<(Ticket, TaskManagement)>,
    pub(super) text: TextState,
    pub(super) moved: Arc<Moved>,
    /// The trouble with the storage that was told last, and when.
    trouble: Option<(String, Duration)>,
}

impl Session {
    pub(super) fn new(login: LoginRequest, who: Option<Who>, cid: u16, opened: Opened) -> Self {
        Self {
            login,
            who,
            cid,
            tsih: opened.tsih,
            epoch: opened.nexus.as_ref().map_or(0, Nexus::epoch),
            managing: Vec::new(),
            nexus: opened.nexus,
            taking: HashMap::new(),
            queue: VecDeque::new(),
            granted: 0,
            next_ttt: 1,
            running: Tasks::default(),
            pool: Buffers::default(),
            text: TextState::default(),
            moved: opened.moved,
            trouble: None,
        }
    }

    pub(super) fn pdu(&mut self, core: &mut Core, raw: Raw<'_>, landed: Option<Landing>, disk: &mut dyn Reads) {
        let pdu = Pdu::decode(raw.bhs);
        let numbered = match &pdu {
            Pdu::NopOut(p) => Some((p.cmd_sn, p.immediate || p.itt == NO_TAG)),
            Pdu::Command(p) => Some((p.cmd_sn, p.immediate)),
            Pdu::TaskManagement(p) => Some((p.cmd_sn, p.immediate)),
            Pdu::Text(p) => Some((p.cmd_sn, p.immediate)),
            Pdu::Logout(p) => Some((p.cmd_sn, p.immediate)),
            _ => None,
        };
        if let Some((cmd_sn, false)) = numbered {
            // Out of the window, or a gap, which one connection never fills: silently ignored (RFC 7143 4.2.2.1).
            if cmd_sn != core.exp_cmd_sn || (core.max_cmd_sn.wrapping_sub(cmd_sn) as i32) < 0 {
                return;
            }
            core.exp_cmd_sn = core.exp_cmd_sn.wrapping_add(1);
        } else if self.open() > 2 * WINDOW as usize {
            self.reject(core, TOO_MANY_IMMEDIATE, raw);
            return;
        }
        self.sweep(core);
        let piece = landed.map_or(Piece::Passing(raw.data), Piece::Landed);
        let discovery = self.nexus.is_none();
        match pdu {
            Pdu::Command(_) | Pdu::TaskManagement(_) | Pdu::DataOut(_) if discovery => {
                self.reject(core, PROTOCOL_ERROR, raw);
            }
            Pdu::Command(command) => self.command(core, command, raw, piece, disk),
            Pdu::DataOut(data) => self.data_out(core, &data, piece, disk),
            Pdu::NopOut(nop) => self.nop(core, &nop, raw),
            Pdu::TaskManagement(request) => self.task_management(core, &request),
            Pdu::Text(request) => self.text(core, &request, raw),
            Pdu::Logout(request) => self.logout(core, &request),
            Pdu::Snack(_) => self.reject(core, SNACK, raw),
            Pdu::Login(_) => self.reject(core, PROTOCOL_ERROR, raw),
            Pdu::Unknown(_) => self.reject(core, NOT_SUPPORTED, raw),
        }
        core.window(self.open());
    }

    /// The service has carried a job out.
    pub(super) fn done(&mut self, core: &mut Core, ticket: Ticket, done: Done) {
        if let Some(running) = self.running.remove(&ticket) {
            self.ran(core, &running, done);
        } else {
            self.settled(core, ticket, &done);
        }
        core.window(self.open());
    }

    /// Tells people of a failure of the storage.
    pub(super) fn trouble(&mut self, core: &mut Core, lba: u64, message: String) {
        let now = core.now;
        if self.trouble.as_ref().is_some_and(|(last, at)| *last == message && now.boot < *at + TROUBLE_EVERY) {
            return;
        }
        self.trouble = Some((message.clone(), now.boot));
        let target = self.login.target.clone();
        core.event(self.who.as_ref(), EventKind::IscsiError { target, lba, message });
    }

    /// Commands that are not answered yet.
    pub(super) fn open(&self) -> usize {
        self.taking.len() + self.running.len() + self.managing.len()
    }

    /// iPXE drops a connection on Reject: it gets the end of the connection at once, which it handles better.
    pub(super) fn reject(&mut self, core: &mut Core, reason: u8, raw: Raw<'_>) {
        if self.login.firmware {
            self.end(core, "the firmware broke the protocol");
            core.closing = true;
        } else {
            core.reject(reason, raw.bhs);
        }
    }

    pub(super) fn ask_targets(&mut self, core: &mut Core) -> Ticket {
        core.request(Request::Targets { initiator: self.login.initiator.clone() })
    }

    /// The session is over.
    pub(super) fn end(&mut self, core: &mut Core, reason: &str) {
        if self.nexus.take().is_none() {
            return;
        }
        let (target, session) = (self.login.target.clone(), self.tsih);
        core.event(self.who.as_ref(), EventKind::IscsiEnded { target, session, reason: reason.to_owned() });
    }
}
