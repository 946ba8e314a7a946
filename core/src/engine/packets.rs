//! What was captured of a machine, and what lab.db remembers of it.

use std::sync::{Arc, PoisonError};

use super::commands::wrong;
use super::run::{Answer, Run};
use super::serving::blocking;
use super::shared::{Listening, Shared};
use crate::api::{CommandError, Event, EventKind, Finding, HostId, HostView, Packets, Reply, ServiceKind};
use crate::trace::decode::decode;
use crate::trace::ring::Held;
use crate::trace::{self, Packet, file};

/// Events of a machine that are given.
const EVENTS: usize = 4000;
/// An event is said at a packet that is no further from it.
const NEAR_MILLIS: i128 = 2000;
/// Events that are said at one packet.
const AT_ONE: usize = 8;

/// What is asked about a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LookUp {
    /// The packets, our events and findings in the file's comments.
    Packets,
    /// The machine and its last events.
    History,
    /// Its last boots.
    Boots,
}

impl Run {
    /// Looks something up beside the loop, which goes on.
    pub(super) async fn look_up(&mut self, host: &str, what: LookUp, answer: Answer) {
        let id = match self.one(host).await {
            Ok(id) => id,
            Err(error) => {
                let _nobody_listens = answer.send(Err(error));
                return;
            }
        };
        let shared = self.shared.clone();
        tokio::spawn(async move {
            // What is reported but not written yet belongs to it.
            shared.reporter.settled().await;
            let _what_is_there_counts = shared.db.flush().await;
            let found = blocking(move || match what {
                LookUp::Packets => gather(&shared, id).map(Reply::Packets),
                LookUp::Boots => shared.db.boots_of(id).map(|boots| Reply::Boots { boots }).map_err(|e| e.to_string()),
                LookUp::History => {
                    let events = shared.db.events_of(id, EVENTS).map_err(|e| e.to_string())?;
                    Ok(Reply::History { host: shared.state().host_view(id), events })
                }
            })
            .await;
            let _nobody_listens = answer.send(found.and_then(|found| found).map_err(wrong));
        });
    }

    /// The one machine that this is.
    async fn one(&mut self, host: &str) -> Result<HostId, CommandError> {
        self.catch_up().await;
        if let Ok(mac) = host.parse() {
            // Whoever asks about a machine does not make it known.
            let found = self.shared.state().directory.find(&crate::api::Who::mac(mac));
            return found.ok_or_else(|| wrong(format!("no machine with the address {mac} was seen here")));
        }
        match self.named(&[host.to_owned()])?[..] {
            [id] => Ok(id),
            _ => Err(wrong(format!("`{host}` is more than one machine; name one"))),
        }
    }
}

fn gather(shared: &Shared, id: HostId) -> Result<Packets, String> {
    let (macs, view) = {
        let mut state = shared.state();
        (state.directory.macs(id).to_vec(), state.host_view(id))
    };
    let Held { mut packets, gone, lost } = shared.packets.rings().of(&macs);
    let events = shared.db.events_of(id, EVENTS).map_err(|e| e.to_string())?;
    annotate(&mut packets, &events);
    let (absent, sockets) = match &*shared.listening.lock().unwrap_or_else(PoisonError::into_inner) {
        Listening::Wire => (None, None),
        Listening::Sockets(why) => (None, Some(trace::own::about(why))),
        Listening::Nowhere(why) => (Some(why.clone()), None),
    };
    let mut said = about(&view, gone, lost);
    said.extend(sockets.clone());
    let written = file::write(&packets, &said);
    Ok(Packets { count: packets.len(), gone, lost, absent, sockets, ..Packets::default() }.with_file(&written))
}

/// What is said of the whole: the machine, how far it is, its findings, what is missing.
fn about(view: &Arc<HostView>, gone: u64, lost: u64) -> Vec<String> {
    let name = view.name.as_deref().unwrap_or("a machine");
    let mac = view.macs.first().map(ToString::to_string).unwrap_or_default();
    let mut about = vec![format!("{name} ({mac}), {:?}", view.stage)];
    about.extend(view.findings.iter().map(said));
    if gone + lost > 0 {
        about.push(format!("{gone} older packets made room, {lost} packets of all machines were lost"));
    }
    about
}

fn said(finding: &Finding) -> String {
    format!("{}: {} {} {}", finding.id, finding.seen, finding.means, finding.remedy)
}

/// Packets on either side of an event among which its own is looked for.
const AROUND: usize = 64;

/// Says each event at the packet that is nearest to it in time: of those of its protocol and direction, else of all.
fn annotate(packets: &mut [Packet], events: &[Event]) {
    let spoken: Vec<&str> = packets.iter().map(|packet| decode(packet).protocol).collect();
    for event in events.iter().filter(|event| !event.kind.is_progress()) {
        let at = event.time.as_nanosecond();
        let after = packets.partition_point(|packet| packet.time.as_nanosecond() <= at);
        let around = after.saturating_sub(AROUND)..(after + AROUND).min(packets.len());
        let (protocol, outgoing) = own(&event.kind);
        let rank = |index: usize| {
            let packet = packets.get(index)?;
            let distance = (packet.time.as_nanosecond() - at).abs();
            let other = protocol.is_some_and(|own| spoken.get(index) != Some(&own));
            let way = outgoing.is_some() && packet.outgoing != outgoing;
            (distance <= NEAR_MILLIS * 1_000_000).then_some(((other, way, distance), index))
        };
        if let Some((_, index)) = around.filter_map(rank).min()
            && let Some(packet) = packets.get_mut(index)
            && packet.comments.len() < AT_ONE
        {
            packet.comments.push(crate::trace::said(event));
        }
    }
}

/// The protocol in which an event happened, and which way its packet went.
fn own(kind: &EventKind) -> (Option<&'static str>, Option<bool>) {
    use EventKind as Kind;
    match kind {
        Kind::DhcpOffer { .. } | Kind::DhcpAck { .. } | Kind::DhcpNak { .. } => (Some("DHCP"), Some(true)),
        Kind::DhcpDiscover { .. } | Kind::DhcpRelease { .. } | Kind::DhcpDecline { .. } | Kind::ForeignOffer { .. } => {
            (Some("DHCP"), Some(false))
        }
        Kind::TftpRequest { .. } | Kind::TftpDone { .. } | Kind::TftpAborted { .. } => (Some("TFTP"), Some(false)),
        Kind::TftpFailed { .. } => (Some("TFTP"), None),
        Kind::Unheard { service: ServiceKind::Tftp, .. } => (Some("TFTP"), Some(false)),
        Kind::Unheard { service: ServiceKind::Pxe, .. } => (Some("DHCP"), Some(false)),
        Kind::HttpRequest { .. } | Kind::ScriptServed { .. } | Kind::AnswersServed { .. } => {
            (Some("HTTP"), Some(false))
        }
        Kind::IscsiLogin { .. } | Kind::IscsiRefused { .. } => (Some("iSCSI"), Some(true)),
        _ => (None, None),
    }
}

#[cfg(test)]
#[path = "packets_tests.rs"]
mod tests;
