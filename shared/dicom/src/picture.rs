//! What people look at: a slice as a picture of 8 bits.

use modiolus_imaging::window::{VoiFunction, VoiLut, VoiWindow, to_8bit, to_8bit_lut};
use modiolus_imaging::{Grid, Image8, Values};
use modiolus_pipeline::{Reason, Refusal};

use crate::instance::Instance;
use crate::lut::{Voi, WindowFunction};

/// A table of greys is made for at most so many stored values: all that 16 bits can hold.
const MAX_TABLE: usize = 1 << 16;

/// Columns of the grid that holds a table.
const TABLE_COLUMNS: usize = 4096;

impl Instance {
    /// The slice as the standard says that it is shown: rescale or Modality LUT, then VOI LUT or window (the whole range
    /// of values where there is neither), MONOCHROME1 inverted, padding black; native size. Source: PS3.3 C.11 and C.7.5.1.1.2.
    ///
    /// # Errors
    /// [`Reason::TooLarge`] when it has more rows or columns than a picture may have.
    pub fn picture(&self) -> Result<Image8, Refusal> {
        let (rows, columns) = (self.attributes.rows as usize, self.attributes.columns as usize);
        let too_large = |error| Refusal::new(Reason::TooLarge, format!("Rows or Columns: {error}"));
        let mut greys = match self.greys() {
            Some(greys) => greys,
            None => {
                let values = Grid::new(rows, columns, self.values_to_show()).map_err(too_large)?;
                self.shown(&values).into_values()
            }
        };
        if let Some(padding) = self.attributes.padding() {
            let pixels = greys.iter_mut().zip(&self.stored);
            pixels.filter(|(_, stored)| padding.contains(stored)).for_each(|(grey, _)| *grey = 0);
        }
        Grid::new(rows, columns, greys).map_err(too_large)
    }

    /// The grey of every pixel by a table of all stored values from the least to the greatest: most slices have far more
    /// pixels than values. None where a table doesn't pay.
    fn greys(&self) -> Option<Vec<u8>> {
        let (low, high) = (*self.stored.iter().min()?, *self.stored.iter().max()?);
        let size = usize::try_from(i64::from(high) - i64::from(low)).ok()? + 1;
        // Without a window the range of values counts, and a Modality LUT may have its extremes at values that don't occur.
        if size > MAX_TABLE || size > self.stored.len() || self.voi() == Voi::None {
            return None;
        }
        let rows = size.div_ceil(TABLE_COLUMNS);
        // The last row is filled up with the greatest value.
        let inputs = Grid::from_fn(rows, TABLE_COLUMNS, |row, column| {
            low.saturating_add(i32::try_from(row * TABLE_COLUMNS + column).unwrap_or(i32::MAX)).min(high)
        });
        let table = self.shown(&inputs.ok()?.map(|stored| self.modality_value(*stored)));
        Some(self.stored.iter().map(|stored| table.values()[stored.abs_diff(low) as usize]).collect())
    }

    #[allow(clippy::cast_possible_truncation)] // windows are set in whole numbers
    fn shown(&self, values: &Values) -> Image8 {
        let invert = self.is_monochrome1();
        match self.voi() {
            Voi::Lut(lut) => {
                let lut = VoiLut { first: lut.first, entries: lut.entries, bits: lut.bits };
                to_8bit_lut(values, &lut, invert)
            }
            Voi::Window { center, width, function } => {
                let function = match function {
                    WindowFunction::Linear => VoiFunction::Linear,
                    WindowFunction::LinearExact => VoiFunction::LinearExact,
                    WindowFunction::Sigmoid => VoiFunction::Sigmoid,
                };
                let window = VoiWindow { center: center as f32, width: width as f32, function };
                to_8bit(values, Some(&window), invert)
            }
            Voi::None => to_8bit(values, None, invert),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::write::{CtImage, Syntax};

    #[test]
    fn the_table_of_greys_gives_what_pixel_by_pixel_gives() {
        let pixels = (0..64 * 64).map(|i| i * 7919 % 3000).collect();
        let image =
            CtImage { rows: 64, columns: 64, pixels, window: Some((400.0, 2000.0)), ..CtImage::default() };
        let instance = crate::decode(&image.to_bytes(Syntax::ExplicitLittle)).unwrap();
        let values = Grid::new(64, 64, instance.modality_values()).unwrap();
        assert!(instance.greys().is_some());
        assert_eq!(instance.picture().unwrap(), instance.shown(&values));
    }

    /// The greys of a picture of these stored values, of which 3,000 is padding.
    fn greys(pixels: Vec<i32>, window: Option<(f64, f64)>, monochrome1: bool) -> Vec<u8> {
        let columns = u16::try_from(pixels.len()).unwrap();
        let image = CtImage { rows: 1, columns, pixels, window, ..CtImage::default() };
        let mut instance = crate::decode(&image.to_bytes(Syntax::ExplicitLittle)).unwrap();
        instance.attributes.pixel_padding_value = Some(3_000);
        if monochrome1 {
            instance.attributes.photometric_interpretation = "MONOCHROME1".into();
        }
        instance.picture().unwrap().into_values()
    }

    #[test]
    fn padding_is_black_and_no_part_of_the_range() {
        assert_eq!(greys(vec![100, 300, 3_000], None, false), [0, 255, 0]);
        assert_eq!(greys(vec![100, 300, 3_000], None, true), [255, 0, 0]);
        assert_eq!(greys(vec![100, 300, 3_000], Some((200.5, 201.0)), false), [0, 255, 0]);
        let many: Vec<i32> = (0..8_000).map(|i| if i % 4 == 0 { 3_000 } else { 300 }).collect();
        let shown = greys(many, Some((200.5, 201.0)), false);
        assert_eq!(shown[..4], [0, 255, 255, 255], "by the table too");
        assert_eq!(greys(vec![3_000; 3], None, false), [0; 3]);
    }
}
