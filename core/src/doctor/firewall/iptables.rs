//! `iptables-save -t filter` as [`super::rules`]: what iptables, and ufw through it, has set.

use std::net::Ipv4Addr;

use super::rules::{Chain, Probe, Rule, Set, Tri, Verdict};

/// Adds the chains. A line that is not understood is a rule of which nothing is known.
pub(super) fn add(text: &str, probe: &Probe<'_>, set: &mut Set) {
    let key = |name: &str| format!("iptables {name}");
    for line in text.lines() {
        if let Some(chain) = line.strip_prefix(':') {
            let mut words = chain.split_whitespace();
            let (Some(name), Some(policy)) = (words.next(), words.next()) else { continue };
            let base = (name == "INPUT").then_some((0, policy != "DROP"));
            let shown = format!("iptables {name}");
            set.chains.insert(key(name), Chain { base, shown, rules: Vec::new() });
        } else if let Some(rule) = line.strip_prefix("-A ") {
            let words: Vec<&str> = rule.split_whitespace().collect();
            let Some((name, words)) = words.split_first() else { continue };
            let rule = decide(words, probe, &key);
            set.chains.entry(key(name)).or_default().rules.push(rule);
        }
    }
}

fn decide(words: &[&str], probe: &Probe<'_>, key: &dyn Fn(&str) -> String) -> Rule {
    let (mut met, mut verdict, mut not) = (Tri::Yes, Verdict::Continue, false);
    let mut words = words.iter().copied();
    while let Some(word) = words.next() {
        if word == "!" {
            not = true;
            continue;
        }
        // Every option of these takes one word, but for those that are told here.
        let this = match word {
            "-j" | "-g" => {
                let target = words.next().unwrap_or_default();
                verdict = match target {
                    "ACCEPT" => Verdict::Accept,
                    "DROP" | "REJECT" => Verdict::Drop,
                    "RETURN" => Verdict::Return,
                    "LOG" | "NFLOG" | "ULOG" | "CONNMARK" | "MARK" | "TCPMSS" | "AUDIT" | "CT" => Verdict::Continue,
                    "NFQUEUE" | "QUEUE" => Verdict::Unknown,
                    chain if word == "-g" => Verdict::Goto(key(chain)),
                    chain => Verdict::Jump(key(chain)),
                };
                // What follows are the target's own options.
                break;
            }
            "-m" => {
                let _its_name_says_nothing = words.next();
                continue;
            }
            "-i" => interface(words.next().unwrap_or_default(), probe),
            "-o" => {
                let _none_goes_out = words.next();
                Tri::No
            }
            "-p" => {
                let protocol = words.next().unwrap_or_default();
                (protocol == "all" || protocol.eq_ignore_ascii_case(probe.protocol)).into()
            }
            "-s" => network(words.next().unwrap_or_default(), probe.from),
            "-d" => network(words.next().unwrap_or_default(), probe.to),
            "--dport" | "--destination-port" | "--dports" => ports(words.next().unwrap_or_default(), probe.port),
            "--sport" | "--sports" => match probe.port {
                67 => ports(words.next().unwrap_or_default(), 68),
                _ => {
                    let _not_known = words.next();
                    Tri::Unknown
                }
            },
            "--state" | "--ctstate" => {
                let state = if probe.new { "NEW" } else { "ESTABLISHED" };
                words.next().unwrap_or_default().split(',').any(|s| s == state).into()
            }
            "--dst-type" => {
                let kind = if probe.to.is_broadcast() { "BROADCAST" } else { "LOCAL" };
                words.next().unwrap_or_default().split(',').any(|s| s == kind).into()
            }
            "--comment" => {
                // A comment in quotes may have spaces.
                let first = words.next().unwrap_or_default();
                if first.starts_with('"') && !(first.len() > 1 && first.ends_with('"')) {
                    for more in words.by_ref() {
                        if more.ends_with('"') && !more.ends_with("\\\"") {
                            break;
                        }
                    }
                }
                continue;
            }
            _ => Tri::Unknown,
        };
        met = met.and(if not { this.not() } else { this });
        not = false;
    }
    Rule { met, verdict }
}

fn interface(pattern: &str, probe: &Probe<'_>) -> Tri {
    match pattern.strip_suffix('+') {
        Some(begin) => probe.interface.starts_with(begin).into(),
        None => (pattern == probe.interface).into(),
    }
}

fn network(text: &str, ip: Ipv4Addr) -> Tri {
    let (net, prefix) = text.split_once('/').unwrap_or((text, "32"));
    let (Ok(net), Ok(prefix)) = (net.parse::<Ipv4Addr>(), prefix.parse::<u32>()) else { return Tri::Unknown };
    if prefix > 32 {
        return Tri::Unknown;
    }
    let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
    (net.to_bits() & mask == ip.to_bits() & mask).into()
}

/// `69`, `60:70` or a list of them.
fn ports(text: &str, port: u16) -> Tri {
    let mut found = Tri::No;
    for part in text.split(',') {
        let (first, last) = part.split_once(':').unwrap_or((part, part));
        match (first.parse::<u16>(), last.parse::<u16>()) {
            (Ok(first), Ok(last)) if (first..=last).contains(&port) => return Tri::Yes,
            (Ok(_), Ok(_)) => {}
            _ => found = Tri::Unknown,
        }
    }
    found
}
