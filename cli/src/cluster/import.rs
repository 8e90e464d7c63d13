//! `modiolus annotations import`: masks that people drew elsewhere become the newest of their slices.

use std::path::PathBuf;

use anyhow::{Result, bail};
use modiolus_operations::annotations::{self, NamedSlice, SliceNames};
use modiolus_operations::chunks;
use modiolus_operations::exported::Exported;
use modiolus_operations::start::start;
use modiolus_pipeline::job::preprocess::{AnnotationVerdict, PreprocessJob};
use modiolus_pipeline::{Message, ObjectKey, RunId};
use modiolus_store::ObjectStore;
use serde::Serialize;

use super::Cluster;
use super::arguments::Import;
use super::fetch;
use super::submit::joins;
use super::wait::Listener;
use crate::output::{self, Table};
use crate::run::objects;
use crate::run::rows::{self, Gathering};
use crate::terminal;

/// What became of a file.
#[derive(Debug, Serialize)]
struct Row {
    file: String,
    /// PATIENT/STEM, where there is such a slice.
    slice: String,
    /// `accepted`, `refused`, or `waiting` for its sample to be made.
    verdict: &'static str,
    why: String,
    #[serde(skip)]
    job: Option<PreprocessJob>,
}

/// What is printed.
#[derive(Serialize)]
struct Imported<'a> {
    /// Makes samples of them; none where nothing can be used.
    run: Option<&'a RunId>,
    annotations: &'a [Row],
}

/// Takes in the annotations of a folder.
pub(crate) async fn import(options: &Import) -> Result<()> {
    let files = annotations::files(&options.folder)?;
    if files.is_empty() {
        bail!("{} has no .json and no .png: is it the right folder?", options.folder.display());
    }
    let cluster = Cluster::open(&options.at).await?;
    let names = names(options, &cluster).await?;
    let mut rows = take_in_all(&*cluster.store, &files, &names, options).await?;
    let first: Vec<Message> = rows.iter().filter_map(|row| row.job.as_ref()).map(Message::new).collect();
    let run = match first.is_empty() {
        true => None,
        false => Some(make_samples(&cluster, first, options.wait).await?),
    };
    for row in &mut rows {
        row.look(&*cluster.store).await?;
    }
    cluster.broker.close().await;
    print(run.as_ref(), &rows, options.json)
}

async fn names(options: &Import, cluster: &Cluster) -> Result<SliceNames> {
    let configuration = options.at.configuration()?;
    let secret = configuration.pseudonyms.secret()?;
    let (store, run) = (&*cluster.store, &options.run);
    let fetch::Described { manifest, wanted, submission } = fetch::described(store, run).await?;
    fetch::outcome(&configuration, cluster.store.clone(), run).await?;
    let (model, delivery) = (wanted.model.as_ref(), &submission.delivery);
    let keep_patient_ids = options.keep_patient_ids;
    let gathering = Gathering { store, run, model, secret: &secret, keep_patient_ids, delivery };
    Ok(rows::names(&gathering.rows(&manifest).await?))
}

async fn take_in_all(
    store: &dyn ObjectStore,
    files: &[(String, PathBuf)],
    names: &SliceNames,
    options: &Import,
) -> Result<Vec<Row>> {
    let exported = annotations::exported(&options.folder, names)?;
    let mut rows = Vec::new();
    let found = names.find_all(&files.iter().map(|(file, _)| file.as_str()).collect::<Vec<_>>());
    for ((file, path), slice) in files.iter().zip(found) {
        let bytes = annotations::read(path).map_err(|error| format!("{error:#}"));
        rows.push(take_in(store, slice, file.clone(), bytes, &exported, options).await?);
    }
    Ok(rows)
}

async fn take_in(
    store: &dyn ObjectStore,
    slice: Result<&NamedSlice, String>,
    file: String,
    bytes: Result<Vec<u8>, String>,
    exported: &Exported,
    Import { by, force, .. }: &Import,
) -> Result<Row> {
    let named = match slice {
        Ok(named) => named,
        Err(why) => return Ok(Row::refused(file, String::new(), why)),
    };
    let NamedSlice { name, slice, size } = named;
    let origin = bytes.as_ref().ok().filter(|_| !force).and_then(|bytes| exported.origin(named, bytes));
    let mask = match bytes.and_then(|bytes| annotations::mask(&bytes, *size)) {
        Ok(mask) => mask,
        Err(why) => return Ok(Row::refused(file, name.clone(), why)),
    };
    if let Some(origin) = origin
        && let Some(why) = annotations::moved_on(store, slice, &mask, &origin, by).await?
    {
        return Ok(Row::refused(file, name.clone(), why));
    }
    let job = Some(annotations::keep(store, slice, mask, by).await?);
    Ok(Row { file, slice: name.clone(), verdict: "waiting", why: String::new(), job })
}

