//! What people look at: a slice as a picture of 8 bits.

use modiolus_imaging::window::{VoiFunction, VoiLut, VoiWindow, to_8bit, to_8bit_lut};
use modiolus_imaging::{Grid, Image8, Values};
use modiolus_pipeline::{Reason, Refusal};

use crate::instance::Instance;
use crate::lut::{Voi, WindowFunction};

impl Instance {
    /// The slice as the standard says that it is shown: rescale or Modality LUT, then VOI LUT or window (the whole range
    /// of values where there is neither), MONOCHROME1 inverted; native size. Source: PS3.3 C.11.
    ///
    /// # Errors
    /// [`Reason::TooLarge`] when it has more rows or columns than a picture may have.
    #[allow(clippy::cast_possible_truncation)] // windows are set in whole numbers
    pub fn picture(&self) -> Result<Image8, Refusal> {
        let values = self.values()?;
        let invert = self.is_monochrome1();
        Ok(match self.voi() {
            Voi::Lut(lut) => {
                let lut = VoiLut { first: lut.first, entries: lut.entries, bits: lut.bits };
                to_8bit_lut(&values, &lut, invert)
            }
            Voi::Window { center, width, function } => {
                let function = match function {
                    WindowFunction::Linear => VoiFunction::Linear,
                    WindowFunction::LinearExact => VoiFunction::LinearExact,
                    WindowFunction::Sigmoid => VoiFunction::Sigmoid,
                };
                let window = VoiWindow { center: center as f32, width: width as f32, function };
                to_8bit(&values, Some(&window), invert)
            }
            Voi::None => to_8bit(&values, None, invert),
        })
    }

    fn values(&self) -> Result<Values, Refusal> {
        let (rows, columns) = (self.attributes.rows as usize, self.attributes.columns as usize);
        Grid::new(rows, columns, self.modality_values())
            .map_err(|error| Refusal::new(Reason::TooLarge, format!("Rows or Columns: {error}")))
    }
}
