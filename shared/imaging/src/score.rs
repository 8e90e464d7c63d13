//! How clearly an electrode array is visible in a slice: the order in which people should look at slices.
//!
//! An array is metal: brighter than bone by as much as bone is brighter than soft tissue; it is thin (contacts and the blurred band
//! that they melt into are under [`THICKEST_MM`]); its parts lie close together and form an arc, ring or spiral of some millimetres.
//! Each of these is one [`Features`] number, turned into 0..=1 by a ramp. A filling or the skull is too thick, a lead is one straight
//! line, and bone is no brighter than the brightest thick bone: that one, found by a grey opening, is the measure of contrast.
//!
//! The ramps were set on real slices: five with an array score above 0.9, without the array below 0.2, and 108 slices of a head
//! without an implant below 0.15. Blur and faint contacts lower the score (0.01 to 0.9), as they should.

use crate::components::{Component, Connectivity, components};
use crate::distance::to_nearest_set;
use crate::grid::{Grid, Image8, Mask, Spacing};
use crate::measure::{farthest, hull};
use crate::opening::opening;

/// Assumed where a picture has no PixelSpacing: what CBCT of the ear has.
pub const USUAL_SPACING: Spacing = [0.2, 0.2];

/// The greatest thickness of an array's image, in mm: 0.8 mm at the base, and bloom.
pub const THICKEST_MM: f64 = 2.4;

/// Parts nearer than this belong together, in mm: the widest contact pitch (2.4 mm) and a faint contact between.
pub const GAP_MM: f64 = 4.0;

/// What the score is made of; all zero where no metal is found.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Features {
    /// How much brighter metal is than bone, in units of bone over soft tissue.
    pub contrast: f64,
    /// The grey of the brightest tenth, of white (1): where a slice shows no thick bone to compare with, thin bone stays mid-grey in
    /// every usual window and metal doesn't.
    pub brightness: f64,
    /// The largest extent of the group of parts, in mm.
    pub extent_mm: f64,
    /// The group's second principal axis over its first: 0 is a line, 1 a ring or a round cloud.
    pub roundness: f64,
    /// The part of the group's convex hull that isn't metal: 0 is a filled blob, near 1 a thin ring.
    pub hollowness: f64,
    /// How many parts the group has, a long band counting for as many as would fit it.
    pub contacts: f64,
}

/// How clearly an electrode array is visible, 0 to 1; higher is clearer. `spacing` is the slice's PixelSpacing.
pub fn array_score(image: &Image8, spacing: Option<Spacing>) -> f32 {
    features(image, spacing).score() as f32
}

/// The features of the group of bright parts that scores best.
pub fn features(image: &Image8, spacing: Option<Spacing>) -> Features {
    let spacing =
        spacing.filter(|mm| mm.iter().all(|mm| (0.01..100.0).contains(mm))).unwrap_or(USUAL_SPACING);
    let levels = Levels::of(image, spacing);
    let metal = image.map(|&grey| f64::from(grey) > levels.threshold());
    let groups = groups(thin_parts(&metal, spacing), spacing);
    let described = groups.iter().map(|group| describe(group, image, &levels, spacing));
    described.max_by(|a, b| a.score().total_cmp(&b.score())).unwrap_or_default()
}

impl Features {
    /// The score, 0 to 1: the ramps of contrast and brightness times the geometric mean of the others.
    pub fn score(&self) -> f64 {
        let arrangement = [
            ramp(self.extent_mm, 3.0, 6.0) * ramp(-self.extent_mm, -45.0, -32.0),
            ramp(self.roundness, 0.1, 0.4),
            ramp(self.hollowness, 0.3, 0.7),
            ramp(self.contacts, 1.0, 7.0),
        ];
        let mean = arrangement.iter().product::<f64>().powf(1.0 / arrangement.len() as f64);
        ramp(self.contrast, 0.15, 0.8) * ramp(self.brightness, 0.38, 0.6) * mean
    }
}