/// Starts the jobs as a run of their own, and waits for it where that is wanted.
async fn make_samples(cluster: &Cluster, first: Vec<Message>, wait: bool) -> Result<RunId> {
    let (run, manifest) = chunks::run_of(&first);
    let (joins, listener) = (joins(cluster), Listener::new(&cluster.broker).await);
    let done = start(&*cluster.store, &cluster.broker, &joins, &run, &manifest, first).await?;
    if wait && done.is_none() {
        listener.until_done(&joins, &run, |_| ()).await?;
    }
    Ok(run)
}

impl Row {
    fn refused(file: String, slice: String, why: String) -> Self {
        Self { file, slice, verdict: "refused", why, job: None }
    }

    /// What preprocess said, if it did already.
    async fn look(&mut self, store: &dyn ObjectStore) -> Result<()> {
        let Some(PreprocessJob::Annotation { slice, annotation }) = &self.job else { return Ok(()) };
        let key = ObjectKey::AnnotationVerdict(slice.patient.clone(), slice.slice.clone(), *annotation);
        match objects::json_if_there(store, key).await? {
            Some(AnnotationVerdict::Accepted { .. }) => self.verdict = "accepted",
            Some(AnnotationVerdict::Refused { why }) => (self.verdict, self.why) = ("refused", why),
            None => {}
        }
        Ok(())
    }
}

/// A refused file is a failure of the command, after everything else was done.
fn print(run: Option<&RunId>, rows: &[Row], json: bool) -> Result<()> {
    if json {
        output::json(&Imported { run, annotations: rows })?;
    } else {
        let mut table = Table::new(&["file", "slice", "verdict", "why"]);
        for row in rows {
            table.row([row.file.clone(), row.slice.clone(), row.verdict.to_owned(), row.why.clone()]);
        }
        table.print()?;
    }
    let count = |verdict| rows.iter().filter(|row| row.verdict == verdict).count();
    if let (Some(run), waiting @ 1..) = (run, count("waiting")) {
        terminal::say(&format!("{waiting} wait for their sample to be made: `modiolus watch {run}`"));
    }
    match count("refused") {
        0 => Ok(()),
        n => bail!("{} could not be used", output::count(n, "annotation")),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use modiolus_imaging::{Mask, png};
    use modiolus_pipeline::job::SliceRef;
    use modiolus_store::MemoryStore;

    use super::*;
    use crate::cluster::arguments::At;

    fn mask(width: usize) -> Vec<u8> {
        png::encode_mask(&Mask::from_fn(3, 4, |_, column| column < width).unwrap())
    }

    fn options(folder: &Path, force: bool) -> Import {
        Import {
            folder: folder.to_owned(),
            run: "r-1".parse().unwrap(),
            by: "bob".into(),
            force,
            keep_patient_ids: false,
            wait: false,
            json: false,
            at: At::default(),
        }
    }

    #[tokio::test]
    async fn a_png_that_went_out_before_somebody_drew_does_not_come_in_unless_it_is_forced() {
        let slice = SliceRef { patient: "P-1".parse().unwrap(), slice: "s-1".parse().unwrap() };
        let names = SliceNames::new([("P-1".into(), "I1".into(), slice.clone(), (3, 4))]);
        let (store, folder) = (MemoryStore::new(), tempfile::tempdir().unwrap());
        annotations::keep(&store, &slice, mask(1), "ada").await.unwrap();
        fs::create_dir(folder.path().join("P-1")).unwrap();
        fs::write(folder.path().join("P-1/I1.png"), mask(2)).unwrap();
        fs::write(folder.path().join("masks.csv"), "P-1/I1.png,model,proposal,m-1\n").unwrap();
        let taken = async |force| {
            let files = annotations::files(folder.path()).unwrap();
            let mut rows = take_in_all(&store, &files, &names, &options(folder.path(), force)).await.unwrap();
            assert_eq!(rows.len(), 1);
            rows.remove(0)
        };
        let stale = taken(false).await;
        assert_eq!(stale.verdict, "refused");
        assert!(stale.why.contains("ada has drawn on this slice since"), "{}", stale.why);
        assert_eq!(taken(true).await.verdict, "waiting");
    }
}
