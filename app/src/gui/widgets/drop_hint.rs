//! What happens to files that hover over the window.

use eframe::egui::{Align2, Context, Id, LayerId, Order, TextStyle};

use crate::gui::theme;

/// Over everything while files hover.
pub(crate) fn drop_hint_ui(ctx: &Context) {
    if ctx.input(|i| i.raw.hovered_files.is_empty()) {
        return;
    }
    let painter = ctx.layer_painter(LayerId::new(Order::Foreground, Id::unique("drop-hint")));
    let rect = ctx.content_rect();
    painter.rect_filled(rect, 0.0, theme::backdrop());
    let font = TextStyle::Heading.resolve(&ctx.global_style());
    let text = "Drop an image to add a disk, or a kernel and its initrd to add a profile";
    painter.text(rect.center(), Align2::CENTER_CENTER, text, font, theme::over_backdrop());
}
