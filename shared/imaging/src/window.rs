//! From modality values to a picture of 8 bits: VOI windows and VOI LUTs (DICOM PS3.3 C.11.2).

use serde::{Deserialize, Serialize};

use crate::grid::{Image8, Values};

/// VOILUTFunction (0028,1056): how a window maps values to grey.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VoiFunction {
    /// LINEAR, also where the attribute is absent (C.11.2.1.2.1).
    #[default]
    Linear,
    /// LINEAR_EXACT (C.11.2.1.3.2).
    LinearExact,
    /// SIGMOID (C.11.2.1.3.1).
    Sigmoid,
}

/// WindowCenter and WindowWidth, in modality units, with their function.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct VoiWindow {
    /// WindowCenter (0028,1050).
    pub center: f32,
    /// WindowWidth (0028,1051): at least 1 for LINEAR, above 0 for the others. Smaller widths act as the smallest allowed.
    pub width: f32,
    /// VOILUTFunction (0028,1056).
    #[serde(default)]
    pub function: VoiFunction,
}

impl VoiWindow {
    /// A window with the LINEAR function.
    pub fn linear(center: f32, width: f32) -> Self {
        Self { center, width, function: VoiFunction::Linear }
    }

    /// Whether the standard allows this window: finite, and a width of at least 1 (LINEAR) or above 0.
    pub fn is_valid(&self) -> bool {
        let wide_enough = match self.function {
            VoiFunction::Linear => self.width >= 1.0,
            VoiFunction::LinearExact | VoiFunction::Sigmoid => self.width > 0.0,
        };
        self.center.is_finite() && self.width.is_finite() && wide_enough
    }

    /// The output for a value `x`, as a part of the output range: 0 is its lowest, 1 its highest grey.
    pub fn apply(&self, x: f32) -> f32 {
        let (x, center, width) = (f64::from(x), f64::from(self.center), f64::from(self.width));
        let y = match self.function {
            VoiFunction::Linear => ramp(x - (center - 0.5), width.max(1.0) - 1.0),
            VoiFunction::LinearExact => ramp(x - center, width.max(0.0)),
            VoiFunction::Sigmoid => 1.0 / (1.0 + (-4.0 * (x - center) / width.max(f64::MIN_POSITIVE)).exp()),
        };
        y as f32
    }
}

/// 0 up to `-width / 2`, 1 above `width / 2`, straight between.
fn ramp(x: f64, width: f64) -> f64 {
    if x <= -width / 2.0 {
        0.0
    } else if x > width / 2.0 {
        1.0
    } else {
        x / width + 0.5
    }
}

/// An item of VOILUTSequence (0028,3010): LUTData by modality value (C.11.2.1.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoiLut {
    /// The modality value that the first entry is for; lower values take the first entry, values past the end the last.
    pub first: i32,
    /// LUTData (0028,3006).
    pub entries: Vec<u16>,
    /// Bits per entry, 8 to 16 (third value of LUTDescriptor): white is `2^bits - 1`.
    pub bits: u8,
}

impl VoiLut {
    /// The output for a value, as a part of the output range 0..=1; 0 where the table is empty.
    pub fn apply(&self, x: f32) -> f32 {
        let Some(last) = self.entries.len().checked_sub(1) else { return 0.0 };
        let index = (f64::from(x.round()) - f64::from(self.first)).clamp(0.0, last as f64) as usize;
        let white = (1_u32 << self.bits.clamp(1, 16)) - 1;
        (f32::from(self.entries[index]) / white as f32).min(1.0)
    }
}

/// The picture of some values: through the window, or without one from the least to the greatest finite value.
/// `invert` is for MONOCHROME1, where the lowest value is white. Grey is rounded to the nearest; not-a-number is black
/// (white if inverted).
pub fn to_8bit(values: &Values, window: Option<&VoiWindow>, invert: bool) -> Image8 {
    match window {
        Some(window) => to_grey(values, invert, |x| window.apply(x)),
        None => {
            let (low, high) = range(values);
            let span = if high > low { high - low } else { f32::INFINITY };
            to_grey(values, invert, |x| ((x - low) / span).clamp(0.0, 1.0))
        }
    }
}

/// The picture of some values through a VOI LUT, which takes precedence over a window; `invert` as in [`to_8bit`].
pub fn to_8bit_lut(values: &Values, lut: &VoiLut, invert: bool) -> Image8 {
    to_grey(values, invert, |x| lut.apply(x))
}

