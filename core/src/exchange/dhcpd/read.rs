//! What each statement of dhcpd.conf is here.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

use super::eval::{Options, condition, declared};
use super::lexer::Token;
use super::parser::{Node, parse};
use crate::exchange::OWN_INITIATORS;
use crate::exchange::client::When;
use crate::exchange::ledger::{Id, Ledger, Said};
use crate::exchange::model::{Give, HostEntry, Model, Net, Params, Rule, winners};
use crate::exchange::source::{DEEPEST, ITSELF, MOST_STATEMENTS, Source, Sources};
use crate::exchange::words::{ipxe_code, lost_of_ipxe};
use crate::net::{Ipv4Cidr, Ipv4Range, MacAddr};

/// Reads a dhcpd.conf into the model.
pub(in crate::exchange) fn read(source: &Source, sources: &mut Sources, ledger: &mut Ledger, model: &mut Model) {
    let mut nodes = parse(&source.text);
    let mut loader = Loader { sources, ledger, root: Arc::clone(&source.name), left: MOST_STATEMENTS };
    if loader.sources.enter(&source.name) {
        loader.load(&mut nodes, &source.name, 0);
        loader.sources.leave();
    }
    let mut options = Options::default();
    options.collect(&nodes);
    let mut reader = Reader { ledger, model, options };
    reader.block(&nodes, &Place::default());
}

/// Gives each statement its number in the order of the text, and puts included files in their place.
struct Loader<'a> {
    sources: &'a mut Sources,
    ledger: &'a mut Ledger,
    root: Arc<Path>,
    left: usize,
}

impl Loader<'_> {
    fn load(&mut self, nodes: &mut [Node], file: &Arc<Path>, depth: usize) {
        for node in nodes {
            let Some(left) = self.left.checked_sub(1) else { return self.ledger.rest(file, node.line) };
            self.left = left;
            let id = self.ledger.add(file, node.line, node.last_line, &node.shown());
            node.id = Some(id);
            if let Some(broken) = node.broken {
                self.ledger.lost(id, broken);
            }
            if node.keyword() == "include" && node.block.is_none() {
                self.include(node, id, depth);
            } else if let Some(block) = &mut node.block {
                self.load(block, file, depth);
            }
        }
    }

    fn include(&mut self, node: &mut Node, id: Id, depth: usize) {
        let Some(name) = node.text(1) else { return self.ledger.lost(id, "it names no file") };
        if depth >= DEEPEST {
            return self.ledger.lost(id, "files include each other too deep");
        }
        match self.sources.include(&self.root, name) {
            Ok(source) if !self.sources.enter(&source.name) => self.ledger.lost(id, ITSELF),
            Ok(source) => {
                self.ledger.implied(id, "its statements are listed by themselves");
                let mut nodes = parse(&source.text);
                self.load(&mut nodes, &source.name, depth + 1);
                self.sources.leave();
                node.block = Some(nodes);
            }
            Err(why) => self.ledger.lost(id, why),
        }
    }
}

/// Where a statement stands.
#[derive(Debug, Clone, Default)]
struct Place {
    net: Option<usize>,
    host: Option<usize>,
    /// Inside of a class.
    class: bool,
    /// Inside of a pool.
    pool: bool,
    /// Of the groups and shared networks around.
    params: Params,
    rules: Vec<Rule>,
    /// In a group or shared network that is not yet a subnet or host.
    outer: bool,
    /// For whom it holds; everybody by default.
    when: Option<When>,
    /// Why nothing in here can be taken.
    dead: Option<String>,
}

impl Place {
    fn when(&self) -> When {
        self.when.unwrap_or(When::ALWAYS)
    }

    fn dead(&self, why: impl Into<String>) -> Self {
        Self { dead: Some(self.dead.clone().unwrap_or_else(|| why.into())), ..self.clone() }
    }

    fn narrowed(&self, when: When) -> Self {
        Self { when: Some(self.when().and(when)), ..self.clone() }
    }
}

struct Reader<'a> {
    ledger: &'a mut Ledger,
    model: &'a mut Model,
    options: Options,
}

/// Rules of a group after which those that do not count are taken out.
const MOST_RULES: usize = 40;

/// Blocks whose contents are read after the parameters beside them, because these hold in them wherever they stand.
const INNER: [&str; 6] = ["subnet", "shared-network", "group", "host", "pool", "include"];

