//! Masks that go out of the review page and come in again.

use std::io::{Cursor, Read};

use modiolus_imaging::png;
use modiolus_tests::console::{Console, zipped};
use modiolus_tests::reviewed::{Reviewed, SIDE, drawn};
use serde_json::{Value, json};
use zip::ZipArchive;

type Zip = ZipArchive<Cursor<Vec<u8>>>;

fn zip(console: &Console, path: &str) -> Zip {
    ZipArchive::new(Cursor::new(console.bytes(path))).unwrap()
}

fn names(zip: &Zip) -> Vec<String> {
    let mut names: Vec<String> = zip.file_names().map(|name| name.unwrap().into_owned()).collect();
    names.sort();
    names
}

fn file(zip: &mut Zip, name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    zip.by_name(name).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

fn import(reviewed: &Reviewed, run: &str, files: Vec<(&str, Vec<u8>)>) -> Value {
    let path = format!("runs/{run}/annotations");
    let (status, imported) = reviewed.console.send("POST", &path, "application/zip", &zipped(files));
    assert_eq!(status, 200, "{imported}");
    imported
}

#[test]
fn masks_go_out_under_the_names_by_which_they_come_in_again() {
    let reviewed = Reviewed::new();
    let run = reviewed.run["run"].as_str().unwrap();
    let patient = reviewed.slices()[0]["patient"].as_str().unwrap().to_owned();
    let mut out = zip(&reviewed.console, &format!("runs/{run}/masks.zip?patient={patient}"));
    let masks = ["I1", "I2", "I3"].map(|name| format!("{patient}/{name}.png"));
    assert_eq!(names(&out), [&masks[..], &["masks.csv".to_owned()]].concat());
    let table = String::from_utf8(file(&mut out, "masks.csv")).unwrap();
    assert_eq!(table.matches("model,proposal,m-").count(), 3, "{table}");
    assert_eq!(png::decode_mask(&file(&mut out, &masks[0])).unwrap().size(), (SIDE.into(), SIDE.into()));

    // Changed elsewhere: as PNG, as labelme's file in a folder, and with things that are no masks.
    let (first, first_png) = drawn(SIDE.into(), 20);
    let (second, _) = drawn(SIDE.into(), 40);
    let labelme = modiolus_imaging::annotation::write(&second, "I2.png");
    let imported = import(
        &reviewed,
        run,
        vec![
            (masks[0].as_str(), first_png.clone()),
            (format!("drawn/{patient}_I2.json").as_str(), labelme),
            (
                format!("{patient}_I3.png").as_str(),
                png::encode_mask(&modiolus_imaging::Grid::filled(3, 4, true).unwrap()),
            ),
            ("nobody_I1.json", b"{}".to_vec()),
            (format!("{patient}_I3.json").as_str(), b"{\"shapes\": []}".to_vec()),
            ("notes.txt", b"passed over".to_vec()),
        ],
    );
    assert_eq!((&imported["accepted"], &imported["refused"]), (&json!(2), &json!(3)), "{imported}");
    let why = |at: usize| imported["files"][at]["refused"].as_str().unwrap_or_default().to_owned();
    assert!(
        why(2).contains("3 x 4") && why(3).contains("PATIENT_STEM") && why(4).contains("imageHeight"),
        "{imported}"
    );

    let mut out = zip(&reviewed.console, &format!("runs/{run}/masks.zip"));
    for (name, mask) in masks.iter().zip([&first, &second]) {
        assert_eq!(png::decode_mask(&file(&mut out, name)).unwrap(), *mask, "{name}");
    }
    let table = String::from_utf8(file(&mut out, "masks.csv")).unwrap();
    assert_eq!(table.matches("people,accepted,").count(), 2, "{table}");
    let mut labelme = zip(&reviewed.console, &format!("runs/{run}/labelme.zip"));
    assert_eq!(names(&labelme).len(), 6, "a picture and a file for each slice");
    let written = file(&mut labelme, &format!("{patient}_I1.json"));
    let side = SIDE.into();
    assert_eq!(modiolus_imaging::annotation::parse(&written, side, side).unwrap().electrode, first);

    let again = import(&reviewed, run, vec![(masks[0].as_str(), first_png)]);
    assert_eq!(again["accepted"], 1);
    let slices = reviewed.slices();
    let slice = slices.iter().find(|slice| slice["name"] == "I1").unwrap();
    let revisions = format!("slices/{patient}/{}/revisions", slice["slice"].as_str().unwrap());
    assert_eq!(reviewed.console.json(&revisions).as_array().unwrap().len(), 1, "the same mask is kept once");
}

#[test]
fn a_dataset_is_pictures_masks_and_who_is_held_out() {
    let reviewed = Reviewed::new();
    let run = reviewed.run["run"].as_str().unwrap();
    assert_eq!(reviewed.console.get("/api/v1/dataset.zip").status().as_u16(), 409, "nothing is annotated");
    let patient = reviewed.slices()[0]["patient"].as_str().unwrap().to_owned();
    let (mask, png_bytes) = drawn(SIDE.into(), 20);
    import(&reviewed, run, vec![(format!("{patient}_I1.png").as_str(), png_bytes)]);
    let mut out = zip(&reviewed.console, "dataset.zip");
    let all = names(&out);
    assert_eq!(all.len(), 3, "{all:?}");
    let name = all[0].strip_prefix("images/").unwrap();
    assert_eq!(png::decode_grey(&file(&mut out, &all[0])).unwrap().size(), mask.size());
    let bytes = file(&mut out, &format!("masks/{name}"));
    assert_eq!(png::decode_mask(&bytes).unwrap(), mask);
    let split = String::from_utf8(file(&mut out, "split.csv")).unwrap();
    assert_eq!(split, format!("name,patient,side\n{name},{patient},training\n"));
}

#[test]
fn what_is_no_zip_of_masks_is_refused_in_words() {
    let reviewed = Reviewed::new();
    let path = format!("runs/{}/annotations", reviewed.run["run"].as_str().unwrap());
    for (zip, words) in [
        (zipped([("../P_I1.json", vec![1])]), "outside"),
        (vec![1, 2, 3], "no zip"),
        (zipped([]), "no files"),
    ] {
        let (status, said) = reviewed.console.send("POST", &path, "application/zip", &zip);
        assert!(status == 400 && said["error"].as_str().unwrap().contains(words), "{status} {said}");
    }
    assert_eq!(reviewed.console.send("POST", "runs/r-0/annotations", "application/zip", &zipped([])).0, 404);
    let masks = format!("/api/v1/runs/{}/masks.zip?patient=P-0", reviewed.run["run"].as_str().unwrap());
    assert_eq!(reviewed.console.get(&masks).status().as_u16(), 404);
}
