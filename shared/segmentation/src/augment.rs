//! Random changes to a picture and its mask, so that a network doesn't learn them by heart.

use modiolus_imaging::grid::GridError;
use modiolus_imaging::{Grid, Image8, Mask};
use modiolus_pipeline::plan::Augmentation;
use rand::Rng;

/// The middle of a picture changed at random within the ranges of `changes`, as large as `size` (rows, columns), and its mask
/// moved with it. What comes in from outside of the picture is black.
///
/// Geometry first (mirror, shear, zoom, rotation around the middle, shift by a share of `size`), in one step: bilinear for the
/// picture, nearest for the mask. Then blur, gamma, contrast, brightness, noise.
///
/// # Errors
/// When the mask has another size than the picture.
pub fn augment(
    image: &Image8,
    mask: &Mask,
    size: (usize, usize),
    changes: &Augmentation,
    random: &mut impl Rng,
) -> Result<(Image8, Mask), GridError> {
    image.check_same_size(mask)?;
    let source = Source::drawn(changes, image.size(), size, random);
    let moved = Grid::from_fn(size.0, size.1, |row, column| bilinear(image, source.of(row, column)))?;
    let mask = Grid::from_fn(size.0, size.1, |row, column| {
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
    /// The middle of the source.
    middle: (f32, f32),
    /// The position that shows it.
    shows_middle: (f32, f32),
}

impl Source {
    fn drawn(
        changes: &Augmentation,
        source: (usize, usize),
        size: (usize, usize),
        random: &mut impl Rng,
    ) -> Self {
        let mut either_way = |range: f64| within(random, -range, range);
        let angle = either_way(changes.rotation_degrees).to_radians();
        let shear = either_way(changes.shear);
        let zoom = 1.0 + either_way(changes.zoom);
        let shift = (either_way(changes.shift) * size.0 as f32, either_way(changes.shift) * size.1 as f32);
        let mut sign = |mirrored: bool| if random.random::<bool>() && mirrored { -1.0 } else { 1.0 };
        let (down, across) = (sign(changes.flip_vertical), sign(changes.flip_horizontal));
        let (sin, cos) = angle.sin_cos();
        Self {
            matrix: [
                [down * cos / zoom, down * -sin / zoom],
                [across * (sin + shear * cos) / zoom, across * (cos - shear * sin) / zoom],
            ],
            middle: middle(source),
            shows_middle: (middle(size).0 + shift.0, middle(size).1 + shift.1),
        }
    }

    fn of(&self, row: usize, column: usize) -> (f32, f32) {
        let (y, x) = (row as f32 - self.shows_middle.0, column as f32 - self.shows_middle.1);
        let [[a, b], [c, d]] = self.matrix;
        (self.middle.0 + a * y + b * x, self.middle.1 + c * y + d * x)
    }
}

fn middle((rows, columns): (usize, usize)) -> (f32, f32) {
    ((rows - 1) as f32 / 2.0, (columns - 1) as f32 / 2.0)
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
    let (rows, columns) = image.size();
    let mut across = image.like(0.0);
    let mut padded = vec![0.0; columns + 2 * radius];
    for row in 0..rows {
        let line = image.row(row);
        padded[..radius].fill(line[0]);
        padded[radius..radius + columns].copy_from_slice(line);
        padded[radius + columns..].fill(line[columns - 1]);
        for (offset, weight) in weights.iter().enumerate() {
            add(across.row_mut(row), &padded[offset..], weight / sum);
        }
    }
    let mut both = image.like(0.0);
    for row in 0..rows {
        for (offset, weight) in weights.iter().enumerate() {
            let from = (row + offset).saturating_sub(radius).min(rows - 1);
            add(both.row_mut(row), across.row(from), weight / sum);
        }
    }
    both
}

fn add(to: &mut [f32], from: &[f32], weight: f32) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to += weight * from);
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
        let changed =
            augment(&image, &mask, image.size(), &Augmentation::NONE, &mut ChaCha8Rng::seed_from_u64(1))
                .unwrap();
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
            let (image, mask) = augment(&image, &mask, image.size(), &changes, &mut random).unwrap();
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
        let (noisy, _) =
            augment(&flat, &mask, flat.size(), &changes, &mut ChaCha8Rng::seed_from_u64(3)).unwrap();
        let spread = noisy.values().iter().map(|&grey| (f32::from(grey) - 128.0).powi(2)).sum::<f32>();
        let deviation = (spread / noisy.values().len() as f32).sqrt();
        assert!(deviation > 0.1 && deviation < 0.11 * 255.0, "{deviation}");
    }
}
