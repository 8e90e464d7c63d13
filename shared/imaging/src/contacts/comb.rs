//! Contacts along the array's middle line: the row of nearly even steps whose picture is most like the brightness there.
//!
//! A contact between two bright ones may have no maximum of its own, and noise may have one. So what is judged is not how bright a
//! place is but how well contacts there explain all brightness between them: each is a short rod of metal, as blurred along the array
//! as it is seen to be across. Steps follow a pitch that changes slowly along the array, since a slice that leans shortens it. The best
//! row of all is found by dynamic programming over places and pitches.

use super::path::{Profile, WAY_MM};

/// Places are tried every so many points of the path.
const EVERY: usize = 2;
const GRID_MM: f64 = WAY_MM * EVERY as f64;

/// The shortest and the longest step, mm: makers set contacts 0.67 to 2.4 mm apart, and a slice that leans shortens that.
const SHORTEST_MM: f64 = 0.42;
const LONGEST_MM: f64 = 2.8;

/// The pitches that are tried, mm: the first, how many, and the ratio of neighbours.
const FIRST_PITCH_MM: f64 = 0.5;
const PITCHES: usize = 25;
const RATIO: f64 = 1.07;

/// What it costs that the pitch changes from one step to the next by one ratio.
const CHANGE: f64 = 1.0;

/// How contacts scatter around even places, one sigma: mm, and as a share of the pitch.
const SCATTER_MM: f64 = 0.05;
const SCATTER: f64 = 0.04;

/// Makers' pitches end here, mm; what others cost: half of (ln of the ratio, over this) squared.
const MAKERS_MM: (f64, f64) = (0.64, 2.5);
const MAKERS_SPREAD: f64 = 0.15;

/// What brightness may differ from that of rods: as a share of the contacts', and grey levels. Both are one sigma.
const ERROR: f64 = 0.06;
const ERROR_GREYS: f64 = 4.0;

/// Over this way, mm, the error is the same; and this many sigmas of it are as bad as any more.
const ALIKE_MM: f64 = 0.2;
const WORST: f64 = 3.0;

/// What brightness outside of the mask counts.
const OUTSIDE: f64 = 0.3;

/// The wires within the array are at most this bright against its contacts.
const WIRE: f64 = 0.45;

/// What a contact costs.
const CONTACT: f64 = 1.0;

/// A count that changes if contacts cost so much more or less is a guess.
const DOUBT: f64 = 1.0;

/// What a way through other planes costs, and each contact there; its unevenness costs at most so much.
const AWAY: f64 = 0.5;
const AWAY_EACH: f64 = 0.2;
const AWAY_UNEVEN: f64 = 3.0;
const AWAY_MOST: usize = 9;

/// So much more do contacts scatter for each that is hidden, mm: nobody sees which way the array goes there.
const AWAY_SCATTER_MM: f64 = 0.1;

/// No way leaves out more bright places than cost so much.
const MOST_BARE: f64 = 20.0;

/// The lengths of a contact that are tried, mm.
const RODS_MM: [f64; 4] = [0.3, 0.42, 0.54, 0.65];

/// The contacts along a path.
pub(super) struct Comb {
    /// Position of each on the path, in steps of [`WAY_MM`].
    pub(super) teeth: Vec<f64>,
    /// How much darker it is half way between two contacts than on them, median, as a share of their brightness: 0 where
    /// contacts melt together.
    pub(super) contrast: f64,
    /// The count stays the same if contacts cost a little more, or less.
    pub(super) is_sure: bool,
}

/// Finds the contacts.
pub(super) fn comb(profile: &Profile) -> Comb {
    let tried = RODS_MM.map(|rod| {
        let rods = Rods::of(profile, rod);
        let (cost, row) = rods.best_row(CONTACT);
        (cost, row, rods)
    });
    let best = tried.into_iter().min_by(|a, b| a.0.total_cmp(&b.0));
    let Some((_, row, rods)) = best else {
        return Comb { teeth: Vec::new(), contrast: 0.0, is_sure: false };
    };
    let counts = [CONTACT - DOUBT, CONTACT + DOUBT].map(|contact| rods.best_row(contact).1.len());
    let is_sure = counts.iter().all(|count| *count == row.len());
    let contrast = contrast(&rods.heights, &row);
    Comb { teeth: row.iter().map(|&i| EVERY as f64 * rods.top(i)).collect(), contrast, is_sure }
}

