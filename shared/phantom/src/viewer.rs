//! What happens between scanner and file: pictures are scaled, saved as JPEG, copied from a screen, written upon.

use crate::draw::Draw;

/// One way from the scanner's picture to the one that is kept. Works on grey levels 0 to 255, row by row.
#[derive(Debug, Clone)]
pub(crate) struct Viewer {
    /// How many times smaller the picture once was; 1: never.
    shrink: f32,
    /// The exponent of a tone curve; 1: none.
    gamma: f32,
    /// The quality of a JPEG, 1 to 100.
    jpeg: Option<f32>,
    /// Writing, scale bars and cross lines: their random numbers.
    writing: Option<u64>,
}

impl Viewer {
    /// A viewer that changes nothing.
    pub(crate) const NONE: Self = Self { shrink: 1.0, gamma: 1.0, jpeg: None, writing: None };

    pub(crate) fn random(draw: &mut Draw) -> Self {
        Self {
            shrink: if draw.chance(0.4) { draw.range(1.0, 2.2) } else { 1.0 },
            gamma: if draw.chance(0.3) { draw.log_range(0.8, 1.25) } else { 1.0 },
            jpeg: draw.chance(0.3).then(|| draw.range(35.0, 95.0)),
            writing: draw.chance(0.1).then(|| u64::from(draw.bits())),
        }
    }

    pub(crate) fn show(&self, rows: usize, columns: usize, greys: &mut [f32]) {
        for grey in greys.iter_mut() {
            *grey = grey.clamp(0.0, 255.0);
            if self.gamma != 1.0 {
                *grey = 255.0 * libm::powf(*grey / 255.0, self.gamma);
            }
        }
        if self.shrink > 1.0 {
            self.scale_down_and_up(rows, columns, greys);
        }
        if let Some(quality) = self.jpeg {
            jpeg(rows, columns, greys, quality);
        }
        if let Some(seed) = self.writing {
            write(rows, columns, greys, &mut Draw::new(seed, 3));
        }
    }

    /// Mean over areas on the way down, bilinear on the way up.
    fn scale_down_and_up(&self, rows: usize, columns: usize, greys: &mut [f32]) {
        let small = |length: usize| ((length as f32 / self.shrink) as usize).max(2);
        let (low_rows, low_columns) = (small(rows), small(columns));
        let mut sums = vec![[0.0_f32; 2]; low_rows * low_columns];
        for (i, grey) in greys.iter().enumerate() {
            let (row, column) = (i / columns * low_rows / rows, i % columns * low_columns / columns);
            let [sum, count] = &mut sums[row * low_columns + column];
            *sum += grey;
            *count += 1.0;
        }
        let low: Vec<f32> = sums.into_iter().map(|[sum, count]| sum / count.max(1.0)).collect();
        let place = |at: usize, length: usize, low: usize| {
            let x = ((at as f32 + 0.5) * low as f32 / length as f32 - 0.5).clamp(0.0, low as f32 - 1.0);
            let base = (x as usize).min(low - 2);
            (base, x - base as f32)
        };
        for (i, grey) in greys.iter_mut().enumerate() {
            let (row, down) = place(i / columns, rows, low_rows);
            let (column, right) = place(i % columns, columns, low_columns);
            let line = |row: usize| {
                let left = low[row * low_columns + column];
                left + (low[row * low_columns + column + 1] - left) * right
            };
            *grey = line(row) + (line(row + 1) - line(row)) * down;
        }
    }
}

