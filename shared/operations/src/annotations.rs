//! Masks that people drew elsewhere: which slice each file belongs to, and how it becomes a revision of that slice's mask.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use modiolus_imaging::{annotation as labelme, png};
use modiolus_pipeline::job::SliceRef;
use modiolus_pipeline::job::preprocess::PreprocessJob;
use modiolus_pipeline::key::REVISIONS_PREFIX;
use modiolus_pipeline::{Bucket, Digest, ObjectKey, Revision, RevisionId, RevisionState};
use modiolus_store::ObjectStore;
use serde::{Deserialize, Serialize};

use crate::exported::Exported;
use crate::objects;
use crate::start::now;

/// A mask PNG or a labelme file with its picture inside is well below this.
const MAX_BYTES: u64 = 256 * 1024 * 1024;

/// A slice as it is called in an output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedSlice {
    /// PATIENT/STEM.
    pub name: String,
    /// The slice.
    pub slice: SliceRef,
    /// Rows and Columns.
    pub size: (usize, usize),
}

/// The slices of a run, by their names. Two may have one name: `A_B` and `C` are joined as `A` and `B_C` are.
pub struct SliceNames(HashMap<String, Vec<NamedSlice>>);

impl SliceNames {
    /// From the patients' and the slices' names in the output: each is found as PATIENT/STEM and as PATIENT_STEM.
    pub fn new(slices: impl IntoIterator<Item = (String, String, SliceRef, (usize, usize))>) -> Self {
        let mut names: HashMap<String, Vec<NamedSlice>> = HashMap::new();
        for (patient, stem, slice, size) in slices {
            let name = format!("{patient}/{stem}");
            let named = NamedSlice { name: name.clone(), slice, size };
            names.entry(format!("{patient}_{stem}")).or_default().push(named.clone());
            names.entry(name).or_default().push(named);
        }
        Self(names)
    }

    /// All of them, some more than once.
    pub fn all(&self) -> impl Iterator<Item = &NamedSlice> {
        self.0.values().flatten()
    }

    /// By the last part of a path, or the last two.
    fn below_any_folder(&self, path: &str) -> &[NamedSlice] {
        let mut cuts = path.rmatch_indices('/').map(|(at, _)| &path[at + 1..]);
        let (last, last_two) = (cuts.next(), cuts.next());
        let found = [Some(path), last_two, last].into_iter().flatten().find_map(|name| self.0.get(name));
        found.map_or(&[], Vec::as_slice)
    }

    /// The slice that a file is for: `PATIENT_STEM.json|png`, `PATIENT_STEM_mask.png` or `PATIENT/STEM.json|png`, below any
    /// folder.
    ///
    /// # Errors
    /// In words, when no slice has this name, or several have.
    pub fn find(&self, file: &str) -> Result<&NamedSlice, String> {
        let (name, ending) = file.rsplit_once('.').unwrap_or_default();
        let names = [Some(name), picture_of_mask(name, ending)].into_iter().flatten();
        let found: Vec<&NamedSlice> = names.flat_map(|name| self.below_any_folder(name)).collect();
        match found.as_slice() {
            [one] => Ok(one),
            [] => {
                Err("no kept slice has this name: it has to be PATIENT_STEM or PATIENT/STEM as in images/"
                    .into())
            }
            several => {
                let slices: Vec<&str> = several.iter().map(|slice| slice.name.as_str()).collect();
                Err(format!("it may be for {}: name it as PATIENT/STEM.png or .json", slices.join(" or ")))
            }
        }
    }

    /// The slices that some files are for, as [`Self::find`] says. Two files for one slice are for none: nobody knows which is meant.
    ///
    /// # Errors
    /// Those of [`Self::find`], and in words which files are for the same slice.
    pub fn find_all(&self, files: &[&str]) -> Vec<Result<&NamedSlice, String>> {
        let mut found: Vec<_> = files.iter().map(|file| self.find(file)).collect();
        let mut files_of: HashMap<&str, Vec<&str>> = HashMap::new();
        for (slice, file) in found.iter().zip(files) {
            if let Ok(slice) = slice {
                files_of.entry(&slice.name).or_default().push(file);
            }
        }
        for one in &mut found {
            if let Ok(slice) = one
                && let [_, _, ..] = files_of[slice.name.as_str()].as_slice()
            {
                let files = files_of[slice.name.as_str()].join(", ");
                *one =
                    Err(format!("several files are for the slice {}, keep one of them: {files}", slice.name));
            }
        }
        found
    }
}

