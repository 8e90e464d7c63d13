//! How much memory this process may take: a training that can't fit is refused before it starts, by name, instead of being
//! killed in the middle.

use std::fs;
use std::path::{Path, PathBuf};

/// Bytes of main memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// What the process may take at all: the least of the machine's and its control groups' limits.
    pub most: u64,
    /// What of it nobody uses at the moment; what files are cached in counts as unused.
    pub free: u64,
}

impl Memory {
    /// What this process may take; `None` where the system doesn't say (it is no Linux).
    pub fn of_this_process() -> Option<Self> {
        Self::below(Path::new("/"))
    }

    /// As read from the files below a root.
    fn below(root: &Path) -> Option<Self> {
        let machine = fs::read_to_string(root.join("proc/meminfo")).ok()?;
        let machine =
            Self { most: field(&machine, "MemTotal:")? << 10, free: field(&machine, "MemAvailable:")? << 10 };
        let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
        let limits = groups.lines().flat_map(|line| limits(root, line));
        Some(limits.fold(machine, |least, limit| Self {
            most: least.most.min(limit.most),
            free: least.free.min(limit.free),
        }))
    }
}

/// The limits of the control group that a line of `/proc/self/cgroup` names, and of those that it lies in: both versions of Linux's
/// control groups (docs.kernel.org/admin-guide/cgroup-v2.html, cgroup-v1/memory.html).
fn limits(root: &Path, line: &str) -> Vec<Memory> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (controllers, path) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let (mount, names) = match controllers {
        "" => ("sys/fs/cgroup", ["memory.max", "memory.current", "inactive_file "]),
        "memory" => {
            let names = ["memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file "];
            ("sys/fs/cgroup/memory", names)
        }
        _ => return Vec::new(),
    };
    let mount = root.join(mount);
    let group = Path::new(path.trim_start_matches('/'));
    group.ancestors().filter_map(|group| limit(&mount.join(group), names)).collect()
}

/// The limit of one control group; `None` if it has none.
fn limit(group: &Path, [most, used, cached]: [&str; 3]) -> Option<Memory> {
    let number = |file: PathBuf| fs::read_to_string(file).ok()?.trim().parse::<u64>().ok();
    let most = number(group.join(most))?;
    let used = number(group.join(used)).unwrap_or(0);
    let cached = fs::read_to_string(group.join("memory.stat")).ok().and_then(|text| field(&text, cached));
    Some(Memory { most, free: most.saturating_sub(used.saturating_sub(cached.unwrap_or(0))) })
}

/// The number after a name at the start of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn machine(files: &[(&str, &str)]) -> Option<Memory> {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Memory::below(root.path())
    }

    const MEMINFO: (&str, &str) =
        ("proc/meminfo", "MemTotal:       16777216 kB\nMemFree: 5 kB\nMemAvailable:    8388608 kB\n");

    #[test]
    fn without_control_groups_the_machine_is_the_limit() {
        assert_eq!(machine(&[MEMINFO]), Some(Memory { most: 16 * GIB, free: 8 * GIB }));
        let unlimited = ("sys/fs/cgroup/memory.max", "max\n");
        let found = machine(&[MEMINFO, ("proc/self/cgroup", "0::/\n"), unlimited]);
        assert_eq!(found, Some(Memory { most: 16 * GIB, free: 8 * GIB }));
        assert_eq!(machine(&[]), None);
    }

    #[test]
    fn the_tightest_control_group_on_the_way_up_is_the_limit() {
        let found = machine(&[
            MEMINFO,
            ("proc/self/cgroup", "0::/pod/worker\n"),
            ("sys/fs/cgroup/pod/memory.max", "4294967296\n"),
            ("sys/fs/cgroup/pod/memory.current", "3221225472\n"),
            ("sys/fs/cgroup/pod/memory.stat", "anon 7\ninactive_file 1073741824\nactive_file 3\n"),
            ("sys/fs/cgroup/pod/worker/memory.max", "max\n"),
        ]);
        assert_eq!(found, Some(Memory { most: 4 * GIB, free: 2 * GIB }));
    }

    #[test]
    fn the_older_control_groups_count_too() {
        let found = machine(&[
            MEMINFO,
            ("proc/self/cgroup", "5:cpu:/docker/x\n4:memory:/docker/x\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "2147483648\n"),
            ("sys/fs/cgroup/memory/memory.usage_in_bytes", "1073741824\n"),
        ]);
        assert_eq!(found, Some(Memory { most: 2 * GIB, free: GIB }));
    }

    #[test]
    fn this_machine_says_what_it_has() {
        let Some(memory) = Memory::of_this_process() else { return };
        assert!(memory.free <= memory.most && memory.most > GIB / 8, "{memory:?}");
    }
}
