//! What each key of Kea's configuration is here.

mod classes;

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

use self::classes::{listed, listed_anywhere, lists_classes};
use super::expr::code;
use super::json::{Entry, Json, parse};
use crate::exchange::OWN_INITIATORS;
use crate::exchange::client::When;
use crate::exchange::ledger::{Id, Ledger, Said, names_secret};
use crate::exchange::model::{Give, HostEntry, Model, Net, Params, Rule};
use crate::exchange::source::{ITSELF, MOST_STATEMENTS, Source, Sources, real};
use crate::exchange::words::{ipxe_code, is_ipxe_secret, lost_of_ipxe};
use crate::net::{Ipv4Cidr, Ipv4Range, MacAddr};

/// Reads a Kea configuration into the model.
pub(in crate::exchange) fn read(source: &Source, sources: &mut Sources, ledger: &mut Ledger, model: &mut Model) {
    let mut files: Vec<Arc<Path>> = vec![Arc::clone(&source.name)];
    // By which file each was included.
    let mut parents: Vec<usize> = vec![0];
    let mut notes: Vec<(usize, u32, String, Option<String>)> = Vec::new();
    let (json, trouble) = parse(&source.text, 0, &mut |name, file, line| {
        let text = format!("<?include \"{name}\"?>");
        match sources.include(&source.name, name) {
            Ok(found) if around(&files, &parents, file, &found.name) => {
                notes.push((file, line, text, Some(ITSELF.into())));
                None
            }
            Ok(found) if files.len() < crate::exchange::source::MOST_FILES => {
                notes.push((file, line, text, None));
                files.push(Arc::clone(&found.name));
                parents.push(file);
                Some((found.text, files.len() - 1))
            }
            Ok(_) => {
                notes.push((file, line, text, Some("too many files".into())));
                None
            }
            Err(why) => {
                notes.push((file, line, text, Some(why)));
                None
            }
        }
    });
    let of = |file: usize| files.get(file).cloned().unwrap_or_else(|| Arc::clone(&source.name));
    for (file, line, text, why) in notes {
        let id = ledger.add(&of(file), line, line, &text);
        match why {
            None => ledger.implied(id, "its keys are listed by themselves"),
            Some(why) => ledger.lost(id, why),
        }
    }
    let mut json = json.unwrap_or(Json::Map(Vec::new()));
    let mut left = MOST_STATEMENTS;
    number(&mut json, &of, ledger, &mut left);
    if let Some(trouble) = trouble {
        let lines = u32::try_from(source.text.lines().count()).unwrap_or(u32::MAX);
        let last = if trouble.file == 0 { lines.max(trouble.line) } else { trouble.line };
        let id = ledger.add(&of(trouble.file), trouble.line, last, "…");
        ledger.lost(id, format!("not Kea's JSON from here on: {}", trouble.why));
    }
    let (classes, additional) = (HashMap::new(), HashMap::new());
    let mut reader = Reader { ledger, model, classes, additional, of_macs: Vec::new() };
    reader.top(&json);
    reader.machines();
}

/// Whether a file is this one, or one of those that include it.
fn around(files: &[Arc<Path>], parents: &[usize], mut file: usize, wanted: &Path) -> bool {
    let wanted = real(wanted);
    loop {
        if files.get(file).is_some_and(|f| real(f) == wanted) {
            return true;
        }
        match parents.get(file) {
            Some(parent) if *parent != file => file = *parent,
            _ => return false,
        }
    }
}

fn number(json: &mut Json, of: &impl Fn(usize) -> Arc<Path>, ledger: &mut Ledger, left: &mut usize) {
    match json {
        Json::List(list) => list.iter_mut().for_each(|j| number(j, of, ledger, left)),
        Json::Map(map) => {
            // An option that is a secret of iPXE's says so by its name or number.
            let secret = get(map, "name").and_then(Json::text).is_some_and(|n| names_secret(n) || n == "privkey")
                || get(map, "code").and_then(Json::number).is_some_and(|n| u16::try_from(n).is_ok_and(is_ipxe_secret));
            for entry in map {
                let Some(next) = left.checked_sub(1) else { return ledger.rest(&of(entry.file), entry.line) };
                *left = next;
                let hidden = names_secret(&entry.key) || secret && entry.key == "data";
                let value = if hidden && !entry.value.has_keys() { "…".to_owned() } else { entry.value.shown() };
                let text = format!("\"{}\": {value}", entry.key);
                entry.id = Some(ledger.add(&of(entry.file), entry.line, entry.last_line, &text));
                number(&mut entry.value, of, ledger, left);
            }
        }
        _ => {}
    }
}