/// The NAME of the picture beside which a file lies as its mask, `NAME_mask.png`; the file is given as its name and its ending.
pub fn picture_of_mask<'a>(name: &'a str, ending: &str) -> Option<&'a str> {
    name.strip_suffix("_mask").filter(|_| ending.eq_ignore_ascii_case("png"))
}

/// Whether a file may be an annotation, by its name: JSON or PNG, and not hidden. What a Mac adds to a zip is hidden, too.
pub fn is_annotation(file: &str) -> bool {
    let lower = file.rsplit('/').next().unwrap_or(file).to_ascii_lowercase();
    !lower.starts_with('.') && (lower.ends_with(".json") || lower.ends_with(".png"))
}

/// The JSON and PNG files of a folder and its patients' folders, ordered by name.
///
/// # Errors
/// When a folder can't be listed.
pub fn files(folder: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut files = all_files(folder)?;
    files.retain(|(file, _)| is_annotation(file));
    Ok(without_pictures(files, |(file, _)| file))
}

/// What the tables say of which the masks of a folder came out, where there are any: each lies beside the masks' folders, or in one.
///
/// # Errors
/// When a folder can't be listed, or a table can't be read.
pub fn exported(folder: &Path, names: &SliceNames) -> Result<Exported> {
    let mut exported = Exported::default();
    for (_, path) in all_files(folder)?.iter().filter(|(file, _)| Exported::is_table(file)) {
        let table = read(path).with_context(|| path.display().to_string())?;
        exported.add(&String::from_utf8_lossy(&table), names);
    }
    Ok(exported)
}

fn all_files(folder: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut files = Vec::new();
    for (name, path) in entries(folder)? {
        if path.is_dir() {
            let inner = entries(&path)?.into_iter().map(|(file, path)| (format!("{name}/{file}"), path));
            files.extend(inner.filter(|(_, path)| path.is_file()));
        } else {
            files.push((name, path));
        }
    }
    files.sort();
    Ok(files)
}

/// Some files without labelme's pictures: a PNG that lies beside a labelme file under its name is what was drawn on, and no mask.
pub fn without_pictures<F>(mut files: Vec<F>, name: impl Fn(&F) -> &str) -> Vec<F> {
    let stem = |file: &F, ending: &str| {
        let (stem, found) = name(file).rsplit_once('.')?;
        found.eq_ignore_ascii_case(ending).then(|| stem.to_owned())
    };
    let drawn_on: HashSet<String> = files.iter().filter_map(|file| stem(file, "json")).collect();
    files.retain(|file| stem(file, "png").is_none_or(|stem| !drawn_on.contains(&stem)));
    files
}

fn entries(folder: &Path) -> Result<Vec<(String, PathBuf)>> {
    let said = || format!("{} can't be listed", folder.display());
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).with_context(said)? {
        let entry = entry.with_context(said)?;
        entries.push((entry.file_name().to_string_lossy().into_owned(), entry.path()));
    }
    Ok(entries)
}

/// An annotation file's bytes.
///
/// # Errors
/// In words, without its name, when it can't be read or is too large.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    let length = fs::metadata(path).context("it can't be read")?.len();
    if length > MAX_BYTES {
        bail!("it has {length} bytes; at most {MAX_BYTES} are allowed");
    }
    fs::read(path).context("it can't be read")
}

/// The mask (indexed PNG) of a slice of this size (Rows, Columns) in a file, as [`labelme::mask`] reads it.
///
/// # Errors
/// In words, when it is neither, or of another size.
pub fn mask(bytes: &[u8], size: (usize, usize)) -> Result<Vec<u8>, String> {
    labelme::mask(bytes, size).map(|mask| png::encode_mask(&mask)).map_err(|error| error.to_string())
}

/// Keeps a mask (indexed PNG) as the newest revision of a slice, which is final (one without electrode says that there is none), unless the newest is the same already. The job that
/// makes a sample of it.
///
/// # Errors
/// When the store fails.
pub async fn keep(
    store: &dyn ObjectStore,
    slice: &SliceRef,
    mask: Vec<u8>,
    by: &str,
) -> Result<PreprocessJob> {
    let digest = Digest::of(&mask);
    store.put(ObjectKey::Annotation(digest), mask.clone().into()).await?;
    let newest = newest_revision(store, slice).await?;
    let is_there =
        newest.as_ref().is_some_and(|(_, newest)| newest.state.is_final() && newest.mask == digest);
    if !is_there {
        let is_blank = png::decode_mask(&mask)?.is_blank();
        let number = newest.as_ref().map_or(0, |(id, _)| id.number());
        let revision = Revision {
            parent: newest.map(|(id, _)| id),
            by: by.to_owned(),
            at: now(),
            proposal: None,
            seconds: 0,
            state: if is_blank { RevisionState::Rejected } else { RevisionState::Accepted },
            mask: digest,
            imported: true,
        };
        let json = serde_json::to_vec(&revision)?;
        let id = RevisionId::new(number + 1, &Digest::of(&json));
        store.put(ObjectKey::Revision(slice.patient.clone(), slice.slice.clone(), id), json.into()).await?;
    }
    Ok(PreprocessJob::Annotation { slice: slice.clone(), annotation: digest })
}

