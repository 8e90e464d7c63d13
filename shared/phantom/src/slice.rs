//! One slice with its truth.

use modiolus_imaging::components::{Connectivity, remove_small};
use modiolus_imaging::grid::GridError;
use modiolus_imaging::{Grid, Image8, Mask, resize};

use crate::anatomy::Anatomy;
use crate::arrays::{ArrayModel, Vendor};
use crate::cochlea::Cochlea;
use crate::draw::Draw;
use crate::flat;
use crate::implant::{Grain, Implant, any_model, clips, other_metal, reference};
use crate::metal::{MetalPlanes, planes, streaks};
use crate::scanner::{BONE, Scanner};
use crate::space::{Vector, View, add, cross, scale, unit};
use crate::style::{Quality, Style};
use crate::viewer::Viewer;

/// What a slice should be like.
#[derive(Debug, Clone, PartialEq)]
pub struct SliceOptions {
    /// Rows of the picture, 16 to 4096.
    pub rows: usize,
    /// Columns of the picture, 16 to 4096.
    pub columns: usize,
    /// Share of slices without an array, 0 to 1.
    pub empty: f32,
    /// Whose arrays; `None` is anybody's, the larger vendors' more often.
    pub vendor: Option<Vendor>,
    /// Each slice has one of these, each entry equally often; none is [`Style::Anatomy`].
    pub styles: &'static [Style],
    /// How well it can be seen.
    pub quality: Quality,
    /// Share of slices in a bone window, in which bone comes near white, 0 to 1; of those without an array twice as many are,
    /// and bone may be all white. (Backgrounds without anatomy are as bright only where there is no array.)
    pub bone_windows: f32,
    /// Share of the slices without an array on which an array's lead is seen all the same, with more wires, 0 to 1.
    pub leads: f32,
    /// Share of the slices without an array on which no part of an implant is seen, but clips and fillings may be, 0 to 1.
    pub bare: f32,
    /// Share of the slices on which a reference electrode is seen, a ball at the end of a wire, 0 to 1; of bare ones none are.
    pub references: f32,
}

impl Default for SliceOptions {
    fn default() -> Self {
        Self {
            rows: 256,
            columns: 256,
            empty: 0.12,
            vendor: None,
            styles: &[Style::Anatomy],
            quality: Quality::Any,
            bone_windows: 0.0,
            leads: 0.0,
            bare: 0.0,
            references: 0.0,
        }
    }
}

impl SliceOptions {
    /// A harder mixture to train on: every style, a tenth as clean and a fifth as blurred as they get, and more than there is
    /// by chance of what is taken for an array: bright bone, and wires where no array is. docs/experiments.md tells what it does.
    pub fn training(seed: u64) -> Self {
        let quality = match seed % 10 {
            3 => Quality::Clean,
            5 | 7 => Quality::Blurred,
            _ => Quality::Any,
        };
        let styles = &Style::TRAINING;
        Self { empty: 0.25, styles, quality, bone_windows: 0.15, leads: 0.6, ..Self::default() }
    }
}

/// One electrode contact on a slice.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SliceContact {
    /// Distance of the contact from the middle of the first pixel along the columns' direction, mm.
    pub x_mm: f32,
    /// Distance along the rows' direction, mm.
    pub y_mm: f32,
    /// Distance from the slice's plane, mm.
    pub off_plane_mm: f32,
    /// Angle from the round window around the spiral, degrees.
    pub angle_deg: f32,
    /// In the mask: bright enough and near enough to be seen.
    pub visible: bool,
}

/// A made slice and everything that is true about it.
#[derive(Debug, Clone, PartialEq)]
pub struct PhantomSlice {
    /// Grey levels 0 to 255, as a person sees the slice.
    pub image: Image8,
    /// True where the bloomed metal of the electrode array is. Neither lead wire nor coil is in it.
    pub mask: Mask,
    /// True where other metal is what makes the slice bright: lead, wires, coil, clips.
    pub other_metal: Mask,
    /// Distance of rows and of columns, mm, in the order of DICOM's PixelSpacing. They may differ.
    pub spacing_mm: [f32; 2],
    /// Contacts from base to tip, all of them, also those outside of the slice.
    pub contacts: Vec<SliceContact>,
    /// The array's middle line from base to tip: x and y in mm as in [`SliceContact`].
    pub centreline_mm: Vec<[f32; 2]>,
    /// The array, if there is one.
    pub model: Option<&'static ArrayModel>,
}

