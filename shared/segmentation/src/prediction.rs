//! From pictures to probabilities.

use std::sync::Mutex;

use modiolus_imaging::grid::{GridError, Region};
use modiolus_imaging::{Frame, Image8, Mask, Values};
use modiolus_pipeline::{Plan, plan};
use tch::Tensor;

use crate::checkpoint::ModelFile;
use crate::network::{self, Network, to_values};
use crate::{Device, Error, device, strays};

/// The memory that one picture's prediction may take, in bytes; larger pictures are cut into tiles.
const MOST_BYTES: u64 = 512 << 20;

/// A model that is ready to predict. Several threads may use it at once, each with one thread of libtorch.
#[derive(Debug)]
pub struct Predictor {
    model: ModelFile,
    device: Device,
    /// Networks that no thread uses at the moment.
    idle: Mutex<Vec<Network>>,
}

impl Predictor {
    /// The model in a file, on the device that is best.
    ///
    /// # Errors
    /// As [`ModelFile::decode`].
    pub fn load(bytes: &[u8]) -> Result<Self, Error> {
        Ok(Self::new(ModelFile::decode(bytes)?, Device::choose()))
    }

    /// A model on a device.
    pub fn new(model: ModelFile, device: Device) -> Self {
        Self { model, device, idle: Mutex::new(Vec::new()) }
    }

    /// The model's plan.
    pub fn plan(&self) -> &Plan {
        &self.model.origin.plan
    }

    /// Where it predicts.
    pub fn device(&self) -> Device {
        self.device
    }

    /// The probability of electrode for each pixel of a slice of any size, by its anatomy.
    ///
    /// # Errors
    /// As [`Predictor::predict`].
    pub fn predict_slice(&self, image: &Image8) -> Result<Values, Error> {
        let frame = Frame::of_picture(image, &self.plan().input)?;
        Ok(frame.undo_probability(&self.predict(&frame.apply(image)?)?)?)
    }

    /// The mask of a slice of any size: where its probability is over the plan's threshold.
    ///
    /// # Errors
    /// As [`Predictor::predict`].
    pub fn mask_slice(&self, image: &Image8) -> Result<Mask, Error> {
        Ok(self.threshold(&self.predict_slice(image)?))
    }

    /// Where a probability is over the plan's threshold, without what lies far from the rest.
    pub fn threshold(&self, probability: &Values) -> Mask {
        let threshold = self.plan().threshold;
        strays::without(&probability.map(|&value| f64::from(value) > threshold), probability)
    }

    /// The probability of electrode, 0 to 1, for each pixel of a picture on the network's grid.
    ///
    /// # Errors
    /// When the picture's size is not one of the plan's input; when libtorch has no memory.
    pub fn predict(&self, prepared: &Image8) -> Result<Values, Error> {
        self.check_size(prepared)?;
        let idle = self.idle.lock().map_or(None, |mut idle| idle.pop());
        let network = match idle {
            Some(network) => network,
            None => Network::with_weights(&self.plan().network, &self.model.weights, self.device)?,
        };
        let probability = self.predict_with(&network, prepared);
        if let Ok(mut idle) = self.idle.lock() {
            idle.push(network);
        }
        probability
    }

    fn check_size(&self, prepared: &Image8) -> Result<(), Error> {
        let (rows, columns) = prepared.size();
        let wanted = match self.plan().input {
            plan::Input::Fit { size } => (size as usize, size as usize),
            plan::Input::Native { multiple, .. } => {
                let multiple = multiple as usize;
                (rows.next_multiple_of(multiple), columns.next_multiple_of(multiple))
            }
        };
        match wanted == (rows, columns) {
            true => Ok(()),
            false => Err(GridError::Mismatch { wanted, found: (rows, columns) }.into()),
        }
    }

