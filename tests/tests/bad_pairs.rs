//! Pictures and masks that nobody would want to learn from: each is learned from, or refused with the reason.

use std::path::Path;

use modiolus_imaging::{Grid, Image8, Mask, png};
use modiolus_pipeline::Plan;
use modiolus_tests::{Finished, modiolus, results, scans};

/// Memory for pictures of 8000 x 8000 and the network, in KiB.
const MOST_KIB: u64 = 3 << 20;

fn write_pair(folder: &Path, name: &str, image: &Image8, mask: &Mask) {
    scans::write(&folder.join(format!("images/{name}.png")), &png::encode_grey(image));
    scans::write(&folder.join(format!("masks/{name}.png")), &png::encode_mask(mask));
}

/// A noisy picture with a bright square in its middle.
fn square(side: usize) -> (Image8, Mask) {
    let inside = |at: usize| at.abs_diff(side / 2) <= side / 8;
    let grey = |row: usize, column: usize| (row * 7 + column * 13) % 60 + 20;
    let mask = Grid::from_fn(side, side, |row, column| inside(row) && inside(column)).unwrap();
    let image = Grid::from_fn(side, side, |row, column| {
        if mask[(row, column)] { 230 } else { u8::try_from(grey(row, column)).unwrap() }
    });
    (image.unwrap(), mask)
}

fn training(folder: &Path, plan: &Plan) -> std::process::Command {
    let mut command = modiolus();
    command.arg("train").arg("--images").arg(folder.join("images")).arg("--masks").arg(folder.join("masks"));
    command.arg("--output").arg(folder.join("model.safetensors"));
    command.arg("--plan").arg(scans::plan_file(folder, plan));
    command
}

/// Small plans of both kinds of input.
fn plans() -> [Plan; 2] {
    let native = modiolus_pipeline::plan::Input::Native { multiple: 2, patch: 32, patches: 8 };
    let small = scans::small_plan(2);
    [Plan { input: native, ..small.clone() }, small]
}

#[test]
fn masks_of_nothing_or_of_everything_are_no_masks_to_learn_from() {
    for (full, why) in [(false, "there is nothing to learn"), (true, "the mask covers 100 %")] {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..4 {
            let (image, mask) = square(40 + number);
            write_pair(folder.path(), &format!("p{number}_1"), &image, &mask.like(full));
        }
        for plan in plans() {
            Finished::failure(&mut training(folder.path(), &plan), &[why]);
            assert!(!folder.path().join("model.safetensors").exists());
        }
    }
}

#[test]
fn a_picture_without_an_electrode_among_others_teaches_where_none_is() {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..4 {
        let (image, mask) = square(40 + number);
        let mask = if number == 0 { mask.like(false) } else { mask };
        write_pair(folder.path(), &format!("p{number}_1"), &image, &mask);
    }
    Finished::success(&mut training(folder.path(), &plans()[0]));
}

#[test]
fn the_smallest_and_largest_pictures_are_learned_and_drawn_on() {
    let folder = tempfile::tempdir().unwrap();
    for (number, side) in [16, 8000, 17, 40].into_iter().enumerate() {
        let (image, mask) = square(side);
        write_pair(folder.path(), &format!("p{number}_1"), &image, &mask);
    }
    let said = Finished::success(&mut training(folder.path(), &plans()[0]));
    assert!(said.peak_kib < MOST_KIB, "{} KiB: {said}", said.peak_kib);
    let masks = folder.path().join("drawn");
    let mut predict = modiolus();
    predict.arg("predict").arg(folder.path().join("images")).arg("--output").arg(&masks);
    let said = Finished::success(predict.arg("--model").arg(folder.path().join("model.safetensors")));
    assert!(said.peak_kib < MOST_KIB, "{} KiB: {said}", said.peak_kib);
    assert_eq!(results::mask(&masks.join("p0_1.png")).0, 16);
    assert_eq!(results::mask(&masks.join("p1_1.png")).0, 8000);
}

#[test]
fn a_single_patient_is_learned_and_told_that_nothing_was_held_out() {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..3 {
        let (image, mask) = square(40 + number);
        write_pair(folder.path(), &format!("p1_{number}"), &image, &mask);
    }
    let said = Finished::success(training(folder.path(), &plans()[0]).arg("--json"));
    let said = said.saying(&["No split is possible", "judged on what it trains on"]);
    let last = said.stdout.lines().last().unwrap();
    let summary: serde_json::Value = serde_json::from_str(last).unwrap();
    assert_eq!(summary["held_out"], false);
}
