//! Pictures to learn from, as batches that follow from seed, epoch and position alone.

use std::sync::mpsc;

use modiolus_imaging::{Frame, Image8, Mask};
use modiolus_pipeline::{Digest, Plan, plan};
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::Error;
use crate::augment::augment;

/// The most pictures that an epoch is judged by, evenly chosen; gates use all.
pub const MOST_JUDGED: usize = 16;

/// How many batches are made ahead of the training.
const AHEAD: usize = 4;

/// How much larger than a patch the piece is that is augmented, so that a rotation finds pixels in its corners.
const MARGIN: f64 = 1.5;

/// Seeds of what is rehearsed have this bit, so that what judges can have others.
const REHEARSED_SEEDS: u64 = 1 << 63;

/// One picture with its true mask, both on the slice's own grid.
#[derive(Debug, Clone)]
pub struct Picture {
    /// The picture.
    pub image: Image8,
    /// Its mask, of the same size.
    pub mask: Mask,
    /// Whether it is never trained on but used to judge.
    pub held_out: bool,
}

/// Pictures on the grid of a plan's network.
#[derive(Debug)]
pub struct Data {
    trained: Vec<Prepared>,
    judged: Vec<(Image8, Mask)>,
    held_out: bool,
    rehearsed: Option<Rehearsal>,
}

/// Makes a picture and its mask from a seed: what a network is to keep in mind while it learns from others.
pub type Rehearsed = fn(u64) -> (Image8, Mask);

/// What is rehearsed, and for whom.
#[derive(Debug)]
struct Rehearsal {
    make: Rehearsed,
    dataset: Digest,
}

#[derive(Debug)]
struct Prepared {
    image: Image8,
    mask: Mask,
    /// The positions of the electrode's pixels, row-major.
    electrode: Vec<u32>,
}

/// Some pictures and masks as the network takes them: values 0 to 1, picture after picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Pictures.
    pub images: Vec<f32>,
    /// Masks, 0 or 1.
    pub masks: Vec<f32>,
    /// How many pictures.
    pub count: usize,
    /// Their rows and columns.
    pub side: usize,
}

/// Random numbers that follow from the plan's seed, what they are for, and a position.
pub(crate) fn random(seed: u64, purpose: &str, position: &[u64]) -> ChaCha8Rng {
    let position: Vec<u8> = position.iter().flat_map(|number| number.to_le_bytes()).collect();
    let digest = Digest::of_parts([&seed.to_le_bytes()[..], purpose.as_bytes(), &position]);
    ChaCha8Rng::from_seed(*digest.as_bytes())
}

impl Data {
    /// Puts pictures on the network's grid. Where none is held out, the trained ones are judged.
    ///
    /// # Errors
    /// When there is nothing to train on, a mask has another size than its picture, or no mask has an electrode.
    pub fn new(pictures: &[Picture], plan: &Plan) -> Result<Self, Error> {
        let prepare = |picture: &Picture| {
            picture.image.check_same_size(&picture.mask)?;
            let frame = Frame::of_picture(&picture.image, &plan.input)?;
            Ok((frame.apply(&picture.image)?, frame.apply_mask(&picture.mask)?))
        };
        let of = |held_out: bool| {
            let some: Vec<_> = pictures.iter().filter(|picture| picture.held_out == held_out).collect();
            some.into_par_iter().map(prepare).collect::<Result<Vec<_>, Error>>()
        };
        let (trained, held_out) = (of(false)?, of(true)?);
        if trained.is_empty() {
            return Err(Error::Data("there is no picture to train on".into()));
        }
        if trained.iter().all(|(_, mask)| mask.is_blank()) {
            return Err(Error::Data("no training mask has an electrode: there is nothing to learn".into()));
        }
        let judged = evenly(if held_out.is_empty() { &trained } else { &held_out }, MOST_JUDGED);
        let trained = trained.into_iter().map(Prepared::from).collect();
        Ok(Self { trained, judged, held_out: !held_out.is_empty(), rehearsed: None })
    }

    /// With pictures to rehearse, by the share that the plan wants. They follow from the dataset: the next training, which has
    /// another one, rehearses others.
    #[must_use]
    pub fn rehearsing(self, make: Rehearsed, dataset: Digest) -> Self {
        Self { rehearsed: Some(Rehearsal { make, dataset }), ..self }
    }

    /// The pictures that judge, with their masks, on the network's grid.
    pub fn judged(&self) -> &[(Image8, Mask)] {
        &self.judged
    }

    /// Whether the judging pictures are held out from training.
    pub fn is_held_out(&self) -> bool {
        self.held_out
    }

