//! Where the numbers are crunched.

use std::fmt;

/// CPU, or a CUDA GPU where the libtorch in use has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device(pub(crate) tch::Device);

impl Device {
    /// The CPU.
    pub const CPU: Self = Self(tch::Device::Cpu);

    /// The first GPU if there is one, else the CPU. Say which to people: it displays itself.
    pub fn choose() -> Self {
        Self(tch::Device::cuda_if_available())
    }

    /// Whether it is a GPU.
    pub fn is_gpu(self) -> bool {
        self.0.is_cuda()
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            tch::Device::Cuda(index) => write!(f, "GPU {index} (CUDA)"),
            _ => f.write_str("CPU"),
        }
    }
}

/// How many threads libtorch uses for one operation that this thread asks for. Results are the same bit for bit only
/// for the same number.
pub fn use_threads(threads: usize) {
    let threads = i32::try_from(threads.clamp(1, 256)).unwrap_or(1);
    if tch::get_num_threads() != threads {
        tch::set_num_threads(threads);
    }
}
