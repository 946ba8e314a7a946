//! The command that opens ports, in the words of whoever manages the firewall, and the one that takes it back.

use super::ask;
use super::rules::Outcome;
use crate::doctor::ports::Needed;
use crate::doctor::{Fix, shell_word};

/// Who manages the rules: a rule that is set past them is gone at their next start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Manager {
    /// firewalld, and the zone of the interface.
    Firewalld { zone: String },
    /// ufw.
    Ufw,
    /// iptables, or nftables: by the chain that drops.
    None,
}

impl Manager {
    pub(super) fn find(interface: &str) -> Self {
        if matches!(ask("firewall-cmd", &["--state"]), Some(Ok(_))) {
            let own = ask("firewall-cmd", &[&format!("--get-zone-of-interface={interface}")]);
            let zone = own.and_then(Result::ok).or_else(|| ask("firewall-cmd", &["--get-default-zone"])?.ok());
            return Self::Firewalld { zone: zone.map_or_else(|| "public".to_owned(), |z| z.trim().to_owned()) };
        }
        match ask("ufw", &["status"]) {
            Some(Ok(text)) if text.starts_with("Status: active") => Self::Ufw,
            _ => Self::None,
        }
    }
}

/// Opens `ports` on the interface. `judged` says which chain drops each of them.
pub(super) fn open(manager: &Manager, interface: &str, ports: &[Needed], judged: &[(String, Needed, Outcome)]) -> Fix {
    let list = ports.iter().map(|p| format!("{} {}", p.protocol, p.port)).collect::<Vec<_>>().join(", ");
    let (command, undo) = match manager {
        Manager::None => {
            // Those that one chain drops are opened in one go.
            let mut chains: Vec<&str> = Vec::new();
            for (_, _, outcome) in judged {
                if let Outcome::Dropped(at) = outcome
                    && !chains.contains(&at.as_str())
                {
                    chains.push(at);
                }
            }
            let of = |chain: &str| -> Vec<Needed> {
                judged
                    .iter()
                    .filter(|(_, _, o)| matches!(o, Outcome::Dropped(at) if at == chain))
                    .map(|(_, p, _)| *p)
                    .collect()
            };
            let both: Vec<_> = chains.iter().map(|chain| in_chain(chain, interface, &of(chain))).collect();
            let (commands, undos): (Vec<_>, Vec<_>) = both.into_iter().unzip();
            (commands.join(" && "), undos.join(" && "))
        }
        Manager::Firewalld { zone } => {
            let zone = shell_word(zone);
            let each = |verb: &str| {
                let ports = ports.iter().map(|p| format!("--{verb}-port={}/{}", p.port, p.protocol.to_lowercase()));
                format!("sudo firewall-cmd --zone={zone} {}", ports.collect::<Vec<_>>().join(" "))
            };
            (each("add"), each("remove"))
        }
        Manager::Ufw => {
            let each = |verb: &str| {
                let rule = |p: &Needed| {
                    let (port, protocol) = (p.port, p.protocol.to_lowercase());
                    format!("sudo ufw {verb}allow in on {} to any port {port} proto {protocol}", shell_word(interface))
                };
                ports.iter().map(rule).collect::<Vec<_>>().join(" && ")
            };
            (each(""), each("delete "))
        }
    };
    Fix::command("open", &[("ports", &list), ("interface", &interface)], command).undone_by(undo)
}

/// Lets answers to what we sent come in.
pub(super) fn open_transfers(manager: &Manager, interface: &str, chain: &str) -> Fix {
    let (interface, params) = (shell_word(interface), [("interface", &interface as &dyn std::fmt::Display)]);
    let rule = "ct state established,related accept comment \"bootyard\"";
    let (command, undo) = match (manager, chain.strip_prefix("iptables ")) {
        (Manager::None, None) => {
            let command = format!("sudo nft insert rule {chain} iifname {interface} {}", quoted(rule));
            (command, delete_by_comment(chain))
        }
        _ => {
            let rule = format!("INPUT -i {interface} -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT");
            (format!("sudo iptables -I {rule}"), format!("sudo iptables -D {rule}"))
        }
    };
    Fix::command("transfers", &params, command).undone_by(undo)
}

/// At the top of a base chain, whatever drops further down: of one chain, `accept` ends it.
fn in_chain(chain: &str, interface: &str, ports: &[Needed]) -> (String, String) {
    let of = |protocol: &str| -> Vec<String> {
        ports.iter().filter(|p| p.protocol == protocol).map(|p| p.port.to_string()).collect()
    };
    let word = shell_word(interface);
    let protocols = ["UDP", "TCP"].map(|p| (p.to_lowercase(), of(p)));
    let protocols = protocols.iter().filter(|(_, ports)| !ports.is_empty());
    if chain.starts_with("iptables ") {
        let rules: Vec<String> = protocols
            .map(|(p, ports)| format!("INPUT -i {word} -p {p} -m multiport --dports {} -j ACCEPT", ports.join(",")))
            .collect();
        let each = |verb: &str| {
            rules.iter().map(|rule| format!("sudo iptables {verb} {rule}")).collect::<Vec<_>>().join(" && ")
        };
        return (each("-I"), each("-D"));
    }
    let rules = protocols.map(|(p, ports)| {
        let rule = format!("{p} dport {{ {} }} accept comment \"bootyard\"", ports.join(", "));
        format!("sudo nft insert rule {chain} iifname {word} {}", quoted(&rule))
    });
    (rules.collect::<Vec<_>>().join(" && "), delete_by_comment(chain))
}

/// A rule is deleted by its handle, which is only known once it is there.
fn delete_by_comment(chain: &str) -> String {
    format!(
        "sudo nft -a list chain {chain} | sed -n 's/.*comment \"bootyard\".* handle //p' | \
         xargs -rn1 sudo nft delete rule {chain} handle"
    )
}

fn quoted(rule: &str) -> String {
    format!("'{rule}'")
}
