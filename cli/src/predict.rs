//! `modiolus predict`: masks for pictures and DICOM files.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use modiolus_dicom::instance;
use modiolus_imaging::measure::Measurements;
use modiolus_imaging::{Image8, Spacing, png};
use modiolus_store::{FolderStore, MemoryStore, ObjectStore};
use rayon::prelude::*;
use serde::Serialize;

use crate::arguments::Predict;
use crate::models::{self, Chosen};
use crate::network::{Network, Predictor};
use crate::output::{self, Table, number};
use crate::pairs;
use crate::run::names;
use crate::terminal::{self, Bar};

/// A picture and where its mask goes.
struct Task {
    source: PathBuf,
    target: PathBuf,
    /// Why the walk already knows that it can't be read.
    unreadable: Option<String>,
}

/// What was found in a picture.
#[derive(Serialize)]
struct Found {
    file: String,
    mask: String,
    rows: usize,
    columns: usize,
    electrode_px: usize,
    /// Absent without PixelSpacing, as in every PNG.
    area_mm2: Option<f64>,
    extent_mm: Option<f64>,
}

/// Draws the masks; files that are no pictures are named, the others go on.
pub(crate) fn predict(options: &Predict, network: &dyn Network) -> Result<()> {
    let chosen = choose(options, network)?;
    let predictor = network.predictor(&chosen.bytes)?;
    terminal::say(&format!("model {} ({}) on {}", chosen.version, chosen.plan.name, network.device()));
    let tasks = tasks(&options.images, &options.output)?;
    let bar = Bar::new("Drawing", tasks.len() as u64, "masks");
    let results: Vec<Result<Found>> = tasks
        .par_iter()
        .map(|task| {
            let found = draw(task, &*predictor);
            bar.advance(1);
            found
        })
        .collect();
    bar.finish();
    let (mut found, mut failed) = (Vec::new(), 0);
    for (task, result) in tasks.iter().zip(results) {
        match result {
            Ok(one) => found.push(one),
            Err(error) => {
                failed += 1;
                terminal::say(&format!("{}: {error:#}", task.source.display()));
            }
        }
    }
    if options.json {
        output::json(&found)?
    } else {
        print(&found)?
    }
    match failed {
        0 => Ok(()),
        n => bail!("{n} of {} have no mask", output::count(tasks.len(), "file")),
    }
}

/// The model: nothing is made where there is no store yet.
fn choose(options: &Predict, network: &dyn Network) -> Result<Chosen> {
    let folder = models::store_folder(&options.store);
    let store: Arc<dyn ObjectStore> =
        if folder.is_dir() { Arc::new(FolderStore::new(folder)?) } else { Arc::new(MemoryStore::default()) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no threads")?;
    runtime.block_on(models::choose(&*store, options.model.as_deref(), network))
}

/// One file, or all below a folder, each with its mask's place: the same folders below the output.
fn tasks(images: &Path, output: &Path) -> Result<Vec<Task>> {
    let metadata = fs::metadata(images).with_context(|| format!("{} can't be read", images.display()))?;
    let sources: Vec<(PathBuf, PathBuf, Option<String>)> = match metadata.is_dir() {
        false => vec![(images.to_owned(), PathBuf::new(), None)],
        true => pairs::files(images, output)?
            .into_iter()
            .map(|(file, unreadable)| {
                let below = file.path.strip_prefix(images).ok().and_then(Path::parent);
                (file.path.clone(), below.unwrap_or(Path::new("")).to_owned(), unreadable)
            })
            .collect(),
    };
    if sources.is_empty() {
        bail!("{} holds no files", images.display());
    }
    let mut tasks: Vec<Task> = sources
        .into_iter()
        .map(|(source, folder, unreadable)| {
            let target = output.join(folder).join(format!("{}.png", stem(&source)));
            Task { source, target, unreadable }
        })
        .collect();
    refuse_clashes(&mut tasks);
    Ok(tasks)
}

/// The name without `.png` or a DICOM ending, as it is where it is plain.
fn stem(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    match path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("png")) {
        true => name[..name.len() - ".png".len()].to_owned(),
        false => names::stem(&name),
    }
}

