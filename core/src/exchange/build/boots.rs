//! Who boots what: the rules of all scopes, evaluated for each kind of client.

use super::*;
use crate::exchange::client::{CLIENTS, Client};
use crate::exchange::model::{Give, HostEntry, Rule};
use crate::exchange::words::is_script;
use crate::lab::Host;

/// What a client is told in the end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Told {
    file: Option<(String, Id)>,
    root: Option<(String, Id)>,
}

/// What rules come to for iPXE.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Comes {
    /// Nothing is said.
    Nothing,
    /// A boot, and the statements that say so.
    Boot(Boot, Vec<Id>),
    /// Something that has no equal; it is told.
    Lost,
}

impl Comes {
    fn boot(&self) -> Option<&Boot> {
        match self {
            Self::Boot(boot, _) => Some(boot),
            _ => None,
        }
    }
}

impl Builder<'_> {
    pub(super) fn hosts(&mut self) {
        let model = self.model;
        let mut addresses = BTreeSet::new();
        for entry in &model.hosts {
            self.host(entry, &mut addresses);
        }
    }

    fn host(&mut self, entry: &HostEntry, addresses: &mut BTreeSet<Ipv4Addr>) {
        let Some(macs) = self.macs(entry) else {
            self.ledger.lost(entry.id, "it has no MAC address by which Bootyard could know the machine");
            let rules = entry.rules.iter().map(|r| r.id);
            let ids = rules.chain(entry.address.iter().map(|a| a.id)).chain(entry.said.iter().map(|(id, _)| *id));
            ids.filter(|id| *id != entry.id).for_each(|id| self.ledger.lost(id, "its machine is not known"));
            return;
        };
        let mut ids = vec![entry.id];
        ids.extend(entry.macs.iter().map(|m| m.id).chain(entry.said.iter().map(|(id, _)| *id)));
        for (id, what) in &entry.said {
            self.ledger.mapped(*id, *what);
        }
        // Of a whole domain name, the machine's own part.
        let own = entry.name.as_deref().map(|n| n.split('.').next().unwrap_or(n));
        let wanted = own.and_then(name).filter(|n| n.as_str().parse::<crate::net::MacAddr>().is_err());
        let taken = wanted.as_ref().is_some_and(|w| self.known.has_host(w));
        let name = wanted.filter(|_| !taken).and_then(|w| self.unique("host", w));
        if let (Some(said), None) = (&entry.name, &name) {
            // Of the statement that says it, else of the entry whose name it is.
            let of = entry.said.iter().find(|(_, what)| what.starts_with("name")).map_or(entry.id, |(id, _)| *id);
            let why = if taken { "another machine of the lab has it" } else { "it makes no name of a machine here" };
            self.ledger.lost(of, format!("the name {said}: {why}; the machine is without one"));
        }
        let address = entry.address.as_ref().filter(|said| {
            let fits = self.serves(said.value) && addresses.insert(said.value);
            if !fits {
                self.ledger.lost(said.id, "the address is in no subnet of the lab, or another host has it");
            }
            fits
        });
        if let Some(said) = address {
            self.ledger.mapped(said.id, format!("address = \"{}\"", said.value));
            ids.push(said.id);
        }
        for said in &entry.macs {
            self.ledger.mapped(said.id, format!("mac = \"{}\"", said.value));
        }
        let shown = name.as_ref().map_or_else(|| format!("[[host]] {}", macs[0]), |n| format!("[[host]] {n}"));
        self.ledger.mapped(entry.id, shown);
        let boot = if entry.ignored { Some(Boot::Ignore) } else { self.boot_of(entry, name.as_ref(), &mut ids) };
        let host = Host {
            macs,
            uuid: None,
            name,
            group: None,
            seat: None,
            address: address.map(|a| a.value),
            firmware: None,
            boot,
        };
        self.keys.host(&host);
        self.lab.hosts.push(host);
        self.ids.hosts.push(ids);
    }

    fn macs(&mut self, entry: &HostEntry) -> Option<Vec<crate::net::MacAddr>> {
        let mut out = Vec::new();
        for said in &entry.macs {
            if self.known.has_mac(said.value) {
                self.ledger.lost(said.id, "the lab has its own entry of this machine, which stays as it is");
            } else if self.keys.has_mac(said.value) || out.contains(&said.value) {
                self.ledger.lost(said.id, "another entry has this MAC address; a machine has one here");
            } else if said.value.is_group() || said.value == crate::net::MacAddr::default() {
                self.ledger.lost(said.id, "no machine can have this MAC address");
            } else {
                out.push(said.value);
            }
        }
        (!out.is_empty()).then_some(out)
    }

    /// Whether the lab has a subnet of this address.
    fn serves(&self, address: Ipv4Addr) -> bool {
        let networks = || self.lab.networks.iter().chain(&self.there.networks);
        let ours = networks().any(|n| n.address.is_some_and(|a| a.address == address) || n.router == Some(address));
        let told = || networks().flat_map(|n| n.address.into_iter().chain(n.subnets.iter().map(|s| s.subnet)));
        let nets = || self.model.nets.iter().map(|n| n.subnet);
        let edge = |n: Ipv4Cidr| n.prefix < 31 && (address == n.network() || address == n.broadcast());
        let open = networks().any(|n| n.address.is_none()) || networks().next().is_none();
        let inside = told().chain(nets().filter(|_| open)).any(|n| n.contains(address) && !edge(n));
        !ours && inside
    }

    fn boot_of(&mut self, entry: &HostEntry, name: Option<&Name>, ids: &mut Vec<Id>) -> Option<Boot> {
        let model = self.model;
        let net = entry.net.or_else(|| {
            let address = entry.address.as_ref()?.value;
            model.nets.iter().position(|n| n.subnet.contains(address))
        });
        let empty = Vec::new();
        let of_net = net.and_then(|n| model.nets.get(n)).map_or(&empty, |n| &n.rules);
        let chain: [&[Rule]; 4] = [&model.rules, of_net, &model.class_rules, &entry.rules];
        // Without rules of its own it gets what machines without an entry get, as there.
        if entry.rules.is_empty() && !self.ignores_strangers() {
            return None;
        }
        match self.comes(&chain, name) {
            Comes::Boot(boot, said) => {
                for id in &said {
                    let more = if matches!(boot, Boot::Install(_)) {
                        ": erases its disks once, then the local disk follows"
                    } else {
                        ""
                    };
                    self.ledger.mapped(*id, format!("boot of the [[host]]: {boot}{more}"));
                }
                ids.extend(said);
                Some(boot)
            }
            // It would be ignored as a stranger.
            Comes::Nothing | Comes::Lost if self.ignores_strangers() => Some(Boot::Local),
            Comes::Nothing | Comes::Lost => None,
        }
    }

    /// What machines without an entry get.
    pub(super) fn strangers(&mut self) {
        let model = self.model;
        let empty: &[Rule] = &[];
        let mut scopes: Vec<&[Rule]> = model.nets.iter().map(|n| n.rules.as_slice()).collect();
        if scopes.is_empty() {
            scopes.push(empty);
        }
        if self.lab.networks.is_empty() {
            for rule in scopes.into_iter().flatten().chain(&model.rules).chain(&model.class_rules) {
                if !self.ledger.judged(rule.id) {
                    self.ledger.lost(rule.id, "there is no new [network] for which it could hold");
                }
            }
            return self.ignored();
        }
        let mut first: Option<Comes> = None;
        for rules in scopes {
            let chain: [&[Rule]; 3] = [&model.rules, rules, &model.class_rules];
            let comes = self.comes(&chain, None);
            let said = match &comes {
                Comes::Boot(_, said) => said.clone(),
                _ => Vec::new(),
            };
            match &first {
                None => {
                    self.unknown(&comes, &said);
                    first = Some(comes);
                }
                Some(before) if before.boot() == comes.boot() => self.unknown(&comes, &said),
                Some(_) => {
                    for id in said {
                        self.ledger.lost(id, "machines without an entry get the same in all subnets here");
                    }
                }
            }
        }
        self.ignored();
    }

    fn ignores_strangers(&self) -> bool {
        self.reserved_only || !self.model.strangers_ignored.is_empty()
    }

    fn ignored(&mut self) {
        if let Some(network) = self.lab.networks.first_mut().filter(|_| self.reserved_only) {
            network.unknown = Unknown::Boot(Boot::Ignore);
        }
        for id in &self.model.strangers_ignored {
            match self.lab.networks.first_mut() {
                Some(network) => {
                    network.unknown = Unknown::Boot(Boot::Ignore);
                    self.ledger.mapped(*id, "unknown = \"ignore\"");
                }
                None => self.ledger.lost(*id, "there is no new [network] for which it could hold"),
            }
        }
    }

    fn unknown(&mut self, comes: &Comes, said: &[Id]) {
        let Comes::Boot(boot, _) = comes else { return };
        let ignored = self.ignores_strangers();
        let Some(network) = self.lab.networks.first_mut() else {
            for id in said {
                self.ledger.lost(*id, "there is no new [network] for which it could hold");
            }
            return;
        };
        match boot {
            _ if ignored => {}
            Boot::Install(install) => {
                let note = format!(
                    "machines without an entry were given the installer {0}: import does not set that, because it erases their disks. \
                     They wait; `bootyard assign HOST install {0}` installs one, and unknown = {{ install = \"{0}\" }} with \
                     unknown-erases-disks = true in [network] installs all",
                    install.profile
                );
                for id in said {
                    let why = format!(
                        "the script is the [[profile]] {}; machines without an entry wait, until unknown and unknown-erases-disks are set by \
                         a person",
                        install.profile
                    );
                    self.ledger.lost(*id, why);
                }
                if !self.notes.contains(&note) {
                    self.notes.push(note);
                }
            }
            other => {
                for id in said {
                    self.ledger.mapped(*id, format!("unknown: {other}"));
                }
                network.unknown = Unknown::Boot(other.clone());
            }
        }
    }

    /// Rules that no client's boot came to.
    pub(super) fn leftovers(&mut self) {
        let model = self.model;
        let of_nets = model.nets.iter().flat_map(|n| &n.rules);
        let of_hosts = model.hosts.iter().flat_map(|h| &h.rules);
        let all = model.rules.iter().chain(&model.class_rules).chain(of_nets).chain(of_hosts).chain(&model.outweighed);
        for rule in all {
            if self.ledger.judged(rule.id) {
                continue;
            }
            if rule.when.is_never() && matches!(&rule.give, Give::File(file) if is_ipxe(file)) {
                self.ledger.implied(rule.id, "each machine is given iPXE for its architecture");
            } else if rule.when.is_never() {
                self.ledger.lost(rule.id, "it is for no kind of client that Bootyard knows");
            } else {
                self.ledger.lost(rule.id, "other statements outweigh it for every client that boots");
            }
        }
    }

    /// What a chain of scopes comes to; the last rule that holds for a client wins.
    fn comes(&mut self, chain: &[&[Rule]], wanted: Option<&Name>) -> Comes {
        let told = |client: Client| {
            let mut told = Told::default();
            for rule in chain.iter().flat_map(|rules| rules.iter()).filter(|r| r.when.has(client)) {
                match &rule.give {
                    Give::File(file) => told.file = Some((file.clone(), rule.id)),
                    Give::RootPath(path) => told.root = Some((path.clone(), rule.id)),
                }
            }
            told
        };
        for client in CLIENTS.into_iter().filter(|c| c.is_firmware()) {
            if let Some((file, id)) = told(client).file {
                self.firmware(&file, id);
            }
        }
        let mut first: Option<(Told, Comes)> = None;
        for client in CLIENTS.into_iter().filter(|c| c.scripts()) {
            let told = told(client);
            match &first {
                None => {
                    let comes = self.script_told(&told, wanted);
                    first = Some((told, comes));
                }
                Some((before, comes)) if same(before, &told) => {
                    if let Comes::Boot(boot, _) = comes {
                        let said = told.file.iter().chain(&told.root).map(|(_, id)| *id);
                        said.for_each(|id| self.ledger.implied(id, format!("{boot}, at every architecture")));
                    }
                }
                Some((before, _)) => {
                    let differs = |a: &Option<(String, Id)>, b: &Option<(String, Id)>| {
                        b.clone().filter(|(text, _)| a.as_ref().map(|(t, _)| t) != Some(text)).map(|(_, id)| id)
                    };
                    let ids = [differs(&before.file, &told.file), differs(&before.root, &told.root)];
                    for id in ids.into_iter().flatten() {
                        let file = told.file.as_ref().filter(|(_, of)| *of == id).map_or("", |(file, _)| file);
                        if is_ipxe(file) {
                            self.ledger.implied(id, "iPXE is not given iPXE again");
                        } else if !file.is_empty() && !is_script(file) {
                            // Of a boot loader it is told already.
                            if !self.ledger.judged(id) {
                                self.ledger.lost(id, "iPXE runs Bootyard's script here");
                            }
                        } else {
                            let why = "a machine gets the same at every architecture here; a profile may say `arch`";
                            self.ledger.lost(id, why);
                        }
                    }
                }
            }
        }
        first.map_or(Comes::Nothing, |(_, comes)| comes)
    }

    /// A boot file for a machine's own firmware.
    fn firmware(&mut self, file: &str, id: Id) {
        if file.is_empty() {
            self.ledger.implied(id, "no file: firmware is given iPXE all the same");
        } else if is_ipxe(file) {
            self.ledger.implied(id, "each machine is given iPXE for its architecture");
        } else {
            let why = format!(
                "machines are given iPXE; to have {} started instead, put it into firmware/ and add a [[firmware]] with its `arch` and \
                 `file`",
                leaf(file)
            );
            // One sentence, whatever the number of architectures.
            if !self.ledger.judged(id) {
                self.ledger.lost(id, why);
            }
        }
    }

    fn script_told(&mut self, told: &Told, wanted: Option<&Name>) -> Comes {
        let file = told.file.as_ref().filter(|(file, _)| !file.is_empty());
        let mut said: Vec<Id> = told.file.iter().chain(&told.root).map(|(_, id)| *id).collect();
        if let Some((file, id)) = file {
            if is_ipxe(file) {
                self.ledger.implied(*id, "iPXE is not given iPXE again");
                if told.root.is_none() {
                    return Comes::Nothing;
                }
            } else if is_script(file) || self.script_of(file).is_some() {
                if let Some((_, root)) = &told.root {
                    self.ledger.lost(*root, "beside a script; the script says what is booted");
                    said.retain(|id| id != root);
                }
                return self.script(file, *id, said);
            } else {
                let why = format!("iPXE runs Bootyard's script here, not {}", leaf(file));
                if !self.ledger.judged(*id) {
                    self.ledger.lost(*id, why);
                }
                return Comes::Lost;
            }
        }
        let Some((path, id)) = &told.root else { return Comes::Nothing };
        match self.disk_of(path, *id, wanted) {
            Ok(disk) => {
                let iscsi = IscsiBoot { disk, profile: None, via: IscsiVia::Script, writes: None };
                Comes::Boot(Boot::Iscsi(iscsi), said)
            }
            Err(why) => {
                self.ledger.lost(*id, why);
                Comes::Lost
            }
        }
    }

    fn script_of(&self, file: &str) -> Option<usize> {
        // Our own exports have a folder for each machine, so the folder counts where several have one name.
        let same = self.asked.scripts(leaf(file));
        let path = file.split(['?', '#']).next().unwrap_or_default();
        let parent = path.rsplit('/').nth(1).unwrap_or_default();
        let in_folder = |n: &&usize| self.model.scripts.get(**n).is_some_and(|s| s.folder == parent);
        match same {
            [one] => Some(*one),
            _ => same.iter().find(in_folder).copied(),
        }
    }

    fn script(&mut self, file: &str, id: Id, said: Vec<Id>) -> Comes {
        let Some(n) = self.script_of(file) else {
            self.ledger.lost(id, format!("the script {} is not among the files; import it, too", leaf(file)));
            return Comes::Lost;
        };
        let Some(script) = self.model.scripts.get(n) else { return Comes::Lost };
        let word = match script.word.as_deref() {
            Some("wait") => Some(Boot::Wait),
            Some("menu") => Some(Boot::Menu),
            Some("local") => Some(Boot::Local),
            Some("ignore") => Some(Boot::Ignore),
            _ => None,
        };
        if let Some(boot) = word {
            return Comes::Boot(boot, said);
        }
        let kernels_or_disks: Vec<usize> = (0..script.ends.len())
            .filter(|e| matches!(script.ends.get(*e), Some(End::Kernel(_) | End::San(_))))
            .collect();
        if let ([one], Some(End::Kernel(kernel))) =
            (kernels_or_disks.as_slice(), kernels_or_disks.first().and_then(|n| script.ends.get(*n)))
            && let Some(why) = runs_from_network(&kernel.args)
            && let Some(profile) = self.profiles.get(&(n, *one)).cloned()
        {
            said.iter().chain(kernel.hook.iter().map(|h| &h.id)).for_each(|id| self.ledger.lost(*id, why.clone()));
            let note = format!(
                "profile {profile} ({}) is no installer that runs once: {why}. Its machines are given no `boot`",
                leaf(file)
            );
            if !self.notes.contains(&note) {
                self.notes.push(note);
            }
            return Comes::Lost;
        }
        let boot = match (kernels_or_disks.as_slice(), script.chooses) {
            ([one], false) => self.end(n, *one),
            ([one], true) if script.word.as_deref() == Some("straight") => self.end(n, *one),
            ([], false) if script.ends.iter().any(|e| matches!(e, End::Local(_))) => Some(Boot::Local),
            ([_, ..], _) => Some(Boot::Menu),
            _ => None,
        };
        match boot {
            Some(boot) => Comes::Boot(boot, said),
            None => {
                self.ledger.lost(id, format!("nothing of {} is left that could be booted", leaf(file)));
                Comes::Lost
            }
        }
    }

    fn end(&mut self, script: usize, end: usize) -> Option<Boot> {
        match self.model.scripts.get(script)?.ends.get(end)? {
            End::Kernel(kernel) => {
                let profile = self.profiles.get(&(script, end))?.clone();
                let then = match &kernel.hook {
                    Some(said) => match self.disk_of(&said.value, said.id, None) {
                        Ok(disk) => {
                            self.ledger.mapped(said.id, format!("then = {{ iscsi = \"{disk}\" }}"));
                            InstallThen::Iscsi(IscsiBoot { disk, profile: None, via: IscsiVia::Script, writes: None })
                        }
                        Err(why) => {
                            self.ledger.lost(said.id, why);
                            InstallThen::Local
                        }
                    },
                    None => InstallThen::Local,
                };
                Some(Boot::Install(Install { profile, then }))
            }
            End::San(said) => {
                let disk = self.disk_of(&said.value, said.id, None).ok()?;
                Some(Boot::Iscsi(IscsiBoot { disk, profile: None, via: IscsiVia::Script, writes: None }))
            }
            End::Local(_) => Some(Boot::Local),
            End::Chain(_) => None,
        }
    }
}

/// Why a kernel with these arguments cannot be `install`ed: it runs a system from the network, at every boot.
fn runs_from_network(args: &str) -> Option<String> {
    let starts = ["root=live:", "root=/dev/nfs", "root=nfs", "nfsroot=", "netroot="];
    let is = ["boot=live", "boot=casper"];
    let found = args.split_whitespace().find(|a| is.contains(a) || starts.iter().any(|s| a.starts_with(s)))?;
    let name = starts.iter().chain(&is).find(|s| found.starts_with(**s))?;
    Some(format!(
        "its kernel has {name} and runs from the network at every boot; `install` here runs one once, then the disk"
    ))
}

/// The same words, whoever says them.
fn same(a: &Told, b: &Told) -> bool {
    let text = |x: &Option<(String, Id)>| x.as_ref().map(|(t, _)| script_text(t)).unwrap_or_default();
    text(&a.file) == text(&b.file) && text(&a.root) == text(&b.root)
}

/// Our own exports have each script twice, for iPXE and for gPXE.
fn script_text(text: &str) -> String {
    text.strip_suffix(".gpxe").map_or_else(|| text.to_owned(), |stem| format!("{stem}.ipxe"))
}
