//! Pictures and masks that belong together by name.
//!
//! A NAME is a path below its folder, parts joined by '/', without its ending.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use modiolus_imaging::{Mask, annotation};
use modiolus_operations::annotations::picture_of_mask;
use modiolus_store::unescape_path;
use regex::Regex;

use crate::failure::Usage;
use crate::output;
use crate::run::walk;

/// A file below a folder.
pub(crate) struct Named {
    /// Its NAME.
    pub(crate) name: String,
    /// Its ending in lower case, without the dot.
    pub(crate) ending: String,
    /// Where it is.
    pub(crate) path: PathBuf,
}

impl Named {
    fn new(folder: &Path, below: PathBuf) -> Self {
        let lossy = |part: Option<&std::ffi::OsStr>| {
            part.map(|p| p.to_string_lossy().into_owned()).unwrap_or_default()
        };
        let ending = lossy(below.extension()).to_ascii_lowercase();
        Self {
            name: below.with_extension("").to_string_lossy().into_owned(),
            ending,
            path: folder.join(below),
        }
    }
}

/// All files below a folder, ordered by path; `skip` is left out, and so is what a name with a dot hides. What can't be
/// read comes with its reason.
pub(crate) fn files(folder: &Path, skip: &Path) -> Result<Vec<(Named, Option<String>)>> {
    let listed = walk::walk(folder, skip)?;
    let visible = listed.into_iter().filter(|file| !file.path.split('/').any(|part| part.starts_with('.')));
    visible.map(|file| Ok((Named::new(folder, unescape_path(&file.path)?), file.unreadable))).collect()
}

/// The PNG and labelme files below a folder by NAME; NAME_mask.png counts as NAME.
pub(crate) fn by_name(folder: &Path) -> Result<BTreeMap<String, Vec<PathBuf>>> {
    let mut found: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for file in usable(folder)?.into_iter().filter(|file| matches!(file.ending.as_str(), "png" | "json")) {
        let plain = picture_of_mask(&file.name, &file.ending);
        found.entry(plain.unwrap_or(&file.name).to_owned()).or_default().push(file.path);
    }
    Ok(found)
}

/// Takes each NAME's masks out of those of a folder: those of the same NAME, else those of the one that is written otherwise,
/// `PATIENT_STEM` for `PATIENT/STEM` or the other way round.
pub(crate) fn take(masks: &mut BTreeMap<String, Vec<PathBuf>>, names: &[&str]) -> Vec<Vec<PathBuf>> {
    let mut taken: Vec<_> = names.iter().map(|name| masks.remove(*name).unwrap_or_default()).collect();
    let joined = |name: &str| name.replace('/', "_");
    let mut others: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for (name, paths) in masks.iter() {
        others.entry(joined(name)).or_default().extend(paths.iter().cloned());
    }
    for (name, taken) in names.iter().zip(&mut taken).filter(|(_, taken)| taken.is_empty()) {
        *taken = others.remove(&joined(name)).unwrap_or_default();
    }
    masks.retain(|name, _| others.contains_key(&joined(name)));
    taken
}

fn usable(folder: &Path) -> Result<Vec<Named>> {
    let files = files(folder, Path::new(""))?;
    if let Some((file, Some(why))) = files.iter().find(|(_, unreadable)| unreadable.is_some()) {
        bail!("{}: {why}", file.path.display());
    }
    Ok(files.into_iter().map(|(file, _)| file).collect())
}

/// What of two folders belongs together.
#[derive(Debug, Default)]
pub(crate) struct Pairing {
    /// NAME, picture and mask.
    pub(crate) pairs: Vec<(String, PathBuf, PathBuf)>,
    /// The NAMEs of pictures without a mask.
    pub(crate) pictures_alone: Vec<String>,
    /// The masks without a picture.
    pub(crate) masks_alone: Vec<PathBuf>,
    /// NAMEs with several masks, and what they are, in words.
    pub(crate) ambiguous: Vec<String>,
}

