//! The geometry between a slice and the network's input: crop, scale, pad, and exactly back.
//!
//! [`Input::Fit`] scales the crop so that its longer side has the plan's size (the aspect is kept, up to whole pixels) and pads it
//! to a square; [`Input::Native`] keeps the pixels and pads both sides up to the plan's multiple.

use modiolus_pipeline::plan::Input;
use serde::{Deserialize, Serialize};

use crate::anatomy::crop_box;
use crate::grid::{Grid, GridError, Image8, MAX_SIDE, Mask, Region, Spacing, Values};
use crate::resize;

/// The mapping between the original grid of a slice and the grid of the network, both ways. The cropped, scaled picture lies in
/// the middle of the network's grid (on an odd rest the extra row or column is at the end); the padding is black.
///
/// It is serialised as what it was made from, so a stored frame that doesn't fit together is refused when read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Recipe", into = "Recipe")]
pub struct Frame {
    recipe: Recipe,
    scaled: (usize, usize),
    padded: (usize, usize),
}

/// What determines a frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Recipe {
    rows: usize,
    columns: usize,
    crop: Region,
    input: Input,
}

/// What a prediction needs to know of a prepared picture, kept beside it: the body of `ObjectKey::Frame`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PreparedFrame {
    /// How the picture maps back to its slice.
    pub frame: Frame,
    /// The slice's PixelSpacing, if it has one.
    pub spacing_mm: Option<Spacing>,
}

impl Frame {
    /// The frame of a picture for a plan's input. [`Input::Fit`] sees the anatomy, so that its few pixels go to what matters.
    /// [`Input::Native`] sees the whole slice: the anatomy's box can leave out an array that lies beside it in a dark slice,
    /// and a border costs only time.
    pub fn of_picture(image: &Image8, input: &Input) -> Result<Self, GridError> {
        let crop = match input {
            Input::Fit { .. } => crop_box(image),
            Input::Native { .. } => image.whole(),
        };
        Self::of(image.rows(), image.columns(), crop, input)
    }

    /// The frame of a slice of `rows` x `columns` whose `crop` becomes the input. An error if the crop reaches outside or the
    /// network's grid would have no pixel or over [`MAX_SIDE`] on a side.
    pub fn of(rows: usize, columns: usize, crop: Region, input: &Input) -> Result<Self, GridError> {
        crop.check_inside(rows, columns)?;
        let (scaled, padded) = match *input {
            Input::Fit { size } => {
                let size = size as usize;
                let longest = crop.rows.max(crop.columns);
                // Rounded to the nearest, at least one pixel.
                let scale = |side: usize| {
                    side.checked_mul(size).map(|side| ((2 * side + longest) / (2 * longest)).max(1))
                };
                let sides =
                    scale(crop.rows).zip(scale(crop.columns)).filter(|_| (1..=MAX_SIDE).contains(&size));
                (sides.ok_or(GridError::Size { rows: size, columns: size })?, (size, size))
            }
            Input::Native { multiple, .. } => {
                let multiple = multiple as usize;
                let up = |side: usize| side.checked_next_multiple_of(multiple).unwrap_or(usize::MAX);
                ((crop.rows, crop.columns), (up(crop.rows), up(crop.columns)))
            }
        };
        Region { row: 0, column: 0, rows: scaled.0, columns: scaled.1 }.check_inside(padded.0, padded.1)?;
        Ok(Self { recipe: Recipe { rows, columns, crop, input: input.clone() }, scaled, padded })
    }

    /// Rows and columns of the original slice.
    pub fn original_size(&self) -> (usize, usize) {
        (self.recipe.rows, self.recipe.columns)
    }

    /// Rows and columns of the network's input.
    pub fn network_size(&self) -> (usize, usize) {
        self.padded
    }

    /// The part of the original that the network sees.
    pub fn crop(&self) -> Region {
        self.recipe.crop
    }

    /// The part of the network's grid that shows the slice; the rest is padding.
    pub fn inside(&self) -> Region {
        let (row, column) = ((self.padded.0 - self.scaled.0) / 2, (self.padded.1 - self.scaled.1) / 2);
        Region { row, column, rows: self.scaled.0, columns: self.scaled.1 }
    }

    /// A position on the original grid (row, column; pixel centres are whole numbers) as one on the network's grid.
    pub fn to_network(&self, point: (f64, f64)) -> (f64, f64) {
        let (crop, inside) = (self.recipe.crop, self.inside());
        (
            moved(point.0, (crop.row, crop.rows), (inside.row, inside.rows)),
            moved(point.1, (crop.column, crop.columns), (inside.column, inside.columns)),
        )
    }