fn to_grey(values: &Values, invert: bool, part: impl Fn(f32) -> f32) -> Image8 {
    let flip = if invert { 255 } else { 0 };
    values.map(|&x| (part(x) * 255.0).round() as u8 ^ flip)
}

fn range(values: &Values) -> (f32, f32) {
    let finite = values.values().iter().copied().filter(|x| x.is_finite());
    finite.fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grid::Grid;

    fn picture(values: &[f32], window: Option<&VoiWindow>, invert: bool) -> Vec<u8> {
        to_8bit(&Grid::new(1, values.len(), values.to_vec()).unwrap(), window, invert).into_values()
    }

    #[test]
    fn linear_follows_the_examples_of_the_standard() {
        // PS3.3 C.11.2.1.2.1, note 3: centre 2048 and width 4096 is the identity on 0..=4095, width 1 a threshold.
        let identity = VoiWindow::linear(2048.0, 4096.0);
        for x in [0.0, 1.0, 1000.0, 2047.0, 2048.0, 4094.0, 4095.0] {
            assert!((identity.apply(x) * 4095.0 - x).abs() < 1e-3, "{x}");
        }
        let threshold = VoiWindow::linear(100.0, 1.0);
        assert_eq!([99.0, 99.5, 99.6, 100.0].map(|x| threshold.apply(x)), [0.0, 0.0, 1.0, 1.0]);
        let zero = VoiWindow::linear(0.0, 100.0);
        assert_eq!([-50.0, 49.0].map(|x| zero.apply(x)), [0.0, 1.0]);
        assert!((zero.apply(0.0) - (0.5 / 99.0 + 0.5)).abs() < 1e-6);
    }

    #[test]
    fn linear_exact_and_sigmoid_follow_their_formulas() {
        let exact = VoiWindow { center: 0.0, width: 100.0, function: VoiFunction::LinearExact };
        assert_eq!([-50.0, 0.0, 25.0, 50.0, 51.0].map(|x| exact.apply(x)), [0.0, 0.5, 0.75, 1.0, 1.0]);
        let sigmoid = VoiWindow { center: 10.0, width: 40.0, function: VoiFunction::Sigmoid };
        assert_eq!(sigmoid.apply(10.0), 0.5);
        assert!((sigmoid.apply(20.0) - 1.0 / (1.0 + (-1.0_f32).exp())).abs() < 1e-6);
    }

    #[test]
    fn without_a_window_the_range_is_black_to_white() {
        assert_eq!(picture(&[-1000.0, 0.0, 1000.0], None, false), [0, 128, 255]);
        assert_eq!(picture(&[-1000.0, 0.0, 1000.0], None, true), [255, 127, 0]);
        assert_eq!(picture(&[7.0, 7.0], None, false), [0, 0]);
        assert_eq!(picture(&[f32::NAN, 0.0, f32::INFINITY, 1.0], None, false), [0, 0, 255, 255]);
    }

    #[test]
    fn an_impossible_window_neither_panics_nor_passes_the_check() {
        for (center, width) in
            [(f32::NAN, 1.0), (0.0, f32::NAN), (0.0, -5.0), (0.0, 0.0), (f32::INFINITY, 1.0)]
        {
            for function in [VoiFunction::Linear, VoiFunction::LinearExact, VoiFunction::Sigmoid] {
                let window = VoiWindow { center, width, function };
                assert!(!window.is_valid());
                picture(&[-1e30, 0.0, 1e30, f32::NAN], Some(&window), false);
            }
        }
    }

    #[test]
    fn a_voi_lut_starts_at_its_first_value_and_clamps() {
        let lut = VoiLut { first: -1, entries: vec![0, 2048, 4095], bits: 12 };
        let values = Grid::new(1, 5, vec![-100.0, -1.0, 0.0, 1.0, 100.0]).unwrap();
        assert_eq!(to_8bit_lut(&values, &lut, false).values(), [0, 0, 128, 255, 255]);
        assert_eq!(to_8bit_lut(&values, &lut, true).values(), [255, 255, 127, 0, 0]);
        assert_eq!(VoiLut { first: 0, entries: vec![], bits: 0 }.apply(3.0), 0.0);
    }
}
