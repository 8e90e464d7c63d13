//! Real pictures for tests, read from `../shared/real` beside the project; a test is skipped, and says so, where they are absent.

use std::path::PathBuf;

use crate::grid::{Grid, Image8, Mask, Values};
use crate::png;
use crate::window::{VoiWindow, to_8bit};

fn folder(name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/real").join(name);
    if !path.is_dir() {
        println!("skipped: {} is absent", path.display());
        return None;
    }
    Some(path)
}

fn files(folder: PathBuf) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// The five CBCT slices with an implant, by name, 0.2 mm a pixel.
pub(crate) fn cbct_pictures() -> Option<Vec<(String, Image8)>> {
    let read = |path: PathBuf| {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        (name, png::decode_grey(&std::fs::read(path).unwrap()).unwrap())
    };
    Some(files(folder("cbct-truth/images")?).into_iter().map(read).collect())
}

/// Their masks, in the same order.
pub(crate) fn cbct_masks() -> Option<Vec<Mask>> {
    let read = |path: PathBuf| png::decode_mask(&std::fs::read(path).unwrap()).unwrap();
    Some(files(folder("cbct-truth/masks")?).into_iter().map(read).collect())
}

/// The 108 slices of a head without an implant, in order, in their own window; 0.957 mm a pixel.
pub(crate) fn head_pictures() -> Option<Vec<Image8>> {
    let window = VoiWindow::linear(300.0, 2000.0);
    let read = |path: PathBuf| {
        let bytes = std::fs::read(path).unwrap();
        // The pixel data are the last attribute.
        let pixels = bytes[bytes.len() - 2 * 256 * 256..].chunks_exact(2);
        let values = pixels.map(|pair| f32::from(i16::from_le_bytes([pair[0], pair[1]]))).collect();
        let values: Values = Grid::new(256, 256, values).unwrap();
        to_8bit(&values, Some(&window), false)
    };
    Some(files(folder("head-ct")?).into_iter().map(read).collect())
}
