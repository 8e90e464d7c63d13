//! One patient of an export: a head, the scanner's coordinates, and the files that a hospital would hand out.

use modiolus_imaging::window::{VoiWindow, to_8bit};
use modiolus_imaging::{Grid, Image8, Mask};

use crate::draw::Draw;
use crate::objects::{CtSlice, Identity, LOWEST_HU, Series, Storage};
use crate::slice::{Head, directions, grid};
use crate::space::{Vector, View, add, dot, scale};
use crate::style::Style;
use crate::viewer::Viewer;

/// How many patients have their reference electrode within the scan: on others it lies further up, under the muscle.
const REFERENCES: f32 = 0.3;

/// What lies in a patient's folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The n-th coronal slice.
    Coronal(u32, Storage),
    /// The n-th coronal slice of the patient before, again, under this patient's number.
    Copied(u32),
    Axial(u32),
    Sagittal(u32),
    Oblique(u32),
    /// The first bytes of an axial slice.
    Truncated(u32),
    Report,
    Page,
    Empty,
    Notes,
    /// What macOS leaves beside a file on a foreign disk.
    AppleDouble,
    FolderSettings,
}

/// The files of a patient, about `count` of them, the important ones first.
pub(crate) fn plan(count: usize, first: bool) -> Vec<Kind> {
    let coronal = (count * 16 / 100).clamp(1, 400) as u32;
    let mut kinds = Vec::with_capacity(count);
    for n in 0..coronal {
        let storage = match n {
            1 => Storage::Monochrome1,
            2 => Storage::RunLength,
            _ => Storage::Plain,
        };
        kinds.push(Kind::Coronal(n, storage));
    }
    kinds.extend([
        Kind::AppleDouble,
        Kind::Axial(1),
        Kind::Sagittal(1),
        Kind::Report,
        Kind::Page,
        Kind::Empty,
    ]);
    if !first && coronal > 4 {
        kinds.extend([Kind::Copied(0), Kind::Copied(3)]);
    }
    kinds.extend([Kind::FolderSettings, Kind::Notes, Kind::Oblique(1), Kind::Truncated(2)]);
    kinds.extend([
        Kind::Coronal(coronal, Storage::NoPixels),
        Kind::Coronal(coronal + 1, Storage::BadOrientation),
    ]);
    kinds.extend([Kind::AppleDouble, Kind::AppleDouble]);
    kinds.truncate(count);
    let mut n = 2;
    while kinds.len() < count {
        n += 1;
        kinds.push(match n % 9 {
            0 => Kind::Sagittal(n),
            5 => Kind::Oblique(n),
            8 if n % 27 == 8 => Kind::AppleDouble,
            _ => Kind::Axial(n),
        });
    }
    kinds
}

/// One patient.
pub(crate) struct Patient {
    pub(crate) identity: Identity,
    head: Head,
    /// Columns, rows and normal of the coronal plane, in the head.
    coronal: [Vector; 3],
    /// Where the coronal slices aim, in the head.
    aim: Vector,
    /// The ear's place in the scanner, mm.
    ear: Vector,
    rows: usize,
    columns: usize,
    spacing: f32,
    seed: u64,
    coronal_count: u32,
}

/// A picture of a patient in all its forms.
pub(crate) struct Picture {
    pub(crate) ct: CtSlice,
    pub(crate) image: Image8,
    pub(crate) mask: Mask,
    /// Column and row (mm from the first pixel's middle) and distance from the plane of each contact.
    pub(crate) contacts_mm: Vec<[f32; 3]>,
}

impl Patient {
    pub(crate) fn new(seed: u64, index: usize, files: usize) -> Self {
        let mut draw = Draw::new(seed ^ 0x7061_7469_656e_7473, index as u64);
        let identity = Identity::random(&mut draw, format!("{}", 501 + index));
        let (rows, columns) = (224 + 8 * draw.below(13), 232 + 8 * draw.below(14));
        let spacing = (draw.range(32.0, 52.0) / columns as f32 * 200.0).round() / 200.0;
        let reach = columns as f32 * spacing * 0.45;
        let mut head = Head::random(&mut draw, Style::Anatomy, true, None, reach);
        head.add_reference(&mut Draw::new(seed ^ 0x7265_6665_7265_6e63, index as u64), REFERENCES, reach);
        head.scanner.suit_export();
        let aim = head.implant.as_ref().map_or([0.0; 3], |implant| implant.middle());
        let (roll, lean) = (0.15 * draw.normal(), 0.12 * draw.normal());
        let coronal = directions(&mut draw, roll, lean);
        let side = if coronal[0][0] > 0.0 { 1.0 } else { -1.0 };
        let ear = [side * draw.range(33.0, 39.0), draw.range(125.0, 140.0), draw.range(40.0, 60.0)];
        let coronal_count = plan(files, true)
            .iter()
            .filter(|kind| matches!(kind, Kind::Coronal(_, storage) if storage.shows()))
            .count();
        let seed = u64::from(draw.bits());
        Self {
            identity,
            head,
            coronal,
            aim,
            ear,
            rows,
            columns,
            spacing,
            seed,
            coronal_count: coronal_count as u32,
        }
    }

