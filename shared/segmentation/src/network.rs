//! The networks: U-Nets from `plan.network`, in one file.
//!
//! A U-Net (Ronneberger et al. 2015, arXiv:1505.04597) halves the grid `levels` times and doubles its features each time, up to
//! sixteenfold;
//! on the way back it doubles the grid (nearest neighbour), sets the features of the way down beside and convolves again.
//! All convolutions are 3 x 3 and keep the grid; a last 1 x 1 gives one logit per pixel. Input [N, 1, Rows, Columns] with
//! values 0 to 1, output the same shape; Rows and Columns are multiples of 2^levels.

use std::collections::BTreeMap;

use modiolus_pipeline::{Plan, plan};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use tch::{Kind, Tensor};

use crate::{Device, Error, data};

/// The momentum of the running mean and variance of batch normalisation.
const NORM_MOMENTUM: f64 = 0.1;
const NORM_EPSILON: f64 = 1e-5;

/// Beyond this level features don't double any more: deep levels say where, and few numbers suffice for that.
const MOST_DOUBLINGS: u32 = 4;

/// What makes one network differ from another.
#[derive(Debug, Clone, Copy)]
struct Shape {
    levels: u32,
    features: i64,
    convolutions: u32,
    normalised: bool,
}

impl Shape {
    fn of(network: &plan::Network) -> Self {
        match *network {
            plan::Network::OneLevelUnet { features } => {
                Self { levels: 1, features: features.into(), convolutions: 1, normalised: false }
            }
            plan::Network::Unet { levels, features } => {
                Self { levels, features: features.into(), convolutions: 2, normalised: true }
            }
        }
    }

    fn features_at(self, level: u32) -> i64 {
        self.features << level.min(MOST_DOUBLINGS)
    }

    /// The levels whose way up ends in a head of its own while training; the deepest has no way up.
    fn deep_levels(self) -> std::ops::Range<u32> {
        1..if self.normalised { self.levels } else { 1 }
    }

    /// The stages in the order of the forward pass: name, input features, output features.
    fn stages(self) -> Vec<(String, i64, i64)> {
        let down = (0..=self.levels).map(|level| {
            let input = if level == 0 { 1 } else { self.features_at(level - 1) };
            (format!("down.{level}"), input, self.features_at(level))
        });
        let up = (0..self.levels).rev().map(|level| {
            let beside = self.features_at(level) + self.features_at(level + 1);
            (format!("up.{level}"), beside, self.features_at(level))
        });
        down.chain(up).collect()
    }
}

/// What a tensor of a network is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A convolution's kernel: output features, input features, 3, 3.
    Kernel,
    /// Added to each feature, 0 at first.
    Bias,
    /// Each feature's factor after normalisation, 1 at first.
    Scale,
    /// The running mean of each feature.
    Mean,
    /// The running variance of each feature.
    Variance,
}

/// A tensor's name, shape and role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its name in files.
    pub name: String,
    /// Its shape.
    pub shape: Vec<i64>,
    /// Its role.
    pub role: Role,
}

impl Part {
    /// How many numbers it holds.
    pub fn len(&self) -> usize {
        self.shape.iter().product::<i64>() as usize
    }

    /// Never: every part holds at least one number.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether training changes it by its gradient.
    pub fn is_trained(&self) -> bool {
        !matches!(self.role, Role::Mean | Role::Variance)
    }
}