    /// How many steps an epoch has.
    pub fn steps(&self, plan: &Plan) -> usize {
        self.items(plan).div_ceil(plan.batch as usize)
    }

    /// How many items an epoch has: of whole pictures, so many that each of one's own comes once.
    fn items(&self, plan: &Plan) -> usize {
        match plan.input {
            plan::Input::Fit { .. } => {
                (0..).filter(|&position| !is_rehearsed(plan, position)).nth(self.trained.len()).unwrap_or(0)
            }
            plan::Input::Native { patches, .. } => patches as usize,
        }
    }

    /// Hands an epoch's batches to `take` in their order; other threads make them ahead. Not for a thread of rayon's pool:
    /// it would wait for work that waits for it.
    ///
    /// # Errors
    /// Those of `take`, at once.
    pub fn each_batch(
        &self,
        plan: &Plan,
        epoch: u32,
        mut take: impl FnMut(Batch) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let order = self.order(plan, epoch);
        let (sender, receiver) = mpsc::sync_channel(AHEAD);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for (first, items) in order.chunks(plan.batch as usize).enumerate() {
                    let first = first * plan.batch as usize;
                    if sender.send(self.batch(plan, epoch, first, items)).is_err() {
                        break;
                    }
                }
            });
            // The receiver goes with this closure, so that an error ends the other thread too.
            receiver.into_iter().try_for_each(|batch| take(batch?))
        })
    }

    /// Which picture each of the epoch's items shows; none where another is rehearsed. The pictures come in rounds, each in an
    /// order of its own, and an epoch goes on where the one before stopped: none comes again before all others have come.
    fn order(&self, plan: &Plan, epoch: u32) -> Vec<Option<usize>> {
        let items = self.items(plan);
        let own = (0..items).filter(|&position| !is_rehearsed(plan, position)).count();
        let (pictures, before) = (self.trained.len(), own as u64 * u64::from(epoch));
        let round = |round: u64| {
            let mut order: Vec<usize> = (0..pictures).collect();
            order.shuffle(&mut random(plan.seed, "order", &[round]));
            order
        };
        let rounds = before / pictures as u64..;
        let mut own = rounds.flat_map(round).skip((before % pictures as u64) as usize);
        (0..items).map(|position| if is_rehearsed(plan, position) { None } else { own.next() }).collect()
    }

    fn batch(&self, plan: &Plan, epoch: u32, first: usize, items: &[Option<usize>]) -> Result<Batch, Error> {
        let item = |(index, picture): (usize, &Option<usize>)| {
            let position = first + index;
            let mut random = random(plan.seed, "item", &[epoch.into(), position as u64]);
            let around_electrode = position.is_multiple_of(2);
            match picture {
                Some(picture) => self.trained[*picture].item(plan, around_electrode, &mut random),
                None => self.rehearsed(plan, epoch, position)?.item(plan, around_electrode, &mut random),
            }
        };
        let items: Vec<(Image8, Mask)> =
            items.par_iter().enumerate().map(item).collect::<Result<_, Error>>()?;
        let side = items.first().map_or(0, |(image, _)| image.rows());
        Ok(Batch {
            images: items
                .iter()
                .flat_map(|(image, _)| image.values())
                .map(|&grey| f32::from(grey) / 255.0)
                .collect(),
            masks: items
                .iter()
                .flat_map(|(_, mask)| mask.values())
                .map(|&set| f32::from(u8::from(set)))
                .collect(),
            count: items.len(),
            side,
        })
    }

    fn rehearsed(&self, plan: &Plan, epoch: u32, position: usize) -> Result<Prepared, Error> {
        let missing = "the plan rehearses other pictures, but there are none: set rehearsal to 0";
        let Rehearsal { make, dataset } =
            self.rehearsed.as_ref().ok_or_else(|| Error::Data(missing.into()))?;
        let purpose = format!("rehearsed beside {dataset}");
        let mut random = random(plan.seed, &purpose, &[epoch.into(), position as u64]);
        let (image, mask) = make(random.random::<u64>() | REHEARSED_SEEDS);
        let frame = Frame::of_picture(&image, &plan.input)?;
        Ok(Prepared::from((frame.apply(&image)?, frame.apply_mask(&mask)?)))
    }
}

impl From<(Image8, Mask)> for Prepared {
    fn from((image, mask): (Image8, Mask)) -> Self {
        let set = mask.values().iter().enumerate().filter(|(_, set)| **set);
        let electrode = set.map(|(at, _)| at as u32).collect();
        Self { image, mask, electrode }
    }
}

