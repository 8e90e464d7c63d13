//! Scans to give to the programs: real ones where they are, made ones for everything that can be wrong with a file.

use std::fs;
use std::path::{Path, PathBuf};

use modiolus_dicom::write::{CtImage, Syntax};
use modiolus_imaging::{Image8, Mask, png};
use modiolus_pipeline::Plan;
use modiolus_pipeline::plan::{Input, Network};

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

/// A picture with its true mask, both as PNG: a bright blob on a noisy ground, different for every number.
pub fn pair(number: usize, side: usize) -> (Vec<u8>, Vec<u8>) {
    let (row, column, radius) =
        (side / 4 + number * 5 % (side / 2), side / 4 + number * 11 % (side / 2), side / 8);
    let inside = |r: usize, c: usize| r.abs_diff(row).pow(2) + c.abs_diff(column).pow(2) <= radius.pow(2);
    let ground = |r: usize, c: usize| u8::try_from((r * 7 + c * 13 + number * 29) % 60 + 20).unwrap_or(0);
    let mask = Mask::from_fn(side, side, inside).expect("a small picture is possible");
    let image = Image8::from_fn(side, side, |r, c| if inside(r, c) { 230 } else { ground(r, c) });
    (png::encode_grey(&image.expect("a small picture is possible")), png::encode_mask(&mask))
}

/// A plan that trains in a second: a small network on a small grid.
pub fn small_plan(epochs: u32) -> Plan {
    let network = Network::OneLevelUnet { features: 4 };
    Plan { name: "small".into(), network, input: Input::Fit { size: 32 }, epochs, ..Plan::one_level_unet() }
}

/// Writes a plan where `--plan` can read it.
#[track_caller]
pub fn plan_file(folder: &Path, plan: &Plan) -> PathBuf {
    let path = folder.join(format!("{}.plan.json", plan.id()));
    write(&path, &serde_json::to_vec(plan).expect("a plan has a JSON form"));
    path
}
