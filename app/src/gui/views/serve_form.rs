//! Which interface serves, and how: the form of the first start and of the network screen.

use std::collections::BTreeMap;

use bootyard_core::api::{EngineState, InterfaceView, Snapshot};
use bootyard_core::lab::Mode;
use bootyard_core::lang::said;
use bootyard_core::net::Ipv4Cidr;
use eframe::egui::{Label, RichText, Ui};

use super::View;
use super::check::Check;
use crate::gui::action::Action;
use crate::gui::lang::t;
use crate::gui::say::{self, clean};
use crate::gui::theme::{self, Tone};
use crate::gui::widgets::field::{primary_button_ui, text_field_ui, weak_ui};
use crate::gui::widgets::{badge, finding, icon, progress};

/// What is proposed for a bare interface.
const PROPOSED: &str = "192.168.77.1/24";

/// What a person chose in the form.
#[derive(Debug, Default)]
pub(crate) struct ServeForm {
    interface: Option<String>,
    mode: Option<Mode>,
    /// The mode that lab.toml had when this was held against it last.
    configured: Option<Mode>,
    address: Option<String>,
    consent: bool,
}

/// A wired interface that this computer's own traffic does not leave through: safe to propose.
fn plausible(interface: &InterfaceView) -> bool {
    !interface.wireless && !interface.virtual_link && !interface.default_route && interface.bridge.is_none()
}

/// The one interface to propose: the only plausible one, or the only plausible one with link.
fn proposed(list: &[InterfaceView]) -> Option<&InterfaceView> {
    fn only<'a>(some: &[&'a InterfaceView]) -> Option<&'a InterfaceView> {
        if let [one] = some { Some(one) } else { None }
    }
    let plausible: Vec<_> = list.iter().filter(|i| plausible(i)).collect();
    let linked: Vec<_> = plausible.iter().copied().filter(|i| i.running).collect();
    only(&plausible).or_else(|| only(&linked))
}

/// What is offered: not the loopback, on which there is no machine, nor a bridge's ports.
fn offered(list: &[InterfaceView]) -> Vec<&InterfaceView> {
    list.iter().filter(|i| i.name != "lo" && i.bridge.is_none()).collect()
}

/// The ports of each bridge, for who looks for one of them.
fn ports_of_bridges(list: &[InterfaceView]) -> BTreeMap<&str, Vec<String>> {
    let mut bridges: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for interface in list {
        if let Some(bridge) = &interface.bridge {
            bridges.entry(bridge).or_default().push(clean(&interface.name));
        }
    }
    bridges
}

fn mode_of(text: &str) -> Option<Mode> {
    match text {
        "dhcp" => Some(Mode::Dhcp),
        "proxy" => Some(Mode::Proxy),
        "auto" => Some(Mode::Auto),
        _ => None,
    }
}

/// The mode that lab.toml has.
fn configured(shot: &Snapshot) -> Option<Mode> {
    shot.networks.first().and_then(|n| mode_of(&n.configured))
}

