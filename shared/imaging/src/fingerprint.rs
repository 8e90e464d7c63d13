//! Which slices show the same: equal pixels, and nearly equal pictures.

use std::f64::consts::PI;
use std::fmt;
use std::str::FromStr;

use modiolus_pipeline::Digest;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::grid::{GridError, Image8};
use crate::resize::bilinear;

/// The digest of stored pixel values on their grid, whatever else the file says and however it stores them: a slice of 16 bits
/// and the same one of 8 bits, compressed or under another patient's name, have the same digest if their numbers are equal.
/// `stored` runs row by row.
pub fn pixel_hash<T: Into<i32>>(rows: usize, columns: usize, stored: impl IntoIterator<Item = T>) -> Digest {
    let size = [rows as u64, columns as u64].map(u64::to_le_bytes);
    let mut values = Vec::new();
    for value in stored {
        values.extend_from_slice(&value.into().to_le_bytes());
    }
    Digest::of_parts([size.as_flattened(), &values])
}

/// Whether a picture has a single grey: then it shows nothing that it could share with another.
pub fn is_blank(image: &Image8) -> bool {
    image.values().windows(2).all(|pair| pair[0] == pair[1])
}

/// 64 signs of a picture's structure: pictures that differ in few are nearly equal. In JSON 16 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PerceptualHash(pub u64);

/// The side of the small picture that is hashed.
const SIDE: usize = 48;
/// The frequencies, down and across, whose signs are kept: fine detail, since the neighbouring slices of a head have the same
/// coarse shapes.
const BAND: std::ops::Range<usize> = 24..32;

impl PerceptualHash {
    /// The most signs in which nearly equal pictures differ. The same slice exported twice (resampled and compressed anew) differs
    /// in at most 2, under JPEG of quality 75, slight noise, another window, gamma or scale in at most 3; of neighbouring slices of
    /// a head CT, 1.5 mm apart, the nearest pair differs in 7, the median pair in 15, other slices in over 20.
    pub const NEAR: u32 = 4;

    /// In how many signs two hashes differ, 0 to 64.
    pub fn distance(self, other: Self) -> u32 {
        (self.0 ^ other.0).count_ones()
    }

    /// Whether two pictures are nearly equal: at most [`Self::NEAR`] signs differ.
    pub fn is_near(&self, other: &Self) -> bool {
        self.distance(*other) <= Self::NEAR
    }
}

/// The perceptual hash of a picture: shrunk to 48 x 48, each grey replaced by its rank (so that window and gamma don't matter, and
/// the faint grain of soft tissue weighs as much as bone), and the signs of 64 coefficients of its cosine transform.
pub fn perceptual_hash(image: &Image8) -> PerceptualHash {
    let Ok(ranks) = ranks(image) else { return PerceptualHash(0) };
    let wave = |frequency: usize| -> [f64; SIDE] {
        std::array::from_fn(|i| (PI * frequency as f64 * (i as f64 + 0.5) / SIDE as f64).cos())
    };
    let waves: Vec<_> = BAND.map(wave).collect();
    let coefficient = |down: &[f64; SIDE], across: &[f64; SIDE]| -> f64 {
        let row = |row: &[f64]| -> f64 { row.iter().zip(across).map(|(rank, wave)| rank * wave).sum() };
        ranks.chunks_exact(SIDE).zip(down).map(|(ranks, wave)| row(ranks) * wave).sum()
    };
    let mut hash = 0;
    for down in &waves {
        for across in &waves {
            hash = hash << 1 | u64::from(coefficient(down, across) > 0.0);
        }
    }
    PerceptualHash(hash)
}

