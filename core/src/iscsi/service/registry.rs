//! Which connections and sessions there are, and which unit belongs to which disk.

use std::collections::{BTreeMap, HashMap};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::SessionInfo;
use crate::iscsi::Refusal;
use crate::iscsi::scsi::{Identity, Memory, Unit};

/// Sessions at one time.
const MAX_SESSIONS: usize = 512;
/// Discovery sessions at one time: they need no permission and must not take the disks' seats.
const MAX_DISCOVERY: usize = 64;
/// Connections at one time, those included that have not logged in.
const MAX_CONNECTIONS: usize = 1024;
/// Units that are kept for their registrations while no session has them open.
const MAX_UNITS: usize = 1024;
/// How long a new login waits for the older session that it replaces: a slow disk flushes what that one had written.
const LET_GO: Duration = Duration::from_secs(30);

/// The name of a session (RFC 7143 4.4.3), within its scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) scope: String,
    pub(super) initiator: String,
    pub(super) isid: [u8; 6],
    pub(super) target: String,
    /// What else tells that a session cannot be alive any more.
    pub(super) boot: Boot,
}

/// At which point of its boots a machine opened a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Boot {
    /// By its firmware, not by its operating system.
    pub(super) firmware: bool,
    /// [`crate::iscsi::Grant::boot`].
    pub(super) epoch: Option<u64>,
}

impl Key {
    fn same_session(&self, other: &Self) -> bool {
        self.same_disk(other) && self.initiator == other.initiator && self.isid == other.isid
    }

    fn same_disk(&self, other: &Self) -> bool {
        self.scope == other.scope && self.target == other.target
    }

    /// Why a session of the same machine must be dead now that `self` logs in. Firmware never logs out, and a machine that lost its
    /// power says nothing at all; what such a session had reserved would be in the way of the next boot.
    fn outlives(&self, other: &Self) -> Option<&'static str> {
        if self.same_session(other) {
            return Some("the same initiator logged in again");
        }
        let (Some(epoch), Some(before)) = (self.boot.epoch, other.boot.epoch) else { return None };
        // Two that log in at the same time may come here in the other order.
        if !self.same_disk(other) || epoch < before {
            return None;
        }
        match (self.boot.firmware, other.boot.firmware) {
            (true, false) => Some("its machine booted again"),
            (true, true) if epoch > before => Some("its machine booted again"),
            (false, true) => Some("the operating system took over"),
            _ => None,
        }
    }
}

#[derive(Debug)]
struct Entry {
    key: Option<Key>,
    connection: u64,
    unit: Weak<Unit>,
    /// Set when the disk is open.
    info: Option<SessionInfo>,
}

#[derive(Debug)]
struct Link {
    stream: TcpStream,
    /// Why we close it.
    reason: Option<&'static str>,
}

#[derive(Debug, Default)]
struct Inner {
    sessions: BTreeMap<u16, Entry>,
    last_tsih: u16,
    connections: HashMap<u64, Link>,
    last_connection: u64,
    /// By target name and serial number.
    units: HashMap<(String, String), Arc<Unit>>,
    stopping: bool,
}

impl Inner {
    /// The unit that is there already, for one more session.
    fn known(&mut self, tsih: u16, identity: &Identity, size: u64) -> Option<Arc<Unit>> {
        let key = (identity.target.clone(), identity.serial.clone());
        let unit = self.units.get(&key)?;
        if unit.is_forgotten() || unit.is_replaced(identity) {
            self.units.remove(&key);
        }
        let unit = self.units.get_mut(&key)?;
        // One that is being sanitized stays as it is; another medium has nothing to do with that.
        let same = unit.identity() == identity || unit.is_sanitizing() && unit.identity().medium == identity.medium;
        if !unit.is_idle() {
            unit.resized(size);
        } else if same {
            unit.power_on(size);
        } else {
            // What lab.toml says of the disk has changed since.
            *unit = unit.renewed(identity.clone(), size);
        }
        let unit = unit.clone();
        if self.stopping {
            unit.stop_sanitizing();
        }
        self.uses(tsih, &unit);
        Some(unit)
    }

    fn uses(&mut self, tsih: u16, unit: &Arc<Unit>) {
        if let Some(entry) = self.sessions.get_mut(&tsih) {
            entry.unit = Arc::downgrade(unit);
        }
    }

    /// Lets go of units that nobody has open and that have nothing to keep.
    fn clear_out(&mut self) {
        self.units.retain(|_, unit| Arc::strong_count(unit) > 1 || unit.keeps());
        // Registrations of machines that do not come back must not fill the memory. Those with APTPL are in a file anyway.
        while self.units.len() > MAX_SESSIONS + MAX_UNITS {
            let idle = self.units.iter().find(|(_, unit)| Arc::strong_count(unit) == 1).map(|(key, _)| key.clone());
            let Some(key) = idle else { return };
            self.units.remove(&key);
        }
    }

