//! Running a program: with a deadline, its output kept, its peak memory watched.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{Read, Seek};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// No command of any scenario may take longer.
const DEADLINE: Duration = Duration::from_secs(240);

/// Between two looks at a running process.
const PAUSE: Duration = Duration::from_millis(1);

/// The program as it was built, with nothing from the environment that changes what it does.
///
/// # Panics
/// When it isn't built.
pub fn modiolus() -> Command {
    program("modiolus")
}

/// A program of ours, as [`modiolus`].
///
/// # Panics
/// When it isn't built.
pub fn program(name: &str) -> Command {
    let mut command = Command::new(path(name));
    without_influence(&mut command);
    command
}

/// `modiolus` inside a shell script, where its path is `$modiolus` and the arguments are `$1`, `$2` and so on.
pub fn shell(wrapper: &[&str], script: &str, arguments: &[&Path]) -> Command {
    let words = [wrapper, &["sh", "-euc", script, "sh"]].concat();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).args(arguments).env("modiolus", path("modiolus"));
    without_influence(&mut command);
    command
}

fn without_influence(command: &mut Command) {
    command.env_remove("MODIOLUS_KEY_FILE").env_remove("RUST_LOG").stdin(Stdio::null());
    let configured = |name: &OsString| name.as_encoded_bytes().starts_with(b"MODIOLUS__");
    for name in std::env::vars_os().map(|(name, _)| name).filter(configured) {
        command.env_remove(name);
    }
}

/// Beside the folder in which cargo puts test programs: `target/PROFILE/deps/TEST` and `target/PROFILE/modiolus`.
fn path(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    let profile = test.ancestors().nth(2).expect("a test lies in target/PROFILE/deps");
    let program = profile.join(name);
    assert!(
        program.is_file(),
        "build first: cargo build --release -p {name} --bins ({} is missing)",
        program.display()
    );
    program
}

/// A running program.
pub struct Process {
    child: Child,
    shown: String,
    stdout: File,
    stderr: File,
    started: Instant,
    peak_kib: u64,
}

/// A program that has ended.
pub struct Finished {
    /// The command, for messages.
    shown: String,
    /// How it ended.
    pub status: ExitStatus,
    /// All that it printed.
    pub stdout: String,
    /// All that it said meanwhile.
    pub stderr: String,
    /// The most memory that it held at once (VmHWM), in KiB: as far as could be seen until shortly before its end.
    pub peak_kib: u64,
}

impl Process {
    /// Starts a command.
    ///
    /// # Panics
    /// When it can't be started.
    pub fn start(command: &mut Command) -> Self {
        let (stdout, stderr) =
            (tempfile::tempfile().expect("/tmp is writable"), tempfile::tempfile().expect("as above"));
        let copy = |file: &File| file.try_clone().expect("files can be shared with a child");
        command.stdout(copy(&stdout)).stderr(copy(&stderr));
        let shown = format!("{command:?}");
        let child = command.spawn().unwrap_or_else(|error| panic!("{shown}: {error}"));
        Self { child, shown, stdout, stderr, started: Instant::now(), peak_kib: 0 }
    }

    /// Watches until `seen` says so, then true; false where the program ended before.
    pub fn watch(&mut self, mut seen: impl FnMut() -> bool) -> bool {
        while self.is_running() {
            if seen() {
                return true;
            }
            thread::sleep(PAUSE);
        }
        false
    }

    /// What it has said so far.
    pub fn said(&self) -> String {
        // At its own place: the place in the file is the program's, which goes on writing there.
        let mut bytes = vec![0; self.stderr.metadata().expect("a temporary file").len() as usize];
        self.stderr.read_exact_at(&mut bytes, 0).expect("a temporary file can be read");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Ends it as a power cut would (SIGKILL).
    pub fn kill(mut self) {
        self.child.kill().expect("a child can be killed by its parent");
        self.child.wait().expect("a killed child ends");
    }

    /// Tells it to stop (SIGTERM).
    pub fn terminate(&self) {
        let told = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(
            told.expect("kill is on every machine").success(),
            "a child can be told to stop by its parent"
        );
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it takes too long, when the program panicked (nothing may make it), or when it took a file for a terminal.
    pub fn finish(mut self) -> Finished {
        self.watch(|| false);
        let status = self.child.wait().expect("a child that has ended can be waited for");
        let (stdout, stderr) = (text(&mut self.stdout), text(&mut self.stderr));
        let Self { shown, peak_kib, .. } = self;
        assert!(!stderr.contains("panicked at"), "{shown} panicked:\n{stderr}");
        assert!(!stderr.contains('\x1b'), "{shown} writes escape sequences where no terminal is:\n{stderr}");
        Finished { shown, status, stdout, stderr, peak_kib }
    }

    fn is_running(&mut self) -> bool {
        self.peak_kib = self.peak_kib.max(peak_kib(self.child.id()));
        let running = self.child.try_wait().expect("a child can be asked").is_none();
        if running && self.started.elapsed() > DEADLINE {
            self.child.kill().expect("a child can be killed by its parent");
            panic!("{} took over {DEADLINE:?}:\n{}", self.shown, text(&mut self.stderr));
        }
        running
    }
}

/// The kernel's own record of the peak, which never goes down.
fn peak_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

fn text(file: &mut File) -> String {
    let mut bytes = Vec::new();
    file.rewind().and_then(|()| file.read_to_end(&mut bytes)).expect("a temporary file can be read");
    String::from_utf8_lossy(&bytes).into_owned()
}

impl Finished {
    /// Runs a command to its end.
    pub fn of(command: &mut Command) -> Self {
        Process::start(command).finish()
    }

    /// Runs a command that has to succeed.
    pub fn success(command: &mut Command) -> Self {
        Self::of(command).with_code(0)
    }

    /// Runs a command that has to fail with exit code 1 and say each of `words` on standard error.
    pub fn failure(command: &mut Command, words: &[&str]) -> Self {
        Self::of(command).with_code(1).saying(words)
    }

    /// Insists on an exit code.
    #[track_caller]
    pub fn with_code(self, code: i32) -> Self {
        assert_eq!(self.status.code(), Some(code), "{self}");
        self
    }

    /// Insists on words on standard error.
    #[track_caller]
    pub fn saying(self, words: &[&str]) -> Self {
        for word in words {
            assert!(self.stderr.contains(word), "{word:?} is not among what was said: {self}");
        }
        self
    }

    /// What it printed, as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("no JSON ({error}): {self}"))
    }
}

impl std::fmt::Display for Finished {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { shown, status, stdout, stderr, .. } = self;
        let start: String = stdout.chars().take(4000).collect();
        write!(f, "{shown}\n{status}\n--- stdout\n{start}\n--- stderr\n{stderr}")
    }
}
