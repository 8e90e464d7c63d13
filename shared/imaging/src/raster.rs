//! Filled polygons, circles and rectangles, pixel for pixel as PIL's `ImageDraw` fills them (with `outline` equal to `fill`, as
//! labelme calls it). PIL cuts coordinates to whole numbers towards zero before it draws, and so do the callers here.
//!
//! The rules follow `src/libImaging/Draw.c` of Pillow (4e5f09f): `polygon_generic`, `ellipseNew`, `ImagingDrawRectangle`.

use crate::grid::Mask;

/// A position in whole pixels, x (column) first. Each at most 2^15 in size.
pub(crate) type Point = (i32, i32);

/// Sets a row's pixels from `x0` to `x1`, as far as they lie inside.
fn line(mask: &mut Mask, y: i32, x0: i32, x1: i32) {
    let (rows, columns) = (mask.rows() as i32, mask.columns() as i32);
    let (x0, x1) = (x0.max(0), x1.min(columns - 1));
    if (0..rows).contains(&y) && x0 <= x1 {
        mask.row_mut(y as usize)[x0 as usize..=x1 as usize].fill(true);
    }
}

/// Fills a rectangle between two opposite corners, both included.
pub(crate) fn rectangle(mask: &mut Mask, a: Point, b: Point) {
    for y in a.1.min(b.1).max(0)..=a.1.max(b.1).min(mask.rows() as i32 - 1) {
        line(mask, y, a.0.min(b.0), a.0.max(b.0));
    }
}

/// Fills the ellipse inscribed in the box between two corners, the upper left one first.
pub(crate) fn ellipse(mask: &mut Mask, from: Point, to: Point) {
    let (width, height) = (i64::from(to.0 - from.0), i64::from(to.1 - from.1));
    if width < 0 || height < 0 || width + height == 0 {
        return;
    }
    let mut last_y = None;
    for (x, y) in quarter(width, height) {
        // The first point of each row is its outermost.
        if last_y.replace(y) == Some(y) {
            continue;
        }
        let (left, right) = (from.0 + ((width - x) / 2) as i32, from.0 + ((width + x) / 2) as i32);
        line(mask, from.1 + ((height - y) / 2) as i32, left, right);
        line(mask, from.1 + ((height + y) / 2) as i32, left, right);
    }
}

/// The lower right quarter of an ellipse around (0, 0) with the half-axes `a` and `b`, in steps of 2 from the right end to the
/// bottom: each step goes to the neighbour that deviates least (Bresenham).
fn quarter(a: i64, b: i64) -> impl Iterator<Item = (i64, i64)> {
    let (a2, b2) = (a * a, b * b);
    let deviation = move |(x, y): (i64, i64)| (a2 * y * y + b2 * x * x - a2 * b2).abs();
    let end = (a % 2, b);
    std::iter::successors(Some((a, b % 2)), move |&(x, y)| {
        let inward = [(x - 2, y + 2), (x - 2, y)];
        let ways = std::iter::once((x, y + 2)).chain(inward.into_iter().filter(|_| x > 1));
        ((x, y) != end).then(|| ways.min_by_key(|&way| deviation(way))).flatten()
    })
}

/// One side of a polygon that isn't horizontal.
struct Edge {
    start: Point,
    top: i32,
    bottom: i32,
    /// Columns per row.
    slope: f32,
}

impl Edge {
    fn new(start: Point, end: Point) -> Self {
        let slope = (end.0 - start.0) as f32 / (end.1 - start.1) as f32;
        Self { start, top: start.1.min(end.1), bottom: start.1.max(end.1), slope }
    }

    fn x_at(&self, y: i32) -> f32 {
        (y - self.start.1) as f32 * self.slope + self.start.0 as f32
    }

    fn spans(&self, y: i32) -> bool {
        (self.top..=self.bottom).contains(&y)
    }

    fn slants_from_corner(&self, y: i32) -> bool {
        (y == self.top || y == self.bottom) && self.slope != 0.0
    }
}

/// Fills a polygon (even-odd), its sides included.
pub(crate) fn polygon(mask: &mut Mask, points: &[Point]) {
    // A polygon may be closed by naming its first point again.
    let points = match points {
        [first, open @ .., last] if first == last => &points[..=open.len()],
        _ => points,
    };
    let mut edges = Vec::new();
    for (&start, &end) in points.iter().zip(points.iter().cycle().skip(1)) {
        match start.1 == end.1 {
            true => line(mask, start.1, start.0.min(end.0), start.0.max(end.0)),
            false => edges.push(Edge::new(start, end)),
        }
    }
    let ends = points.iter().map(|point| point.1);
    let (Some(top), Some(bottom)) = (ends.clone().min(), ends.max()) else { return };
    let (top, bottom) = (top.max(0), bottom.min(mask.rows() as i32));
    for y in top..=bottom {
        let active: Vec<&Edge> = edges.iter().filter(|edge| edge.spans(y)).collect();
        let mut crossings = Vec::with_capacity(2 * active.len());
        for (i, edge) in active.iter().enumerate() {
            let x = edge.x_at(y);
            if y == edge.bottom && y < bottom {
                crossings.extend([x, x]);
            } else if edge.slants_from_corner(y) {
                crossings.push(joined(edge, &active[..i], x, y));
            } else {
                crossings.push(x);
            }
        }
        crossings.sort_unstable_by(f32::total_cmp);
        for pair in crossings.chunks_exact(2) {
            line(mask, y, round_up(pair[0]), round_down(pair[1]));
        }
    }
}

