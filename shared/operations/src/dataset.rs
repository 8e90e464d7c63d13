//! From pairs of pictures and masks to a dataset that is split without leaks.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use modiolus_imaging::fingerprint::{self, PerceptualHash};
use modiolus_imaging::grid::GridError;
use modiolus_imaging::png::{self, PngError};
use modiolus_pipeline::job::train::{Dataset, Sample};
use modiolus_pipeline::{Digest, ObjectKey, Plan, Split};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

/// The share of a picture above which its mask can't be an electrode array: arrays cover 0.1 to 2 % of a slice.
const MOST_ELECTRODE: f64 = 0.5;

/// A picture with its true mask, both as PNG bytes.
#[derive(Debug, Clone)]
pub struct Pair {
    /// The picture's name.
    pub name: String,
    /// Whose it is.
    pub patient: String,
    /// The picture.
    pub image: Vec<u8>,
    /// The mask, of the same size: nonzero is electrode.
    pub mask: Vec<u8>,
}

/// A pair that can't be learned from, by its name.
#[derive(Debug, thiserror::Error)]
pub enum BadPair {
    /// The picture can't be read.
    #[error("{0}: the picture: {1}")]
    Image(String, PngError),
    /// The mask can't be read.
    #[error("{0}: the mask: {1}")]
    Mask(String, PngError),
    /// Picture and mask have different sizes.
    #[error("{0}: the mask doesn't fit: {1}")]
    Size(String, GridError),
    /// The mask covers the picture.
    #[error(
        "{0}: the mask covers {1:.0} % of the picture; 0 has to be background, anything else the electrode array"
    )]
    Covered(String, f64),
    /// No mask has an electrode.
    #[error("no mask of {0} has an electrode: there is nothing to learn")]
    Nothing(usize),
}

/// Makes a dataset of pairs, and the objects that it lists. Patients who share a picture, equal or nearly equal (exported
/// twice under two numbers), stay on the same side of the split, like all pictures of one patient. With a single such group,
/// or a plan that holds out 0, none is held out.
///
/// # Errors
/// Names the first pair, by name, that can't be learned from.
pub fn assemble(pairs: Vec<Pair>, plan: &Plan) -> Result<(Dataset, Vec<(ObjectKey, Bytes)>), BadPair> {
    assemble_after(pairs, plan, &Split::default())
}

/// As [`assemble`], for a dataset that comes after others: patients stay on the side of the split on which they were, so that
/// models of all are judged alike and none is judged on what another has learned. Where two patients turn out to share a
/// picture across the split, both are learned from.
///
/// # Errors
/// As [`assemble`].
pub fn assemble_after(
    mut pairs: Vec<Pair>,
    plan: &Plan,
    earlier: &Split,
) -> Result<(Dataset, Vec<(ObjectKey, Bytes)>), BadPair> {
    pairs.sort_by(|a, b| a.name.cmp(&b.name));
    let read: Vec<_> = pairs.into_par_iter().map(Outline::of).collect::<Result<_, _>>()?;
    let (outlines, objects): (Vec<Outline>, Vec<_>) = read.into_iter().unzip();
    let objects: BTreeMap<ObjectKey, Bytes> = objects.into_iter().flatten().collect();
    Ok((split(outlines, plan, earlier)?, objects.into_iter().collect()))
}

/// Splits pairs of which only the outlines are left, as [`assemble_after`] does: a dataset of any size fits into memory.
///
/// # Errors
/// When no mask has an electrode.
pub fn split(mut outlines: Vec<Outline>, plan: &Plan, earlier: &Split) -> Result<Dataset, BadPair> {
    if !outlines.iter().any(|pair| pair.has_electrode) {
        return Err(BadPair::Nothing(outlines.len()));
    }
    outlines.sort_by(|a, b| a.sample.name.cmp(&b.sample.name));
    let held_out = held_out(&outlines, plan, earlier);
    let mut samples: Vec<Sample> = outlines.into_iter().map(|pair| pair.sample).collect();
    for sample in &mut samples {
        sample.held_out = held_out.contains(&sample.patient);
    }
    Ok(Dataset { samples })
}

