//! Every colour, size and font of the window, light and dark. Nothing else in `gui` names a colour.

use super::prefs;
use eframe::egui::{
    self, Color32, Context, CornerRadius, FontFamily, FontId, Margin, Shadow, Stroke, Style, TextStyle, Theme,
    ThemePreference, Ui, Vec2, Visuals,
};

/// Space between things that belong together, in points.
pub(super) const GAP: f32 = 8.0;
/// Space between things that do not.
pub(super) const SECTION: f32 = 18.0;
/// Inner margin of the screens.
pub(super) const PAD: i8 = 16;
/// Height of a machine's row, which has two lines.
pub(super) const MACHINE_ROW: f32 = 42.0;
/// Size of a card of the seating plan.
pub(super) const CARD: Vec2 = Vec2::new(112.0, 52.0);
/// Height of a table's header.
pub(super) const HEADER: f32 = 26.0;
/// Width of a dialog.
pub(super) const DIALOG: f32 = 500.0;
/// Width of an assignment menu.
pub(super) const MENU: f32 = 250.0;
/// Width of a text that is read, not scanned.
pub(super) const MEASURE: f32 = 640.0;
/// Size of a section's or dialog's title.
pub(super) const TITLE: f32 = 16.0;
/// Size of a tab's text.
pub(super) const TAB: f32 = 15.0;
/// Side of an icon.
pub(super) const ICON: f32 = 14.0;
/// Corner of a button, a badge, a bar.
pub(super) const CORNER: u8 = 5;

/// What a colour is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    /// Nothing to see: absent, off.
    Quiet,
    /// At work.
    Busy,
    /// Wants a person.
    Ask,
    /// As it should be.
    Good,
    /// Look at it when you can.
    Warn,
    /// Stopped.
    Bad,
}

/// The colours of one theme.
#[derive(Debug, Clone, Copy)]
pub(super) struct Palette {
    /// Behind everything.
    pub(super) ground: Color32,
    /// Bars and cards.
    pub(super) panel: Color32,
    /// Fields, the inside of bars.
    pub(super) sunk: Color32,
    /// Buttons.
    pub(super) raised: Color32,
    /// Buttons under the pointer.
    pub(super) hover: Color32,
    /// Lines.
    pub(super) line: Color32,
    /// Text.
    pub(super) text: Color32,
    /// Text of less weight.
    pub(super) weak: Color32,
    /// Headings and what is chosen.
    pub(super) strong: Color32,
    /// The one action of a screen.
    pub(super) accent: Color32,
    /// Text on `accent`.
    pub(super) on_accent: Color32,
    /// A chosen row.
    pub(super) chosen: Color32,
    /// Every second row.
    pub(super) stripe: Color32,
    quiet: Color32,
    busy: Color32,
    ask: Color32,
    good: Color32,
    warn: Color32,
    bad: Color32,
}

const DARK: Palette = Palette {
    ground: Color32::from_rgb(0x16, 0x19, 0x1d),
    panel: Color32::from_rgb(0x1d, 0x21, 0x27),
    sunk: Color32::from_rgb(0x10, 0x12, 0x16),
    raised: Color32::from_rgb(0x2a, 0x30, 0x38),
    hover: Color32::from_rgb(0x34, 0x3c, 0x46),
    line: Color32::from_rgb(0x33, 0x3a, 0x44),
    text: Color32::from_rgb(0xd6, 0xdb, 0xe1),
    weak: Color32::from_rgb(0xa6, 0xb0, 0xbb),
    strong: Color32::from_rgb(0xff, 0xff, 0xff),
    accent: Color32::from_rgb(0x2f, 0x6f, 0xd6),
    on_accent: Color32::from_rgb(0xff, 0xff, 0xff),
    chosen: Color32::from_rgb(0x20, 0x38, 0x5c),
    stripe: Color32::from_rgb(0x1a, 0x1d, 0x22),
    quiet: Color32::from_rgb(0xa0, 0xaa, 0xb5),
    busy: Color32::from_rgb(0x78, 0xb4, 0xff),
    ask: Color32::from_rgb(0xc4, 0x9b, 0xff),
    good: Color32::from_rgb(0x55, 0xc9, 0x7e),
    warn: Color32::from_rgb(0xf0, 0xb4, 0x4c),
    bad: Color32::from_rgb(0xff, 0x91, 0x8a),
};