    /// A position on the network's grid as one on the original grid: the inverse of [`Frame::to_network`].
    pub fn to_original(&self, point: (f64, f64)) -> (f64, f64) {
        let (crop, inside) = (self.recipe.crop, self.inside());
        (
            moved(point.0, (inside.row, inside.rows), (crop.row, crop.rows)),
            moved(point.1, (inside.column, inside.columns), (crop.column, crop.columns)),
        )
    }

    /// The network's input of a slice. An error if the slice hasn't the size that the frame is for.
    pub fn apply(&self, image: &Image8) -> Result<Image8, GridError> {
        let cropped = self.cropped(image)?;
        let scaled = match self.is_native() {
            true => cropped,
            false => resize::bilinear8(&cropped, self.scaled.0, self.scaled.1)?,
        };
        self.padded(&scaled, 0)
    }

    /// The network's target of a mask: nearest neighbour, padding is background. An error if the mask hasn't the size that the
    /// frame is for.
    pub fn apply_mask(&self, mask: &Mask) -> Result<Mask, GridError> {
        self.padded(&resize::nearest(&self.cropped(mask)?, self.scaled.0, self.scaled.1)?, false)
    }

    /// What the network said, on the original grid: probabilities inside the crop (bilinear where the frame scales, else the very
    /// values), 0 outside. An error if `probability` hasn't the network's size.
    pub fn undo_probability(&self, probability: &Values) -> Result<Values, GridError> {
        if probability.size() != self.padded {
            return Err(GridError::Mismatch { wanted: self.padded, found: probability.size() });
        }
        let (crop, inside) = (self.recipe.crop, probability.crop(self.inside())?);
        let back = match self.is_native() {
            true => inside,
            false => resize::bilinear(&inside, crop.rows, crop.columns)?,
        };
        back.pad(self.original_size(), (crop.row, crop.column), 0.0)
    }

    fn is_native(&self) -> bool {
        self.scaled == (self.recipe.crop.rows, self.recipe.crop.columns)
    }

    fn cropped<T: Clone>(&self, grid: &Grid<T>) -> Result<Grid<T>, GridError> {
        match grid.size() == self.original_size() {
            true => grid.crop(self.recipe.crop),
            false => Err(GridError::Mismatch { wanted: self.original_size(), found: grid.size() }),
        }
    }

    fn padded<T: Clone>(&self, scaled: &Grid<T>, fill: T) -> Result<Grid<T>, GridError> {
        let inside = self.inside();
        scaled.pad(self.padded, (inside.row, inside.column), fill)
    }
}

/// A position along one side, from one stretch of pixels (start, length) to another. Pixel edges map to pixel edges.
fn moved(x: f64, from: (usize, usize), to: (usize, usize)) -> f64 {
    (x - from.0 as f64 + 0.5) * to.1 as f64 / from.1 as f64 - 0.5 + to.0 as f64
}

impl TryFrom<Recipe> for Frame {
    type Error = GridError;

    fn try_from(recipe: Recipe) -> Result<Self, GridError> {
        Self::of(recipe.rows, recipe.columns, recipe.crop, &recipe.input)
    }
}

