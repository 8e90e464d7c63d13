//! A hospital's export of phantom patients: folders of DICOM files, with all that people complain about.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use modiolus_imaging::png::{encode_grey, encode_mask};
use rayon::prelude::*;
use serde_json::{Map, Value, json};

use crate::draw::Draw;
use crate::objects::{Series, Storage, decimal};
use crate::patient::{Kind, Patient, Picture, area, plan};

/// The most patients of one export.
pub const MAX_PATIENTS: usize = 10_000;
/// The most files per patient.
pub const MAX_FILES: usize = 100_000;

/// What to make.
#[derive(Debug, Clone, Copy)]
pub struct ExportOptions<'a> {
    /// Number of patients, at most [`MAX_PATIENTS`].
    pub patients: usize,
    /// Files per patient, at most [`MAX_FILES`]; junk included.
    pub files: usize,
    /// Everything follows from it.
    pub seed: u64,
    /// The folder that gets the patients' folders. It is made if it is missing; files of the same names are replaced.
    pub output: &'a Path,
    /// The folder for what is true about the coronal slices: `images/PATIENT_STEM.png`, `masks/PATIENT_STEM_mask.png`
    /// (indexed, 1 = electrode) and `truth.json`.
    pub truth: Option<&'a Path>,
}

/// What was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Patients' folders.
    pub patients: usize,
    /// Files in them, junk included.
    pub files: usize,
    /// Readable coronal slices, copies included.
    pub coronal: usize,
    /// Those on which the array can be seen.
    pub with_array: usize,
}

/// Why there is no export.
#[derive(Debug, thiserror::Error)]
pub enum PhantomError {
    /// Too much was asked for.
    #[error("{what} must be from 1 to {limit}, not {asked}")]
    Limit {
        /// What is out of range.
        what: &'static str,
        /// What was asked for.
        asked: usize,
        /// The most there may be.
        limit: usize,
    },
    /// A file or folder can't be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A DICOM file can't be encoded; a fault of this program.
    #[error("cannot encode a DICOM object: {0}")]
    Dicom(String),
}

/// One file that was written, and the truth about it if it is a coronal slice.
struct Written {
    truth: Option<(String, Value)>,
    /// Kind and stem of files that are no slices of interest.
    other: Option<(&'static str, String)>,
    coronal: bool,
    with_array: bool,
}

/// Makes the patients.
///
/// # Errors
/// If more is asked for than the limits allow, or something can't be written.
pub fn export(options: &ExportOptions<'_>) -> Result<Summary, PhantomError> {
    check("the number of patients", options.patients, MAX_PATIENTS)?;
    check("the number of files", options.files, MAX_FILES)?;
    let mut summary = Summary { patients: options.patients, ..Summary::default() };
    let mut images = Map::new();
    let mut others = Map::new();
    let mut before: Option<Patient> = None;
    if let Some(truth) = options.truth {
        make_folder(&truth.join("images"))?;
        make_folder(&truth.join("masks"))?;
    }
    for index in 0..options.patients {
        let patient = Patient::new(options.seed, index, options.files);
        let folder = Folder::new(options, &patient, before.as_ref(), index)?;
        let files = folder.files();
        let written: Vec<Written> =
            files.par_iter().map(|file| folder.write(file)).collect::<Result<_, _>>()?;
        let mut kinds = Map::new();
        summary.files += written.len();
        for file in written {
            summary.coronal += usize::from(file.coronal);
            summary.with_array += usize::from(file.with_array);
            images.extend(file.truth);
            if let Some((kind, stem)) = file.other {
                let stems = kinds.entry(kind).or_insert_with(|| json!([]));
                stems.as_array_mut().into_iter().for_each(|stems| stems.push(json!(stem)));
            }
        }
        others.insert(patient.identity.number.clone(), Value::Object(kinds));
        // Copies tie patients together two by two: tied all in a row, none of them could be held out from a training.
        before = before.is_none().then_some(patient);
    }
    if let Some(truth) = options.truth {
        let note = "coronal by rounded orientation: every image above; coronal_no_pixels and report_page only claim to be";
        let all = json!({ "images": images, "other_objects": others, "files": summary.files, "seed": options.seed, "note": note });
        write(&truth.join("truth.json"), format!("{all:#}\n").as_bytes())?;
    }
    Ok(summary)
}

fn check(what: &'static str, asked: usize, limit: usize) -> Result<(), PhantomError> {
    if (1..=limit).contains(&asked) { Ok(()) } else { Err(PhantomError::Limit { what, asked, limit }) }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), PhantomError> {
    fs::write(path, bytes).map_err(|source| PhantomError::Write { path: path.into(), source })
}

fn make_folder(path: &Path) -> Result<(), PhantomError> {
    fs::create_dir_all(path).map_err(|source| PhantomError::Write { path: path.into(), source })
}

/// One patient's folder in the making.
struct Folder<'a> {
    options: &'a ExportOptions<'a>,
    patient: &'a Patient,
    before: Option<&'a Patient>,
    /// Below the output, with slashes.
    path: String,
}

