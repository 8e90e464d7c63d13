//! What an export says of its masks: `masks.csv` beside them tells of which revision each PNG is, as a labelme file does in itself.

use std::collections::{HashMap, HashSet};
use std::fmt;

use modiolus_imaging::png;
use modiolus_pipeline::{ModelVersion, RevisionId, RevisionState};

use crate::annotations::{NamedSlice, Origin, SliceNames};

/// The table's name.
pub const TABLE: &str = "masks.csv";

/// Its first line.
pub const HEADER: &str = "name,by,state,revision_or_model";

/// Whose mask goes out. As text: the fields of a row behind the mask's name.
#[derive(Debug, Clone, Copy)]
pub enum Source<'a> {
    /// People's: the slice's newest revision.
    People(&'a RevisionId, RevisionState),
    /// A model's.
    Model(&'a ModelVersion),
}

impl fmt::Display for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::People(id, state) => {
                let state = serde_json::to_value(state).unwrap_or_default();
                write!(f, "people,{},{id}", state.as_str().unwrap_or_default())
            }
            Self::Model(model) => write!(f, "model,proposal,{model}"),
        }
    }
}

/// What the tables of exports say of a run's slices: the newest revision of each when it went out, none where a model's mask did.
#[derive(Debug, Default)]
pub struct Exported(HashMap<String, Option<RevisionId>>);

impl Exported {
    /// Whether a file is such a table, by its name.
    pub fn is_table(file: &str) -> bool {
        file.rsplit('/').next() == Some(TABLE)
    }

    /// Takes in a table. Of other runs' slices nothing is kept, however long it is.
    pub fn add(&mut self, table: &str, names: &SliceNames) {
        let wanted: HashSet<String> = names.all().map(name).collect();
        let rows = table.lines().filter_map(row).filter(|(name, _)| wanted.contains(*name));
        self.0.extend(rows.map(|(name, revision)| (name.to_owned(), revision)));
    }

    /// Where a slice's annotation came from, if it went out from a review page.
    pub fn origin(&self, slice: &NamedSlice, file: &[u8]) -> Option<Origin> {
        if !png::is_png(file) {
            return Origin::of_labelme(file);
        }
        let revision = self.0.get(&name(slice))?.clone();
        Some(Origin { slice: slice.slice.clone(), revision })
    }
}

/// As the table calls a slice's mask: its patient is always the pseudonym.
fn name(NamedSlice { name, slice, .. }: &NamedSlice) -> String {
    let stem = name.rsplit('/').next().unwrap_or(name);
    format!("{}/{stem}.png", slice.patient)
}

fn row(line: &str) -> Option<(&str, Option<RevisionId>)> {
    match line.trim_end().split(',').collect::<Vec<_>>()[..] {
        [name, "people", _, revision] => Some((name, Some(revision.parse().ok()?))),
        [name, "model", ..] => Some((name, None)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use modiolus_imaging::{Mask, annotation};
    use modiolus_pipeline::Digest;
    use modiolus_pipeline::job::SliceRef;

    use super::*;

    fn slice(id: &str) -> SliceRef {
        SliceRef { patient: "P-1".parse().unwrap(), slice: id.parse().unwrap() }
    }

    #[test]
    fn a_png_is_of_the_revision_that_the_table_beside_it_names_whatever_its_patient_is_called_now() {
        let names = SliceNames::new([
            ("4711".into(), "I1".into(), slice("s-1"), (3, 4)),
            ("4711".into(), "I2".into(), slice("s-2"), (3, 4)),
            ("4711".into(), "I3".into(), slice("s-3"), (3, 4)),
        ]);
        let id = RevisionId::new(7, &Digest::of("a revision"));
        let people = Source::People(&id, RevisionState::Accepted);
        let model = "m-1".parse().unwrap();
        let model = Source::Model(&model);
        let mut exported = Exported::default();
        exported.add(&format!("{HEADER}\r\nP-1/I1.png,{people}\r\nP-1/I2.png,{model}\r\nnonsense"), &names);

        let drawn = Mask::filled(3, 4, true).unwrap();
        let origin = |stem: &str| {
            exported.origin(names.find(&format!("4711_{stem}.png")).unwrap(), &png::encode_mask(&drawn))
        };
        assert_eq!(origin("I1"), Some(Origin { slice: slice("s-1"), revision: Some(id.clone()) }));
        assert_eq!(origin("I2"), Some(Origin { slice: slice("s-2"), revision: None }));
        assert_eq!(origin("I3"), None, "the table says nothing of it");
        let labelme = annotation::write(&drawn, "I1.png");
        assert_eq!(
            exported.origin(names.find("4711_I1.json").unwrap(), &labelme),
            None,
            "it speaks for itself"
        );
    }

    #[test]
    fn however_long_a_table_is_no_more_is_kept_than_there_are_slices() {
        let names = SliceNames::new([("P-1".into(), "I1".into(), slice("s-1"), (3, 4))]);
        let others: String =
            (0..10_000).map(|number| format!("P-{number}/I{number}.png,model,proposal,m-1\n")).collect();
        let again = "P-1/I1.png,model,proposal,m-1\n".repeat(100);
        let mut exported = Exported::default();
        exported.add(&(others + &again), &names);
        assert_eq!(exported.0.len(), 1);
    }
}
