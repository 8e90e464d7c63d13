//! What a person drew: labelme JSON files, rasterised as labelme does.
//!
//! The masks are those of labelme's `shape_to_mask` (PIL's `ImageDraw` with `outline=1, fill=1`), pixel for pixel. A point
//! `(x, y)` is cut to whole numbers towards zero, and whole numbers are pixel centres.

use serde::Deserialize;

use crate::grid::{GridError, MAX_SIDE, Mask};
use crate::raster;

/// The largest annotation file, in bytes. labelme may embed the picture (`imageData`), which is skipped unread.
pub const MAX_BYTES: usize = 64 << 20;

/// The most points of all shapes of a file together.
pub const MAX_POINTS: usize = 20_000;

/// What a shape is drawn around.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Label {
    /// `electrode`: the electrode array inside the cochlea.
    Electrode,
    /// `cochlea`.
    Cochlea,
}

/// The kinds of shape, in drawing order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Two opposite corners.
    Rectangle,
    /// At least three corners.
    Polygon,
    /// The centre and a point on the rim.
    Circle,
}

/// One shape: its points are (x, y) in pixels, x to the right and y down.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    /// What it is drawn around.
    pub label: Label,
    /// How the points are meant.
    pub kind: Kind,
    /// The points, as many as the kind wants.
    pub points: Vec<(f64, f64)>,
}

/// The masks of an annotation file, and what was drawn. Masks of different labels may overlap: none hides the other.
#[derive(Debug, Clone, PartialEq)]
pub struct Annotation {
    /// All shapes labelled `electrode`; blank if there are none.
    pub electrode: Mask,
    /// All shapes labelled `cochlea`, if there are any.
    pub cochlea: Option<Mask>,
    /// The shapes in drawing order: rectangles, polygons, circles, each kind as in the file.
    pub shapes: Vec<Shape>,
}