/// 0.01 up to `low`, 1 from `high` on: never 0, so that poor slices keep an order.
fn ramp(x: f64, low: f64, high: f64) -> f64 {
    ((x - low) / (high - low)).clamp(0.01, 1.0)
}

/// Greys that parts are measured against, so that the window doesn't matter.
struct Levels {
    /// The median: soft tissue.
    tissue: f64,
    /// Bone: the brightest of what is thicker than an array, all but 0.5 % of the picture.
    bone: f64,
    /// What all but 0.05 % of the picture don't exceed: metal, if there is any.
    peak: f64,
}

impl Levels {
    fn of(image: &Image8, spacing: Spacing) -> Self {
        let radius = |mm: f64| (THICKEST_MM / 2.0 / mm).round().max(1.0) as usize;
        let thick = opening(image, (radius(spacing[0]), radius(spacing[1])));
        Self { tissue: level(image, 0.5), bone: level(&thick, 0.995), peak: level(image, 0.9995) }
    }

    /// The grey above which a pixel may be metal.
    fn threshold(&self) -> f64 {
        self.bone + 0.2 * (self.peak - self.bone).max(0.0)
    }

    /// A grey as the contrast over bone, in units of bone over soft tissue.
    fn contrast(&self, grey: f64) -> f64 {
        (grey - self.bone) / (self.bone - self.tissue).max(32.0)
    }
}

/// The grey that a part of the pixels (0..=1) doesn't exceed.
fn level(image: &Image8, part: f64) -> f64 {
    let mut histogram = [0_usize; 256];
    image.values().iter().for_each(|&grey| histogram[usize::from(grey)] += 1);
    let wanted = (part * image.values().len() as f64).ceil() as usize;
    let mut below = 0;
    let grey = histogram.iter().position(|n| {
        below += n;
        below >= wanted
    });
    grey.unwrap_or(255) as f64
}

/// The parts that are neither specks nor too thick for an array: at most 300, the largest.
fn thin_parts(metal: &Mask, spacing: Spacing) -> Vec<Component> {
    let pixel = spacing[0] * spacing[1];
    let mut parts = components(metal, Connectivity::Eight);
    parts.retain(|part| part.area() as f64 * pixel >= 0.1);
    parts.sort_by_key(|part| std::cmp::Reverse(part.area()));
    parts.truncate(300);
    parts.retain(|part| !is_thick(part, spacing));
    parts
}

fn is_thick(part: &Component, spacing: Spacing) -> bool {
    let disc = std::f64::consts::PI * THICKEST_MM * THICKEST_MM / 4.0;
    let region = part.region;
    if (part.area() as f64 * spacing[0] * spacing[1]) < disc {
        return false;
    }
    // Longer than any array by far: the skull, the table. Spares the distance transform of most of the picture.
    if (region.rows as f64 * spacing[0]).hypot(region.columns as f64 * spacing[1]) > 80.0 {
        return true;
    }
    // The box with a rim, in which the part is false.
    let Ok(mut around) = Grid::filled(region.rows + 2, region.columns + 2, true) else { return true };
    part.pixels
        .iter()
        .for_each(|&(row, column)| around[(row - region.row + 1, column - region.column + 1)] = false);
    to_nearest_set(&around, spacing)
        .values()
        .iter()
        .any(|&depth| 2.0 * depth > THICKEST_MM + spacing[0].max(spacing[1]))
}

/// Parts joined where no gap is over [`GAP_MM`].
fn groups(parts: Vec<Component>, spacing: Spacing) -> Vec<Vec<Component>> {
    let mut groups: Vec<Vec<Component>> = Vec::new();
    for part in parts {
        let (near, far): (Vec<_>, Vec<_>) =
            groups.into_iter().partition(|group| group.iter().any(|other| are_near(&part, other, spacing)));
        groups = far;
        groups.push(near.into_iter().flatten().chain([part]).collect());
    }
    groups
}