/// The crossing of an edge at its corner, drawn out to the next row's crossing where two flat edges meet in a point, so that the
/// tip stays connected.
fn joined(edge: &Edge, earlier: &[&Edge], x: f32, y: i32) -> f32 {
    let beside = if y == edge.bottom { y - 1 } else { y + 1 };
    let other = earlier.iter().find(|other| {
        other.slants_from_corner(y) && x.round() == other.x_at(y).round() && other.spans(beside)
    });
    let Some(other) = other else { return x };
    let (a, b) = (edge.x_at(beside), other.x_at(beside));
    if x > a + 1.0 && x > b + 1.0 {
        a.max(b).round() + 1.0
    } else if x < a - 1.0 && x < b - 1.0 {
        a.min(b).round() - 1.0
    } else {
        x
    }
}

/// To the nearest whole number, halves away from zero.
fn round_up(x: f32) -> i32 {
    ((x.abs() + 0.5).floor() * x.signum()) as i32
}

/// To the nearest whole number, halves towards zero.
fn round_down(x: f32) -> i32 {
    ((x.abs() - 0.5).ceil() * x.signum()) as i32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grid::Grid;

    /// The generator that the reference was made with, too.
    struct Draws(u64);

    impl Draws {
        fn below(&mut self, n: u64) -> f64 {
            self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            ((self.0 >> 33) % n) as f64
        }

        fn point(&mut self) -> Point {
            (((self.below(700) - 100.0) / 10.0) as i32, ((self.below(600) - 100.0) / 10.0) as i32)
        }
    }

    /// The digest and the pixel count of 2,000 drawings.
    fn digest(mut draw: impl FnMut(&mut Mask)) -> (u64, usize) {
        (0..2000).fold((0, 0), |(digest, count), _| {
            let mut mask = Grid::filled(40, 50, false).unwrap();
            draw(&mut mask);
            let fnv = |hash: u64, &set: &bool| (hash ^ u64::from(set)).wrapping_mul(0x100_0000_01b3);
            let hash = mask.values().iter().fold(0xcbf2_9ce4_8422_2325, fnv);
            (digest.wrapping_mul(31).wrapping_add(hash), count + mask.count())
        })
    }

    /// The figures are from Pillow 13.0: the same 8,000 random shapes, drawn with `outline=1, fill=1`.
    #[test]
    fn every_pixel_is_that_of_pil() {
        let mut draws = Draws(12345);
        let polygons = digest(|mask| {
            let points: Vec<_> = (0..3 + draws.below(9) as usize).map(|_| draws.point()).collect();
            polygon(mask, &points);
        });
        assert_eq!(polygons, (0x8c3a_9e3a_b499_589f, 1_155_405));
        let flat = digest(|mask| {
            let n = 3 + draws.below(6) as usize;
            let points: Vec<_> = (0..n).map(|_| (draws.below(50) as i32, draws.below(6) as i32)).collect();
            polygon(mask, &points);
        });
        assert_eq!(flat, (0x7512_493a_c1a7_0f37, 114_837));
        let circles = digest(|mask| {
            let (x, y, radius) = (draws.below(500) / 10.0, draws.below(400) / 10.0, draws.below(300) / 10.0);
            let radius = (x - (x + radius)).powi(2).sqrt();
            ellipse(
                mask,
                ((x - radius) as i32, (y - radius) as i32),
                ((x + radius) as i32, (y + radius) as i32),
            );
        });
        assert_eq!(circles, (0x97b6_bb68_2158_f041, 1_176_747));
        let rectangles = digest(|mask| {
            let mut corner =
                || ((draws.below(700) / 10.0 - 10.0) as i32, (draws.below(600) / 10.0 - 10.0) as i32);
            let (a, b) = (corner(), corner());
            rectangle(mask, a, b);
        });
        assert_eq!(rectangles, (0xfc5a_28d5_edd8_ad2b, 787_419));
    }

    #[test]
    fn the_largest_shapes_end_inside() {
        let mut mask = Grid::filled(3, 3, false).unwrap();
        ellipse(&mut mask, (-8192, -8192), (16384, 16384));
        polygon(&mut mask, &[(-8192, 16384), (16384, 16384), (16384, -8192)]);
        rectangle(&mut mask, (16384, 16384), (-8192, -8192));
        assert_eq!(mask.count(), 9);
    }
}
