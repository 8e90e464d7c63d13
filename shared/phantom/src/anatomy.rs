//! The temporal bone around a cochlea: shapes in space, painted in order onto a slice.
//!
//! | part | what it is | looks |
//! | --- | --- | --- |
//! | otic capsule | the hardest bone of the body, around the inner ear | even, bright |
//! | cochlear duct, vestibule, canals | the fluid-filled inner ear | dark spiral, blob and thin rings in the capsule |
//! | modiolus | the porous column that the duct winds around | between the two |
//! | tegmen | thin plate between ear and brain | a bright line, the even dark brain above it |
//! | mastoid | bone behind the ear, full of air cells | a foam, black or (filled) grey |
//! | ear canal, middle ear | air, or fluid after surgery | black or grey holes |
//! | carotid, jugular, facial nerve | soft tissue in bony tunnels | dark discs with a rim |

use crate::cochlea::Cochlea;
use crate::draw::Draw;
use crate::shapes::{Layer, Matter, Shape, Waves};
use crate::space::{View, add, cross, dot, norm, scale, sub, unit};

/// Hounsfield units of air.
pub(crate) const AIR: f32 = -1000.0;

/// One person's temporal bone.
pub(crate) struct Anatomy {
    soft: f32,
    /// Unevenness of soft tissue, HU.
    haze: f32,
    /// Unevenness within one tissue, as a share.
    mottle: f32,
    layers: Vec<Layer>,
    seed: u32,
}

impl Anatomy {
    pub(crate) fn random(draw: &mut Draw, cochlea: &Cochlea) -> Self {
        let soft = draw.range(-60.0, 90.0);
        let bone = draw.range(1650.0, 2150.0);
        let mut layers = Vec::new();
        surroundings(draw, &mut layers, soft, bone);
        outside(draw, &mut layers, soft, bone);
        clutter(draw, &mut layers, soft, bone);
        // Now and then a part is missing: no part may be the only sign of an array.
        if draw.chance(0.93) {
            capsule(draw, &mut layers, bone);
        }
        if draw.chance(0.88) {
            inner_ear(draw, &mut layers, cochlea, soft, bone);
        }
        ear(draw, &mut layers, soft, bone);
        Self {
            soft,
            haze: draw.range(10.0, 160.0),
            mottle: draw.range(0.005, 0.04),
            layers,
            seed: draw.bits(),
        }
    }

    /// The slice in HU, row by row, before the scanner blurs it.
    pub(crate) fn paint(&self, view: &View) -> Vec<f32> {
        let mut image = vec![self.soft; view.rows * view.columns];
        let waves = Waves::new(view, self.seed);
        for (i, pixel) in image.iter_mut().enumerate() {
            *pixel += self.haze * waves.at(i % view.columns, i / view.columns)[2];
        }
        for layer in &self.layers {
            layer.paint(view, &waves, &mut image);
        }
        for row in 0..view.rows {
            for column in 0..view.columns {
                let pixel = &mut image[row * view.columns + column];
                let [x, y, _] = waves.at(column, row);
                *pixel += (*pixel + 1000.0) * self.mottle * (x + y);
            }
        }
        image
    }
}

/// Bone lamellae in marrow, of any coarseness.
fn spongy(draw: &mut Draw, soft: f32, bone: f32) -> Matter {
    let low = soft + draw.range(-60.0, 450.0);
    Matter::Spongy {
        marrow: low,
        bone: (bone * draw.range(0.45, 0.9)).max(low + 150.0),
        mesh: draw.log_range(0.6, 2.6),
        share: draw.range(0.2, 0.8),
        seed: draw.bits(),
    }
}

/// Mastoid cells, full of air or of fluid.
fn cells(draw: &mut Draw, soft: f32, bone: f32) -> Matter {
    let aerated = draw.chance(0.5);
    Matter::Cells {
        filling: if aerated { AIR } else { soft + draw.range(-50.0, 200.0) },
        other: if draw.chance(0.5) { soft } else { AIR },
        bone: bone * draw.range(0.4, 0.85),
        width: draw.log_range(1.2, 5.0),
        wall: draw.range(0.15, 0.5),
        seed: draw.bits(),
    }
}