    /// Predicts tile by tile. Each tile is shown with as much around it as the network can see, so that tiles change nothing.
    fn predict_with(&self, network: &Network, prepared: &Image8) -> Result<Values, Error> {
        device::use_threads(1);
        let (rows, columns) = prepared.size();
        let reach = network::reach(&self.plan().network);
        let side = tile_side(&self.plan().network, reach);
        let mut probability = prepared.like(0.0_f32);
        for top in (0..rows).step_by(side) {
            for left in (0..columns).step_by(side) {
                let (tile_rows, tile_columns) = (side.min(rows - top), side.min(columns - left));
                let (first_row, first_column) = (top.saturating_sub(reach), left.saturating_sub(reach));
                let seen = Region {
                    row: first_row,
                    column: first_column,
                    rows: (top + tile_rows + reach).min(rows) - first_row,
                    columns: (left + tile_columns + reach).min(columns) - first_column,
                };
                let values = run(network, &prepared.crop(seen)?)?;
                for row in 0..tile_rows {
                    let from = (top - first_row + row) * seen.columns + left - first_column;
                    probability.row_mut(top + row)[left..][..tile_columns]
                        .copy_from_slice(&values[from..][..tile_columns]);
                }
            }
        }
        Ok(probability)
    }
}

/// The side of the largest tile for which memory suffices with what is around it: a multiple of every pooling's grid.
fn tile_side(network: &plan::Network, reach: usize) -> usize {
    let pixels = MOST_BYTES / (4 * network::floats_to_predict(network));
    let side = (pixels as f64).sqrt() as usize;
    (side.saturating_sub(2 * reach) / 64 * 64).max(64)
}

/// One forward pass: the probabilities, row by row.
fn run(network: &Network, picture: &Image8) -> Result<Vec<f32>, Error> {
    let values: Vec<f32> = picture.values().iter().map(|&grey| f32::from(grey) / 255.0).collect();
    let shape = [1, 1, picture.rows() as i64, picture.columns() as i64];
    tch::no_grad(|| {
        let input = Tensor::f_from_slice(&values)?.f_reshape(shape)?.f_to_device(network.device().0)?;
        to_values(&network.forward(&input, false)?.f_sigmoid()?)
    })
}

#[cfg(test)]
mod tests {
    use modiolus_imaging::Grid;
    use modiolus_pipeline::plan::Network as Architecture;
    use rayon::prelude::*;

    use super::*;
    use crate::Origin;

    /// A predictor with so many features that memory allows tiles of 192 pixels only.
    fn predictor(features: u32) -> Predictor {
        let plan = Plan { network: Architecture::Unet { levels: 1, features }, ..Plan::default() };
        let weights = Network::seeded(&plan, Device::CPU).unwrap().weights().unwrap();
        Predictor::new(ModelFile { origin: Origin::new(plan, 0, None), weights }, Device::CPU)
    }

    fn picture(rows: usize, columns: usize) -> Image8 {
        Grid::from_fn(rows, columns, |row, column| ((row * 7919 + column * 104_729) % 251) as u8).unwrap()
    }

    #[test]
    fn tiles_change_nothing() {
        let (predictor, picture) = (predictor(4), picture(2080, 1312));
        let side = tile_side(&predictor.plan().network, network::reach(&predictor.plan().network));
        assert!(side < 2080, "{side}");
        let whole = run(
            &Network::with_weights(&predictor.plan().network, &predictor.model.weights, Device::CPU).unwrap(),
            &picture,
        );
        let tiled = predictor.predict(&picture).unwrap();
        let furthest =
            whole.unwrap().iter().zip(tiled.values()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(furthest < 1e-5, "{furthest}");
    }

    #[test]
    fn a_tile_and_what_is_around_it_fit_into_the_memory() {
        for features in [4, 16, 64, 256] {
            let network = Architecture::Unet { levels: 3, features };
            let side = (tile_side(&network, network::reach(&network)) + 2 * network::reach(&network)) as u64;
            assert!(
                side * side * 4 * network::floats_to_predict(&network) <= MOST_BYTES,
                "{features} features"
            );
        }
    }

    #[test]
    fn threads_share_a_predictor_and_agree() {
        let predictor = predictor(4);
        let picture = picture(64, 96);
        let all: Vec<Values> = (0..8).into_par_iter().map(|_| predictor.predict(&picture).unwrap()).collect();
        assert!(all.iter().all(|probability| probability == &all[0]));
    }

    #[test]
    fn a_slice_of_any_size_gets_a_probability_per_pixel() {
        for (rows, columns) in [(1, 1), (16, 16), (50, 301)] {
            let probability = predictor(2).predict_slice(&picture(rows, columns)).unwrap();
            assert_eq!(probability.size(), (rows, columns));
            assert!(probability.values().iter().all(|p| (0.0..=1.0).contains(p)));
        }
        assert!(predictor(2).predict(&picture(50, 301)).is_err());
    }
}
