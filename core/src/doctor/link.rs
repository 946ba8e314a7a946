//! The interface itself: that it is there, up, has a carrier, and how fast it is.

use std::fs;
use std::path::Path;

use super::{About, Check, Facts, Fix, Place, Row, State, row, shell_word};
use crate::lang::Param;
use crate::net::Interface;

/// Mbit/s below which a room of machines waits for its images.
const SLOW: i64 = 1000;

pub(super) struct Link;

impl Check for Link {
    fn name(&self) -> &'static str {
        "link"
    }

    fn look(&self, facts: &Facts) -> Vec<Row> {
        if facts.places.is_empty() {
            return vec![row("link", "", "none-chosen", State::Unknown, &[("interfaces", &names(facts))])];
        }
        facts.places.iter().map(|place| of(facts, place)).collect()
    }
}

/// What could serve, for people.
fn names(facts: &Facts) -> String {
    let usable = facts.interfaces.iter().filter(|i| !i.virtual_link && i.bridge.is_none());
    let names: Vec<&str> = usable.map(|i| i.name.as_str()).collect();
    if names.is_empty() { crate::lang::sentence("doctor-words", "no-interface").to_owned() } else { names.join(", ") }
}

fn of(facts: &Facts, place: &Place) -> Row {
    let name = place.network.interface.as_str();
    let about = About("link", name);
    let Some(interface) = &place.interface else {
        return about.row("missing", State::Failed, &[("interface", &name), ("interfaces", &names(facts))]);
    };
    let words: [Param<'_>; 1] = [("interface", &name)];
    if interface.virtual_link || interface.mac.is_none() {
        return about.row("virtual", State::Failed, &words);
    }
    if let Some(bridge) = &interface.bridge {
        return about.row("bridge-port", State::Failed, &[("interface", &name), ("bridge", bridge)]);
    }
    let up = || Fix::command("up", &words, format!("sudo ip link set dev {} up", shell_word(name)));
    if !interface.up {
        // A bare one is brought up with the address that lab.toml gives it.
        let raised = interface.addresses.is_empty() && place.network.address.is_some();
        return match raised {
            true => about.row("raised", State::Ok, &words),
            false => about.row("down", State::Failed, &words).with(up()),
        };
    }
    if !interface.running {
        return about.row("no-carrier", State::Failed, &words);
    }
    if interface.wireless {
        return about.row("wireless", State::Warning, &words);
    }
    speed(interface)
}

fn speed(interface: &Interface) -> Row {
    let about = About("link", &interface.name);
    let class = Path::new("/sys/class/net").join(&interface.name);
    let read = |file: &str| fs::read_to_string(class.join(file)).map(|t| t.trim().to_owned()).ok();
    // Minus one, or an error, where the driver does not know.
    let speed = read("speed").and_then(|t| t.parse::<i64>().ok()).filter(|s| *s > 0);
    let duplex = read("duplex").unwrap_or_default();
    let name = &interface.name;
    match speed {
        _ if duplex == "half" => about.row("half-duplex", State::Warning, &[("interface", name)]),
        Some(speed) if speed < SLOW => about.row("slow", State::Warning, &[("interface", name), ("speed", &speed)]),
        Some(speed) => about.row("fine", State::Ok, &[("interface", name), ("speed", &speed)]),
        None => about.row("carrier", State::Ok, &[("interface", name)]),
    }
}
