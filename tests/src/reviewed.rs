//! A review page with slices: what scenarios of the console begin with.

use std::fs;
use std::path::Path;

use modiolus_imaging::{Grid, png};
use serde_json::Value;

use crate::console::{Console, zipped};
use crate::scans::{self, AXIAL, coronal, file};

/// The slices' sides.
pub const SIDE: u16 = 96;

/// A delivery with identity in every place: three coronal slices, an axial one and two things that are none.
pub fn delivery() -> Vec<u8> {
    let slice = |number| file(&coronal(number, SIDE));
    let axial = modiolus_dicom::write::CtImage { orientation: Some(AXIAL), ..coronal(9, SIDE) };
    zipped([
        ("DOE^JANE/I1.dcm", slice(1)),
        ("DOE^JANE/I2.dcm", slice(2)),
        ("DOE^JANE/deeper/I3", slice(3)),
        ("DOE^JANE/axial", file(&axial)),
        ("DOE^JANE/notes.txt", b"Jane Doe, born on 4 July: call her back about the report.".to_vec()),
        (".DS_Store", b"\0\0\0\x01Bud1".to_vec()),
    ])
}

/// A console whose store has a small model, with the run of the delivery done.
pub struct Reviewed {
    /// Where it lies; its store is `store`.
    pub folder: tempfile::TempDir,
    /// It.
    pub console: Console,
    /// The run, as it was when it was done.
    pub run: Value,
}

impl Reviewed {
    /// One that was just started.
    ///
    /// # Panics
    /// When it fails.
    #[allow(clippy::new_without_default)] // it does a lot
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("store");
        small_model(folder.path(), &store);
        let mut console = Console::start(&store);
        let (status, started) = console.send("POST", "runs?plane=coronal", "application/zip", &delivery());
        assert_eq!(status, 202, "{started}");
        let run = console.done(started["run"].as_str().unwrap());
        Self { folder, console, run }
    }

    /// The slices of its run, the clearest array first.
    ///
    /// # Panics
    /// When the wall of slices is none.
    pub fn slices(&self) -> Vec<Value> {
        let wall = self.console.json(&format!("runs/{}/slices", self.run["run"].as_str().unwrap()));
        assert_eq!(wall["total"], wall["slices"].as_array().unwrap().len());
        wall["slices"].as_array().unwrap().clone()
    }

    /// The path of the first slice.
    ///
    /// # Panics
    /// When there is none.
    pub fn first(&self) -> String {
        let slice = &self.slices()[0];
        format!("slices/{}/{}", slice["patient"].as_str().unwrap(), slice["slice"].as_str().unwrap())
    }
}

/// Trains a model in a second and makes it the store's.
pub fn small_model(folder: &Path, store: &Path) {
    for number in 0..4 {
        let (image, mask) = scans::pair(number, 64);
        scans::write(&folder.join(format!("images/{number}_1.png")), &image);
        scans::write(&folder.join(format!("masks/{number}_1.png")), &mask);
    }
    let plan = scans::plan_file(folder, &scans::small_plan(1));
    let mut train = crate::modiolus();
    train.arg("train").arg("--images").arg(folder.join("images")).arg("--masks").arg(folder.join("masks"));
    train.arg("--plan").arg(plan).arg("--output").arg(folder.join("m.safetensors"));
    crate::Finished::success(&mut train);
    fs::create_dir_all(store).unwrap();
    let mut promote = crate::modiolus();
    promote.args(["models", "promote"]).arg(folder.join("m.safetensors")).arg("--store").arg(store);
    crate::Finished::success(&mut promote);
}

/// A mask of this size as a browser might send it: grey, 255 where the electrode is.
pub fn drawn(side: usize, shift: usize) -> (Grid<bool>, Vec<u8>) {
    let mask = Grid::from_fn(side, side, |row, column| row.abs_diff(column) < 3 && row > shift).unwrap();
    let grey = mask.map(|set| if *set { 255u8 } else { 0 });
    (mask, png::encode_grey(&grey))
}
