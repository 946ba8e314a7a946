//! Pictures of the window without a GPU or a display: the frame's triangles painted by the processor, in the form PPM. They are
//! for people to look at; no test compares them.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use eframe::egui::epaint::{ClippedPrimitive, Primitive, Vertex};
use eframe::egui::{Color32, ColorImage, Context, FullOutput, ImageData, TextureId, TexturesDelta};
use egui_kittest::TestRenderer;

/// The textures as of the last frame.
#[derive(Debug, Default, Clone)]
pub(super) struct Textures(Arc<Mutex<HashMap<TextureId, ColorImage>>>);

impl TestRenderer for Textures {
    fn handle_delta(&mut self, delta: &mut TexturesDelta) {
        let mut map = self.0.lock().unwrap();
        for (id, change) in &delta.set {
            for change in change.as_slice() {
                let ImageData::Color(image) = &change.image;
                let Some([x0, y0]) = change.pos else {
                    map.insert(*id, image.as_ref().clone());
                    continue;
                };
                let whole = map.get_mut(id).unwrap();
                for y in 0..image.height() {
                    for x in 0..image.width() {
                        whole[(x0 + x, y0 + y)] = image[(x, y)];
                    }
                }
            }
        }
        delta.clear();
    }
}

impl Textures {
    /// Writes the last frame as `path`.
    pub(super) fn save(&self, ctx: &Context, output: &FullOutput, path: &Path) {
        let scale = output.pixels_per_point;
        let size = ctx.content_rect().size() * scale;
        let mut canvas = ColorImage::filled([size.x.round() as usize, size.y.round() as usize], Color32::BLACK);
        let textures = self.0.lock().unwrap();
        for ClippedPrimitive { clip_rect, primitive } in ctx.tessellate(output.shapes.clone(), scale) {
            let Primitive::Mesh(mesh) = primitive else { continue };
            let texture = &textures[&mesh.texture_id];
            let clip = clip_rect * scale;
            for corner in mesh.indices.chunks_exact(3) {
                let [a, b, c] = [0, 1, 2].map(|n| mesh.vertices[corner[n] as usize]);
                triangle(&mut canvas, texture, [a, b, c], scale, clip);
            }
        }
        let mut out = format!("P6 {} {} 255\n", canvas.width(), canvas.height()).into_bytes();
        out.extend(canvas.pixels.iter().flat_map(|p| [p.r(), p.g(), p.b()]));
        std::fs::write(path, out).unwrap();
    }
}

fn triangle(canvas: &mut ColorImage, texture: &ColorImage, corners: [Vertex; 3], scale: f32, clip: eframe::egui::Rect) {
    let [a, b, c] = corners.map(|v| v.pos * scale);
    let area = (b - a).x * (c - a).y - (b - a).y * (c - a).x;
    if area == 0.0 {
        return;
    }
    let all = |of: fn(f32, f32) -> f32, x: bool| {
        let pick = |p: eframe::egui::Pos2| if x { p.x } else { p.y };
        of(of(pick(a), pick(b)), pick(c))
    };
    let range = |low: f32, high: f32, clip_low: f32, clip_high: f32, most: usize| {
        let from = low.max(clip_low).round().max(0.0) as usize;
        from..(high.min(clip_high).ceil().max(0.0) as usize).min(most)
    };
    let (width, height) = (canvas.width(), canvas.height());
    for y in range(all(f32::min, false), all(f32::max, false), clip.min.y, clip.max.y.round(), height) {
        for x in range(all(f32::min, true), all(f32::max, true), clip.min.x, clip.max.x.round(), width) {
            let p = eframe::egui::pos2(x as f32 + 0.5, y as f32 + 0.5);
            let part =
                |u: eframe::egui::Pos2, v: eframe::egui::Pos2| ((v - u).x * (p - u).y - (v - u).y * (p - u).x) / area;
            let (wc, wa, wb) = (part(a, b), part(b, c), part(c, a));
            if wa.min(wb).min(wc) < 0.0 {
                continue;
            }
            let blend = |f: fn(&Vertex) -> f32| f(&corners[0]) * wa + f(&corners[1]) * wb + f(&corners[2]) * wc;
            let texel = sample(texture, blend(|v| v.uv.x), blend(|v| v.uv.y));
            let channel = |f: fn(&Vertex) -> f32, n: usize| blend(f) / 255.0 * texel[n];
            let source = [
                channel(|v| v.color.r().into(), 0),
                channel(|v| v.color.g().into(), 1),
                channel(|v| v.color.b().into(), 2),
                channel(|v| v.color.a().into(), 3),
            ];
            let below = &mut canvas[(x, y)];
            let over = |n: usize, under: u8| (source[n] + f32::from(under) * (1.0 - source[3] / 255.0)).round() as u8;
            *below = Color32::from_rgb(over(0, below.r()), over(1, below.g()), over(2, below.b()));
        }
    }
}

/// Between the four nearest texels, each channel from 0 to 255.
fn sample(texture: &ColorImage, u: f32, v: f32) -> [f32; 4] {
    let (x, y) = (u * texture.width() as f32 - 0.5, v * texture.height() as f32 - 0.5);
    let at = |x: f32, y: f32| {
        let x = x.clamp(0.0, texture.width() as f32 - 1.0) as usize;
        let y = y.clamp(0.0, texture.height() as f32 - 1.0) as usize;
        texture[(x, y)].to_array().map(f32::from)
    };
    let (left, top) = (x.floor(), y.floor());
    let (part_x, part_y) = (x - left, y - top);
    let (a, b, c, d) = (at(left, top), at(left + 1.0, top), at(left, top + 1.0), at(left + 1.0, top + 1.0));
    std::array::from_fn(|n| {
        (a[n] * (1.0 - part_x) + b[n] * part_x) * (1.0 - part_y) + (c[n] * (1.0 - part_x) + d[n] * part_x) * part_y
    })
}