impl ServeForm {
    /// The chosen interface, if it is still there; otherwise what lab.toml names or what may be proposed.
    fn chosen<'a>(&self, shot: &'a Snapshot) -> Option<&'a InterfaceView> {
        let named = |name: &str| shot.interfaces.iter().find(|i| i.name == name && i.bridge.is_none());
        if let Some(name) = &self.interface {
            return named(name);
        }
        let serving = shot.networks.first().and_then(|n| named(&n.interface));
        serving.filter(|i| i.confirmed || plausible(i)).or_else(|| proposed(&shot.interfaces))
    }

    /// What a look for trouble is about: the chosen interface, unless lab.toml's are in service.
    pub(crate) fn interface(&self, shot: &Snapshot) -> Option<String> {
        let serving = matches!(shot.engine, EngineState::Running { .. } | EngineState::Starting);
        self.chosen(shot).filter(|_| !serving).map(|i| i.name.clone())
    }

    /// The chosen interface as it is: what a look for trouble depends on.
    pub(crate) fn subject(&self, shot: &Snapshot) -> Option<InterfaceView> {
        self.chosen(shot).cloned()
    }

    /// Holds what was chosen against a newer snapshot: a mode that was written elsewhere since then is the one that is meant.
    pub(crate) fn take(&mut self, shot: &Snapshot) {
        let configured = configured(shot);
        if self.configured != configured {
            (self.mode, self.configured) = (None, configured);
        }
    }

    /// The mode that was chosen, else lab.toml's.
    fn mode(&self, shot: &Snapshot) -> Mode {
        self.mode.or_else(|| configured(shot)).unwrap_or_default()
    }

    /// The address that would be put on a bare interface, as it stands in the field.
    fn proposed_address(&self, mode: Mode) -> String {
        // Beside another server only an address of its network helps, and that only a person knows.
        let proposed = if mode == Mode::Proxy { "" } else { PROPOSED };
        self.address.clone().unwrap_or_else(|| proposed.into())
    }

    /// What Start does, or why it can't yet.
    pub(crate) fn ready(&self, shot: &Snapshot) -> Result<Action, String> {
        let Some(chosen) = self.chosen(shot) else {
            return Err(t!("Choose the interface that the machines hang on").into());
        };
        let mode = self.mode(shot);
        let address = if chosen.addresses.is_empty() {
            let text = self.proposed_address(mode).trim().to_owned();
            text.parse::<Ipv4Cidr>().map_err(|e| said(&e.to_string()).into_owned())?;
            if !self.consent {
                return Err(t!("Agree to the address first").into());
            }
            Some(text)
        } else {
            None
        };
        Ok(Action::ConfirmAndStart { interface: chosen.name.clone(), address, mode })
    }

    /// The form with its button. `button` names the act.
    pub(crate) fn ui(&mut self, ui: &mut Ui, view: &mut View<'_>, button: &str) {
        self.fields_ui(ui, view, None);
        ui.add_space(theme::GAP);
        let ready = self.ready(view.shot);
        ui.horizontal(|ui| {
            let busy = view.shot.engine == EngineState::Starting;
            let response = primary_button_ui(ui, ready.is_ok() && !busy, button);
            if busy {
                progress::busy_ui(ui, theme::ICON, t!("Starting"));
                weak_ui(ui, t!("Starting"));
            }
            match ready {
                Err(problem) => drop(weak_ui(ui, problem)),
                Ok(action) if response.clicked() => view.push(action),
                Ok(_) => {}
            }
        });
    }

    /// Interface, mode, address. `check` has what was found by asking for other DHCP servers.
    pub(crate) fn fields_ui(&mut self, ui: &mut Ui, view: &mut View<'_>, check: Option<&Check>) {
        let shot = view.shot;
        ui.label(RichText::new(t!("Interface")).color(theme::palette(ui).weak));
        let offered = offered(&shot.interfaces);
        if offered.is_empty() {
            finding::callout_ui(ui, Tone::Warn, t!("This computer has no network interface."), |ui| {
                ui.label(t!("Plug in a network adapter; it appears here by itself."));
            });
        }
        let chosen = self.chosen(shot);
        for interface in offered {
            let on = chosen.is_some_and(|c| c.name == interface.name);
            if interface_ui(ui, interface, on) {
                self.interface = Some(interface.name.clone());
                self.consent = false;
            }
        }
        for (bridge, ports) in ports_of_bridges(&shot.interfaces) {
            let (ports, bridge) = (say::names(&ports, 6), clean(bridge));
            weak_ui(
                ui,
                t!(
                    "Not offered: {ports}. The bridge {bridge} takes what arrives there; choose {bridge}.",
                    ports = ports,
                    bridge = bridge
                ),
            );
        }
        ui.add_space(theme::GAP);
        let clicked = mode_ui(ui, self.mode(shot));
        self.mode = clicked.or(self.mode);
        let mode = self.mode(shot);
        if let (Some(check), Some(chosen)) = (check, chosen) {
            probe_ui(ui, check, chosen, mode);
        }
        if let Some(chosen) = chosen {
            ui.add_space(4.0);
            self.address_ui(ui, chosen, mode);
        }
    }

    /// Address and consent for a bare interface; a word of caution where it is not this computer's alone.
    fn address_ui(&mut self, ui: &mut Ui, interface: &InterfaceView, mode: Mode) {
        let name = clean(&interface.name);
        if interface.default_route || interface.wireless {
            let text = match interface.wireless {
                true => t!("{interface} is Wi-Fi.", interface = name),
                false => t!("{interface} leads to the rest of the network.", interface = name),
            };
            finding::callout_ui(ui, Tone::Warn, &text, |ui| {
                ui.label(t!("Every machine there that boots from the network gets an answer from here. Be sure that it is yours."));
            });
        }
        if !interface.addresses.is_empty() {
            return;
        }
        let mut text = self.proposed_address(mode);
        let label = t!("Address for {name}, which has none", name = name);
        let edited = text_field_ui(ui, &label, &mut text, PROPOSED, 200.0);
        let shown = clean(text.trim());
        if edited.changed() {
            self.consent = false;
            self.address = Some(text);
        }
        let consent = t!(
            "Add {address} to {interface} while serving; it is taken away at the stop",
            address = shown,
            interface = name
        );
        ui.checkbox(&mut self.consent, consent);
    }
}

