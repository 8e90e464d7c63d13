//! `modiolus inspect`: the attributes that people look at first, and the picture.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use modiolus_dicom::index::IndexEntry;
use modiolus_dicom::{Attributes, instance, plane_of};
use modiolus_imaging::png;
use modiolus_pipeline::{Plane, Reason, Refusal};
use serde::Serialize;

use crate::arguments::Inspect;
use crate::failure::Usage;
use crate::header;
use crate::output::{self, Table};
use crate::run::names;
use crate::terminal;

/// What is shown of a DICOM file.
#[derive(Debug, Serialize)]
struct Shown {
    file: String,
    patient_id: String,
    image_orientation_patient: Option<[f64; 6]>,
    /// coronal, axial, sagittal, oblique; absent where there is no possible orientation.
    plane: Option<&'static str>,
    rows: u32,
    columns: u32,
    /// Between rows, then between columns.
    pixel_spacing_mm: Option<[f64; 2]>,
    transfer_syntax: &'static str,
    transfer_syntax_uid: String,
    modality: String,
    has_pixels: bool,
    #[serde(flatten)]
    verdict: Verdict,
}

/// What `modiolus run` would say of the file.
#[derive(Debug, Serialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
enum Verdict {
    /// Kept, if its plane is asked for.
    Kept {
        #[serde(rename = "keep_with_plane")]
        plane: Plane,
    },
    Refused {
        reason: Reason,
        detail: String,
    },
}

impl From<Refusal> for Verdict {
    fn from(Refusal { reason, detail }: Refusal) -> Self {
        Self::Refused { reason, detail }
    }
}

/// Shows files; those that are no DICOM files are named, the others go on.
pub(crate) fn inspect(options: &Inspect) -> Result<()> {
    let pictures = options.png.as_deref().map(|png| targets(png, &options.files)).transpose()?;
    let (mut shown, mut failed) = (Vec::new(), 0);
    for (position, file) in options.files.iter().enumerate() {
        let result = show(file).and_then(|one| {
            shown.push(one);
            pictures.as_ref().map_or(Ok(()), |pictures| draw(file, &pictures[position]))
        });
        if let Err(error) = result {
            failed += 1;
            terminal::say(&format!("{}: {error:#}", file.display()));
        }
    }
    match (options.json, &shown[..]) {
        (true, _) => output::json(&shown)?,
        (false, []) => {}
        (false, [one]) => print_one(one)?,
        (false, several) => print_several(several)?,
    }
    match failed {
        0 => Ok(()),
        n => bail!("{} of {} failed", n, output::count(options.files.len(), "file")),
    }
}

/// Where each file's picture goes: the PNG file itself, or a file in a folder.
fn targets(png: &Path, files: &[PathBuf]) -> Result<Vec<PathBuf>> {
    if let ([_], false) = (files, png.is_dir()) {
        return Ok(vec![png.to_owned()]);
    }
    if png.exists() && !png.is_dir() {
        let text = format!("--png {}: several files need a folder, and this is none", png.display());
        return Err(Usage(text).into());
    }
    let mut stems = names::Stems::default();
    let stem = |file: &PathBuf| names::stem(&file.to_string_lossy());
    Ok(files.iter().map(|file| png.join(format!("{}.png", stems.next("", stem(file))))).collect())
}

fn draw(file: &Path, target: &Path) -> Result<()> {
    let bytes = output::read_file(file)?;
    let picture = instance::decode(&bytes).and_then(|instance| instance.picture()).context("no picture")?;
    output::write_file(target, &png::encode_grey(&picture))
}

fn show(path: &Path) -> Result<Shown> {
    let metadata = fs::metadata(path).context("it can't be read")?;
    if !metadata.is_file() {
        bail!("it is no file: give files, as in `modiolus inspect FOLDER/*`");
    }
    let IndexEntry { attributes, refusal, .. } = header::read(path, metadata.len())?;
    let attributes = match (attributes, &refusal) {
        (Some(attributes), _) => attributes,
        (None, Some(refusal)) => return Err(refusal.clone().into()),
        (None, None) => bail!("it has no attributes"),
    };
    let plane = plane_of(&attributes);
    let verdict = match (refusal, &plane) {
        (Some(refusal), _) => refusal.into(),
        (None, Err(refusal)) => refusal.clone().into(),
        (None, Ok(plane)) => Verdict::Kept { plane: *plane },
    };
    Ok(shown(path, *attributes, plane.ok(), verdict))
}

