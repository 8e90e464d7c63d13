//! Model files that are none, or of another kind: a clear error, the file named.

use std::fs;
use std::path::{Path, PathBuf};

use modiolus_pipeline::plan::Input;
use modiolus_tests::{Finished, modiolus, scans};
use serde_json::Value;

/// A picture to draw on, and a good small model.
fn workshop(folder: &Path) -> (PathBuf, PathBuf) {
    for number in 0..4 {
        let (image, mask) = scans::pair(number, 48);
        scans::write(&folder.join(format!("images/p{number}_1.png")), &image);
        scans::write(&folder.join(format!("masks/p{number}_1.png")), &mask);
    }
    let (plan, model) = (scans::plan_file(folder, &scans::small_plan(1)), folder.join("good.safetensors"));
    let mut train = modiolus();
    train.arg("train").arg("--images").arg(folder.join("images")).arg("--masks").arg(folder.join("masks"));
    Finished::success(train.arg("--plan").arg(plan).arg("--output").arg(&model));
    (folder.join("images/p0_1.png"), model)
}

/// The model with its plan changed by hand, and nothing else.
fn with_plan(model: &[u8], change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let length = usize::try_from(u64::from_le_bytes(model[..8].try_into().unwrap())).unwrap();
    let mut header: Value = serde_json::from_slice(&model[8..8 + length]).unwrap();
    let mut metadata: Value =
        serde_json::from_str(header["__metadata__"]["modiolus"].as_str().unwrap()).unwrap();
    change(&mut metadata["origin"]["plan"]);
    header["__metadata__"]["modiolus"] = metadata.to_string().into();
    let header = header.to_string();
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &model[8 + length..]].concat()
}

#[test]
fn what_is_no_model_or_another_one_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let (picture, good) = workshop(folder.path());
    let good = fs::read(good).unwrap();
    let with_length = |length: u64| [&length.to_le_bytes()[..], &good[8..]].concat();
    let mut not_a_number = good.clone();
    let end = not_a_number.len();
    not_a_number[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("photo.jpg", b"\xFF\xD8\xFF\xE0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0 and so on".to_vec()),
        ("empty.safetensors", Vec::new()),
        ("short.safetensors", good[..7].to_vec()),
        ("cut.safetensors", good[..good.len() - 1].to_vec()),
        ("longest.safetensors", with_length(u64::MAX)),
        ("long.safetensors", with_length(1 << 40)),
        ("longer-by-one.safetensors", with_length(good.len() as u64)),
        ("features.safetensors", with_plan(&good, |plan| plan["network"]["features"] = 8.into())),
        (
            "network.safetensors",
            with_plan(&good, |plan| {
                plan["network"] = serde_json::json!({"kind": "unet", "levels": 2, "features": 4})
            }),
        ),
        ("huge.safetensors", with_plan(&good, |plan| plan["input"]["size"] = 4_000_000_000_u32.into())),
        ("foreign.safetensors", with_plan(&good, |plan| plan["network"]["kind"] = "transformer".into())),
        ("nan.safetensors", not_a_number),
    ];
    assert!(with_plan(&good, |_| ()).len() >= good.len() - 64, "an unchanged plan leaves the model as it is");
    for (name, bytes) in cases {
        let file = folder.path().join(name);
        scans::write(&file, &bytes);
        let output = folder.path().join("masks-of").join(name);
        let mut predict = modiolus();
        predict.arg("predict").arg(&picture).arg("--output").arg(&output).arg("--model").arg(&file);
        let said = Finished::failure(&mut predict, &[name]);
        assert!(!output.exists(), "nothing is drawn with it: {said}");
        assert!(said.peak_kib < 1024 * 1024, "{} KiB: {said}", said.peak_kib);
    }
}

#[test]
fn run_and_promote_refuse_them_too() {
    let folder = tempfile::tempdir().unwrap();
    let photo = folder.path().join("photo.jpg");
    scans::write(&photo, b"\xFF\xD8\xFF\xE0\0\x10JFIF\0 and so on");
    scans::write(&folder.path().join("scans/I1"), &scans::file(&scans::coronal(1, 32)));
    let output = folder.path().join("output");
    let mut run = modiolus();
    run.arg("run").arg(folder.path().join("scans")).arg("--output").arg(&output).arg("--model").arg(&photo);
    Finished::failure(&mut run, &["photo.jpg"]);
    Finished::failure(
        modiolus().args(["models", "promote"]).arg(&photo).arg("--store").arg(&output),
        &["photo.jpg"],
    );
    let list =
        Finished::success(modiolus().args(["models", "list", "--json", "--store"]).arg(&output)).json();
    assert_eq!(list.as_array().map(Vec::len), Some(0));
}

/// The model with every value of some tensors replaced.
fn with_values(model: &[u8], value: impl Fn(&str) -> Option<f32>) -> Vec<u8> {
    let length = usize::try_from(u64::from_le_bytes(model[..8].try_into().unwrap())).unwrap();
    let header: Value = serde_json::from_slice(&model[8..8 + length]).unwrap();
    let mut changed = model.to_vec();
    for (name, tensor) in header.as_object().unwrap() {
        let Some(value) = value(name) else { continue };
        let place = |end: usize| 8 + length + tensor["data_offsets"][end].as_u64().unwrap() as usize;
        changed[place(0)..place(1)]
            .chunks_exact_mut(4)
            .for_each(|four| four.copy_from_slice(&value.to_le_bytes()));
    }
    changed
}

#[test]
fn a_training_that_diverges_says_so_and_keeps_its_last_good_model() {
    let folder = tempfile::tempdir().unwrap();
    let (picture, good) = workshop(folder.path());
    // Tiny weights around a huge one: after the first step the gradients of the next overflow.
    let explosive = with_values(&fs::read(good).unwrap(), |name| match name {
        "weights.up.0.0.kernel" => Some(1e30),
        "weights.head.kernel" => Some(0.0),
        name if name.ends_with(".kernel") => Some(1e-18),
        name if name.starts_with("weights.") => Some(0.0),
        _ => None,
    });
    let (base, output) = (folder.path().join("base.safetensors"), folder.path().join("new.safetensors"));
    scans::write(&base, &explosive);
    let mut plan = scans::small_plan(10);
    (plan.batch, plan.optimizer.rate) = (4, 1e-3);
    // One step an epoch.
    plan.input = Input::Native { multiple: 2, patch: 32, patches: 4 };
    let plan = scans::plan_file(folder.path(), &plan);
    let mut train = modiolus();
    train
        .arg("train")
        .arg("--images")
        .arg(folder.path().join("images"))
        .arg("--masks")
        .arg(folder.path().join("masks"));
    train.arg("--plan").arg(plan).arg("--base").arg(base).arg("--output").arg(&output);
    let said = Finished::failure(&mut train, &["diverged", "rate", "new.last-good.safetensors"]);
    assert!(!output.exists() && !folder.path().join("new.safetensors.training").exists(), "{said}");
    let mut predict = modiolus();
    predict.arg("predict").arg(picture).arg("--output").arg(folder.path().join("drawn")).arg("--model");
    Finished::success(predict.arg(folder.path().join("new.last-good.safetensors")));
}
