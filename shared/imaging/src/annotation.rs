//! What a person drew: labelme JSON files, rasterised as labelme does.
//!
//! The masks are those of labelme's `shape_to_mask` (PIL's `ImageDraw` with `outline=1, fill=1`), pixel for pixel. A point
//! `(x, y)` is cut to whole numbers towards zero, and whole numbers are pixel centres.

mod mask;
mod write;

use serde::Deserialize;

use crate::grid::{GridError, MAX_SIDE, Mask};
use crate::raster;

pub use mask::{MaskError, mask};
pub use write::{write, write_from};

/// The largest annotation file, in bytes. labelme may embed the picture (`imageData`), which is skipped unread.
pub const MAX_BYTES: usize = 64 << 20;

/// The most points of all shapes of a file together.
pub const MAX_POINTS: usize = 20_000;

/// What some editors write before a text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

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

/// Where a labelme file comes from, as [`write_from`] noted it; none where it says nothing of that.
pub fn origin(json: &[u8]) -> Option<serde_json::Value> {
    #[derive(Deserialize)]
    struct Noted {
        modiolus: Option<serde_json::Value>,
    }
    let json = json.strip_prefix(BYTE_ORDER_MARK).unwrap_or(json);
    serde_json::from_slice::<Noted>(json).ok()?.modiolus
}

fn read(json: &[u8]) -> Result<File, AnnotationError> {
    if json.len() > MAX_BYTES {
        return Err(AnnotationError::TooLarge { limit: MAX_BYTES, what: "bytes" });
    }
    let json = json.strip_prefix(BYTE_ORDER_MARK).unwrap_or(json);
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::contour;

    fn file(shapes: &str) -> String {
        format!(
            r#"{{"version": "5.4.1", "flags": {{}}, "shapes": [{shapes}], "imagePath": "a.png", "imageData": "iVBORw0KGgo=",
            "imageHeight": 20, "imageWidth": 30}}"#
        )
    }

    fn shape(label: &str, kind: &str, points: &str) -> String {
        format!(
            r#"{{"label": "{label}", "points": {points}, "group_id": null, "shape_type": "{kind}", "flags": {{}}, "mask": null}}"#
        )
    }

    fn read(shapes: &str) -> Result<Annotation, AnnotationError> {
        parse(file(shapes).as_bytes(), 20, 30)
    }

    #[test]
    fn the_three_kinds_are_drawn_by_label() {
        let circle = shape("electrode", "circle", "[[10, 10], [13, 10]]");
        let polygon = shape("cochlea", "polygon", "[[2.9, 2.9], [2.2, 8.1], [8.7, 8.7], [8.1, 2.9]]");
        let rectangle = shape("electrode", "rectangle", "[[28.5, 15.5], [25.1, 18.9]]");
        let drawn = read(&[circle, polygon, rectangle].join(",")).unwrap();
        let kinds: Vec<_> = drawn.shapes.iter().map(|shape| shape.kind).collect();
        assert_eq!(kinds, [Kind::Rectangle, Kind::Polygon, Kind::Circle]);
        // The square (2, 2) to (8, 8) with its border; a circle of radius 3 has 37 pixels in PIL; 4 x 4 between (25, 15), (28, 18).
        assert_eq!(drawn.cochlea.unwrap().count(), 49);
        assert_eq!(drawn.electrode.count(), 37 + 16);
        assert!(drawn.electrode[(10, 13)] && !drawn.electrode[(10, 14)] && drawn.electrode[(18, 28)]);
    }

    #[test]
    fn nothing_drawn_is_a_blank_mask_and_no_cochlea() {
        let drawn = read("").unwrap();
        assert!(drawn.electrode.is_blank() && drawn.cochlea.is_none() && drawn.shapes.is_empty());
    }

    #[test]
    fn old_files_without_shape_type_and_with_a_byte_order_mark_are_read() {
        let old = r#"{"label": "electrode", "line_color": null, "points": [[1, 1], [1, 3], [3, 3], [3, 1]]}"#;
        let bytes = [b"\xef\xbb\xbf", file(old).as_bytes()].concat();
        assert_eq!(parse(&bytes, 20, 30).unwrap().electrode.count(), 9);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let triangle = "[[1, 1], [5, 1], [1, 5]]";
        let error = |shapes: &str| read(shapes).unwrap_err().to_string();
        assert!(error(&shape("wire", "polygon", triangle)).contains("\"wire\""));
        assert!(error(&shape("electrode", "linestrip", triangle)).contains("\"linestrip\""));
        assert!(error(&shape("electrode", "circle", triangle)).contains("a circle has 3 points, it needs 2"));
        assert!(error(&shape("electrode", "polygon", "[[1, 1], [2, 2]]")).contains("a polygon has 2 points"));
        assert!(error(&shape("electrode", "polygon", "[[1, 1], [2, 1e30], [2, 2]]")).contains("too far"));
        assert!(error(&shape("electrode", "circle", "[[1, 1], [16000, 1]]")).contains("too far"));
        assert!(error(&shape("electrode", "polygon", "[[1, 1], [2], [2, 2]]")).contains("line 1"));
        let size = parse(file("").as_bytes(), 20, 31).unwrap_err().to_string();
        assert!(size.contains("20 x 30 pixels") && size.contains("20 x 31"), "{size}");
        assert_eq!(parse(b"{}", 20, 30), Err(AnnotationError::Missing("imageHeight")));
        assert!(parse(b"\x89PNG", 20, 30).unwrap_err().to_string().contains("no valid JSON"));
        assert!(
            parse(&file("").as_bytes()[..40], 20, 30).unwrap_err().to_string().contains("ends too early")
        );
    }

    #[test]
    fn limits_hold() {
        let points = vec!["[1, 1]"; MAX_POINTS + 1].join(",");
        let many = read(&shape("electrode", "polygon", &format!("[{points}]"))).unwrap_err();
        assert_eq!(many, AnnotationError::TooLarge { limit: MAX_POINTS, what: "points" });
        let deep = "[".repeat(100_000);
        assert!(matches!(read(&deep), Err(AnnotationError::Form { .. })));
        let long = "x".repeat(100_000);
        assert!(read(&shape(&long, "polygon", "[]")).unwrap_err().to_string().len() < 200);
    }

    #[test]
    fn an_outline_drawn_again_gives_the_part_back() {
        let mut mask = Mask::filled(20, 30, false).unwrap();
        raster::ellipse(&mut mask, (3, 2), (20, 13));
        raster::rectangle(&mut mask, (18, 9), (27, 17));
        let mut again = mask.like(false);
        for outline in contour::outlines(&mask) {
            let points: Vec<_> = outline.iter().map(|&(row, column)| (column as i32, row as i32)).collect();
            raster::polygon(&mut again, &points);
        }
        assert_eq!(again, mask);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes, 20, 30);
        }

        #[test]
        fn arbitrary_shapes_never_panic(
            points in proptest::collection::vec((-9000.0_f64..17000.0, prop_oneof![-9000.0_f64..17000.0, any::<f64>()]), 0..12),
            kind in prop_oneof!["polygon", "circle", "rectangle", "line"],
        ) {
            let points: Vec<_> = points.iter().map(|(x, y)| format!("[{x:?}, {y:?}]")).collect();
            let _ = read(&shape("electrode", &kind, &format!("[{}]", points.join(","))));
        }
    }
}
