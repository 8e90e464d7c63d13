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
    let small = png::encode_mask(&modiolus_imaging::Grid::filled(3, 4, true).unwrap());
    let imported = import(
        &reviewed,
        run,
        vec![
            (masks[0].as_str(), first_png.clone()),
            (format!("drawn/{patient}_I2.json").as_str(), labelme),
            (format!("{patient}_I3.png").as_str(), small.clone()),
            ("nobody_I1.json", b"{}".to_vec()),
            (format!("{patient}_I3.json").as_str(), b"{\"shapes\": []}".to_vec()),
            ("notes.txt", b"passed over".to_vec()),
        ],
    );
    // What lies beside a labelme file is its picture.
    assert_eq!((&imported["accepted"], &imported["refused"]), (&json!(2), &json!(2)), "{imported}");
    let why = |imported: &Value, at: usize| {
        imported["files"][at]["refused"].as_str().unwrap_or_default().to_owned()
    };
    assert!(
        why(&imported, 2).contains("PATIENT_STEM") && why(&imported, 3).contains("imageHeight"),
        "{imported}"
    );
    let imported = import(&reviewed, run, vec![(format!("{patient}_I3.png").as_str(), small.clone())]);
    assert!(why(&imported, 0).contains("3 x 4"), "{imported}");
    let (one, other) = (format!("a/{patient}_I3.png"), format!("b/{patient}_I3.png"));
    let imported = import(&reviewed, run, vec![(one.as_str(), small.clone()), (other.as_str(), small)]);
    assert_eq!((&imported["accepted"], &imported["refused"]), (&json!(0), &json!(2)), "{imported}");
    assert!(why(&imported, 0).contains(&one) && why(&imported, 0).contains(&other), "{imported}");

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
fn what_went_out_before_somebody_drew_does_not_come_in_over_it() {
    let reviewed = Reviewed::new();
    let run = reviewed.run["run"].as_str().unwrap();
    let of = reviewed.slices().into_iter().find(|slice| slice["name"] == "I1").unwrap();
    let text = |name: &str| of[name].as_str().unwrap().to_owned();
    let (patient, slice) = (text("patient"), text("slice"));
    let revisions = format!("slices/{patient}/{slice}/revisions");
    let mut out = zip(&reviewed.console, &format!("runs/{run}/masks.zip"));
    let table = file(&mut out, "masks.csv");
    let labelme =
        file(&mut zip(&reviewed.console, &format!("runs/{run}/labelme.zip")), &format!("{patient}_I1.json"));

    let (_, newer) = drawn(SIDE.into(), 20);
    let (status, saved) =
        reviewed.console.send("POST", &format!("{revisions}?state=accepted"), "image/png", &newer);
    assert_eq!(status, 201, "{saved}");
    let (stale, fresh) = (drawn(SIDE.into(), 40).1, drawn(SIDE.into(), 30).1);
    let (png_name, json_name) = (format!("masks/{patient}/I1.png"), format!("{patient}_I1.json"));
    let labelled = vec![(json_name.as_str(), labelme)];
    let as_png = |table: &[u8], mask: &[u8]| {
        vec![("masks/masks.csv", table.to_vec()), (png_name.as_str(), mask.to_vec())]
    };
    for files in [labelled.clone(), as_png(&table, &stale)] {
        let imported = import(&reviewed, run, files);
        assert_eq!((&imported["accepted"], &imported["refused"]), (&json!(0), &json!(1)), "{imported}");
        let why = imported["files"][0]["refused"].as_str().unwrap();
        assert!(why.contains("ada has drawn on this slice since"), "{why}");
    }
    assert_eq!(reviewed.console.json(&revisions).as_array().unwrap().len(), 1, "what ada drew is the newest");

    let table = file(&mut zip(&reviewed.console, &format!("runs/{run}/masks.zip")), "masks.csv");
    assert_eq!(import(&reviewed, run, as_png(&table, &fresh))["accepted"], 1, "exported since");
    assert_eq!(
        import(&reviewed, run, as_png(&table, &stale))["accepted"],
        1,
        "changed again, and imported again"
    );
    let path = format!("runs/{run}/annotations?force=true");
    let (_, forced) = reviewed.console.send("POST", &path, "application/zip", &zipped(labelled));
    assert_eq!(forced["accepted"], 1, "{forced}");
    assert_eq!(reviewed.console.json(&revisions).as_array().unwrap().len(), 4, "all of them are there");
}

#[test]
fn of_a_zip_that_is_damaged_in_the_middle_nothing_is_taken() {
    let reviewed = Reviewed::new();
    let run = reviewed.run["run"].as_str().unwrap();
    let patient = reviewed.slices()[0]["patient"].as_str().unwrap().to_owned();
    let (first, second) = (format!("{patient}/I1.png"), format!("{patient}/I2.png"));
    let (_, mask) = drawn(SIDE.into(), 20);
    let mut damaged = zipped([(first.as_str(), mask), (second.as_str(), vec![])]);
    let list = damaged.windows(4).rposition(|four| four == b"PK\x01\x02").unwrap();
    // What the last file adds up to.
    damaged[list + 16] ^= 1;
    let path = format!("runs/{run}/annotations");
    let (status, said) = reviewed.console.send("POST", &path, "application/zip", &damaged);
    assert!(status == 400 && said["error"].as_str().unwrap().contains("file 2"), "{status} {said}");
    assert!(
        reviewed.slices().iter().all(|slice| slice["annotation"].is_null()),
        "the first is not taken either"
    );
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
