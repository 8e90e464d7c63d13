//! Draws the phantoms of a style that a model does worst on: worst MODEL_FILE STYLE OUT.png [COUNT]
//!
//! Each stands beside itself with the true outline in green and the drawn one in red.

use std::error::Error;

use modiolus_imaging::metrics::{Overlap, surface};
use modiolus_imaging::{Grid, Image8, Mask, png};
use modiolus_phantom::{Quality, SliceOptions, Style, slice};
use modiolus_segmentation::Predictor;
use rayon::prelude::*;

const ACROSS: usize = 4;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, name, output, ..] = &arguments[..] else {
        return Err("usage: worst MODEL_FILE STYLE OUT.png [COUNT]".into());
    };
    let count: u64 = arguments.get(3).map_or(Ok(100), |text| text.parse())?;
    let quality = if name == "clean" { Quality::Clean } else { Quality::Any };
    let style = Style::ALL.into_iter().find(|style| format!("{style:?}").eq_ignore_ascii_case(name));
    let options = SliceOptions {
        styles: style.unwrap_or(Style::Anatomy).alone(),
        quality,
        empty: 0.0,
        ..SliceOptions::default()
    };
    let predictor = Predictor::load(&std::fs::read(model)?)?;
    let judged = (2_000_000_000..2_000_000_000 + count).into_par_iter().map(|seed| {
        let made = slice(seed, &options);
        let drawn = predictor.mask_slice(&made.image)?;
        let iou = Overlap::of(&made.mask, &drawn).map_or(0.0, |overlap| overlap.iou);
        Ok::<_, modiolus_segmentation::Error>((iou, made.image, made.mask, drawn))
    });
    let mut judged: Vec<_> = judged.collect::<Result<_, _>>()?;
    judged.sort_by(|a, b| a.0.total_cmp(&b.0));
    for (iou, ..) in &judged {
        print!("{iou:.2} ");
    }
    println!();
    judged.truncate(ACROSS * 4);
    std::fs::write(output, png::encode_rgb(&sheet(&judged)?))?;
    Ok(())
}

fn sheet(judged: &[(f64, Image8, Mask, Mask)]) -> Result<Grid<[u8; 3]>, Box<dyn Error>> {
    let (rows, columns) = judged.first().map_or((1, 1), |some| some.1.size());
    let mut sheet = Grid::filled(rows * judged.len().div_ceil(ACROSS), columns * 2 * ACROSS, [0; 3])?;
    for (i, (_, image, truth, drawn)) in judged.iter().enumerate() {
        let (top, left) = (i / ACROSS * rows, i % ACROSS * 2 * columns);
        let (truth, drawn) = (surface(truth), surface(drawn));
        for ((row, column), &grey) in image.cells() {
            sheet[(top + row, left + column)] = [grey; 3];
            sheet[(top + row, left + columns + column)] = match (truth[(row, column)], drawn[(row, column)]) {
                (true, true) => [255, 255, 0],
                (true, false) => [0, 255, 0],
                (false, true) => [255, 0, 0],
                (false, false) => [grey; 3],
            };
        }
    }
    Ok(sheet)
}