impl Prepared {
    fn item(
        &self,
        plan: &Plan,
        around_electrode: bool,
        random: &mut ChaCha8Rng,
    ) -> Result<(Image8, Mask), Error> {
        let changes = &plan.augmentation;
        match plan.input {
            plan::Input::Fit { .. } => {
                Ok(augment(&self.image, &self.mask, self.image.size(), changes, random)?)
            }
            plan::Input::Native { patch, .. } => {
                let patch = patch as usize;
                let centre = self.centre(around_electrode, patch, random);
                let piece = (patch as f64 * MARGIN) as usize;
                let (image, mask) =
                    (cut(&self.image, centre, piece, 0)?, cut(&self.mask, centre, piece, false)?);
                Ok(augment(&image, &mask, (patch, patch), changes, random)?)
            }
        }
    }

    /// Where a patch's centre lies: near a pixel of the electrode, or anywhere.
    fn centre(&self, around_electrode: bool, patch: usize, random: &mut ChaCha8Rng) -> (usize, usize) {
        let (rows, columns) = self.image.size();
        if self.electrode.is_empty() || !around_electrode {
            return (random.random_range(0..rows), random.random_range(0..columns));
        }
        let at = self.electrode[random.random_range(0..self.electrode.len())] as usize;
        let mut near = |x: usize, length: usize| {
            let moved = x + random.random_range(0..=patch / 2);
            moved.saturating_sub(patch / 4).min(length - 1)
        };
        (near(at / columns, rows), near(at % columns, columns))
    }
}

/// Whether the item at a position is rehearsed. Of patches whole pairs are, because one of each pair lies around an electrode.
fn is_rehearsed(plan: &Plan, position: usize) -> bool {
    let at = match plan.input {
        plan::Input::Fit { .. } => position,
        plan::Input::Native { .. } => position / 2,
    };
    ((at as f64 + 1.0) * plan.rehearsal).floor() > (at as f64 * plan.rehearsal).floor()
}

/// The square of `side` pixels around a position; what lies outside is `fill`.
fn cut<T: Copy>(
    grid: &modiolus_imaging::Grid<T>,
    centre: (usize, usize),
    side: usize,
    fill: T,
) -> Result<modiolus_imaging::Grid<T>, Error> {
    let source = |centre: usize, offset: usize| (centre + offset).checked_sub(side / 2);
    let value = |row, column| {
        let at = source(centre.0, row).zip(source(centre.1, column));
        at.and_then(|(row, column)| grid.get(row, column)).copied().unwrap_or(fill)
    };
    Ok(modiolus_imaging::Grid::from_fn(side, side, value)?)
}

/// At most `most` of some things, evenly chosen.
fn evenly<T: Clone>(all: &[T], most: usize) -> Vec<T> {
    let count = all.len().min(most);
    (0..count).map(|index| all[index * all.len() / count].clone()).collect()
}

#[cfg(test)]
mod tests {
    use modiolus_imaging::Grid;
    use modiolus_pipeline::plan::Augmentation;

    use super::*;

    fn picture(seed: u64, held_out: bool) -> Picture {
        let mut random = random(seed, "test", &[]);
        let image = Grid::from_fn(70, 90, |_, _| random.random_range(100..=255)).unwrap();
        let mask =
            Grid::from_fn(70, 90, |row, column| row.abs_diff(30) < 4 && column.abs_diff(50) < 4).unwrap();
        Picture { image, mask, held_out }
    }

    fn plan(augmentation: Augmentation) -> Plan {
        let input = plan::Input::Native { multiple: 8, patch: 32, patches: 10 };
        Plan { input, augmentation, batch: 4, ..Plan::default() }
    }

    fn batches(data: &Data, plan: &Plan, epoch: u32) -> Vec<Batch> {
        let mut batches = Vec::new();
        data.each_batch(plan, epoch, |batch| {
            batches.push(batch);
            Ok(())
        })
        .unwrap();
        batches
    }

    #[test]
    fn batches_follow_from_seed_and_epoch_and_differ_between_epochs() {
        let plan = plan(Plan::default().augmentation);
        let data = Data::new(&[picture(1, false), picture(2, false), picture(3, true)], &plan).unwrap();
        let first = batches(&data, &plan, 0);
        assert_eq!(first.iter().map(|batch| batch.count).collect::<Vec<_>>(), [4, 4, 2]);
        assert_eq!((first.len(), first[0].images.len()), (data.steps(&plan), 4 * 32 * 32));
        assert_eq!(batches(&data, &plan, 0), first);
        assert_ne!(batches(&data, &plan, 1), first);
        assert_ne!(batches(&data, &Plan { seed: 9, ..plan.clone() }, 0), first);
        assert!(data.is_held_out() && data.judged().len() == 1);
    }