/// The parts of a network in the order in which the forward pass uses them.
pub fn parts(network: &plan::Network) -> Vec<Part> {
    let shape = Shape::of(network);
    let mut parts = Vec::new();
    let mut add = |name: String, shape: Vec<i64>, role| parts.push(Part { name, shape, role });
    for (stage, input, output) in shape.stages() {
        for index in 0..shape.convolutions {
            let input = if index == 0 { input } else { output };
            add(format!("{stage}.{index}.kernel"), vec![output, input, 3, 3], Role::Kernel);
            if shape.normalised {
                add(format!("{stage}.{index}.scale"), vec![output], Role::Scale);
                add(format!("{stage}.{index}.bias"), vec![output], Role::Bias);
                add(format!("{stage}.{index}.mean"), vec![output], Role::Mean);
                add(format!("{stage}.{index}.variance"), vec![output], Role::Variance);
            } else {
                add(format!("{stage}.{index}.bias"), vec![output], Role::Bias);
            }
        }
    }
    add("head.kernel".into(), vec![1, shape.features, 1, 1], Role::Kernel);
    add("head.bias".into(), vec![1], Role::Bias);
    for level in shape.deep_levels() {
        add(format!("deep.{level}.kernel"), vec![1, shape.features_at(level), 1, 1], Role::Kernel);
        add(format!("deep.{level}.bias"), vec![1], Role::Bias);
    }
    parts
}

/// Numbers by the names of their parts, in libtorch's default (row-major) order.
pub type Weights = BTreeMap<String, Vec<f32>>;

/// How many pixels around a pixel can change what is said of it, rounded up to a multiple of 2^levels.
pub fn reach(network: &plan::Network) -> usize {
    let shape = Shape::of(network);
    let per_stage = shape.convolutions as usize;
    let walked: usize = (0..shape.levels).map(|level| (2 * per_stage) << level).sum();
    // Pooling and its undoing look up to 2^levels further.
    let radius = walked + (per_stage << shape.levels) + (1 << shape.levels);
    radius.next_multiple_of(1 << shape.levels)
}

/// About how many floats per pixel of the full grid a forward pass holds at its peak: the last stage, whose input is the
/// concatenation of three times the features.
pub fn floats_to_predict(network: &plan::Network) -> u64 {
    10 * Shape::of(network).features as u64
}

/// About how many floats per pixel of the full grid a training step holds: every stage's input, and per convolution its
/// output before and after normalisation with a gradient each.
pub fn floats_to_train(network: &plan::Network) -> u64 {
    let shape = Shape::of(network);
    let per_convolution = if shape.normalised { 4 } else { 3 };
    let stage = |(level, input, output): (u32, i64, i64)| {
        (2 * input + per_convolution * i64::from(shape.convolutions) * output) as u64 >> (2 * level)
    };
    let down = (0..=shape.levels).map(|level| (level, shape.features_at(level), shape.features_at(level)));
    let up = (0..shape.levels).map(|level| (level, 3 * shape.features_at(level), shape.features_at(level)));
    down.chain(up).map(stage).sum()
}

/// A network on a device.
#[derive(Debug)]
pub struct Network {
    shape: Shape,
    device: Device,
    parts: Vec<(Part, Tensor)>,
}

impl Network {
    /// A network with random weights that follow from the plan's seed alone (He et al. 2015, arXiv:1502.01852, uniform).
    ///
    /// # Errors
    /// When the device has no room.
    pub fn seeded(plan: &Plan, device: Device) -> Result<Self, Error> {
        let mut random = data::random(plan.seed, "weights", &[]);
        let mut weights = Weights::new();
        for part in parts(&plan.network) {
            weights.insert(part.name.clone(), first_values(&part, &mut random));
        }
        Self::with_weights(&plan.network, &weights, device)
    }

    /// A network with these weights.
    ///
    /// # Errors
    /// When a part is missing or has another number of values, naming it; when the device has no room.
    pub fn with_weights(network: &plan::Network, weights: &Weights, device: Device) -> Result<Self, Error> {
        let tensor = |part: Part| {
            let values = weights.get(&part.name).filter(|values| values.len() == part.len());
            let why = || format!("{} is missing or has another shape", part.name);
            let values = values.ok_or_else(|| Error::File { what: "the model", why: why() })?;
            let tensor = to_tensor(values, &part, device)?.f_set_requires_grad(part.is_trained())?;
            Ok((part, tensor))
        };
        let parts = parts(network).into_iter().map(tensor).collect::<Result<_, Error>>()?;
        Ok(Self { shape: Shape::of(network), device, parts })
    }

