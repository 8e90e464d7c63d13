//! The spiral of the cochlea, and where a point at some depth of an array lies on it.

use crate::draw::Draw;
use crate::space::{Vector, add, scale, sub, unit};

/// Angle at which the template of the spiral begins, degrees: the round window.
const FIRST_ANGLE: f32 = 6.0;
/// Two and a half turns.
const LAST_ANGLE: f32 = 900.0;
const STEP: f32 = 4.0;

/// Radius of the lateral wall's mid-line in mm at an angle in degrees from the round window.
///
/// The template of Cohen et al. (1996) as completed by Yoo et al. (2000): logarithmic in the hook, exponential beyond.
pub(crate) fn template_radius(angle: f32) -> f32 {
    if angle < 99.9 {
        7.967 * (1.0 - 0.1287 * libm::logf((angle - 5.0).max(1.0)))
    } else {
        3.762 * libm::expf(-0.001_317 * angle)
    }
}

/// One person's spiral.
#[derive(Debug, Clone)]
pub(crate) struct Cochlea {
    /// Size against the template (1 = a largest diameter A of 9.25 mm).
    size: f32,
    /// Breadth against length.
    squash: f32,
    /// Direction of the round window in the plane, radians.
    start: f32,
    /// Height of one turn, mm.
    rise: f32,
    wobble: [f32; 2],
    /// How fast the spiral tightens: 1 as the template.
    curl: f32,
}

impl Cochlea {
    /// A in 8.0 to 10.5 mm, mean 8.75, SD 0.31 to 0.5 (PMC6449142), widened a little.
    pub(crate) fn random(draw: &mut Draw) -> Self {
        Self {
            size: ((8.85 + 0.45 * draw.normal()).clamp(7.9, 10.5)) / 9.25,
            squash: draw.range(0.88, 1.06),
            start: draw.range(0.1, 0.6),
            rise: draw.range(0.8, 1.5),
            wobble: [draw.range(0.0, 0.25), draw.range(0.0, std::f32::consts::TAU)],
            curl: 1.0,
        }
    }

    /// A spiral that nobody has: smaller or larger, flatter, tighter, steeper.
    pub(crate) fn wild(draw: &mut Draw) -> Self {
        Self {
            size: draw.log_range(0.65, 1.4),
            squash: draw.range(0.6, 1.15),
            start: draw.range(-0.5, 1.2),
            rise: draw.range(0.2, 2.0),
            wobble: [draw.range(0.0, 0.7), draw.range(0.0, std::f32::consts::TAU)],
            curl: draw.range(0.5, 1.6),
        }
    }

    /// A point of the spiral at an angle (degrees), moved outwards by `outwards` mm, its radius scaled by `tighter`.
    pub(crate) fn at(&self, angle: f32, tighter: f32, outwards: f32) -> Vector {
        let (sin, cos) = libm::sincosf(self.start + angle.to_radians());
        let radius = self.radius(angle) * self.size * tighter + outwards;
        let dip = self.wobble[0] * libm::sinf(angle.to_radians() * 0.8 + self.wobble[1]);
        [radius * cos, radius * sin * self.squash, self.rise * (angle / 360.0 - 0.6) + dip]
    }

    fn radius(&self, angle: f32) -> f32 {
        let template = template_radius(angle);
        // The radius at a quarter turn stays.
        if self.curl == 1.0 { template } else { 3.298 * libm::powf(template / 3.298, self.curl) }
    }

    /// Points along the middle of the fluid-filled duct with its radius there, from the round window to the apex.
    pub(crate) fn duct(&self) -> Vec<(Vector, f32)> {
        (0..)
            .map(|i| FIRST_ANGLE + 5.0 * i as f32)
            .take_while(|&angle| angle < LAST_ANGLE)
            .filter(|&angle| angle > 12.0)
            .map(|angle| {
                let radius = 0.98 - 0.42 * (angle / 540.0).min(1.0);
                (self.at(angle, 1.0, -0.55 * radius), radius)
            })
            .collect()
    }

    /// The path that an array takes: from outside (negative depth) along the spiral.
    pub(crate) fn path(&self, tighter: f32, outwards: f32) -> Path {
        let mut points = Vec::new();
        let mut angle = FIRST_ANGLE;
        while angle <= LAST_ANGLE {
            // Near the round window every array starts at the same place, whatever its curvature.
            let blend = ((angle - 20.0) / 120.0).clamp(0.0, 1.0);
            points.push((self.at(angle, 1.0 + (tighter - 1.0) * blend, outwards * blend), angle));
            angle += if angle < 20.0 { 0.5 } else { STEP };
        }
        Path::new(points)
    }
}

/// A curve in space by arc length, with the angle around the spiral.
#[derive(Debug, Clone)]
pub(crate) struct Path {
    points: Vec<Vector>,
    angles: Vec<f32>,
    depths: Vec<f32>,
}

impl Path {
    fn new(points: Vec<(Vector, f32)>) -> Self {
        let mut depths = Vec::with_capacity(points.len());
        let mut depth = 0.0;
        for (i, (point, _)) in points.iter().enumerate() {
            if i > 0 {
                depth += crate::space::norm(sub(*point, points[i - 1].0));
            }
            depths.push(depth);
        }
        let (points, angles) = points.into_iter().unzip();
        Self { points, angles, depths }
    }

    /// The point at a depth (mm from the round window; negative is outside) and the angle there, degrees.
    pub(crate) fn at(&self, depth: f32) -> (Vector, f32) {
        if depth <= 0.0 {
            let outwards = unit(sub(self.points[0], self.points[12]));
            return (add(self.points[0], scale(outwards, -depth)), 0.0);
        }
        let after = self.depths.partition_point(|&d| d < depth).clamp(1, self.depths.len() - 1);
        let before = after - 1;
        let t = (depth - self.depths[before]) / (self.depths[after] - self.depths[before]).max(1e-6);
        let t = t.clamp(0.0, 1.0);
        (
            crate::space::mix(self.points[before], self.points[after], t),
            self.angles[before] + (self.angles[after] - self.angles[before]) * t,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn template_is_continuous_and_has_the_published_radii() {
        assert!((template_radius(99.89) - template_radius(99.91)).abs() < 0.01);
        for (angle, radius) in [(180.0, 2.97), (360.0, 2.34), (540.0, 1.85), (900.0, 1.15)] {
            assert!((template_radius(angle) - radius).abs() < 0.01, "{angle} degrees");
        }
    }

    #[test]
    fn a_point_is_as_deep_as_the_way_to_it() {
        let cochlea = Cochlea::random(&mut Draw::new(1, 0));
        let path = cochlea.path(1.0, 0.0);
        let mut length = 0.0;
        let mut last = path.at(0.0).0;
        for step in 1..=2000 {
            let next = path.at(step as f32 * 0.01).0;
            length += crate::space::norm(sub(next, last));
            last = next;
        }
        assert!((length - 20.0).abs() < 0.1, "{length}");
    }
}
