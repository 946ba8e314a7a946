//! SCSI commands: data out (immediate, unsolicited, solicited by R2T), data in, status (RFC 7143 4.2.5, 11.3 to 11.8).

use std::sync::Arc;

use super::super::wire::request::{DataOut, ScsiCommand};
use super::super::wire::response::{Residual, Response};
use super::super::wire::{NO_TAG, Payload, Raw};
use super::Request;
use super::core::Core;
use super::landing::{Gathered, Piece};
use super::session::{INVALID_FIELD, Session, TASK_IN_PROGRESS};
use crate::disks::Extent;
use crate::iscsi::scsi::{Action, BLOCK, Data, Done, Reads, Sense, Status, elsewhere};

/// Bytes that R2Ts may ask for at one time, over all commands of a session.
const BUDGET: u64 = 16 << 20;

/// iSCSI's own reasons for a failed command (RFC 7143 11.4.7.2).
const UNSOLICITED: Sense = Sense::new(0xb, 0x0c0c);
const WRONG_AMOUNT: Sense = Sense::new(0xb, 0x0c0d);
const SEQUENCE: Sense = Sense::new(0xb, 0x4705);

/// What is known of a command until its status is sent.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) command: ScsiCommand,
    /// Resets of the unit before it began.
    pub(super) epoch: u64,
    /// Bytes that the command moves by itself, whatever was expected.
    intended: u64,
}

/// A command whose data are coming in.
#[derive(Debug)]
pub(super) struct Taking {
    pub(super) running: Running,
    pub(super) data: Gathered,
    /// Bytes that we want of it.
    pub(super) goal: u32,
    /// How it ends when the data that come by themselves have come; these are thrown away.
    pub(super) refused: Option<Action>,
    pub(super) sequence: Sequence,
    r2t_sn: u32,
    granted: u64,
}

/// The run of Data-Outs that is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sequence {
    /// Unsolicited, at most up to this offset.
    Unsolicited { data_sn: u32, end: u32 },
    /// Waits for room for the next R2T.
    Queued,
    /// Asked for, up to this offset.
    Solicited { ttt: u32, data_sn: u32, end: u32 },
}

/// Where the data of a command are.
#[derive(Clone)]
enum Source {
    /// In a buffer, from this place on.
    Memory(Arc<Vec<u8>>, usize),
    /// In a file.
    File(Extent),
}

impl Source {
    /// The `len` bytes from this offset on.
    fn part(self, offset: u32, len: u32) -> Payload {
        match self {
            Self::Memory(buffer, start) => {
                let start = start + offset as usize;
                Payload::Shared(buffer, start..start + len as usize)
            }
            Self::File(extent) => {
                let offset = extent.offset + u64::from(offset);
                Payload::Stored(Extent { file: extent.file, offset, len: u64::from(len) })
            }
        }
    }
}

impl Session {
    pub(super) fn command(
        &mut self,
        core: &mut Core,
        command: ScsiCommand,
        raw: Raw<'_>,
        immediate: Piece<'_>,
        disk: &mut dyn Reads,
    ) {
        if self.taking.contains_key(&command.itt) || command.itt == NO_TAG {
            self.reject(core, TASK_IN_PROGRESS, raw);
            return;
        }
        if immediate.len() > 0 && (!command.write || !core.params.immediate_data) {
            self.reject(core, INVALID_FIELD, raw);
            return;
        }
        let Some(nexus) = &self.nexus else { return };
        let epoch = nexus.epoch();
        let action = match lun(command.lun) {
            Lun::Zero => nexus.begin(&command.cdb),
            Lun::WellKnown => elsewhere(&command.cdb, true),
            Lun::Other => elsewhere(&command.cdb, false),
        };
        let action = match action {
            Action::TakeExactly(wanted) if wanted != if command.write { command.expected } else { 0 } => {
                Sense::CDB_FIELD.into()
            }
            Action::TakeExactly(0) => Action::Status(Status::Good),
            Action::TakeExactly(wanted) => Action::Take(wanted),
            action => action,
        };
        let mut running = Running { command, epoch, intended: 0 };
        let command = &running.command;
        let (goal, refused) = match action {
            Action::Take(wanted) => {
                running.intended = u64::from(wanted);
                (if command.write { wanted.min(command.expected) } else { 0 }, None)
            }
            action if command.write && !command.last => (0, Some(action)),
            action => {
                self.act(core, running, action, Data::default(), disk);
                return;
            }
        };
        let (itt, first_burst) = (command.itt, core.params.first_burst.min(command.expected));
        let more = command.write && !command.last;
        let mut taking = Taking {
            running,
            data: Gathered::default(),
            goal,
            refused,
            sequence: Sequence::Queued,
            r2t_sn: 0,
            granted: 0,
        };
        if immediate.len() as u64 > u64::from(first_burst) {
            taking.refused = Some(UNSOLICITED.into());
        } else {
            taking.data.put(immediate, goal as usize, &mut self.pool);
        }
        if more {
            if core.params.initial_r2t {
                taking.refused = Some(UNSOLICITED.into());
            }
            taking.sequence = Sequence::Unsolicited { data_sn: 0, end: first_burst };
            self.taking.insert(itt, taking);
            return;
        }
        self.go_on(core, taking, disk);
    }