impl From<Frame> for Recipe {
    fn from(frame: Frame) -> Self {
        frame.recipe
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::metrics::Overlap;
    use crate::real;

    fn region(row: usize, column: usize, rows: usize, columns: usize) -> Region {
        Region { row, column, rows, columns }
    }

    fn native(multiple: u32) -> Input {
        Input::Native { multiple, patch: 1, patches: 1 }
    }

    #[test]
    fn fit_keeps_the_aspect_and_centres() {
        let frame = Frame::of(296, 736, region(10, 20, 200, 400), &Input::Fit { size: 256 }).unwrap();
        assert_eq!((frame.network_size(), frame.inside()), ((256, 256), region(64, 0, 128, 256)));
        let thin = Frame::of(1, 8192, region(0, 0, 1, 8192), &Input::Fit { size: 256 }).unwrap();
        assert_eq!(thin.inside(), region(127, 0, 1, 256));
    }

    #[test]
    fn native_pads_to_the_multiple_and_the_round_trip_is_identical() {
        let frame = Frame::of(50, 60, region(3, 4, 33, 32), &native(16)).unwrap();
        assert_eq!((frame.network_size(), frame.inside()), ((48, 32), region(7, 0, 33, 32)));
        let image = Grid::from_fn(50, 60, |row, column| (row * 5 + column * 3 + 1) as u8).unwrap();
        let seen = frame.apply(&image).unwrap();
        assert_eq!((seen[(7, 0)], seen[(6, 0)]), (image[(3, 4)], 0));
        let back = frame.undo_probability(&seen.map(|&grey| f32::from(grey))).unwrap();
        for ((row, column), &value) in back.cells() {
            let inside = (3..36).contains(&row) && (4..36).contains(&column);
            assert_eq!(value, if inside { f32::from(image[(row, column)]) } else { 0.0 });
        }
    }

    #[test]
    fn a_scaled_blob_comes_back_where_it_was() {
        let frame = Frame::of(300, 400, region(20, 30, 250, 350), &Input::Fit { size: 256 }).unwrap();
        let mask =
            Grid::from_fn(300, 400, |r, c| r.abs_diff(120).pow(2) + c.abs_diff(200).pow(2) <= 400).unwrap();
        let seen = frame.apply_mask(&mask).unwrap();
        let back =
            frame.undo_probability(&seen.map(|&set| f32::from(u8::from(set)))).unwrap().map(|&p| p >= 0.5);
        let wrong = back.values().iter().zip(mask.values()).filter(|(a, b)| a != b).count();
        assert!(wrong * 20 < mask.count(), "{wrong} of {} pixels differ", mask.count());
    }

    #[test]
    fn real_masks_survive_the_way_there_and_back() {
        let Some((slices, masks)) = real::cbct_pictures().zip(real::cbct_masks()) else { return };
        for ((name, image), mask) in slices.iter().zip(&masks) {
            let frame = Frame::of(256, 256, crop_box(image), &Input::Fit { size: 256 }).unwrap();
            let seen = frame.apply_mask(mask).unwrap().map(|&set| f32::from(u8::from(set)));
            let back = frame.undo_probability(&seen).unwrap().map(|&p| p >= 0.5);
            let iou = Overlap::of(mask, &back).unwrap().iou;
            assert!(iou > 0.92, "{name}: {iou}");
        }
    }

    #[test]
    fn a_picture_of_another_size_is_an_error() {
        let frame = Frame::of(50, 60, region(0, 0, 50, 60), &Input::Fit { size: 64 }).unwrap();
        assert!(frame.apply(&Grid::filled(60, 50, 0).unwrap()).is_err());
        assert!(frame.apply_mask(&Grid::filled(50, 61, false).unwrap()).is_err());
        assert!(frame.undo_probability(&Grid::filled(50, 60, 0.0).unwrap()).is_err());
    }

    #[test]
    fn impossible_frames_are_refused_also_when_read() {
        let whole = region(0, 0, 50, 60);
        for input in [0, MAX_SIDE as u32 + 1, u32::MAX].map(|size| Input::Fit { size }) {
            assert!(Frame::of(50, 60, whole, &input).is_err());
        }
        for input in [0, MAX_SIDE as u32 + 1, u32::MAX].map(native) {
            assert!(Frame::of(50, 60, whole, &input).is_err());
        }
        let json =
            serde_json::to_string(&Frame::of(50, 60, whole, &Input::Fit { size: 64 }).unwrap()).unwrap();
        assert!(serde_json::from_str::<Frame>(&json).is_ok());
        assert!(serde_json::from_str::<Frame>(&json.replace("60", "59")).is_ok());
        assert!(serde_json::from_str::<Frame>(&json.replacen("60", "59", 1)).is_err());
    }

    proptest! {
        #[test]
        fn positions_go_there_and_back(
            (rows, columns) in (1_usize..600, 1_usize..600), parts in proptest::array::uniform4(0.0_f64..1.0),
            fit: bool, size in 1_u32..512, point in (-10.0_f64..700.0, -10.0_f64..700.0),
        ) {
            let side = |length: usize, start: f64, end: f64| {
                let first = (start * length as f64) as usize;
                (first, 1 + (end * (length - first - 1) as f64) as usize)
            };
            let ((row, high), (column, wide)) = (side(rows, parts[0], parts[1]), side(columns, parts[2], parts[3]));
            let input = if fit { Input::Fit { size } } else { native(1 + size % 64) };
            let frame = Frame::of(rows, columns, region(row, column, high, wide), &input).unwrap();
            let back = frame.to_original(frame.to_network(point));
            prop_assert!((back.0 - point.0).abs() < 1e-9 && (back.1 - point.1).abs() < 1e-9);
            let (network, inside) = (frame.network_size(), frame.inside());
            prop_assert!(inside.check_inside(network.0, network.1).is_ok());
            let read: Frame = serde_json::from_str(&serde_json::to_string(&frame).unwrap()).unwrap();
            prop_assert_eq!(read, frame);
        }
    }
}