/// The annotation can't be used. No text of the file but a shape's label or type appears in the message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnnotationError {
    /// Not JSON, or not of labelme's form.
    #[error("not a labelme file: {what} at line {line}, column {column}")]
    Form {
        /// What is wrong there.
        what: &'static str,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// A field that labelme always writes is absent.
    #[error("not a labelme file: {0} is missing")]
    Missing(&'static str),
    /// Drawn on a picture of another size.
    #[error(
        "the annotation was drawn on {} x {} pixels (imageHeight x imageWidth), the slice has {} x {} (Rows x Columns)",
        drawn.0, drawn.1, slice.0, slice.1
    )]
    Size {
        /// imageHeight and imageWidth.
        drawn: (u64, u64),
        /// Rows and Columns.
        slice: (usize, usize),
    },
    /// A label that has no meaning here.
    #[error("unknown label {0:?}: shapes are labelled electrode or cochlea")]
    Label(String),
    /// A shape type that has no area.
    #[error("unknown shape_type {0:?}: draw polygons, circles or rectangles")]
    ShapeType(String),
    /// A wrong number of points.
    #[error("a {kind} has {found} points, it needs {wanted}")]
    Points {
        /// The shape type.
        kind: &'static str,
        /// The points in the file.
        found: usize,
        /// What is needed.
        wanted: &'static str,
    },
    /// A point far outside every picture.
    #[error("a {0} reaches too far outside the picture")]
    FarAway(&'static str),
    /// Beyond [`MAX_BYTES`] or [`MAX_POINTS`].
    #[error("the annotation has over {limit} {what}")]
    TooLarge {
        /// The limit.
        limit: usize,
        /// Of what.
        what: &'static str,
    },
    /// The slice's own size is impossible.
    #[error(transparent)]
    Grid(#[from] GridError),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    shapes: Option<Vec<RawShape>>,
    image_height: Option<u64>,
    image_width: Option<u64>,
}

#[derive(Deserialize)]
struct RawShape {
    label: Option<String>,
    points: Option<Vec<(f64, f64)>>,
    shape_type: Option<String>,
}

/// Reads a labelme file that was drawn on a slice of `rows` x `columns`.
pub fn parse(json: &[u8], rows: usize, columns: usize) -> Result<Annotation, AnnotationError> {
    let mut electrode = Mask::filled(rows, columns, false)?;
    let file = read(json)?;
    let height = file.image_height.ok_or(AnnotationError::Missing("imageHeight"))?;
    let width = file.image_width.ok_or(AnnotationError::Missing("imageWidth"))?;
    if (height, width) != (rows as u64, columns as u64) {
        return Err(AnnotationError::Size { drawn: (height, width), slice: (rows, columns) });
    }
    let shapes = file.shapes.ok_or(AnnotationError::Missing("shapes"))?;
    let points: usize = shapes.iter().flat_map(|shape| &shape.points).map(|points| points.len()).sum();
    if points > MAX_POINTS {
        return Err(AnnotationError::TooLarge { limit: MAX_POINTS, what: "points" });
    }
    let mut shapes = shapes.into_iter().map(Shape::try_from).collect::<Result<Vec<_>, _>>()?;
    shapes.sort_by_key(|shape| shape.kind);
    let mut cochlea = None;
    for shape in &shapes {
        match shape.label {
            Label::Electrode => shape.draw(&mut electrode)?,
            Label::Cochlea => shape.draw(cochlea.get_or_insert_with(|| electrode.like(false)))?,
        }
    }
    Ok(Annotation { electrode, cochlea, shapes })
}

fn read(json: &[u8]) -> Result<File, AnnotationError> {
    if json.len() > MAX_BYTES {
        return Err(AnnotationError::TooLarge { limit: MAX_BYTES, what: "bytes" });
    }
    let json = json.strip_prefix(b"\xef\xbb\xbf").unwrap_or(json);
    serde_json::from_slice(json).map_err(|error| {
        // serde's own words may quote the file.
        let what = match error.classify() {
            serde_json::error::Category::Eof => "the file ends too early",
            serde_json::error::Category::Data => "a value of another type than labelme writes",
            _ => "no valid JSON",
        };
        AnnotationError::Form { what, line: error.line(), column: error.column() }
    })
}

impl TryFrom<RawShape> for Shape {
    type Error = AnnotationError;

    fn try_from(raw: RawShape) -> Result<Self, AnnotationError> {
        let shown = |text: &str| text.chars().take(40).collect();
        let label = raw.label.ok_or(AnnotationError::Missing("a shape's label"))?;
        let label = match label.as_str() {
            "electrode" => Label::Electrode,
            "cochlea" => Label::Cochlea,
            other => return Err(AnnotationError::Label(shown(other))),
        };
        // Old files have no shape_type: all was polygons.
        let kind = match raw.shape_type.as_deref() {
            None | Some("polygon") => Kind::Polygon,
            Some("rectangle") => Kind::Rectangle,
            Some("circle") => Kind::Circle,
            Some(other) => return Err(AnnotationError::ShapeType(shown(other))),
        };
        let points = raw.points.ok_or(AnnotationError::Missing("a shape's points"))?;
        let (enough, wanted) = match kind {
            Kind::Polygon => (points.len() >= 3, "3 or more"),
            Kind::Rectangle | Kind::Circle => (points.len() == 2, "2"),
        };
        match enough {
            true => Ok(Self { label, kind, points }),
            false => Err(AnnotationError::Points { kind: kind.name(), found: points.len(), wanted }),
        }
    }
}

impl Kind {
    /// The shape type as labelme writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rectangle => "rectangle",
            Self::Polygon => "polygon",
            Self::Circle => "circle",
        }
    }
}

impl Shape {
    /// Fills the shape in a mask, as labelme and PIL do; parts outside the picture are cut off.
    fn draw(&self, mask: &mut Mask) -> Result<(), AnnotationError> {
        let whole = |(x, y): (f64, f64)| Some((whole(x)?, whole(y)?));
        let points: Option<Vec<_>> = self.points.iter().map(|&point| whole(point)).collect();
        let far_away = AnnotationError::FarAway(self.kind.name());
        let Some(points) = points else { return Err(far_away) };
        match (self.kind, &points[..], &self.points[..]) {
            (Kind::Rectangle, &[a, b], _) => raster::rectangle(mask, a, b),
            (Kind::Circle, _, &[(x, y), rim]) => {
                let radius = ((x - rim.0).powi(2) + (y - rim.1).powi(2)).sqrt();
                let corners = whole((x - radius, y - radius)).zip(whole((x + radius, y + radius)));
                let (from, to) = corners.ok_or(far_away)?;
                raster::ellipse(mask, from, to);
            }
            _ => raster::polygon(mask, &points),
        }
        Ok(())
    }
}

/// A coordinate as PIL takes it; none if it is more than a picture's side away from every picture.
fn whole(x: f64) -> Option<i32> {
    let side = MAX_SIDE as f64;
    (-side..=2.0 * side).contains(&x).then_some(x as i32)
}
