//! What a connection holds once it is logged in: its seat, its disk, and the unit that it shares. They are opened here, worked with, and
//! let go of.

use std::sync::Arc;
use std::sync::mpsc::TryRecvError;

use super::Worker;
use crate::api::{EventKind, Observation, Who};
use crate::disks::BlockDevice;
use crate::iscsi::machine::{Input, Moved, Opened};
use crate::iscsi::scsi::{
    Begun, Buffers, Done, Identity, Job, Reader, Reads, Sanitize, Sense, Task, Unit, execute, resume_sanitize,
    start_sanitize,
};
use crate::iscsi::service::SessionInfo;
use crate::iscsi::service::progress::Counted;
use crate::iscsi::service::registry::{Boot, Key, Seat};
use crate::iscsi::{Gate, Grant, LoginRequest, Refusal};
use crate::machine::{Now, Ticket};
use crate::net::SENDS_FILES;

/// From how many bytes on the kernel sends a read's data from the disk's file, by how many other answers are at hand: many small ones
/// go best together, in one copy, and wake their reader once.
fn least_stored(others: usize) -> u32 {
    match others {
        0 => 4 << 10,
        1..=3 => 16 << 10,
        _ => 32 << 10,
    }
}

/// What a logged-in session holds.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) target: String,
    pub(super) who: Who,
    pub(super) disk: Option<Arc<dyn BlockDevice>>,
    pub(super) unit: Option<Arc<Unit>>,
    /// Something was written since the last flush.
    pub(super) dirty: bool,
    /// The kernel may send from the disk's file.
    pub(super) sends_stored: bool,
    /// What it moves is told; not of a discovery session.
    pub(super) counted: Option<Counted>,
    pub(super) seat: Seat,
}

/// The session's disk, for what a PDU reads of it.
#[derive(Debug)]
pub(super) struct Disk<'a> {
    pub(super) held: Option<&'a Held>,
    pub(super) buffers: &'a mut Buffers,
    /// Other answers that are at hand.
    pub(super) others: usize,
}

impl Reads for Disk<'_> {
    fn read(&mut self, offset: u64, len: u32, may_stay: bool) -> Done {
        let Some(Held { disk: Some(disk), unit: Some(unit), sends_stored, .. }) = self.held else {
            return Done::Failed { sense: Sense::READ_ERROR, error: None };
        };
        if may_stay
            && *sends_stored
            && len >= least_stored(self.others)
            && let Some(extent) = disk.extent(offset, u64::from(len))
        {
            return Done::Stored(extent);
        }
        Reader { unit, disk: disk.as_ref(), buffers: self.buffers }.read(offset, len, may_stay)
    }
}