impl Reader<'_> {
    fn block(&mut self, nodes: &[Node], place: &Place) {
        let around: Vec<Id> = place.params.ids().collect();
        let mut place = place.clone();
        let nets = self.model.nets.len();
        self.parameters(nodes, &mut place);
        for node in nodes.iter().filter(|n| INNER.contains(&n.keyword().as_str())) {
            self.declaration(node, &place);
        }
        if place.outer && self.model.nets.len() == nets {
            // What stands further out may hold for a subnet there.
            for id in place.params.ids().filter(|id| !around.contains(id)) {
                self.ledger.lost(id, "it holds for a group of hosts; options and times are the subnet's here");
            }
        }
    }

    /// Everything but declarations, in order. Parameters of groups are collected in `place`.
    fn parameters(&mut self, nodes: &[Node], place: &mut Place) {
        let mut rest: Option<When> = None;
        for node in nodes {
            let Some(id) = node.id else { continue };
            let keyword = node.keyword();
            let before = rest.take();
            match (keyword.as_str(), &node.block) {
                ("if" | "elsif" | "else", Some(block)) => {
                    rest = self.branch(node, id, block, before, place);
                }
                ("include", Some(block)) => self.parameters(block, place),
                (inner, _) if INNER.contains(&inner) => {}
                ("class", Some(block)) => self.class(node, id, block, place),
                (_, Some(block)) => {
                    let why = no_equal(&keyword);
                    self.ledger.lost(id, why.clone());
                    self.parameters(block, &mut place.dead(why));
                    // Declarations in there would be odd, but each is to be listed.
                    for node in block.iter().filter(|n| INNER.contains(&n.keyword().as_str())) {
                        self.declaration(node, &place.dead(no_equal(&keyword)));
                    }
                }
                (_, None) => self.simple(node, id, place),
            }
        }
    }

    /// One branch of if, elsif, else; returns for whom the next one is.
    fn branch(&mut self, node: &Node, id: Id, block: &[Node], before: Option<When>, place: &mut Place) -> Option<When> {
        let keyword = node.keyword();
        let own = match keyword.as_str() {
            "if" => condition(node.tokens.get(1..).unwrap_or_default(), &self.options).when(),
            "elsif" => condition(node.tokens.get(1..).unwrap_or_default(), &self.options).when(),
            // `else if` is dhcpd's, too.
            _ if node.word(1).as_deref() == Some("if") => {
                condition(node.tokens.get(2..).unwrap_or_default(), &self.options).when()
            }
            _ => When::ALWAYS,
        };
        let before = if keyword == "if" { When::ALWAYS } else { before.unwrap_or_default() };
        let here = before.and(own);
        let mut inner = place.narrowed(here);
        if !own.is_known() {
            let why = "depends on what import cannot know of a client; Bootyard tells machines apart by MAC, UUID and architecture";
            self.ledger.lost(id, why);
            inner = inner.dead(format!("the condition of {} is not understood", self.ledger.place(id)));
        } else if !here.is_known() {
            let why = "an earlier branch depends on what import cannot know of a client";
            self.ledger.lost(id, why);
            inner = inner.dead(why);
        } else {
            self.ledger.implied(id, "Bootyard tells these clients apart by itself");
        }
        self.parameters(block, &mut inner);
        for node in block.iter().filter(|n| INNER.contains(&n.keyword().as_str())) {
            self.declaration(node, &inner.dead("declarations inside of a condition hold for nobody here"));
        }
        // What a branch inside of a group says is the group's.
        place.rules.clone_from(&inner.rules);
        Some(before.and(own.not()))
    }

    fn class(&mut self, node: &Node, id: Id, block: &[Node], place: &Place) {
        let tests: Vec<&Node> = block
            .iter()
            .filter(|n| n.keyword() == "match" && n.word(1).as_deref() == Some("if") && n.block.is_none())
            .collect();
        let when = match tests.as_slice() {
            [test] => condition(test.tokens.get(2..).unwrap_or_default(), &self.options).when(),
            _ => When::default().not().and(When::of(|_| None)),
        };
        let name = node.text(1).unwrap_or_default().to_owned();
        let mut inner = Place { class: true, ..place.narrowed(when) };
        if when.is_known() {
            self.ledger.implied(id, "Bootyard tells these clients apart by itself");
            tests
                .iter()
                .filter_map(|t| t.id)
                .for_each(|t| self.ledger.implied(t, "Bootyard tells these clients apart by itself"));
        } else {
            self.ledger
                .lost(id, "its members cannot be told from what kind of client they are; there are no classes here");
            inner = inner.dead(format!("belongs to the class `{name}`, whose members import cannot tell"));
        }
        let rest: Vec<Node> = block.iter().filter(|n| !tests.iter().any(|t| t.id == n.id)).cloned().collect();
        for test in tests.iter().filter(|_| !when.is_known()) {
            if let Some(id) = test.id {
                self.ledger.lost(id, "depends on what import cannot know of a client");
            }
        }
        self.block(&rest, &inner);
    }

    fn declaration(&mut self, node: &Node, place: &Place) {
        let Some(id) = node.id else { return };
        let empty = Vec::new();
        let block = node.block.as_ref().unwrap_or(&empty);
        if let Some(why) = &place.dead {
            if node.keyword() != "include" {
                self.ledger.lost(id, why.clone());
            }
            return self.block(block, place);
        }
        match node.keyword().as_str() {
            "include" => {
                // Its parameters were read with those around it.
                for node in block.iter().filter(|n| INNER.contains(&n.keyword().as_str())) {
                    self.declaration(node, place);
                }
            }
            "subnet" => self.subnet(node, id, block, place),
            "host" => self.host(node, id, block, place),
            "pool" => {
                if place.net.is_none() {
                    self.ledger.lost(id, "a pool outside of a subnet");
                    return self.block(block, &place.dead("stands in a pool outside of a subnet"));
                }
                self.ledger.implied(id, "its ranges are the subnet's");
                self.block(block, &Place { pool: true, ..place.clone() });
            }
            keyword => {
                self.ledger.implied(id, "what is in it is listed by itself");
                let shared = keyword == "shared-network";
                // Subnets in it take its parameters, and so do hosts.
                self.block(block, &Place { outer: place.outer || shared || place.host.is_none(), ..place.clone() });
            }
        }
    }

    fn subnet(&mut self, node: &Node, id: Id, block: &[Node], place: &Place) {
        let parsed = (|| {
            let address: Ipv4Addr = node.text(1)?.parse().ok()?;
            let mask: Ipv4Addr = (node.word(2)? == "netmask").then(|| node.text(3))??.parse().ok()?;
            cidr(address, mask)
        })();
        let Some(subnet) = parsed else {
            self.ledger.lost(id, "not a subnet; expected `subnet ADDRESS netmask MASK`");
            return self.block(block, &place.dead("its subnet is not understood"));
        };
        let (params, rules) = (place.params.clone(), place.rules.clone());
        self.model.nets.push(Net {
            subnet,
            id,
            ranges: Vec::new(),
            params,
            rules,
            proxy: false,
            relayed: false,
            remark: None,
        });
        let net = Some(self.model.nets.len() - 1);
        self.block(block, &Place { net, outer: false, rules: Vec::new(), ..place.clone() });
    }

    fn host(&mut self, node: &Node, id: Id, block: &[Node], place: &Place) {
        let entry = HostEntry {
            id,
            name: node.text(1).map(str::to_owned),
            macs: Vec::new(),
            address: None,
            rules: place.rules.clone(),
            ignored: false,
            said: Vec::new(),
            net: place.net,
        };
        self.model.hosts.push(entry);
        let host = Some(self.model.hosts.len() - 1);
        self.block(block, &Place { host, outer: false, ..place.clone() });
    }

    fn simple(&mut self, node: &Node, id: Id, place: &mut Place) {
        if node.broken.is_some() {
            return;
        }
        // Declarations are the same wherever they stand.
        if declared(node).is_some() || node.keyword() == "option" && node.word(1).as_deref() == Some("space") {
            return self.declares(node, id);
        }
        if let Some(why) = &place.dead {
            return self.ledger.lost(id, why.clone());
        }
        let keyword = node.keyword();
        let flag = |n: usize| node.word(n).is_some_and(|w| w == "on" || w == "true");
        match keyword.as_str() {
            "option" => self.option(node, id, place),
            "filename" => match node.text(1).filter(|_| node.tokens.len() == 2) {
                Some(file) => self.rule(id, place, Give::File(file.to_owned())),
                None => self.ledger.lost(id, "its name is computed for each client, which import does not do"),
            },
            "next-server" | "server-identifier" => match node.text(1).and_then(|t| t.parse().ok()) {
                Some(address) => self.next_server(id, place, address),
                None => self.ledger.lost(id, "not an address; Bootyard itself serves the boot files"),
            },
            "server-name" => self.ledger.implied(id, "Bootyard names itself"),
            "range" => self.range(node, id, place),
            "default-lease-time" | "max-lease-time" => self.lease(node, id, place, keyword == "max-lease-time"),
            "hardware" => self.hardware(node, id, place),
            "fixed-address" => self.fixed(node, id, place),
            "allow" | "deny" | "ignore" => self.permission(node, id, place),
            "authoritative" => {
                self.ledger.implied(id, "in dhcp mode Bootyard refuses addresses that are not from here");
            }
            "use-host-decl-names" if flag(1) => self.ledger.implied(id, "each host is given its name"),
            "ddns-update-style" if node.word(1).as_deref() == Some("none") => {
                self.ledger.implied(id, "no DNS is updated");
            }
            "ddns-updates" | "do-forward-updates" if node.word(1).is_some_and(|w| w == "off" || w == "false") => {
                self.ledger.implied(id, "no DNS is updated");
            }
            word if word.starts_with("ddns-") || word == "do-forward-updates" || word == "update-static-leases" => {
                self.ledger.lost(id, "Bootyard updates no DNS");
            }
            "log-facility" | "lease-file-name" | "pid-file-name" | "dynamic-bootp-lease-length" => {
                self.ledger.implied(id, "Bootyard keeps its own");
            }
            "ping-check" | "one-lease-per-client" | "ignore-client-uids" if flag(1) => {
                self.ledger.implied(id, "Bootyard does so always");
            }
            _ => self.ledger.lost(id, no_equal(&keyword)),
        }
    }

    fn declares(&mut self, node: &Node, id: Id) {
        let name = node.word(if node.word(1).as_deref() == Some("space") { 2 } else { 1 }).unwrap_or_default();
        let space = name.split('.').next().unwrap_or_default();
        let code = node.text(3).and_then(|t| t.parse::<u16>().ok());
        let known_space = self.options.carrier(space) == Some(175) || ["gpxe", "ipxe", "pxe"].contains(&space);
        if known_space || (!name.contains('.') && matches!(code, Some(60 | 77 | 93 | 94 | 97 | 175 | 176 | 177 | 203)))
        {
            self.ledger.implied(id, "a name for what clients say of themselves; Bootyard knows it");
        } else {
            self.ledger.lost(id, "Bootyard gives no options of one's own");
        }
    }

    fn option(&mut self, node: &Node, id: Id, place: &mut Place) {
        let Some(name) = node.word(1) else { return };
        let value = || node.tokens.get(2..).unwrap_or_default();
        let first = node.text(2).unwrap_or_default().to_owned();
        let addresses: Vec<Ipv4Addr> = value().iter().filter_map(Token::text).filter_map(|t| t.parse().ok()).collect();
        let whole = addresses.len() == value().iter().filter(|t| !t.is(",")).count() && !addresses.is_empty();
        if let Some((space, part)) = name.split_once('.') {
            return match self.options.carrier(space) {
                Some(175) => match lost_of_ipxe(self.options.part(&name).or_else(|| ipxe_code(part))) {
                    Some(why) => self.ledger.lost(id, why),
                    None => self.ledger.implied(id, "Bootyard gives iPXE what it needs"),
                },
                _ if space == "pxe" => self.ledger.implied(id, "Bootyard tells ROMs to take the file of its offer"),
                _ => self.ledger.lost(id, format!("Bootyard gives no option `{name}`")),
            };
        }
        match self.options.code(&name) {
            Some(17) => self.rule(id, place, Give::RootPath(first)),
            Some(67) => self.rule(id, place, Give::File(first)),
            Some(66) => match first.parse() {
                Ok(address) => self.next_server(id, place, address),
                Err(_) => self.ledger.implied(id, "Bootyard itself serves the boot files"),
            },
            Some(60 | 43) => self.ledger.implied(id, "Bootyard answers ROMs as they expect"),
            Some(203) if first.starts_with(OWN_INITIATORS) => {
                self.ledger.implied(id, "Bootyard gives each machine this name");
            }
            Some(203) => self.ledger.lost(id, "Bootyard gives each machine an initiator name of its own"),
            Some(1 | 28) => self.derived(id, place, addresses.first().copied(), name == "subnet-mask"),
            Some(12) => match place.host.and_then(|h| self.model.hosts.get_mut(h)) {
                Some(host) => {
                    host.name = Some(first);
                    host.said.push((id, "name of the [[host]]"));
                }
                None => self.ledger.lost(id, "a name for every machine; each [[host]] has its own"),
            },
            Some(3 | 6 | 15) if !place.when().is_always() => {
                self.ledger.lost(id, "the same for all machines of a subnet here");
            }
            Some(3 | 6 | 15) if place.host.is_some() => {
                self.ledger.lost(id, "a host has no options of its own here; those of its subnet hold");
            }
            Some(3) if whole => {
                self.params(place).router = addresses.first().map(|a| Said { value: *a, id });
                if addresses.len() > 1 {
                    self.ledger.lost(id, "the first router is taken; Bootyard gives one");
                }
            }
            Some(6) if whole => {
                self.params(place).dns = Some(Said { value: addresses, id });
            }
            Some(15) if !first.is_empty() => {
                self.params(place).domain = Some(Said { value: first, id });
            }
            Some(3 | 6) => self.ledger.lost(id, "names instead of addresses; import looks none up"),
            _ => self.ledger.lost(id, format!("Bootyard gives no option `{name}`")),
        }
    }

    /// Mask and broadcast address follow from the subnet.
    fn derived(&mut self, id: Id, place: &Place, address: Option<Ipv4Addr>, mask: bool) {
        let net = place.net.and_then(|n| self.model.nets.get(n)).map(|n| n.subnet);
        let expected = net.map(|n| if mask { n.mask() } else { n.broadcast() });
        match (expected, address) {
            (Some(expected), Some(address)) if expected == address => {
                self.ledger.implied(id, "it follows from the subnet");
            }
            (Some(expected), _) => {
                self.ledger.lost(id, format!("Bootyard gives {expected}, which follows from the subnet"));
            }
            (None, _) => self.ledger.implied(id, "each subnet's own follows from its addresses"),
        }
    }

    /// Where the parameters of a place go: to its group or shared network, its subnet, or to all.
    fn params<'p>(&'p mut self, place: &'p mut Place) -> &'p mut Params {
        let net = place.net.filter(|n| *n < self.model.nets.len());
        match net {
            _ if place.outer => &mut place.params,
            Some(net) => &mut self.model.nets[net].params,
            None => &mut self.model.params,
        }
    }

    fn rule(&mut self, id: Id, place: &mut Place, give: Give) {
        let rule = Rule { when: place.when(), give, id };
        if let Some(host) = place.host.and_then(|h| self.model.hosts.get_mut(h)) {
            host.rules.push(rule);
        } else if place.class {
            self.model.class_rules.push(rule);
        } else if place.outer {
            place.rules.push(rule);
            // Each host of the group gets them all.
            if place.rules.len() > MOST_RULES {
                winners(&mut place.rules, &mut self.model.outweighed);
            }
        } else if let Some(net) = place.net.and_then(|n| self.model.nets.get_mut(n)) {
            net.rules.push(rule);
        } else {
            self.model.rules.push(rule);
        }
    }

    fn next_server(&mut self, id: Id, place: &mut Place, address: Ipv4Addr) {
        self.model.own.push(address);
        if place.host.is_some() || place.class || place.outer || !place.when().is_always() {
            self.ledger.implied(id, "Bootyard itself serves the boot files");
        } else {
            self.params(place).next_server = Some(Said { value: address, id });
        }
    }

    fn range(&mut self, node: &Node, id: Id, place: &Place) {
        let words: Vec<&str> = (1..4).filter_map(|n| node.text(n)).filter(|t| *t != "dynamic-bootp").collect();
        let first: Option<Ipv4Addr> = words.first().and_then(|t| t.parse().ok());
        let last = words.get(1).map_or(first, |t| t.parse().ok());
        let range = first.zip(last).and_then(|(a, b)| Ipv4Range::new(a, b).ok());
        match (range, place.net.and_then(|n| self.model.nets.get_mut(n))) {
            (Some(value), Some(net)) => net.ranges.push(Said { value, id }),
            (None, _) => self.ledger.lost(id, "not a range; expected `range FIRST LAST`"),
            (_, None) => self.ledger.lost(id, "a range outside of a subnet"),
        }
    }

    fn lease(&mut self, node: &Node, id: Id, place: &mut Place, max: bool) {
        let Some(value) = node.text(1).and_then(|t| t.parse::<u64>().ok()) else {
            return self.ledger.lost(id, "not a number of seconds");
        };
        if place.host.is_some() || place.class || place.pool || !place.when().is_always() {
            return self.ledger.lost(id, "lease times are the subnet's here");
        }
        let params = self.params(place);
        *(if max { &mut params.lease_max } else { &mut params.lease }) = Some(Said { value, id });
    }

    fn hardware(&mut self, node: &Node, id: Id, place: &Place) {
        let mac = node.text(2).and_then(mac);
        match (node.word(1).as_deref(), mac, place.host.and_then(|h| self.model.hosts.get_mut(h))) {
            (Some("ethernet"), Some(value), Some(host)) => host.macs.push(Said { value, id }),
            (Some("ethernet"), None, _) => self.ledger.lost(id, "not a MAC address"),
            (_, _, None) => self.ledger.lost(id, "a hardware address outside of a host"),
            _ => self.ledger.lost(id, "Bootyard boots over Ethernet"),
        }
    }

    fn fixed(&mut self, node: &Node, id: Id, place: &Place) {
        let values: Vec<&str> = node.tokens.iter().skip(1).filter_map(Token::text).collect();
        let addresses: Vec<Ipv4Addr> = values.iter().filter_map(|t| t.parse().ok()).collect();
        let Some(host) = place.host.and_then(|h| self.model.hosts.get_mut(h)) else {
            return self.ledger.lost(id, "an address outside of a host");
        };
        match addresses.as_slice() {
            [] => self.ledger.lost(id, "a name instead of an address; import looks none up"),
            [value, more @ ..] => {
                host.address = Some(Said { value: *value, id });
                if !more.is_empty() || values.len() > addresses.len() {
                    self.ledger.lost(id, format!("a host has one address here; {value} is taken"));
                }
            }
        }
    }

    fn permission(&mut self, node: &Node, id: Id, place: &Place) {
        let allow = node.keyword() == "allow";
        let what = node.tokens.iter().skip(1).filter_map(Token::word).collect::<Vec<_>>().join(" ");
        match (allow, what.as_str()) {
            (true, "booting" | "bootp" | "unknown-clients" | "unknown clients" | "duplicates") => {
                self.ledger.implied(id, "Bootyard does so");
            }
            (false, "unknown-clients" | "unknown clients") if !place.pool && place.host.is_none() => {
                self.model.strangers_ignored.push(id);
            }
            (false, "booting") => match place.host.and_then(|h| self.model.hosts.get_mut(h)) {
                Some(host) => {
                    host.ignored = true;
                    host.said.push((id, "boot = \"ignore\""));
                }
                None => self.ledger.lost(id, "only a host can be kept from booting"),
            },
            (false, "client-updates" | "declines" | "duplicates") => {
                self.ledger.implied(id, "Bootyard does none of it");
            }
            (_, "client-updates") => self.ledger.lost(id, "Bootyard updates no DNS"),
            _ if place.pool => self.ledger.lost(id, "every machine may have every address of its subnet here"),
            _ => self.ledger.lost(id, "no equal here"),
        }
    }
}