fn are_near(a: &Component, b: &Component, spacing: Spacing) -> bool {
    let apart = |a: usize, a_length: usize, b: usize, b_length: usize| {
        b.saturating_sub(a + a_length - 1).max(a.saturating_sub(b + b_length - 1)) as f64
    };
    let (ra, rb) = (a.region, b.region);
    let rows = apart(ra.row, ra.rows, rb.row, rb.rows) * spacing[0];
    let columns = apart(ra.column, ra.columns, rb.column, rb.columns) * spacing[1];
    // At the least one pixel's width: on coarse grids neighbouring parts have a pixel between them.
    let gap = GAP_MM.max(2.0 * spacing[0].max(spacing[1]));
    let distance = |p: (usize, usize), q: (usize, usize)| {
        (p.0.abs_diff(q.0) as f64 * spacing[0]).powi(2) + (p.1.abs_diff(q.1) as f64 * spacing[1]).powi(2)
    };
    rows.hypot(columns) <= gap
        && a.pixels.iter().any(|&p| b.pixels.iter().any(|&q| distance(p, q) <= gap * gap))
}

fn describe(group: &[Component], image: &Image8, levels: &Levels, spacing: Spacing) -> Features {
    let pixels = || group.iter().flat_map(|part| part.pixels.iter().copied());
    let mut greys: Vec<f64> = pixels().map(|at| f64::from(image[at])).collect();
    greys.sort_unstable_by(f64::total_cmp);
    let n = greys.len() as f64;
    let mean = greys.iter().sum::<f64>() / n;
    let shape = Shape::of(pixels(), spacing);
    // A band a millimetre wide hides a contact every two.
    let contacts =
        group.iter().map(|part| (part.area() as f64 * spacing[0] * spacing[1] / 2.0).floor().max(1.0)).sum();
    Features {
        contrast: levels.contrast(mean),
        brightness: greys.get(greys.len() * 9 / 10).unwrap_or(&0.0) / 255.0,
        extent_mm: shape.extent,
        roundness: shape.roundness,
        hollowness: 1.0 - n * spacing[0] * spacing[1] / shape.hull_area,
        contacts,
    }
}

/// The outline of a group of pixels, in mm.
struct Shape {
    extent: f64,
    roundness: f64,
    hull_area: f64,
}

impl Shape {
    fn of(pixels: impl Iterator<Item = (usize, usize)>, spacing: Spacing) -> Self {
        let pixels: Vec<_> = pixels.map(|(row, column)| (row as i64, column as i64)).collect();
        let corners = pixels.iter().flat_map(|&(row, column)| {
            [(row, column), (row + 1, column), (row, column + 1), (row + 1, column + 1)]
        });
        let hull = hull(corners.collect());
        let next = hull.iter().cycle().skip(1);
        let doubled: i64 = hull.iter().zip(next).map(|(a, b)| a.1 * b.0 - b.1 * a.0).sum();
        let hull_area = (doubled.abs() as f64 / 2.0 * spacing[0] * spacing[1]).max(f64::MIN_POSITIVE);
        Self {
            extent: farthest(&hull, spacing).unwrap_or(0.0),
            roundness: roundness(&pixels, spacing),
            hull_area,
        }
    }
}