    fn close(&mut self, connection: u64, reason: &'static str) {
        if let Some(link) = self.connections.get_mut(&connection) {
            link.reason.get_or_insert(reason);
            // Its thread wakes from whatever read or write it is in.
            let _ = link.stream.shutdown(Shutdown::Both);
        }
    }
}

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Registry {
    inner: Mutex<Inner>,
    left: Condvar,
}

/// A place among the sessions; given up when dropped.
#[derive(Debug)]
pub(super) struct Seat {
    registry: Arc<Registry>,
    pub(super) tsih: u16,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.registry.inner().sessions.remove(&self.tsih);
        self.registry.left.notify_all();
    }
}

impl Registry {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Each change is one insertion or removal, so a panic elsewhere leaves nothing half done.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection came; `None` if there are too many, or all are to end.
    pub(super) fn connected(&self, stream: &TcpStream) -> Option<u64> {
        let mut inner = self.inner();
        if inner.stopping || inner.connections.len() >= MAX_CONNECTIONS {
            return None;
        }
        let stream = stream.try_clone().ok()?;
        inner.last_connection += 1;
        let id = inner.last_connection;
        inner.connections.insert(id, Link { stream, reason: None });
        Some(id)
    }

    /// A connection is gone.
    pub(super) fn disconnected(&self, id: u64) {
        self.inner().connections.remove(&id);
    }

