//! Boot epochs: what a machine was last given, and whether its firmware has logged in to it since.
//!
//! An epoch begins when the script, or the root-path ACK to iPXE, is given. The first firmware login of a new epoch makes a
//! `fresh` overlay new; OS logins, reconnects and restarts of the engine never do. Where no firmware logs in, because gPXE starts the
//! disk's kernel directly, the system's first login stands for it.

use std::collections::HashMap;

use crate::api::HostId;
use crate::lab::{Boot, InstallThen, Name, Writes};

/// What a machine was last given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Epoch {
    /// Grows over the life of the lab; overlays remember it.
    pub(super) id: u64,
    /// The disk that it boots from or installs to.
    pub(super) disk: Option<Name>,
    /// Where it writes to that disk, if that is this machine's own.
    pub(super) writes: Option<Writes>,
    /// The next firmware login is the first of this epoch.
    pub(super) fresh: bool,
    /// No firmware logs in to the disk: the system's own login counts as one.
    pub(super) by_system: bool,
    /// An installation that is not yet proven to run.
    pub(super) install: Option<PendingInstall>,
}

/// An installation on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PendingInstall {
    /// The profile.
    pub(super) profile: Name,
    /// What follows.
    pub(super) then: InstallThen,
    /// Opens this host's answer file, until the next epoch.
    pub(super) token: String,
    /// Its network gives it to machines without an entry: it would be given it again.
    pub(super) unassigned: bool,
    /// Whether it has proven to run.
    pub(super) consumed: bool,
}

/// How a machine is given what it boots.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct How {
    /// See [`Epoch::by_system`].
    pub(super) by_system: bool,
    /// See [`PendingInstall::unassigned`].
    pub(super) unassigned: bool,
}

/// The epochs of all machines.
#[derive(Debug, Default)]
pub(super) struct Boots {
    by_host: HashMap<HostId, Epoch>,
    last: u64,
}

impl Boots {
    /// Takes in an epoch that lab.db kept.
    pub(super) fn restore(&mut self, host: HostId, epoch: Epoch) {
        self.last = self.last.max(epoch.id);
        self.by_host.insert(host, epoch);
    }

    /// A new epoch: this machine was just given `boot`.
    pub(super) fn begin(&mut self, host: HostId, boot: &Boot, how: How) -> Epoch {
        self.last += 1;
        let install = match boot {
            Boot::Install(install) => Some(PendingInstall {
                profile: install.profile.clone(),
                then: install.then.clone(),
                token: token(),
                unassigned: how.unassigned,
                consumed: false,
            }),
            _ => None,
        };
        let iscsi = boot.any_iscsi();
        let (disk, writes) = (iscsi.map(|i| i.disk.clone()), iscsi.and_then(|i| i.writes));
        let epoch = Epoch { id: self.last, disk, writes, fresh: true, by_system: how.by_system, install };
        self.by_host.insert(host, epoch.clone());
        epoch
    }

    /// The machine's epoch.
    pub(super) fn get(&self, host: HostId) -> Option<&Epoch> {
        self.by_host.get(&host)
    }

    /// A login: the epoch, and whether it is the one that makes a fresh overlay new.
    pub(super) fn login(&mut self, host: HostId, firmware: bool) -> Option<(u64, bool)> {
        let epoch = self.by_host.get_mut(&host)?;
        let first = (firmware || epoch.by_system) && std::mem::take(&mut epoch.fresh);
        Some((epoch.id, first))
    }

    /// The first login of this epoch came to nothing: the next one is the first.
    pub(super) fn not_opened(&mut self, host: HostId, epoch: u64) {
        if let Some(current) = self.by_host.get_mut(&host).filter(|e| e.id == epoch) {
            current.fresh = true;
        }
    }

    /// The installation has proven to run. `Some` only the first time.
    pub(super) fn consume(&mut self, host: HostId, profile: &str) -> Option<PendingInstall> {
        let install = self.by_host.get_mut(&host)?.install.as_mut()?;
        if install.consumed || install.profile.as_str() != profile {
            return None;
        }
        install.consumed = true;
        Some(install.clone())
    }

    /// Whether `token` opens this host's answers.
    pub(super) fn admits(&self, host: HostId, token: &str) -> Option<&PendingInstall> {
        let install = self.by_host.get(&host)?.install.as_ref()?;
        // Lengths are public; the comparison must not tell how many characters were right.
        let same = install.token.len() == token.len()
            && install.token.bytes().zip(token.bytes()).fold(0, |acc, (a, b)| acc | (a ^ b)) == 0;
        same.then_some(install)
    }

    /// Forgets a machine.
    pub(super) fn forget(&mut self, host: HostId) {
        self.by_host.remove(&host);
    }
}

fn token() -> String {
    let mut bytes = [0u8; 16];
    if getrandom::fill(&mut bytes).is_err() {
        // Without the system's randomness a UUID still has 122 bits from its own source.
        bytes = *uuid::Uuid::new_v4().as_bytes();
    }
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::{Install, IscsiBoot, IscsiVia};

    const HOST: HostId = HostId(1);

    #[test]
    fn only_the_first_firmware_login_of_an_epoch_is_fresh() {
        let mut boots = Boots::default();
        assert_eq!(boots.login(HOST, true), None, "nothing was given yet");
        let iscsi =
            Boot::Iscsi(IscsiBoot { disk: "d".parse().unwrap(), profile: None, via: IscsiVia::Script, writes: None });
        boots.begin(HOST, &iscsi, How::default());
        assert_eq!(boots.login(HOST, false), Some((1, false)), "a system takes nothing from its firmware");
        assert_eq!(boots.login(HOST, true), Some((1, true)));
        assert_eq!(boots.login(HOST, true), Some((1, false)), "a reconnect keeps what was written");
        boots.begin(HOST, &iscsi, How::default());
        assert_eq!(boots.login(HOST, true), Some((2, true)));
        boots.begin(HOST, &iscsi, How { by_system: true, ..How::default() });
        assert_eq!(boots.login(HOST, false), Some((3, true)), "no firmware logs in");
        assert_eq!(boots.login(HOST, false), Some((3, false)));
    }

    #[test]
    fn answers_open_with_the_token_of_this_installation_only() {
        let mut boots = Boots::default();
        let install = Boot::Install(Install { profile: "debian".parse().unwrap(), then: InstallThen::Local });
        let first = boots.begin(HOST, &install, How::default()).install.unwrap().token;
        assert!(boots.admits(HOST, &first).is_some());
        assert!(boots.admits(HostId(2), &first).is_none(), "not for another host");
        assert!(boots.consume(HOST, "other").is_none());
        assert!(boots.consume(HOST, "debian").is_some());
        assert!(boots.consume(HOST, "debian").is_none(), "consumed once");
        assert!(boots.admits(HOST, &first).is_some(), "an installer reads its answers more than once");
        boots.begin(HOST, &Boot::Local, How::default());
        assert!(boots.admits(HOST, &first).is_none(), "it expires with the installation");
    }
}