/// Pairs the pictures (PNG) of one folder with the masks of another, or of the same.
pub(crate) fn pair(images: &Path, masks: &Path) -> Result<Pairing> {
    let one_folder = real(images)? == real(masks)?;
    let mut masks = by_name(masks)?;
    let mut pictures: Vec<Named> = usable(images)?.into_iter().filter(|file| file.ending == "png").collect();
    if one_folder {
        pictures.retain(|file| picture_of_mask(&file.name, &file.ending).is_none());
        for file in &pictures {
            // A picture is not its own mask.
            masks.entry(file.name.clone()).and_modify(|paths| paths.retain(|path| *path != file.path));
        }
    }
    let mut pairing = Pairing::default();
    let found = take(&mut masks, &pictures.iter().map(|picture| picture.name.as_str()).collect::<Vec<_>>());
    for (picture, found) in pictures.into_iter().zip(found) {
        match <[PathBuf; 1]>::try_from(found) {
            Ok([mask]) => pairing.pairs.push((picture.name, picture.path, mask)),
            Err(none) if none.is_empty() => pairing.pictures_alone.push(picture.name),
            Err(several) => pairing.ambiguous.push(several_masks(&picture.name, &several)),
        }
    }
    pairing.masks_alone = masks.into_values().flatten().collect();
    Ok(pairing)
}

fn real(folder: &Path) -> Result<PathBuf> {
    fs::canonicalize(folder)
        .with_context(|| format!("{} can't be read: is it the right folder?", folder.display()))
}

/// Says that a NAME has several masks.
pub(crate) fn several_masks(name: &str, paths: &[PathBuf]) -> String {
    let paths: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    format!("{name} has {} masks, keep one: {}", paths.len(), paths.join(", "))
}

/// Reads the mask of a picture of this size (Rows, Columns), as [`annotation::mask`] does.
pub(crate) fn read_mask(path: &Path, size: (usize, usize)) -> Result<Mask> {
    annotation::mask(&output::read_file(path)?, size).with_context(|| path.display().to_string())
}

/// Whether a file is a labelme annotation, by its ending.
pub(crate) fn is_labelme(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("json"))
}

/// How the patient is read from a NAME.
pub(crate) enum GroupBy {
    /// The first folder; without folders, the part before the first '_'.
    Name,
    /// The first group of a regular expression, or all that it matches.
    Pattern(Regex),
}

impl GroupBy {
    /// From `--group-by`.
    pub(crate) fn new(pattern: Option<&str>) -> Result<Self> {
        let Some(pattern) = pattern else { return Ok(Self::Name) };
        let regex = Regex::new(pattern).map_err(|error| Usage(format!("--group-by {pattern:?}: {error}")))?;
        Ok(Self::Pattern(regex))
    }

