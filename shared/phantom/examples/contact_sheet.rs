//! Writes a contact sheet of made slices, for people to look at: `contact_sheet OUT.png [FIRST_SEED] [COUNT]`.
//!
//! Each slice stands beside itself with the mask's outline in it.

use std::io::Write;

use modiolus_imaging::{Grid, Mask, png::encode_rgb};
use modiolus_phantom::{PhantomSlice, SliceOptions, slice};

const ACROSS: usize = 6;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("usage: contact_sheet OUT.png [FIRST_SEED] [COUNT]")?;
    let first: u64 = arguments.next().map_or(Ok(0), |text| text.parse())?;
    let count: u64 = arguments.next().map_or(Ok(48), |text| text.parse())?;
    let options = SliceOptions::default();
    let start = std::time::Instant::now();
    let slices: Vec<PhantomSlice> = (first..first + count).map(|seed| slice(seed, &options)).collect();
    let seconds = start.elapsed().as_secs_f64();
    writeln!(std::io::stderr(), "{:.1} slices a second on one core", count as f64 / seconds)?;
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