    /// Distance of the n-th coronal slice from the middle of the array, mm: about half of them pass through it.
    fn offset(&self, n: u32) -> f32 {
        let near = self.coronal_count.div_ceil(2).max(1);
        if n < near {
            (n as f32 - (near - 1) as f32 / 2.0) * (2.2 / near as f32).min(0.5)
        } else {
            let far = (n - near) as f32;
            let step = 3.5 + 14.0 * far / self.coronal_count.max(1) as f32;
            if n.is_multiple_of(2) { step } else { -step }
        }
    }

    fn view(&self, series: Series, n: u32, draw: &mut Draw) -> View {
        let [right, down, normal] = self.coronal;
        let (rows, columns, spacing) = (self.rows, self.columns, self.spacing);
        let make = |centre, right, down, size: [usize; 2], slab| View {
            centre,
            right,
            down,
            rows: size[0],
            columns: size[1],
            spacing: [spacing; 2],
            slab,
        };
        match series {
            Series::Coronal => {
                let centre =
                    add(self.aim, add(scale(normal, self.offset(n)), scale(right, draw.range(-2.0, 2.0))));
                // Tilts so small that the orientation still rounds to the plane's.
                let [a, b] = [0.012 * draw.normal(), 0.012 * draw.normal()];
                let tilted = crate::space::unit(add(right, add(scale(normal, a), scale(down, b))));
                let square = crate::space::unit(add(down, scale(tilted, -dot(down, tilted))));
                make(centre, tilted, square, [rows, columns], spacing.max(0.3))
            }
            Series::Sagittal => {
                let centre = add(self.aim, scale(right, n as f32 * 0.5 - 10.0));
                make(centre, normal, down, [160, 160], 0.3)
            }
            Series::Oblique => {
                let (sin, cos) = libm::sincosf(0.6 + 0.05 * (n % 5) as f32);
                make(self.aim, add(scale(right, cos), scale(normal, sin)), down, [160, 160], 0.3)
            }
            _ => {
                let centre = add(self.aim, scale(down, (n % 97) as f32 * 0.3 - 14.0));
                make(centre, right, normal, [256, 256], 0.3)
            }
        }
    }

    /// A direction of the head in the patient's system: x to the left, y to the back, z up (DICOM PS3.3 C.7.6.2).
    fn to_patient(&self, v: Vector) -> Vector {
        let [right, down, normal] = self.coronal;
        [dot(v, right), dot(v, normal), -dot(v, down)]
    }

    /// The n-th slice of a series.
    pub(crate) fn picture(&self, series: Series, n: u32) -> Picture {
        let mut draw = Draw::new(self.seed, u64::from(n) * 8 + series as u64);
        let view = self.view(series, n, &mut draw);
        let mut exposure = self.head.expose(&view, &mut draw);
        let stored: Vec<u16> = exposure
            .hu
            .iter()
            .map(|hu| (hu - LOWEST_HU as f32).round().clamp(0.0, 11_000.0) as u16)
            .collect();
        exposure.hu = stored.iter().map(|&value| f32::from(value) + LOWEST_HU as f32).collect();
        let mask = self.head.develop(&view, &exposure, &Viewer::NONE).mask;
        let [low, step] = self.head.scanner.window;
        let window = [low + 127.5 * step + 0.5, 255.0 * step + 1.0];
        let image = to_8bit(&grid(&view, exposure.hu), Some(&VoiWindow::linear(window[0], window[1])), false);
        let contacts = self.head.implant.iter().flat_map(|implant| &implant.contacts);
        let contacts_mm = contacts.map(|contact| {
            let [column, row, away] = view.project(contact.at);
            [column * view.spacing[1], row * view.spacing[0], away]
        });
        let (right, down) = (self.to_patient(view.right), self.to_patient(view.down));
        let position = add(self.to_patient(view.point(0.0, 0.0)), self.ear);
        let ct = CtSlice {
            instance: n + 1,
            series,
            orientation: [right[0], right[1], right[2], down[0], down[1], down[2]],
            position,
            spacing: view.spacing,
            thickness: view.slab,
            rows: view.rows,
            columns: view.columns,
            stored,
            window,
        };
        Picture { ct, image, mask, contacts_mm: contacts_mm.collect() }
    }

    /// The name of the patient's array.
    pub(crate) fn array(&self) -> &'static str {
        self.head.implant.as_ref().map_or("", |implant| implant.model.name)
    }
}

impl Storage {
    /// The slice can be read and shows a picture.
    pub(crate) fn shows(self) -> bool {
        matches!(self, Self::Plain | Self::Monochrome1 | Self::RunLength)
    }
}

/// Number of electrode pixels.
pub(crate) fn area(mask: &Grid<bool>) -> usize {
    mask.values().iter().filter(|&&set| set).count()
}