/// What asking for other DHCP servers has found, and what the mode makes of it.
fn probe_ui(ui: &mut Ui, check: &Check, interface: &InterfaceView, mode: Mode) {
    let name = clean(&interface.name);
    let (tone, seen, then) = match check.rivals(&interface.name) {
        None if check.is_looking() => (Tone::Busy, t!("Asking on {name} for other DHCP servers", name = name), ""),
        None => return,
        Some(row) => {
            let seen = say::sentence(&row.seen);
            let other = match row.case.as_str() {
                "none" | "nobody" => Some(false),
                "beside" | "auto" | "forced" | "refused" => Some(true),
                _ => None,
            };
            match (other, mode) {
                (None, _) => (Tone::Quiet, seen, t!("The engine asks again when it starts.")),
                (Some(true), Mode::Auto) => (
                    Tone::Good,
                    seen,
                    t!("So it keeps giving the addresses, and boot information comes from here: ProxyDHCP."),
                ),
                (Some(false), Mode::Auto) => (Tone::Good, seen, t!("So addresses come from here, too: DHCP server.")),
                (Some(true), Mode::Dhcp) => (
                    Tone::Warn,
                    seen,
                    t!("A DHCP server does not start beside it: choose Automatic, or switch the other one off."),
                ),
                (Some(false), Mode::Proxy) => {
                    (Tone::Warn, seen, t!("With ProxyDHCP nobody would give addresses: choose Automatic."))
                }
                (Some(false), Mode::Dhcp) | (Some(true), Mode::Proxy) => (Tone::Good, seen, ""),
            }
        }
    };
    ui.horizontal_top(|ui| {
        icon::tone_ui(ui, tone);
        ui.add(Label::new(format!("{seen} {then}").trim_end()).wrap());
    });
}

/// One interface as a radio button; returns whether it was chosen.
fn interface_ui(ui: &mut Ui, interface: &InterfaceView, on: bool) -> bool {
    ui.horizontal_wrapped(|ui| {
        let clicked = ui.radio(on, RichText::new(clean(&interface.name)).strong()).clicked();
        if interface.addresses.is_empty() {
            weak_ui(ui, t!("no address"));
        } else {
            ui.label(interface.addresses.join(", "));
        }
        if interface.running {
            let word =
                interface.speed.map_or_else(|| t!("Link").to_owned(), |speed| t!("Link, {speed}", speed = rate(speed)));
            badge::badge_ui(ui, Tone::Good, &word, t!("A cable with something at its other end"));
        } else {
            badge::badge_ui(ui, Tone::Quiet, t!("No link"), t!("No cable, or nothing at its other end"));
        }
        if interface.wireless {
            badge::badge_ui(ui, Tone::Warn, t!("Wi-Fi"), t!("Machines don't boot over Wi-Fi"));
        }
        if interface.default_route {
            badge::badge_ui(ui, Tone::Warn, t!("Default route"), t!("This computer reaches the internet through it"));
        }
        if interface.virtual_link {
            badge::badge_ui(ui, Tone::Quiet, t!("Virtual"), t!("A tunnel or other link that no machine boots from"));
        }
        if interface.confirmed {
            weak_ui(ui, t!("confirmed on this computer"));
        } else if !plausible(interface) && !on {
            weak_ui(ui, t!("never chosen by itself"));
        }
        clicked
    })
    .inner
}