/// The rank of each pixel of the small picture, 0 to 1; equal greys share their mean rank.
fn ranks(image: &Image8) -> Result<Vec<f64>, GridError> {
    let small = bilinear(&image.map(|&grey| f32::from(grey)), SIDE, SIDE)?;
    // Quarters of a grey: finer differences are rounding.
    let level = |grey: &f32| (grey * 4.0).round() as usize;
    let mut histogram = [0_usize; 4 * 255 + 2];
    small.values().iter().for_each(|grey| histogram[level(grey) + 1] += 1);
    (1..histogram.len()).for_each(|i| histogram[i] += histogram[i - 1]);
    let rank =
        |grey: &f32| (histogram[level(grey)] + histogram[level(grey) + 1]) as f64 / (2 * SIDE * SIDE) as f64;
    Ok(small.values().iter().map(rank).collect())
}

impl fmt::Display for PerceptualHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The text is not 16 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a perceptual hash is 16 hexadecimal digits")]
pub struct BadPerceptualHash;

impl FromStr for PerceptualHash {
    type Err = BadPerceptualHash;

    fn from_str(text: &str) -> Result<Self, BadPerceptualHash> {
        let digits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let value = digits.then(|| u64::from_str_radix(text, 16).ok()).flatten();
        value.map(Self).ok_or(BadPerceptualHash)
    }
}

impl Serialize for PerceptualHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PerceptualHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grid::Grid;
    use crate::real;

    #[test]
    fn the_digest_is_of_numbers_on_their_grid() {
        let wide = pixel_hash(2, 3, [1_i32, 2, 3, 4, 5, 6]);
        assert_eq!(wide, pixel_hash(2, 3, [1_u8, 2, 3, 4, 5, 6]));
        assert_ne!(wide, pixel_hash(3, 2, [1_i32, 2, 3, 4, 5, 6]));
        assert_ne!(wide, pixel_hash(2, 3, [1_i32, 2, 3, 4, 5, 7]));
    }

    #[test]
    fn the_text_form_round_trips() {
        let hash = PerceptualHash(0x0123_4567_89ab_cdef);
        assert_eq!(serde_json::to_string(&hash).unwrap(), "\"0123456789abcdef\"");
        assert_eq!(serde_json::from_str::<PerceptualHash>("\"0123456789abcdef\"").unwrap(), hash);
        for bad in ["", "123", "+123456789abcdef", "0123456789abcdeg"] {
            assert_eq!(bad.parse::<PerceptualHash>(), Err(BadPerceptualHash));
        }
    }

    #[test]
    fn window_and_gamma_do_not_matter() {
        let image = Grid::from_fn(120, 90, |r, c| (64 + (r * r + 3 * c * r + c * c) % 97) as u8).unwrap();
        let brighter = image.map(|&grey| (f64::from(grey).powf(1.1) * 1.02) as u8);
        assert!(perceptual_hash(&image).is_near(&perceptual_hash(&brighter)));
        assert_eq!(perceptual_hash(&image.map(|_| 7)).distance(perceptual_hash(&image.map(|_| 9))), 0);
    }

    #[test]
    fn the_same_real_slices_are_near_and_all_others_are_not() {
        let Some(slices) = real::cbct_pictures() else { return };
        let same = [("207_613", "208_620"), ("207_619", "208_626")];
        for (i, (name, image)) in slices.iter().enumerate() {
            for (other_name, other) in &slices[i + 1..] {
                let distance = perceptual_hash(image).distance(perceptual_hash(other));
                match same.contains(&(name.as_str(), other_name.as_str())) {
                    true => assert!(distance <= 3, "{name} {other_name} {distance}"),
                    false => assert!(distance >= 20, "{name} {other_name} {distance}"),
                }
            }
        }
    }

    #[test]
    fn neighbouring_slices_of_a_head_are_not_near() {
        let Some(slices) = real::head_pictures() else { return };
        let hashes: Vec<_> = slices.iter().map(perceptual_hash).collect();
        let mut distances: Vec<_> = hashes.windows(2).map(|pair| pair[0].distance(pair[1])).collect();
        distances.sort_unstable();
        assert!(distances[0] > PerceptualHash::NEAR + 1, "{distances:?}");
    }
}
