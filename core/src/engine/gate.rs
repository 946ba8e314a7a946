//! Who may use which disk: the iSCSI target's [`Gate`].
//!
//! The host is the holder of the source address, confirmed by the initiator name that we issued. An issued name that disagrees is
//! refused; foreign names are accepted, because clones share theirs. A host may use the disk that it is assigned, and the one that
//! it was last given: a machine that runs from a disk keeps it until its next boot, whatever was clicked meanwhile.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::shared::Shared;
use crate::api::{EventKind, HostId, Who};
use crate::boot::assignment;
use crate::disks::{BlockDevice, OpenRequest, OverlayKey};
use crate::iscsi::{Gate, Grant, LoginRequest, Refusal};
use crate::lab::{Allow, Disk, Writes};
use crate::net::MacAddr;

/// What [`crate::boot::initiator_name`] begins with.
const ISSUED: &str = "iqn.2026-11.org.bootyard:host.";

/// Status 0202: not allowed to use this target.
const NOT_ALLOWED: u16 = 0x0202;
/// Status 0203: no such target.
const NOT_FOUND: u16 = 0x0203;
/// Status 0301: cannot be served now.
const UNAVAILABLE: u16 = 0x0301;

/// A login waits this long for what other services have just learnt: longer than a script does, for it would find the overlay of the boot
/// before, and no firmware gives up so early.
const PATIENCE: Duration = Duration::from_secs(5);

/// See the module's text.
#[derive(Debug)]
pub(super) struct DiskGate(pub(super) Arc<Shared>);

/// A client of the target.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Client {
    Host(HostId),
    Stranger(String),
}

fn refuse(status: u16, reason: impl Into<String>) -> Refusal {
    Refusal::new(status, reason)
}

impl DiskGate {
    fn client(&self, login: &LoginRequest) -> Result<Client, Refusal> {
        let known = self.0.client(login.peer);
        let issued = login.initiator.strip_prefix(ISSUED).and_then(|mac| mac.parse::<MacAddr>().ok());
        let state = self.0.state();
        match (known, issued) {
            (Some(id), Some(mac)) if !state.directory.macs(id).contains(&mac) => Err(refuse(
                NOT_ALLOWED,
                format!(
                    "{} is {}'s address, but the initiator name is that of {mac}; start the machine again, and look for two \
                     machines with one address",
                    login.peer,
                    state.shown_name(id)
                ),
            )),
            (Some(id), _) => Ok(Client::Host(id)),
            // Behind a router neither lease nor neighbour table knows it; the name that we issued does.
            (None, Some(mac)) => match state.directory.find(&Who::mac(mac)) {
                Some(id) => Ok(Client::Host(id)),
                None => Ok(Client::Stranger(login.initiator.clone())),
            },
            (None, None) => Ok(Client::Stranger(login.initiator.clone())),
        }
    }

    /// Whether this client may use this disk.
    fn admitted(&self, client: &Client, disk: &Disk, login: &LoginRequest) -> bool {
        if let Client::Host(id) = client {
            let state = self.0.state();
            if state.boots.get(*id).and_then(|e| e.disk.as_ref()) == Some(&disk.name) {
                return true;
            }
            let plan = state.plan.clone();
            let mac = state.directory.macs(*id).first().copied();
            let assigned = Shared::network(&plan, None, login.peer).zip(mac).is_some_and(|(network, mac)| {
                assignment(&plan, network, mac, state.directory.uuid(*id)).value.disk() == Some(&disk.name)
            });
            if assigned {
                return true;
            }
        }
        disk.allow.iter().any(|allow| match (allow, login.peer) {
            (Allow::Net(net), IpAddr::V4(ip)) => net.contains(ip),
            (Allow::Net(_), IpAddr::V6(_)) => false,
            (Allow::Initiator(prefix), _) => login.initiator.starts_with(prefix.as_str()),
        })
    }

    /// Where this client writes, if that is its own and not the disk's: as it was given at its boot, else as it is assigned now.
    fn writes(&self, client: &Client, disk: &Disk, login: &LoginRequest) -> Option<Writes> {
        let Client::Host(id) = client else { return None };
        let state = self.0.state();
        if let Some(epoch) = state.boots.get(*id).filter(|e| e.disk.as_ref() == Some(&disk.name)) {
            return epoch.writes;
        }
        let plan = state.plan.clone();
        let mac = state.directory.macs(*id).first().copied()?;
        let network = Shared::network(&plan, None, login.peer)?;
        let given = assignment(&plan, network, mac, state.directory.uuid(*id)).value;
        given.any_iscsi().filter(|iscsi| iscsi.disk == disk.name)?.writes
    }

    fn disk(&self, target: &str) -> Result<Disk, Refusal> {
        let plan = self.0.plan.borrow().clone();
        let disk = plan.lab.disks.iter().find(|d| d.iqn.eq_ignore_ascii_case(target)).cloned();
        disk.ok_or_else(|| {
            refuse(NOT_FOUND, format!("no disk in lab.toml has the target name {target}; correct one of the two"))
        })
    }

    /// What other services have just learnt of the client must be known first: its ACK, its script.
    fn settle(&self) {
        let shared = &self.0;
        let _late_is_no_error =
            shared.runtime.block_on(async { tokio::time::timeout(PATIENCE, shared.reporter.settled()).await });
    }
}