fn no_equal(keyword: &str) -> String {
    match keyword {
        "key" | "zone" => "Bootyard updates no DNS and takes no OMAPI".into(),
        "failover" => "one Bootyard serves a network; there is no failover".into(),
        "on" => "Bootyard runs no commands at events; `bootyard events --json` tells them".into(),
        "subclass" | "class" | "match" | "spawn" | "lease" => "there are no classes here".into(),
        "omapi-port" | "omapi-key" => "Bootyard takes no OMAPI".into(),
        "subnet6" | "range6" | "pool6" | "shared-network6" | "prefix6" | "fixed-address6" => {
            "Bootyard serves IPv4 only".into()
        }
        "set" | "unset" | "define" | "eval" | "execute" | "log" | "switch" | "case" | "return" | "add" | "break" => {
            "Bootyard runs no statements of this language".into()
        }
        "" => "not understood".into(),
        word => format!("`{word}` has no equal here"),
    }
}

/// A subnet with its mask.
pub(in crate::exchange) fn cidr(address: Ipv4Addr, mask: Ipv4Addr) -> Option<Ipv4Cidr> {
    let bits = u32::from(mask);
    let prefix = u8::try_from(bits.leading_ones()).ok()?;
    let whole = Ipv4Cidr { address, prefix };
    (whole.mask() == mask).then(|| Ipv4Cidr { address: whole.network(), prefix })
}

/// `0:16:3e:0:0:1` is a MAC address for dhcpd, too.
fn mac(text: &str) -> Option<MacAddr> {
    let parts: Vec<u8> = text
        .split(':')
        .map(|p| (1..=2).contains(&p.len()).then(|| u8::from_str_radix(p, 16).ok()).flatten())
        .collect::<Option<_>>()?;
    Some(MacAddr(parts.try_into().ok()?))
}