impl PhantomSlice {
    /// The mask is not empty.
    pub fn has_array(&self) -> bool {
        self.mask.values().contains(&true)
    }
}

/// What lies behind the metal.
enum Ground {
    Anatomy(Anatomy),
    /// A temporal bone seen from elsewhere: how far aside, and from which directions.
    Astray(Anatomy, Vector, [Vector; 3]),
    /// No anatomy: a style, its seed, and how much brighter than usual it is.
    Flat(Style, u64, f32),
    /// Grey levels of a picture as large as the slice.
    Picture(Vec<f32>),
}

impl Ground {
    fn random(draw: &mut Draw, style: Style, cochlea: &Cochlea) -> Self {
        match style {
            Style::Anatomy => Self::Anatomy(Anatomy::random(draw, cochlea)),
            Style::Astray => {
                let empty = Cochlea::random(draw);
                let anatomy = Anatomy::random(draw, &empty);
                let (roll, lean) = (draw.range(-3.1, 3.1), draw.range(0.0, 1.5));
                Self::Astray(anatomy, draw.jitter(7.0), directions(draw, roll, lean))
            }
            style => Self::Flat(style, u64::from(draw.bits()), 1.0),
        }
    }

    /// The slice in HU before the scanner blurs it.
    fn paint(&self, view: &View, scanner: &Scanner) -> Vec<f32> {
        match self {
            Self::Anatomy(anatomy) => anatomy.paint(view),
            Self::Astray(anatomy, aside, [right, down, _]) => {
                let [right, down] = [*right, *down];
                anatomy.paint(&View { centre: add(view.centre, *aside), right, down, ..view.clone() })
            }
            Self::Flat(style, seed, gain) => {
                let greys = flat::paint(view, *style, *seed).into_iter().map(|grey| grey * gain);
                scanner.hu_of(&greys.collect::<Vec<f32>>())
            }
            Self::Picture(greys) => scanner.hu_of(greys),
        }
    }
}

/// One head with all its metal, and the scanner that looks at it.
pub(crate) struct Head {
    ground: Ground,
    pub(crate) implant: Option<Implant>,
    pub(crate) grains: Vec<Grain>,
    pub(crate) scanner: Scanner,
}

/// A slice in HU and its parts.
pub(crate) struct Exposure {
    pub(crate) hu: Vec<f32>,
    pub(crate) metal: MetalPlanes,
}

/// A slice as people see it, and where its array and its other metal are.
pub(crate) struct Developed {
    pub(crate) image: Image8,
    pub(crate) mask: Mask,
    pub(crate) other_metal: Mask,
}

/// Fewer connected pixels than this are no part of a mask.
const SPECK: usize = 4;

/// A plane that comes near fewer contacts shows no array that anybody would segment.
const LEAST_CONTACTS: usize = 5;

impl Head {
    pub(crate) fn random(
        draw: &mut Draw,
        style: Style,
        with_array: bool,
        vendor: Option<Vendor>,
        reach: f32,
    ) -> Self {
        let cochlea = if style.is_wild() { Cochlea::wild(draw) } else { Cochlea::random(draw) };
        let ground = Ground::random(draw, style, &cochlea);
        let implant = with_array.then(|| {
            let model = any_model(draw, vendor);
            Implant::random(draw, &cochlea, model)
        });
        let mut grains = other_metal(draw, reach, if with_array { 1.0 } else { 1.6 });
        if let Some(implant) = &implant {
            grains.extend_from_slice(&implant.grains);
        }
        Self { ground, implant, grains, scanner: Scanner::random(draw) }
    }