/// What a split needs to know of a pair.
pub struct Outline {
    /// The sample; that it is held out is not said yet. Its objects are named for the bytes that [`Outline::of`] gives.
    pub sample: Sample,
    look: PerceptualHash,
    is_blank: bool,
    has_electrode: bool,
}

impl Outline {
    /// The outline of a pair, and the two objects that its sample lists.
    ///
    /// # Errors
    /// Says why the pair can't be learned from.
    pub fn of(pair: Pair) -> Result<(Self, [(ObjectKey, Bytes); 2]), BadPair> {
        let Pair { name, patient, image, mask } = pair;
        let image = png::decode_grey(&image).map_err(|error| BadPair::Image(name.clone(), error))?;
        let mask = png::decode_mask(&mask).map_err(|error| BadPair::Mask(name.clone(), error))?;
        image.check_same_size(&mask).map_err(|error| BadPair::Size(name.clone(), error))?;
        let share = mask.count() as f64 / mask.values().len() as f64;
        if share > MOST_ELECTRODE {
            return Err(BadPair::Covered(name, 100.0 * share));
        }
        let pixels = fingerprint::pixel_hash(image.rows(), image.columns(), image.values().iter().copied());
        let (look, is_blank) = (fingerprint::perceptual_hash(&image), fingerprint::is_blank(&image));
        let (image, mask) = (png::encode_grey(&image), png::encode_mask(&mask));
        let (image_digest, mask_digest) = (Digest::of(&image), Digest::of(&mask));
        let sample =
            Sample { name, patient, pixels, image: image_digest, mask: mask_digest, held_out: false };
        let object = |digest, bytes: Vec<u8>| (ObjectKey::Sample(digest), Bytes::from(bytes));
        let objects = [object(image_digest, image), object(mask_digest, mask)];
        Ok((Self { sample, look, is_blank, has_electrode: share > 0.0 }, objects))
    }

    /// Blank pictures show nothing: they don't make one person of two.
    fn shows_the_same(&self, other: &Self) -> bool {
        if self.is_blank || other.is_blank {
            return false;
        }
        self.sample.pixels == other.sample.pixels || self.look.is_near(&other.look)
    }
}

/// The patients to hold out: whole groups, those with an electrode first, drawn by the plan's seed up to its share of the
/// patients; at least one group if there are two, but never all that have an electrode. Groups of an earlier split stay where
/// they were: who was learned from by any picture is learned from, who was held out by any is held out.
fn held_out(read: &[Outline], plan: &Plan, earlier: &Split) -> Vec<String> {
    let mut groups = groups(read);
    // Anybody's blank picture is like everybody's.
    let known: Vec<(&String, bool)> = read
        .iter()
        .filter(|pair| !pair.is_blank)
        .filter_map(|pair| Some((&pair.sample.patient, earlier.was_held_out(&pair.sample.pixels)?)))
        .collect();
    let was = |group: &[String], held_out: bool| {
        known.iter().any(|(patient, side)| *side == held_out && group.contains(patient))
    };
    let teaches =
        |group: &Vec<String>| read.iter().any(|p| p.has_electrode && group.contains(&p.sample.patient));
    groups.shuffle(&mut ChaCha8Rng::seed_from_u64(plan.seed));
    // Stable sorts: what is equal stays as it was drawn.
    groups.sort_by_key(|group| !teaches(group));
    if groups.len() < 2 || plan.held_out <= 0.0 {
        return Vec::new();
    }
    let patients: usize = groups.iter().map(Vec::len).sum();
    let wanted = ((plan.held_out * patients as f64).round() as usize).max(1);
    let mut teaching = groups.iter().filter(|group| teaches(group)).count();
    let mut chosen = Vec::new();
    let (known, new): (Vec<_>, Vec<_>) =
        groups.iter().partition(|group| was(group, true) || was(group, false));
    for group in known.into_iter().filter(|group| !was(group, false)) {
        if !teaches(group) || teaching > 1 {
            teaching -= usize::from(teaches(group));
            chosen.extend_from_slice(group);
        }
    }
    // The second time, a single group may be larger than what is wanted: the smallest.
    let smallest = new.iter().map(|group| group.len()).min().unwrap_or(0);
    for most in [wanted, smallest] {
        for group in &new {
            if chosen.len() + group.len() <= most && (!teaches(group) || teaching > 1) {
                teaching -= usize::from(teaches(group));
                chosen.extend_from_slice(group);
            }
        }
        if !chosen.is_empty() {
            break;
        }
    }
    chosen
}

