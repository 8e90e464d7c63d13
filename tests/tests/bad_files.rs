//! Files with every kind of damage: each is one row of the table, nothing stops the run, memory stays small.

use std::path::Path;

use modiolus_tests::{Finished, Table, modiolus, scans};

/// What is promised for indexing and filtering.
const MOST_KIB: u64 = 150 * 1024;

/// Runs on a folder up to the filter: whatever is in it, the run succeeds, and every file has its row and its reason.
#[track_caller]
fn filtered(delivery: &Path, output: &Path) -> Table {
    let files = modiolus_tests::files_below(delivery).len();
    let run = Finished::success(
        modiolus().arg("run").arg(delivery).args(["--until", "filter", "--output"]).arg(output),
    );
    assert!(run.peak_kib < MOST_KIB, "{} KiB", run.peak_kib);
    let table = Table::read(output).none_failed();
    assert_eq!(table.rows().len(), files);
    let refused = table.with_verdict("refused");
    assert!(refused.iter().all(|row| !row["reason"].is_empty() && !row["detail"].is_empty()));
    table
}

#[test]
fn no_prefix_of_a_valid_file_is_kept_but_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let [delivery, output] = ["scans", "output"].map(|name| folder.path().join(name));
    let file = scans::file(&scans::coronal(1, 24));
    for length in 0..=file.len() {
        scans::write(&delivery.join(format!("{length:05}")), &file[..length]);
    }
    let table = filtered(&delivery, &output);
    assert_eq!(table.kept(), [format!("{:05}", file.len())]);
    assert_eq!(table.row("00000")["reason"], "empty");
    assert_eq!(table.row(&format!("{:05}", file.len() - 1))["reason"], "truncated");
}

#[test]
fn a_flipped_byte_anywhere_in_the_header_stops_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let [delivery, output] = ["scans", "output"].map(|name| folder.path().join(name));
    let file = scans::file(&scans::coronal(1, 16));
    let header = scans::element(&file, 0x7FE0, 0x0010, b"OW") + 12;
    for (position, mask) in
        (128..header).flat_map(|position| [(position, 0xFF), (position, 0x01), (position, 0x80)])
    {
        let mut flipped = file.clone();
        flipped[position] ^= mask;
        scans::write(&delivery.join(format!("{position:05}-{mask:02x}")), &flipped);
    }
    let table = filtered(&delivery, &output);
    assert!(!table.kept().is_empty() && !table.with_verdict("refused").is_empty());
}

/// Numbers that decide how a picture is made: whatever they are, the whole pipeline gets through.
#[test]
fn impossible_numbers_in_kept_slices_fail_nothing_later() {
    let folder = tempfile::tempdir().unwrap();
    let [delivery, output] = ["scans", "output"].map(|name| folder.path().join(name));
    let numbers = [0.0, -1.0, 1e-300, 1e300, -1e300, f64::NAN, f64::INFINITY];
    for (number, value) in numbers.into_iter().enumerate() {
        let base = scans::coronal(u32::try_from(number).unwrap() + 1, 48);
        let write =
            |kind: &str, image| scans::write(&delivery.join(format!("{kind}{number}")), &scans::file(&image));
        write("spacing", modiolus_dicom::write::CtImage { pixel_spacing: [value, 0.2], ..base.clone() });
        write("slope", modiolus_dicom::write::CtImage { rescale_slope: value, ..base.clone() });
        write("intercept", modiolus_dicom::write::CtImage { rescale_intercept: value, ..base.clone() });
        write("window", modiolus_dicom::write::CtImage { window: Some((value, value)), ..base.clone() });
        write("position", modiolus_dicom::write::CtImage { position: [value; 3], ..base.clone() });
        write("orientation", modiolus_dicom::write::CtImage { orientation: Some([value; 6]), ..base });
    }
    for side in [1, 2, 3] {
        scans::write(&delivery.join(format!("side{side}")), &scans::file(&scans::coronal(100, side)));
    }
    Finished::success(modiolus().arg("run").arg(&delivery).arg("--output").arg(&output));
    let table = Table::read(&output).none_failed();
    assert_eq!(table.rows().len(), 6 * numbers.len() + 3);
    let refused =
        |kind: &str| table.with_verdict("refused").iter().filter(|row| row["path"].starts_with(kind)).count();
    assert_eq!(refused("orientation"), numbers.len());
}