    /// What training wants more of than there is by chance. Its random numbers are its own, so that slices without it stay as
    /// they are.
    fn vary(&mut self, seed: u64, style: Style, options: &SliceOptions, reach: f32) {
        let mut draw = Draw::new(seed, 4);
        let with_array = self.implant.is_some();
        let bone_window = draw.chance(options.bone_windows * if with_array { 1.0 } else { 2.0 });
        let lead = draw.chance(options.leads) && !with_array;
        match &mut self.ground {
            Ground::Flat(_, _, gain) if bone_window && !with_array => *gain = draw.range(1.2, 2.6),
            Ground::Anatomy(_) | Ground::Astray(..) if bone_window => {
                self.scanner.set_bone_window(&mut draw, with_array);
            }
            _ => (),
        }
        if lead {
            let cochlea = if style.is_wild() { Cochlea::wild(&mut draw) } else { Cochlea::random(&mut draw) };
            let model = any_model(&mut draw, None);
            let pulled_out = Implant::random(&mut draw, &cochlea, model);
            self.grains.extend(pulled_out.grains.iter().filter(|grain| !grain.array));
            self.grains.extend(other_metal(&mut draw, reach, 1.0));
        }
        self.add_reference(&mut Draw::new(seed, 6), options.references, reach);
        if !with_array {
            self.vary_without_array(seed, options, reach);
        }
    }

    /// Adds a reference electrode, by this chance.
    pub(crate) fn add_reference(&mut self, draw: &mut Draw, chance: f32, reach: f32) {
        if draw.chance(chance) {
            reference(draw, &mut self.grains, reach);
        }
    }

    fn vary_without_array(&mut self, seed: u64, options: &SliceOptions, reach: f32) {
        let mut draw = Draw::new(seed, 5);
        if draw.chance(options.bare) {
            self.grains.clear();
            while draw.chance(0.5) && self.grains.len() < 200 {
                clips(&mut draw, &mut self.grains, reach);
            }
        }
    }

    pub(crate) fn expose(&self, view: &View, draw: &mut Draw) -> Exposure {
        let mut hu = self.ground.paint(view, &self.scanner);
        self.scanner.blur_tissue(view, &mut hu);
        let metal = planes(view, &self.grains, &self.scanner.metal);
        let streaks = streaks(view, &self.grains, &self.scanner.metal, draw);
        for (i, pixel) in hu.iter_mut().enumerate() {
            let blobs = metal.array[i] + metal.other[i];
            *pixel +=
                self.scanner.contact * (blobs + metal.ripple[i]) + streaks[i] * (1.0 - 0.7 * blobs.min(1.0));
        }
        self.scanner.degrade(view, &mut hu, draw);
        self.scanner.cut(view, &mut hu, -1000.0);
        Exposure { hu, metal }
    }

    /// The 8-bit look and the masks of an exposure, seen through a viewer.
    pub(crate) fn develop(&self, view: &View, exposure: &Exposure, viewer: &Viewer) -> Developed {
        let mut shown: Vec<f32> = exposure.hu.iter().map(|&hu| self.scanner.grey(hu)).collect();
        viewer.show(view.rows, view.columns, &mut shown);
        let grey: Vec<u8> = shown.into_iter().map(|grey| grey.round().clamp(0.0, 255.0) as u8).collect();
        let level = self.level(view, &grey);
        let enough = 0.22 * (150.0 - 40.0) * self.scanner.window[1] / self.scanner.contact;
        let MetalPlanes { array, other, .. } = &exposure.metal;
        let bright = |i: usize, metal: &[f32]| f32::from(grey[i]) > level && metal[i] > enough;
        let mask = (0..grey.len()).map(|i| bright(i, array) && array[i] >= other[i]).collect();
        let other_metal = (0..grey.len()).map(|i| bright(i, other) && other[i] > array[i]).collect();
        Developed {
            mask: remove_small(&grid(view, mask), SPECK, Connectivity::Four),
            other_metal: grid(view, other_metal),
            image: grid(view, grey),
        }
    }

    /// The grey level above which the array belongs to the mask.
    ///
    /// People keep what is brighter than 150; where the whole array is fainter, they go down towards bone.
    fn level(&self, view: &View, grey: &[u8]) -> f32 {
        let Some(implant) = &self.implant else { return 150.0 };
        let mut peaks: Vec<u8> = implant
            .contacts
            .iter()
            .filter_map(|contact| {
                let [column, row, away] = view.project(contact.at);
                let inside = column >= 1.0
                    && row >= 1.0
                    && column < (view.columns - 2) as f32
                    && row < (view.rows - 2) as f32;
                if !inside || away.abs() > view.slab / 2.0 + 0.3 {
                    return None;
                }
                let i = row.round() as usize * view.columns + column.round() as usize;
                Some(grey[i].max(grey[i - 1]).max(grey[i + 1]))
            })
            .collect();
        peaks.sort_unstable();
        let bright = peaks.get(peaks.len() * 2 / 3).map_or(255.0, |&peak| f32::from(peak));
        let bone = self.scanner.grey(BONE);
        if bone > BRIGHT_BONE { (bone + 0.45 * (bright - bone)).max(bone + 8.0) } else { faint_level(bright) }
    }
}

