//! Backgrounds without anatomy: greys for networks that are not to rely on what a generator knows of ears.

use crate::draw::Draw;
use crate::noise::{cell_wall, smooth};
use crate::shapes::Waves;
use crate::space::{View, add, scale};
use crate::style::Style;

/// The greys that tissues have in one picture.
struct Palette {
    soft: f32,
    bone: f32,
}

impl Palette {
    fn random(draw: &mut Draw) -> Self {
        let soft = draw.range(12.0, 70.0);
        // On CT of whole heads bone is as bright as metal elsewhere.
        let brightest = if draw.chance(0.12) { 235.0 } else { 142.0 };
        Self { soft, bone: draw.range((soft + 25.0).max(75.0), brightest) }
    }

    /// Air, soft tissue, bone, or something between.
    fn any(&self, draw: &mut Draw) -> f32 {
        match draw.below(12) {
            0 => draw.range(0.0, 15.0),
            1..5 => self.soft + draw.range(-12.0, 12.0),
            5..9 => self.bone * draw.range(0.82, 1.02),
            _ => draw.range(self.soft, self.bone),
        }
    }
}

/// A background in grey levels, 0 to 255, row by row.
pub(crate) fn paint(view: &View, style: Style, seed: u64) -> Vec<f32> {
    let mut draw = Draw::new(seed, 2);
    let palette = Palette::random(&mut draw);
    // Features as large against the picture as in a picture of 40 mm.
    let unit = view.columns as f32 * view.spacing[1] / 40.0;
    let mut picture = Picture { view, unit, waves: Waves::new(view, draw.bits()) };
    let mut image = match style {
        Style::Leaves => picture.leaves(&palette, &mut draw),
        Style::Foam => picture.foam(&palette, &mut draw),
        _ => picture.clouds(&palette, &mut draw),
    };
    picture.ridges(&palette, &mut draw, &mut image);
    picture.mottle(&mut draw, &mut image);
    image
}

struct Picture<'a> {
    view: &'a View,
    unit: f32,
    waves: Waves,
}

/// A flat shape: its middle and half sizes in pixels, its direction, and what is inside.
struct Leaf {
    middle: [f32; 2],
    half: [f32; 2],
    direction: [f32; 2],
    kind: usize,
    grey: f32,
    /// Width of the fading edge, and how far the outline strays, pixels.
    edge: f32,
    stray: f32,
    /// Height of an inner texture in grey levels, and the width of its meshes in mm.
    texture: [f32; 2],
    seed: u32,
}

impl Leaf {
    fn random(draw: &mut Draw, palette: &Palette, (rows, columns): (f32, f32), size: f32) -> Self {
        let (sin, cos) = libm::sincosf(draw.range(0.0, std::f32::consts::TAU));
        let textured = draw.chance(0.3);
        Self {
            middle: [draw.range(-0.1, 1.1) * columns, draw.range(-0.1, 1.1) * rows],
            half: [size, size * draw.log_range(0.12, 1.0)],
            direction: [cos, sin],
            kind: draw.below(4),
            grey: palette.any(draw),
            edge: draw.log_range(0.8, 12.0),
            stray: size * draw.range(0.0, 0.5),
            texture: [if textured { draw.range(5.0, 45.0) } else { 0.0 }, draw.log_range(0.4, 3.0)],
            seed: draw.bits(),
        }
    }

    /// Distance to the outline in pixels, negative inside.
    fn distance(&self, x: f32, y: f32) -> f32 {
        let [cos, sin] = self.direction;
        let (x, y) = (x - self.middle[0], y - self.middle[1]);
        let (along, across) = (x * cos + y * sin, y * cos - x * sin);
        let [a, b] = self.half;
        match self.kind {
            // An ellipse.
            0 | 1 => ((along / a) * (along / a) + (across / b) * (across / b)).sqrt() * b - b,
            // A box.
            2 => (along.abs() - a).max(across.abs() - b),
            // A ring or a piece of it.
            _ => {
                let ring = ((x * x + y * y).sqrt() - 0.8 * a).abs() - 0.2 * b;
                ring.max(across - 0.4 * a)
            }
        }
    }

    fn reach(&self) -> f32 {
        self.half[0] * 1.5 + self.edge + 1.5 * self.stray
    }
}

