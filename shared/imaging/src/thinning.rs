//! Skeletons: the centre lines of a mask (Zhang and Suen, "A fast parallel algorithm for thinning digital patterns", 1984).

use crate::contour::outlines;
use crate::grid::{Grid, Mask};
use crate::metrics::surface;

/// The neighbours P2 to P9 of the paper: clockwise from the north.
const AROUND: [(isize, isize); 8] = [(-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1)];

/// The mask thinned to lines one pixel wide. Each 8-connected part keeps at least one pixel (the plain algorithm lets squares of
/// 2 x 2 vanish).
pub(crate) fn skeleton(mask: &Mask) -> Mask {
    let mut thin = mask.clone();
    let border: Vec<_> = surface(mask).cells().filter(|cell| *cell.1).map(|cell| cell.0).collect();
    // A pixel can only become removable by a change beside it since the same step was last tried, two steps ago.
    let mut changed = [border.clone(), border];
    for second in [false, true].into_iter().cycle() {
        let mut tried = changed.concat();
        tried.sort_unstable();
        tried.dedup();
        tried.retain(|&at| thin[at] && is_removable(&thin, at, second));
        tried.iter().for_each(|&at| thin[at] = false);
        let beside = tried
            .iter()
            .flat_map(|&at| around(at))
            .filter(|&(row, column)| thin.get(row, column) == Some(&true));
        let [_, last] = changed;
        changed = [last, beside.collect()];
        if changed.iter().all(Vec::is_empty) {
            break;
        }
    }
    keep_every_part(mask, &mut thin);
    thin
}

/// The positions around one, as far as they aren't negative.
fn around((row, column): (usize, usize)) -> impl Iterator<Item = (usize, usize)> {
    AROUND
        .into_iter()
        .filter_map(move |step| row.checked_add_signed(step.0).zip(column.checked_add_signed(step.1)))
}

fn is_removable(thin: &Mask, at: (usize, usize), second: bool) -> bool {
    let set = AROUND.map(|step| {
        let next = at.0.checked_add_signed(step.0).zip(at.1.checked_add_signed(step.1));
        next.and_then(|(row, column)| thin.get(row, column)).is_some_and(|&set| set)
    });
    let neighbours = set.iter().filter(|&&set| set).count();
    let beginnings = (0..8).filter(|&i| !set[i] && set[(i + 1) % 8]).count();
    let [north, _, east, _, south, _, west, _] = set;
    let faces = match second {
        false => !(east && south && (north || west)),
        true => !(north && west && (east || south)),
    };
    (2..=6).contains(&neighbours) && beginnings == 1 && faces
}

/// Puts one pixel back for each part that vanished: the one of its outline nearest to the outline's mean.
fn keep_every_part(mask: &Mask, thin: &mut Mask) {
    let mut reached = thin.clone();
    let mut open: Vec<_> = thin.cells().filter(|cell| *cell.1).map(|cell| cell.0).collect();
    while let Some(at) = open.pop() {
        for (row, column) in around(at) {
            if mask.get(row, column) == Some(&true) && !reached[(row, column)] {
                reached[(row, column)] = true;
                open.push((row, column));
            }
        }
    }
    let lost = Grid::from_fn(mask.rows(), mask.columns(), |r, c| mask[(r, c)] && !reached[(r, c)]);
    for outline in lost.iter().flat_map(outlines) {
        let n = outline.len() as f64;
        let mean =
            outline.iter().fold((0.0, 0.0), |sum, at| (sum.0 + at.0 as f64 / n, sum.1 + at.1 as f64 / n));
        let off = |at: &(usize, usize)| (at.0 as f64 - mean.0).hypot(at.1 as f64 - mean.1);
        if let Some(&at) = outline.iter().min_by(|a, b| off(a).total_cmp(&off(b))) {
            thin[at] = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(mask: &Mask) -> Vec<(usize, usize)> {
        mask.cells().filter(|cell| *cell.1).map(|cell| cell.0).collect()
    }

    #[test]
    fn a_bar_becomes_its_middle_line() {
        let bar =
            Grid::from_fn(7, 20, |row, column| (2..5).contains(&row) && (2..18).contains(&column)).unwrap();
        let line = set(&skeleton(&bar));
        assert!(line.iter().all(|at| at.0 == 3), "{line:?}");
        assert!((12..=16).contains(&line.len()));
    }

    #[test]
    fn a_ring_stays_a_ring() {
        let ring = Grid::from_fn(41, 41, |r, c| {
            let distance = (r as f64 - 20.0).hypot(c as f64 - 20.0);
            (11.0..16.0).contains(&distance)
        });
        for (row, column) in set(&skeleton(&ring.unwrap())) {
            let distance = (row as f64 - 20.0).hypot(column as f64 - 20.0);
            assert!((distance - 13.2).abs() < 1.5, "{distance}");
        }
    }

    #[test]
    fn trying_only_what_changed_equals_trying_all() {
        let noise = |row: usize, column: usize| (row * 7919 + column * 104_729 + row * row * column) % 11 < 8;
        let mask = Grid::from_fn(60, 50, |row, column| noise(row / 2, column / 2) || noise(row, column / 3))
            .unwrap();
        let mut thin = mask.clone();
        loop {
            let before = thin.count();
            for second in [false, true] {
                let gone: Vec<_> =
                    set(&thin).into_iter().filter(|&at| is_removable(&thin, at, second)).collect();
                gone.iter().for_each(|&at| thin[at] = false);
            }
            if thin.count() == before {
                break;
            }
        }
        keep_every_part(&mask, &mut thin);
        assert_eq!(skeleton(&mask), thin);
    }

    #[test]
    fn no_part_vanishes() {
        let squares = Grid::from_fn(8, 12, |row, column| row % 4 < 2 && column % 4 < 2).unwrap();
        assert_eq!(set(&skeleton(&squares)).len(), 6);
        let dot = Grid::from_fn(3, 3, |row, column| row == 1 && column == 1).unwrap();
        assert_eq!(skeleton(&dot), dot);
        let blank = Grid::filled(3, 3, false).unwrap();
        assert_eq!(skeleton(&blank), blank);
    }
}