#[test]
fn promises_of_gigabytes_and_nesting_without_end_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let [delivery, output] = ["scans", "output"].map(|name| folder.path().join(name));
    let good = scans::file(&scans::coronal(1, 32));
    let at = |group, element, vr| scans::element(&good, group, element, vr);
    let (rows, columns) = (at(0x0028, 0x0010, b"US") + 8, at(0x0028, 0x0011, b"US") + 8);
    let (description, samples) = (at(0x0008, 0x103E, b"LO"), at(0x0028, 0x0002, b"US"));
    let pixels = at(0x7FE0, 0x0010, b"OW");
    let patched = |places: &[(usize, &[u8])]| {
        let mut file = good.clone();
        places.iter().for_each(|(place, bytes)| file[*place..place + bytes.len()].copy_from_slice(bytes));
        file
    };
    let full: &[u8] = &[0xFF, 0xFF];
    let nothing: &[u8] = &[0, 0];
    let deep_undefined = [
        0x21, 0, 0x01, 0x10, b'S', b'Q', 0, 0, 255, 255, 255, 255, 0xFE, 0xFF, 0x00, 0xE0, 255, 255, 255, 255,
    ];
    let deep_defined = [
        0x21, 0, 0x01, 0x10, b'S', b'Q', 0, 0, 255, 255, 255, 127, 0xFE, 0xFF, 0x00, 0xE0, 255, 255, 255, 127,
    ];
    let items = [0xFE, 0xFF, 0x00, 0xE0, 0, 0, 0, 0];
    let end = [0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0];
    let sequence = [0x21, 0, 0x01, 0x10, b'S', b'Q', 0, 0, 255, 255, 255, 255];
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("gigabytes", patched(&[(rows, full), (columns, full)])),
        ("more-rows", patched(&[(rows, &[33, 0])])),
        ("no-rows", patched(&[(rows, nothing)])),
        ("no-columns", patched(&[(columns, nothing)])),
        ("short-pixels", good[..good.len() - 1000].to_vec()),
        ("long-pixels", patched(&[(pixels + 8, &[0xFE, 0xFF, 0xFF, 0xFF])])),
        ("no-end", patched(&[(pixels + 8, &[0xFF; 4])])),
        ("long-text", patched(&[(description + 6, full)])),
        ("deep", scans::with_before(good.clone(), samples, &deep_undefined.repeat(100_000))),
        ("deep-lengths", scans::with_before(good.clone(), samples, &deep_defined.repeat(100_000))),
        (
            "many-items",
            scans::with_before(
                good.clone(),
                samples,
                &[&sequence[..], &items.repeat(500_000), &end].concat(),
            ),
        ),
        ("jpeg-bomb", jpeg_bomb(&good, rows, columns)),
    ];
    for (name, bytes) in &cases {
        scans::write(&delivery.join(name), bytes);
    }
    scans::write(&delivery.join("good"), &good);
    let table = filtered(&delivery, &output);
    assert_eq!(table.kept(), ["good", "many-items"], "{:?}", table.rows());
    for (name, reasons) in [
        ("gigabytes", &["truncated", "too-large"][..]),
        ("no-rows", &["malformed-attribute"]),
        ("short-pixels", &["truncated"]),
        ("long-pixels", &["truncated", "too-large"]),
        ("deep", &["too-large"]),
    ] {
        assert!(reasons.contains(&table.row(name)["reason"].as_str()), "{name}: {:?}", table.row(name));
    }
    assert!(table.row("no-rows")["detail"].contains("Rows"), "the attribute is named");
}

/// Rows and Columns of 8192 in a lossless JPEG (Process 14, first-order prediction) of a few bytes.
fn jpeg_bomb(good: &[u8], rows: usize, columns: usize) -> Vec<u8> {
    let pixels = scans::element(good, 0x7FE0, 0x0010, b"OW");
    let syntax = scans::element(good, 0x0002, 0x0010, b"UI");
    let mut file = good[..pixels].to_vec();
    for place in [rows, columns] {
        file[place..place + 2].copy_from_slice(&8192_u16.to_le_bytes());
    }
    let frame = [
        0xFF, 0xD8, 0xFF, 0xC3, 0, 11, 16, 0x20, 0, 0x20, 0, 1, 1, 0x11, 0, 0xFF, 0xDA, 0, 8, 1, 1, 0, 1, 0,
        0, 0xFF, 0xD9,
    ];
    file.extend([
        0xE0, 0x7F, 0x10, 0, b'O', b'B', 0, 0, 255, 255, 255, 255, 0xFE, 0xFF, 0x00, 0xE0, 0, 0, 0, 0,
    ]);
    file.extend([0xFE, 0xFF, 0x00, 0xE0, 28, 0, 0, 0]);
    file.extend(frame);
    file.extend([0, 0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0]);
    // The UID is two bytes longer, and so is the meta group that tells its length.
    file[140] += 2;
    file[syntax + 6] += 2;
    file.splice(syntax + 8..syntax + 28, b"1.2.840.10008.1.2.4.70".iter().copied());
    file
}