    #[test]
    fn every_second_patch_shows_an_electrode_and_masks_stay_on_their_pixels() {
        let plan = plan(Augmentation::NONE);
        let data = Data::new(&[picture(1, false)], &plan).unwrap();
        for batch in batches(&data, &plan, 3) {
            for item in (0..batch.count).step_by(2) {
                let pixels = item * 1024..(item + 1) * 1024;
                let set: Vec<_> = pixels.filter(|&at| batch.masks[at] == 1.0).collect();
                assert!(!set.is_empty());
                assert!(set.iter().all(|&at| batch.images[at] >= 100.0 / 255.0));
            }
        }
    }

    #[test]
    fn a_share_of_the_items_is_rehearsed() {
        let black = |_: u64| {
            let mask = Grid::filled(64, 64, false).unwrap();
            (mask.map(|_| 0_u8), mask)
        };
        let plan = Plan { rehearsal: 0.4, ..plan(Augmentation::NONE) };
        let data = Data::new(&[picture(1, false)], &plan).unwrap();
        assert!(data.each_batch(&plan, 0, |_| Ok(())).is_err(), "nothing to rehearse was given");
        let all = batches(&data.rehearsing(black, Digest::of("data")), &plan, 0);
        let items = all.iter().flat_map(|batch| batch.images.chunks(32 * 32));
        assert_eq!(items.filter(|item| item.iter().all(|&grey| grey == 0.0)).count(), 4);
        let without = Plan { rehearsal: 0.0, ..plan };
        assert!((0..100).all(|position| !is_rehearsed(&without, position)));
    }

    #[test]
    fn ones_own_pictures_come_equally_often_whatever_is_rehearsed() {
        for (rehearsal, pictures) in [(0.75, 4), (0.75, 7), (0.5, 3), (0.0, 4), (0.9, 40)] {
            let plan = Plan { rehearsal, epochs: 5, ..plan(Augmentation::NONE) };
            let all: Vec<Picture> = (0..pictures).map(|seed| picture(seed, false)).collect();
            let data = Data::new(&all, &plan).unwrap();
            let mut so_far = vec![0; all.len()];
            for epoch in 0..plan.epochs {
                data.order(&plan, epoch).into_iter().flatten().for_each(|picture| so_far[picture] += 1);
                let (least, most) = (so_far.iter().min().unwrap(), so_far.iter().max().unwrap());
                assert!(most - least <= 1, "{rehearsal}, epoch {epoch}: {so_far:?}");
            }
        }
    }

    #[test]
    fn an_epoch_of_whole_pictures_shows_each_once_and_rehearses_the_share() {
        let plan = Plan { rehearsal: 0.75, input: plan::Input::Fit { size: 32 }, ..plan(Augmentation::NONE) };
        for pictures in [1, 2, 5] {
            let all: Vec<Picture> = (0..pictures).map(|seed| picture(seed, false)).collect();
            let data = Data::new(&all, &plan).unwrap();
            let order = data.order(&plan, 3);
            let mut own: Vec<usize> = order.iter().copied().flatten().collect();
            own.sort_unstable();
            assert_eq!(own, (0..all.len()).collect::<Vec<_>>());
            assert_eq!(order.len(), 4 * all.len());
        }
    }

    #[test]
    fn another_dataset_rehearses_others_and_the_same_one_the_same() {
        let shade = |seed: u64| {
            let mask = Grid::filled(64, 64, false).unwrap();
            (mask.map(|_| (seed % 251) as u8), mask)
        };
        let plan = Plan { rehearsal: 0.5, ..plan(Augmentation::NONE) };
        let of = |dataset: &str| {
            let data = Data::new(&[picture(1, false)], &plan).unwrap();
            batches(&data.rehearsing(shade, Digest::of(dataset)), &plan, 0)
        };
        assert_eq!(of("one"), of("one"));
        assert_ne!(of("one"), of("other"));
    }

    #[test]
    fn an_error_while_taking_ends_the_epoch() {
        let plan = plan(Augmentation::NONE);
        let data = Data::new(&[picture(1, false)], &plan).unwrap();
        assert!(matches!(data.each_batch(&plan, 0, |_| Err(Error::Stopped)), Err(Error::Stopped)));
    }

    #[test]
    fn what_cannot_teach_is_refused() {
        let plan = plan(Augmentation::NONE);
        let good = picture(1, false);
        let blank = Picture { mask: good.mask.like(false), ..good.clone() };
        let other_size = Picture { mask: Grid::filled(5, 5, true).unwrap(), ..good.clone() };
        let held_out = Picture { held_out: true, ..good };
        for pictures in [vec![], vec![blank], vec![other_size], vec![held_out]] {
            assert!(Data::new(&pictures, &plan).is_err());
        }
    }
}
