//! `nft -j list ruleset` (libnftables-json(5)) as [`super::rules`].

use std::net::Ipv4Addr;

use serde_json::Value;

use super::rules::{Chain, Probe, Rule, Set, Tri, Verdict};

/// Adds the chains. `true`: a table of iptables' was left out, whose matches are shown by name only; `iptables-save` has them.
/// `None`: not JSON as nft writes it.
pub(super) fn add(text: &str, probe: &Probe<'_>, has_save: bool, set: &mut Set) -> Option<bool> {
    let document: Value = serde_json::from_str(text).ok()?;
    let entries = document.get("nftables")?.as_array()?;
    let sets: Vec<&Value> = entries.iter().filter_map(|e| e.get("set").or_else(|| e.get("map"))).collect();
    let foreign = |table: &Value| {
        entries
            .iter()
            .filter_map(|e| e.get("rule"))
            .any(|rule| same(rule, table, "family") && same_name(rule, table) && rule.to_string().contains(r#""xt":"#))
    };
    let mut left_out = Vec::new();
    for table in entries.iter().filter_map(|e| e.get("table")) {
        if has_save && text_of(table, "family") == "ip" && text_of(table, "name") == "filter" && foreign(table) {
            left_out.push(key(table, "name", ""));
        }
    }
    let kept = |item: &Value| !left_out.contains(&key(item, "table", ""));
    for chain in entries.iter().filter_map(|e| e.get("chain")).filter(|c| kept(c)) {
        let hooked = matches!(text_of(chain, "hook"), "input" | "prerouting" | "ingress")
            && chain.get("type").is_some_and(|t| t == "filter")
            && chain.get("dev").is_none_or(|dev| dev == probe.interface);
        let family = matches!(text_of(chain, "family"), "ip" | "inet" | "netdev");
        let base = (hooked && family).then(|| {
            // Ingress comes before prerouting, and that before input.
            let hook = match text_of(chain, "hook") {
                "ingress" => -2,
                "prerouting" => -1,
                _ => 0,
            };
            let priority = chain.get("prio").and_then(Value::as_i64).unwrap_or(0);
            (hook * 1_000_000 + priority.clamp(-99_999, 99_999), text_of(chain, "policy") != "drop")
        });
        let shown = ["family", "table", "name"].map(|k| text_of(chain, k)).join(" ");
        set.chains.insert(key(chain, "table", text_of(chain, "name")), Chain { base, shown, rules: Vec::new() });
    }
    for rule in entries.iter().filter_map(|e| e.get("rule")).filter(|r| kept(r)) {
        let Some(chain) = set.chains.get_mut(&key(rule, "table", text_of(rule, "chain"))) else { continue };
        let here = |name: &str| key(rule, "table", name);
        let expressions = rule.get("expr").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let own: Vec<&Value> =
            sets.iter().copied().filter(|s| same(s, rule, "family") && same(s, rule, "table")).collect();
        chain.rules.push(decide(expressions, probe, &own, &here));
    }
    Some(!left_out.is_empty())
}

fn text_of<'v>(value: &'v Value, field: &str) -> &'v str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn same(a: &Value, b: &Value, field: &str) -> bool {
    text_of(a, field) == text_of(b, field)
}

fn same_name(rule: &Value, table: &Value) -> bool {
    text_of(rule, "table") == text_of(table, "name")
}

fn key(item: &Value, table: &str, chain: &str) -> String {
    format!("{} {} {chain}", text_of(item, "family"), text_of(item, table))
}

fn decide(expressions: &[Value], probe: &Probe<'_>, sets: &[&Value], here: &dyn Fn(&str) -> String) -> Rule {
    let mut met = Tri::Yes;
    let mut verdict = Verdict::Continue;
    for expression in expressions {
        let Some((name, body)) = expression.as_object().and_then(|o| o.iter().next()) else {
            met = met.and(Tri::Unknown);
            continue;
        };
        match name.as_str() {
            "match" => met = met.and(matched(body, probe, sets)),
            "accept" => verdict = Verdict::Accept,
            "drop" | "reject" => verdict = Verdict::Drop,
            "return" => verdict = Verdict::Return,
            "jump" => verdict = Verdict::Jump(here(text_of(body, "target"))),
            "goto" => verdict = Verdict::Goto(here(text_of(body, "target"))),
            "vmap" => {
                let (found, to) = mapped(body, probe, sets, here);
                met = met.and(found);
                verdict = to;
            }
            "counter" | "log" | "mangle" | "set" | "notrack" | "meta" => {}
            "queue" => verdict = Verdict::Unknown,
            // `limit` and iptables' own matches and targets among them.
            _ => {
                met = met.and(Tri::Unknown);
                if name == "xt" {
                    verdict = Verdict::Unknown;
                }
            }
        }
    }
    Rule { met, verdict }
}

