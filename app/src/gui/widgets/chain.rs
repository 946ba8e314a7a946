//! A machine's boot as a chain of boxes with arrows, each with what it is given. In three parts, so that each can be tested: the model
//! (links to texts), the layout (a width to rectangles), the paint.

use bootyard_core::api::ClientKind;
use bootyard_core::boot::{Explained, Explanation, Link, Part, Setting};
use eframe::egui::accesskit::Role;
use eframe::egui::text::{LayoutJob, TextWrapping};
use eframe::egui::{
    Color32, CornerRadius, FontId, Pos2, Rect, Sense, Shape, Stroke, StrokeKind, TextFormat, TextStyle, Ui, Vec2,
    WidgetInfo, pos2, vec2,
};

use super::icon;
use crate::gui::lang::t;
use crate::gui::say;
use crate::gui::theme::{self, Tone};

/// Narrower boxes than this go below each other.
const NARROW: f32 = 176.0;
/// Wider ones would be empty.
const WIDE: f32 = 250.0;
const HEIGHT: f32 = 88.0;
/// Room for an arrow.
const ARROW: f32 = 26.0;

/// What a box says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    /// Which link.
    pub(crate) title: String,
    /// The protocol by which it is given, or nothing.
    over: String,
    /// What it is given, in a word or two.
    brief: String,
    /// What decides, in a word or two.
    decides: String,
    /// All of it as a sentence.
    pub(crate) sentence: String,
    tone: Option<Tone>,
}

/// The boxes of a chain, in order.
pub(crate) fn model(chain: &Explanation) -> Vec<Node> {
    chain.stages.iter().map(|link| node(link, chain.client)).collect()
}

fn node(link: &Explained, client: ClientKind) -> Node {
    let title = title(link.stage, client);
    let because = because(link);
    let gets = if link.stage == Link::Script { link.brief.clone() } else { link.gets.clone() };
    let gets = say::clean_to(&gets, 400);
    let given = if link.over.is_empty() {
        t!("{link}: {gets}. Why: {because}", link = title, gets = gets, because = because)
    } else {
        t!(
            "{link}, over {protocol}: {gets}. Why: {because}",
            link = title,
            protocol = link.over,
            gets = gets,
            because = because
        )
    };
    let decides = link.setting.as_ref().map(|s| format!("{} · {}", s.key, say::clean_to(&s.entry, 40)));
    Node {
        title,
        over: link.over.clone(),
        brief: say::quoted(&link.brief, 80),
        decides: decides.unwrap_or_else(|| say::quoted(&link.because, 80)),
        sentence: say::sentence(&given),
        tone: link.ends.then_some(Tone::Bad),
    }
}

/// The name of a link.
pub(crate) fn title(link: Link, client: ClientKind) -> String {
    let text = match link {
        Link::Firmware => match client {
            ClientKind::HttpBoot => t!("UEFI HTTP Boot asks"),
            ClientKind::Bootp => t!("BOOTP asks"),
            _ => t!("PXE firmware asks"),
        },
        Link::BootFile => t!("Boot file"),
        Link::Ipxe if client == ClientKind::Gpxe => t!("gPXE asks"),
        Link::Ipxe => t!("iPXE asks"),
        Link::Script => t!("Script"),
        Link::Kernel => t!("Kernel and initrds"),
        Link::Disk => t!("Disk"),
        Link::System => t!("In the end"),
    };
    text.to_owned()
}

/// What decides about a link, with the place in lab.toml.
pub(crate) fn because(link: &Explained) -> String {
    let because = say::quoted(&link.because, 400);
    match &link.setting {
        Some(setting) => format!("{because} ({})", place(setting)),
        None => because,
    }
}

/// `boot in [[host]] pc-01, line 12 of lab.toml`.
pub(crate) fn place(setting: &Setting) -> String {
    let part = match setting.part {
        Part::Network => "[network]",
        Part::Firmware => "[[firmware]]",
        Part::Profile => "[[profile]]",
        Part::Disk => "[[disk]]",
        Part::Host => "[[host]]",
    };
    let (key, entry) = (say::clean_to(&setting.key, 40), say::clean_to(&setting.entry, 60));
    match (setting.line, setting.absent) {
        (Some(line), Some(true)) => t!(
            "{part} {entry} in line {line} of lab.toml has no {key}, so its default holds",
            part = part,
            entry = entry,
            line = line,
            key = key
        ),
        (Some(line), _) => {
            t!("{key} in {part} {entry}, line {line} of lab.toml", key = key, part = part, entry = entry, line = line)
        }
        (None, _) => t!("{key} in {part} {entry} of lab.toml", key = key, part = part, entry = entry),
    }
}