/// In a window in which bone is brighter, 150 can't tell metal from bone: the level lies between the two instead.
const BRIGHT_BONE: f32 = 134.5;

/// The grey level above which people keep pixels of an array whose contacts are this bright: 150, or less where contacts hardly
/// are brighter than bone (118).
fn faint_level(bright: f32) -> f32 {
    const BONE: f32 = 118.0;
    let way = 0.4 + 0.19 * ((bright - 130.0) / 42.0).clamp(0.0, 1.0);
    (BONE + (bright - BONE) * way).clamp(BONE, 150.0)
}

/// A slice made from a seed: the same seed and options give the same bytes on every machine.
///
/// Rows and columns outside 16 to 4096 are moved to the nearest limit.
pub fn slice(seed: u64, options: &SliceOptions) -> PhantomSlice {
    make(seed, options, None)
}

/// Picture and mask of a slice as the base model was trained on.
pub fn training_pair(seed: u64) -> (Image8, Mask) {
    let made = slice(seed, &SliceOptions { styles: &Style::TRAINING, ..SliceOptions::default() });
    (made.image, made.mask)
}

/// As [`slice()`], but the metal lies on this picture's grey levels, enlarged to the slice's size, instead of made tissue: real
/// backgrounds without an implant tell how well a network does on tissue that the generator doesn't know.
///
/// # Errors
/// When the picture can't be enlarged to the slice's size.
pub fn slice_onto(seed: u64, options: &SliceOptions, background: &Image8) -> Result<PhantomSlice, GridError> {
    let values = background.map(|&grey| f32::from(grey));
    let enlarged = resize::bilinear(&values, options.rows.clamp(16, 4096), options.columns.clamp(16, 4096))?;
    Ok(make(seed, options, Some(enlarged.values().to_vec())))
}

fn make(seed: u64, options: &SliceOptions, background: Option<Vec<f32>>) -> PhantomSlice {
    let mut draw = Draw::new(seed, 1);
    let with_array = !draw.chance(options.empty);
    let rows = options.rows.clamp(16, 4096);
    let columns = options.columns.clamp(16, 4096);
    let style = *options.styles.get(draw.below(options.styles.len())).unwrap_or(&Style::Anatomy);
    let width = draw.log_range(20.0, 48.0);
    let mut head = Head::random(&mut draw, style, with_array, options.vendor, width * 0.5);
    head.vary(seed, style, options, width * 0.5);
    let viewer = if options.quality == Quality::Any { Viewer::random(&mut draw) } else { Viewer::NONE };
    head.scanner.set_quality(options.quality);
    if let Some(greys) = background {
        head.ground = Ground::Picture(greys);
    }
    let mut last = None;
    for attempt in 0..5 {
        let view = random_view(&mut draw, style, head.implant.as_ref(), [rows, columns], width, attempt);
        let exposure = head.expose(&view, &mut draw);
        let developed = head.develop(&view, &exposure, &viewer);
        let fit = if with_array { fit(&head, &view, &developed.mask) } else { Fit::Good };
        last = Some((view, developed));
        match fit {
            Fit::Good => break,
            Fit::Elsewhere => (),
            Fit::Faint => head.scanner.contact *= 1.4,
            Fit::Fat => head.scanner.contact *= 0.75,
        }
    }
    match last {
        Some((view, developed)) => assemble(&head, &view, developed),
        None => unreachable!("the loop runs at least once"),
    }
}

/// Whether people would keep a picture.
enum Fit {
    Good,
    Faint,
    Fat,
    /// The plane misses most of the array.
    Elsewhere,
}

fn fit(head: &Head, view: &View, mask: &Mask) -> Fit {
    let share = mask.values().iter().filter(|&&set| set).count() as f32 / mask.values().len() as f32;
    let contacts = head.implant.iter().flat_map(|implant| &implant.contacts);
    let near = contacts.filter(|contact| view.project(contact.at)[2].abs() < view.slab / 2.0 + 0.4).count();
    match share {
        _ if near < LEAST_CONTACTS => Fit::Elsewhere,
        ..0.0008 => Fit::Faint,
        0.016.. => Fit::Fat,
        _ => Fit::Good,
    }
}