/// A file to write: its name, and the number that its name and InstanceNumber come from.
struct File {
    kind: Kind,
    name: String,
    number: u32,
}

impl File {
    /// The name without a DICOM ending.
    fn stem(&self) -> &str {
        self.name.strip_suffix(".dcm").unwrap_or(&self.name)
    }
}

impl<'a> Folder<'a> {
    fn new(
        options: &'a ExportOptions<'a>,
        patient: &'a Patient,
        before: Option<&'a Patient>,
        index: usize,
    ) -> Result<Self, PhantomError> {
        let tens = 501 + index / 10 * 10;
        let path = format!("{}-{}/{}/DICOM", tens, tens + 9, patient.identity.number);
        make_folder(&options.output.join(&path))?;
        Ok(Self { options, patient, before, path })
    }

    /// Every file with its name; the numbers jump, as they do where a person picked files from a disc.
    fn files(&self) -> Vec<File> {
        let mut draw = Draw::new(self.patient.identity.seed, 5);
        let kinds = plan(self.options.files, self.before.is_none());
        // Half of the exports have no endings at all.
        let endings = if draw.chance(0.5) { 0.3 } else { 0.0 };
        let mut number = 600 + draw.below(50) as u32;
        let mut files: Vec<File> = Vec::with_capacity(kinds.len());
        let mut companions = 0;
        for kind in kinds {
            number += 1 + draw.below(3) as u32;
            let dicom = || format!("I{number:07}");
            let name = match kind {
                Kind::AppleDouble => {
                    let beside = files.get(companions).map_or("DICOM", |file| file.name.as_str());
                    companions += 1;
                    format!("._{beside}")
                }
                Kind::Notes => "notes.txt".into(),
                Kind::FolderSettings => ".DS_Store".into(),
                _ if draw.chance(endings) => dicom() + ".dcm",
                _ => dicom(),
            };
            files.push(File { kind, name, number });
        }
        files
    }

