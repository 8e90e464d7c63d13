//! The review page: a delivery is uploaded, becomes slices, and people say what is on them.

use std::fs;

use modiolus_imaging::{Grid, png};
use modiolus_tests::console::{Console, zipped};
use modiolus_tests::reviewed::{Reviewed, SIDE, drawn};
use serde_json::{Value, json};

#[test]
fn a_delivery_becomes_slices_and_nothing_of_whose_it_is_comes_out_again() {
    let reviewed = Reviewed::new();
    let (console, run) = (&reviewed.console, &reviewed.run);
    assert_eq!(
        (&run["files"], &run["done"], &run["kept"], &run["drawn"]),
        (&json!(6), &json!(6), &json!(3), &json!(3))
    );
    let refused = run["refusals"].as_array().unwrap();
    let count =
        |reason: &str| refused.iter().find(|one| one["reason"] == reason).map(|one| one["files"].clone());
    assert_eq!(count("other-plane"), Some(json!(1)), "{refused:?}");
    assert_eq!(refused.iter().filter_map(|one| one["files"].as_u64()).sum::<u64>(), 3);
    assert_eq!(run["grid"][0]["drawn"], 3);

    let slices = reviewed.slices();
    let scores: Vec<f64> = slices.iter().map(|slice| slice["array_score"].as_f64().unwrap()).collect();
    assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
    let mut names: Vec<&str> = slices.iter().map(|slice| slice["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["I1", "I2", "I3"]);

    let of = reviewed.first();
    let id = run["run"].as_str().unwrap();
    let model = slices[0]["model"].as_str().unwrap();
    let said = [
        "/".into(),
        "/runs".into(),
        format!("/runs/{id}"),
        format!("/runs/{id}/wall"),
        format!("/{of}"),
        "/models".into(),
        format!("/models/{model}"),
        "/help".into(),
        "/api/v1/runs".into(),
        format!("/api/v1/runs/{id}"),
        format!("/api/v1/{of}"),
        format!("/api/v1/runs/{id}/slices"),
        "/api/v1/openapi.json".into(),
    ]
    .map(|path| {
        let mut answer = console.get(&path);
        assert!(matches!(answer.status().as_u16(), 200 | 303), "{path}: {}", answer.status());
        assert!(answer.headers()["content-security-policy"].to_str().unwrap().contains("script-src 'self';"));
        answer.body_mut().read_to_string().unwrap()
    });
    for secret in ["DOE", "Doe", "4711", "JANE", "Jane", "deeper", "notes"] {
        assert!(!said.iter().any(|text| text.contains(secret)), "{secret}");
    }
    let left = fs::read_dir(reviewed.folder.path().join("store/deliveries")).unwrap().count();
    assert_eq!(left, 0, "what was uploaded is deleted when its run is done");
}

#[test]
fn a_slice_comes_as_picture_mask_and_values_on_its_own_grid() {
    let reviewed = Reviewed::new();
    let (console, of) = (&reviewed.console, reviewed.first());
    let side = usize::from(SIDE);
    for picture in ["image.png", "probability.png", "thumbnail.png"] {
        let image = png::decode_grey(&console.bytes(&format!("{of}/{picture}"))).unwrap();
        assert_eq!(image.size(), (side, side), "{picture}");
    }
    assert_eq!(png::decode_mask(&console.bytes(&format!("{of}/mask.png"))).unwrap().size(), (side, side));
    let caching = |path: String| console.get(&format!("/api/v1/{path}")).headers()["cache-control"].clone();
    assert_eq!(
        caching(format!("{of}/mask.png")),
        "no-store",
        "another model may be the latest run's tomorrow"
    );
    let model = reviewed.slices()[0]["model"].as_str().unwrap().to_owned();
    assert!(caching(format!("{of}/mask.png?model={model}")).to_str().unwrap().contains("immutable"));
    assert!(png::is_png(&console.bytes(&format!("{of}/overlay.png"))));
    let mut pixels = console.get(&format!("/api/v1/{of}/pixels"));
    let header = |name: &str| pixels.headers()[name].to_str().unwrap().to_owned();
    assert_eq!([header("x-rows"), header("x-columns"), header("x-type")], ["96", "96", "i16"]);
    let (low, high): (f64, f64) =
        (header("x-minimum").parse().unwrap(), header("x-maximum").parse().unwrap());
    let bytes = pixels.body_mut().read_to_vec().unwrap();
    let values: Vec<i16> = bytes.as_chunks().0.iter().map(|two| i16::from_le_bytes(*two)).collect();
    assert_eq!(values.len(), side * side);
    assert_eq!(
        (f64::from(*values.iter().min().unwrap()), f64::from(*values.iter().max().unwrap())),
        (low, high)
    );
    assert_eq!(low, -1000.0, "values are those after rescale");

    let whole = console.json(&of);
    assert_eq!(
        (whole["window"]["centre"].as_f64(), whole["window"]["width"].as_f64()),
        (Some(1000.0), Some(4000.0))
    );
    assert!(whole["attributes"].as_array().unwrap().iter().any(|one| one["name"] == "PixelSpacing"));
    assert!(whole["neighbours"]["previous"].is_string() || whole["neighbours"]["next"].is_string());
    assert_eq!(console.get("/api/v1/slices/P-0/s-0").status().as_u16(), 404);
    assert_eq!(console.get(&format!("/api/v1/{of}/mask.png?model=m-0")).status().as_u16(), 404);
}

#[test]
fn a_saved_mask_is_the_seen_mask_and_nobody_overwrites_anybody() {
    let reviewed = Reviewed::new();
    let (console, of) = (&reviewed.console, reviewed.first());
    let side = usize::from(SIDE);
    let post =
        |query: &str, body: &[u8]| console.send("POST", &format!("{of}/revisions{query}"), "image/png", body);
    let (mask, png_bytes) = drawn(side, 20);
    let (status, saved) = post("?seconds=12", &png_bytes);
    assert_eq!(status, 201, "{saved}");
    let first = saved["revision"].as_str().unwrap().to_owned();
    let (status, again) = post("?seconds=13", &png_bytes);
    assert_eq!(
        (status, &again["revision"]),
        (201, &saved["revision"]),
        "sent again, since its answer was lost"
    );
    let kept = console.bytes(&format!("{of}/revisions/{first}/mask.png"));
    assert_eq!(png::decode_mask(&kept).unwrap(), mask);

    let (status, conflict) = post("", &drawn(side, 30).1);
    assert_eq!(
        (status, &conflict["conflict"]["by"]),
        (409, &json!("ada")),
        "made from nothing, though there is one"
    );
    let (status, second) = post(&format!("?parent={first}&state=accepted"), &drawn(side, 40).1);
    assert_eq!((status, &second["conflict"]), (201, &Value::Null));
    let (status, beside) = post(&format!("?parent={first}&force=true"), &drawn(side, 50).1);
    assert_eq!(
        (status, &beside["conflict"]["revision"]),
        (201, &second["revision"]),
        "both are there, and it is said"
    );
    let accepted = second["revision"].as_str().unwrap();
    let labelme = console.bytes(&format!("{of}/revisions/{accepted}/labelme.json"));
    let drawn_again = modiolus_imaging::annotation::parse(&labelme, side, side).unwrap().electrode;
    assert_eq!(drawn_again, drawn(side, 40).0);
    let revisions = console.json(&format!("{of}/revisions"));
    let revisions = revisions.as_array().unwrap();
    assert_eq!(revisions.iter().map(|one| one["conflict"] == true).collect::<Vec<_>>(), [false, true, true]);
    assert_eq!(revisions[0]["seconds"], 12);
    let listed = reviewed.slices().into_iter().find(|slice| slice["annotation"].is_object()).unwrap();
    assert_eq!(listed["annotation"]["revision"], beside["revision"]);

    let samples = reviewed.folder.path().join("store/datasets/samples");
    assert_eq!(
        fs::read_dir(samples).unwrap().count(),
        2,
        "what was accepted became a picture and a mask to learn from"
    );
    let size = png::encode_grey(&Grid::filled(3, 4, 0u8).unwrap());
    let latest = beside["revision"].as_str().unwrap();
    for (query, body, words) in [
        ("", &size[..], "3 x 4"),
        ("", b"no picture", "no mask of the slice"),
        ("&state=rejected", &png_bytes, "empty mask"),
        ("&state=perfect", &png_bytes, "perfect"),
    ] {
        let (status, said) = post(&format!("?parent={latest}{query}"), body);
        assert!(status == 400 && said["error"].as_str().unwrap().contains(words), "{status} {said}");
    }
}

#[test]
fn a_mask_is_kept_and_the_answer_says_so_where_no_sample_can_be_made_of_it() {
    let reviewed = Reviewed::new();
    let (console, of) = (&reviewed.console, reviewed.first());
    // Nothing can be written below it.
    let datasets = reviewed.folder.path().join("store/datasets");
    fs::create_dir_all(&datasets).unwrap();
    fs::write(datasets.join("samples"), b"").unwrap();
    let (_, png_bytes) = drawn(SIDE.into(), 20);
    let (status, saved) =
        console.send("POST", &format!("{of}/revisions?state=accepted"), "image/png", &png_bytes);
    assert_eq!(status, 201, "{saved}");
    assert!(saved["not_learned"].as_str().unwrap().contains("no training sample"), "{saved}");
    let revisions = console.json(&format!("{of}/revisions"));
    assert_eq!((&revisions[0]["revision"], &revisions[0]["state"]), (&saved["revision"], &json!("accepted")));
}

#[test]
fn people_say_whether_an_array_is_clear_and_may_take_it_back() {
    let reviewed = Reviewed::new();
    let (console, of) = (&reviewed.console, reviewed.first());
    let put =
        |body: &str| console.send("PUT", &format!("{of}/triage"), "application/json", body.as_bytes()).0;
    let id = reviewed.run["run"].as_str().unwrap();
    let with = |answer: &str| console.json(&format!("runs/{id}/slices?triage={answer}"))["total"].clone();
    assert_eq!((with("none"), with("clear")), (json!(3), json!(0)));
    assert_eq!(put(r#"{"answer": "clear"}"#), 204);
    assert_eq!((with("none"), with("clear")), (json!(2), json!(1)));
    assert_eq!(put(r#"{"answer": null}"#), 204);
    assert_eq!(with("none"), json!(3));
    assert_eq!([put(r#"{"answer": "maybe"}"#), put("no JSON")], [422, 400]);
    let (status, _) =
        console.send("PUT", "slices/P-0/s-0/triage", "application/json", br#"{"answer": "no"}"#);
    assert_eq!(status, 404);
}

#[test]
fn a_wall_in_parts_shows_each_slice_once_though_people_answer_meanwhile() {
    let reviewed = Reviewed::new();
    let (console, id) = (&reviewed.console, reviewed.run["run"].as_str().unwrap());
    let name = |slice: &Value| {
        format!("{}/{}", slice["patient"].as_str().unwrap(), slice["slice"].as_str().unwrap())
    };
    let all: Vec<String> = reviewed.slices().iter().map(name).collect();
    let part = |after: &str| {
        let part = console.json(&format!("runs/{id}/slices?triage=none&limit=1{after}"));
        part["slices"].as_array().unwrap().iter().map(name).collect::<Vec<_>>()
    };
    assert_eq!(part(""), all[..1]);
    let answer = br#"{"answer": "no"}"#;
    let said = console.send("PUT", &format!("slices/{}/triage", all[0]), "application/json", answer);
    assert_eq!(said.0, 204);
    assert_eq!(part(&format!("&after={}", all[0])), all[1..2]);
    assert_eq!(part(&format!("&after={}", all[2])), [""; 0]);
    for (after, status) in [("nonsense", 400), ("P-0/s-0", 404)] {
        let path = format!("/api/v1/runs/{id}/slices?after={after}");
        assert_eq!(console.get(&path).status().as_u16(), status);
    }
}

#[test]
fn only_pages_of_this_console_change_something_and_only_this_machine_asks() {
    let folder = tempfile::tempdir().unwrap();
    let console = Console::start(&folder.path().join("store"));
    for token in ["", "0123"] {
        let (status, said) = console.send_as(token, "POST", "models/rollback", "application/json", b"");
        assert!(status == 403 && said["what_to_do"].as_str().unwrap().contains("session"), "{said}");
    }
    assert_eq!(console.send("POST", "models/rollback", "application/json", b"").0, 409);
    let agent = ureq::Agent::config_builder().proxy(None).http_status_as_error(false).build().new_agent();
    let elsewhere = agent.get(console.url("/runs")).header("Host", "evil.example").call().unwrap();
    assert_eq!(elsewhere.status().as_u16(), 421);
    assert_eq!(console.get("/assets/../Cargo.toml").status().as_u16(), 404);
    assert_eq!(console.get("/nowhere").status().as_u16(), 404);
    let mut nowhere = console.get("/api/v1/nowhere");
    assert_eq!(nowhere.status().as_u16(), 404);
    assert_eq!(nowhere.body_mut().read_json::<Value>().unwrap()["error"], "there is no such path in the API");
    for (zip, words) in
        [(zipped([("../I1", vec![1])]), "outside"), (vec![1, 2, 3], "no zip"), (zipped([]), "no files")]
    {
        let (status, said) = console.send("POST", "runs", "application/zip", &zip);
        assert!(status == 400 && said["error"].as_str().unwrap().contains(words), "{status} {said}");
    }
    let mut other = modiolus_tests::modiolus();
    other.args(["models", "rollback", "--store"]).arg(folder.path().join("store"));
    modiolus_tests::Finished::failure(&mut other, &["in use by another modiolus"]);
    let said = console.stop();
    assert!(said.contains("The review page: http://127.0.0.1:"), "{said}");
    let mut outside = modiolus_tests::modiolus();
    outside.args(["serve", "--listen", "0.0.0.0:0", "--store"]).arg(folder.path().join("store"));
    modiolus_tests::Finished::failure(&mut outside, &["listen on 127.0.0.1"]);
}