fn assemble(head: &Head, view: &View, developed: Developed) -> PhantomSlice {
    let Developed { image, mask, other_metal } = developed;
    let [dy, dx] = view.spacing;
    let place = |point| {
        let [column, row, away] = view.project(point);
        (column * dx, row * dy, away, column.round(), row.round())
    };
    let contacts = head.implant.iter().flat_map(|implant| &implant.contacts).map(|contact| {
        let (x_mm, y_mm, off_plane_mm, column, row) = place(contact.at);
        let inside = column >= 0.0 && row >= 0.0 && column < view.columns as f32 && row < view.rows as f32;
        let visible = inside && mask[(row as usize, column as usize)];
        SliceContact { x_mm, y_mm, off_plane_mm, angle_deg: contact.angle, visible }
    });
    let contacts = contacts.collect();
    let line = head.implant.iter().flat_map(|implant| &implant.centreline);
    let centreline_mm = line.map(|&point| place(point)).map(|(x, y, ..)| [x, y]).collect();
    PhantomSlice {
        image,
        mask,
        other_metal,
        spacing_mm: view.spacing,
        contacts,
        centreline_mm,
        model: head.implant.as_ref().map(|implant| implant.model),
    }
}

/// # Panics
/// Never: views have at least one pixel and at most 4096 rows and columns.
pub(crate) fn grid<T>(view: &View, values: Vec<T>) -> Grid<T> {
    Grid::new(view.rows, view.columns, values).expect("a view has as many values as pixels")
}

/// A plane near the one in which the whole spiral lies, seen from any side.
fn random_view(
    draw: &mut Draw,
    style: Style,
    implant: Option<&Implant>,
    [rows, columns]: [usize; 2],
    width: f32,
    attempt: u32,
) -> View {
    let stretch = match draw.below(10) {
        0 => draw.range(1.5, 2.1),
        1..=6 => draw.range(1.0, 1.55),
        _ => draw.range(0.9, 1.1),
    };
    let dx = width / columns as f32;
    let spacing = [dx / stretch * columns as f32 / rows as f32, dx];
    let (turned, leaning) = if style.is_wild() { (1.0, 0.4) } else { (0.12, 0.15) };
    let roll = if draw.chance(turned) { draw.range(-3.1, 3.1) } else { 0.25 * draw.normal() };
    let lean = if draw.chance(leaning) { draw.range(0.3, 1.0) } else { 0.1 * draw.normal() };
    let [right, down, normal] = directions(draw, roll, lean);
    let steep = lean.abs() > 0.3;
    let slab = if steep || draw.chance(0.2) { draw.range(1.0, 4.0) } else { draw.range(0.1, 0.9) };
    let depth = draw.normal() * 0.45 / (1.0 + attempt as f32);
    let shift = [draw.range(-0.24, 0.24) * width, draw.range(-0.24, 0.24) * width / stretch];
    let aim = implant.map_or([0.0; 3], Implant::middle);
    let aside = add(scale(right, shift[0]), scale(down, shift[1]));
    let centre = add(add(scale(aim, 0.8), scale(normal, depth)), aside);
    View { centre, right, down, rows, columns, spacing, slab }
}

/// The directions of columns, rows and the normal of a plane that leans away from the spiral's own by an angle in radians
/// and is rolled in itself; for one ear or the other.
pub(crate) fn directions(draw: &mut Draw, roll: f32, lean: f32) -> [Vector; 3] {
    let (sin, cos) = libm::sincosf(roll);
    let (lean_sin, lean_cos) = libm::sincosf(lean);
    let (turn_sin, turn_cos) = libm::sincosf(draw.range(0.0, std::f32::consts::TAU));
    let normal = unit([lean_sin * turn_cos, lean_sin * turn_sin, lean_cos]);
    let across = unit(cross([0.0, 1.0, 0.0], normal));
    let upright = cross(normal, across);
    let right = add(scale(across, cos), scale(upright, sin));
    let down = add(scale(upright, cos), scale(across, -sin));
    let other_ear = draw.chance(0.5);
    [if other_ear { scale(right, -1.0) } else { right }, down, normal]
}