    /// Why we closed a connection, if we did.
    pub(super) fn reason(&self, id: u64) -> Option<&'static str> {
        self.inner().connections.get(&id).and_then(|link| link.reason)
    }

    /// Takes a seat; ends the sessions first that this login outlives, and waits until those have let go of their disk.
    pub(super) fn seat(self: &Arc<Self>, connection: u64, key: Option<Key>) -> Result<Seat, Refusal> {
        let mut inner = self.inner();
        if let Some(key) = &key {
            let until = Instant::now() + LET_GO;
            loop {
                // Anew each time: another login of the same name may have come in between.
                let older: Vec<(u64, &'static str)> = inner
                    .sessions
                    .values()
                    .filter_map(|e| Some((e.connection, key.outlives(e.key.as_ref()?)?)))
                    .collect();
                if older.is_empty() {
                    break;
                }
                for (connection, reason) in &older {
                    inner.close(*connection, reason);
                }
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    let reason = format!("the older session of {} still writes to its disk; try again", key.initiator);
                    return Err(Refusal::new(0x0302, reason));
                }
                inner = self.left.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0;
            }
        }
        let listing = inner.sessions.values().filter(|e| e.key.is_none()).count();
        let full = match &key {
            None => listing >= MAX_DISCOVERY,
            Some(_) => inner.sessions.len() - listing >= MAX_SESSIONS,
        };
        if inner.stopping || full {
            return Err(Refusal::new(0x0302, format!("{MAX_SESSIONS} sessions are open; end some of them first")));
        }
        let mut tsih = inner.last_tsih;
        loop {
            tsih = tsih.wrapping_add(1).max(1);
            if !inner.sessions.contains_key(&tsih) {
                break;
            }
        }
        inner.last_tsih = tsih;
        inner.sessions.insert(tsih, Entry { key, connection, unit: Weak::new(), info: None });
        Ok(Seat { registry: self.clone(), tsih })
    }

    /// The session is open.
    pub(super) fn opened(&self, info: SessionInfo) {
        if let Some(entry) = self.inner().sessions.get_mut(&info.tsih) {
            entry.info = Some(info);
        }
    }

    /// The unit of a disk: the same one for all sessions that have it open, and for those that come later if it has something to keep.
    /// It remembers what its file says.
    pub(super) fn unit(
        &self,
        tsih: u16,
        identity: Identity,
        size: u64,
        memory: Option<&Path>,
    ) -> Result<Arc<Unit>, Refusal> {
        if let Some(unit) = self.inner().known(tsih, &identity, size) {
            return Ok(unit);
        }
        // Not under the lock: nobody has to wait for this file but who wants it.
        let memory = match memory {
            Some(path) => Memory::open(path).map_err(|e| Refusal::new(0x0301, e.to_string()))?,
            None => Memory::volatile(),
        };
        let mut inner = self.inner();
        if let Some(unit) = inner.known(tsih, &identity, size) {
            return Ok(unit);
        }
        let key = (identity.target.clone(), identity.serial.clone());
        let unit = Unit::with_memory(identity, size, memory);
        if inner.stopping {
            unit.stop_sanitizing();
        }
        inner.uses(tsih, &unit);
        inner.units.insert(key, unit.clone());
        inner.clear_out();
        Ok(unit)
    }

    pub(super) fn sessions(&self) -> Vec<SessionInfo> {
        self.inner().sessions.values().filter_map(|entry| entry.info.clone()).collect()
    }

    pub(super) fn end(&self, tsih: u16) -> bool {
        let mut inner = self.inner();
        let Some(connection) = inner.sessions.get(&tsih).map(|entry| entry.connection) else { return false };
        inner.close(connection, "ended by a command");
        true
    }

    /// A session has reset its unit cold: all others that have it open end.
    pub(super) fn end_others(&self, tsih: u16) {
        let mut inner = self.inner();
        let Some(unit) = inner.sessions.get(&tsih).map(|entry| entry.unit.clone()) else { return };
        let others = inner.sessions.iter().filter(|(other, e)| **other != tsih && Weak::ptr_eq(&e.unit, &unit));
        let others: Vec<u64> = others.map(|(_, entry)| entry.connection).collect();
        for connection in others {
            inner.close(connection, "another initiator reset the target");
        }
    }

    /// No more connections; those that are there end.
    pub(super) fn stop(&self) {
        let mut inner = self.inner();
        inner.stopping = true;
        let all: Vec<u64> = inner.connections.keys().copied().collect();
        for connection in all {
            inner.close(connection, "the engine stopped");
        }
        for unit in inner.units.values() {
            unit.stop_sanitizing();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disks::Medium;
    use crate::iscsi::scsi::{Action, Buffers, Done, execute};

    fn key(isid: u8, firmware: bool, epoch: Option<u64>) -> Key {
        Key {
            scope: "host:1".into(),
            initiator: format!("iqn.2001-04.com.example:{firmware}"),
            isid: [0, 0, 0, 0, 0, isid],
            target: "iqn.2001-04.com.example:disk".into(),
            boot: Boot { firmware, epoch },
        }
    }

    #[test]
    fn a_boot_ends_what_the_boot_before_left_and_nothing_else() {
        let system = key(1, false, Some(4));
        let firmware = key(2, true, Some(4));
        assert!(system.outlives(&firmware).is_some(), "its system has taken over");
        assert!(key(3, true, Some(5)).outlives(&system).is_some(), "it booted again");
        assert!(key(3, true, Some(5)).outlives(&firmware).is_some(), "its firmware never logs out");
        // Several paths of one firmware, several of one system.
        assert!(key(3, true, Some(4)).outlives(&firmware).is_none());
        assert!(key(3, false, Some(4)).outlives(&system).is_none());
        assert!(key(3, false, Some(5)).outlives(&system).is_none(), "a system never ends its own other path");
        assert!(key(3, true, Some(3)).outlives(&firmware).is_none(), "one that began before it");
        // Another disk, another machine, machines that nobody can tell apart.
        let other = Key { target: "iqn.2001-04.com.example:other".into(), ..key(3, true, Some(5)) };
        assert!(other.outlives(&system).is_none());
        let other = Key { scope: "host:2".into(), ..key(1, false, Some(4)) };
        assert!(other.outlives(&system).is_none());
        assert!(key(3, true, None).outlives(&key(1, false, None)).is_none());
        assert!(key(1, false, None).outlives(&key(1, false, None)).is_some(), "the same session, reinstated");
    }

    /// Makes a registration that is in no file.
    fn register(unit: &Arc<Unit>) {
        let nexus = unit.attach("a".into());
        let mut cdb = [0; 16];
        // The power-on is told first.
        let _told = nexus.begin(&cdb);
        (cdb[0], cdb[8]) = (0x5f, 24);
        let mut list = [0; 24];
        list[15] = 1;
        let Action::Run(job) = nexus.data(&cdb, &list) else { panic!("no job") };
        let image = tempfile::NamedTempFile::new().unwrap();
        image.as_file().set_len(1 << 20).unwrap();
        let disk = crate::disks::Image::open_shared(image.path()).unwrap();
        let done = execute(&nexus.task(job, nexus.epoch()), &list, unit, &disk, &mut Buffers::default());
        assert_eq!(done, Done::Good);
    }

    #[test]
    fn what_was_reserved_on_one_medium_is_not_on_the_next() {
        let registry = Registry::default();
        let identity = |medium: &str| Identity {
            target: "t".into(),
            serial: "s".into(),
            removable: false,
            readonly: false,
            medium: Some(Medium { name: medium.into(), lasts: false }),
            atomic: 0,
        };
        let unit = |medium: &str| registry.unit(1, identity(medium), 1 << 20, None).unwrap();
        register(&unit("one"));
        assert!(unit("one").keeps(), "nobody has it open; it is the same disk");
        let open = unit("one").attach("b".into());
        assert!(unit("two").keeps(), "a session has the former one open, whose unit this is");
        drop(open);
        assert!(!unit("two").keeps(), "a fresh overlay is a new disk");
    }
}
