//! Random changes to a picture and its mask, so that a network doesn't learn them by heart.

use modiolus_imaging::grid::GridError;
use modiolus_imaging::{Grid, Image8, Mask};
use modiolus_pipeline::plan::Augmentation;
use rand::Rng;

/// A picture changed at random within the ranges of `changes`, and its mask moved with it. What comes in from outside of the
/// picture is black.
///
/// Geometry first (mirror, shear, zoom, rotation around the middle, shift), in one step: bilinear for the picture, nearest
/// for the mask. Then blur, gamma, contrast, brightness, noise.
///
/// # Errors
/// When the mask has another size than the picture.
pub fn augment(
    image: &Image8,
    mask: &Mask,
    changes: &Augmentation,
    random: &mut impl Rng,
) -> Result<(Image8, Mask), GridError> {
    image.check_same_size(mask)?;
    let source = Source::drawn(changes, image.size(), random);
    let moved =
        Grid::from_fn(image.rows(), image.columns(), |row, column| bilinear(image, source.of(row, column)))?;
    let mask = Grid::from_fn(image.rows(), image.columns(), |row, column| {
        let (row, column) = source.of(row, column);
        let at = |x: f32| (x > -0.5).then(|| x.round() as usize);
        at(row).zip(at(column)).and_then(|(row, column)| mask.get(row, column)).copied().unwrap_or(false)
    })?;
    let sigma = within(random, 0.0, changes.blur);
    let blurred = if sigma > 0.1 { blur(&moved, sigma) } else { moved };
    Ok((greys(&blurred, changes, random), mask))
}

/// A number from a range; a range without extent still draws, so that switching one change off leaves the others as they are.
fn within(random: &mut impl Rng, low: f64, high: f64) -> f32 {
    (low + (high - low) * random.random::<f64>()) as f32
}

/// Where each pixel of the changed picture comes from: an affine map.
struct Source {
    matrix: [[f32; 2]; 2],
    middle: (f32, f32),
    shift: (f32, f32),
}

impl Source {
    fn drawn(changes: &Augmentation, (rows, columns): (usize, usize), random: &mut impl Rng) -> Self {
        let mut either_way = |range: f64| within(random, -range, range);
        let angle = either_way(changes.rotation_degrees).to_radians();
        let shear = either_way(changes.shear);
        let zoom = 1.0 + either_way(changes.zoom);
        let shift = (either_way(changes.shift) * rows as f32, either_way(changes.shift) * columns as f32);
        let mut sign = |mirrored: bool| if random.random::<bool>() && mirrored { -1.0 } else { 1.0 };
        let (down, across) = (sign(changes.flip_vertical), sign(changes.flip_horizontal));
        let (sin, cos) = angle.sin_cos();
        Self {
            matrix: [
                [down * cos / zoom, down * -sin / zoom],
                [across * (sin + shear * cos) / zoom, across * (cos - shear * sin) / zoom],
            ],
            middle: ((rows - 1) as f32 / 2.0, (columns - 1) as f32 / 2.0),
            shift,
        }
    }

    fn of(&self, row: usize, column: usize) -> (f32, f32) {
        let (y, x) =
            (row as f32 - self.middle.0 - self.shift.0, column as f32 - self.middle.1 - self.shift.1);
        let [[a, b], [c, d]] = self.matrix;
        (self.middle.0 + a * y + b * x, self.middle.1 + c * y + d * x)
    }
}

fn bilinear(image: &Image8, (row, column): (f32, f32)) -> f32 {
    let (top, left) = (row.floor(), column.floor());
    let (down, right) = (row - top, column - left);
    let grey = |row: f32, column: f32| {
        let inside = row >= 0.0 && column >= 0.0;
        let at = || image.get(row as usize, column as usize).copied();
        inside.then(at).flatten().map_or(0.0, f32::from)
    };
    let line = |row: f32| grey(row, left) * (1.0 - right) + grey(row, left + 1.0) * right;
    line(top) * (1.0 - down) + line(top + 1.0) * down
}

