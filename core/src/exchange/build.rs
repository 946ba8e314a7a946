//! From the model to lab.toml: networks, profiles, disks, hosts, and what machines without an entry get.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::time::Duration;

use self::index::{Asked, Keys};
use super::import::Options;
use super::ledger::{Id, Ledger, Need};
use super::model::{End, Kernel, Model, Net, Params, Script, Target};
use super::words::{is_ipxe, leaf, media_path, name, root_path, says_nothing, url_host};
use crate::lab::{
    Allow, Boot, Chap, Disk, Document, Install, InstallThen, IscsiBoot, IscsiVia, Lab, LabError, Lease, Mode, Name,
    Network, Problem, Profile, Subnet, Unknown, Writes,
};
use crate::net::{Ipv4Cidr, Ipv4Range};

mod boots;
mod disks;
mod index;
mod networks;
mod profiles;

/// What was built.
pub(super) struct Built {
    pub(super) text: String,
    pub(super) needs: Vec<Need>,
    pub(super) notes: Vec<String>,
}

/// The interface where nothing names one.
const SOME_INTERFACE: &str = "eth0";
/// The shortest lease that lab.toml takes.
const SHORTEST: u64 = 60;

pub(super) fn build(model: &Model, ledger: &mut Ledger, options: &Options<'_>) -> Result<Built, LabError> {
    let new = "version = 1\n";
    let base = options.into.unwrap_or(new);
    let document = Document::parse(base)?;
    let there = crate::lab::parse(base).map_err(LabError::Problems)?;
    let mut builder = Builder {
        model,
        ledger,
        lab: Lab::default(),
        ids: Ids::default(),
        keys: Keys::default(),
        known: Keys::of(&there),
        asked: Asked::of(model),
        names: there.profiles.iter().map(|p| format!("profile:{}", p.name)).collect(),
        there,
        interface: options.interface.clone(),
        address: None,
        reserved_only: false,
        profiles: BTreeMap::new(),
        needs: Vec::new(),
        notes: Vec::new(),
    };
    builder.networks();
    builder.targets();
    builder.scripts();
    builder.hosts();
    builder.strangers();
    builder.leftovers();
    Ok(builder.write(document))
}

/// Who said what of the lab: parallel to the vectors of [`Lab`].
#[derive(Debug, Default)]
struct Ids {
    networks: Vec<Vec<Id>>,
    profiles: Vec<Vec<Id>>,
    disks: Vec<Vec<Id>>,
    hosts: Vec<Vec<Id>>,
}

struct Builder<'a> {
    model: &'a Model,
    ledger: &'a mut Ledger,
    lab: Lab,
    ids: Ids,
    /// Of what was built so far.
    keys: Keys,
    /// Of the lab to which it is added.
    known: Keys,
    /// Of the model.
    asked: Asked,
    /// The lab to which it is added.
    there: Lab,
    interface: Option<String>,
    /// Ours on the network.
    address: Option<Ipv4Cidr>,
    /// No subnet has a range: only machines with an entry are given addresses.
    reserved_only: bool,
    /// Script and end in it: the profile.
    profiles: BTreeMap<(usize, usize), Name>,
    needs: Vec<Need>,
    notes: Vec<String>,
    /// Of hosts, `host:NAME`; of profiles and disks likewise. The profiles of the lab that is there are among them.
    names: BTreeSet<String>,
}

impl Builder<'_> {
    /// Adds all of it to the document; what that refuses is lost, and everything else stays.
    fn write(mut self, mut document: Document) -> Built {
        if self.lab != Lab::default() && document.append(&self.lab).is_err() {
            let lab = std::mem::take(&mut self.lab);
            let ids = std::mem::take(&mut self.ids);
            let mut refused = Vec::new();
            let part = |f: &mut dyn FnMut(&mut Lab)| {
                let mut lab = Lab::default();
                f(&mut lab);
                lab
            };
            let networks =
                lab.networks.into_iter().map(|n| part(&mut |l| l.networks.push(n.clone()))).zip(ids.networks);
            let profiles =
                lab.profiles.into_iter().map(|p| part(&mut |l| l.profiles.push(p.clone()))).zip(ids.profiles);
            let disks = lab.disks.into_iter().map(|d| part(&mut |l| l.disks.push(d.clone()))).zip(ids.disks);
            let hosts = lab.hosts.into_iter().map(|h| part(&mut |l| l.hosts.push(h.clone()))).zip(ids.hosts);
            let parts: Vec<(Lab, Vec<Id>)> = networks.chain(profiles).chain(disks).chain(hosts).collect();
            halves(&mut document, &parts, &mut refused);
            for (ids, why) in refused {
                ids.into_iter().for_each(|id| self.ledger.lost(id, format!("lab.toml refuses it: {why}")));
            }
        }
        Built { text: document.text().to_owned(), needs: self.needs, notes: self.notes }
    }
}

/// Appends parts, and finds by halves which ones are refused.
fn halves(document: &mut Document, parts: &[(Lab, Vec<Id>)], refused: &mut Vec<(Vec<Id>, String)>) {
    let mut whole = Lab::default();
    for (part, _) in parts {
        whole.networks.extend(part.networks.iter().cloned());
        whole.profiles.extend(part.profiles.iter().cloned());
        whole.disks.extend(part.disks.iter().cloned());
        whole.hosts.extend(part.hosts.iter().cloned());
    }
    let Err(error) = document.append(&whole) else { return };
    if let [(_, ids)] = parts {
        let why = match error {
            LabError::Problems(problems) => {
                problems.iter().find(|p: &&Problem| p.is_error()).map(|p| p.message.clone()).unwrap_or_default()
            }
            other => other.to_string(),
        };
        refused.push((ids.clone(), why));
        return;
    }
    let (left, right) = parts.split_at(parts.len() / 2);
    halves(document, left, refused);
    halves(document, right, refused);
}