/// Where the boxes and their arrows stand.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Layout {
    /// A box each.
    pub(crate) boxes: Vec<Rect>,
    /// From one box to the next: the corners of a line.
    pub(crate) arrows: Vec<Vec<Pos2>>,
    /// All of it.
    pub(crate) size: Vec2,
}

/// Places so many boxes below `origin`: as many beside each other as the width has room for, else below each other.
pub(crate) fn layout(count: usize, origin: Pos2, width: f32) -> Layout {
    // A dozen boxes at most.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    let (columns, box_width) = {
        let most = (((width + ARROW) / (NARROW + ARROW)).floor() as usize).max(1);
        // Rows of the same length look better than a full one and a rest.
        let rows = count.div_ceil(most).max(1);
        let columns = count.div_ceil(rows).max(1);
        let room = (width - ARROW * (columns - 1) as f32) / columns as f32;
        (columns, if columns == 1 { width.min(420.0) } else { room.min(WIDE) })
    };
    let height = if columns == 1 { HEIGHT - 18.0 } else { HEIGHT };
    let mut out = Layout::default();
    for at in 0..count {
        #[allow(clippy::cast_precision_loss)]
        let (row, column) = ((at / columns) as f32, (at % columns) as f32);
        let min = origin + vec2(column * (box_width + ARROW), row * (height + ARROW));
        out.boxes.push(Rect::from_min_size(min, vec2(box_width, height)));
    }
    for (from, to) in out.boxes.iter().zip(out.boxes.iter().skip(1)) {
        out.arrows.push(if from.top() == to.top() {
            vec![from.right_center(), to.left_center()]
        } else if from.left() == to.left() {
            vec![from.center_bottom(), to.center_top()]
        } else {
            let middle = (from.bottom() + to.top()) / 2.0;
            let (start, end) = (from.center_bottom(), to.center_top());
            vec![start, pos2(start.x, middle), pos2(end.x, middle), end]
        });
    }
    let all = out.boxes.iter().fold(Rect::from_min_size(origin, Vec2::ZERO), |all, b| all.union(*b));
    out.size = all.size();
    out
}

/// Draws it over the width that is left. A click, or the keyboard's focus, chooses a box.
pub(crate) fn chain_ui(ui: &mut Ui, nodes: &[Node], chosen: &mut Option<usize>) {
    let place = layout(nodes.len(), ui.cursor().min, ui.available_width());
    let (rect, _) = ui.allocate_exact_size(vec2(ui.available_width(), place.size.y), Sense::hover());
    let place = layout(nodes.len(), rect.min, rect.width());
    let p = theme::palette(ui);
    for arrow in &place.arrows {
        arrow_ui(ui, arrow, p.weak);
    }
    for (at, (node, rect)) in nodes.iter().zip(&place.boxes).enumerate() {
        let response = ui.interact(*rect, ui.scope_id().with(("link", at)), Sense::CLICK);
        let on = *chosen == Some(at);
        response.widget_info(|| WidgetInfo::selected(Role::Button, true, on, format!("{}. {}", at + 1, node.sentence)));
        node_ui(ui, node, *rect, at, (on, response.hovered(), response.has_focus()));
        if response.clicked() {
            *chosen = if on { None } else { Some(at) };
        } else if response.gained_focus() && chosen.is_some() {
            *chosen = Some(at);
        }
        response.on_hover_text(&node.sentence);
    }
}