fn contrast(heights: &[f64], row: &[usize]) -> f64 {
    let dip = |pair: &[usize]| {
        1.0 - heights[(pair[0] + pair[1]) / 2] / heights[pair[0]].min(heights[pair[1]]).max(1e-6)
    };
    median(row.windows(2).map(dip).collect()).unwrap_or(1.0)
}

pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

fn pitch(state: usize) -> f64 {
    FIRST_PITCH_MM * RATIO.powi(state as i32)
}

/// The brightness along the path and how rods of one length explain it.
struct Rods {
    /// Brightness over the background, grey levels.
    heights: Vec<f64>,
    inside: Vec<bool>,
    /// How bright a rod of height 1 is at distances of 0, 1, 2 ... places.
    shapes: Vec<Vec<f64>>,
    /// The sum of what unexplained brightness costs inside of the mask, up to each place.
    unexplained: Vec<f64>,
    /// For each place, the first and the last place of the mask's part around it.
    parts: Vec<(usize, usize)>,
    /// What it costs that a contact is the first or the last of its part.
    tails: [Vec<f64>; 2],
    /// What each step costs, from each place, by length.
    steps: Vec<Vec<f64>>,
}

impl Rods {
    fn of(profile: &Profile, rod: f64) -> Self {
        let pick = |i: usize| i * EVERY;
        let n = profile.heights.len().div_ceil(EVERY);
        let heights: Vec<f64> = (0..n).map(|i| profile.heights[pick(i)].max(0.0)).collect();
        let inside: Vec<bool> = (0..n).map(|i| profile.inside[pick(i)]).collect();
        let shapes = (0..n).map(|i| shape(profile.sigmas[pick(i)], rod)).collect();
        let mut parts = vec![(0, 0); n];
        let mut i = 0;
        while i < n {
            let end = (i..n).take_while(|&k| inside[k] == inside[i]).last().unwrap_or(i);
            parts[i..=end].fill((i, end));
            i = end + 1;
        }
        let typical = median(heights.iter().zip(&inside).filter(|it| *it.1).map(|it| *it.0).collect());
        let typical = typical.unwrap_or(1.0);
        let mut unexplained = vec![0.0];
        for i in 0..n {
            let here = if inside[i] { badness(heights[i], typical) } else { 0.0 };
            unexplained.push(unexplained[i] + here);
        }
        let mut rods = Self {
            heights,
            inside,
            shapes,
            unexplained,
            parts,
            tails: [Vec::new(), Vec::new()],
            steps: Vec::new(),
        };
        rods.tails = [false, true].map(|after| (0..n).map(|i| rods.tail(i, after)).collect());
        rods.steps = (0..n).map(|i| rods.steps_from(i)).collect();
        rods
    }

    /// What the brightness of a part before or after its outermost contact costs.
    fn tail(&self, i: usize, after: bool) -> f64 {
        let (begin, end) = self.parts[i];
        let places: Vec<usize> = if after { (i + 1..=end).collect() } else { (begin..i).rev().collect() };
        let height = self.heights[i];
        let rod = |k: usize| self.shapes[i].get(k + 1).copied().unwrap_or(0.0);
        let bare = places.iter().enumerate().map(|(k, &at)| self.heights[at] - height * rod(k));
        let wire = bare.sum::<f64>() / places.len().max(1) as f64;
        let wire = wire.clamp(0.0, WIRE * 0.5 * height);
        let cost = |(k, &at): (usize, &usize)| {
            let model = wire + (height - wire) * rod(k);
            badness(self.heights[at] - model, height)
        };
        places.iter().enumerate().map(cost).sum()
    }

    fn steps_from(&self, i: usize) -> Vec<f64> {
        let longest = ((LONGEST_MM / GRID_MM) as usize).min(self.heights.len() - 1 - i);
        (0..=longest)
            .map(|k| {
                if self.inside[i] && self.inside[i + k] && k as f64 * GRID_MM >= SHORTEST_MM {
                    self.between(i, i + k)
                } else {
                    f64::INFINITY
                }
            })
            .collect()
    }