    pub(super) fn data_out(&mut self, core: &mut Core, pdu: &DataOut, piece: Piece<'_>, disk: &mut dyn Reads) {
        // Of an aborted or failed command: the initiator could not know yet.
        let Some(mut taking) = self.taking.remove(&pdu.itt) else { return };
        let (expected_sn, end, ttt) = match taking.sequence {
            Sequence::Unsolicited { data_sn, end } => (data_sn, end, NO_TAG),
            Sequence::Solicited { ttt, data_sn, end } => (data_sn, end, ttt),
            Sequence::Queued => {
                self.fail(core, &taking, UNSOLICITED);
                return;
            }
        };
        let at = taking.data.len() as u64;
        let overlong = u64::from(pdu.offset) + piece.len() as u64 > u64::from(end);
        if taking.refused.is_none() {
            if pdu.ttt != ttt || overlong {
                let sense = if overlong { WRONG_AMOUNT } else { UNSOLICITED };
                self.fail(core, &taking, sense);
                return;
            }
            // DataPDUInOrder and DataSequenceInOrder are Yes. Unsolicited data beyond the goal were thrown away.
            if pdu.data_sn != expected_sn || u64::from(pdu.offset) != at && at < u64::from(taking.goal) {
                self.fail(core, &taking, SEQUENCE);
                return;
            }
            taking.data.put(piece, taking.goal as usize, &mut self.pool);
        }
        match &mut taking.sequence {
            Sequence::Unsolicited { data_sn, .. } | Sequence::Solicited { data_sn, .. } => {
                *data_sn = data_sn.wrapping_add(1);
            }
            Sequence::Queued => {}
        }
        if !pdu.last {
            self.taking.insert(pdu.itt, taking);
            return;
        }
        let short =
            matches!(taking.sequence, Sequence::Solicited { end, .. } if (taking.data.len() as u64) < u64::from(end));
        if short && taking.refused.is_none() {
            self.fail(core, &taking, WRONG_AMOUNT);
            return;
        }
        self.go_on(core, taking, disk);
    }

    /// A sequence is complete: ask for the next, or carry the command out.
    fn go_on(&mut self, core: &mut Core, mut taking: Taking, disk: &mut dyn Reads) {
        if let Some(action) = taking.refused.take() {
            self.release(taking.granted);
            self.act(core, taking.running, action, Data::default(), disk);
        } else if taking.data.len() as u64 >= u64::from(taking.goal) {
            let stale = self.nexus.as_ref().is_none_or(|n| n.epoch() != taking.running.epoch);
            self.release(taking.granted);
            if !stale && let Some(nexus) = &self.nexus {
                let action = nexus.data(&taking.running.command.cdb, taking.data.bytes());
                self.act(core, taking.running, action, taking.data.into_data(), disk);
            }
        } else {
            let itt = taking.running.command.itt;
            taking.sequence = Sequence::Queued;
            // One that has begun holds room that others wait for: it comes first, or all would wait for ever.
            let begun = taking.granted > 0;
            self.taking.insert(itt, taking);
            if begun {
                self.queue.push_front(itt);
            } else {
                self.queue.push_back(itt);
            }
        }
        self.grant(core);
    }

