//! "Why does it get that?": the chain of a machine's boot, of one that is known or of one that is made up, and what decides about
//! each link. The engine is asked for it while it is on the screen: at once, and again when something happened.

use std::sync::mpsc::Sender;

use bootyard_core::api::{ClientKind, HandleError, HostView, Question, Reply, Snapshot};
use bootyard_core::boot::{Arch, Explained, Explanation, Link};
use eframe::egui::{Align, Button, ComboBox, Key, Label, Layout, Modifiers, RichText, ScrollArea, TextEdit, Ui, vec2};

use super::View;
use crate::gui::action::Screen;
use crate::gui::asking::{Asking, Told, read};
use crate::gui::lang::t;
use crate::gui::say::{self, clean_to};
use crate::gui::theme::{self, Tone};
use crate::gui::widgets::chain::{because, chain_ui, model, title};
use crate::gui::widgets::field::{fact_ui, heading_ui, weak_ui};
use crate::gui::widgets::finding;

/// Seconds between two looks.
const AGAIN: f64 = 1.0;

/// What a person chose, and what the engine told.
#[derive(Debug, Default)]
pub(crate) struct Chain {
    /// What the chain's own screen is about.
    question: Question,
    /// The machine's field, before it is taken.
    word: String,
    /// The screen from which somebody came.
    back: Option<Screen>,
    /// About what, with the window's clock and the snapshot's number then.
    asking: Asking<(Question, f64, u64), Box<Explanation>>,
    /// What is shown, and for which question.
    told: Option<(Question, Told<Box<Explanation>>)>,
    /// The box whose details are shown.
    chosen: Option<usize>,
}

/// The question about a machine that is known.
pub(crate) fn question_of(host: &HostView) -> Question {
    Question { host: host.macs.first().map(ToString::to_string), ..Question::default() }
}

impl Chain {
    /// The screen is about this machine from now on, or about any that has no entry. `from` is where Back leads.
    pub(crate) fn about(&mut self, host: Option<&HostView>, from: Screen) {
        self.question = host.map(question_of).unwrap_or_default();
        self.word = host.map(say::host_name).unwrap_or_default();
        self.back = (from != Screen::Chain).then_some(from).or(self.back);
        self.chosen = Some(0);
    }

    /// What the screen asks.
    pub(crate) fn question(&self) -> Question {
        self.question.clone()
    }

    /// Whether this is to be asked for now; then what comes goes into the sender.
    pub(crate) fn begin(&mut self, question: Question, now: f64, seq: u64) -> Option<Sender<Told<Box<Explanation>>>> {
        let same = self.asking.about().filter(|(asked, _, _)| *asked == question);
        let due = same.is_none_or(|(_, at, of)| !self.asking.waits() && *of != seq && now - at >= AGAIN);
        due.then(|| self.asking.begin((question, now, seq)))
    }

    /// Takes in what came.
    pub(crate) fn take(&mut self) {
        let Some(told) = self.asking.take() else { return };
        if let Some((question, _, _)) = self.asking.about() {
            self.told = Some((question.clone(), told));
        }
    }

    /// What the reply to [`bootyard_core::api::Command::Explain`] says.
    pub(crate) fn read(reply: Result<Reply, HandleError>) -> Told<Box<Explanation>> {
        read(reply, |reply| match reply {
            Reply::Explained { chain } => Some(chain),
            _ => None,
        })
    }

    /// The screen.
    pub(crate) fn ui(&mut self, ui: &mut Ui, view: &mut View<'_>) {
        let free = !ui.ctx().text_edit_focused() && ui.ctx().memory(|m| m.top_modal_layer().is_none());
        let free = free && !eframe::egui::Popup::is_any_open(ui.ctx());
        let escape = free && ui.input_mut(|i| i.consume_key(Modifiers::NONE, Key::Escape));
        ui.horizontal(|ui| {
            if ui.button(t!("Back")).on_hover_text(t!("To where you came from (Esc)")).clicked() || escape {
                self.chosen = None;
                view.show(self.back.unwrap_or(Screen::Hosts));
            }
            ui.add_space(4.0);
            let heading = RichText::new(t!("Why does it get that?")).heading().color(theme::palette(ui).strong);
            ui.add(Label::new(heading).truncate());
        });
        ui.add_space(theme::GAP);
        self.chooser_ui(ui, view.shot);
        ui.add_space(theme::GAP);
        ScrollArea::vertical().auto_shrink([false, false]).show(ui, |ui| {
            let question = self.question();
            self.told_ui(ui, &question);
        });
    }