    /// What the brightness between two neighbours costs.
    fn between(&self, i: usize, j: usize) -> f64 {
        let (left, right) = (self.heights[i], self.heights[j]);
        if left <= 0.0 || right <= 0.0 {
            return f64::INFINITY;
        }
        let k = j - i;
        let at = |shape: &[f64], k: usize| shape.get(k).copied().unwrap_or(0.0);
        // Heights such that both together are as bright as seen at both places.
        let (shine, back) = (at(&self.shapes[j], k), at(&self.shapes[i], k));
        let whole = 1.0 - shine * back;
        if whole < 0.05 {
            return f64::INFINITY;
        }
        let solve = |left: f64, right: f64| ((left - shine * right) / whole, (right - back * left) / whole);
        let ((a, b), (c, d)) = (solve(left, right), solve(1.0, 1.0));
        let bare = |m: usize| a * at(&self.shapes[i], m) + b * at(&self.shapes[j], k - m);
        let wire = |m: usize| 1.0 - c * at(&self.shapes[i], m) - d * at(&self.shapes[j], k - m);
        let (mut along, mut power) = (0.0, 1e-9);
        for m in 1..k {
            let (rest, wire) = (self.heights[i + m] - bare(m), wire(m));
            along += rest * wire;
            power += wire * wire;
        }
        let share = (along / power).clamp(0.0, WIRE * left.min(right));
        if a - share * c <= 0.0 || b - share * d <= 0.0 {
            return f64::INFINITY;
        }
        let cost = |m: usize| {
            let rest = self.heights[i + m] - bare(m) - share * wire(m);
            let weight = if self.inside[i + m] { 1.0 } else { OUTSIDE };
            weight * badness(rest, left.max(right))
        };
        (1..k).map(cost).sum()
    }

    /// The cheapest row, and its cost.
    fn best_row(&self, contact: f64) -> (f64, Vec<usize>) {
        let n = self.heights.len();
        let mut best = vec![[NONE; PITCHES]; n];
        let mut changed = vec![[(f64::INFINITY, 0); PITCHES]; n];
        let mut end = NONE;
        for j in (0..n).filter(|&j| self.inside[j]) {
            best[j] = std::array::from_fn(|state| {
                let ways = [self.start(j), self.step(j, state, &changed), self.step_over(j, state, &changed)];
                let (cost, before) = ways.into_iter().fold(NONE, cheaper);
                (cost + contact + makers(pitch(state)), before)
            });
            changed[j] = std::array::from_fn(|state| with_change(&best[j], state));
            let ends = best[j].iter().enumerate().map(|(state, way)| (way.0 + self.end(j), Some((j, state))));
            end = ends.fold(end, cheaper);
        }
        let row = std::iter::successors(end.1, |&(j, state)| best[j][state].1);
        let mut row: Vec<usize> = row.map(|(j, _)| j).collect();
        row.reverse();
        (end.0, row)
    }

    /// What it costs that a contact is the first.
    fn start(&self, j: usize) -> Way {
        (self.tails[0][j] + self.unexplained[self.parts[j].0], None)
    }

    /// What it costs that a contact is the last.
    fn end(&self, j: usize) -> f64 {
        self.tails[1][j] + self.unexplained[self.heights.len()] - self.unexplained[self.parts[j].1 + 1]
    }

    /// The cheapest step from a neighbour.
    fn step(&self, j: usize, state: usize, changed: &[Changed]) -> Way {
        let pitch = pitch(state);
        let scatter = SCATTER_MM + SCATTER * pitch;
        let nearest = ((pitch - 3.0 * scatter).max(SHORTEST_MM) / GRID_MM).ceil() as usize;
        let furthest = (((pitch + 3.0 * scatter).min(LONGEST_MM)) / GRID_MM) as usize;
        let step = |k: usize| {
            let off = (k as f64 * GRID_MM - pitch) / scatter;
            let (before, was) = changed[j - k][state];
            (before + self.steps[j - k][k] + 0.5 * off * off, Some((j - k, was)))
        };
        (nearest..=furthest.min(j)).map(step).fold(NONE, cheaper)
    }