/// The second principal axis over the first.
fn roundness(pixels: &[(i64, i64)], spacing: Spacing) -> f64 {
    let n = pixels.len() as f64;
    let points = || pixels.iter().map(|&(row, column)| (row as f64 * spacing[0], column as f64 * spacing[1]));
    let mean = points().fold((0.0, 0.0), |sum, point| (sum.0 + point.0 / n, sum.1 + point.1 / n));
    let (rows, both, columns) = points()
        .map(|(y, x)| (y - mean.0, x - mean.1))
        .fold((0.0, 0.0, 0.0), |sum, (y, x)| (sum.0 + y * y, sum.1 + y * x, sum.2 + x * x));
    let (middle, spread) = ((rows + columns) / 2.0, (((rows - columns) / 2.0).powi(2) + both * both).sqrt());
    if middle > 0.0 { ((middle - spread).max(0.0) / (middle + spread)).sqrt() } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::real;

    const CBCT: Option<Spacing> = Some([0.2, 0.2]);

    /// Bone of grey 110 to 130 with thin septa in soft tissue of grey 40, and what is drawn on it.
    fn slice(metal: impl Fn(f64, f64) -> Option<u8>) -> Image8 {
        Grid::from_fn(200, 240, |row, column| {
            let (y, x) = (row as f64 * 0.2, column as f64 * 0.2);
            let bone = (y - 20.0).hypot(x - 20.0) < 14.0;
            let ground = match bone {
                true => 110 + ((row / 5 + column / 7) % 5 * 4) as u8,
                false => 40 + (row * column % 7) as u8,
            };
            metal(y, x).unwrap_or(ground)
        })
        .unwrap()
    }

    /// A disc around each position.
    fn discs(at: Vec<(f64, f64)>, radius: f64, grey: u8) -> Image8 {
        slice(move |y, x| at.iter().any(|&(v, u)| (y - v).hypot(x - u) < radius).then_some(grey))
    }

    fn ring(contacts: usize, radius: f64) -> Vec<(f64, f64)> {
        let angle = |i: usize| 5.0 * i as f64 / contacts as f64;
        (0..contacts).map(|i| (20.0 + radius * angle(i).sin(), 20.0 + radius * angle(i).cos())).collect()
    }

    #[test]
    fn dotted_and_dense_arrays_score_high() {
        for (contacts, grey) in [(12, 250), (22, 250), (12, 200), (60, 230)] {
            let score = array_score(&discs(ring(contacts, 4.5), 0.5, grey), CBCT);
            assert!(score > 0.6, "{contacts} contacts of grey {grey}: {score}");
        }
    }

    #[test]
    fn what_is_no_array_scores_low() {
        let line = (0..200).map(|i| (10.0 + 0.1 * f64::from(i), 15.0 + 0.08 * f64::from(i))).collect();
        let cases = [
            ("bone alone", slice(|_, _| None)),
            ("a filling", discs(vec![(20.0, 20.0)], 4.0, 255)),
            ("a lead", discs(line, 0.4, 255)),
            ("teeth", discs((0..6).map(|i| (20.0, 5.0 + 5.0 * f64::from(i))).collect(), 1.8, 250)),
            (
                "thin bone alone",
                slice(|y, x| Some(if ((y - 20.0).hypot(x - 20.0) - 4.5).abs() < 0.4 { 110 } else { 50 })),
            ),
            ("one dot", discs(vec![(20.0, 20.0)], 0.5, 255)),
            ("a blank picture", slice(|_, _| Some(0))),
        ];
        for (name, image) in cases {
            let score = array_score(&image, CBCT);
            assert!(score < 0.25, "{name}: {score} {:?}", features(&image, CBCT));
        }
    }

    #[test]
    fn any_picture_and_spacing_give_a_number() {
        for image in
            [Grid::filled(1, 1, 7).unwrap(), Grid::from_fn(40, 3, |r, c| (r * 90 + c) as u8).unwrap()]
        {
            for spacing in [None, Some([0.0, f64::NAN]), Some([1e-300, 1e300]), Some([99.0, 0.011])] {
                assert!((0.0..=1.0).contains(&array_score(&image, spacing)));
            }
        }
    }

    #[test]
    fn every_real_implant_scores_far_above_every_slice_of_a_head_without_one() {
        let (Some(implants), Some(head)) = (real::cbct_pictures(), real::head_pictures()) else { return };
        let lowest = implants.iter().map(|(_, image)| array_score(image, CBCT)).fold(1.0, f32::min);
        let highest = head.iter().map(|image| array_score(image, Some([0.957, 0.957]))).fold(0.0, f32::max);
        assert!(lowest > 0.9 && highest < 0.2, "{lowest} {highest}");
    }
}