    /// Machine, architecture, what asks first, interface.
    fn chooser_ui(&mut self, ui: &mut Ui, shot: &Snapshot) {
        let shown = match &self.told {
            Some((_, Ok(chain))) => Some((chain.arch, chain.client)),
            _ => None,
        };
        ui.horizontal_wrapped(|ui| {
            self.machine_ui(ui, shot);
            let word = |arch: Option<Arch>| match arch {
                Some(arch) => say::arch(arch).to_owned(),
                None => shown.map_or_else(
                    || t!("As it was seen").to_owned(),
                    |(arch, _)| t!("As it was seen: {arch}", arch = say::arch(arch)),
                ),
            };
            let kinds = Arch::ALL.into_iter().filter(|arch| !arch.is_http()).map(Some);
            ComboBox::from_id_salt("arch")
                .width(170.0)
                .height(420.0)
                .selected_text(word(self.question.arch))
                .show_ui(ui, |ui| {
                    for arch in std::iter::once(None).chain(kinds) {
                        ui.selectable_value(&mut self.question.arch, arch, word(arch));
                    }
                })
                .response
                .accessible_name(t!("Architecture"))
                .on_hover_text(t!("What its firmware is made for: option 93 of its question"));
            for (client, text, about) in clients() {
                let on = match self.question.client {
                    Some(chosen) => chosen == client,
                    None => shown.is_some_and(|(_, first)| first == client),
                };
                if ui.add(Button::selectable(on, text)).on_hover_text(about).clicked() {
                    self.question.client = Some(client);
                }
            }
            if shot.networks.len() > 1 {
                let text = |name: &Option<String>| {
                    name.as_deref().map_or_else(|| t!("Its own network").to_owned(), say::clean)
                };
                let names = shot.networks.iter().map(|n| Some(n.interface.clone()));
                ComboBox::from_id_salt("network")
                    .selected_text(text(&self.question.interface))
                    .show_ui(ui, |ui| {
                        for name in std::iter::once(None).chain(names) {
                            let label = text(&name);
                            ui.selectable_value(&mut self.question.interface, name, label);
                        }
                    })
                    .response
                    .accessible_name(t!("Network"))
                    .on_hover_text(t!("Where it is plugged in"));
            }
        });
    }

    fn machine_ui(&mut self, ui: &mut Ui, shot: &Snapshot) {
        let edit = TextEdit::singleline(&mut self.word)
            .hint_text(t!("Any machine without an entry"))
            .desired_width(200.0)
            .margin(vec2(8.0, 4.0));
        let field = ui.add(edit).accessible_name(t!("Machine: name or MAC; empty: any without an entry"));
        if field.lost_focus() {
            self.take_word(shot);
        }
        field.on_hover_text(t!("A name or a MAC, then Enter. Empty: any machine that lab.toml does not name"));
    }

    fn take_word(&mut self, shot: &Snapshot) {
        let word = self.word.trim();
        let known = shot.hosts.iter().find(|h| say::host_name(h) == word);
        let host = match known {
            Some(known) => known.macs.first().map(ToString::to_string),
            None => Some(word.to_owned()).filter(|word| !word.is_empty()),
        };
        if host != self.question.host {
            self.question = Question { host, ..self.question.clone() };
        }
    }

    /// The chain, and the details of the chosen link; or why there is none.
    pub(crate) fn told_ui(&mut self, ui: &mut Ui, question: &Question) {
        let told = self.told.take_if(|(of, _)| of == question);
        match &told {
            // Not a spinner: nothing may be repainted while nothing changes.
            None => {
                weak_ui(ui, t!("Asking the engine…"));
            }
            Some((_, Err(error))) => finding::callout_ui(ui, Tone::Warn, error, |_| {}),
            Some((_, Ok(chain))) => self.chain_ui(ui, chain),
        }
        if told.is_some() {
            self.told = told;
        }
    }

    fn chain_ui(&mut self, ui: &mut Ui, chain: &Explanation) {
        let nodes = model(chain);
        weak_ui(ui, subject(chain));
        ui.add_space(4.0);
        chain_ui(ui, &nodes, &mut self.chosen);
        let Some(link) = self.chosen.and_then(|at| chain.stages.get(at)) else { return };
        ui.add_space(theme::GAP);
        theme::card_frame(ui).show(ui, |ui| {
            ui.set_width(ui.available_width());
            details_ui(ui, chain, link);
        });
    }

    /// Whether the details of a link are shown; Escape takes them back.
    pub(crate) fn back(&mut self) -> bool {
        self.chosen.take().is_some()
    }
}