    /// The cheapest step from another part of the mask, with contacts between that are out of the plane.
    fn step_over(&self, j: usize, state: usize, changed: &[Changed]) -> Way {
        let pitch = pitch(state);
        let begin = self.parts[j].0;
        let reach = (1.2 * pitch / GRID_MM) as usize;
        if j - begin > reach {
            return NONE;
        }
        let mut way = NONE;
        for (first, last) in self.parts_before(begin) {
            let bare = self.unexplained[begin] - self.unexplained[last + 1];
            if bare > MOST_BARE {
                break;
            }
            for i in (first.max(last.saturating_sub(reach))..=last).rev() {
                let (before, was) = changed[i][state];
                let cost = before + self.tails[1][i] + self.tails[0][j] + bare + self.over(i, j, pitch);
                way = cheaper(way, (cost, Some((i, was))));
            }
        }
        way
    }

    /// The mask's parts before the one that begins at a place, the nearest first.
    fn parts_before(&self, begin: usize) -> impl Iterator<Item = (usize, usize)> + use<'_> {
        let before = |begin: usize| {
            let (dark, _) = self.parts[begin.checked_sub(1)?];
            Some(self.parts[dark.checked_sub(1)?])
        };
        std::iter::successors(before(begin), move |part| before(part.0))
    }

    /// What a way between two parts costs by its length and by the contacts that are hidden there: not if one of them would be seen.
    fn over(&self, i: usize, j: usize, pitch: f64) -> f64 {
        let way = (j - i) as f64 * GRID_MM;
        let steps = (way / pitch).round().max(1.0);
        let hidden = steps as usize - 1;
        let is_seen = |k: usize| self.inside[i + (j - i) * k / (hidden + 1)];
        if hidden <= AWAY_MOST && (1..=hidden).any(is_seen) {
            return f64::INFINITY;
        }
        let scatter = (SCATTER_MM + SCATTER * pitch) * steps.sqrt() + AWAY_SCATTER_MM * hidden as f64;
        let off = (way - steps * pitch) / scatter;
        AWAY + AWAY_EACH * hidden.min(AWAY_MOST) as f64 + (0.5 * off * off).min(AWAY_UNEVEN)
    }

    /// Where the maximum next to a place lies, between places.
    fn top(&self, i: usize) -> f64 {
        let height = |i: usize| self.heights[i.min(self.heights.len() - 1)];
        let near = i.saturating_sub(2)..=(i + 2).min(self.heights.len() - 1);
        let highest = near.max_by(|&a, &b| height(a).total_cmp(&height(b))).unwrap_or(i);
        if highest.abs_diff(i) == 2 || highest == 0 {
            return i as f64;
        }
        let (before, here, after) = (height(highest - 1), height(highest), height(highest + 1));
        let bend = before + after - 2.0 * here;
        highest as f64 + if bend < 0.0 { ((before - after) / (2.0 * bend)).clamp(-0.5, 0.5) } else { 0.0 }
    }
}

/// What a row costs up to a contact, and the place and the pitch of the contact before.
type Way = (f64, Option<(usize, usize)>);

const NONE: Way = (f64::INFINITY, None);

/// For each pitch, what a row costs that goes on with it, and the pitch that it had before.
type Changed = [(f64, usize); PITCHES];

/// Of equal ways, the first.
fn cheaper(a: Way, b: Way) -> Way {
    if b.0 < a.0 { b } else { a }
}

/// What a row costs that goes on from a place with this pitch.
fn with_change(best: &[Way; PITCHES], state: usize) -> (f64, usize) {
    let around = state.saturating_sub(1)..=(state + 1).min(PITCHES - 1);
    let costs = around.map(|was| (best[was].0 + CHANGE * state.abs_diff(was) as f64, was));
    costs.fold((f64::INFINITY, 0), |a, b| if b.0 < a.0 { b } else { a })
}

