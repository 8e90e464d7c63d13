//! A Garage server for tests: the real program, on free ports, in a temporary folder, gone with its value.
//!
//! `deploy/garage` builds the program. Where it is missing, [`Garage::start`] says so and gives `None`: the test skips.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use modiolus_pipeline::Bucket;
use tempfile::TempDir;

use crate::S3Options;

const VERSION: &str = "2.5.0";

/// How long a server may take until it serves.
const START: Duration = Duration::from_secs(60);

/// What a key may do with a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rights {
    /// Get and list.
    Read,
    /// Put and delete.
    Write,
    /// Both.
    ReadWrite,
    /// Both, and change the bucket's rules.
    Own,
}

/// One server with one node.
#[derive(Debug)]
pub struct Garage {
    program: PathBuf,
    folder: TempDir,
    ports: [u16; 3],
    admin_token: String,
    access_key: String,
    secret_key: String,
    server: Option<Child>,
}

impl Garage {
    /// The program: the one that `MODIOLUS_GARAGE` names, or that `deploy/garage` built.
    ///
    /// # Panics
    /// When `MODIOLUS_GARAGE` names no file.
    pub fn program() -> Option<PathBuf> {
        if let Some(named) = std::env::var_os("MODIOLUS_GARAGE").filter(|named| !named.is_empty()) {
            let named = PathBuf::from(named);
            assert!(named.is_file(), "MODIOLUS_GARAGE={} is no program", named.display());
            return Some(named);
        }
        let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
        let cache = std::env::var_os("XDG_CACHE_HOME").filter(|cache| !cache.is_empty()).map(PathBuf::from);
        let built = cache.or_else(home)?.join(format!("modiolus/garage-{VERSION}/bin/garage"));
        built.is_file().then_some(built)
    }

    /// A server that serves, with all buckets and a key that owns them. Nothing is flushed to the disk.
    ///
    /// # Panics
    /// When it doesn't start.
    pub fn start() -> Option<Self> {
        Self::start_with(false)
    }

    /// The same, with everything flushed to the disk, as clusters should have it.
    ///
    /// # Panics
    /// When it doesn't start.
    pub fn start_durable() -> Option<Self> {
        Self::start_with(true)
    }

    fn start_with(is_durable: bool) -> Option<Self> {
        let Some(program) = Self::program() else {
            eprintln!("SKIPPED: no Garage server on this machine; deploy/garage builds one");
            return None;
        };
        // Somebody may take a port between its choice and its use.
        let garage = (0..3).find_map(|_| Self::try_start(&program, is_durable).ok());
        let garage = garage.unwrap_or_else(|| match Self::try_start(&program, is_durable) {
            Ok(garage) => garage,
            Err(log) => panic!("Garage did not start; the end of its log:\n{log}"),
        });
        for bucket in Bucket::ALL {
            garage.admin(&["bucket", "create", &garage.options().bucket_name(bucket)]);
        }
        let all = Bucket::ALL.map(|bucket| (bucket, Rights::Own));
        garage.allow(&garage.access_key, &all);
        Some(garage)
    }

    fn try_start(program: &std::path::Path, is_durable: bool) -> Result<Self, String> {
        let folder = tempfile::Builder::new().prefix("garage-").tempdir().expect("a temporary folder");
        let ports = free_ports();
        let admin_token = random_hex(64);
        let configuration = configuration(&folder, ports, &admin_token, is_durable);
        std::fs::write(folder.path().join("garage.toml"), configuration).expect("a configuration");
        let mut garage = Self {
            program: program.to_owned(),
            folder,
            ports,
            admin_token,
            access_key: format!("GK{}", random_hex(24)),
            secret_key: random_hex(64),
            server: None,
        };
        garage.serve().map(|()| garage)
    }

    /// How an [`S3Store`](crate::S3Store) gets in, as the owner of all buckets.
    pub fn options(&self) -> S3Options {
        let endpoint = format!("http://127.0.0.1:{}", self.ports[0]);
        S3Options::new(endpoint, &self.access_key, self.secret_key.as_str())
    }

    /// The administrators' interface: its address, and the token that opens it.
    pub fn administration(&self) -> (String, &str) {
        (format!("http://127.0.0.1:{}", self.ports[2]), &self.admin_token)
    }

    /// A new key with these rights, and how to get in with it.
    pub fn make_key(&self, name: &str, rights: &[(Bucket, Rights)]) -> S3Options {
        let (id, secret) = (format!("GK{}", random_hex(24)), random_hex(64));
        self.admin(&["key", "import", &id, &secret, "--yes", "-n", name]);
        self.allow(&id, rights);
        S3Options { access_key: id, secret_key: secret.into(), ..self.options() }
    }

