//! Smooth noise in space: a random value at each lattice point, interpolated between them.

use crate::space::Vector;

/// 32 well mixed bits of a lattice point.
pub(crate) fn hash(x: i32, y: i32, z: i32, seed: u32) -> u32 {
    let mut h = seed
        ^ (x as u32).wrapping_mul(0x9e37_79b1)
        ^ (y as u32).wrapping_mul(0x85eb_ca77)
        ^ (z as u32).wrapping_mul(0xc2b2_ae3d);
    h = (h ^ (h >> 15)).wrapping_mul(0x2c1b_3c6d);
    h = (h ^ (h >> 12)).wrapping_mul(0x297a_2d39);
    h ^ (h >> 15)
}

fn value(x: i32, y: i32, z: i32, seed: u32) -> f32 {
    (hash(x, y, z, seed) >> 8) as f32 / 8_388_608.0 - 1.0
}

/// The next lower integer (quicker than `f32::floor` where the processor has no instruction for it).
fn floor(c: f32) -> i32 {
    let whole = c as i32;
    whole - i32::from(c < whole as f32)
}

fn fade(t: f32) -> f32 {
    t * t * (3.0 - 2.0 * t)
}

/// Smooth noise in [-1, 1] whose features are about `size` mm wide.
pub(crate) fn smooth(point: Vector, size: f32, seed: u32) -> f32 {
    let at = point.map(|c| c / size);
    let [x, y, z] = at.map(floor);
    let [fx, fy, fz] = [fade(at[0] - x as f32), fade(at[1] - y as f32), fade(at[2] - z as f32)];
    let along = |y: i32, z: i32| {
        let left = value(x, y, z, seed);
        left + (value(x + 1, y, z, seed) - left) * fx
    };
    let across = |z: i32| {
        let top = along(y, z);
        top + (along(y + 1, z) - top) * fy
    };
    let near = across(z);
    near + (across(z + 1) - near) * fz
}

/// Cells as in a foam: distance to the nearest wall between two cells about `size` mm wide (mm), and the cell's hash.
pub(crate) fn cell_wall(point: Vector, size: f32, seed: u32) -> (f32, u32) {
    let at = point.map(|c| c / size);
    let base = at.map(floor);
    let (mut first, mut second, mut owner) = (f32::MAX, f32::MAX, 0);
    for dz in -1..=1 {
        for dy in -1..=1 {
            for dx in -1..=1 {
                let [x, y, z] = [base[0] + dx, base[1] + dy, base[2] + dz];
                let bits = hash(x, y, z, seed);
                let offset = |shift: u32| ((bits >> shift) & 0x3ff) as f32 / 1024.0;
                let d = [
                    x as f32 + offset(0) - at[0],
                    y as f32 + offset(10) - at[1],
                    z as f32 + offset(20) - at[2],
                ];
                let distance = d[0] * d[0] + d[1] * d[1] + d[2] * d[2];
                if distance < first {
                    (second, first, owner) = (first, distance, bits);
                } else if distance < second {
                    second = distance;
                }
            }
        }
    }
    ((second.sqrt() - first.sqrt()) * 0.5 * size, owner.wrapping_mul(0x9e37_79b1))
}
