//! Draws what a model does worst on: worst MODEL_FILE STYLE OUT.png [COUNT], or worst MODEL_FILE PICTURES_DIR OUT.png MASKS_DIR
//!
//! STYLE is one of the phantom's, or `clean`; pictures are `NAME.png`, masks `NAME_mask.png`.
//! Each stands beside itself with the true outline in green and the drawn one in red.

use std::error::Error;
use std::path::Path;

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
    let predictor = Predictor::load(&std::fs::read(model)?)?;
    let pictures = match arguments.get(3).filter(|_| Path::new(name).is_dir()) {
        Some(masks) => pictures(Path::new(name), Path::new(masks))?,
        None => phantoms(name, arguments.get(3).map_or(Ok(100), |text| text.parse())?),
    };
    let judged = pictures.into_par_iter().map(|(image, mask)| {
        let drawn = predictor.mask_slice(&image)?;
        let iou = Overlap::of(&mask, &drawn).map_or(0.0, |overlap| overlap.iou);
        Ok::<_, modiolus_segmentation::Error>((iou, image, mask, drawn))
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

fn phantoms(name: &str, count: u64) -> Vec<(Image8, Mask)> {
    let quality = if name == "clean" { Quality::Clean } else { Quality::Any };
    let style = Style::ALL.into_iter().find(|style| format!("{style:?}").eq_ignore_ascii_case(name));
    let styles = style.unwrap_or(Style::Anatomy).alone();
    let options = SliceOptions { styles, quality, empty: 0.0, ..SliceOptions::default() };
    let made = (2_000_000_000..2_000_000_000 + count).into_par_iter().map(|seed| slice(seed, &options));
    made.map(|made| (made.image, made.mask)).collect()
}

fn pictures(images: &Path, masks: &Path) -> Result<Vec<(Image8, Mask)>, Box<dyn Error>> {
    let mut all = Vec::new();
    for file in std::fs::read_dir(images)? {
        let path = file?.path();
        let mask = format!("{}_mask.png", path.file_stem().unwrap_or_default().to_string_lossy());
        let mask = png::decode_mask(&std::fs::read(masks.join(mask))?)?;
        all.push((png::decode_grey(&std::fs::read(&path)?)?, mask));
    }
    Ok(all)
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