/// The patients, grouped so that no two groups share a picture.
fn groups(read: &[Outline]) -> Vec<Vec<String>> {
    let patients: BTreeSet<&str> = read.iter().map(|pair| pair.sample.patient.as_str()).collect();
    let mut group_of: BTreeMap<&str, usize> = patients.into_iter().zip(0..).collect();
    for (index, pair) in read.iter().enumerate() {
        for other in read[..index].iter().filter(|other| pair.shows_the_same(other)) {
            let (from, into) =
                (group_of[pair.sample.patient.as_str()], group_of[other.sample.patient.as_str()]);
            group_of.values_mut().filter(|group| **group == from).for_each(|group| *group = into);
        }
    }
    let mut groups: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for (patient, group) in group_of {
        groups.entry(group).or_default().push(patient.to_owned());
    }
    groups.into_values().collect()
}

#[cfg(test)]
mod tests {
    use modiolus_imaging::Grid;
    use rand::Rng;

    use super::*;

    fn pair(name: &str, patient: &str, grey: u8, electrode: bool) -> Pair {
        let mut noise = ChaCha8Rng::seed_from_u64(grey.into());
        let image = Grid::from_fn(20, 30, |_, _| noise.random_range(0..=255)).unwrap();
        let mask = Grid::from_fn(20, 30, |row, column| electrode && row == 4 && column < 9).unwrap();
        let (image, mask) = (png::encode_grey(&image), png::encode_mask(&mask));
        Pair { name: name.into(), patient: patient.into(), image, mask }
    }

    fn sides(pairs: Vec<Pair>, seed: u64) -> Vec<(String, bool)> {
        let plan = Plan { seed, ..Plan::default() };
        let (dataset, _) = assemble(pairs, &plan).unwrap();
        dataset.samples.into_iter().map(|sample| (sample.patient, sample.held_out)).collect()
    }

    #[test]
    fn patients_who_share_a_picture_are_never_split() {
        for seed in 0..20 {
            let pairs = vec![
                pair("1", "a", 1, true),
                pair("2", "b", 1, true),
                pair("3", "b", 2, true),
                pair("4", "c", 2, true),
                pair("5", "d", 3, true),
                pair("6", "e", 4, true),
            ];
            let sides = sides(pairs, seed);
            let of = |patient: &str| sides.iter().find(|side| side.0 == patient).unwrap().1;
            assert!(of("a") == of("b") && of("b") == of("c"));
            let out = ["a", "b", "c", "d", "e"].into_iter().filter(|patient| of(patient)).count();
            assert_eq!(out, 1, "a fifth of five patients");
        }
    }

    #[test]
    fn a_picture_exported_anew_is_the_same_picture() {
        for seed in 0..10 {
            let first = pair("1", "a", 1, true);
            let brighter = png::decode_grey(&first.image).unwrap().map(|&grey| grey / 2 + 60);
            let again = Pair { image: png::encode_grey(&brighter), ..pair("2", "b", 1, true) };
            let sides = sides(vec![first, again, pair("3", "c", 2, true)], seed);
            assert_eq!(sides[0].1, sides[1].1);
        }
    }

    #[test]
    fn one_group_cannot_be_split_and_the_last_electrode_is_not_held_out() {
        let all_one = vec![pair("1", "a", 1, true), pair("2", "b", 1, true)];
        assert!(sides(all_one, 0).iter().all(|side| !side.1));
        for seed in 0..10 {
            let pairs = vec![pair("1", "a", 1, true), pair("2", "b", 2, false), pair("3", "c", 3, false)];
            assert!(!sides(pairs, seed)[0].1);
        }
    }