/// Where a file came from that went out to be changed elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The slice.
    #[serde(flatten)]
    pub slice: SliceRef,
    /// Its newest revision then; none where it had none.
    pub revision: Option<RevisionId>,
}

impl Origin {
    /// What a labelme file says of it.
    pub fn of_labelme(file: &[u8]) -> Option<Self> {
        serde_json::from_value(labelme::origin(file)?).ok()
    }

    /// As a labelme file says it.
    ///
    /// # Errors
    /// Never, in practice: names always have a JSON form.
    pub fn to_json(&self) -> Result<serde_json::Value> {
        Ok(serde_json::to_value(self)?)
    }
}

/// Why a mask (indexed PNG) of a slice, which went out as `origin` says, must not become its newest, in words for people: it is
/// another slice's, or somebody has drawn on the slice since. What the same person imports again replaces what they imported before.
///
/// # Errors
/// When the store fails.
pub async fn moved_on(
    store: &dyn ObjectStore,
    slice: &SliceRef,
    mask: &[u8],
    origin: &Origin,
    by: &str,
) -> Result<Option<String>> {
    if origin.slice != *slice {
        let SliceRef { patient, slice } = &origin.slice;
        return Ok(Some(format!(
            "it is the mask of another slice, {slice} of {patient}: has it been renamed?"
        )));
    }
    let ids = revisions(store, slice).await?;
    let since = ids.into_iter().rev().take_while(|id| Some(id) > origin.revision.as_ref());
    for (back, id) in since.enumerate() {
        let newer = revision(store, slice, id).await?;
        if back == 0 && newer.mask == Digest::of(mask) {
            return Ok(None);
        }
        if !(newer.imported && newer.by == by) {
            let who = newer.by;
            return Ok(Some(format!(
                "{who} has drawn on this slice since the file was exported: export it again"
            )));
        }
    }
    Ok(None)
}

async fn newest_revision(
    store: &dyn ObjectStore,
    slice: &SliceRef,
) -> Result<Option<(RevisionId, Revision)>> {
    let Some(id) = revisions(store, slice).await?.pop() else { return Ok(None) };
    Ok(Some((id.clone(), revision(store, slice, id).await?)))
}

/// The revisions of a slice, the newest last.
async fn revisions(store: &dyn ObjectStore, slice: &SliceRef) -> Result<Vec<RevisionId>> {
    let prefix = format!("{REVISIONS_PREFIX}{}/{}/", slice.patient, slice.slice);
    let paths = store.list(Bucket::Datasets, &prefix).await?;
    let id = |path: &String| path.strip_prefix(&prefix)?.strip_suffix(".json")?.parse().ok();
    Ok(paths.iter().filter_map(id).collect())
}

async fn revision(store: &dyn ObjectStore, of: &SliceRef, id: RevisionId) -> Result<Revision> {
    objects::json(store, ObjectKey::Revision(of.patient.clone(), of.slice.clone(), id)).await
}

#[cfg(test)]
mod tests {
    use modiolus_imaging::Grid;
    use modiolus_store::MemoryStore;

    use super::*;

    fn slice() -> SliceRef {
        SliceRef { patient: "P-1".parse().unwrap(), slice: "s-1".parse().unwrap() }
    }

    #[test]
    fn a_slice_is_found_under_its_names_and_no_other() {
        let names = SliceNames::new([("P-1".into(), "I7".into(), slice(), (3, 4))]);
        for file in [
            "P-1_I7.json",
            "P-1_I7.png",
            "P-1_I7_mask.PNG",
            "P-1/I7.png",
            "P-1/I7_mask.png",
            "masks/P-1/I7.png",
            "a/b/P-1_I7.json",
        ] {
            assert_eq!(names.find(file).unwrap().name, "P-1/I7", "{file}");
        }
        for file in ["I7.png", "P-1_I7_mask.json", "P-1_I7", "P-1_I8.png"] {
            assert!(names.find(file).unwrap_err().contains("PATIENT_STEM"), "{file}");
        }
    }