impl Picture<'_> {
    fn leaves(&self, palette: &Palette, draw: &mut Draw) -> Vec<f32> {
        let view = self.view;
        let mut image = vec![palette.any(draw); view.rows * view.columns];
        let count = 15 + draw.below(60);
        let side = view.columns.max(view.rows) as f32;
        for i in 0..count {
            // From large to small.
            let size = side * 0.45 * libm::powf(0.03, i as f32 / count as f32) * draw.range(0.6, 1.4);
            let leaf = Leaf::random(draw, palette, (view.rows as f32, view.columns as f32), size);
            self.lay(&leaf, &mut image);
        }
        image
    }

    fn lay(&self, leaf: &Leaf, image: &mut [f32]) {
        let view = self.view;
        let [x, y] = leaf.middle;
        let reach = leaf.reach();
        let span = |middle: f32, end: usize| {
            let from = (middle - reach).clamp(0.0, end as f32) as usize;
            from..((middle + reach).clamp(0.0, end as f32) as usize)
        };
        for row in span(y, view.rows) {
            for column in span(x, view.columns) {
                let [dx, dy, _] = self.waves.at(column, row);
                let distance = leaf.distance(column as f32 + leaf.stray * dx, row as f32 + leaf.stray * dy);
                let cover = (0.5 - distance / leaf.edge).clamp(0.0, 1.0);
                if cover <= 0.0 {
                    continue;
                }
                let mut grey = leaf.grey;
                if leaf.texture[0] > 0.0 {
                    let p = view.point(column as f32, row as f32);
                    grey += leaf.texture[0] * smooth(p, leaf.texture[1] * self.unit, leaf.seed);
                }
                let pixel = &mut image[row * view.columns + column];
                *pixel += (grey - *pixel) * cover;
            }
        }
    }

    fn clouds(&self, palette: &Palette, draw: &mut Draw) -> Vec<f32> {
        let size = draw.log_range(2.0, 16.0) * self.unit;
        let rough = draw.range(0.15, 0.75);
        let folds = draw.range(0.0, 1.2) * size;
        let hard = draw.log_range(1.0, 7.0);
        let greys: Vec<f32> = (0..3 + draw.below(4)).map(|_| palette.any(draw)).collect();
        let seed = draw.bits();
        self.each_pixel(|p, waves| {
            let p = add(p, scale(waves, folds));
            let noise = smooth(p, size, seed)
                + rough * smooth(p, size * 0.4, seed.wrapping_add(1))
                + rough * rough * smooth(p, size * 0.15, seed.wrapping_add(2));
            let at = (0.5 + 0.45 * noise).clamp(0.0, 0.999) * (greys.len() - 1) as f32;
            let between = ((at.fract() - 0.5) * hard + 0.5).clamp(0.0, 1.0);
            let lower = greys[at as usize];
            lower + (greys[at as usize + 1] - lower) * between
        })
    }

    fn foam(&self, palette: &Palette, draw: &mut Draw) -> Vec<f32> {
        let width = draw.log_range(1.0, 7.0) * self.unit;
        let wall = width * draw.range(0.08, 0.5);
        let bent = draw.range(0.0, 0.5) * width;
        let greys: Vec<f32> = (0..1 + draw.below(4)).map(|_| palette.any(draw)).collect();
        let walls = palette.bone * draw.range(0.6, 1.1);
        // Beyond a smooth border there is no foam but something even.
        let share = draw.range(-0.4, 0.8);
        let (even, region) = (palette.any(draw), draw.log_range(6.0, 20.0) * self.unit);
        let seed = draw.bits();
        self.each_pixel(|p, waves| {
            let inside =
                ((smooth(p, region, seed.wrapping_add(9)) + 0.3 * waves[2] + share) * 4.0).clamp(0.0, 1.0);
            if inside <= 0.0 {
                return even;
            }
            let (distance, cell) = cell_wall(add(p, scale(waves, bent)), width, seed);
            let content = greys[(cell >> 8) as usize % greys.len()];
            let open = ((distance - wall * 0.5) / (0.25 * wall + 0.05) + 0.5).clamp(0.0, 1.0);
            even + (walls + (content - walls) * open - even) * inside
        })
    }

    fn each_pixel(&self, grey: impl Fn([f32; 3], [f32; 3]) -> f32) -> Vec<f32> {
        let view = self.view;
        let pixel = |i: usize| {
            let (column, row) = (i % view.columns, i / view.columns);
            grey(view.point(column as f32, row as f32), self.waves.at(column, row))
        };
        (0..view.rows * view.columns).map(pixel).collect()
    }

    /// Bright bent plates of bone, up to brighter than faint metal.
    fn ridges(&mut self, palette: &Palette, draw: &mut Draw, image: &mut [f32]) {
        let view = self.view;
        let side = view.columns as f32;
        for _ in 0..draw.below(4) {
            let grey = palette.bone * draw.range(0.9, 1.25);
            let radius = draw.log_range(0.004, 0.02) * side;
            let mut at = [draw.unit() * side, draw.unit() * view.rows as f32];
            let mut heading = draw.range(0.0, std::f32::consts::TAU);
            let mut bend = 0.03 * draw.normal();
            for step in 0..draw.below((0.7 * side) as usize) {
                if step % 24 == 0 {
                    bend = 0.03 * draw.normal();
                }
                heading += bend;
                let (sin, cos) = libm::sincosf(heading);
                at = [at[0] + cos, at[1] + sin];
                dab(view, image, at, radius, grey);
            }
        }
    }

    /// Tissue is nowhere quite even.
    fn mottle(&self, draw: &mut Draw, image: &mut [f32]) {
        let height = draw.range(0.0, 7.0);
        for (i, pixel) in image.iter_mut().enumerate() {
            let [x, y, _] = self.waves.at(i % self.view.columns, i / self.view.columns);
            *pixel = (*pixel + height * (x + y)).max(0.0);
        }
    }
}

/// Lifts the pixels of a disc to a grey, with a soft edge.
fn dab(view: &View, image: &mut [f32], [x, y]: [f32; 2], radius: f32, grey: f32) {
    let span = |middle: f32, end: usize| {
        let from = (middle - radius - 1.0).clamp(0.0, end as f32) as usize;
        from..((middle + radius + 2.0).clamp(0.0, end as f32) as usize)
    };
    for row in span(y, view.rows) {
        for column in span(x, view.columns) {
            let (dx, dy) = (column as f32 - x, row as f32 - y);
            let cover = (0.5 + radius - (dx * dx + dy * dy).sqrt()).clamp(0.0, 1.0);
            let pixel = &mut image[row * view.columns + column];
            *pixel = pixel.max(*pixel + (grey - *pixel) * cover);
        }
    }
}
