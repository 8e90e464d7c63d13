//! What a scanner makes of metal: bloomed blobs with ripples beside them, and streaks.

use crate::draw::Draw;
use crate::implant::Grain;
use crate::space::View;

/// How the scanner shows metal.
#[derive(Debug, Clone)]
pub(crate) struct MetalLook {
    /// Blur in the plane, one sigma, mm.
    pub(crate) blur: f32,
    /// Height of ripples against the blob's own, and their wave length in mm.
    pub(crate) ripple: [f32; 2],
    /// Thickness of platinum that a contact of strength 1 stands for, mm.
    pub(crate) platinum: f32,
    /// Number of projections.
    pub(crate) views: usize,
    /// Share of scattered rays that reach the detector behind any amount of metal.
    pub(crate) scatter: f32,
    /// Noise of rays that are nearly stopped.
    pub(crate) starved: f32,
    /// Main direction of the rays within the slice, radians, and how much they prefer it (0 to 1).
    pub(crate) direction: [f32; 2],
    /// Gain of all streaks; 0 leaves them out.
    pub(crate) streaks: f32,
}

/// Metal on a slice, each plane row by row; 1 is the middle of a large contact.
pub(crate) struct MetalPlanes {
    pub(crate) array: Vec<f32>,
    pub(crate) other: Vec<f32>,
    pub(crate) ripple: Vec<f32>,
}

/// A grain as the slice sees it: column, row, strength, sigma in mm.
struct Spot {
    column: f32,
    row: f32,
    strength: f32,
    sigma: f32,
    array: bool,
}

fn spots(view: &View, grains: &[Grain], blur: f32) -> Vec<Spot> {
    let seen = grains.iter().filter_map(|grain| {
        let [column, row, away] = view.project(grain.at);
        let sigma = (grain.sigma * grain.sigma + blur * blur).sqrt();
        let outside = ((away.abs() - view.slab / 2.0).max(0.0) / sigma).min(9.0);
        let mut strength = grain.strength * libm::expf(-0.5 * outside * outside);
        if grain.length > 0.0 {
            // Neighbours along a wire overlap; together they reach the wire's strength.
            strength *= grain.length / (sigma * 2.5066);
        }
        (strength > 0.004).then_some(Spot { column, row, strength, sigma, array: grain.array })
    });
    seen.collect()
}

/// exp(-x) for x in [0, 8), by table.
struct Decay(Vec<f32>);

impl Decay {
    fn new() -> Self {
        Self((0..=1024).map(|i| libm::expf(-(i as f32) / 128.0)).collect())
    }

    fn at(&self, x: f32) -> f32 {
        self.0[((x * 128.0) as usize).min(1024)]
    }
}

/// Draws all grains onto the slice.
pub(crate) fn planes(view: &View, grains: &[Grain], look: &MetalLook) -> MetalPlanes {
    let size = view.rows * view.columns;
    let mut planes = MetalPlanes { array: vec![0.0; size], other: vec![0.0; size], ripple: Vec::new() };
    let decay = Decay::new();
    let spots = spots(view, grains, look.blur);
    for spot in &spots {
        let plane = if spot.array { &mut planes.array } else { &mut planes.other };
        let [columns, rows] = view.window(spot.column, spot.row, spot.sigma * 3.3);
        let half = 0.5 / (spot.sigma * spot.sigma);
        for row in rows {
            let y = (row as f32 - spot.row) * view.spacing[0];
            for column in columns.clone() {
                let x = (column as f32 - spot.column) * view.spacing[1];
                plane[row * view.columns + column] += spot.strength * decay.at((x * x + y * y) * half);
            }
        }
    }
    planes.ripple = ripples(view, &spots, look, &decay);
    planes
}

/// Waves around each blob: what sharp reconstruction kernels leave; along a dense row they join to parallel lines.
fn ripples(view: &View, spots: &[Spot], look: &MetalLook, decay: &Decay) -> Vec<f32> {
    let [height, wave] = look.ripple;
    let mut plane = vec![0.0; view.rows * view.columns];
    if height <= 0.0 {
        return plane;
    }
    let sine: Vec<f32> = (0..512).map(|i| libm::sinf(i as f32 / 512.0 * std::f32::consts::TAU)).collect();
    for spot in spots.iter().filter(|spot| spot.strength > 0.05) {
        let start = 1.3 * spot.sigma;
        let [columns, rows] = view.window(spot.column, spot.row, start + 3.0 * wave);
        for row in rows {
            let y = (row as f32 - spot.row) * view.spacing[0];
            for column in columns.clone() {
                let x = (column as f32 - spot.column) * view.spacing[1];
                let waves = ((x * x + y * y).sqrt() - start) / wave;
                if waves > 0.0 {
                    let phase = (waves * 512.0) as usize & 511;
                    plane[row * view.columns + column] -=
                        spot.strength * height * sine[phase] * decay.at(waves * 1.3);
                }
            }
        }
    }
    plane
}