    /// The weights as plain numbers.
    ///
    /// # Errors
    /// Those of libtorch.
    pub fn weights(&self) -> Result<Weights, Error> {
        self.parts.iter().map(|(part, tensor)| Ok((part.name.clone(), to_values(tensor)?))).collect()
    }

    /// The device it is on.
    pub fn device(&self) -> Device {
        self.device
    }

    /// The parts that training changes by their gradients.
    pub(crate) fn trained(&mut self) -> impl Iterator<Item = &mut (Part, Tensor)> {
        self.parts.iter_mut().filter(|(part, _)| part.is_trained())
    }

    /// Logits of pictures, both [N, 1, Rows, Columns]. While `training`, the batch's own mean and variance normalise and move
    /// the running ones.
    ///
    /// # Errors
    /// Those of libtorch (no memory, a grid that can't be halved `levels` times).
    pub fn forward(&self, pictures: &Tensor, training: bool) -> Result<Tensor, Error> {
        Ok(self.outputs(pictures, training, false)?.0)
    }

    /// As [`Network::forward`], and the logits on each coarser grid, halved once, twice and so on (deep supervision, Lee et
    /// al. 2015, arXiv:1409.5185): they teach the deep levels directly where an array is.
    ///
    /// # Errors
    /// As [`Network::forward`].
    pub fn forward_deep(&self, pictures: &Tensor, training: bool) -> Result<(Tensor, Vec<Tensor>), Error> {
        self.outputs(pictures, training, true)
    }

    fn outputs(&self, pictures: &Tensor, training: bool, deep: bool) -> Result<(Tensor, Vec<Tensor>), Error> {
        let mut tensors = self.parts.iter().map(|(_, tensor)| tensor);
        let mut beside = Vec::new();
        let mut coarse = Vec::new();
        let mut x = pictures.shallow_clone();
        for level in 0..=self.shape.levels {
            if level > 0 {
                beside.push(x.shallow_clone());
                x = x.f_max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false)?;
            }
            x = self.stage(Input::Grid(x), &mut tensors, training)?;
        }
        while let Some(beside) = beside.pop() {
            x = self.stage(Input::Doubled { coarse: x, beside }, &mut tensors, training)?;
            coarse.push(x.shallow_clone());
        }
        let logits = head(&x, &mut tensors)?;
        // From fine to coarse, as the heads are; the first is the full grid's, which has its logits.
        let coarse = coarse.iter().rev().skip(1).filter(|_| deep);
        let coarse = coarse.map(|x| head(x, &mut tensors)).collect::<Result<_, Error>>()?;
        Ok((logits, coarse))
    }

    fn stage<'a>(
        &self,
        mut x: Input,
        tensors: &mut impl Iterator<Item = &'a Tensor>,
        training: bool,
    ) -> Result<Tensor, Error> {
        for _ in 0..self.shape.convolutions {
            let kernel = next(tensors);
            let convolved = if self.shape.normalised {
                let [scale, bias, mean, variance] = std::array::from_fn(|_| Some(next(tensors)));
                let features = x.convolve(kernel, None)?;
                features
                    .f_batch_norm(scale, bias, mean, variance, training, NORM_MOMENTUM, NORM_EPSILON, true)?
                    .f_leaky_relu_()?
            } else {
                x.convolve(kernel, Some(next(tensors)))?.f_relu_()?
            };
            x = Input::Grid(convolved);
        }
        match x {
            Input::Grid(x) => Ok(x),
            Input::Doubled { .. } => unreachable!("each stage convolves at least once"),
        }
    }
}

/// What a 3 x 3 convolution reads.
enum Input {
    Grid(Tensor),
    /// A coarse grid to be doubled (nearest neighbour), and the features that are set beside it.
    Doubled {
        coarse: Tensor,
        beside: Tensor,
    },
}

