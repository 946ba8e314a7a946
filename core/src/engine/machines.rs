//! What a person does to machines beside giving them something to boot: groups, seats, and turning them on.

use super::commands::wrong;
use super::run::Run;
use crate::api::{CommandError, EventKind, HostId, Reply};
use crate::lab::{HostRef, Name, Seat};
use crate::net;

type Outcome = Result<Reply, CommandError>;

impl Run {
    pub(super) async fn group(&mut self, ids: &[HostId], group: &str) -> Outcome {
        let group: Option<Name> = match group {
            "" => None,
            group => Some(group.parse().map_err(wrong)?),
        };
        self.catch_up().await;
        let refs = self.refs(ids)?;
        self.edit(move |document| refs.into_iter().try_for_each(|host| document.set_group(host, group.as_ref())))
            .await?;
        Ok(Reply::Hosts { count: ids.len() })
    }

    pub(super) async fn seats(&mut self, seats: &[(HostId, Option<Seat>)]) -> Outcome {
        self.catch_up().await;
        let ids: Vec<HostId> = seats.iter().map(|(id, _)| *id).collect();
        let seats: Vec<_> = self.refs(&ids)?.into_iter().zip(seats.iter().map(|(_, seat)| *seat)).collect();
        self.edit(move |document| document.set_seats(&seats)).await?;
        Ok(Reply::Hosts { count: ids.len() })
    }

    /// How lab.toml refers to these machines.
    fn refs(&self, ids: &[HostId]) -> Result<Vec<HostRef>, CommandError> {
        let of = |id: &HostId| {
            self.host_ref(*id).ok_or_else(|| wrong("one of these machines was forgotten meanwhile; select them again"))
        };
        ids.iter().map(of).collect()
    }

    /// Out of every interface that is served: where a machine that is off is plugged in is not known.
    pub(super) fn wake(&self, ids: &[HostId]) -> Outcome {
        let networks: Vec<_> =
            self.shared.plan.borrow().networks.iter().map(|n| (n.interface.clone(), n.address.address)).collect();
        if networks.is_empty() {
            return Err(wrong("a machine that is woken now would find nothing to boot from; start serving first"));
        }
        for id in ids {
            let macs = self.shared.state().directory.macs(*id).to_vec();
            if macs.is_empty() {
                return Err(wrong("one of these machines was forgotten meanwhile; select them again"));
            }
            for (interface, address) in &networks {
                net::wake(interface, *address, &macs).map_err(wrong)?;
            }
            let interfaces = networks.iter().map(|(interface, _)| interface.clone()).collect();
            self.report_of(*id, EventKind::WakeSent { interfaces });
        }
        Ok(Reply::Hosts { count: ids.len() })
    }
}