struct Reader<'a> {
    ledger: &'a mut Ledger,
    model: &'a mut Model,
    classes: HashMap<String, When>,
    /// What classes say that hold only where they are listed, by their names.
    additional: HashMap<String, Vec<Rule>>,
    /// Of classes for one machine.
    of_macs: Vec<(MacAddr, Rule)>,
}

fn get<'j>(map: &'j [Entry], key: &str) -> Option<&'j Json> {
    map.iter().find(|e| e.key == key).map(|e| &e.value)
}

/// Where options and boot files go.
#[derive(Debug, Clone, Copy)]
enum To {
    All,
    Class(When),
    Net(usize),
    Host(usize),
}

impl Reader<'_> {
    /// This key and all that stands in it.
    fn lose(&mut self, entry: &Entry, why: &str) {
        if let Some(id) = entry.id.filter(|id| !self.ledger.judged(*id)) {
            self.ledger.lost(id, why);
        }
        self.lose_inside(&entry.value, why);
    }

    fn lose_inside(&mut self, json: &Json, why: &str) {
        match json {
            Json::List(list) => list.iter().for_each(|j| self.lose_inside(j, why)),
            Json::Map(map) => map.iter().for_each(|e| self.lose(e, why)),
            _ => {}
        }
    }

    fn imply(&mut self, entry: &Entry, why: &str) {
        if let Some(id) = entry.id {
            self.ledger.implied(id, why);
        }
        let mut inner = Vec::new();
        collect(&entry.value, &mut inner);
        for id in inner {
            self.ledger.implied(id, why);
        }
    }

    fn block(&mut self, entry: &Entry) {
        if let Some(id) = entry.id {
            self.ledger.implied(id, "what is in it is listed by itself");
        }
    }

    fn top(&mut self, json: &Json) {
        for entry in json.map() {
            if entry.key == "Dhcp4" {
                self.block(entry);
                self.dhcp4(entry.value.map());
            } else if matches!(entry.key.as_str(), "Dhcp6" | "DhcpDdns" | "Control-agent") {
                self.lose(entry, "Bootyard serves IPv4's DHCP only");
            } else {
                self.lose(entry, &no_equal(&entry.key));
            }
        }
    }

    fn dhcp4(&mut self, map: &[Entry]) {
        // Classes are used by what stands before them, too.
        for entry in map.iter().filter(|e| e.key == "client-classes") {
            self.block(entry);
            self.client_classes(entry.value.list(), &listed_anywhere(map));
        }
        for entry in map {
            match entry.key.as_str() {
                "client-classes" => {}
                "interfaces-config" => self.interfaces(entry),
                "subnet4" => self.subnets(entry, &Params::default(), &[], &[]),
                "shared-networks" => {
                    self.block(entry);
                    for shared in entry.value.list() {
                        self.shared(shared.map());
                    }
                }
                "reservations" => self.reservations(entry, None),
                _ => self.common(entry, To::All),
            }
        }
    }

    fn interfaces(&mut self, entry: &Entry) {
        self.block(entry);
        for inner in entry.value.map() {
            let Some(id) = inner.id else { continue };
            if inner.key != "interfaces" {
                self.imply(inner, "Bootyard chooses its sockets itself");
                continue;
            }
            let names: Vec<&str> = inner.value.list().iter().filter_map(Json::text).collect();
            match names.first() {
                None | Some(&"*") => {
                    self.ledger.lost(id, "Bootyard answers on interfaces that are named; see --interface");
                }
                Some(first) => {
                    let (name, address) =
                        first.split_once('/').map_or((*first, None), |(n, a)| (n, a.parse::<Ipv4Addr>().ok()));
                    self.model.own.extend(address);
                    self.model.interface = Some(Said { value: name.to_owned(), id });
                    if names.len() > 1 {
                        self.ledger
                            .lost(id, "nothing says which subnet is on which interface; the first interface is taken");
                    }
                }
            }
        }
    }

    fn shared(&mut self, map: &[Entry]) {
        let all = std::mem::take(&mut self.model.params);
        let rules = std::mem::take(&mut self.model.rules);
        for entry in map.iter().filter(|e| e.key != "subnet4" && e.key != "name") {
            if lists_classes(&entry.key) { self.late_classes(entry) } else { self.common(entry, To::All) }
        }
        let late = self.late_rules(listed(map));
        let own = std::mem::replace(&mut self.model.params, all);
        let own_rules = std::mem::replace(&mut self.model.rules, rules);
        for entry in map {
            match entry.key.as_str() {
                "name" => self.imply(entry, "what is in it is listed by itself"),
                "subnet4" => self.subnets(entry, &own, &own_rules, &late),
                _ => {}
            }
        }
    }

    /// `late`: what classes say that a shared network around them lists.
    fn subnets(&mut self, entry: &Entry, params: &Params, rules: &[Rule], late: &[Rule]) {
        self.block(entry);
        for subnet in entry.value.list() {
            let map = subnet.map();
            let parsed = get(map, "subnet").and_then(Json::text).and_then(|t| t.parse::<Ipv4Cidr>().ok());
            let id = map.iter().find(|e| e.key == "subnet").and_then(|e| e.id);
            let Some((cidr, id)) = parsed.zip(id) else {
                map.iter().for_each(|e| self.lose(e, "not a subnet; expected an address with a prefix length"));
                continue;
            };
            self.model.nets.push(Net {
                subnet: Ipv4Cidr { address: cidr.network(), prefix: cidr.prefix },
                id,
                ranges: Vec::new(),
                params: params.clone(),
                rules: rules.to_vec(),
                proxy: false,
                relayed: get(map, "relay").is_some(),
                remark: None,
            });
            let net = self.model.nets.len() - 1;
            for entry in map {
                self.in_subnet(entry, net);
            }
            // They outweigh the subnet's own file, and its classes those of the network around it.
            let own = self.late_rules(listed(map));
            if let Some(net) = self.model.nets.get_mut(net) {
                net.rules.extend(late.iter().cloned().chain(own));
            }
        }
    }

    fn in_subnet(&mut self, entry: &Entry, net: usize) {
        let Some(id) = entry.id else { return };
        match entry.key.as_str() {
            "subnet" => {}
            "id" => self.ledger.implied(id, "subnets have no numbers here"),
            "interface" => match entry.value.text() {
                Some(name) if self.model.interface.is_none() => {
                    self.model.interface = Some(Said { value: name.to_owned(), id });
                }
                _ => self.ledger.implied(id, "Bootyard answers on its interface only"),
            },
            "reservations" => self.reservations(entry, Some(net)),
            key if lists_classes(key) => self.late_classes(entry),
            "pools" => {
                self.block(entry);
                for pool in entry.value.list() {
                    for inner in pool.map() {
                        match (inner.key.as_str(), inner.id) {
                            ("pool", Some(id)) => self.pool(&inner.value, id, net),
                            _ => self.lose(inner, "every machine may have every address of its subnet here"),
                        }
                    }
                }
            }
            _ => self.common(entry, To::Net(net)),
        }
    }

    fn pool(&mut self, value: &Json, id: Id, net: usize) {
        let text = value.text().unwrap_or_default();
        let range = match text.split_once('-') {
            Some((a, b)) => a.trim().parse().ok().zip(b.trim().parse().ok()),
            None => text.trim().parse::<Ipv4Cidr>().ok().map(|c| (c.network(), c.broadcast())),
        };
        let range = range.and_then(|(a, b)| Ipv4Range::new(a, b).ok());
        match (range, self.model.nets.get_mut(net)) {
            (Some(value), Some(net)) => net.ranges.push(Said { value, id }),
            _ => self.ledger.lost(id, "not a range of addresses"),
        }
    }

    fn reservations(&mut self, entry: &Entry, net: Option<usize>) {
        self.block(entry);
        for host in entry.value.list() {
            let map = host.map();
            let Some(id) = map.iter().find(|e| e.key == "hw-address").or_else(|| map.first()).and_then(|e| e.id) else {
                continue;
            };
            if get(map, "hw-address").is_none() {
                map.iter().for_each(|e| self.lose(e, "a machine is known by its MAC address here"));
                continue;
            }
            let (macs, rules) = (Vec::new(), Vec::new());
            self.model.hosts.push(HostEntry {
                id,
                name: None,
                macs,
                address: None,
                rules,
                ignored: false,
                said: Vec::new(),
                net,
            });
            let host = self.model.hosts.len() - 1;
            for entry in map {
                self.in_host(entry, host);
            }
        }
    }

    fn in_host(&mut self, entry: &Entry, index: usize) {
        let Some(id) = entry.id else { return };
        let text = entry.value.text().unwrap_or_default();
        let Some(host) = self.model.hosts.get_mut(index) else { return };
        match entry.key.as_str() {
            "hw-address" => match text.parse() {
                Ok(value) => host.macs.push(Said { value, id }),
                Err(_) => self.ledger.lost(id, "not a MAC address"),
            },
            "ip-address" => match text.parse() {
                Ok(value) => host.address = Some(Said { value, id }),
                Err(_) => self.ledger.lost(id, "not an address"),
            },
            "hostname" => {
                host.name = Some(text.to_owned());
                host.said.push((id, "name of the [[host]]"));
            }
            "client-classes" if entry.value.list().iter().any(|c| c.text() == Some("DROP")) => {
                host.ignored = true;
                host.said.push((id, "boot = \"ignore\""));
            }
            "client-classes" => self.ledger.lost(id, "there are no classes here"),
            _ => self.common(entry, To::Host(index)),
        }
    }

    /// Keys that stand in many places.
    fn common(&mut self, entry: &Entry, to: To) {
        let Some(id) = entry.id else { return };
        let text = entry.value.text().unwrap_or_default().to_owned();
        match entry.key.as_str() {
            "option-data" => {
                self.block(entry);
                for option in entry.value.list() {
                    self.option(option.map(), to);
                }
            }
            // Kea writes an empty one where there is none.
            "boot-file-name" if text.is_empty() => self.ledger.implied(id, "no file of its own"),
            "boot-file-name" => self.rule(to, Give::File(text), id),
            "next-server" => match text.parse::<Ipv4Addr>() {
                Ok(address) if !address.is_unspecified() => {
                    self.model.own.push(address);
                    match to {
                        To::Class(_) | To::Host(_) => self.ledger.implied(id, "Bootyard itself serves the boot files"),
                        _ => {
                            if let Some(params) = self.params(to) {
                                params.next_server = Some(Said { value: address, id });
                            }
                        }
                    }
                }
                _ => self.ledger.implied(id, "Bootyard itself serves the boot files"),
            },
            "relay" => self.imply(entry, "a relay is known by its address in the subnet"),
            "server-hostname" => self.ledger.implied(id, "Bootyard names itself"),
            key @ ("valid-lifetime" | "max-valid-lifetime") => {
                let value = entry.value.number();
                match (value, self.params(to)) {
                    (Some(value), Some(params)) => {
                        let said = Some(Said { value, id });
                        *(if key == "valid-lifetime" { &mut params.lease } else { &mut params.lease_max }) = said;
                    }
                    (None, _) => self.ledger.lost(id, "not a number of seconds"),
                    (_, None) => self.ledger.lost(id, "lease times are the subnet's here"),
                }
            }
            "renew-timer" | "rebind-timer" | "calculate-tee-times" | "t1-percent" | "t2-percent" => {
                self.ledger.implied(id, "renewal follows from the lease time");
            }
            "authoritative" if entry.value.is_true() => {
                self.ledger.implied(id, "in dhcp mode Bootyard refuses addresses that are not from here");
            }
            "lease-database"
            | "expired-leases-processing"
            | "multi-threading"
            | "dhcp-queue-control"
            | "sanity-checks"
            | "loggers"
            | "host-reservation-identifiers"
            | "reservation-mode"
            | "reservations-global"
            | "reservations-in-subnet"
            | "reservations-out-of-pool"
            | "echo-client-id"
            | "decline-probation-period" => {
                self.imply(entry, "Bootyard keeps its own");
            }
            "option-def" => self.definitions(entry),
            "user-context" | "comment" => self.imply(entry, "a remark"),
            "ddns-send-updates" if !entry.value.is_true() => self.ledger.implied(id, "no DNS is updated"),
            "dhcp-ddns" if get(entry.value.map(), "enable-updates").is_some_and(|v| !v.is_true()) => {
                self.imply(entry, "no DNS is updated");
            }
            key if key.starts_with("ddns-") || key == "dhcp-ddns" => self.lose(entry, "Bootyard updates no DNS"),
            key => {
                let why = no_equal(key);
                self.lose(entry, &why);
            }
        }
    }

    /// Names for what clients send are known; others are of no use here.
    fn definitions(&mut self, entry: &Entry) {
        self.block(entry);
        for definition in entry.value.list() {
            let map = definition.map();
            let code = get(map, "code").and_then(Json::number);
            let space = get(map, "space").and_then(Json::text).unwrap_or("dhcp4");
            let known =
                matches!(code, Some(60 | 77 | 93 | 94 | 97 | 175 | 177 | 203)) || ["ipxe", "gpxe"].contains(&space);
            for inner in map {
                if known {
                    self.imply(inner, "a name for what clients say of themselves; Bootyard knows it");
                } else {
                    self.lose(inner, "Bootyard gives no options of one's own");
                }
            }
        }
    }

    fn option(&mut self, map: &[Entry], to: To) {
        let name = get(map, "name").and_then(Json::text).unwrap_or_default().to_owned();
        let space = get(map, "space").and_then(Json::text).unwrap_or("dhcp4");
        let number = get(map, "code").and_then(Json::number).and_then(|n| u16::try_from(n).ok());
        let code = number.or_else(|| code(&name)).filter(|_| space == "dhcp4");
        let data = get(map, "data").and_then(Json::text).unwrap_or_default().to_owned();
        let Some(id) = map.iter().find(|e| e.key == "data").or_else(|| map.first()).and_then(|e| e.id) else { return };
        let addresses: Vec<Ipv4Addr> = data.split(',').filter_map(|p| p.trim().parse().ok()).collect();
        let lost = match (code, self.params(to)) {
            (Some(17 | 67), _) => {
                self.rule(to, if code == Some(17) { Give::RootPath(data) } else { Give::File(data) }, id);
                None
            }
            (Some(66), _) => {
                self.model.own.extend(addresses.first());
                self.ledger.implied(id, "Bootyard itself serves the boot files");
                None
            }
            (Some(1 | 28), _) => {
                self.ledger.implied(id, "it follows from the subnet");
                None
            }
            (Some(203), _) if data.starts_with(OWN_INITIATORS) => {
                self.ledger.implied(id, "Bootyard gives each machine this name");
                None
            }
            (Some(203), _) => Some("Bootyard gives each machine an initiator name of its own".to_owned()),
            (Some(43 | 60), _) => {
                self.ledger.implied(id, "Bootyard answers ROMs as they expect");
                None
            }
            (None, _) if space == "ipxe" || space == "gpxe" => {
                match lost_of_ipxe(number.or_else(|| ipxe_code(&name))) {
                    Some(why) => Some(why.to_owned()),
                    None => {
                        self.ledger.implied(id, "Bootyard gives iPXE what it needs");
                        None
                    }
                }
            }
            (Some(3 | 6 | 15), None) => Some("the same for all machines of a subnet here".to_owned()),
            (Some(3), Some(params)) if !addresses.is_empty() => {
                params.router = addresses.first().map(|a| Said { value: *a, id });
                (addresses.len() > 1).then(|| "the first router is taken; Bootyard gives one".to_owned())
            }
            (Some(6), Some(params)) if !addresses.is_empty() => {
                params.dns = Some(Said { value: addresses, id });
                None
            }
            (Some(15), Some(params)) => {
                params.domain = Some(Said { value: data, id });
                None
            }
            _ => Some(format!("Bootyard gives no option `{name}`")),
        };
        match lost {
            Some(why) => {
                self.ledger.lost(id, why.clone());
                map.iter().for_each(|e| self.lose(e, &why));
            }
            None => {
                for entry in map.iter().filter(|e| e.id != Some(id)) {
                    self.imply(entry, "it names the option of this entry's data");
                }
            }
        }
    }

    fn params(&mut self, to: To) -> Option<&mut Params> {
        match to {
            To::All => Some(&mut self.model.params),
            To::Net(net) => self.model.nets.get_mut(net).map(|n| &mut n.params),
            To::Class(_) | To::Host(_) => None,
        }
    }

    fn rule(&mut self, to: To, give: Give, id: Id) {
        let rule = Rule { when: When::ALWAYS, give, id };
        match to {
            To::All => self.model.rules.push(rule),
            To::Class(when) => self.model.class_rules.push(Rule { when, ..rule }),
            To::Net(net) => {
                if let Some(net) = self.model.nets.get_mut(net) {
                    net.rules.push(rule);
                }
            }
            To::Host(host) => {
                if let Some(host) = self.model.hosts.get_mut(host) {
                    host.rules.push(rule);
                }
            }
        }
    }
}

fn collect(json: &Json, into: &mut Vec<Id>) {
    match json {
        Json::List(list) => list.iter().for_each(|j| collect(j, into)),
        Json::Map(map) => {
            for entry in map {
                into.extend(entry.id);
                collect(&entry.value, into);
            }
        }
        _ => {}
    }
}

fn no_equal(key: &str) -> String {
    match key {
        "hooks-libraries" => "Bootyard runs no hooks".into(),
        "control-socket" | "control-sockets" => "Bootyard has a control socket of its own, for its own user".into(),
        "hosts-database" | "hosts-databases" => "reservations stand in lab.toml; import reads no database".into(),
        "require-client-classes"
        | "client-class"
        | "only-if-required"
        | "only-in-additional-list"
        | "evaluate-additional-classes" => "there are no classes here".into(),
        "min-valid-lifetime" => "a lease is as short as the client asks for, down to a minute".into(),
        key => format!("`{key}` has no equal here"),
    }
}
