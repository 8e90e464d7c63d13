//! Shapes in space filled with matter, and how they are painted onto a slice.

use crate::noise::{cell_wall, smooth};
use crate::space::{Vector, View, add, dot, mix, norm, scale, sub};

pub(crate) enum Shape {
    /// Centre, half axes, mm.
    Ellipsoid(Vector, Vector),
    /// Two ends and the radius at each.
    Rod(Vector, Vector, f32, f32),
    /// Centre, unit axis, radius of the ring, radius of the tube.
    Ring(Vector, Vector, f32, f32),
    /// All that lies below a surface: level, slope along x and z, a bump at x with its height and width.
    Below { level: f32, slope: [f32; 2], bump: [f32; 3] },
    /// A tube through these points.
    Tube(Vec<(Vector, f32)>),
    /// All points beyond a plane: a point of it and its unit normal.
    Beyond(Vector, Vector),
}

impl Shape {
    /// Distance to the surface in mm, negative inside (for ellipsoids a good guess).
    fn distance(&self, p: Vector) -> f32 {
        match self {
            Self::Ellipsoid(centre, axes) => {
                let from = sub(p, *centre);
                let inverse = axes.map(|axis| 1.0 / axis);
                let scaled = [0, 1, 2].map(|i| from[i] * inverse[i]);
                let away = norm(scaled);
                let slope = norm([0, 1, 2].map(|i| scaled[i] * inverse[i]));
                if slope < 1e-6 { -axes[0] } else { away * (away - 1.0) / slope }
            }
            Self::Rod(a, b, ra, rb) => {
                let along = sub(*b, *a);
                let t = (dot(sub(p, *a), along) / dot(along, along).max(1e-6)).clamp(0.0, 1.0);
                norm(sub(p, add(*a, scale(along, t)))) - (ra + (rb - ra) * t)
            }
            Self::Ring(centre, axis, ring, tube) => {
                let from = sub(p, *centre);
                let height = dot(from, *axis);
                let out = (dot(from, from) - height * height).max(0.0).sqrt() - ring;
                (out * out + height * height).sqrt() - tube
            }
            Self::Below { level, slope, bump } => {
                let away = (p[0] - bump[0]) / bump[2];
                let hill = bump[1] * (1.0 - away * away).max(0.0);
                level + slope[0] * p[0] + slope[1] * p[2] - hill - p[1]
            }
            Self::Tube(points) => {
                points.iter().map(|(at, radius)| norm(sub(p, *at)) - radius).fold(f32::MAX, f32::min)
            }
            Self::Beyond(point, normal) => -dot(sub(p, *point), *normal),
        }
    }

    /// A ball around the shape: centre and radius; None if it has no end.
    fn ball(&self) -> Option<(Vector, f32)> {
        match self {
            Self::Ellipsoid(centre, axes) => Some((*centre, axes.iter().fold(0.0, |a, &b| a.max(b)))),
            Self::Rod(a, b, ra, rb) => Some((scale(add(*a, *b), 0.5), norm(sub(*a, *b)) / 2.0 + ra.max(*rb))),
            Self::Ring(centre, _, ring, tube) => Some((*centre, ring + tube)),
            Self::Tube(points) => {
                let sum = points.iter().fold([0.0; 3], |sum, (p, _)| add(sum, *p));
                let centre = scale(sum, 1.0 / points.len().max(1) as f32);
                Some((centre, points.iter().fold(0.0, |r: f32, (p, t)| r.max(norm(sub(*p, centre)) + t))))
            }
            Self::Below { .. } | Self::Beyond(..) => None,
        }
    }
}

pub(crate) enum Matter {
    /// One value in HU.
    Even(f32),
    /// Bone lamellae in marrow: marrow and bone in HU, width of the meshes in mm, share of bone (0 to 1), seed.
    Spongy { marrow: f32, bone: f32, mesh: f32, share: f32, seed: u32 },
    /// Cells with bony walls: what fills them, bone, cell width and wall in mm; some cells hold `other` instead.
    Cells { filling: f32, other: f32, bone: f32, width: f32, wall: f32, seed: u32 },
    /// A shell around something else: its thickness in mm and HU, and the HU inside.
    Shell { thickness: f32, bone: f32, inside: f32 },
}