impl<G: Gate> Worker<'_, G> {
    /// Answers the commands whose sanitize operation has ended.
    pub(super) fn sanitized(&mut self) {
        for (ticket, receiver) in std::mem::take(&mut self.waiting) {
            match receiver.try_recv() {
                Ok(done) => self.handle(Input::Done(ticket, done)),
                Err(TryRecvError::Empty) => self.waiting.push((ticket, receiver)),
                // It is taken up later, and this connection ends with its service.
                Err(TryRecvError::Disconnected) => {}
            }
        }
    }

    /// What a failed sanitize operation says to people.
    fn told(&self) -> impl FnOnce(String) + Send + use<G> {
        let reporter = self.shared.reporter.clone();
        let held = self.session.as_ref().map(|held| (held.who.clone(), held.target.clone()));
        move |message| {
            if let Some((who, target)) = held {
                let kind = EventKind::IscsiError { target, lba: 0, message };
                reporter.report(Now::read(), Observation::of(who, kind));
            }
        }
    }

    /// Begins a sanitize operation; what its command is answered with at once.
    pub(super) fn sanitize(
        &mut self,
        ticket: Ticket,
        order: &Sanitize,
        begun: &Begun,
        immediate: bool,
    ) -> Option<Done> {
        let Some(Held { disk: Some(disk), unit: Some(unit), .. }) = &self.session else { return Some(Done::Good) };
        match start_sanitize(unit, order, begun, disk.clone(), self.told()) {
            Ok(begun) => {
                self.shared.threads().push(begun.thread);
                if immediate {
                    return Some(Done::Good);
                }
                self.waiting.push((ticket, begun.done));
                None
            }
            Err(done) => Some(done),
        }
    }

    /// From now on this target's disk is read: an error in that can be told to the initiator, whose header is not sent yet then. If the
    /// connection has to end now, the initiator comes back and asks again.
    pub(super) fn send_stored_no_more(&mut self) {
        if let Some(held) = &mut self.session {
            held.sends_stored = false;
            self.shared.unsendable().insert(held.target.clone());
        }
    }

    pub(super) fn execute(&mut self, task: &Task, data: &[u8]) -> Done {
        let Some(held) = &mut self.session else { return Done::Good };
        let (Some(disk), Some(unit)) = (&held.disk, &held.unit) else { return Done::Good };
        match &task.job {
            Job::Verify { .. }
            | Job::Allocation { .. }
            | Job::Remember { .. }
            | Job::ExitFailure
            | Job::Settle { .. } => {}
            Job::Flush => held.dirty = false,
            _ => held.dirty = true,
        }
        execute(task, data, unit, disk.as_ref(), &mut self.buffers)
    }

    /// Makes room for a session and opens its disk.
    pub(super) fn open(
        &mut self,
        login: &LoginRequest,
        grant: Option<Grant>,
        isid: [u8; 6],
    ) -> Result<Opened, Refusal> {
        let registry = &self.shared.registry;
        let Some(grant) = grant else {
            let seat = registry.seat(self.id, None)?;
            let tsih = seat.tsih;
            let who = Who::ip(self.peer.ip());
            self.session = Some(Held {
                target: String::new(),
                who,
                disk: None,
                unit: None,
                dirty: false,
                sends_stored: false,
                counted: None,
                seat,
            });
            return Ok(Opened { tsih, nexus: None, moved: Arc::default() });
        };
        let key = Key {
            scope: grant.scope.clone(),
            initiator: login.initiator.clone(),
            isid,
            target: login.target.clone(),
            boot: Boot { firmware: login.firmware, epoch: grant.boot },
        };
        let seat = registry.seat(self.id, Some(key))?;
        let disk = self.shared.gate.open(login, &grant)?;
        let identity = Identity {
            target: login.target.clone(),
            serial: grant.serial.clone(),
            removable: grant.removable,
            readonly: disk.readonly(),
            medium: disk.medium(),
            atomic: disk.atomic(),
        };
        let unit = registry.unit(seat.tsih, identity, disk.size(), grant.memory.as_deref())?;
        let isid: String = isid.iter().map(|b| format!("{b:02x}")).collect();
        let name = format!("{},i,0x{isid}", login.initiator.to_ascii_lowercase());
        let nexus = unit.attach(name);
        let tsih = seat.tsih;
        self.now = Now::read();
        registry.opened(SessionInfo {
            tsih,
            initiator: login.initiator.clone(),
            target: login.target.clone(),
            disk: grant.disk,
            who: grant.who.clone(),
            peer: self.peer,
            firmware: login.firmware,
            since: self.now,
        });
        let moved = Arc::<Moved>::default();
        let counted = self.shared.progress.count(tsih, login.target.clone(), grant.who.clone(), moved.clone());
        self.session = Some(Held {
            target: login.target.clone(),
            who: grant.who,
            disk: Some(disk),
            unit: Some(unit),
            dirty: false,
            sends_stored: SENDS_FILES && !self.shared.unsendable().contains(&login.target),
            counted: Some(counted),
            seat,
        });
        self.resume();
        Ok(Opened { tsih, nexus: Some(nexus), moved })
    }

    /// A sanitize operation that a restart interrupted goes on with the first session.
    fn resume(&self) {
        let Some(Held { disk: Some(disk), unit: Some(unit), .. }) = &self.session else { return };
        let thread = resume_sanitize(unit, disk, self.told());
        self.shared.threads().extend(thread);
    }

    /// Lets go of everything, the seat last: who waits for it may open the disk.
    pub(super) fn close(mut self) {
        self.connection = None;
        let now = Now::read();
        if let Some(Held { target, who, disk, unit, dirty, seat, counted, .. }) = self.session.take() {
            drop(unit);
            // The last that it moved is told before its end.
            drop(counted);
            if let Some(disk) = disk {
                if dirty && let Err(error) = disk.flush() {
                    let message = format!("the last writes could not be made durable: {error}");
                    let kind = EventKind::IscsiError { target, lba: 0, message };
                    self.shared.reporter.report(now, Observation::of(who, kind));
                }
                drop(disk);
            }
            drop(seat);
        }
        for observation in self.ended.drain(..) {
            self.shared.reporter.report(now, observation);
        }
    }
}