/// Gaussian blur, the border repeated.
fn blur(image: &Grid<f32>, sigma: f32) -> Grid<f32> {
    let radius = (3.0 * sigma).ceil() as usize;
    let weight = |offset: usize| (-(offset as f32 - radius as f32).powi(2) / (2.0 * sigma * sigma)).exp();
    let weights: Vec<f32> = (0..=2 * radius).map(weight).collect();
    let sum: f32 = weights.iter().sum();
    let smooth = |length: usize, value: &dyn Fn(usize) -> f32, at: usize| {
        let tap = |(offset, weight): (usize, &f32)| {
            weight * value((at + offset).saturating_sub(radius).min(length - 1))
        };
        weights.iter().enumerate().map(tap).sum::<f32>() / sum
    };
    let mut across = image.like(0.0);
    let mut both = image.like(0.0);
    for row in 0..image.rows() {
        for column in 0..image.columns() {
            across[(row, column)] = smooth(image.columns(), &|column| image[(row, column)], column);
        }
    }
    for row in 0..image.rows() {
        for column in 0..image.columns() {
            both[(row, column)] = smooth(image.rows(), &|row| across[(row, column)], row);
        }
    }
    both
}

fn greys(image: &Grid<f32>, changes: &Augmentation, random: &mut impl Rng) -> Image8 {
    let gamma = within(random, -1.0, 1.0) * (1.0 + changes.gamma as f32).ln();
    let gamma = gamma.exp();
    let contrast = 1.0 + within(random, -changes.contrast, changes.contrast);
    let brightness = within(random, -changes.brightness, changes.brightness);
    let noise = within(random, 0.0, changes.noise);
    let mean = image.values().iter().sum::<f32>() / image.values().len() as f32 / 255.0;
    // The sum of four uniform numbers is near enough to a Gaussian and cheaper: its standard deviation is 1 / sqrt(3).
    let mut grain = || {
        let parts: u32 = random.random();
        let sum: u32 = parts.to_le_bytes().into_iter().map(u32::from).sum();
        (sum as f32 / 255.0 - 2.0) * 3.0_f32.sqrt()
    };
    image.map(|&grey| {
        let grey = (grey / 255.0).powf(gamma);
        let grey = mean + (grey - mean) * contrast + brightness + noise * grain();
        (grey * 255.0).round().clamp(0.0, 255.0) as u8
    })
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn picture() -> (Image8, Mask) {
        let mask =
            Grid::from_fn(60, 80, |row, column| row.abs_diff(20) < 6 && column.abs_diff(50) < 9).unwrap();
        (mask.map(|&set| if set { 200 } else { 50 }), mask)
    }

    #[test]
    fn nothing_to_change_changes_nothing() {
        let (image, mask) = picture();
        let changed = augment(&image, &mask, &Augmentation::NONE, &mut ChaCha8Rng::seed_from_u64(1)).unwrap();
        assert_eq!(changed, (image, mask));
    }

    #[test]
    fn the_mask_moves_with_its_picture() {
        let (image, mask) = picture();
        let changes = Augmentation {
            rotation_degrees: 30.0,
            shift: 0.1,
            shear: 0.2,
            zoom: 0.2,
            flip_horizontal: true,
            flip_vertical: true,
            ..Augmentation::NONE
        };
        let mut random = ChaCha8Rng::seed_from_u64(2);
        for _ in 0..50 {
            let (image, mask) = augment(&image, &mask, &changes, &mut random).unwrap();
            // Only pixels on the rim, half inside, may disagree.
            let wrong =
                image.values().iter().zip(mask.values()).filter(|&(&grey, &set)| (grey > 125) != set).count();
            assert!(mask.count() > 40 && wrong * 8 < mask.count(), "{wrong} of {}", mask.count());
        }
    }

    #[test]
    fn blur_keeps_the_sum_and_noise_has_its_strength() {
        let (image, mask) = picture();
        let smooth = blur(&image.map(|&grey| f32::from(grey)), 2.0);
        let sum = |values: &[f32]| values.iter().sum::<f32>();
        let before: f32 = image.values().iter().map(|&grey| f32::from(grey)).sum();
        assert!((sum(smooth.values()) / before - 1.0).abs() < 1e-3);
        let flat = image.like(128);
        let changes = Augmentation { noise: 0.1, ..Augmentation::NONE };
        let (noisy, _) = augment(&flat, &mask, &changes, &mut ChaCha8Rng::seed_from_u64(3)).unwrap();
        let spread = noisy.values().iter().map(|&grey| (f32::from(grey) - 128.0).powi(2)).sum::<f32>();
        let deviation = (spread / noisy.values().len() as f32).sqrt();
        assert!(deviation > 0.1 && deviation < 0.11 * 255.0, "{deviation}");
    }
}