    #[test]
    fn patients_stay_on_their_side_of_the_split_from_one_dataset_to_the_next() {
        let pairs =
            |patients: u8| (0..patients).map(|n| pair(&n.to_string(), &format!("p{n}"), n, true)).collect();
        for seed in 0..10 {
            let plan = Plan { seed, ..Plan::default() };
            let (earlier, _) = assemble(pairs(5), &plan).unwrap();
            let (later, _) =
                assemble_after(pairs(15), &Plan { seed: seed + 1, ..plan }, &Split::of(&earlier)).unwrap();
            for sample in &earlier.samples {
                let now = later.samples.iter().find(|now| now.patient == sample.patient).unwrap();
                assert_eq!(now.held_out, sample.held_out, "seed {seed}: {}", sample.patient);
            }
            assert_eq!(
                later.samples.iter().filter(|sample| sample.held_out).count(),
                3,
                "a fifth of fifteen"
            );
        }
    }

    #[test]
    fn patients_are_known_by_any_picture_whatever_they_are_called() {
        let pairs: Vec<Pair> = (0..6).map(|n| pair(&n.to_string(), &format!("p{n}"), n, true)).collect();
        let (earlier, _) = assemble(pairs.clone(), &Plan::default()).unwrap();
        let anew = |old: Pair| {
            let patient = format!("anew-{}", old.patient);
            let other = pair(&format!("{}-other", old.name), &patient, old.patient.as_bytes()[1] + 50, true);
            [Pair { patient, ..old }, other]
        };
        let pairs: Vec<Pair> = pairs.into_iter().flat_map(anew).collect();
        for seed in 0..10 {
            let plan = Plan { seed, ..Plan::default() };
            let (later, _) = assemble_after(pairs.clone(), &plan, &Split::of(&earlier)).unwrap();
            for sample in &earlier.samples {
                let now =
                    later.samples.iter().filter(|now| now.patient == format!("anew-{}", sample.patient));
                assert!(now.map(|now| now.held_out).eq([sample.held_out; 2]), "seed {seed}");
            }
        }
    }

    #[test]
    fn the_seed_decides_and_the_order_of_pairs_does_not() {
        let pairs = || (0..10).map(|n| pair(&n.to_string(), &format!("p{n}"), n, true)).collect::<Vec<_>>();
        let reversed = pairs().into_iter().rev().collect();
        assert_eq!(sides(pairs(), 3), sides(reversed, 3));
        let distinct: std::collections::BTreeSet<_> = (0..10).map(|seed| sides(pairs(), seed)).collect();
        assert!(distinct.len() > 3);
    }

    #[test]
    fn what_cannot_be_learned_from_is_named() {
        let text = |pairs| assemble(pairs, &Plan::default()).unwrap_err().to_string();
        let full = Pair {
            mask: png::encode_mask(&Grid::filled(20, 30, true).unwrap()),
            ..pair("full", "a", 1, true)
        };
        assert!(text(vec![full]).starts_with("full: the mask covers 100 %"));
        let small = Pair {
            mask: png::encode_mask(&Grid::filled(2, 3, true).unwrap()),
            ..pair("small", "a", 1, true)
        };
        assert!(text(vec![small]).contains("small: the mask doesn't fit"));
        let jpeg = Pair { image: b"\xff\xd8\xff".to_vec(), ..pair("jpeg", "a", 1, true) };
        assert!(text(vec![jpeg]).starts_with("jpeg: the picture"));
        assert!(text(vec![pair("1", "a", 1, false)]).contains("nothing to learn"));
        assert!(text(vec![]).contains("nothing to learn"));
    }

    #[test]
    fn objects_are_named_by_their_bytes_and_equal_ones_are_one() {
        let (dataset, objects) =
            assemble(vec![pair("1", "a", 1, true), pair("2", "b", 1, true)], &Plan::default()).unwrap();
        assert_eq!(objects.len(), 2);
        assert!(objects.iter().all(|(key, bytes)| *key == ObjectKey::Sample(Digest::of(bytes))));
        assert!(
            dataset.samples.iter().all(|s| objects.iter().any(|(key, _)| *key == ObjectKey::Sample(s.mask)))
        );
    }
}