/// Brain, tegmen, the bone around, marrow and skull base.
fn surroundings(draw: &mut Draw, layers: &mut Vec<Layer>, soft: f32, bone: f32) {
    let fade = draw.log_range(0.2, 1.6);
    let mut lay = |shape, matter, stray| layers.push(Layer { shape, matter, stray, fade });
    if draw.chance(0.88) {
        let surface = Shape::Below {
            level: -draw.range(4.5, 9.5),
            slope: [draw.range(-0.3, 0.3), draw.range(-0.2, 0.2)],
            bump: [draw.range(1.0, 7.0), draw.range(0.0, 3.0), draw.range(2.5, 6.0)],
        };
        let inside =
            soft + if draw.chance(0.7) { draw.range(-60.0, 120.0) } else { draw.range(100.0, 500.0) };
        let thickness = draw.range(0.5, 1.8);
        let matter = Matter::Shell { thickness, bone: bone * draw.range(0.6, 1.0), inside };
        lay(surface, matter, draw.range(0.5, 1.8));
    }
    // Muscle, fat, fluid, bone of low density: nothing there is quite even.
    for _ in 0..2 + draw.below(5) {
        let centre = [draw.range(-20.0, 20.0), draw.range(-3.0, 20.0), draw.range(-8.0, 8.0)];
        let axes = [draw.range(3.0, 14.0), draw.range(3.0, 12.0), draw.range(6.0, 16.0)];
        let matter = match draw.below(4) {
            0 => spongy(draw, soft, bone * 0.6),
            1 => Matter::Even(soft + draw.range(0.0, 450.0)),
            _ => Matter::Even(soft + draw.range(-160.0, 160.0)),
        };
        lay(Shape::Ellipsoid(centre, axes), matter, draw.range(0.8, 2.5));
    }
    // Medially, the apex of the petrous bone; below, the skull base with its legs of bone between vessels and muscle.
    for _ in 0..1 + draw.below(3) {
        let centre = [draw.range(-15.0, -3.0), draw.range(-4.0, 7.0), draw.range(-4.0, 4.0)];
        let axes = [draw.range(4.0, 9.0), draw.range(3.0, 8.0), draw.range(5.0, 12.0)];
        let matter = if draw.chance(0.7) {
            spongy(draw, soft, bone)
        } else {
            Matter::Even(bone * draw.range(0.6, 1.0))
        };
        lay(Shape::Ellipsoid(centre, axes), matter, draw.range(0.5, 1.8));
    }
    for _ in 0..2 + draw.below(5) {
        let top = [draw.range(-12.0, 16.0), draw.range(5.0, 11.0), draw.range(-4.0, 4.0)];
        let low = add(top, [draw.range(-6.0, 6.0), draw.range(6.0, 16.0), draw.range(-9.0, 9.0)]);
        let matter = match draw.below(10) {
            0..6 => spongy(draw, soft, bone),
            6 => cells(draw, soft, bone),
            _ => Matter::Even(bone * draw.range(0.55, 0.98)),
        };
        let shape = Shape::Rod(top, low, draw.range(1.2, 4.0), draw.range(1.5, 6.0));
        lay(shape, matter, draw.range(0.5, 2.0));
    }
}

/// The mastoid behind the ear, and rarely the air outside of the head.
fn outside(draw: &mut Draw, layers: &mut Vec<Layer>, soft: f32, bone: f32) {
    let fade = draw.log_range(0.15, 0.6);
    let mut lay = |shape, matter, stray| layers.push(Layer { shape, matter, stray, fade });
    if draw.chance(0.45) {
        let centre = [draw.range(11.0, 24.0), draw.range(-8.0, 8.0), draw.range(-4.0, 4.0)];
        let axes = [draw.range(4.0, 11.0), draw.range(5.0, 12.0), draw.range(6.0, 12.0)];
        let matter = cells(draw, soft, bone);
        lay(Shape::Ellipsoid(centre, axes), matter, draw.range(0.5, 1.8));
    }
    if draw.chance(0.15) {
        let normal = unit([1.0, draw.range(-0.4, 0.4), draw.range(-0.3, 0.3)]);
        lay(Shape::Beyond([draw.range(17.0, 28.0), 0.0, 0.0], normal), Matter::Even(AIR), 0.6);
    }
}