/// Mbit/s as people say it.
fn rate(speed: u32) -> String {
    match speed {
        s if s >= 1000 && s % 1000 == 0 => format!("{} Gbit/s", s / 1000),
        s if s >= 1000 => format!("{}.{} Gbit/s", s / 1000, s % 1000 / 100),
        s => format!("{s} Mbit/s"),
    }
}

/// Returns the mode that was clicked.
fn mode_ui(ui: &mut Ui, mode: Mode) -> Option<Mode> {
    let mut clicked = None;
    ui.label(RichText::new(t!("Mode")).color(theme::palette(ui).weak));
    for (value, text, meaning) in [
        (
            Mode::Auto,
            t!("Automatic"),
            t!("Looks for another DHCP server: beside one only boot information, else addresses, too"),
        ),
        (Mode::Dhcp, t!("DHCP server"), t!("Gives the addresses; does not start beside another DHCP server")),
        (Mode::Proxy, "ProxyDHCP", t!("Gives boot information only; another server gives the addresses")),
    ] {
        ui.horizontal(|ui| {
            if ui.radio(mode == value, text).clicked() {
                clicked = Some(value);
            }
            weak_ui(ui, meaning);
        });
    }
    clicked
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(name: &str) -> InterfaceView {
        InterfaceView {
            name: name.into(),
            mac: None,
            addresses: vec![],
            up: true,
            running: true,
            wireless: false,
            virtual_link: false,
            default_route: false,
            speed: None,
            bridge: None,
            confirmed: false,
        }
    }

    #[test]
    fn only_the_one_wired_interface_off_the_default_route_is_proposed() {
        let wifi = InterfaceView { wireless: true, ..interface("wlan0") };
        let route = InterfaceView { default_route: true, ..interface("eth0") };
        let vpn = InterfaceView { virtual_link: true, ..interface("tun0") };
        let rest = [wifi, route, vpn];
        assert_eq!(proposed(&rest), None);
        let mut list = rest.to_vec();
        list.push(interface("eth1"));
        assert_eq!(proposed(&list).map(|i| i.name.as_str()), Some("eth1"));
        list.push(interface("eth2"));
        assert_eq!(proposed(&list), None);
        list.push(InterfaceView { running: false, ..interface("eth3") });
        list[3].running = false;
        assert_eq!(proposed(&list).map(|i| i.name.as_str()), Some("eth2"));
    }

    #[test]
    fn a_bridges_ports_and_the_loopback_are_not_offered() {
        let port = |name: &str| InterfaceView { bridge: Some("br0".into()), ..interface(name) };
        let list = [interface("lo"), port("eth0"), port("tap0"), interface("br0")];
        assert_eq!(offered(&list).iter().map(|i| i.name.as_str()).collect::<Vec<_>>(), ["br0"]);
        assert_eq!(proposed(&list[1..]).map(|i| i.name.as_str()), Some("br0"));
        assert_eq!(ports_of_bridges(&list).get("br0"), Some(&vec!["eth0".to_owned(), "tap0".to_owned()]));
    }

    #[test]
    fn a_copied_labs_interface_is_not_taken_where_it_is_the_way_out() {
        let shot = Snapshot {
            interfaces: vec![InterfaceView { default_route: true, ..interface("eth0") }],
            networks: vec![bootyard_core::api::NetworkView {
                interface: "eth0".into(),
                address: None,
                configured: "auto".into(),
                mode: None,
                because: None,
                pool: 0,
                leased: 0,
                foreign: vec![],
            }],
            ..Snapshot::default()
        };
        assert_eq!(ServeForm::default().chosen(&shot), None);
    }
}