/// Two files must not write the same mask, nor a mask over a picture that is read.
fn refuse_clashes(tasks: &mut [Task]) {
    let sources: HashSet<PathBuf> =
        tasks.iter().filter_map(|task| fs::canonicalize(&task.source).ok()).collect();
    let mut targets: HashMap<PathBuf, PathBuf> = HashMap::new();
    for task in tasks {
        if fs::canonicalize(&task.target).is_ok_and(|target| sources.contains(&target)) {
            task.unreadable =
                Some("its mask would be written over a picture: choose another --output".to_owned());
        } else if let Some(other) = targets.insert(task.target.clone(), task.source.clone()) {
            task.unreadable =
                Some(format!("its mask would have the same name as that of {}", other.display()));
        }
    }
}

fn draw(task: &Task, predictor: &dyn Predictor) -> Result<Found> {
    if let Some(why) = &task.unreadable {
        bail!("{why}");
    }
    let (picture, spacing) = read(&task.source)?;
    let mask = predictor.mask(&picture)?;
    output::write_file(&task.target, &png::encode_mask(&mask))?;
    let Measurements { electrode_px, area_mm2, extent_mm, .. } = Measurements::of(&picture, &mask, spacing);
    Ok(Found {
        file: task.source.display().to_string(),
        mask: task.target.display().to_string(),
        rows: mask.rows(),
        columns: mask.columns(),
        electrode_px,
        area_mm2,
        extent_mm,
    })
}

/// A PNG, or a DICOM file as the preprocess stage shows it. Told by their content: endings mean nothing.
fn read(path: &Path) -> Result<(Image8, Option<Spacing>)> {
    let bytes = output::read_file(path)?;
    if png::is_png(&bytes) {
        return Ok((png::decode_grey(&bytes)?, None));
    }
    let instance = instance::decode(&bytes).context("neither a PNG nor a usable DICOM file")?;
    Ok((instance.picture()?, instance.attributes.pixel_spacing))
}

fn print(found: &[Found]) -> Result<()> {
    let mut table = Table::new(&["file", "electrode px", "area mm2", "extent mm", "mask"]);
    for one in found {
        table.row([
            one.file.clone(),
            one.electrode_px.to_string(),
            number(one.area_mm2),
            number(one.extent_mm),
            one.mask.clone(),
        ]);
    }
    table.print()
}

#[cfg(test)]
mod tests {
    use modiolus_dicom::write::{CtImage, Syntax};
    use modiolus_imaging::{Grid, Mask};

    use super::*;

    /// Takes everything bright for an electrode.
    struct Bright;

    impl Predictor for Bright {
        fn mask(&self, slice: &Image8) -> Result<Mask> {
            Ok(slice.map(|&grey| grey > 150))
        }
    }

    #[test]
    fn masks_have_the_names_and_sizes_of_pictures_and_bad_files_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let (images, output) = (folder.path().join("in"), folder.path().join("in/out"));
        let picture = Grid::from_fn(5, 7, |r, c| if r == c { 255 } else { 0 }).unwrap();
        output::write_file(&images.join("a b.png"), &png::encode_grey(&picture)).unwrap();
        let slice = CtImage { rows: 4, columns: 6, pixels: (0..24).collect(), ..CtImage::default() };
        output::write_file(&images.join("207/I1"), &slice.to_bytes(Syntax::ExplicitLittle)).unwrap();
        output::write_file(&images.join("207/I1.dcm"), &slice.to_bytes(Syntax::ExplicitLittle)).unwrap();
        output::write_file(&images.join("junk"), b"Not a picture, but long enough to be looked at.").unwrap();
        output::write_file(&images.join("out/old.png"), b"an earlier mask").unwrap();

        let tasks = tasks(&images, &output).unwrap();
        let results: Vec<_> = tasks.iter().map(|task| draw(task, &Bright)).collect();
        let said: Vec<String> =
            results.iter().filter_map(|r| r.as_ref().err()).map(|e| format!("{e:#}")).collect();
        assert_eq!(results.len(), 4);
        assert!(
            said.len() == 2 && said[0].contains("207/I1") && said[1].contains("neither a PNG"),
            "{said:?}"
        );
        let mask = |name: &str| png::decode_mask(&fs::read(output.join(name)).unwrap()).unwrap();
        assert_eq!(mask("a b.png").size(), (5, 7));
        assert_eq!(mask("a b.png").count(), 5);
        assert_eq!(mask("207/I1.png").size(), (4, 6));
    }

    #[test]
    fn a_picture_is_never_overwritten_by_its_mask() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.png");
        output::write_file(&file, b"\x89PNG").unwrap();
        let tasks = tasks(&file, folder.path()).unwrap();
        assert!(draw(&tasks[0], &Bright).is_err());
        assert_eq!(fs::read(&file).unwrap(), b"\x89PNG");
    }
}