impl Gate for DiskGate {
    fn authorize(&self, login: &LoginRequest) -> Result<Grant, Refusal> {
        self.settle();
        let disk = self.disk(&login.target)?;
        let client = self.client(login)?;
        if !self.admitted(&client, &disk, login) {
            let whom = match &client {
                Client::Host(id) => self.0.state().shown_name(*id),
                Client::Stranger(name) => format!("{name} at {}", login.peer),
            };
            let reason = format!("{whom} is not assigned to the disk {}; assign it, or name it in `allow`", disk.name);
            return Err(refuse(NOT_ALLOWED, reason));
        }
        if let Some(to) = disk.redirect {
            return Err(Refusal::moved(to));
        }
        let (who, scope, key) = match &client {
            Client::Host(id) => (self.0.state().who(*id, login.peer), format!("host:{id}"), OverlayKey::Host(*id)),
            Client::Stranger(name) => {
                (Who::ip(login.peer), format!("initiator:{name}"), OverlayKey::Initiator(name.clone()))
            }
        };
        // Whoever is known by the name alone that it gives must not end sessions of the machine whose name that is.
        let known = self.0.client(login.peer);
        let boot = match &client {
            Client::Host(id) if known == Some(*id) => self.0.state().boots.get(*id).map(|epoch| epoch.id),
            Client::Host(_) | Client::Stranger(_) => None,
        };
        let serial = serial(&disk.iqn, &scope);
        Ok(Grant {
            who,
            disk: disk.name.to_string(),
            scope,
            boot,
            chap: disk.chap.clone(),
            serial,
            removable: disk.removable,
            memory: Some(self.0.store.unit_memory(&disk, &key)),
        })
    }

    fn open(&self, login: &LoginRequest, grant: &Grant) -> Result<Arc<dyn BlockDevice>, Refusal> {
        let client = self.client(login)?;
        let disk = self.disk(&login.target)?;
        let disk = Disk { writes: self.writes(&client, &disk, login).unwrap_or(disk.writes), ..disk };
        // The machine that the doctor plays leaves no overlay.
        let plays = matches!(&client, Client::Host(id) if self.0.state().is_self_test(*id));
        let disk = Disk { readonly: disk.readonly || plays, ..disk };
        let (key, label) = match &client {
            Client::Host(id) => (OverlayKey::Host(*id), self.0.state().shown_name(*id)),
            Client::Stranger(name) => (OverlayKey::Initiator(name.clone()), name.clone()),
        };
        let fresh_epoch = (disk.writes == Writes::Fresh).then(|| self.epoch(&client, login.firmware));
        let request = OpenRequest { disk: &disk, key, label, fresh_epoch };
        let first = match (&client, fresh_epoch) {
            (Client::Host(id), Some((epoch, true))) => Some((*id, epoch)),
            _ => None,
        };
        // A login that is refused after all has not been the first one of its epoch.
        let undone = |refusal: Refusal| {
            if let Some((id, epoch)) = first {
                self.0.state().boots.not_opened(id, epoch);
            }
            refusal
        };
        if let Client::Host(id) = &client {
            self.0.state().directory.hold(*id);
        }
        let opened = self.0.store.open_noting(&request);
        let opened = opened.map_err(|e| undone(refuse(e.refusal_status(), e.to_string())))?;
        if let Some((id, _)) = first {
            // After the overlay was made new and before the machine writes its first byte: a crash here makes it new once more, which
            // loses nothing, and one later doesn't.
            let epoch = self.0.state().boots.get(id).cloned();
            if let Some(epoch) = epoch {
                let kept = self.0.runtime.block_on(self.0.keep_epoch(id, &epoch));
                kept.map_err(|e| undone(refuse(UNAVAILABLE, e)))?;
            }
        }
        if opened.created {
            let kind = EventKind::OverlayCreated { disk: disk.name.to_string(), fresh: disk.writes == Writes::Fresh };
            self.0.report(Some(grant.who.clone()), kind);
        }
        Ok(opened.device)
    }

    fn targets(&self, initiator: &str, peer: IpAddr) -> Vec<String> {
        self.settle();
        let plan = self.0.plan.borrow().clone();
        let visible = |disk: &&Disk| {
            let (initiator, target) = (initiator.to_owned(), disk.iqn.clone());
            let login = LoginRequest { initiator, target, peer, firmware: false };
            self.client(&login).is_ok_and(|client| self.admitted(&client, disk, &login))
        };
        plan.lab.disks.iter().filter(visible).map(|d| d.iqn.clone()).collect()
    }
}

impl DiskGate {
    /// The boot epoch, and whether this is the login of it that makes a fresh overlay new. A stranger has no epoch that survives: each
    /// of its firmware logins is a boot.
    fn epoch(&self, client: &Client, firmware: bool) -> (u64, bool) {
        let mut state = self.0.state();
        match client {
            Client::Host(id) => state.boots.login(*id, firmware).unwrap_or_default(),
            Client::Stranger(_) => (0, firmware),
        }
    }
}

/// Stable for this disk and client, different from every other's: Windows takes two disks with one serial number for one.
fn serial(iqn: &str, scope: &str) -> String {
    let hash = blake3::hash(format!("{iqn}\0{scope}").as_bytes());
    hash.to_hex().as_str().chars().take(16).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::initiator_name;

    #[test]
    fn a_serial_number_is_the_hosts_own_and_stays() {
        assert_eq!(serial("iqn.a", "host:1"), serial("iqn.a", "host:1"));
        assert_ne!(serial("iqn.a", "host:1"), serial("iqn.a", "host:2"));
        assert_ne!(serial("iqn.a", "host:1"), serial("iqn.b", "host:1"));
    }

    #[test]
    fn the_issued_name_is_read_back() {
        let mac: MacAddr = "52:54:00:00:00:01".parse().unwrap();
        let name = initiator_name(mac);
        assert_eq!(name.strip_prefix(ISSUED).and_then(|m| m.parse().ok()), Some(mac));
    }
}