const LIGHT: Palette = Palette {
    ground: Color32::from_rgb(0xfb, 0xfb, 0xfc),
    panel: Color32::from_rgb(0xf0, 0xf2, 0xf5),
    sunk: Color32::from_rgb(0xff, 0xff, 0xff),
    raised: Color32::from_rgb(0xe2, 0xe6, 0xeb),
    hover: Color32::from_rgb(0xd7, 0xdc, 0xe4),
    line: Color32::from_rgb(0xcf, 0xd5, 0xdc),
    text: Color32::from_rgb(0x22, 0x2a, 0x33),
    weak: Color32::from_rgb(0x4f, 0x5a, 0x66),
    strong: Color32::from_rgb(0x08, 0x0c, 0x12),
    accent: Color32::from_rgb(0x1f, 0x5f, 0xc8),
    on_accent: Color32::from_rgb(0xff, 0xff, 0xff),
    chosen: Color32::from_rgb(0xd4, 0xe4, 0xfb),
    stripe: Color32::from_rgb(0xf4, 0xf6, 0xf8),
    quiet: Color32::from_rgb(0x53, 0x5e, 0x6b),
    busy: Color32::from_rgb(0x1a, 0x5a, 0xb4),
    ask: Color32::from_rgb(0x6c, 0x34, 0xbd),
    good: Color32::from_rgb(0x10, 0x63, 0x36),
    warn: Color32::from_rgb(0x7c, 0x4a, 0x00),
    bad: Color32::from_rgb(0xb0, 0x25, 0x1f),
};

impl Palette {
    /// A tone as the colour of text, icons and bars.
    pub(super) fn tone(&self, tone: Tone) -> Color32 {
        match tone {
            Tone::Quiet => self.quiet,
            Tone::Busy => self.busy,
            Tone::Ask => self.ask,
            Tone::Good => self.good,
            Tone::Warn => self.warn,
            Tone::Bad => self.bad,
        }
    }

    /// A tone as a ground on which `text` is read.
    pub(super) fn wash(&self, tone: Tone) -> Color32 {
        mix(self.ground, self.tone(tone), 0.14)
    }

    /// The filled part of a progress bar, on which `strong` is read.
    pub(super) fn fill(&self, tone: Tone) -> Color32 {
        mix(self.ground, self.tone(tone), 0.42)
    }
}

/// The palette of the theme in force.
pub(super) fn palette(ui: &Ui) -> &'static Palette {
    of(ui.visuals().dark_mode)
}

fn of(dark: bool) -> &'static Palette {
    if dark { &DARK } else { &LIGHT }
}

fn mix(a: Color32, b: Color32, part: f32) -> Color32 {
    let channel = |x: u8, y: u8| {
        let value = f32::from(x) + (f32::from(y) - f32::from(x)) * part;
        // Between two u8, so it fits.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        {
            value.round() as u8
        }
    };
    Color32::from_rgb(channel(a.r(), b.r()), channel(a.g(), b.g()), channel(a.b(), b.b()))
}

/// Sets both themes.
pub(super) fn install(ctx: &Context) {
    for (theme, palette) in [(Theme::Dark, &DARK), (Theme::Light, &LIGHT)] {
        ctx.style_mut_of(theme, |style| apply(style, palette, theme == Theme::Dark));
    }
}

/// Shows the theme that a person prefers, at a scale in per cent of the desktop's own.
pub(super) fn prefer(ctx: &Context, theme: prefs::Theme, scale: u16) {
    ctx.set_theme(match theme {
        prefs::Theme::System => ThemePreference::System,
        prefs::Theme::Light => ThemePreference::Light,
        prefs::Theme::Dark => ThemePreference::Dark,
    });
    ctx.set_zoom_factor(f32::from(scale) / 100.0);
}

