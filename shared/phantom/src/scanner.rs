//! From tissue and metal to the picture: blur, drift, noise, window.

use crate::draw::Draw;
use crate::metal::MetalLook;
use crate::space::View;
use crate::style::Quality;

/// Hounsfield units of the densest bone, and of soft tissue: the two that windows are chosen by.
pub(crate) const BONE: f32 = 1950.0;
const SOFT: f32 = 40.0;

/// One scanner with its settings, and the window through which people look.
#[derive(Debug, Clone)]
pub(crate) struct Scanner {
    pub(crate) metal: MetalLook,
    /// HU in the middle of a large contact, after blur.
    pub(crate) contact: f32,
    /// Blur of everything, one sigma, mm.
    blur: f32,
    /// How much edges are enhanced (0: not), and over how many mm.
    sharpen: [f32; 2],
    /// Noise in HU, and over how many mm it is correlated (columns, rows).
    noise: f32,
    grain: [f32; 2],
    /// Drift of the grey level from the middle to the corners and across, in shares.
    cupping: f32,
    tilt: [f32; 2],
    /// Shift of a weak second image by motion, mm, and its share.
    ghost: [f32; 3],
    /// The lowest HU shown and the HU per grey level.
    pub(crate) window: [f32; 2],
    /// Lines beyond which there is no data: normal and offset as a share of the picture's size.
    corners: Vec<[f32; 3]>,
    /// Brighter first and last rows, as some viewers' scaling leaves them.
    frame: bool,
}

impl Scanner {
    pub(crate) fn random(draw: &mut Draw) -> Self {
        let blur = draw.range(0.11, 0.24);
        let bone = draw.range(86.0, 134.0);
        let soft = draw.range(22.0, (bone - 40.0).min(58.0));
        let scale = (BONE - SOFT) / (bone - soft);
        let low = SOFT - soft * scale;
        let peak = match draw.below(20) {
            0..=2 => draw.range(130.0, 175.0),
            3..=14 => draw.range(175.0, 300.0),
            _ => draw.log_range(300.0, 700.0),
        };
        let mut corners = Vec::new();
        if draw.chance(0.4) {
            for _ in 0..1 + draw.below(3) {
                let side = draw.below(4) as f32 * std::f32::consts::FRAC_PI_2;
                let (sin, cos) = libm::sincosf(side + 0.25 * draw.normal());
                corners.push([cos, sin, draw.range(0.4, 0.68)]);
            }
        }
        Self {
            metal: metal_look(draw, blur),
            contact: (peak - soft) * scale,
            blur,
            sharpen: [if draw.chance(0.35) { draw.range(0.1, 0.7) } else { 0.0 }, draw.range(0.2, 0.6)],
            noise: draw.log_range(0.7, 4.5) * scale,
            grain: [draw.range(0.06, 0.2), draw.range(0.06, 0.2)],
            cupping: if draw.chance(0.4) { draw.range(-0.08, 0.12) } else { 0.0 },
            tilt: [draw.range(-0.05, 0.05), draw.range(-0.05, 0.05)],
            ghost: [
                draw.normal() * 0.25,
                draw.normal() * 0.25,
                if draw.chance(0.15) { draw.range(0.1, 0.4) } else { 0.0 },
            ],
            window: [low, scale],
            corners,
            frame: draw.chance(0.3),
        }
    }

    /// A window for looking at bone, which then is nearly white. With an array metal stays brighter, or nobody could draw its
    /// mask; without, bone may be all white.
    pub(crate) fn set_bone_window(&mut self, draw: &mut Draw, with_array: bool) {
        let [bone, soft] = if with_array {
            [draw.range(140.0, 190.0), draw.range(15.0, 70.0)]
        } else {
            [draw.range(140.0, 340.0), draw.range(15.0, 100.0)]
        };
        let scale = (BONE - SOFT) / (bone - soft);
        self.window = [SOFT - soft * scale, scale];
        self.contact = self.contact.max(BONE * draw.range(1.4, 2.2));
    }

    /// Makes the sharpest or the blurriest scanner of it.
    pub(crate) fn set_quality(&mut self, quality: Quality) {
        let [low, scale] = self.window;
        match quality {
            Quality::Any => return,
            Quality::Clean => {
                (self.blur, self.metal.blur, self.noise) = (0.12, 0.12, scale);
                // In the middle of a large contact, 220 or more is shown.
                self.contact = self.contact.max(low + 220.0 * scale);
                self.metal.streaks *= 0.3;
            }
            Quality::Blurred => (self.blur, self.metal.blur) = (0.24, 0.42),
        }
        (self.metal.ripple[0], self.ghost[2]) = (0.0, 0.0);
    }

    /// Rounds the window to numbers that a DICOM header can hold, and leaves out what belongs to pictures of viewers.
    pub(crate) fn suit_export(&mut self) {
        self.window = [self.window[0].round(), (self.window[1] * 5.0).round() / 5.0];
        self.frame = false;
    }

    /// The grey level that a HU value is shown as, not yet cut to 0..255.
    pub(crate) fn grey(&self, hu: f32) -> f32 {
        (hu - self.window[0]) / self.window[1]
    }

    /// The HU that are shown as these grey levels.
    pub(crate) fn hu_of(&self, greys: &[f32]) -> Vec<f32> {
        greys.iter().map(|grey| self.window[0] + grey * self.window[1]).collect()
    }

    /// Blurs tissue (before metal is added).
    pub(crate) fn blur_tissue(&self, view: &View, image: &mut [f32]) {
        blur(view, image, [self.blur, self.blur]);
    }