/// Anything at all, so that nothing but the array itself says where the array is.
fn clutter(draw: &mut Draw, layers: &mut Vec<Layer>, soft: f32, bone: f32) {
    for _ in 0..draw.below(5) {
        let (sin, cos) = libm::sincosf(draw.range(0.0, std::f32::consts::TAU));
        let away = draw.range(8.0, 20.0);
        let axes = [draw.log_range(0.5, 5.0), draw.log_range(0.5, 5.0), draw.range(1.0, 6.0)];
        let matter = match draw.below(6) {
            0 => Matter::Even(AIR),
            1 => Matter::Even(soft - draw.range(100.0, 700.0)),
            2 => Matter::Even(soft + draw.range(-100.0, 100.0)),
            3 | 4 => Matter::Even(draw.range(300.0, bone)),
            _ => spongy(draw, soft, bone),
        };
        let centre = [away * cos, away * sin, draw.range(-3.0, 3.0)];
        layers.push(Layer {
            shape: Shape::Ellipsoid(centre, axes),
            matter,
            stray: draw.range(0.1, 1.5),
            fade: draw.log_range(0.1, 1.5),
        });
    }
    for _ in 0..draw.below(4) {
        // Thin plates and septa.
        let from = [draw.range(-18.0, 18.0), draw.range(-14.0, 14.0), draw.range(-2.0, 2.0)];
        let to = add(from, draw.jitter(6.0));
        let radius = draw.range(0.15, 0.7);
        let matter = Matter::Even(draw.range(300.0, bone));
        if norm([from[0], from[1], 0.0]) > 7.0 {
            layers.push(Layer {
                shape: Shape::Rod(from, to, radius, radius * 0.6),
                matter,
                stray: 1.2,
                fade: 0.3,
            });
        }
    }
}

fn capsule(draw: &mut Draw, layers: &mut Vec<Layer>, bone: f32) {
    let fade = draw.log_range(0.15, 1.2);
    let lobes = [
        ([0.0, 0.0, 0.0], [5.8, 5.8, 5.0]),
        ([-3.5, -2.5, 0.0], [5.5, 5.5, 5.0]),
        ([5.0, -2.5, 0.0], [5.4, 4.8, 5.0]),
        ([1.5, -5.0, -1.0], [6.5, 4.0, 5.0]),
        ([-2.0, 4.5, 0.0], [3.2, 4.0, 4.0]),
    ];
    for (i, (centre, axes)) in lobes.into_iter().enumerate() {
        if i > 0 && draw.chance(0.15) {
            continue;
        }
        let bone = bone * draw.range(0.95, 1.0);
        let axes = scale(axes, draw.range(0.9, 1.35));
        let shape = Shape::Ellipsoid(add(centre, draw.jitter(0.7)), axes);
        layers.push(Layer { shape, matter: Matter::Even(bone), stray: draw.range(0.6, 1.6), fade });
    }
    for _ in 0..1 + draw.below(5) {
        // Zones of lesser density, cells and marrow in the capsule's surroundings.
        let centre = [draw.range(-9.0, 10.0), draw.range(-9.0, 7.0), draw.range(-3.0, 3.0)];
        let axes = [draw.range(1.2, 4.5), draw.range(1.2, 4.5), draw.range(2.0, 6.0)];
        let bone = bone * if draw.chance(0.5) { draw.range(0.35, 0.85) } else { draw.range(0.85, 1.05) };
        let matter = if draw.chance(0.6) {
            Matter::Even(bone)
        } else {
            Matter::Spongy {
                marrow: bone * 0.55,
                bone,
                mesh: draw.range(0.7, 2.0),
                share: 0.6,
                seed: draw.bits(),
            }
        };
        layers.push(Layer {
            shape: Shape::Ellipsoid(centre, axes),
            matter,
            stray: 1.0,
            fade: draw.log_range(0.4, 2.5),
        });
    }
}