fn apply(style: &mut Style, p: &Palette, dark: bool) {
    let proportional = |size| FontId::new(size, FontFamily::Proportional);
    style.text_styles = [
        (TextStyle::Small, proportional(12.0)),
        (TextStyle::Body, proportional(14.0)),
        (TextStyle::Button, proportional(14.0)),
        (TextStyle::Heading, proportional(21.0)),
        (TextStyle::Monospace, FontId::new(12.5, FontFamily::Monospace)),
    ]
    .into();
    style.spacing.item_spacing = Vec2::new(GAP, 6.0);
    style.spacing.button_padding = Vec2::new(10.0, 4.0);
    style.spacing.interact_size = Vec2::new(40.0, 26.0);
    style.spacing.menu_margin = Margin::same(6);
    style.spacing.window_margin = Margin::same(PAD);
    style.spacing.menu_spacing = 2.0;
    style.spacing.icon_width = 16.0;
    style.spacing.icon_width_inner = 8.0;
    style.spacing.tooltip_width = 420.0;
    style.interaction.selectable_labels = false;
    style.animation_time = 0.08;
    style.visuals = visuals(p, dark);
}

fn visuals(p: &Palette, dark: bool) -> Visuals {
    let mut v = if dark { Visuals::dark() } else { Visuals::light() };
    let corner = CornerRadius::same(CORNER);
    v.panel_fill = p.ground;
    v.window_fill = p.panel;
    v.window_stroke = Stroke::new(1.0, p.line);
    v.window_corner_radius = CornerRadius::same(8);
    v.menu_corner_radius = CornerRadius::same(6);
    v.window_shadow = Shadow { offset: [0, 6], blur: 24, spread: 0, color: Color32::from_black_alpha(90) };
    v.popup_shadow = Shadow { offset: [0, 4], blur: 12, spread: 0, color: Color32::from_black_alpha(70) };
    v.extreme_bg_color = p.sunk;
    v.text_edit_bg_color = Some(p.sunk);
    v.faint_bg_color = p.stripe;
    v.code_bg_color = p.sunk;
    v.weak_text_color = Some(p.weak);
    v.hyperlink_color = p.busy;
    v.warn_fg_color = p.warn;
    v.error_fg_color = p.bad;
    v.selection.bg_fill = p.chosen;
    v.selection.stroke = Stroke::new(1.0, p.strong);
    v.striped = false;
    let w = &mut v.widgets;
    w.noninteractive.bg_fill = p.panel;
    w.noninteractive.weak_bg_fill = p.panel;
    w.noninteractive.bg_stroke = Stroke::new(1.0, p.line);
    w.noninteractive.fg_stroke = Stroke::new(1.0, p.text);
    w.inactive.bg_fill = p.hover;
    w.inactive.weak_bg_fill = p.raised;
    w.inactive.bg_stroke = Stroke::new(1.0, p.line);
    w.inactive.fg_stroke = Stroke::new(1.0, p.text);
    w.hovered.bg_fill = p.hover;
    w.hovered.weak_bg_fill = p.hover;
    w.hovered.bg_stroke = Stroke::new(1.0, p.weak);
    w.hovered.fg_stroke = Stroke::new(1.5, p.strong);
    w.active.bg_fill = p.hover;
    w.active.weak_bg_fill = p.hover;
    w.active.bg_stroke = Stroke::new(1.5, p.busy);
    w.active.fg_stroke = Stroke::new(1.5, p.strong);
    w.open.bg_fill = p.hover;
    w.open.weak_bg_fill = p.hover;
    w.open.bg_stroke = Stroke::new(1.0, p.line);
    w.open.fg_stroke = Stroke::new(1.0, p.strong);
    for widget in [&mut w.noninteractive, &mut w.inactive, &mut w.hovered, &mut w.active, &mut w.open] {
        widget.corner_radius = corner;
        widget.expansion = 0.0;
    }
    v
}

/// A screen's ground.
pub(super) fn screen_frame(ui: &Ui) -> egui::Frame {
    egui::Frame::new().fill(palette(ui).ground).inner_margin(Margin::symmetric(PAD, 12))
}