fn shown(path: &Path, attributes: Attributes, plane: Option<Plane>, verdict: Verdict) -> Shown {
    Shown {
        file: path.display().to_string(),
        image_orientation_patient: attributes.orientation,
        plane: plane.map(|plane| plane.name()),
        rows: attributes.rows,
        columns: attributes.columns,
        pixel_spacing_mm: attributes.pixel_spacing,
        transfer_syntax: attributes.transfer_syntax_name(),
        has_pixels: attributes.has_pixels(),
        patient_id: attributes.patient_id,
        transfer_syntax_uid: attributes.transfer_syntax_uid,
        modality: attributes.modality,
        verdict,
    }
}

const HEADING: [&str; 11] = [
    "file",
    "PatientID",
    "plane",
    "ImageOrientationPatient",
    "Rows",
    "Columns",
    "PixelSpacing mm",
    "transfer syntax",
    "Modality",
    "pixels",
    "verdict",
];

fn cells(shown: &Shown) -> [String; HEADING.len()] {
    let list = |numbers: &[f64]| numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join("\\");
    [
        shown.file.clone(),
        shown.patient_id.clone(),
        shown.plane.unwrap_or("none").to_owned(),
        shown.image_orientation_patient.map_or_else(|| "none".into(), |cosines| list(&cosines)),
        shown.rows.to_string(),
        shown.columns.to_string(),
        shown.pixel_spacing_mm.map_or_else(|| "none".into(), |spacing| list(&spacing)),
        format!("{} ({})", shown.transfer_syntax, shown.transfer_syntax_uid),
        shown.modality.clone(),
        if shown.has_pixels { "yes" } else { "no" }.to_owned(),
        match &shown.verdict {
            Verdict::Kept { plane } if plane.name() == "oblique" => format!("kept with --plane {plane}"),
            Verdict::Kept { plane } => format!("kept with --plane {}", plane.name()),
            Verdict::Refused { reason, detail } => format!("refused: {reason}: {detail}"),
        },
    ]
}

fn print_one(shown: &Shown) -> Result<()> {
    let mut table = Table::new(&["file", &shown.file]);
    for (name, cell) in HEADING.into_iter().zip(cells(shown)).skip(1) {
        table.row([name.to_owned(), cell]);
    }
    table.print()
}

fn print_several(several: &[Shown]) -> Result<()> {
    let mut table = Table::new(&HEADING);
    several.iter().for_each(|shown| table.row(cells(shown)));
    table.print()
}

#[cfg(test)]
mod tests {
    use modiolus_dicom::write::{CtImage, Syntax};

    use super::*;

    fn slice(folder: &Path, name: &str) -> PathBuf {
        let path = folder.join(name);
        let orientation = Some([1.0, 0.0, 0.0, 0.0, 0.0, -1.0]);
        let image = CtImage { rows: 4, columns: 6, pixels: vec![7; 24], orientation, ..CtImage::default() };
        output::write_file(&path, &image.to_bytes(Syntax::ImplicitLittle)).unwrap();
        path
    }

    #[test]
    fn a_slice_is_shown_with_its_plane_and_verdict() {
        let folder = tempfile::tempdir().unwrap();
        let shown = show(&slice(folder.path(), "I1")).unwrap();
        assert_eq!((shown.plane, shown.rows, shown.columns, shown.has_pixels), (Some("coronal"), 4, 6, true));
        assert_eq!(cells(&shown)[7], "Implicit VR Little Endian (1.2.840.10008.1.2)");
        let json = serde_json::to_value(&shown).unwrap();
        assert_eq!(json["verdict"], "kept");
        assert_eq!(json["plane"], "coronal");
    }

    #[test]
    fn a_file_that_is_no_dicom_fails_and_the_others_get_their_pictures() {
        let folder = tempfile::tempdir().unwrap();
        let junk = folder.path().join("notes.txt");
        fs::write(&junk, b"Dear colleague, this is long enough to be no DICOM file.").unwrap();
        let files = vec![junk.clone(), slice(folder.path(), "I1"), slice(folder.path(), "a/I1")];
        let png = folder.path().join("pictures");
        let error = inspect(&Inspect { files, png: Some(png.clone()), json: true }).unwrap_err();
        assert_eq!(error.to_string(), "1 of 3 files failed");
        for name in ["I1.png", "I1~2.png"] {
            assert_eq!(png::decode_grey(&fs::read(png.join(name)).unwrap()).unwrap().size(), (4, 6));
        }
        assert!(format!("{:#}", show(&junk).unwrap_err()).contains("not-dicom"));
        assert!(format!("{:#}", show(folder.path()).unwrap_err()).contains("no file"));
    }
}
