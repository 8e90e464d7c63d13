//! Where the numbers are crunched.

use std::fmt;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// How OpenMP's threads wait.
const WAIT_POLICY: &str = "OMP_WAIT_POLICY";

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

/// Lets libtorch's OpenMP threads sleep while they wait: by itself they spin, which costs several times the work on a busy
/// machine. The library reads this when it is loaded, before any `main`, so that the process replaces itself once. A policy
/// that the environment names is left alone.
pub fn wait_passively() {
    if std::env::var_os(WAIT_POLICY).is_some() {
        return;
    }
    let Ok(program) = std::env::current_exe() else { return };
    // Returns only if it fails; then the threads spin, and all else is as it should be.
    let error = Command::new(program).args(std::env::args_os().skip(1)).env(WAIT_POLICY, "passive").exec();
    eprintln!("libtorch's threads will spin while they wait: the program can't be started again: {error}");
}