/// A bar at an edge of the window.
pub(super) fn bar_frame(ui: &Ui) -> egui::Frame {
    egui::Frame::new().fill(palette(ui).panel).inner_margin(Margin::symmetric(PAD, 8))
}

/// A part of a screen that can be made larger at the cost of the others.
pub(super) fn pane_frame(ui: &Ui) -> egui::Frame {
    egui::Frame::new().fill(palette(ui).ground).inner_margin(Margin::symmetric(6, 6))
}

/// A card on a screen.
pub(super) fn card_frame(ui: &Ui) -> egui::Frame {
    let p = palette(ui);
    egui::Frame::new()
        .fill(p.panel)
        .stroke(Stroke::new(1.0, p.line))
        .corner_radius(CornerRadius::same(7))
        .inner_margin(Margin::symmetric(14, 10))
}

/// A card that says something of this tone.
pub(super) fn callout_frame(ui: &Ui, tone: Tone) -> egui::Frame {
    let p = palette(ui);
    egui::Frame::new()
        .fill(p.wash(tone))
        .stroke(Stroke::new(1.0, mix(p.ground, p.tone(tone), 0.45)))
        .corner_radius(CornerRadius::same(7))
        .inner_margin(Margin::symmetric(12, 8))
}

/// Around a dialog.
pub(super) fn dialog_frame(ctx: &Context) -> egui::Frame {
    let style = ctx.global_style();
    egui::Frame::popup(&style)
        .inner_margin(Margin::same(20))
        .corner_radius(style.visuals.window_corner_radius)
        .shadow(style.visuals.window_shadow)
}

/// Lines between a table's columns, there to be dragged and not to be read.
pub(super) fn quiet_lines(ui: &mut Ui) {
    let p = palette(ui);
    ui.visuals_mut().widgets.noninteractive.bg_stroke = Stroke::new(1.0, mix(p.ground, p.line, 0.35));
}

/// Behind a dialog.
pub(super) fn backdrop() -> Color32 {
    Color32::from_black_alpha(120)
}

/// Behind what is said while files hover: that is read, so less of the screen shows through.
pub(super) fn hover_backdrop() -> Color32 {
    Color32::from_black_alpha(235)
}

/// Text on it.
pub(super) fn over_backdrop() -> Color32 {
    Color32::WHITE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn luminance(c: Color32) -> f64 {
        let linear = |v: u8| {
            let v = f64::from(v) / 255.0;
            if v <= 0.04045 { v / 12.92 } else { ((v + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * linear(c.r()) + 0.7152 * linear(c.g()) + 0.0722 * linear(c.b())
    }

    fn contrast(a: Color32, b: Color32) -> f64 {
        let (a, b) = (luminance(a) + 0.05, luminance(b) + 0.05);
        if a > b { a / b } else { b / a }
    }

    #[test]
    fn every_text_can_be_read_on_every_ground() {
        const TONES: [Tone; 6] = [Tone::Quiet, Tone::Busy, Tone::Ask, Tone::Good, Tone::Warn, Tone::Bad];
        // WCAG 2.2, 1.4.3 (AA), for text of any size.
        let least = |what: &str, text: Color32, ground: Color32| {
            let c = contrast(text, ground);
            assert!(c >= 4.5, "{what}: {text:?} on {ground:?} is {c:.2}");
        };
        for (theme, p) in [("dark", &DARK), ("light", &LIGHT)] {
            let washes = TONES.map(|tone| p.wash(tone));
            let plain = [p.ground, p.panel, p.stripe, p.sunk, p.chosen, p.raised, p.hover];
            for ground in plain.into_iter().chain(washes) {
                for (what, text) in [("text", p.text), ("weak", p.weak), ("strong", p.strong)] {
                    least(&format!("{theme}, {what}"), text, ground);
                }
                for tone in TONES {
                    least(&format!("{theme}, {tone:?}"), p.tone(tone), ground);
                }
            }
            for tone in TONES {
                least(&format!("{theme}, in a bar of {tone:?}"), p.strong, p.fill(tone));
            }
            least(&format!("{theme}, the one action"), p.on_accent, p.accent);
        }
    }
}
