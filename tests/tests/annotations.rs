//! What people drew on the slices of a run, and what becomes of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use modiolus_imaging::{Mask, png};
use modiolus_tests::{Finished, Table, modiolus, results, scans};
use serde_json::{Value, json};

const SIDE: usize = 64;

fn labelme(label: &str, side: usize) -> Vec<u8> {
    let square = json!([[10.0, 10.0], [20.0, 10.0], [20.0, 20.0], [10.0, 20.0]]);
    let shape =
        json!({ "label": label, "points": square, "shape_type": "polygon", "flags": {}, "group_id": null });
    let file = json!({
        "version": "5.4.1", "flags": {}, "shapes": [shape], "imagePath": "x.png", "imageData": null,
        "imageHeight": side, "imageWidth": side,
    });
    serde_json::to_vec(&file).unwrap()
}

fn disc(side: usize) -> Mask {
    Mask::from_fn(side, side, |row, column| row.abs_diff(30).pow(2) + column.abs_diff(30).pow(2) < 64)
        .unwrap()
}

fn run(folder: &Path, annotated: bool) -> Command {
    let mut command = modiolus();
    command
        .arg("run")
        .arg(folder.join("scans"))
        .arg("--output")
        .arg(folder.join("result"))
        .arg("--keep-patient-ids");
    if annotated {
        command.arg("--annotations").arg(folder.join("drawn"));
    }
    command
}

fn outcome<'a>(summary: &'a Value, file: &str) -> &'a Value {
    summary["annotations"].as_array().unwrap().iter().find(|annotation| annotation["file"] == file).unwrap()
}

#[test]
fn good_ones_become_samples_and_bad_ones_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let (folder, side) = (folder.path(), u16::try_from(SIDE).unwrap());
    for number in 1..=6 {
        scans::write(&folder.join(format!("scans/I{number}")), &scans::file(&scans::coronal(number, side)));
    }
    Finished::success(&mut run(folder, false));
    let drawn = folder.join("drawn");
    scans::write(&drawn.join("4711_I1.json"), &labelme("electrode", SIDE));
    scans::write(&drawn.join("4711/I2.png"), &png::encode_mask(&disc(SIDE)));
    scans::write(&drawn.join("4711_I3.png"), &png::encode_mask(&disc(SIDE + 1)));
    scans::write(&drawn.join("4711_I4.json"), &labelme("tumour", SIDE));
    scans::write(&drawn.join("4711_I5.json"), &labelme("electrode", SIDE * 2));
    scans::write(&drawn.join("4711_I6.json"), b"{ this is no JSON");
    scans::write(&drawn.join("4711_I99.json"), &labelme("electrode", SIDE));
    let bad = ["4711_I3.png", "4711_I4.json", "4711_I5.json", "4711_I6.json", "4711_I99.json"];
    let said = Finished::failure(&mut run(folder, true), &bad)
        .saying(&["tumour", "5 annotations could not be used"]);

    let result = folder.join("result");
    assert_eq!(Table::read(&result).none_failed().kept().len(), 6);
    let square = results::mask(&result.join("annotations/4711/I1.png"));
    assert_eq!(square, (SIDE, SIDE, 11 * 11), "labelme draws the outline too");
    assert_eq!(
        png::decode_mask(&fs::read(result.join("annotations/4711/I2.png")).unwrap()).unwrap(),
        disc(SIDE)
    );
    assert_eq!(modiolus_tests::files_below(&result.join("annotations")).len(), 2);

    let summary: Value = serde_json::from_slice(&fs::read(result.join("summary.json")).unwrap()).unwrap();
    for file in ["4711_I1.json", "4711/I2.png"] {
        assert_eq!(outcome(&summary, file)["verdict"], "accepted", "{said}");
    }
    for file in bad {
        let why = outcome(&summary, file)["why"].as_str().unwrap();
        assert!(
            !why.is_empty() && fs::read_to_string(result.join("index.html")).unwrap().contains(file),
            "{file}: {why}"
        );
    }
    let model = learned_from(&result);
    draws_from_now_on(folder, &model);
}

/// Trains on the accepted annotations, and gives the model file.
fn learned_from(result: &Path) -> PathBuf {
    let (plan, model) = (scans::plan_file(result, &scans::small_plan(1)), result.join("model.safetensors"));
    let mut command = modiolus();
    command
        .arg("train")
        .arg("--images")
        .arg(result.join("images"))
        .arg("--masks")
        .arg(result.join("annotations"));
    command.arg("--plan").arg(plan).arg("--output").arg(&model);
    Finished::success(&mut command).saying(&["2 pictures of 1 patient"]);
    model
}

/// Once it is current, the next run draws with it.
fn draws_from_now_on(folder: &Path, model: &Path) {
    let store = folder.join("result");
    let pointer =
        Finished::success(modiolus().args(["models", "promote", "--json", "--store"]).arg(&store).arg(model))
            .json();
    let by = || Finished::success(run(folder, false).arg("--json")).json()["model"].clone();
    assert_eq!(by(), pointer["current"]);
    assert!(pointer["current"].as_str().is_some_and(|version| version.starts_with("m-")), "{pointer}");
}