    /// The patient of the picture with this NAME.
    pub(crate) fn patient(&self, name: &str) -> Result<String> {
        let found = match self {
            Self::Name => {
                name.split_once('/').or_else(|| name.split_once('_')).map_or(name, |(first, _)| first)
            }
            Self::Pattern(regex) => {
                let captures =
                    regex.captures(name).with_context(|| format!("--group-by matches nothing in {name}"))?;
                captures.get(1).or(captures.get(0)).map_or("", |group| group.as_str())
            }
        };
        if found.is_empty() {
            bail!("{name} names no patient: rename it or use --group-by");
        }
        Ok(found.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use modiolus_imaging::{Grid, png};

    use super::*;

    fn write(folder: &Path, names: &[&str]) {
        for name in names {
            output::write_file(&folder.join(name), b"x").unwrap();
        }
    }

    fn names(pairing: &Pairing) -> Vec<&str> {
        pairing.pairs.iter().map(|(name, ..)| name.as_str()).collect()
    }

    #[test]
    fn a_mask_is_found_under_each_of_its_three_names_and_the_rest_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let (images, masks) = (folder.path().join("images"), folder.path().join("masks"));
        write(
            &images,
            &["207_1.png", "207_2.PNG", "208/3.png", "208/4.png", "two.png", ".DS_Store", "notes.txt"],
        );
        write(&masks, &["207_1.png", "207_2_mask.png", "208/3.json", "4.png", "two.png", "two.json"]);
        let pairing = pair(&images, &masks).unwrap();
        assert_eq!(names(&pairing), ["207_1", "207_2", "208/3"]);
        assert_eq!(pairing.pictures_alone, ["208/4"]);
        assert_eq!(pairing.masks_alone, [masks.join("4.png")]);
        assert!(pairing.ambiguous[0].contains("two.json") && pairing.ambiguous.len() == 1);
    }

    #[test]
    fn a_patients_folder_may_be_part_of_the_name_instead() {
        let folder = tempfile::tempdir().unwrap();
        let (images, masks) = (folder.path().join("images"), folder.path().join("masks"));
        write(&images, &["207/1.png", "207/2.png", "208_3.png", "9/1_1.png", "9_1/1.png", "9_1_2.png"]);
        write(&masks, &["207_1_mask.png", "207/2.png", "208/3.json", "9_1_1.png", "9_1/1.png", "8_8.png"]);
        let pairing = pair(&images, &masks).unwrap();
        assert_eq!(names(&pairing), ["207/1", "207/2", "208_3", "9/1_1", "9_1/1"]);
        assert_eq!(pairing.pairs[4].2, masks.join("9_1/1.png"), "the same name comes first");
        assert_eq!(
            (pairing.pictures_alone, pairing.masks_alone),
            (vec!["9_1_2".into()], vec![masks.join("8_8.png")])
        );
        write(&masks, &["207/1.json"]);
        assert_eq!(pair(&images, &masks).unwrap().pairs[0].2, masks.join("207/1.json"));
    }

    #[test]
    fn pictures_and_masks_may_share_a_folder_and_no_picture_is_its_own_mask() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &["a.png", "a_mask.png", "b.png", "b.json", "c.png"]);
        let pairing = pair(folder.path(), &folder.path().join(".")).unwrap();
        assert_eq!(names(&pairing), ["a", "b"]);
        assert_eq!(pairing.pictures_alone, ["c"]);
        assert!(pairing.masks_alone.is_empty() && pairing.ambiguous.is_empty());
    }

    #[test]
    fn the_patient_is_the_part_before_the_underscore_or_the_folder_or_what_the_pattern_says() {
        let patient = |pattern, name: &str| GroupBy::new(pattern).unwrap().patient(name);
        assert_eq!(patient(None, "207_613").unwrap(), "207");
        assert_eq!(patient(None, "207_a/I1_2").unwrap(), "207_a");
        assert_eq!(patient(None, "plain").unwrap(), "plain");
        assert_eq!(patient(Some(r"scan(\d+)"), "x_scan12_3").unwrap(), "12");
        assert_eq!(patient(Some("[0-9]+"), "x_scan12_3").unwrap(), "12");
        assert!(patient(None, "_613").is_err() && patient(Some("q"), "207_613").is_err());
        assert!(GroupBy::new(Some("(")).err().unwrap().is::<Usage>());
    }

    #[test]
    fn a_mask_of_another_size_is_refused_with_both_sizes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.png");
        output::write_file(&path, &png::encode_mask(&Grid::filled(3, 4, true).unwrap())).unwrap();
        assert_eq!(read_mask(&path, (3, 4)).unwrap().count(), 12);
        let error = format!("{:#}", read_mask(&path, (4, 3)).unwrap_err());
        assert!(error.contains("m.png") && error.contains("3 x 4") && error.contains("4 x 3"), "{error}");
    }

    #[test]
    fn labelme_errors_name_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.json");
        output::write_file(&path, br#"{"shapes":[],"imageHeight":3,"imageWidth":4}"#).unwrap();
        assert!(read_mask(&path, (3, 4)).unwrap().is_blank());
        assert!(format!("{:#}", read_mask(&path, (4, 3)).unwrap_err()).contains("m.json"));
    }
}
