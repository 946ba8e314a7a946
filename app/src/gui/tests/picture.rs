//! Pictures of the window without a GPU or a display: the frame's triangles painted by the processor, the same everywhere. They are
//! kept as PNG with at most 256 colours, the most frequent ones of the picture.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, BufWriter};
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
        write(&few_colors(&self.paint(ctx, output)), path);
    }

    /// Paints the last frame.
    pub(super) fn paint(&self, ctx: &Context, output: &FullOutput) -> ColorImage {
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
        canvas
    }
}

fn rgb(color: Color32) -> [u8; 3] {
    [color.r(), color.g(), color.b()]
}

/// The distinct colours with how many pixels have them, the most frequent first.
fn colors(image: &ColorImage) -> Vec<(Color32, usize)> {
    let mut count: HashMap<Color32, usize> = HashMap::new();
    // Neighbours are mostly the same.
    for run in image.pixels.chunk_by(|a, b| a == b) {
        *count.entry(run[0]).or_default() += run.len();
    }
    let mut list: Vec<(Color32, usize)> = count.into_iter().collect();
    list.sort_by_key(|(color, count)| (std::cmp::Reverse(*count), rgb(*color)));
    list
}

fn far(a: Color32, b: Color32) -> usize {
    rgb(a).into_iter().zip(rgb(b)).map(|(a, b)| usize::from(a.abs_diff(b)).pow(2)).sum()
}

/// With at most 256 colours: the most frequent ones, and those for which none of these would do, as the one red mark on the screen. Each other
/// one becomes the nearest of them.
pub(super) fn few_colors(image: &ColorImage) -> ColorImage {
    let all = colors(image);
    // For each colour its place, the nearest one that is kept, and how far that is.
    let mut nearest: Vec<(Color32, usize)> = vec![(Color32::BLACK, usize::MAX); all.len()];
    for round in 0..all.len().min(256) {
        let worst = |at: &usize| (nearest[*at].1 * all[*at].1, std::cmp::Reverse(*at));
        let next = if round < 128 { round } else { (0..all.len()).max_by_key(worst).unwrap() };
        let kept = all[next].0;
        for ((color, _), near) in all.iter().zip(&mut nearest) {
            let far = far(*color, kept);
            if far < near.1 {
                *near = (kept, far);
            }
        }
    }
    let map: HashMap<Color32, Color32> =
        all.iter().zip(nearest).map(|((color, _), (kept, _))| (*color, kept)).collect();
    let mut few = image.clone();
    for run in few.pixels.chunk_by_mut(|a, b| a == b) {
        let color = map[&run[0]];
        run.fill(color);
    }
    few
}

/// Writes a picture of at most 256 colours as PNG.
pub(super) fn write(image: &ColorImage, path: &Path) {
    let palette = colors(image);
    let index: HashMap<Color32, u8> = palette.iter().zip(0..=u8::MAX).map(|((color, _), at)| (*color, at)).collect();
    let size = |n: usize| u32::try_from(n).unwrap();
    let out = BufWriter::new(File::create(path).unwrap());
    let mut encoder = png::Encoder::new(out, size(image.width()), size(image.height()));
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_palette(palette.iter().flat_map(|(color, _)| rgb(*color)).collect::<Vec<u8>>());
    encoder.set_compression(png::Compression::High);
    encoder.set_filter(png::Filter::NoFilter);
    let pixels: Vec<u8> = image.pixels.iter().map(|pixel| index[pixel]).collect();
    encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
}

/// Reads one back; none where there is none.
pub(super) fn read(path: &Path) -> Option<ColorImage> {
    let mut decoder = png::Decoder::new(BufReader::new(File::open(path).ok()?));
    decoder.set_transformations(png::Transformations::EXPAND);
    let mut reader = decoder.read_info().unwrap();
    let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut bytes).unwrap();
    Some(ColorImage::from_rgb([info.width as usize, info.height as usize], &bytes[..info.buffer_size()]))
}

/// Where two pictures differ by more than `most` in a channel: how many pixels, and a picture with these in red on the pale second.
pub(super) fn difference(old: &ColorImage, new: &ColorImage, most: u8) -> (usize, ColorImage) {
    let mut shown = new.clone();
    let mut count = 0;
    for y in 0..new.height() {
        for x in 0..new.width() {
            let now = new[(x, y)];
            let same = x < old.width()
                && y < old.height()
                && rgb(old[(x, y)]).into_iter().zip(rgb(now)).all(|(a, b)| a.abs_diff(b) <= most);
            count += usize::from(!same);
            shown[(x, y)] = if same { now.lerp_to_gamma(Color32::GRAY, 0.7) } else { Color32::RED };
        }
    }
    // A picture of another size differs at least where it is cut.
    let outside = (old.width() * old.height()).saturating_sub(new.width() * new.height());
    (count + outside, shown)
}

fn triangle(canvas: &mut ColorImage, texture: &ColorImage, corners: [Vertex; 3], scale: f32, clip: eframe::egui::Rect) {
    let [a, b, c] = corners.map(|v| v.pos * scale);
    let area = (b - a).x * (c - a).y - (b - a).y * (c - a).x;
    if area == 0.0 {
        return;
    }
    let all = |of: fn(f32, f32) -> f32, [a, b, c]: [f32; 3]| of(of(a, b), c);
    let range = |of: [f32; 3], clip_low: f32, clip_high: f32, most: usize| {
        let (low, high) = (all(f32::min, of).max(clip_low), all(f32::max, of).min(clip_high));
        low.round().max(0.0) as usize..(high.ceil().max(0.0) as usize).min(most)
    };
    let (width, height) = (canvas.width(), canvas.height());
    let columns = range([a.x, b.x, c.x], clip.min.x, clip.max.x.round(), width);
    // What has one colour and hides what is below is most of a window.
    let one = |f: fn(&Vertex) -> [u8; 4]| f(&corners[0]) == f(&corners[1]) && f(&corners[0]) == f(&corners[2]);
    let uv = corners[0].uv;
    let solid = (corners.iter().all(|v| v.uv == uv) && one(|v| v.color.to_array())).then(|| {
        let [r, g, b, alpha] = sample(texture, uv.x, uv.y);
        let color = corners[0].color;
        let channel = |c: u8, texel: f32| (f32::from(c) / 255.0 * texel).round() as u8;
        (color.a() == 255 && alpha == 255.0)
            .then(|| Color32::from_rgb(channel(color.r(), r), channel(color.g(), g), channel(color.b(), b)))
    });
    let solid = solid.flatten();
    for y in range([a.y, b.y, c.y], clip.min.y, clip.max.y.round(), height) {
        let weights = |x: usize| {
            let (x, y) = (x as f32 + 0.5, y as f32 + 0.5);
            let part = |u: eframe::egui::Pos2, v: eframe::egui::Pos2| {
                ((v.x - u.x) * (y - u.y) - (v.y - u.y) * (x - u.x)) / area
            };
            [part(b, c), part(c, a), part(a, b)]
        };
        let inside = |x: &usize| weights(*x).into_iter().all(|w| w >= 0.0);
        let Some(first) = columns.clone().find(inside) else { continue };
        let end = columns.clone().rev().find(inside).map_or(first, |last| last + 1);
        if let Some(color) = solid {
            canvas.pixels[y * width + first..y * width + end].fill(color);
            continue;
        }
        for x in first..end {
            let [wa, wb, wc] = weights(x);
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
