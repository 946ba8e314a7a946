use super::rules::{Outcome, Probe};
use super::*;

fn probe(protocol: &'static str, port: u16) -> Probe<'static> {
    let (from, to) = ("192.168.7.20".parse().unwrap(), "192.168.7.1".parse().unwrap());
    Probe { interface: "br0", protocol, port, from, to, new: true }
}

/// One base chain `inet t in` with these rules, each a list of expressions; other chains and sets come before.
fn nft(policy: &str, others: &str, rules: &[&str]) -> String {
    let chain = format!(
        r#"{{"chain":{{"family":"inet","table":"t","name":"in","type":"filter","hook":"input","prio":0,"policy":"{policy}"}}}}"#
    );
    let rule = |r: &&str| format!(r#"{{"rule":{{"family":"inet","table":"t","chain":"in","expr":[{r}]}}}}"#);
    let rules: Vec<String> = rules.iter().map(rule).collect();
    let others = if others.is_empty() { String::new() } else { format!("{others},") };
    format!(
        r#"{{"nftables":[{{"table":{{"family":"inet","name":"t"}}}},{others}{chain}{}{}]}}"#,
        if rules.is_empty() { "" } else { "," },
        rules.join(",")
    )
}

fn dport(protocol: &str, right: &str) -> String {
    format!(
        r#"{{"match":{{"op":"==","left":{{"payload":{{"protocol":"{protocol}","field":"dport"}}}},"right":{right}}}}}"#
    )
}

fn judge(text: &str, protocol: &'static str, port: u16) -> Outcome {
    walk(Some(text), None, &probe(protocol, port)).unwrap()
}

#[test]
fn a_policy_of_drop_shuts_what_no_rule_opens() {
    let iif = r#"{"match":{"op":"==","left":{"meta":{"key":"iifname"}},"right":"br0"}}"#;
    let open = format!(r#"{iif},{},{{"accept":null}}"#, dport("udp", r#"{"set":[67,69,{"range":[4000,4020]}]}"#));
    let text = nft("drop", "", &[&open]);
    for port in [67, 69, 4011] {
        assert_eq!(judge(&text, "UDP", port), Outcome::Passed, "{port}");
    }
    assert_eq!(judge(&text, "TCP", 69), Outcome::Dropped("inet t in".into()), "the other protocol");
    assert_eq!(judge(&text, "UDP", 68), Outcome::Dropped("inet t in".into()));
    let other = text.replace("br0", "eth1");
    assert_eq!(judge(&other, "UDP", 67), Outcome::Dropped("inet t in".into()), "the other interface");
    assert_eq!(judge(&nft("accept", "", &[]), "UDP", 67), Outcome::Passed);
}

#[test]
fn chains_maps_sets_and_states_are_followed() {
    let others = r#"{"chain":{"family":"inet","table":"t","name":"zone"}},
        {"set":{"family":"inet","table":"t","name":"web","elem":[80,{"elem":{"val":443}}]}},
        {"rule":{"family":"inet","table":"t","chain":"zone","expr":[{"match":{"op":"==","left":{"payload":{"protocol":"tcp","field":"dport"}},"right":"@web"}},{"accept":null}]}},
        {"rule":{"family":"inet","table":"t","chain":"zone","expr":[{"reject":{"type":"icmp","expr":"admin-prohibited"}}]}}"#;
    let state = r#"{"vmap":{"key":{"ct":{"key":"state"}},"data":{"set":[["established",{"accept":null}],["related",{"accept":null}]]}}}"#;
    let by_name = r#"{"match":{"op":"==","left":{"meta":{"key":"iifname"}},"right":"br*"}},{"goto":{"target":"zone"}}"#;
    let text = nft("accept", others, &[state, by_name]);
    assert_eq!(judge(&text, "TCP", 80), Outcome::Passed);
    assert_eq!(judge(&text, "TCP", 443), Outcome::Passed);
    assert_eq!(judge(&text, "UDP", 69), Outcome::Dropped("inet t in".into()));
    let transfer = Probe { new: false, ..probe("UDP", 50_069) };
    assert_eq!(walk(Some(&text), None, &transfer), Some(Outcome::Passed));
}

#[test]
fn what_is_not_understood_is_never_called_open_or_shut() {
    let odd = r#"{"limit":{"rate":5,"per":"second"}},{"accept":null}"#;
    assert_eq!(judge(&nft("drop", "", &[odd]), "UDP", 69), Outcome::Unsure);
    assert_eq!(judge(&nft("accept", "", &[odd]), "UDP", 69), Outcome::Passed, "it is open either way");
    let drops = r#"{"limit":{"rate":5,"per":"second"}},{"drop":null}"#;
    assert_eq!(judge(&nft("accept", "", &[drops]), "UDP", 69), Outcome::Unsure);
    let nowhere = r#"{"jump":{"target":"gone"}}"#;
    assert_eq!(judge(&nft("accept", "", &[nowhere]), "UDP", 69), Outcome::Unsure);
    assert_eq!(walk(Some("{}"), None, &probe("UDP", 69)), None);
    assert_eq!(walk(Some("no json"), None, &probe("UDP", 69)), None);
    // A chain that leads to itself.
    let circle = r#"{"chain":{"family":"inet","table":"t","name":"a"}},
        {"rule":{"family":"inet","table":"t","chain":"a","expr":[{"jump":{"target":"a"}}]}}"#;
    assert_eq!(judge(&nft("accept", circle, &[r#"{"jump":{"target":"a"}}"#]), "UDP", 69), Outcome::Unsure);
}

const UFW: &str = "*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:ufw-before-input - [0:0]
:ufw-user-input - [0:0]
:ufw-not-local - [0:0]
-A INPUT -j ufw-before-input
-A ufw-before-input -i lo -j ACCEPT
-A ufw-before-input -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A ufw-before-input -m conntrack --ctstate INVALID -j DROP
-A ufw-before-input -p icmp -m icmp --icmp-type 8 -j ACCEPT
-A ufw-before-input -p udp -m udp --sport 67 --dport 68 -j ACCEPT
-A ufw-before-input -j ufw-not-local
-A ufw-before-input -j ufw-user-input
-A ufw-not-local -m addrtype --dst-type LOCAL -j RETURN
-A ufw-not-local -m addrtype --dst-type BROADCAST -j RETURN
-A ufw-not-local -j DROP
-A ufw-user-input -i br0 -p udp -m udp --dport 69 -m comment --comment \"the bench's -j DROP\" -j ACCEPT
-A ufw-user-input -p tcp -m multiport --dports 80,3000:4000 -j ACCEPT
-A ufw-user-input ! -s 10.0.0.0/8 -p udp -m udp --dport 4011 -j ACCEPT
COMMIT
";

#[test]
fn ufw_s_rules_are_read_as_iptables_saves_them() {
    let judge = |protocol, port| walk(None, Some(UFW), &probe(protocol, port)).unwrap();
    for (protocol, port) in [("UDP", 69), ("TCP", 80), ("TCP", 3260), ("UDP", 4011)] {
        assert_eq!(judge(protocol, port), Outcome::Passed, "{protocol} {port}");
    }
    for (protocol, port) in [("UDP", 67), ("TCP", 443), ("UDP", 80)] {
        assert_eq!(judge(protocol, port), Outcome::Dropped("iptables INPUT".into()), "{protocol} {port}");
    }
    let broadcast = Probe { to: Ipv4Addr::BROADCAST, from: Ipv4Addr::UNSPECIFIED, ..probe("UDP", 67) };
    assert!(walk(None, Some(UFW), &broadcast).unwrap().is_dropped());
}

#[test]
fn the_command_is_in_the_words_of_who_manages_the_rules() {
    let facts = [("UDP", 69, "TFTP"), ("TCP", 80, "HTTP"), ("TCP", 3260, "iSCSI")];
    let ports = facts.map(|(protocol, port, service)| super::super::ports::Needed { protocol, port, service });
    let judged = ports.map(|p| (String::new(), p, Outcome::Dropped("inet t in".into())));
    let fix = |manager: &Manager| remedy::open(manager, "br0", &ports, &judged);
    let command = |manager: &Manager| fix(manager).command.unwrap();
    assert_eq!(
        command(&Manager::None),
        "sudo nft insert rule inet t in iifname br0 'udp dport { 69 } accept comment \"bootyard\"' && \
         sudo nft insert rule inet t in iifname br0 'tcp dport { 80, 3260 } accept comment \"bootyard\"'"
    );
    assert_eq!(
        command(&Manager::Firewalld { zone: "home".into() }),
        "sudo firewall-cmd --zone=home --add-port=69/udp --add-port=80/tcp --add-port=3260/tcp"
    );
    assert!(command(&Manager::Ufw).starts_with("sudo ufw allow in on br0 to any port 69 proto udp && sudo ufw allow"));
    assert!(fix(&Manager::Ufw).undo.unwrap().starts_with("sudo ufw delete allow in on br0 to any port 69"));
    let judged = ports.map(|p| (String::new(), p, Outcome::Dropped("iptables INPUT".into())));
    let fix = remedy::open(&Manager::None, "br0", &ports, &judged);
    let rule = "INPUT -i br0 -p udp -m multiport --dports 69 -j ACCEPT";
    assert!(fix.command.unwrap().starts_with(&format!("sudo iptables -I {rule} && ")));
    assert!(fix.undo.unwrap().starts_with(&format!("sudo iptables -D {rule} && ")));
}