    /// Everything that happens to tissue and metal together; HU in and out.
    pub(crate) fn degrade(&self, view: &View, image: &mut [f32], draw: &mut Draw) {
        if self.ghost[2] > 0.0 {
            self.add_ghost(view, image);
        }
        if self.sharpen[0] > 0.0 {
            let mut smooth = image.to_vec();
            blur(view, &mut smooth, [self.sharpen[1]; 2]);
            for (pixel, smooth) in image.iter_mut().zip(smooth) {
                *pixel += self.sharpen[0] * (*pixel - smooth).clamp(-1500.0, 1500.0);
            }
        }
        let mut noise: Vec<f32> = (0..image.len()).map(|_| draw.normal()).collect();
        blur(view, &mut noise, self.grain);
        let power: f32 = noise.iter().map(|n| n * n).sum::<f32>() / noise.len().max(1) as f32;
        let gain = self.noise / power.sqrt().max(1e-6);
        for row in 0..view.rows {
            for column in 0..view.columns {
                let i = row * view.columns + column;
                let [x, y] = from_centre(view, column, row);
                let drift = 1.0 + self.cupping * (x * x + y * y) * 2.0 + self.tilt[0] * x + self.tilt[1] * y;
                image[i] = (image[i] + 1000.0) * drift - 1000.0 + noise[i] * gain;
            }
        }
    }

    /// Blackens what lies outside of the reconstructed volume and draws the frame; `lowest` is the padding value.
    pub(crate) fn cut(&self, view: &View, image: &mut [f32], lowest: f32) {
        for row in 0..view.rows {
            for column in 0..view.columns {
                let [x, y] = from_centre(view, column, row);
                let pixel = &mut image[row * view.columns + column];
                if self.corners.iter().any(|[a, b, beyond]| a * x + b * y > *beyond) {
                    *pixel = lowest;
                } else if self.frame && (row == 0 || row + 1 == view.rows) {
                    *pixel += (self.window[0] + 105.0 * self.window[1] - *pixel) * 0.6;
                }
            }
        }
    }

    fn add_ghost(&self, view: &View, image: &mut [f32]) {
        let dx = (self.ghost[0] / view.spacing[1]).round() as i64;
        let dy = (self.ghost[1] / view.spacing[0]).round() as i64;
        let source = image.to_vec();
        for row in 0..view.rows {
            let from = (row as i64 + dy).clamp(0, view.rows as i64 - 1) as usize;
            for column in 0..view.columns {
                let across = (column as i64 + dx).clamp(0, view.columns as i64 - 1) as usize;
                let i = row * view.columns + column;
                image[i] += self.ghost[2] * (source[from * view.columns + across] - image[i]);
            }
        }
    }
}

fn metal_look(draw: &mut Draw, blur: f32) -> MetalLook {
    let ripple = if draw.chance(0.4) { draw.range(0.02, 0.15) } else { 0.0 };
    MetalLook {
        // Some arrays melt into a band.
        blur: if draw.chance(0.25) { draw.range(0.24, 0.42) } else { blur },
        ripple: [ripple, draw.range(0.6, 1.5)],
        platinum: draw.log_range(0.02, 0.25),
        views: 120 + draw.below(80),
        scatter: draw.log_range(0.005, 0.1),
        starved: draw.log_range(0.0005, 0.012),
        direction: [draw.range(0.0, std::f32::consts::PI), draw.range(0.0, 0.9)],
        streaks: if draw.chance(0.85) { draw.log_range(0.015, 0.4) } else { 0.0 },
    }
}

/// Place in the picture, -0.5 to 0.5 in each direction: column, row.
fn from_centre(view: &View, column: usize, row: usize) -> [f32; 2] {
    [(column as f32 + 0.5) / view.columns as f32 - 0.5, (row as f32 + 0.5) / view.rows as f32 - 0.5]
}

/// Gaussian blur, sigma in mm along columns (x) and rows (y).
fn blur(view: &View, image: &mut [f32], sigma: [f32; 2]) {
    let across = kernel(sigma[0] / view.spacing[1]);
    let down = kernel(sigma[1] / view.spacing[0]);
    let (width, height) = (view.columns, view.rows);
    let mut middle = vec![0.0; image.len()];
    let half = across.len() / 2;
    let mut padded = vec![0.0; width + 2 * half];
    for (source, target) in image.chunks_exact(width).zip(middle.chunks_exact_mut(width)) {
        padded[..half].fill(source[0]);
        padded[half..half + width].copy_from_slice(source);
        padded[half + width..].fill(source[width - 1]);
        for (k, weight) in across.iter().enumerate() {
            for (t, s) in target.iter_mut().zip(&padded[k..k + width]) {
                *t += weight * s;
            }
        }
    }
    let half = down.len() / 2;
    image.fill(0.0);
    for row in 0..height {
        let target = &mut image[row * width..(row + 1) * width];
        for (k, weight) in down.iter().enumerate() {
            let from = (row + k).saturating_sub(half).min(height - 1);
            for (t, s) in target.iter_mut().zip(&middle[from * width..(from + 1) * width]) {
                *t += weight * s;
            }
        }
    }
}

/// Weights of a Gaussian with this sigma in pixels; odd length, sum 1.
fn kernel(sigma: f32) -> Vec<f32> {
    let sigma = sigma.clamp(0.05, 20.0);
    let half = (sigma * 2.8).ceil() as i32;
    let weights: Vec<f32> =
        (-half..=half).map(|i| libm::expf(-0.5 * (i as f32 / sigma) * (i as f32 / sigma))).collect();
    let sum: f32 = weights.iter().sum();
    weights.into_iter().map(|w| w / sum).collect()
}
