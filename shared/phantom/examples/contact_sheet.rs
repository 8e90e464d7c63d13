//! Writes a contact sheet of made slices, for people to look at: `contact_sheet OUT.png [FIRST_SEED] [COUNT]
//! [anatomy|training|astray|leaves|clouds|foam] [plain]`.
//!
//! Each slice stands beside itself with the mask's outline in it; `plain` leaves that out.

use std::io::Write;

use modiolus_imaging::{Grid, Mask, png::encode_grey, png::encode_rgb};
use modiolus_phantom::{PhantomSlice, SliceOptions, Style, slice};

const ACROSS: usize = 6;
const ACROSS_PLAIN: usize = 8;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("usage: contact_sheet OUT.png [FIRST_SEED] [COUNT]")?;
    let first: u64 = arguments.next().map_or(Ok(0), |text| text.parse())?;
    let count: u64 = arguments.next().map_or(Ok(48), |text| text.parse())?;
    let styles: &[Style] = match arguments.next().as_deref() {
        None | Some("anatomy") => &[Style::Anatomy],
        Some("training") => &Style::TRAINING,
        Some("astray") => &[Style::Astray],
        Some("leaves") => &[Style::Leaves],
        Some("clouds") => &[Style::Clouds],
        Some("foam") => &[Style::Foam],
        Some(other) => return Err(format!("{other}: no style").into()),
    };
    let options = SliceOptions { styles, ..SliceOptions::default() };
    let start = std::time::Instant::now();
    let slices: Vec<PhantomSlice> = (first..first + count).map(|seed| slice(seed, &options)).collect();
    let seconds = start.elapsed().as_secs_f64();
    writeln!(std::io::stderr(), "{:.1} slices a second on one core", count as f64 / seconds)?;
    if arguments.next().is_some() {
        std::fs::write(path, encode_grey(&plain(&slices, &options)?))?;
        return Ok(());
    }
    let (cell, down) = (options.columns + 4, slices.len().div_ceil(ACROSS));
    let (width, height) = (cell * ACROSS * 2, (options.rows + 4) * down);
    let mut sheet = Grid::filled(height, width, [0; 3])?;
    for (i, slice) in slices.iter().enumerate() {
        let (left, top) = ((i % ACROSS) * cell * 2, (i / ACROSS) * (options.rows + 4));
        for row in 0..options.rows {
            for column in 0..options.columns {
                let grey = [slice.image[(row, column)]; 3];
                sheet[(top + row, left + column)] = grey;
                sheet[(top + row, left + cell + column)] =
                    if outline(&slice.mask, column, row) { [255, 40, 40] } else { grey };
            }
        }
    }
    std::fs::write(path, encode_rgb(&sheet))?;
    Ok(())
}

fn plain(
    slices: &[PhantomSlice],
    options: &SliceOptions,
) -> Result<Grid<u8>, modiolus_imaging::grid::GridError> {
    let (cell, down) = (options.columns + 2, slices.len().div_ceil(ACROSS_PLAIN));
    let mut sheet = Grid::filled((options.rows + 2) * down, cell * ACROSS_PLAIN, 255)?;
    for (i, slice) in slices.iter().enumerate() {
        let (left, top) = (i % ACROSS_PLAIN * cell, i / ACROSS_PLAIN * (options.rows + 2));
        for row in 0..options.rows {
            sheet.row_mut(top + row)[left..][..options.columns].copy_from_slice(slice.image.row(row));
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
