//! Writes a contact sheet of made slices, for people to look at: `contact_sheet OUT.png [FIRST_SEED] [COUNT]
//! [anatomy|training|astray|leaves|clouds|foam|bone-windows|leads] [plain]`.
//!
//! Each slice stands beside itself with the mask's outline in it; `plain` leaves that out.

use std::io::Write;

use modiolus_imaging::grid::GridError;
use modiolus_imaging::png::{encode_grey, encode_rgb};
use modiolus_imaging::{Grid, Mask};
use modiolus_phantom::{PhantomSlice, SliceOptions, Style, slice};

const ACROSS: usize = 6;
const ACROSS_PLAIN: usize = 8;

/// Rows and columns of a slice.
const SIDE: usize = 256;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("usage: contact_sheet OUT.png [FIRST_SEED] [COUNT]")?;
    let first: u64 = arguments.next().map_or(Ok(0), |text| text.parse())?;
    let count: u64 = arguments.next().map_or(Ok(48), |text| text.parse())?;
    let kind = arguments.next().unwrap_or_else(|| "anatomy".into());
    let wanted: Vec<SliceOptions> =
        (first..first + count).map(|seed| of(&kind, seed)).collect::<Result<_, _>>()?;
    let start = std::time::Instant::now();
    let slices: Vec<PhantomSlice> =
        (first..).zip(&wanted).map(|(seed, options)| slice(seed, options)).collect();
    let seconds = start.elapsed().as_secs_f64();
    writeln!(std::io::stderr(), "{:.1} slices a second on one core", count as f64 / seconds)?;
    let sheet = if arguments.next().is_some() {
        encode_grey(&plain(&slices)?)
    } else {
        encode_rgb(&outlined(&slices)?)
    };
    std::fs::write(path, sheet)?;
    Ok(())
}

/// What the slice of a seed is to be like.
fn of(kind: &str, seed: u64) -> Result<SliceOptions, String> {
    let anatomy = SliceOptions::default();
    let style = Style::ALL.into_iter().find(|style| format!("{style:?}").eq_ignore_ascii_case(kind));
    match (kind, style) {
        ("training", _) => Ok(SliceOptions::training(seed)),
        ("bone-windows", _) => Ok(SliceOptions { bone_windows: 1.0, empty: 0.3, ..anatomy }),
        ("no-implant", _) => Ok(SliceOptions { bare: 1.0, empty: 1.0, bone_windows: 0.3, ..anatomy }),
        ("references", _) => Ok(SliceOptions { references: 1.0, ..anatomy }),
        ("leads", _) => Ok(SliceOptions { leads: 1.0, empty: 1.0, ..anatomy }),
        (_, Some(style)) => Ok(SliceOptions { styles: style.alone(), ..anatomy }),
        (other, None) => Err(format!("{other}: no kind of slices")),
    }
}

/// Slices beside each other.
fn plain(slices: &[PhantomSlice]) -> Result<Grid<u8>, GridError> {
    let (cell, down) = (SIDE + 2, slices.len().div_ceil(ACROSS_PLAIN));
    let mut sheet = Grid::filled(cell * down, cell * ACROSS_PLAIN, 255)?;
    for (i, slice) in slices.iter().enumerate() {
        let (left, top) = (i % ACROSS_PLAIN * cell, i / ACROSS_PLAIN * cell);
        for row in 0..SIDE {
            sheet.row_mut(top + row)[left..][..SIDE].copy_from_slice(slice.image.row(row));
        }
    }
    Ok(sheet)
}

/// Each slice beside itself with the mask's outline in it.
fn outlined(slices: &[PhantomSlice]) -> Result<Grid<[u8; 3]>, GridError> {
    let (cell, down) = (SIDE + 4, slices.len().div_ceil(ACROSS));
    let mut sheet = Grid::filled(cell * down, cell * ACROSS * 2, [0; 3])?;
    for (i, slice) in slices.iter().enumerate() {
        let (left, top) = (i % ACROSS * cell * 2, i / ACROSS * cell);
        for ((row, column), &grey) in slice.image.cells() {
            let is_outline = outline(&slice.mask, column, row);
            sheet[(top + row, left + column)] = [grey; 3];
            sheet[(top + row, left + cell + column)] = if is_outline { [255, 40, 40] } else { [grey; 3] };
        }
    }
    Ok(sheet)
}

/// A pixel just outside of the mask.
fn outline(mask: &Mask, column: usize, row: usize) -> bool {
    let inside = column > 0 && row > 0 && column + 1 < mask.columns() && row + 1 < mask.rows();
    inside
        && !mask[(row, column)]
        && (mask[(row, column - 1)]
            || mask[(row, column + 1)]
            || mask[(row - 1, column)]
            || mask[(row + 1, column)])
}