    fn release(&mut self, granted: u64) {
        self.granted = self.granted.saturating_sub(granted);
    }

    /// Sends R2Ts while there is room.
    pub(super) fn grant(&mut self, core: &mut Core) {
        while let Some(&itt) = self.queue.front() {
            let Some(taking) = self.taking.get_mut(&itt).filter(|t| t.sequence == Sequence::Queued) else {
                self.queue.pop_front();
                continue;
            };
            let offset = u32::try_from(taking.data.len()).unwrap_or(u32::MAX);
            let len = taking.goal.saturating_sub(offset).min(core.params.max_burst);
            // A command that has begun goes on, or two could wait for each other.
            let begun = taking.granted > 0;
            if !begun && self.granted > 0 && self.granted + u64::from(taking.goal) > BUDGET {
                return;
            }
            self.queue.pop_front();
            if !begun {
                taking.granted = u64::from(taking.goal);
                self.granted += taking.granted;
            }
            let ttt = self.next_ttt;
            self.next_ttt = if ttt == NO_TAG - 1 { 1 } else { ttt + 1 };
            taking.sequence = Sequence::Solicited { ttt, data_sn: 0, end: offset + len };
            let r2t_sn = taking.r2t_sn;
            taking.r2t_sn += 1;
            let lun = taking.running.command.lun;
            let at = core.numbers();
            core.send(&Response::R2t { lun, itt, ttt, at, r2t_sn, offset, len }, Payload::None);
        }
    }

    fn fail(&mut self, core: &mut Core, taking: &Taking, sense: Sense) {
        self.release(taking.granted);
        self.status(core, &taking.running, Status::CheckCondition, Some(sense), 0);
        self.grant(core);
    }

    /// Does what a command comes to.
    fn act(&mut self, core: &mut Core, mut running: Running, action: Action, data: Data, disk: &mut dyn Reads) {
        match action {
            Action::Status(status) => self.status(core, &running, status, None, data.len() as u64),
            Action::Check(sense) => self.status(core, &running, Status::CheckCondition, Some(sense), 0),
            Action::Data(data) => {
                let len = data.len();
                self.data_in(core, &running, Source::Memory(Arc::new(data), 0), len as u64, len as u64);
            }
            // Only the beginning of a command takes data.
            Action::Take(_) | Action::TakeExactly(_) => {
                self.status(core, &running, Status::CheckCondition, Some(Sense::SHORT_DATA), 0);
            }
            Action::Sanitize { order, immediate } => {
                running.intended = data.len() as u64;
                let Some(nexus) = &self.nexus else { return };
                let begun = nexus.begun(running.epoch);
                let ticket = core.request(Request::Sanitize { order, begun, immediate });
                self.running.insert(ticket, running);
            }
            Action::Read { offset, len } => {
                running.intended = u64::from(len);
                let wanted = if running.command.read { running.command.expected } else { 0 };
                // An initiator may expect up to 4 GiB less a byte, which rounds to more than the number holds.
                let len = len.min(wanted.checked_next_multiple_of(BLOCK as u32).unwrap_or(u32::MAX));
                if len == 0 {
                    self.status(core, &running, Status::Good, None, 0);
                    return;
                }
                // What is to have a digest has to be seen.
                let done = disk.read(offset, len, !core.sending.data_digest);
                self.ran(core, &running, done);
            }
            Action::Run(job) => {
                let Some(nexus) = &self.nexus else { return };
                let ticket = core.request(Request::Run { job: nexus.task(job, running.epoch), data });
                self.running.insert(ticket, running);
            }
        }
    }

