//! The metal: an electrode array in its cochlea, its lead and reference electrode, and other wires, coils, clips and fillings.

use crate::arrays::{ArrayModel, MODELS, Vendor};
use crate::cochlea::Cochlea;
use crate::draw::Draw;
use crate::space::{Vector, add, cross, mix, norm, scale, sub, unit};

/// A small piece of metal, drawn as a Gaussian blob.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Grain {
    pub(crate) at: Vector,
    /// Against a large contact (1), at the blob's middle or along a wire's axis.
    pub(crate) strength: f32,
    /// Half width (one sigma) before the scanner's blur, mm.
    pub(crate) sigma: f32,
    /// Length of wire that the grain stands for, mm; 0 for a grain that stands alone.
    pub(crate) length: f32,
    /// Part of the electrode array, thus of the truth.
    pub(crate) array: bool,
}

/// One electrode contact.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Contact {
    pub(crate) at: Vector,
    /// Angle from the round window around the spiral, degrees.
    pub(crate) angle: f32,
}

/// An array in its place.
pub(crate) struct Implant {
    pub(crate) model: &'static ArrayModel,
    /// From base to tip.
    pub(crate) contacts: Vec<Contact>,
    /// The array's middle line from base to tip, about every 0.2 mm.
    pub(crate) centreline: Vec<Vector>,
    pub(crate) grains: Vec<Grain>,
}

const WIRE_STEP: f32 = 0.16;

impl Implant {
    pub(crate) fn random(draw: &mut Draw, cochlea: &Cochlea, model: &'static ArrayModel) -> Self {
        let place = Placement::random(draw, cochlea, model);
        let active = model.pitch_mm * (model.contacts - 1) as f32;
        let contacts: Vec<Contact> = (0..model.contacts)
            .map(|i| {
                let from_tip = model.pitch_mm * (model.contacts - 1 - i) as f32;
                let slip = 0.03 * model.pitch_mm * draw.normal();
                let (at, angle) = place.at(from_tip + slip);
                Contact { at: add(at, draw.jitter(0.05)), angle }
            })
            .collect();
        let steps = (active / 0.2) as usize;
        let centreline = (0..=steps).map(|i| place.at(active * (1.0 - i as f32 / steps as f32)).0).collect();
        let mut implant = Self { model, contacts, centreline, grains: Vec::new() };
        implant.add_contacts(draw);
        implant.add_inner_wire(draw);
        implant.add_lead(draw, &place, active);
        implant
    }

    /// The middle of all contacts.
    pub(crate) fn middle(&self) -> Vector {
        let sum = self.contacts.iter().fold([0.0; 3], |sum, contact| add(sum, contact.at));
        scale(sum, 1.0 / self.contacts.len().max(1) as f32)
    }

    fn add_contacts(&mut self, draw: &mut Draw) {
        let length = draw.range(0.3, 0.65).min(self.model.pitch_mm * 0.75);
        let uneven = draw.range(0.05, 0.35);
        let dim = draw.range(0.45, 0.9);
        let last = self.contacts.len() - 1;
        for i in 0..=last {
            let apical = i as f32 / last as f32;
            let [tip, base] = self.model.diameter_mm;
            let diameter = base + (tip - base) * apical;
            let single = i + self.model.single_contacts > last;
            let mut strength = (1.0 + uneven * draw.normal()).clamp(0.3, 1.6) * (0.75 + 0.4 * diameter);
            if single {
                strength *= dim;
            }
            let at = self.contacts[i].at;
            let along = unit(sub(self.contacts[(i + 1).min(last)].at, self.contacts[i.saturating_sub(1)].at));
            for part in [-1.0, 0.0, 1.0] {
                let at = add(at, scale(along, part * length / 3.0));
                let sigma = 0.06 + 0.16 * diameter;
                self.grains.push(Grain { at, strength: strength * 0.4, sigma, length: 0.0, array: true });
            }
        }
    }

    fn add_inner_wire(&mut self, draw: &mut Draw) {
        let strength = draw.range(0.03, 0.45);
        let points = resample(&self.centreline, WIRE_STEP);
        let count = points.len() as f32;
        for (i, at) in points.into_iter().enumerate() {
            // Each contact has its own wire, so the bundle thins towards the tip.
            let strength = strength * (1.0 - 0.75 * i as f32 / count);
            self.grains.push(Grain { at, strength, sigma: 0.12, length: WIRE_STEP, array: true });
        }
    }