fn node_ui(ui: &Ui, node: &Node, rect: Rect, at: usize, (on, hovered, focus): (bool, bool, bool)) {
    let p = theme::palette(ui);
    let (small, body) = (TextStyle::Small.resolve(ui.style()), TextStyle::Body.resolve(ui.style()));
    let fill = match (on, node.tone) {
        (true, _) => p.chosen,
        (false, Some(tone)) => p.wash(tone),
        (false, None) => p.panel,
    };
    let line = match (focus, on || hovered, node.tone) {
        (true, _, _) => Stroke::new(2.0, p.tone(Tone::Busy)),
        (_, true, _) => Stroke::new(1.5, p.weak),
        (_, _, Some(tone)) => Stroke::new(1.0, p.tone(tone)),
        _ => Stroke::new(1.0, p.line),
    };
    let painter = ui.painter();
    painter.rect(rect, CornerRadius::same(7), fill, line, StrokeKind::Inside);
    let inner = rect.shrink2(vec2(10.0, 8.0));
    let mut left = inner.left();
    if let Some(tone) = node.tone {
        let mark = Rect::from_min_size(pos2(left, inner.top() + 1.0), Vec2::splat(theme::ICON));
        icon::paint_tone(painter, mark, tone, p.tone(tone), fill);
        left += theme::ICON + 5.0;
    }
    let over = text_ui(ui, pos2(inner.right(), inner.top() + 1.0), &node.over, &small, p.weak, 70.0, true);
    let title = format!("{} {}", at + 1, node.title);
    text_ui(ui, pos2(left, inner.top()), &title, &body, p.strong, over - left - 6.0, false);
    text_ui(ui, pos2(inner.left(), inner.top() + 24.0), &node.brief, &body, p.text, inner.width(), false);
    let up = if rect.height() >= HEIGHT { 16.0 } else { 14.0 };
    text_ui(ui, pos2(inner.left(), inner.bottom() - up), &node.decides, &small, p.weak, inner.width(), false);
}

/// One line, cut where the room ends, to the right of `at` or to its left. Returns where it begins.
fn text_ui(ui: &Ui, at: Pos2, text: &str, font: &FontId, color: Color32, width: f32, leftward: bool) -> f32 {
    let format = TextFormat { font_id: font.clone(), color, ..TextFormat::default() };
    let mut job = LayoutJob::single_section(text.replace('\n', " "), format);
    job.wrap = TextWrapping::truncate_at_width(width.max(1.0));
    let galley = ui.painter().layout_job(job);
    let at = if leftward { at - vec2(galley.size().x, 0.0) } else { at };
    ui.painter().galley(at, galley, color);
    at.x
}

fn arrow_ui(ui: &Ui, corners: &[Pos2], color: Color32) {
    let [.., before, tip] = corners else { return };
    let painter = ui.painter();
    let way = (*tip - *before).normalized();
    let end = *tip - way * 2.0;
    let mut line = corners.to_vec();
    if let Some(last) = line.last_mut() {
        *last = end;
    }
    painter.add(Shape::line(line, Stroke::new(1.5, color)));
    let side = vec2(-way.y, way.x);
    let head = vec![end, end - way * 7.0 + side * 4.0, end - way * 7.0 - side * 4.0];
    painter.add(Shape::convex_polygon(head, color, Stroke::NONE));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_stand_beside_each_other_where_there_is_room_and_below_each_other_where_there_is_none() {
        let wide = layout(6, pos2(0.0, 0.0), 1248.0);
        assert!(wide.boxes.iter().all(|b| b.top() == 0.0) && wide.size.x <= 1248.0);
        let two = layout(6, pos2(10.0, 0.0), 700.0);
        assert_eq!(two.boxes.iter().filter(|b| b.top() == 0.0).count(), 3, "two rows of the same length");
        assert_eq!(two.arrows[2].len(), 4, "round the corner");
        assert!(two.boxes.iter().all(|b| b.right() <= 710.1));
        let narrow = layout(6, pos2(0.0, 0.0), 330.0);
        assert!(narrow.boxes.iter().all(|b| b.left() == 0.0 && b.width() <= 330.0));
        assert_eq!(narrow.arrows.len(), 5);
        for place in [wide, two, narrow] {
            for (at, a) in place.boxes.iter().enumerate() {
                assert!(place.boxes[..at].iter().all(|b| !a.intersects(*b)), "{place:?}");
            }
        }
        assert_eq!(layout(0, pos2(0.0, 0.0), 300.0).boxes.len(), 0);
    }

    #[test]
    fn a_setting_has_its_place_and_one_that_is_not_there_says_so() {
        let setting = |line, absent| Setting {
            part: Part::Host,
            index: 0,
            entry: "pc-01".into(),
            key: "boot".into(),
            line,
            absent,
        };
        assert_eq!(place(&setting(Some(12), Some(false))), "boot in [[host]] pc-01, line 12 of lab.toml");
        assert!(place(&setting(Some(3), Some(true))).contains("its default holds"));
        assert_eq!(place(&setting(None, None)), "boot in [[host]] pc-01 of lab.toml");
    }
}