    fn allow(&self, key: &str, rights: &[(Bucket, Rights)]) {
        for (bucket, rights) in rights {
            let flags: &[&str] = match rights {
                Rights::Read => &["--read"],
                Rights::Write => &["--write"],
                Rights::ReadWrite => &["--read", "--write"],
                Rights::Own => &["--read", "--write", "--owner"],
            };
            let bucket = self.options().bucket_name(*bucket);
            self.admin(&[&["bucket", "allow"], flags, &["--key", key, &bucket]].concat());
        }
    }

    /// What Garage's own tool says.
    ///
    /// # Panics
    /// When it fails.
    pub fn admin(&self, arguments: &[&str]) -> String {
        let done = self.command().args(arguments).output().expect("Garage's tool runs");
        let errors = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "garage {}: {errors}", arguments.join(" "));
        String::from_utf8_lossy(&done.stdout).into_owned()
    }

    /// Ends the server at once, as a loss of power would.
    pub fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().expect("our own process can be killed");
            server.wait().expect("our own process can be waited for");
        }
    }

    /// Serves again what it served before [`Self::kill`], at the same address.
    ///
    /// # Panics
    /// When it doesn't start.
    pub fn start_again(&mut self) {
        if let Err(log) = self.serve() {
            panic!("Garage did not start again; the end of its log:\n{log}");
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg("-c")
            .arg(self.folder.path().join("garage.toml"))
            .stdin(Stdio::null())
            .env_remove("RUST_LOG");
        command
    }

    fn serve(&mut self) -> Result<(), String> {
        let mut command = self.command();
        command.args(["server", "--single-node", "--default-access-key"]);
        command.env("GARAGE_DEFAULT_ACCESS_KEY", &self.access_key);
        command.env("GARAGE_DEFAULT_SECRET_KEY", &self.secret_key);
        let server = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let server = self.server.insert(server.map_err(|error| error.to_string())?);
        let log = follow(server.stderr.take().expect("its errors are piped"));
        // It says so just before it does; the others, which its own tool and the administrators use, may come later.
        let served = wait_for(&log, "S3 API server listening")
            .and_then(|()| self.ports.into_iter().try_for_each(wait_to_connect));
        if served.is_err() {
            self.kill();
        }
        served
    }
}

impl Drop for Garage {
    fn drop(&mut self) {
        self.kill();
    }
}

fn wait_to_connect(port: u16) -> Result<(), String> {
    let deadline = Instant::now() + START;
    while let Err(error) = TcpStream::connect(("127.0.0.1", port)) {
        if Instant::now() > deadline {
            return Err(format!("nobody listens at port {port} within {START:?}: {error}"));
        }
        std::thread::yield_now();
    }
    Ok(())
}

fn configuration(
    folder: &TempDir,
    [s3, rpc, admin]: [u16; 3],
    admin_token: &str,
    is_durable: bool,
) -> String {
    let folder = folder.path().display();
    format!(
        r#"metadata_dir = "{folder}/meta"
data_dir = "{folder}/data"
db_engine = "lmdb"
lmdb_map_size = "1G"
metadata_fsync = {is_durable}
data_fsync = {is_durable}
replication_factor = 1
rpc_bind_addr = "127.0.0.1:{rpc}"
rpc_public_addr = "127.0.0.1:{rpc}"
rpc_secret = "{secret}"
[s3_api]
s3_region = "garage"
api_bind_addr = "127.0.0.1:{s3}"
[admin]
api_bind_addr = "127.0.0.1:{admin}"
admin_token = "{admin_token}"
"#,
        secret = random_hex(64)
    )
}

/// All are held until all are known.
fn free_ports() -> [u16; 3] {
    let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    listeners.map(|listener| listener.local_addr().expect("an address").port())
}

fn random_hex(digits: usize) -> String {
    let random = || format!("{:016x}", RandomState::new().hash_one(std::process::id()));
    let text: String = std::iter::repeat_with(random).take(digits.div_ceil(16)).collect();
    text[..digits].to_owned()
}

/// The lines of a log as they come; read on for ever, since a full pipe would stop the server.
fn follow(log: ChildStderr) -> Receiver<String> {
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(log).lines().map_while(Result::ok) {
            // Nobody listens any more once the server serves.
            let _ = send.send(line);
        }
    });
    receive
}

fn wait_for(log: &Receiver<String>, sign: &str) -> Result<(), String> {
    let deadline = Instant::now() + START;
    let mut last = VecDeque::new();
    let why = loop {
        match log.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) if line.contains(sign) => return Ok(()),
            Ok(line) => last.push_back(line),
            Err(RecvTimeoutError::Timeout) => break format!("nothing served within {START:?}"),
            Err(RecvTimeoutError::Disconnected) => break "it ended".to_owned(),
        }
        if last.len() > 20 {
            last.pop_front();
        }
    };
    last.push_back(why);
    Err(Vec::from(last).join("\n"))
}
