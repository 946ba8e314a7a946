//! Which interface serves, and how: the form of the first start and of the network screen.

use bootyard_core::api::{EngineState, InterfaceView, Snapshot};
use bootyard_core::lab::Mode;
use bootyard_core::net::Ipv4Cidr;
use eframe::egui::{RichText, Ui};

use super::View;
use crate::gui::action::Action;
use crate::gui::say::clean;
use crate::gui::theme::{self, Tone};
use crate::gui::widgets::field::{primary_button_ui, text_field_ui, weak_ui};
use crate::gui::widgets::{badge, finding};

/// What is proposed for a bare interface.
const PROPOSED: &str = "192.168.77.1/24";

/// What a person chose in the form.
#[derive(Debug, Default)]
pub(crate) struct ServeForm {
    interface: Option<String>,
    mode: Option<Mode>,
    address: Option<String>,
    consent: bool,
}

/// A wired interface that this computer's own traffic does not leave through: safe to propose.
fn plausible(interface: &InterfaceView) -> bool {
    !interface.wireless && !interface.virtual_link && !interface.default_route
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

fn mode_of(text: &str) -> Option<Mode> {
    match text {
        "dhcp" => Some(Mode::Dhcp),
        "proxy" => Some(Mode::Proxy),
        "auto" => Some(Mode::Auto),
        _ => None,
    }
}

impl ServeForm {
    /// The chosen interface, if it is still there; otherwise what lab.toml names or what may be proposed.
    fn chosen<'a>(&self, shot: &'a Snapshot) -> Option<&'a InterfaceView> {
        let named = |name: &str| shot.interfaces.iter().find(|i| i.name == name);
        if let Some(name) = &self.interface {
            return named(name);
        }
        let serving = shot.networks.first().and_then(|n| named(&n.interface));
        serving.filter(|i| i.confirmed || plausible(i)).or_else(|| proposed(&shot.interfaces))
    }

    /// The form with its button. `button` names the act.
    pub(crate) fn ui(&mut self, ui: &mut Ui, view: &mut View<'_>, button: &str) {
        let shot = view.shot;
        ui.label(RichText::new("Interface").color(theme::palette(ui).weak));
        if shot.interfaces.is_empty() {
            finding::callout_ui(ui, Tone::Warn, "This computer has no network interface.", |ui| {
                ui.label("Plug in a network adapter; it appears here by itself.");
            });
        }
        let chosen = self.chosen(shot);
        for interface in &shot.interfaces {
            let on = chosen.is_some_and(|c| c.name == interface.name);
            if interface_ui(ui, interface, on) {
                self.interface = Some(interface.name.clone());
                self.consent = false;
            }
        }
        ui.add_space(theme::GAP);
        let configured = shot.networks.first().and_then(|n| mode_of(&n.configured));
        let mut mode = self.mode.or(configured).unwrap_or_default();
        mode_ui(ui, &mut mode);
        self.mode = Some(mode);
        ui.add_space(theme::GAP);
        let address = chosen.map(|c| self.address_ui(ui, c, mode));
        ui.add_space(theme::GAP);
        let problem = match (chosen, &address) {
            (None, _) => Some("Choose the interface that the machines hang on".to_owned()),
            (Some(_), Some(Err(problem))) => Some(problem.clone()),
            _ => None,
        };
        ui.horizontal(|ui| {
            let busy = shot.engine == EngineState::Starting;
            let response = primary_button_ui(ui, problem.is_none() && !busy, button);
            if busy {
                ui.spinner();
                weak_ui(ui, "Starting");
            }
            if let Some(problem) = &problem {
                weak_ui(ui, problem.as_str());
            }
            if response.clicked()
                && let (Some(chosen), Some(Ok(address))) = (chosen, address)
            {
                view.push(Action::ConfirmAndStart { interface: chosen.name.clone(), address, mode });
            }
        });
    }

    /// Address and consent for a bare interface: what to put on it, or why it can't start yet.
    fn address_ui(&mut self, ui: &mut Ui, interface: &InterfaceView, mode: Mode) -> Result<Option<String>, String> {
        let name = clean(&interface.name);
        if interface.default_route || interface.wireless {
            let why = if interface.wireless { "is Wi-Fi" } else { "leads to the rest of the network" };
            finding::callout_ui(ui, Tone::Warn, &format!("{name} {why}."), |ui| {
                ui.label("Every machine there that boots from the network gets an answer from here. Be sure that it is yours.");
            });
        }
        if !interface.addresses.is_empty() {
            return Ok(None);
        }
        // Beside another server only an address of its network helps, and that only a person knows.
        let proposed = if mode == Mode::Proxy { "" } else { PROPOSED };
        let mut text = self.address.clone().unwrap_or_else(|| proposed.into());
        let edited = text_field_ui(ui, &format!("Address for {name}, which has none"), &mut text, PROPOSED, 200.0);
        let parsed = text.trim().parse::<Ipv4Cidr>();
        let shown = text.trim().to_owned();
        if edited.changed() {
            self.consent = false;
            self.address = Some(text);
        }
        let consent = format!("Add {} to {name} while serving; it is taken away at the stop", clean(&shown));
        ui.checkbox(&mut self.consent, consent);
        match parsed {
            Err(error) => Err(error.to_string()),
            Ok(_) if !self.consent => Err("Agree to the address first".into()),
            Ok(_) => Ok(Some(shown)),
        }
    }
}

/// One interface as a radio button; returns whether it was chosen.
fn interface_ui(ui: &mut Ui, interface: &InterfaceView, on: bool) -> bool {
    ui.horizontal(|ui| {
        let clicked = ui.radio(on, RichText::new(clean(&interface.name)).strong()).clicked();
        if interface.addresses.is_empty() {
            weak_ui(ui, "no address");
        } else {
            ui.label(interface.addresses.join(", "));
        }
        if interface.running {
            badge::badge_ui(ui, Tone::Good, "Link", "A cable with something at its other end");
        } else {
            badge::badge_ui(ui, Tone::Quiet, "No link", "No cable, or nothing at its other end");
        }
        if interface.wireless {
            badge::badge_ui(ui, Tone::Warn, "Wi-Fi", "Machines don't boot over Wi-Fi");
        }
        if interface.default_route {
            badge::badge_ui(ui, Tone::Warn, "Default route", "This computer reaches the internet through it");
        }
        if interface.virtual_link {
            badge::badge_ui(ui, Tone::Quiet, "Virtual", "A tunnel or other link that no machine boots from");
        }
        if interface.confirmed {
            weak_ui(ui, "confirmed on this computer");
        }
        clicked
    })
    .inner
}

fn mode_ui(ui: &mut Ui, mode: &mut Mode) {
    ui.label(RichText::new("Mode").color(theme::palette(ui).weak));
    for (value, text, meaning) in [
        (
            Mode::Auto,
            "Automatic",
            "Looks for another DHCP server: beside one only boot information, else addresses, too",
        ),
        (Mode::Dhcp, "DHCP server", "Gives the addresses; does not start beside another DHCP server"),
        (Mode::Proxy, "ProxyDHCP", "Gives boot information only; another server gives the addresses"),
    ] {
        ui.horizontal(|ui| {
            ui.radio_value(mode, value, text);
            weak_ui(ui, meaning);
        });
    }
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