/// The error that a reconstruction makes because metal hardens the beam and stops it, in HU.
///
/// Rays through the metal of the slice are followed at three energies (Beer and Lambert); the difference between what
/// the detector sees and what a single energy would give is reconstructed by filtered back-projection (Ram-Lak).
pub(crate) fn streaks(view: &View, grains: &[Grain], look: &MetalLook, draw: &mut Draw) -> Vec<f32> {
    let mut image = vec![0.0; view.rows * view.columns];
    let spots = spots(view, grains, look.blur * 0.5);
    if look.streaks <= 0.0 || spots.is_empty() {
        return image;
    }
    let [height, width] = [view.rows as f32 * view.spacing[0], view.columns as f32 * view.spacing[1]];
    let reach = 0.5 * (height * height + width * width).sqrt() + 2.0;
    let bins = 256;
    let step = 2.0 * reach / bins as f32;
    let small = [view.columns.div_ceil(2) + 1, view.rows.div_ceil(2) + 1];
    let mut coarse = vec![0.0; small[0] * small[1]];
    let offset = draw.unit();
    for i in 0..look.views {
        let angle = (i as f32 + offset) / look.views as f32 * std::f32::consts::PI;
        let (sin, cos) = libm::sincosf(angle);
        let (_, towards) = libm::sincosf(angle - look.direction[0]);
        let weight = 1.0 - look.direction[1] * (1.0 - towards * towards * towards * towards * 2.6);
        let row = error_of_rays(view, &spots, look, [cos, sin], [bins as f32, step], draw);
        let filtered = ramp(&row, step);
        let gain = weight * std::f32::consts::PI / look.views as f32 * 50_000.0 * look.streaks;
        back_project(view, &filtered, [cos, sin], step, gain, &mut coarse, small[0]);
    }
    for row in 0..view.rows {
        for column in 0..view.columns {
            let (x, y) = (column / 2, row / 2);
            let (fx, fy) = ((column % 2) as f32 * 0.5, (row % 2) as f32 * 0.5);
            let i = y * small[0] + x;
            let top = coarse[i] + (coarse[i + 1] - coarse[i]) * fx;
            let low = coarse[i + small[0]] + (coarse[i + small[0] + 1] - coarse[i + small[0]]) * fx;
            let value = top + (low - top) * fy;
            image[row * view.columns + column] = value / (1.0 + value.abs() / 2200.0);
        }
    }
    image
}

/// One projection: measured minus ideal attenuation by detector bin.
fn error_of_rays(
    view: &View,
    spots: &[Spot],
    look: &MetalLook,
    [cos, sin]: [f32; 2],
    [bins, step]: [f32; 2],
    draw: &mut Draw,
) -> Vec<f32> {
    let mut metal = vec![0.0_f32; bins as usize];
    for spot in spots {
        let x = (spot.column + 0.5 - view.columns as f32 / 2.0) * view.spacing[1];
        let y = (spot.row + 0.5 - view.rows as f32 / 2.0) * view.spacing[0];
        let middle = (x * cos + y * sin) / step + bins / 2.0;
        let sigma = (spot.sigma + 0.12).max(0.6 * step) / step;
        let reach = 2.5 * sigma;
        let from = (middle - reach).max(0.0) as usize;
        for bin in from..((middle + reach) as usize + 1).min(metal.len()) {
            let away = (bin as f32 + 0.5 - middle) / sigma;
            metal[bin] += spot.strength * look.platinum / (1.0 + away * away * away * away);
        }
    }
    // Attenuation of platinum at about 50, 70 and 90 keV per mm, and the share of rays there.
    const ENERGIES: [(f32, f32); 3] = [(14.0, 0.3), (8.0, 0.4), (5.0, 0.3)];
    let mean: f32 = ENERGIES.iter().map(|(mu, share)| mu * share).sum();
    metal
        .into_iter()
        .map(|length| {
            if length < 1e-3 {
                return 0.0;
            }
            let through: f32 = ENERGIES.iter().map(|(mu, share)| share * libm::expf(-mu * length)).sum();
            let seen = -libm::logf((through + look.scatter) / (1.0 + look.scatter));
            let noise = look.starved * draw.normal() * (1.0 / (through + look.scatter)).sqrt();
            seen - mean * length + noise
        })
        .collect()
}

/// The ramp filter of Ramachandran and Lakshminarayanan, cut after 64 bins, with the Hann window that scanners soften it by:
/// without, few projections leave stripes that no scanner shows.
fn ramp(row: &[f32], step: f32) -> Vec<f32> {
    let sharp = sharp_ramp(row, step);
    let at = |i: usize| sharp[i.min(sharp.len() - 1)];
    (0..sharp.len()).map(|i| 0.5 * at(i) + 0.25 * (at(i.saturating_sub(1)) + at(i + 1))).collect()
}

fn sharp_ramp(row: &[f32], step: f32) -> Vec<f32> {
    let mut out = vec![0.0; row.len()];
    for (i, &value) in row.iter().enumerate().filter(|(_, value)| **value != 0.0) {
        out[i] += 0.25 * value / step;
        for n in (1..64).step_by(2) {
            let share = value / (std::f32::consts::PI * std::f32::consts::PI * (n * n) as f32 * step);
            if i >= n {
                out[i - n] -= share;
            }
            if i + n < out.len() {
                out[i + n] -= share;
            }
        }
    }
    out
}

fn back_project(
    view: &View,
    row: &[f32],
    [cos, sin]: [f32; 2],
    step: f32,
    gain: f32,
    out: &mut [f32],
    across: usize,
) {
    let bins = row.len();
    let advance = 2.0 * view.spacing[1] * cos / step;
    for (i, line) in out.chunks_exact_mut(across).enumerate() {
        let x = (0.5 - view.columns as f32 / 2.0) * view.spacing[1];
        let y = (2.0 * i as f32 + 0.5 - view.rows as f32 / 2.0) * view.spacing[0];
        let mut at = (x * cos + y * sin) / step + bins as f32 / 2.0 - 0.5;
        for pixel in line {
            let base = (at.max(0.0) as usize).min(bins - 2);
            let t = at - base as f32;
            *pixel += gain * (row[base] + (row[base + 1] - row[base]) * t);
            at += advance;
        }
    }
}