    fn add_lead(&mut self, draw: &mut Draw, place: &Placement, active: f32) {
        let straight = draw.range(0.5, 4.5);
        let start = place.at(active + 0.5 * self.model.pitch_mm.min(1.0)).0;
        let end = place.at(active + straight + 0.6).0;
        let heading = unit(sub(end, start));
        let mut points = vec![start, end];
        points.extend(wander(draw, end, heading, 0.3, [6.0, 40.0]));
        // Often as bright as the contacts: brightness alone must not tell.
        let strength = if draw.chance(0.65) { draw.range(0.6, 1.3) } else { draw.range(0.1, 0.7) };
        let fade = if draw.chance(0.25) { draw.range(3.0, 10.0) } else { 1e6 };
        let thick = draw.range(0.05, 0.18);
        for (i, at) in resample(&points, WIRE_STEP).into_iter().enumerate() {
            let strength = strength * (1.0 - (i as f32 * WIRE_STEP / fade)).max(0.12);
            self.grains.push(Grain { at, strength, sigma: thick, length: WIRE_STEP, array: false });
        }
    }
}

/// How an array came to lie: curve, depth, and what went wrong.
struct Placement {
    path: crate::cochlea::Path,
    /// How much less deep than planned, mm.
    short: f32,
    depth: f32,
    /// Distance from the tip at which the array folds back on itself, mm.
    fold: Option<f32>,
    /// Depth from which it lies in the other scala, and how much higher, mm.
    shift: Option<(f32, f32)>,
    waves: [f32; 3],
}

impl Placement {
    fn random(draw: &mut Draw, cochlea: &Cochlea, model: &ArrayModel) -> Self {
        let share = model.radius_share * draw.range(0.97, 1.03);
        let outwards = draw.range(-0.35, 0.15);
        let short = match draw.below(10) {
            0 => draw.range(2.0, 8.0),
            1..=3 => draw.range(0.0, 2.5),
            _ => draw.range(-0.8, 0.8),
        };
        Self {
            path: cochlea.path(share, outwards),
            short,
            depth: model.depth_mm,
            fold: draw.chance(0.02).then(|| draw.range(1.0, 4.0)),
            shift: draw.chance(0.15).then(|| (draw.range(8.0, 18.0), draw.range(0.5, 1.1))),
            waves: [draw.range(0.0, 0.15), draw.range(2.0, 6.0), draw.range(0.0, 6.0)],
        }
    }

    /// The point `from_tip` mm from the last contact along the array, and its angle.
    fn at(&self, from_tip: f32) -> (Vector, f32) {
        let folded = self.fold.filter(|&fold| from_tip < fold);
        let from_tip = folded.map_or(from_tip, |fold| 2.0 * fold - from_tip);
        let depth = (self.depth - self.short - from_tip).min(33.0);
        let (mut at, angle) = self.path.at(depth);
        let wave = self.waves[0] * libm::sinf(depth / self.waves[1] * std::f32::consts::TAU + self.waves[2]);
        let inwards = unit([-at[0], -at[1], 0.0]);
        // Straight outside of the cochlea: no waves there.
        let bend = (depth / 4.0).clamp(0.0, 1.0);
        at = add(at, scale(inwards, wave * bend + if folded.is_some() { 0.7 } else { 0.0 }));
        if let Some((from, height)) = self.shift {
            at[2] += height * ((depth - from) / 1.5).clamp(0.0, 1.0);
        }
        (at, angle)
    }
}

/// Points every `step` mm along a polyline.
fn resample(points: &[Vector], step: f32) -> Vec<Vector> {
    let mut out = Vec::new();
    let mut ahead = 0.0;
    for pair in points.windows(2) {
        let length = norm(sub(pair[1], pair[0]));
        while ahead < length {
            out.push(mix(pair[0], pair[1], ahead / length.max(1e-6)));
            ahead += step;
        }
        ahead -= length;
    }
    out
}

/// A smooth, bending way through space.
fn wander(draw: &mut Draw, from: Vector, heading: Vector, bend: f32, length: [f32; 2]) -> Vec<Vector> {
    let (mut at, mut heading) = (from, heading);
    let length = draw.range(length[0], length[1]);
    let mut turn = draw.jitter(bend);
    let flat = draw.range(0.2, 1.0);
    let mut points = vec![at];
    for step in 0..(length / 0.5) as usize {
        if step % 8 == 7 {
            turn = draw.jitter(bend);
        }
        heading = unit(add(heading, scale([turn[0], turn[1], turn[2] * flat], 0.25)));
        at = add(at, scale(heading, 0.5));
        points.push(at);
    }
    points
}

