//! The connected parts of a mask.

use crate::grid::{Grid, Mask, Region};

/// Which pixels touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connectivity {
    /// Those that share an edge.
    Four,
    /// Those that share an edge or a corner.
    Eight,
}

impl Connectivity {
    fn steps(self) -> &'static [(isize, isize)] {
        const STEPS: [(isize, isize); 8] =
            [(0, 1), (1, 0), (0, -1), (-1, 0), (1, 1), (1, -1), (-1, -1), (-1, 1)];
        match self {
            Self::Four => &STEPS[..4],
            Self::Eight => &STEPS,
        }
    }
}

/// One connected part.
#[derive(Debug, Clone, PartialEq)]
pub struct Component {
    /// Its pixels as (row, column), in the order in which a flood from the first one (topmost, then leftmost) reaches them.
    pub pixels: Vec<(usize, usize)>,
    /// The box around it.
    pub region: Region,
}

impl Component {
    /// How many pixels it has.
    pub fn area(&self) -> usize {
        self.pixels.len()
    }

    /// The mean position of its pixels (row, column).
    pub fn centroid(&self) -> (f64, f64) {
        centroid(self.pixels.iter().copied()).unwrap_or_default()
    }
}

/// The mean of some positions; none if there are none.
pub(crate) fn centroid(positions: impl Iterator<Item = (usize, usize)>) -> Option<(f64, f64)> {
    let (n, rows, columns) = positions.fold((0_u64, 0_u64, 0_u64), |(n, rows, columns), (row, column)| {
        (n + 1, rows + row as u64, columns + column as u64)
    });
    (n > 0).then(|| (rows as f64 / n as f64, columns as f64 / n as f64))
}

/// All connected parts of a mask, ordered by their first pixel (topmost, then leftmost).
pub fn components(mask: &Mask, connectivity: Connectivity) -> Vec<Component> {
    let mut waiting = mask.clone();
    let mut found = Vec::new();
    for ((row, column), _) in mask.cells().filter(|cell| *cell.1) {
        if waiting[(row, column)] {
            found.extend(flood(&mut waiting, (row, column), connectivity));
        }
    }
    found
}

/// Takes the part that holds `start` out of the mask.
fn flood(waiting: &mut Mask, start: (usize, usize), connectivity: Connectivity) -> Option<Component> {
    waiting[start] = false;
    let (mut pixels, mut next) = (vec![start], 0);
    while let Some(&(row, column)) = pixels.get(next) {
        next += 1;
        for &(down, right) in connectivity.steps() {
            let Some(at) = row.checked_add_signed(down).zip(column.checked_add_signed(right)) else {
                continue;
            };
            if waiting.get(at.0, at.1) == Some(&true) {
                waiting[at] = false;
                pixels.push(at);
            }
        }
    }
    let region = Region::around(pixels.iter().copied())?;
    Some(Component { pixels, region })
}

/// The mask without the parts of fewer than `least` pixels.
pub fn remove_small(mask: &Mask, least: usize, connectivity: Connectivity) -> Mask {
    let mut kept: Grid<bool> = mask.like(false);
    for component in components(mask, connectivity).iter().filter(|component| component.area() >= least) {
        component.pixels.iter().for_each(|&at| kept[at] = true);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(picture: &[&str]) -> Mask {
        Grid::from_fn(picture.len(), picture[0].len(), |row, column| picture[row].as_bytes()[column] == b'#')
            .unwrap()
    }

    #[test]
    fn corners_join_only_in_eight_connectivity() {
        let diagonal = mask(&["#...", ".##.", "...#"]);
        assert_eq!(components(&diagonal, Connectivity::Four).len(), 3);
        let joined = components(&diagonal, Connectivity::Eight);
        assert_eq!((joined.len(), joined[0].area(), joined[0].region), (1, 4, diagonal.whole()));
        assert_eq!(joined[0].centroid(), (1.0, 1.5));
    }

    #[test]
    fn small_parts_are_removed_and_the_limit_is_kept() {
        let parts = mask(&["##..#", "##..#", ".....", "#...."]);
        assert_eq!(remove_small(&parts, 2, Connectivity::Eight), mask(&["##..#", "##..#", ".....", "....."]));
        assert_eq!(remove_small(&parts, 3, Connectivity::Eight), mask(&["##...", "##...", ".....", "....."]));
        assert!(components(&parts.like(false), Connectivity::Four).is_empty());
    }
}