/// What of the packet a match looks at.
enum Seen {
    Word(String),
    Number(u64),
    Address(Ipv4Addr),
    /// It is not there: a match on it is not met.
    Absent,
    Unknown,
}

fn seen(left: &Value, probe: &Probe<'_>) -> Seen {
    if let Some(meta) = left.get("meta") {
        return match text_of(meta, "key") {
            "iifname" | "iif" | "ibrname" => Seen::Word(probe.interface.to_owned()),
            "l4proto" => Seen::Word(probe.protocol.to_lowercase()),
            "nfproto" => Seen::Word("ipv4".to_owned()),
            "protocol" => Seen::Word("ip".to_owned()),
            "pkttype" => Seen::Word(if probe.to.is_broadcast() { "broadcast" } else { "host" }.to_owned()),
            "oifname" | "oif" => Seen::Absent,
            _ => Seen::Unknown,
        };
    }
    if let Some(payload) = left.get("payload") {
        let protocol = probe.protocol.to_lowercase();
        return match (text_of(payload, "protocol"), text_of(payload, "field")) {
            (p, "dport") if p == protocol || p == "th" => Seen::Number(probe.port.into()),
            (p, "sport") if p == protocol || p == "th" => match (probe.port, probe.new) {
                (67, _) => Seen::Number(68),
                _ => Seen::Unknown,
            },
            ("udp" | "tcp" | "icmp" | "icmpv6" | "ip6" | "sctp" | "arp", _) => Seen::Absent,
            ("ip", "saddr") => Seen::Address(probe.from),
            ("ip", "daddr") => Seen::Address(probe.to),
            ("ip", "protocol") => Seen::Word(protocol),
            _ => Seen::Unknown,
        };
    }
    match left.get("ct").map(|ct| text_of(ct, "key")) {
        Some("state") => Seen::Word(if probe.new { "new" } else { "established" }.to_owned()),
        _ => Seen::Unknown,
    }
}

fn matched(body: &Value, probe: &Probe<'_>, sets: &[&Value]) -> Tri {
    let (Some(left), Some(right)) = (body.get("left"), body.get("right")) else { return Tri::Unknown };
    let seen = seen(left, probe);
    let inside = match &seen {
        Seen::Absent => return Tri::No,
        Seen::Unknown => return Tri::Unknown,
        seen => is_in(seen, right, sets),
    };
    match text_of(body, "op") {
        "==" | "in" => inside,
        "!=" => inside.not(),
        op => match (&seen, right.as_u64()) {
            (Seen::Number(n), Some(limit)) => match op {
                "<" => (*n < limit).into(),
                ">" => (*n > limit).into(),
                "<=" => (*n <= limit).into(),
                ">=" => (*n >= limit).into(),
                _ => Tri::Unknown,
            },
            _ => Tri::Unknown,
        },
    }
}