/// What a pitch costs that no maker has.
fn makers(pitch: f64) -> f64 {
    let beyond = (MAKERS_MM.0 / pitch).max(pitch / MAKERS_MM.1).max(1.0).ln() / MAKERS_SPREAD;
    0.5 * beyond * beyond
}

/// What a difference of brightness costs at one place, next to contacts of this height.
fn badness(rest: f64, height: f64) -> f64 {
    let error = (ERROR * height).powi(2) + ERROR_GREYS * ERROR_GREYS;
    let square = rest * rest / error;
    0.5 * GRID_MM / ALIKE_MM * square / (1.0 + square / (WORST * WORST))
}

/// How bright a rod of this length is along its axis at distances of 0, 1, 2 ... places, against its middle.
fn shape(sigma: f64, rod: f64) -> Vec<f64> {
    let bright = |way: f64| -> f64 {
        [-1.0, 0.0, 1.0].iter().map(|part| (-0.5 * ((way - part * rod / 3.0) / sigma).powi(2)).exp()).sum()
    };
    (0..=(LONGEST_MM / GRID_MM) as usize).map(|k| bright(k as f64 * GRID_MM) / bright(0.0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGMA_MM: f64 = 0.19;

    /// Brightness along rods of 0.5 mm at these places, mm, of these heights, over a wire.
    fn profile(rods: &[(f64, f64)], wire: f64) -> Profile {
        let end = rods[rods.len() - 1].0 + 0.3;
        let light = |i: usize| -> f64 {
            let at = i as f64 * WAY_MM;
            let parts = rods.iter().flat_map(|(place, height)| {
                [-0.17, 0.0, 0.17]
                    .map(|part| height / 2.0 * (-0.5 * ((at - place - part) / SIGMA_MM).powi(2)).exp())
            });
            wire + parts.sum::<f64>()
        };
        let n = ((end + 0.7) / WAY_MM) as usize;
        let inside = (0..n).map(|i| (0.7..end).contains(&(i as f64 * WAY_MM))).collect();
        Profile { heights: (0..n).map(light).collect(), sigmas: vec![SIGMA_MM; n], inside }
    }

    fn even(count: usize, pitch: f64) -> Vec<(f64, f64)> {
        (0..count).map(|i| (1.0 + pitch * i as f64, 180.0)).collect()
    }

    #[test]
    fn even_contacts_are_counted_with_and_without_wires_between() {
        for (count, pitch) in [(22, 0.7), (22, 0.91), (16, 1.1), (12, 2.4)] {
            for wire in [0.0, 40.0] {
                let found = comb(&profile(&even(count, pitch), wire));
                assert!(found.teeth.len() == count && found.is_sure, "{} for {count}", found.teeth.len());
                let off = |(tooth, rod): (&f64, (f64, f64))| (tooth * WAY_MM - rod.0).abs();
                let furthest = found.teeth.iter().zip(even(count, pitch)).map(off).fold(0.0, f64::max);
                assert!(furthest < 0.1, "{furthest} mm");
            }
        }
    }

    #[test]
    fn a_dim_contact_without_a_maximum_of_its_own_is_counted() {
        let mut rods = even(14, 0.72);
        rods[6].1 = 45.0;
        let made = profile(&rods, 0.0);
        let at = |mm: f64| made.heights[(mm / WAY_MM) as usize];
        assert!(at(rods[6].0) < at(rods[6].0 - 0.3) && at(rods[6].0) < at(rods[6].0 + 0.3));
        assert_eq!(comb(&made).teeth.len(), 14);
    }

    #[test]
    fn a_contact_outside_of_the_mask_is_not_counted() {
        let mut rods = even(12, 1.1);
        rods[4].1 = 20.0;
        let mut made = profile(&rods, 0.0);
        for (i, inside) in made.inside.iter_mut().enumerate() {
            *inside &= (i as f64 * WAY_MM - rods[4].0).abs() > 0.6;
        }
        assert_eq!(comb(&made).teeth.len(), 11);
    }

    #[test]
    fn a_band_without_dips_has_no_sure_count() {
        let made = profile(&even(40, 0.3), 0.0);
        assert!(!comb(&made).is_sure);
    }
}
