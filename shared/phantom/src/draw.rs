//! Random draws that are the same on every machine: ChaCha8 and arithmetic, no system mathematics.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// A stream of random draws. Two streams of one seed are independent.
pub(crate) struct Draw(ChaCha8Rng);

impl Draw {
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        Self(rng)
    }

    pub(crate) fn bits(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// In [0, 1).
    pub(crate) fn unit(&mut self) -> f32 {
        (self.0.next_u32() >> 8) as f32 / 16_777_216.0
    }

    /// In [low, high).
    pub(crate) fn range(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// In [low, high), evenly spread over orders of magnitude; both positive.
    pub(crate) fn log_range(&mut self, low: f32, high: f32) -> f32 {
        low * libm::powf(high / low, self.unit())
    }

    pub(crate) fn chance(&mut self, probability: f32) -> bool {
        self.unit() < probability
    }

    /// In 0..count; 0 if count is 0.
    pub(crate) fn below(&mut self, count: usize) -> usize {
        ((u64::from(self.0.next_u32()) * count as u64) >> 32) as usize
    }

    /// Mean 0, standard deviation 1 (sum of four uniform draws: enough for shapes and noise, and quick).
    pub(crate) fn normal(&mut self) -> f32 {
        let a = self.0.next_u32();
        let b = self.0.next_u32();
        let sum = (a & 0xffff) + (a >> 16) + (b & 0xffff) + (b >> 16);
        (sum as f32 / 65_536.0 - 2.0) * 1.732_05
    }

    /// Each component with standard deviation `sigma`.
    pub(crate) fn jitter(&mut self, sigma: f32) -> [f32; 3] {
        [self.normal() * sigma, self.normal() * sigma, self.normal() * sigma]
    }
}