impl Input {
    fn convolve(&self, kernel: &Tensor, bias: Option<&Tensor>) -> Result<Tensor, Error> {
        let over = |x: &Tensor, kernel: &Tensor| x.f_conv2d(kernel, bias, [1, 1], [1, 1], [1, 1], 1);
        match self {
            Self::Grid(x) => Ok(over(x, kernel)?),
            Self::Doubled { coarse, beside } => {
                let kernels = kernel.f_split_with_sizes([coarse.size()[1], beside.size()[1]], 1)?;
                Ok(over(beside, &kernels[1])?.f_add_(&convolve_doubled(coarse, &kernels[0])?)?)
            }
        }
    }
}

/// A 3 x 3 convolution of a grid doubled by nearest neighbour, without the doubled grid: of the nine pixels there that a pixel
/// sees, some are the same, and 2 x 2 different ones are left. So each of the four pixels that come of a coarse one is a
/// 2 x 2 convolution on the coarse grid: the same function with 4 products instead of 9, and less memory.
fn convolve_doubled(coarse: &Tensor, kernel: &Tensor) -> Result<Tensor, Error> {
    let (rows, columns, outputs) = (coarse.size()[2], coarse.size()[3], kernel.size()[0]);
    // Which of the three taps along an axis meet which of the two coarse pixels, for the first and the second fine one.
    let meet = [[[1.0_f32, 0.0, 0.0], [0.0, 1.0, 1.0]], [[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]];
    let meet = Tensor::f_from_slice(meet.as_flattened().as_flattened())?.f_reshape([2, 2, 3])?;
    let meet = meet.f_to_device(coarse.device())?;
    let kernels = Tensor::f_einsum("aip,bjq,ocpq->abocij", &[&meet, &meet, kernel], None::<&[i64]>)?;
    let kernels = kernels.f_reshape([4 * outputs, -1, 2, 2])?;
    let all = coarse.f_conv2d::<&Tensor>(&kernels, None, [1, 1], [1, 1], [1, 1], 1)?;
    let fine = |row: i64, column: i64| {
        let features = all.f_narrow(1, (2 * row + column) * outputs, outputs)?;
        features.f_narrow(2, row, rows)?.f_narrow(3, column, columns)?.f_permute([0, 2, 3, 1])
    };
    // Put together with the features innermost, as all grids lie in memory here.
    let line = |row: i64| Tensor::f_stack(&[fine(row, 0)?, fine(row, 1)?], 3);
    let doubled = Tensor::f_stack(&[line(0)?, line(1)?], 2)?;
    Ok(doubled.f_reshape([-1, 2 * rows, 2 * columns, outputs])?.f_permute([0, 3, 1, 2])?)
}

/// A logit per pixel.
fn head<'a>(x: &Tensor, tensors: &mut impl Iterator<Item = &'a Tensor>) -> Result<Tensor, Error> {
    let (kernel, bias) = (next(tensors), next(tensors));
    Ok(x.f_conv2d(kernel, Some(bias), [1, 1], [0, 0], [1, 1], 1)?)
}

fn next<'a>(tensors: &mut impl Iterator<Item = &'a Tensor>) -> &'a Tensor {
    tensors.next().expect("parts() lists what forward() uses")
}

fn first_values(part: &Part, random: &mut ChaCha8Rng) -> Vec<f32> {
    match part.role {
        Role::Bias | Role::Mean => vec![0.0; part.len()],
        Role::Scale | Role::Variance => vec![1.0; part.len()],
        Role::Kernel => {
            let inputs = part.shape[1..].iter().product::<i64>() as f32;
            let bound = (6.0 / inputs).sqrt();
            (0..part.len()).map(|_| random.random_range(-bound..bound)).collect()
        }
    }
}

/// A part's tensor. Kernels lie in memory with the features innermost, which is what CPUs and GPUs convolve fastest.
pub(crate) fn to_tensor(values: &[f32], part: &Part, device: Device) -> Result<Tensor, Error> {
    let tensor = Tensor::f_from_slice(values)?.f_reshape(&part.shape)?.f_to_device(device.0)?;
    if part.role != Role::Kernel {
        return Ok(tensor);
    }
    Ok(tensor.f_permute([0, 2, 3, 1])?.f_contiguous()?.f_permute([0, 3, 1, 2])?)
}

