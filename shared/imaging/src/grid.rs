//! The picture type: a checked rectangle of values.

use std::ops::{Index, IndexMut};

use serde::{Deserialize, Serialize};

/// The most rows, and the most columns, that a picture may have. CBCT slices have some hundred, radiographs some thousand.
pub const MAX_SIDE: usize = 8192;

/// A rectangle of values, row-major. It has at least one row and one column and at most [`MAX_SIDE`] of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grid<T> {
    rows: usize,
    columns: usize,
    values: Vec<T>,
}

/// A picture of 8 bits: 0 is black, 255 white.
pub type Image8 = Grid<u8>;

/// Modality values (HU in CT, after the rescale), or probabilities and normalised pictures in 0..=1.
pub type Values = Grid<f32>;

/// A mask: true is electrode. `bool`, so that no third value can exist; 0/1 and 0/255 are matters of file formats.
pub type Mask = Grid<bool>;

/// A colour: red, green, blue.
pub type Rgb = [u8; 3];

/// The sizes don't fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GridError {
    /// A side is 0 or over [`MAX_SIDE`].
    #[error("a picture of {rows} x {columns} (Rows x Columns) is outside 1 x 1 to {MAX_SIDE} x {MAX_SIDE}")]
    Size {
        /// The rows asked for.
        rows: usize,
        /// The columns asked for.
        columns: usize,
    },
    /// The number of values isn't rows times columns.
    #[error("{rows} x {columns} (Rows x Columns) pixels were promised, {length} are there")]
    Length {
        /// The rows asked for.
        rows: usize,
        /// The columns asked for.
        columns: usize,
        /// The values there.
        length: usize,
    },
    /// Two pictures that belong together have different sizes.
    #[error("the picture has {} x {} pixels (Rows x Columns) where {} x {} are needed", found.0, found.1, wanted.0, wanted.1)]
    Mismatch {
        /// Rows and columns needed.
        wanted: (usize, usize),
        /// Rows and columns there.
        found: (usize, usize),
    },
    /// The region doesn't lie inside the picture.
    #[error("the region doesn't lie inside the picture of {rows} x {columns} (Rows x Columns)")]
    Outside {
        /// The picture's rows.
        rows: usize,
        /// The picture's columns.
        columns: usize,
    },
}

impl<T> Grid<T> {
    /// A grid of these values, row by row.
    pub fn new(rows: usize, columns: usize, values: Vec<T>) -> Result<Self, GridError> {
        check_size(rows, columns)?;
        match values.len() == rows * columns {
            true => Ok(Self { rows, columns, values }),
            false => Err(GridError::Length { rows, columns, length: values.len() }),
        }
    }

    /// A grid whose value at each position the function gives.
    pub fn from_fn(
        rows: usize,
        columns: usize,
        mut value: impl FnMut(usize, usize) -> T,
    ) -> Result<Self, GridError> {
        check_size(rows, columns)?;
        let mut values = Vec::with_capacity(rows * columns);
        for row in 0..rows {
            values.extend((0..columns).map(|column| value(row, column)));
        }
        Ok(Self { rows, columns, values })
    }

    /// The number of rows (DICOM Rows, the height).
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The number of columns (DICOM Columns, the width).
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Rows and columns.
    pub fn size(&self) -> (usize, usize) {
        (self.rows, self.columns)
    }

    /// The value at a position, none outside.
    pub fn get(&self, row: usize, column: usize) -> Option<&T> {
        (row < self.rows && column < self.columns).then(|| &self.values[row * self.columns + column])
    }

    /// One row.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row(&self, row: usize) -> &[T] {
        &self.values[row * self.columns..][..self.columns]
    }

    /// One row, to be written to.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row_mut(&mut self, row: usize) -> &mut [T] {
        &mut self.values[row * self.columns..][..self.columns]
    }

    /// All values, row by row.
    pub fn values(&self) -> &[T] {
        &self.values
    }

    /// All values, row by row, to be written to.
    pub fn values_mut(&mut self) -> &mut [T] {
        &mut self.values
    }

    /// All values, row by row, without the grid.
    pub fn into_values(self) -> Vec<T> {
        self.values
    }

    /// A grid of the same size, each value made from the one here.
    pub fn map<U>(&self, value: impl FnMut(&T) -> U) -> Grid<U> {
        Grid { rows: self.rows, columns: self.columns, values: self.values.iter().map(value).collect() }
    }

    /// A grid of the same size, full of one value.
    pub fn like<U: Clone>(&self, value: U) -> Grid<U> {
        Grid { rows: self.rows, columns: self.columns, values: vec![value; self.values.len()] }
    }

    /// Every position and its value, row by row.
    pub fn cells(&self) -> impl Iterator<Item = ((usize, usize), &T)> {
        let cell = |row, (column, value)| ((row, column), value);
        let lines = self.values.chunks_exact(self.columns).enumerate();
        lines.flat_map(move |(row, line)| line.iter().enumerate().map(move |at| cell(row, at)))
    }

    /// The region that covers it all.
    pub fn whole(&self) -> Region {
        Region { row: 0, column: 0, rows: self.rows, columns: self.columns }
    }

    /// An error unless the other picture has this one's size.
    pub fn check_same_size<U>(&self, other: &Grid<U>) -> Result<(), GridError> {
        match self.size() == other.size() {
            true => Ok(()),
            false => Err(GridError::Mismatch { wanted: self.size(), found: other.size() }),
        }
    }
}

impl<T: Clone> Grid<T> {
    /// A grid full of one value.
    pub fn filled(rows: usize, columns: usize, value: T) -> Result<Self, GridError> {
        check_size(rows, columns)?;
        Ok(Self { rows, columns, values: vec![value; rows * columns] })
    }