fn inner_ear(draw: &mut Draw, layers: &mut Vec<Layer>, cochlea: &Cochlea, soft: f32, bone: f32) {
    let fade = draw.log_range(0.1, 0.7);
    let mut lay = |shape, hu: f32, stray| layers.push(Layer { shape, matter: Matter::Even(hu), stray, fade });
    let fluid = soft + draw.range(20.0, 250.0);
    // Internal auditory canal, towards the brain.
    let end = [draw.range(-12.0, -4.0), draw.range(-5.0, 2.0), draw.range(-14.0, -7.0)];
    lay(Shape::Rod([-0.5, 0.0, -3.5], end, 1.3, draw.range(1.8, 2.8)), soft, 0.4);
    let column = bone * draw.range(0.4, 0.85);
    lay(Shape::Rod([0.0, 0.0, -3.0], [0.0, 0.0, 2.5], draw.range(1.5, 2.1), 0.7), column, 0.2);
    lay(Shape::Tube(cochlea.duct()), fluid, 0.0);
    // Vestibule with the three canals at right angles.
    let middle = [draw.range(5.0, 6.5), draw.range(-2.0, 0.5), draw.range(-2.0, 0.5)];
    let axes = [draw.range(1.4, 3.0), draw.range(1.6, 2.8), draw.range(1.5, 2.6)];
    lay(Shape::Ellipsoid(middle, axes), fluid, draw.range(0.2, 1.0));
    let tilt = draw.jitter(0.25);
    let lateral = unit(add([0.1, 1.0, 0.3], tilt));
    let superior = unit(cross(lateral, unit(add([0.6, 0.0, 0.8], tilt))));
    let posterior = cross(lateral, superior);
    for axis in [lateral, superior, posterior] {
        let radius = draw.range(2.6, 3.6);
        let towards = unit([draw.range(0.2, 1.0), draw.range(-1.0, 0.2), draw.range(-0.6, 0.4)]);
        let in_plane = unit(sub(towards, scale(axis, dot(towards, axis))));
        let centre = add(middle, scale(in_plane, radius * 0.9));
        lay(Shape::Ring(centre, axis, radius, draw.range(0.4, 0.65)), fluid, 0.15);
    }
    // Facial nerve and other small channels.
    for _ in 0..1 + draw.below(3) {
        let from = [draw.range(0.0, 7.0), draw.range(-7.0, -3.5), draw.range(-4.0, 4.0)];
        let to = add(from, [draw.range(-3.0, 5.0), draw.range(-2.0, 3.0), draw.range(-5.0, 5.0)]);
        lay(Shape::Rod(from, to, draw.range(0.35, 0.7), draw.range(0.35, 0.7)), soft, 0.3);
    }
}

/// Middle ear, ear canal, ossicles, great vessels.
fn ear(draw: &mut Draw, layers: &mut Vec<Layer>, soft: f32, bone: f32) {
    let fade = draw.log_range(0.2, 1.6);
    let mut lay = |shape, matter, stray| layers.push(Layer { shape, matter, stray, fade });
    let content = |draw: &mut Draw| if draw.chance(0.3) { AIR } else { soft + draw.range(-80.0, 80.0) };
    if draw.chance(0.85) {
        let centre = [draw.range(8.5, 12.5), draw.range(2.0, 7.0), draw.range(-3.0, 4.0)];
        let axes = [draw.range(2.0, 5.0), draw.range(2.0, 5.0), draw.range(3.0, 7.0)];
        lay(Shape::Ellipsoid(centre, axes), Matter::Even(content(draw)), 0.9);
    }
    if draw.chance(0.5) {
        let from = [draw.range(9.0, 14.0), draw.range(-7.0, 8.0), draw.range(-6.0, 2.0)];
        let to = add(from, [draw.range(-4.0, 10.0), draw.range(-4.0, 5.0), draw.range(3.0, 14.0)]);
        let radius = draw.range(0.9, 2.8);
        let shell = Matter::Shell { thickness: 0.7, bone: bone * 0.8, inside: AIR };
        let matter = if draw.chance(0.4) { shell } else { Matter::Even(AIR) };
        lay(Shape::Rod(from, to, radius, radius * 1.1), matter, 0.3);
    }
    if draw.chance(0.5) {
        let hammer = [draw.range(9.0, 13.0), draw.range(-6.0, 2.0), draw.range(-2.0, 2.0)];
        for _ in 0..2 {
            let end = add(hammer, draw.jitter(2.0));
            lay(
                Shape::Rod(hammer, end, draw.range(0.7, 1.3), 0.4),
                Matter::Even(draw.range(600.0, 1600.0)),
                0.2,
            );
        }
    }
    for probability in [0.7, 0.4] {
        if draw.chance(probability) {
            let from = [draw.range(-11.0, 9.0), draw.range(8.0, 12.0), draw.range(-3.0, 3.0)];
            let to = add(from, [draw.range(-5.0, 5.0), draw.range(4.0, 12.0), draw.range(-8.0, 8.0)]);
            let inside = soft + draw.range(-20.0, 120.0);
            let matter =
                Matter::Shell { thickness: draw.range(0.15, 0.6), bone: bone * draw.range(0.3, 0.7), inside };
            lay(Shape::Rod(from, to, draw.range(1.8, 3.5), draw.range(1.8, 4.0)), matter, 0.6);
        }
    }
}