pub(crate) fn to_values(tensor: &Tensor) -> Result<Vec<f32>, Error> {
    let flat = tensor.f_detach()?.f_to_device(tch::Device::Cpu)?.f_to_kind(Kind::Float)?.f_reshape([-1])?;
    let mut values = vec![0.0; flat.numel()];
    flat.f_copy_data(&mut values, flat.numel())?;
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_has_its_published_layers() {
        let shapes: Vec<_> =
            parts(&plan::Network::OneLevelUnet { features: 64 }).into_iter().map(|p| p.shape).collect();
        let kernels: Vec<_> = shapes.into_iter().filter(|shape| shape.len() == 4).collect();
        assert_eq!(kernels, [[64, 1, 3, 3], [128, 64, 3, 3], [64, 192, 3, 3], [1, 64, 1, 1]]);
    }

    #[test]
    fn the_default_network_fits_a_small_file() {
        let numbers: usize = parts(&Plan::default().network).iter().map(Part::len).sum();
        assert!(numbers * 4 < 5_000_000, "{numbers} numbers");
    }

    #[test]
    fn weights_follow_from_the_seed_and_survive_the_way_through_libtorch() {
        let plan = Plan::default();
        let weights = Network::seeded(&plan, Device::CPU).unwrap().weights().unwrap();
        assert_eq!(Network::seeded(&plan, Device::CPU).unwrap().weights().unwrap(), weights);
        assert_ne!(
            Network::seeded(&Plan { seed: 1, ..plan.clone() }, Device::CPU).unwrap().weights().unwrap(),
            weights
        );
        let again = Network::with_weights(&plan.network, &weights, Device::CPU).unwrap();
        assert_eq!(again.weights().unwrap(), weights);
    }

    #[test]
    fn a_doubled_grid_need_not_be_made_to_be_convolved() {
        let waves = |shape: [i64; 4]| {
            let count: i64 = shape.iter().product();
            (Tensor::arange(count, (Kind::Float, tch::Device::Cpu)) * 1.7).sin().reshape(shape)
        };
        let (coarse, beside, kernel) = (waves([2, 3, 5, 7]), waves([2, 4, 10, 14]), waves([6, 7, 3, 3]));
        let bias = waves([6, 1, 1, 1]).reshape([6]);
        let doubled =
            Tensor::cat(&[coarse.upsample_nearest2d([10, 14], None, None), beside.shallow_clone()], 1);
        let wanted = doubled.conv2d(&kernel, Some(&bias), [1, 1], [1, 1], [1, 1], 1);
        let found = Input::Doubled { coarse, beside }.convolve(&kernel, Some(&bias)).unwrap();
        assert_eq!(found.size(), wanted.size());
        assert!((found - wanted).abs().max().double_value(&[]) < 1e-4);
    }

    #[test]
    fn a_pixel_beyond_reach_changes_nothing() {
        for network in
            [plan::Network::OneLevelUnet { features: 4 }, plan::Network::Unet { levels: 3, features: 4 }]
        {
            let plan = Plan { network, ..Plan::default() };
            let net = Network::seeded(&plan, Device::CPU).unwrap();
            let (reach, side) = (reach(&plan.network), 256_usize);
            let mut picture = vec![0.5_f32; side * side];
            let run = |values: &[f32]| {
                let input = Tensor::from_slice(values).reshape([1, 1, side as i64, side as i64]);
                tch::no_grad(|| to_values(&net.forward(&input, false).unwrap()).unwrap())
            };
            let before = run(&picture);
            let centre = 128 * side + 128;
            picture[centre] = 1.0;
            let after = run(&picture);
            let moved = |at: usize| before[at] != after[at];
            assert!(moved(centre));
            let distance = |at: usize| (at / side).abs_diff(128).max((at % side).abs_diff(128));
            let furthest = (0..side * side).filter(|&at| moved(at)).map(distance).max().unwrap();
            assert!(furthest <= reach, "{furthest} > {reach}");
            assert!(2 * furthest > reach / 2, "{reach} is far more than {furthest}");
        }
    }
}