    /// The part inside a region.
    pub fn crop(&self, region: Region) -> Result<Self, GridError> {
        region.check_inside(self.rows, self.columns)?;
        let rows = region.row..region.row + region.rows;
        let values =
            rows.flat_map(|row| self.row(row)[region.column..][..region.columns].iter().cloned()).collect();
        Ok(Self { rows: region.rows, columns: region.columns, values })
    }

    /// The same seen in a mirror: columns in reverse.
    pub fn mirrored(&self) -> Self {
        let values = (0..self.rows).flat_map(|row| self.row(row).iter().rev().cloned()).collect();
        Self { rows: self.rows, columns: self.columns, values }
    }

    /// This grid, laid into a larger one full of `fill` with its top left pixel at (row, column).
    pub(crate) fn pad(&self, size: (usize, usize), at: (usize, usize), fill: T) -> Result<Self, GridError> {
        let inside = Region { row: at.0, column: at.1, rows: self.rows, columns: self.columns };
        inside.check_inside(size.0, size.1)?;
        let mut padded = Self::filled(size.0, size.1, fill)?;
        for row in 0..self.rows {
            padded.row_mut(at.0 + row)[at.1..][..self.columns].clone_from_slice(self.row(row));
        }
        Ok(padded)
    }
}

impl Mask {
    /// How many pixels are set.
    pub fn count(&self) -> usize {
        self.values.iter().filter(|set| **set).count()
    }

    /// Whether no pixel is set.
    pub fn is_blank(&self) -> bool {
        !self.values.contains(&true)
    }
}

impl<T> Index<(usize, usize)> for Grid<T> {
    type Output = T;

    fn index(&self, (row, column): (usize, usize)) -> &T {
        debug_assert!(column < self.columns);
        &self.values[row * self.columns + column]
    }
}

impl<T> IndexMut<(usize, usize)> for Grid<T> {
    fn index_mut(&mut self, (row, column): (usize, usize)) -> &mut T {
        debug_assert!(column < self.columns);
        &mut self.values[row * self.columns + column]
    }
}

/// A rectangle of pixels: the position of its first pixel, and its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Region {
    /// The first row.
    pub row: usize,
    /// The first column.
    pub column: usize,
    /// How many rows.
    pub rows: usize,
    /// How many columns.
    pub columns: usize,
}

impl Region {
    /// An error unless the region is at least one pixel and lies inside a picture of this size.
    pub fn check_inside(self, rows: usize, columns: usize) -> Result<(), GridError> {
        check_size(rows, columns)?;
        let fits = |start: usize, length: usize, limit: usize| {
            length > 0 && start < limit && length <= limit - start
        };
        match fits(self.row, self.rows, rows) && fits(self.column, self.columns, columns) {
            true => Ok(()),
            false => Err(GridError::Outside { rows, columns }),
        }
    }

    /// The smallest region that holds these positions; none if there are none.
    pub(crate) fn around(positions: impl IntoIterator<Item = (usize, usize)>) -> Option<Self> {
        let mut positions = positions.into_iter();
        let first = positions.next()?;
        let (low, high) = positions.fold((first, first), |(low, high), (row, column)| {
            ((low.0.min(row), low.1.min(column)), (high.0.max(row), high.1.max(column)))
        });
        Some(Self { row: low.0, column: low.1, rows: high.0 - low.0 + 1, columns: high.1 - low.1 + 1 })
    }
}

/// The distances between pixel centres, in mm, in the order of DICOM PixelSpacing: from one row to the next (the height of a
/// pixel), from one column to the next (its width).
pub type Spacing = [f64; 2];

/// Pixels as the unit of length, where the spacing in mm is unknown.
pub const PIXELS: Spacing = [1.0, 1.0];

fn check_size(rows: usize, columns: usize) -> Result<(), GridError> {
    match (1..=MAX_SIDE).contains(&rows) && (1..=MAX_SIDE).contains(&columns) {
        true => Ok(()),
        false => Err(GridError::Size { rows, columns }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_checked() {
        assert!(Grid::new(2, 3, vec![0; 6]).is_ok());
        assert_eq!(Grid::new(2, 3, vec![0; 5]), Err(GridError::Length { rows: 2, columns: 3, length: 5 }));
        assert!(Grid::<u8>::new(0, 3, vec![]).is_err());
        assert!(Grid::filled(usize::MAX, usize::MAX, 0u8).is_err());
        assert!(Grid::filled(MAX_SIDE + 1, 1, 0u8).is_err());
    }

    #[test]
    fn positions_are_row_then_column() {
        let grid = Grid::from_fn(2, 3, |row, column| 10 * row + column).unwrap();
        assert_eq!(grid.values(), [0, 1, 2, 10, 11, 12]);
        assert_eq!((grid.get(1, 2), grid.get(2, 0), grid.get(0, 3)), (Some(&12), None, None));
        assert_eq!(grid.row(1), [10, 11, 12]);
        assert_eq!(grid[(1, 0)], 10);
        assert_eq!(grid.mirrored().values(), [2, 1, 0, 12, 11, 10]);
    }

    #[test]
    fn a_crop_holds_the_region_and_one_that_reaches_outside_is_refused() {
        let grid = Grid::from_fn(4, 4, |row, column| 10 * row + column).unwrap();
        let region = |row, column, rows, columns| Region { row, column, rows, columns };
        assert_eq!(grid.crop(region(1, 2, 2, 2)).unwrap().values(), [12, 13, 22, 23]);
        for outside in
            [region(3, 0, 2, 1), region(0, 4, 1, 1), region(0, 0, 0, 1), region(usize::MAX, 0, 2, 2)]
        {
            assert_eq!(grid.crop(outside), Err(GridError::Outside { rows: 4, columns: 4 }));
        }
    }
}