    /// A job was carried out.
    pub(super) fn ran(&mut self, core: &mut Core, running: &Running, done: Done) {
        // A reset in the meantime has aborted it.
        if self.nexus.as_ref().is_none_or(|n| n.epoch() != running.epoch) {
            return;
        }
        match done {
            Done::Good => {
                let moved = running.intended.min(u64::from(running.command.expected));
                if running.command.write {
                    self.moved.written(moved);
                }
                self.status(core, running, Status::Good, None, moved);
            }
            Done::Data(buffer, range) => {
                let len = range.len() as u64;
                self.moved.read(len);
                self.data_in(core, running, Source::Memory(buffer, range.start), running.intended.max(len), len);
            }
            Done::Stored(extent) => {
                let len = extent.len;
                self.moved.read(len);
                self.data_in(core, running, Source::File(extent), running.intended.max(len), len);
            }
            Done::Failed { sense, error } => {
                if let Some(message) = error {
                    self.trouble(core, super::control::lba(&running.command.cdb), message);
                }
                self.status(core, running, Status::CheckCondition, Some(sense), 0);
            }
            Done::Conflict => self.status(core, running, Status::ReservationConflict, None, 0),
            Done::Aborted => {}
        }
    }

    /// Sends `len` bytes, and the good status in the last of their PDUs.
    fn data_in(&mut self, core: &mut Core, running: &Running, source: Source, intended: u64, len: u64) {
        let command = &running.command;
        let expected = if command.read { command.expected } else { 0 };
        let total = len.min(u64::from(expected)) as u32;
        if total == 0 {
            let running = Running { command: command.clone(), epoch: running.epoch, intended };
            self.status(core, &running, Status::Good, None, 0);
            return;
        }
        let (mut offset, mut data_sn, mut burst) = (0_u32, 0_u32, 0_u32);
        loop {
            let n = (total - offset).min(core.params.max_send).min(core.params.max_burst - burst);
            burst += n;
            let end = offset + n == total;
            let last = end || burst == core.params.max_burst;
            if last {
                burst = 0;
            }
            let at = if end { core.advance() } else { core.numbers() };
            let response = Response::DataIn {
                last,
                status: end.then_some(Status::Good as u8),
                residual: if end { residual(expected, intended) } else { Residual::None },
                lun: command.lun,
                itt: command.itt,
                at,
                data_sn,
                offset,
            };
            if end {
                core.send(&response, source.part(offset, n));
                return;
            }
            core.send(&response, source.clone().part(offset, n));
            offset += n;
            data_sn += 1;
        }
    }

    fn status(&mut self, core: &mut Core, running: &Running, status: Status, sense: Option<Sense>, moved: u64) {
        let command = &running.command;
        let told = status == Status::Good || sense == Some(Sense::INFORMATION_UNIT);
        let residual = if told && running.intended > 0 {
            residual(if command.read || command.write { command.expected } else { 0 }, running.intended)
        } else {
            residual(command.expected, moved.min(u64::from(command.expected)))
        };
        let payload = match sense {
            Some(sense) => {
                let descriptor = self.nexus.as_ref().is_some_and(|n| n.descriptor_sense());
                let sense = sense.encode(descriptor);
                let mut data = (sense.len() as u16).to_be_bytes().to_vec();
                data.extend_from_slice(&sense);
                Payload::Owned(data)
            }
            None => Payload::None,
        };
        let at = core.advance();
        let (itt, status) = (command.itt, status as u8);
        core.send(&Response::Scsi { response: 0, status, itt, at, exp_data_sn: 0, residual }, payload);
    }
}

impl Taking {
    /// Bytes that its R2Ts may ask for.
    pub(super) fn granted(&self) -> u64 {
        self.granted
    }
}

fn residual(expected: u32, intended: u64) -> Residual {
    let count = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
    match u64::from(expected).cmp(&intended) {
        std::cmp::Ordering::Equal => Residual::None,
        std::cmp::Ordering::Greater => Residual::Under(count(u64::from(expected) - intended)),
        std::cmp::Ordering::Less => Residual::Over(count(intended - u64::from(expected))),
    }
}

/// Which logical unit is meant (SAM-5 4.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lun {
    Zero,
    WellKnown,
    Other,
}

pub(super) fn lun(lun: [u8; 8]) -> Lun {
    match lun {
        [0x00 | 0x40, 0, 0, 0, 0, 0, 0, 0] => Lun::Zero,
        [0xc1, 0x01, 0, 0, 0, 0, 0, 0] => Lun::WellKnown,
        _ => Lun::Other,
    }
}
