//! Scans to give to the programs: real ones where they are, made ones for everything that can be wrong with a file.

use std::fs;
use std::path::{Path, PathBuf};

use modiolus_dicom::write::{CtImage, Syntax};

/// ImageOrientationPatient of a coronal slice.
pub const CORONAL: [f64; 6] = [1.0, 0.0, 0.0, 0.0, 0.0, -1.0];
/// ImageOrientationPatient of an axial slice.
pub const AXIAL: [f64; 6] = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0];

/// A folder of the real scans, which lie beside the project and are no part of it. Where they are absent, says so.
pub fn real(name: &str) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/real").join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: the real scans ({}) are not here", folder.display());
    None
}

/// A coronal slice: a disc of tissue with a ring of bright contacts, different for every number.
pub fn coronal(number: u32, side: u16) -> CtImage {
    let centre = f64::from(side) / 2.0;
    let pixel = |row: u16, column: u16| {
        let (y, x) = (f64::from(row) - centre, f64::from(column) - centre);
        let (radius, angle) = (x.hypot(y) / centre, y.atan2(x));
        let on_ring = (radius - 0.3).abs() < 0.03 && (angle * 6.0).cos() > 0.5;
        let texture = (u32::from(row) * 31 + u32::from(column) * 17 + number * 7) % 40;
        let tissue = if radius < 0.9 { 1000 } else { 0 };
        if on_ring { 3500 } else { tissue + i32::try_from(texture).unwrap_or(0) }
    };
    let pixels = (0..side).flat_map(|row| (0..side).map(move |column| (row, column)));
    CtImage {
        patient_id: "4711".into(),
        patient_name: "Doe^Jane".into(),
        sop_instance_uid: format!("2.25.1000.{number}"),
        series_instance_uid: "2.25.1001".into(),
        instance_number: number,
        rows: side,
        columns: side,
        pixels: pixels.map(|(row, column)| pixel(row, column)).collect(),
        orientation: Some(CORONAL),
        pixel_spacing: [0.2, 0.2],
        rescale_intercept: -1000.0,
        window: Some((1000.0, 4000.0)),
        ..CtImage::default()
    }
}

/// The file of an image, Explicit VR Little Endian.
pub fn file(image: &CtImage) -> Vec<u8> {
    image.to_bytes(Syntax::ExplicitLittle)
}

/// Writes a file with its folders.
#[track_caller]
pub fn write(path: &Path, bytes: &[u8]) {
    let written = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(path, bytes));
    written.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// Where an element of an Explicit VR Little Endian file begins.
#[track_caller]
pub fn element(file: &[u8], group: u16, element: u16, vr: &[u8; 2]) -> usize {
    let head = [&group.to_le_bytes()[..], &element.to_le_bytes()[..], vr].concat();
    let found = file.windows(head.len()).position(|window| window == head);
    found.unwrap_or_else(|| panic!("({group:04X},{element:04X}) is not in the file"))
}

/// A file with bytes put before an element.
#[track_caller]
pub fn with_before(mut file: Vec<u8>, before: usize, bytes: &[u8]) -> Vec<u8> {
    file.splice(before..before, bytes.iter().copied());
    file
}

/// A key file: with it, pseudonyms are the same in every output.
#[track_caller]
pub fn key_file(folder: &Path) -> PathBuf {
    let path = folder.join("key");
    write(&path, "0123456789abcdef".repeat(4).as_bytes());
    path
}