impl Matter {
    fn at(&self, p: Vector, distance: f32) -> f32 {
        match *self {
            Self::Even(value) => value,
            Self::Spongy { marrow, bone, mesh, share, seed } => {
                let n = smooth(p, mesh, seed) + 0.6 * smooth(p, mesh * 0.45, seed + 1);
                marrow + (bone - marrow) * (0.5 + (n + 2.4 * (share - 0.5)) * 1.1).clamp(0.0, 1.0)
            }
            Self::Cells { filling, other, bone, width, wall, seed } => {
                let bent = [0, 1, 2]
                    .map(|i| p[i] + 0.5 * width * smooth(p, width * 0.8, seed.wrapping_add(i as u32 + 1)));
                let (distance, cell) = cell_wall(bent, width, seed);
                let inside = ((distance - wall * 0.5) / 0.15 + 0.5).clamp(0.0, 1.0);
                let content = if cell % 5 == 0 { other } else { filling };
                bone + (content - bone) * inside
            }
            Self::Shell { thickness, bone, inside } => {
                let depth = ((-distance - thickness) / 0.2 + 0.5).clamp(0.0, 1.0);
                bone + (inside - bone) * depth
            }
        }
    }
}

pub(crate) struct Layer {
    pub(crate) shape: Shape,
    pub(crate) matter: Matter,
    /// How far the outline strays from the plain shape, mm.
    pub(crate) stray: f32,
    /// Width over which it fades into what is around it, mm.
    pub(crate) fade: f32,
}

/// Smooth displacement of outlines at each pixel, mm; made coarsely and interpolated.
pub(crate) struct Waves {
    columns: usize,
    values: Vec<Vector>,
}

const COARSE: usize = 4;

impl Waves {
    pub(crate) fn new(view: &View, seed: u32) -> Self {
        let across = view.columns / COARSE + 2;
        let line = |row: usize| -> Vec<Vector> {
            let sample = |column| Self::sample(view.point((column * COARSE) as f32, row as f32), seed);
            let points: Vec<Vector> = (0..across).map(sample).collect();
            let fine = |column: usize| {
                let t = (column % COARSE) as f32 / COARSE as f32;
                mix(points[column / COARSE], points[column / COARSE + 1], t)
            };
            (0..view.columns).map(fine).collect()
        };
        let mut values = Vec::with_capacity(view.rows * view.columns);
        let (mut above, mut below) = (Vec::new(), line(0));
        for row in 0..view.rows {
            if row % COARSE == 0 {
                above = std::mem::replace(&mut below, line(row + COARSE));
            }
            let t = (row % COARSE) as f32 / COARSE as f32;
            values.extend(above.iter().zip(&below).map(|(&a, &b)| mix(a, b, t)));
        }
        Self { columns: view.columns, values }
    }

    fn sample(p: Vector, seed: u32) -> Vector {
        [0, 10, 20].map(|offset| {
            let seed = seed.wrapping_add(offset);
            0.75 * smooth(p, 5.0, seed)
                + 0.35 * smooth(p, 1.9, seed.wrapping_add(1))
                + 0.2 * smooth(p, 0.8, seed.wrapping_add(2))
        })
    }

    pub(crate) fn at(&self, column: usize, row: usize) -> Vector {
        self.values[row * self.columns + column]
    }
}

impl Layer {
    pub(crate) fn paint(&self, view: &View, waves: &Waves, image: &mut [f32]) {
        let [columns, rows] = match self.shape.ball() {
            None => [0..view.columns, 0..view.rows],
            Some((centre, radius)) => {
                let [column, row, away] = view.project(centre);
                let reach = radius + self.stray * 2.2 + 0.5 * self.fade + 0.1;
                if away.abs() > reach {
                    return;
                }
                view.window(column, row, (reach * reach - away * away).sqrt())
            }
        };
        let tube = self.tube(view);
        let edge = view.spacing[0].max(view.spacing[1]).max(self.fade);
        for row in rows {
            for column in columns.clone() {
                let i = row * view.columns + column;
                let p = view.point(column as f32, row as f32);
                let distance = match &tube {
                    Some(distances) => distances[i],
                    None if self.stray > 0.0 => {
                        self.shape.distance(add(p, scale(waves.at(column, row), self.stray)))
                    }
                    None => self.shape.distance(p),
                };
                let cover = (0.5 - distance / edge).clamp(0.0, 1.0);
                if cover > 0.0 {
                    image[i] += (self.matter.at(p, distance) - image[i]) * cover;
                }
            }
        }
    }

    /// The distance to a tube at all pixels near it: each of its points is asked about its own surroundings only.
    fn tube(&self, view: &View) -> Option<Vec<f32>> {
        let Shape::Tube(points) = &self.shape else { return None };
        let mut distances = vec![f32::MAX; view.rows * view.columns];
        for (point, radius) in points {
            let [column, row, away] = view.project(*point);
            let reach = radius + self.fade;
            if away.abs() > reach {
                continue;
            }
            let [columns, rows] = view.window(column, row, (reach * reach - away * away).sqrt());
            for y in rows {
                let dy = (y as f32 - row) * view.spacing[0];
                for x in columns.clone() {
                    let dx = (x as f32 - column) * view.spacing[1];
                    let distance = &mut distances[y * view.columns + x];
                    *distance = distance.min((dx * dx + dy * dy + away * away).sqrt() - radius);
                }
            }
        }
        Some(distances)
    }
}