/// Whether a value is this one, or among these.
fn is_in(seen: &Seen, right: &Value, sets: &[&Value]) -> Tri {
    if let Some(name) = right.as_str().and_then(|s| s.strip_prefix('@')) {
        let Some(set) = sets.iter().find(|s| text_of(s, "name") == name) else { return Tri::Unknown };
        return any(seen, set.get("elem").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default(), sets);
    }
    if let Some(list) = right.get("set").and_then(Value::as_array).or_else(|| right.as_array()) {
        return any(seen, list, sets);
    }
    if let Some(element) = right.get("elem") {
        return is_in(seen, element.get("val").unwrap_or(element), sets);
    }
    if let Some([first, last]) = right.get("range").and_then(Value::as_array).map(Vec::as_slice) {
        return match seen {
            Seen::Number(n) => match (first.as_u64(), last.as_u64()) {
                (Some(first), Some(last)) => (first..=last).contains(n).into(),
                _ => Tri::Unknown,
            },
            Seen::Address(ip) => match (address(first), address(last)) {
                (Some(first), Some(last)) => (first..=last).contains(ip).into(),
                _ => Tri::Unknown,
            },
            _ => Tri::Unknown,
        };
    }
    if let Some(prefix) = right.get("prefix") {
        let len = prefix.get("len").and_then(Value::as_u64).and_then(|l| u32::try_from(l).ok()).filter(|l| *l <= 32);
        return match (seen, prefix.get("addr").and_then(address), len) {
            (Seen::Address(ip), Some(net), Some(len)) => {
                let mask = u32::MAX.checked_shl(32 - len).unwrap_or(0);
                (ip.to_bits() & mask == net.to_bits() & mask).into()
            }
            // An address of IPv6.
            (Seen::Address(_), None, _) => Tri::No,
            _ => Tri::Unknown,
        };
    }
    match (seen, right) {
        (Seen::Number(n), Value::Number(other)) => (other.as_u64() == Some(*n)).into(),
        (Seen::Number(n), Value::String(name)) => match named_port(name) {
            Some(port) => (*n == u64::from(port)).into(),
            None => Tri::Unknown,
        },
        (Seen::Word(word), Value::String(other)) => match other.strip_suffix('*') {
            Some(begin) => word.starts_with(begin).into(),
            None => (word == other).into(),
        },
        (Seen::Word(word), Value::Number(number)) => match (word.as_str(), number.as_u64()) {
            ("udp", Some(n)) => (n == 17).into(),
            ("tcp", Some(n)) => (n == 6).into(),
            _ => Tri::Unknown,
        },
        (Seen::Address(ip), other) => match address(other) {
            Some(other) => (other == *ip).into(),
            None => Tri::Unknown,
        },
        _ => Tri::Unknown,
    }
}

fn any(seen: &Seen, list: &[Value], sets: &[&Value]) -> Tri {
    let mut found = Tri::No;
    for element in list {
        match is_in(seen, element, sets) {
            Tri::Yes => return Tri::Yes,
            Tri::Unknown => found = Tri::Unknown,
            Tri::No => {}
        }
    }
    found
}

fn address(value: &Value) -> Option<Ipv4Addr> {
    value.as_str()?.parse().ok()
}

/// `nft` prints numbers unless it is told otherwise; a few that it may print by name.
fn named_port(name: &str) -> Option<u16> {
    Some(match name {
        "bootps" => 67,
        "bootpc" => 68,
        "tftp" => 69,
        "http" => 80,
        "https" => 443,
        "ssh" => 22,
        "iscsi-target" => 3260,
        _ => return name.parse().ok(),
    })
}

/// A verdict map: what it says for this packet.
fn mapped(body: &Value, probe: &Probe<'_>, sets: &[&Value], here: &dyn Fn(&str) -> String) -> (Tri, Verdict) {
    let left = body.get("key").map_or(Seen::Unknown, |key| seen(key, probe));
    let data = body.get("data");
    let list = match data.and_then(Value::as_str).and_then(|s| s.strip_prefix('@')) {
        Some(name) => sets.iter().find(|s| text_of(s, "name") == name).and_then(|s| s.get("elem")),
        None => data.and_then(|d| d.get("set")),
    };
    let list = list.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if matches!(left, Seen::Absent) {
        return (Tri::No, Verdict::Continue);
    }
    let mut maybe = Tri::No;
    for pair in list {
        let Some([from, to]) = pair.as_array().map(Vec::as_slice) else { continue };
        let met = if matches!(left, Seen::Unknown) { Tri::Unknown } else { is_in(&left, from, sets) };
        match met {
            Tri::Yes => return (Tri::Yes, verdict(to, here)),
            // An end that is nothing is none.
            Tri::Unknown if verdict(to, here) != Verdict::Continue => maybe = Tri::Unknown,
            Tri::Unknown | Tri::No => {}
        }
    }
    (maybe, if maybe == Tri::No { Verdict::Continue } else { Verdict::Unknown })
}

fn verdict(value: &Value, here: &dyn Fn(&str) -> String) -> Verdict {
    let name = value.as_object().and_then(|o| o.keys().next()).map(String::as_str).or_else(|| value.as_str());
    let target = |kind: &str| here(value.get(kind).map(|body| text_of(body, "target")).unwrap_or_default());
    match name {
        Some("accept") => Verdict::Accept,
        Some("drop") => Verdict::Drop,
        Some("return") => Verdict::Return,
        Some("continue") => Verdict::Continue,
        Some("jump") => Verdict::Jump(target("jump")),
        Some("goto") => Verdict::Goto(target("goto")),
        _ => Verdict::Unknown,
    }
}
