//! Where the numbers are crunched.

use std::collections::BTreeSet;
use std::fmt;
use std::num::NonZeroUsize;
use std::os::unix::process::CommandExt;
use std::path::Path;
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
            tch::Device::Cuda(index) => match gpu_model(Path::new("/proc/driver/nvidia/gpus")) {
                Some(model) => write!(f, "GPU {index} (CUDA, {model})"),
                None => write!(f, "GPU {index} (CUDA)"),
            },
            _ => match cores() {
                1 => f.write_str("CPU (1 thread)"),
                many => write!(f, "CPU ({many} threads)"),
            },
        }
    }
}

/// How many threads can run at once.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

/// What the machine's GPUs are called, if all are the same, as its driver lists them.
fn gpu_model(gpus: &Path) -> Option<String> {
    let model = |folder: std::fs::DirEntry| {
        let told = std::fs::read_to_string(folder.path().join("information")).ok()?;
        Some(told.lines().find_map(|line| line.strip_prefix("Model:"))?.trim().to_owned())
    };
    let mut models: BTreeSet<String> = std::fs::read_dir(gpus).ok()?.flatten().filter_map(model).collect();
    models.pop_first().filter(|_| models.is_empty())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_says_what_it_is() {
        assert!(Device::CPU.to_string().starts_with(&format!("CPU ({} thread", cores())));
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(gpu_model(folder.path()), None);
        for (gpu, model) in [("0000:01:00.0", "NVIDIA H100"), ("0000:02:00.0", "NVIDIA H100")] {
            let gpu = folder.path().join(gpu);
            std::fs::create_dir(&gpu).unwrap();
            std::fs::write(gpu.join("information"), format!("Model: \t\t {model}\nIRQ: 7\n")).unwrap();
        }
        assert_eq!(gpu_model(folder.path()).as_deref(), Some("NVIDIA H100"));
    }
}