/// What JPEG does to grey levels: the cosine transform of 8 x 8 blocks, rounded by the standard's table K.1.
fn jpeg(rows: usize, columns: usize, greys: &mut [f32], quality: f32) {
    const TABLE: [u8; 64] = [
        16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14,
        17, 22, 29, 51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49,
        64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
    ];
    // The scale of the Independent JPEG Group.
    let scale = if quality < 50.0 { 50.0 / quality } else { 2.0 - quality / 50.0 };
    let steps = TABLE.map(|step| (f32::from(step) * scale).max(1.0));
    let basis: [f32; 64] = std::array::from_fn(|i| {
        let (frequency, at) = ((i / 8) as f32, (i % 8) as f32);
        let gain = if i < 8 { 0.125_f32.sqrt() } else { 0.5 };
        gain * libm::cosf((2.0 * at + 1.0) * frequency * std::f32::consts::PI / 16.0)
    });
    for top in (0..rows).step_by(8) {
        for left in (0..columns).step_by(8) {
            let at = |i: usize| (top + i / 8).min(rows - 1) * columns + (left + i % 8).min(columns - 1);
            let block: [f32; 64] = std::array::from_fn(|i| greys[at(i)] - 128.0);
            let forward = |from: &[f32; 64]| turned(from, |k, n| basis[k * 8 + n]);
            let mut block = forward(&forward(&block));
            for (value, step) in block.iter_mut().zip(steps) {
                *value = (*value / step).round() * step;
            }
            let backward = |from: &[f32; 64]| turned(from, |n, k| basis[k * 8 + n]);
            let block = backward(&backward(&block));
            for i in (0..64).filter(|i| top + i / 8 < rows && left + i % 8 < columns) {
                greys[at(i)] = (block[i] + 128.0).clamp(0.0, 255.0);
            }
        }
    }
}

/// A matrix times a block, transposed: twice gives rows and columns.
fn turned(block: &[f32; 64], matrix: impl Fn(usize, usize) -> f32) -> [f32; 64] {
    std::array::from_fn(|i| (0..8).map(|n| matrix(i % 8, n) * block[n * 8 + i / 8]).sum())
}

/// Letters, a scale bar or a cross line, as bright as metal and no metal.
fn write(rows: usize, columns: usize, greys: &mut [f32], draw: &mut Draw) {
    let grey = draw.range(140.0, 255.0);
    let mut dot = |row: usize, column: usize| {
        if row < rows && column < columns {
            greys[row * columns + column] = grey;
        }
    };
    let (row, column) = (draw.below(rows), draw.below(columns));
    match draw.below(4) {
        0 => (0..columns).for_each(|column| dot(row, column)),
        1 => (0..rows).for_each(|row| dot(row, column)),
        2 => {
            let row = if draw.chance(0.5) { rows / 20 } else { rows - rows / 20 - 1 };
            (column..column + columns / 5).for_each(|column| dot(row, column));
        }
        _ => {
            let row = if draw.chance(0.5) { rows / 30 } else { rows - rows / 30 - 8 };
            for letter in 0..2 + draw.below(12) {
                let strokes = draw.bits();
                for bit in (0..28).filter(|bit| strokes >> bit & 1 == 1) {
                    dot(row + bit / 4, column + 6 * letter + bit % 4);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture() -> Vec<f32> {
        (0..40 * 50)
            .map(|i| 60.0 + 50.0 * libm::sinf((i % 50) as f32 / 9.0 + (i / 50) as f32 / 7.0))
            .collect()
    }

    fn furthest(a: &[f32], b: &[f32]) -> f32 {
        a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    }

    #[test]
    fn a_fine_jpeg_changes_little_and_a_coarse_one_more() {
        let changed = |quality| {
            let mut greys = picture();
            jpeg(40, 50, &mut greys, quality);
            furthest(&greys, &picture())
        };
        assert!(changed(99.0) < 3.0, "{}", changed(99.0));
        assert!(changed(20.0) > changed(99.0) && changed(20.0) < 40.0, "{}", changed(20.0));
    }

    #[test]
    fn scaling_down_and_up_keeps_smooth_pictures() {
        let mut greys = picture();
        Viewer { shrink: 2.0, ..Viewer::NONE }.show(40, 50, &mut greys);
        assert!(furthest(&greys, &picture()) < 12.0 && greys != picture());
        let mut same = picture();
        Viewer::NONE.show(40, 50, &mut same);
        assert_eq!(same, picture());
    }
}