/// What can ask first.
fn clients() -> [(ClientKind, &'static str, &'static str); 4] {
    [
        (ClientKind::PxeRom, t!("PXE"), t!("The firmware's PXE loads a boot file over TFTP")),
        (ClientKind::HttpBoot, t!("HTTP Boot"), t!("UEFI's HTTP Boot loads a boot file over HTTP")),
        (ClientKind::Ipxe, t!("iPXE in the card"), t!("The network card's ROM is iPXE already")),
        (ClientKind::Gpxe, t!("gPXE in the card"), t!("The network card's ROM is gPXE, iPXE's ancestor")),
    ]
}

/// Who, where, and whether it is so now.
fn subject(chain: &Explanation) -> String {
    let who = match (&chain.name, chain.mac) {
        (Some(name), Some(mac)) if *name != mac.to_string() => format!("{} ({mac})", clean_to(name, 40)),
        (_, Some(mac)) => mac.to_string(),
        (_, None) => t!("Any machine without an entry").to_owned(),
    };
    let (arch, interface) = (say::arch(chain.arch), say::clean(&chain.interface));
    let mode = if chain.mode == "proxy" { "ProxyDHCP" } else { "DHCP" };
    if chain.serving {
        t!("{who}, {arch}, on {interface} ({mode})", who = who, arch = arch, interface = interface, mode = mode)
    } else {
        t!(
            "{who}, {arch}, on {interface} ({mode}), once it is served",
            who = who,
            arch = arch,
            interface = interface,
            mode = mode
        )
    }
}

fn details_ui(ui: &mut Ui, chain: &Explanation, link: &Explained) {
    ui.horizontal(|ui| {
        heading_ui(ui, &title(link.stage, chain.client));
        if !link.over.is_empty() {
            weak_ui(ui, &*link.over);
        }
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            let copy = ui.button(t!("Copy")).accessible_name(t!("Copy the chain as text"));
            if copy.on_hover_text(t!("Every link with its values, as text")).clicked() {
                ui.ctx().copy_text(as_text(chain));
            }
        });
    });
    if link.stage != Link::Script {
        ui.add(Label::new(RichText::new(say::sentence(&link.gets)).color(theme::palette(ui).strong)).wrap());
    }
    let tone = if link.ends { Tone::Bad } else { Tone::Busy };
    ui.horizontal_top(|ui| {
        fact_ui(ui, t!("Why"));
        let text = RichText::new(say::sentence(&because(link))).color(theme::palette(ui).tone(tone));
        ui.add(Label::new(text).wrap().selectable(true));
    });
    if !link.values.is_empty() {
        ui.add_space(4.0);
        values_ui(ui, link);
    }
    if link.stage == Link::Script {
        ui.add_space(4.0);
        script_ui(ui, &link.gets);
    }
}

fn values_ui(ui: &mut Ui, link: &Explained) {
    let names = (ui.available_width() * 0.4).min(260.0);
    ui.spacing_mut().interact_size.y = 18.0;
    for (at, value) in link.values.iter().enumerate() {
        let (name, text) = (clean_to(&value.name, 60), clean_to(&value.value, 2000));
        ui.push_id(at, |ui| {
            ui.horizontal_top(|ui| {
                ui.allocate_ui_with_layout(vec2(names, 18.0), Layout::left_to_right(Align::Min), |ui| {
                    ui.set_width(names);
                    weak_ui(ui, &*name);
                });
                ui.spacing_mut().button_padding = vec2(0.0, 1.0);
                let copy = Button::new(RichText::new(&text).monospace()).frame(false).wrap();
                let named = ui.add(copy).accessible_name(format!("{name}: {text}"));
                if named.on_hover_text(t!("Click to copy")).clicked() {
                    ui.ctx().copy_text(value.value.clone());
                }
            });
        });
    }
}

fn script_ui(ui: &mut Ui, script: &str) {
    eframe::egui::Frame::new().fill(theme::palette(ui).sunk).inner_margin(8).show(ui, |ui| {
        ScrollArea::horizontal().id_salt("script").auto_shrink([false, true]).show(ui, |ui| {
            let text: String = script.lines().map(|line| clean_to(line, 2000) + "\n").collect();
            ui.add(Label::new(RichText::new(text).monospace()).extend().selectable(true));
        });
    });
}

fn as_text(chain: &Explanation) -> String {
    let mut out = format!("{}\n", subject(chain));
    for (link, node) in chain.stages.iter().zip(model(chain)) {
        out.push_str(&format!("\n{}\n", node.sentence));
        if link.stage == Link::Script {
            out.push_str(&link.gets);
        }
        for value in &link.values {
            out.push_str(&format!("  {}: {}\n", value.name, value.value));
        }
    }
    out
}