    fn write(&self, file: &File) -> Result<Written, PhantomError> {
        let identity = &self.patient.identity;
        let mut draw = Draw::new(identity.seed, u64::from(file.number) + 100);
        let slice = |series, n| -> Result<Vec<u8>, PhantomError> {
            let mut picture = self.patient.picture(series, n);
            picture.ct.instance = file.number;
            identity.ct(&picture.ct, Storage::Plain)
        };
        let (kind, bytes) = match file.kind {
            Kind::Coronal(n, storage) if storage.shows() => {
                return self.coronal(file, self.patient, n, storage, None);
            }
            Kind::Copied(n) => {
                return self.coronal(file, self.before.unwrap_or(self.patient), n, Storage::Plain, Some(n));
            }
            Kind::Coronal(n, storage) => {
                let mut picture = self.patient.picture(Series::Coronal, n);
                picture.ct.instance = file.number;
                let name =
                    if storage == Storage::NoPixels { "coronal_no_pixels" } else { "malformed_orientation" };
                (name, identity.ct(&picture.ct, storage)?)
            }
            Kind::Axial(n) => ("axial", slice(Series::Axial, n)?),
            Kind::Sagittal(n) => ("sagittal", slice(Series::Sagittal, n)?),
            Kind::Oblique(n) => ("oblique", slice(Series::Oblique, n)?),
            Kind::Truncated(n) => {
                let mut bytes = slice(Series::Axial, n)?;
                bytes.truncate(bytes.len() * 3 / 5 + draw.below(100));
                ("truncated", bytes)
            }
            Kind::Report => ("structured_report", identity.report(file.number)?),
            Kind::Page => ("report_page", identity.page(file.number, &mut draw)?),
            Kind::Empty => ("empty_file", Vec::new()),
            Kind::Notes => ("notes", b"exported for teaching, see disc 3\n".to_vec()),
            Kind::AppleDouble => ("apple_double", apple_double()),
            Kind::FolderSettings => ("folder_settings", folder_settings()),
        };
        write(&self.options.output.join(&self.path).join(&file.name), &bytes)?;
        Ok(Written {
            truth: None,
            other: Some((kind, file.stem().into())),
            coronal: false,
            with_array: false,
        })
    }

    /// A coronal slice of this patient or, copied, of the one before, with its truth.
    fn coronal(
        &self,
        file: &File,
        source: &Patient,
        n: u32,
        storage: Storage,
        copied: Option<u32>,
    ) -> Result<Written, PhantomError> {
        let mut picture = source.picture(Series::Coronal, n);
        picture.ct.instance = file.number;
        let path = format!("{}/{}", self.path, file.name);
        write(&self.options.output.join(&path), &self.patient.identity.ct(&picture.ct, storage)?)?;
        let key = format!("{}_{}", self.patient.identity.number, file.stem());
        if let Some(truth) = self.options.truth {
            write(&truth.join(format!("images/{key}.png")), &encode_grey(&picture.image))?;
            write(&truth.join(format!("masks/{key}_mask.png")), &encode_mask(&picture.mask))?;
        }
        let same = copied.map(|n| self.original(n));
        let entry = self.entry(&picture, &path, source, same);
        let with_array = area(&picture.mask) > 0;
        Ok(Written { truth: Some((key, entry)), other: None, coronal: true, with_array })
    }

    /// The key of the n-th coronal slice of the patient before.
    fn original(&self, n: u32) -> Option<String> {
        let patient = self.before?;
        let earlier = Folder { options: self.options, patient, before: None, path: String::new() };
        // Coronal slices come first in every plan, so whether that patient had copies too changes no name of theirs.
        let is_it = |file: &File| matches!(file.kind, Kind::Coronal(m, storage) if m == n && storage.shows());
        let files = earlier.files();
        let file = files.iter().find(|file| is_it(file))?;
        Some(format!("{}_{}", patient.identity.number, file.stem()))
    }

    fn entry(&self, picture: &Picture, path: &str, source: &Patient, same: Option<Option<String>>) -> Value {
        let ct = &picture.ct;
        json!({
            "path": path,
            "rows": ct.rows,
            "cols": ct.columns,
            "crop_yxhw": [0, 0, ct.rows, ct.columns],
            "electrode_px": area(&picture.mask),
            "same_picture_as": same.flatten(),
            "sop_instance": self.patient.identity.uid(1 + Series::Coronal as u64, ct.instance),
            "spacing_mm": ct.spacing.map(decimal),
            "array": source.array(),
            "contacts_mm": picture.contacts_mm.iter().map(|mm| mm.map(|c| decimal((c * 1000.0).round() / 1000.0))).collect::<Vec<_>>(),
        })
    }
}

/// The first bytes of an AppleDouble file (RFC 1740), padded as macOS does.
fn apple_double() -> Vec<u8> {
    let mut bytes = vec![0; 4096];
    bytes[..26].copy_from_slice(b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        \x00\x02");
    bytes
}

fn folder_settings() -> Vec<u8> {
    let mut bytes = vec![0; 6148];
    bytes[..8].copy_from_slice(b"\x00\x00\x00\x01Bud1");
    bytes
}