/// Metal that is no array, anywhere in the picture. `reach` is half the picture's width in mm.
pub(crate) fn other_metal(draw: &mut Draw, reach: f32, more: f32) -> Vec<Grain> {
    let mut grains = Vec::new();
    while draw.chance((0.38 * more).min(0.6)) && grains.len() < 2000 {
        let start = place_aside(draw, 5.0, reach);
        let heading = if draw.chance(0.25) {
            unit(add(scale(start, -1.0), draw.jitter(3.0)))
        } else {
            let [x, y, z] = draw.jitter(1.0);
            unit([x, y, z * 0.35])
        };
        let points = wander(draw, start, heading, 0.25, [3.0, 25.0]);
        wire(draw, &mut grains, &points);
    }
    if draw.chance(0.18 * more) {
        coil(draw, &mut grains, reach);
    }
    while draw.chance((0.22 * more).min(0.5)) && grains.len() < 4000 {
        // A wire that pierces the slice.
        let start = place_aside(draw, 6.0, reach);
        let [x, y, _] = draw.jitter(0.5);
        let along = unit([x, y, 1.0]);
        let points = [sub(start, scale(along, 3.0)), add(start, scale(along, 3.0))];
        wire(draw, &mut grains, &points);
    }
    if draw.chance(0.07 * more) {
        clips(draw, &mut grains, reach);
    }
    grains
}

/// A clip, a filling, or a few of them together.
pub(crate) fn clips(draw: &mut Draw, grains: &mut Vec<Grain>, reach: f32) {
    let centre = place_aside(draw, 6.0, reach);
    let spread = draw.range(0.15, 1.2);
    for _ in 0..4 + draw.below(10) {
        let at = add(centre, draw.jitter(spread));
        let strength = draw.range(0.5, 2.5);
        let sigma = draw.range(0.15, 0.2 + 0.3 * spread);
        grains.push(Grain { at, strength, sigma, length: 0.0, array: false });
    }
}

/// A reference electrode: a ball at the end of a wire, under the muscle beside the skull.
pub(crate) fn reference(draw: &mut Draw, grains: &mut Vec<Grain>, reach: f32) {
    let end = place_aside(draw, 9.0, reach);
    let outwards = unit(add(end, draw.jitter(3.0)));
    let points = wander(draw, end, outwards, 0.25, [4.0, 25.0]);
    wire(draw, grains, &points);
    let (strength, sigma) = (draw.range(1.5, 3.0), draw.range(0.3, 0.6));
    grains.push(Grain { at: end, strength, sigma, length: 0.0, array: false });
}

fn place_aside(draw: &mut Draw, nearest: f32, reach: f32) -> Vector {
    let (sin, cos) = libm::sincosf(draw.range(0.0, std::f32::consts::TAU));
    let away = draw.range(nearest, (reach * 1.1).max(nearest + 2.0));
    [away * cos, away * sin * 0.8, draw.range(-1.0, 1.0)]
}

fn wire(draw: &mut Draw, grains: &mut Vec<Grain>, points: &[Vector]) {
    let strength = draw.range(0.25, 1.6);
    let sigma = draw.range(0.05, 0.22);
    let pair = draw.chance(0.3).then(|| draw.range(0.3, 0.9));
    let across = unit(cross(sub(points[points.len() - 1], points[0]), [0.0, 0.0, 1.0]));
    for at in resample(points, WIRE_STEP) {
        let grain = Grain { at, strength, sigma, length: WIRE_STEP, array: false };
        grains.push(grain);
        if let Some(gap) = pair {
            grains.push(Grain { at: add(at, scale(across, gap)), ..grain });
        }
    }
}

/// The receiver's coil, cut so that it shows as a zig-zag.
fn coil(draw: &mut Draw, grains: &mut Vec<Grain>, reach: f32) {
    let start = place_aside(draw, 9.0, reach);
    let heading = draw.jitter(1.0);
    let along = unit([heading[0], heading[1], 0.1 * heading[2]]);
    let across = unit(cross(along, [0.0, 0.0, 1.0]));
    let (period, height) = (draw.range(0.7, 2.2), draw.range(0.5, 2.6));
    let points: Vec<Vector> = (0..6 + draw.below(16))
        .map(|i| {
            let side = if i % 2 == 0 { height } else { -height };
            add(start, add(scale(along, i as f32 * period * 0.5), scale(across, side * 0.5)))
        })
        .collect();
    wire(draw, grains, &points);
}

/// Any array of this vendor, or of any: vendors as often as they occur, then their arrays.
pub(crate) fn any_model(draw: &mut Draw, vendor: Option<Vendor>) -> &'static ArrayModel {
    use Vendor::{AdvancedBionics, Cochlear, MedEl, Oticon};
    let drawn = match draw.below(100) {
        0..35 => Cochlear,
        35..55 => AdvancedBionics,
        55..92 => MedEl,
        _ => Oticon,
    };
    let vendor = vendor.unwrap_or(drawn);
    let count = MODELS.iter().filter(|model| model.vendor == vendor).count();
    let chosen = draw.below(count);
    MODELS.iter().filter(|model| model.vendor == vendor).nth(chosen).unwrap_or(&MODELS[0])
}