    #[test]
    fn what_may_be_meant_twice_is_refused_by_its_names() {
        let named = |patient: &str, stem: &str| (patient.to_owned(), stem.to_owned(), slice(), (3, 4));
        let names = SliceNames::new([
            named("P", "1_I7"),
            named("P_1", "I7"),
            named("P", "I8"),
            named("P", "I8_mask"),
        ]);
        for (file, slices) in [("P_1_I7.png", ["P/1_I7", "P_1/I7"]), ("P_I8_mask.png", ["P/I8", "P/I8_mask"])]
        {
            let why = names.find(file).unwrap_err();
            assert!(slices.iter().all(|slice| why.contains(slice)), "{why}");
        }
        assert_eq!(names.find("P_1/I7.png").unwrap().name, "P_1/I7");

        let found = names.find_all(&["P_1/I7.json", "P/I8.json", "P_I8.png", "P_9.png"]);
        assert_eq!(found[0].as_ref().unwrap().name, "P_1/I7");
        for why in &found[1..3] {
            let why = why.as_ref().unwrap_err();
            assert!(why.contains("P/I8.json") && why.contains("P_I8.png"), "{why}");
        }
        assert!(found[3].as_ref().unwrap_err().contains("no kept slice"));
    }

    #[test]
    fn the_picture_beside_a_labelme_file_is_no_mask() {
        let files =
            vec!["P_I7.json", "P_I7.png", "P_I8.png", "P/I9.PNG", "P/I9.json", "I9.png", "P_I7_mask.png"];
        assert_eq!(
            without_pictures(files, |file| file),
            ["P_I7.json", "P_I8.png", "P/I9.json", "I9.png", "P_I7_mask.png"]
        );
    }

    #[tokio::test]
    async fn what_went_out_before_somebody_drew_anew_does_not_come_in_over_it() {
        let store = MemoryStore::new();
        let masks = [1, 2, 3]
            .map(|width| png::encode_mask(&Grid::from_fn(3, 4, |_, column| column < width).unwrap()));
        let why = async |mask: &[u8], revision: Option<RevisionId>, by: &str| {
            let origin = Origin { slice: slice(), revision };
            moved_on(&store, &slice(), mask, &origin, by).await.unwrap()
        };
        assert_eq!(why(&masks[0], None, "ada").await, None, "nobody has drawn");
        keep(&store, &slice(), masks[0].clone(), "ada").await.unwrap();
        let first = newest_revision(&store, &slice()).await.unwrap().unwrap().0;
        assert_eq!(why(&masks[1], None, "ada").await, None, "she goes on with what she imported before");
        assert_eq!(why(&masks[0], None, "bob").await, None, "the same mask");
        assert!(why(&masks[1], None, "bob").await.unwrap().starts_with("ada has drawn"));
        assert_eq!(why(&masks[1], Some(first.clone()), "bob").await, None, "exported since");
        keep(&store, &slice(), masks[1].clone(), "bob").await.unwrap();
        keep(&store, &slice(), masks[2].clone(), "ada").await.unwrap();
        assert!(why(&masks[0], Some(first), "ada").await.unwrap().starts_with("bob has drawn"));
        let other = SliceRef { slice: "s-2".parse().unwrap(), ..slice() };
        let origin = Origin { slice: other, revision: None };
        assert!(
            moved_on(&store, &slice(), &masks[0], &origin, "ada")
                .await
                .unwrap()
                .unwrap()
                .contains("s-2 of P-1")
        );
        let file = labelme::write_from(
            &Grid::filled(3, 4, true).unwrap(),
            "a.png",
            Some(&origin.to_json().unwrap()),
        );
        assert_eq!(Origin::of_labelme(&file), Some(origin));
    }

    #[tokio::test]
    async fn a_mask_is_kept_once_however_often_it_is_imported() {
        let store = MemoryStore::new();
        let masks = [true, false].map(|value| png::encode_mask(&Grid::filled(3, 4, value).unwrap()));
        for (mask, revisions) in [(&masks[0], 1), (&masks[0], 1), (&masks[1], 2), (&masks[0], 3)] {
            keep(&store, &slice(), mask.clone(), "ada").await.unwrap();
            let there = store.list(Bucket::Datasets, REVISIONS_PREFIX).await.unwrap();
            assert_eq!(there.len(), revisions);
        }
        let (id, newest) = newest_revision(&store, &slice()).await.unwrap().unwrap();
        assert_eq!((id.number(), newest.by.as_str(), newest.state), (3, "ada", RevisionState::Accepted));
        assert_eq!(newest.parent.map(|parent| parent.number()), Some(2));
    }
}
