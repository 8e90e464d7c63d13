//! Points and directions in mm. The origin is the cochlea's centre; x points to the outer ear, y down, z along the modiolus.

/// A point or direction, mm.
pub(crate) type Vector = [f32; 3];

pub(crate) fn add(a: Vector, b: Vector) -> Vector {
    [a[0] + b[0], a[1] + b[1], a[2] + b[2]]
}

pub(crate) fn sub(a: Vector, b: Vector) -> Vector {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

pub(crate) fn scale(a: Vector, by: f32) -> Vector {
    [a[0] * by, a[1] * by, a[2] * by]
}

pub(crate) fn dot(a: Vector, b: Vector) -> f32 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

pub(crate) fn norm(a: Vector) -> f32 {
    dot(a, a).sqrt()
}

pub(crate) fn unit(a: Vector) -> Vector {
    scale(a, 1.0 / norm(a).max(1e-6))
}

pub(crate) fn cross(a: Vector, b: Vector) -> Vector {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

pub(crate) fn mix(a: Vector, b: Vector, t: f32) -> Vector {
    add(a, scale(sub(b, a), t))
}

/// The plane of a slice: where its pixels lie in the head.
#[derive(Debug, Clone)]
pub(crate) struct View {
    /// The middle of the picture.
    pub(crate) centre: Vector,
    /// Direction of growing columns, unit length.
    pub(crate) right: Vector,
    /// Direction of growing rows, unit length.
    pub(crate) down: Vector,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    /// Distance of rows, distance of columns (as PixelSpacing), mm.
    pub(crate) spacing: [f32; 2],
    /// Thickness of the slab that is averaged, mm.
    pub(crate) slab: f32,
}

impl View {
    pub(crate) fn normal(&self) -> Vector {
        cross(self.right, self.down)
    }

    /// The point under the middle of a pixel.
    pub(crate) fn point(&self, column: f32, row: f32) -> Vector {
        let x = (column + 0.5 - self.columns as f32 / 2.0) * self.spacing[1];
        let y = (row + 0.5 - self.rows as f32 / 2.0) * self.spacing[0];
        add(self.centre, add(scale(self.right, x), scale(self.down, y)))
    }

    /// Column and row (of pixel middles, fractional) and distance from the plane in mm.
    pub(crate) fn project(&self, point: Vector) -> [f32; 3] {
        let from = sub(point, self.centre);
        [
            dot(from, self.right) / self.spacing[1] + self.columns as f32 / 2.0 - 0.5,
            dot(from, self.down) / self.spacing[0] + self.rows as f32 / 2.0 - 0.5,
            dot(from, self.normal()),
        ]
    }

    /// The pixels within `radius` mm of a point in the picture: columns and rows, half open.
    pub(crate) fn window(&self, column: f32, row: f32, radius: f32) -> [std::ops::Range<usize>; 2] {
        let span = |middle: f32, reach: f32, end: usize| {
            let from = (middle - reach).floor().max(0.0) as usize;
            let to = ((middle + reach).ceil() + 1.0).clamp(0.0, end as f32) as usize;
            from.min(end)..to
        };
        [span(column, radius / self.spacing[1], self.columns), span(row, radius / self.spacing[0], self.rows)]
    }
}
