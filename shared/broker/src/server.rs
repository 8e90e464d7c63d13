//! A real RabbitMQ for tests, on free ports of this machine.
//!
//! The server comes from `deploy/rabbitmq-server`, which can get it on Debian as root. Where it can't be had, tests say so
//! and skip. Starting one takes seconds, so that tests share one, also those of several processes: it runs as long as any
//! of them does, and each test has a virtual host of its own.

use std::fs::{self, File};
use std::io;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::rabbitmq::Settings;
use crate::rabbitmq::definitions::{Role, User, definitions};

/// How long a server may take to start on a busy machine.
const START: Duration = Duration::from_secs(180);

/// The pause between two looks at a server that starts.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// The virtual host that a server has from its start.
const FIRST_VHOST: &str = "modiolus";

/// A running server.
pub struct Server {
    folder: PathBuf,
    access: Access,
    life: Life,
}

/// What keeps a server running.
enum Life {
    /// A lock that all who use it hold.
    Shared { _users: File },
    /// This process.
    Own { process: Child, _folder: TempDir },
}

/// Where a server listens, and its administrator's password.
#[derive(Debug, Clone)]
struct Access {
    amqp: u16,
    amqps: u16,
    http: u16,
    password: String,
}

impl Server {
    /// The server that tests share, started when it isn't there; `None`, said on standard error, where it can't be had.
    ///
    /// # Panics
    /// When it does not start.
    pub fn shared() -> Option<Self> {
        find()?;
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/rabbitmq");
        fs::create_dir_all(&folder).expect("a folder for the server");
        let open = |name: &str| {
            File::options().create(true).append(true).open(folder.join(name)).expect("a file of the server")
        };
        let users = open("users");
        // Waits while a server that nobody used any more is stopped.
        users.lock_shared().expect("a lock");
        let starting = open("starting");
        starting.lock().expect("a lock");
        let access = read_access(&folder).unwrap_or_else(|| start_shared(&folder));
        Some(Self { folder, access, life: Life::Shared { _users: users } })
    }

    /// A server of one's own, which can be restarted and ends when it is dropped; `None` as for [`Server::shared`].
    ///
    /// # Panics
    /// When it does not start.
    pub fn own() -> Option<Self> {
        find()?;
        let folder = TempDir::new().expect("a temporary folder");
        let access = prepare(folder.path()).expect("the server's settings");
        let mut process = run(folder.path());
        access.wait_until_ready(folder.path(), &mut process);
        Some(Self { folder: folder.path().into(), access, life: Life::Own { process, _folder: folder } })
    }

    /// Kills the server in the middle of its work.
    ///
    /// # Panics
    /// When tests share it.
    pub fn kill(&mut self) {
        let Life::Own { process, .. } = &mut self.life else { panic!("others use this server, too") };
        drop(process.stdin.take());
        process.wait().expect("the end of the server");
    }

    /// Starts a killed server again, on its data and its ports.
    ///
    /// # Panics
    /// When tests share it, or it does not start.
    pub fn start(&mut self) {
        let Life::Own { process, .. } = &mut self.life else { panic!("others use this server, too") };
        *process = run(&self.folder);
        self.access.wait_until_ready(&self.folder, process);
    }

    /// The virtual host that the server has loaded at its start.
    pub fn first_vhost(&self) -> Vhost {
        Vhost {
            name: FIRST_VHOST.into(),
            folder: self.folder.clone(),
            access: self.access.clone(),
            ours: false,
        }
    }

    /// A new virtual host with everything that Modiolus needs and a user for each role; it goes when it is dropped.
    ///
    /// # Panics
    /// When the server refuses it.
    pub fn vhost(&self) -> Vhost {
        let name = format!("test-{}", random());
        let users: Vec<User> = Role::all()
            .map(|role| User { name: user_name(&name, role), password: self.access.password.clone(), role })
            .collect();
        self.access.ask("POST", "/api/definitions", Some(&definitions(&name, &users)));
        Vhost { name, folder: self.folder.clone(), access: self.access.clone(), ours: true }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Life::Own { .. } = self.life {
            self.kill();
        }
    }
}

/// A virtual host of a server.
pub struct Vhost {
    name: String,
    folder: PathBuf,
    access: Access,
    ours: bool,
}

impl Vhost {
    /// The address for one who has a role, password included.
    pub fn address(&self, role: Role) -> String {
        let (user, Access { amqp, password, .. }) = (self.user(role), &self.access);
        format!("amqp://{user}:{password}@127.0.0.1:{amqp}/{}", self.name)
    }

    /// The settings for one who has a role.
    ///
    /// # Panics
    /// Never: the address is well formed.
    pub fn settings(&self, role: Role) -> Settings {
        Settings::parse(&self.address(role)).expect("a well-formed address")
    }

    /// The same over TLS.
    pub fn tls_address(&self, role: Role) -> String {
        let (user, Access { amqps, password, .. }) = (self.user(role), &self.access);
        format!("amqps://{user}:{password}@localhost:{amqps}/{}", self.name)
    }

    /// The settings over TLS, without the certificate of its authority.
    ///
    /// # Panics
    /// Never: the address is well formed.
    pub fn tls_settings(&self, role: Role) -> Settings {
        Settings::parse(&self.tls_address(role)).expect("a well-formed address")
    }

    /// The file with the certificate of the authority that the server's certificate comes from.
    pub fn ca_file(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// The certificate (PEM) of the authority that the server's certificate comes from.
    ///
    /// # Panics
    /// When the server's folder has lost it.
    pub fn ca(&self) -> String {
        fs::read_to_string(self.ca_file()).expect("the authority's certificate")
    }

    /// Where the management interface is.
    pub fn management_address(&self) -> String {
        format!("http://127.0.0.1:{}", self.access.http)
    }

    /// What the management interface answers to a `GET` about this virtual host: `queues/filter`, `definitions`.
    ///
    /// # Panics
    /// When it answers with an error.
    pub fn get(&self, kind: &str) -> Value {
        let (kind, rest) =
            kind.split_once('/').map_or((kind, String::new()), |(kind, rest)| (kind, format!("/{rest}")));
        self.access.ask("GET", &format!("/api/{kind}/{}{rest}", self.name), None)
    }

    /// The status of what the management interface answers to one who has a role, and the answer.
    ///
    /// # Panics
    /// When there is no answer.
    pub fn call_as(&self, role: Role, method: &str, path: &str) -> (u16, Value) {
        let path = format!("/api/{path}").replace("VHOST", &self.name);
        self.access
            .call_as(&self.user(role), method, &path, None)
            .expect("an answer of the management interface")
    }

    /// Puts a letter into a queue, whatever its size: as somebody would who is not of Modiolus.
    ///
    /// # Panics
    /// When the server refuses, or has no such queue.
    pub fn publish(&self, queue: &str, body: &str) {
        let letter = json!({ "properties": { "delivery_mode": 2 }, "routing_key": queue, "payload": body,
            "payload_encoding": "string" });
        let path = format!("/api/exchanges/{}/amq.default/publish", self.name);
        let answer = self.access.ask("POST", &path, Some(&letter));
        assert_eq!(answer["routed"], true, "there is no queue {queue}");
    }

    /// Removes a queue.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn delete_queue(&self, queue: &str) {
        self.access.ask("DELETE", &format!("/api/queues/{}/{queue}", self.name), None);
    }

    /// Makes the broker wait no longer than this for the settlement of what a queue gave out. It looks once a second.
    ///
    /// # Panics
    /// When the server refuses, or knows no such queue.
    pub fn shorten_lease(&self, queue: &str, lease: Duration) {
        let path = format!("/api/policies/{}/{queue}", self.name);
        let mut policy = self.access.ask("GET", &path, None);
        let milliseconds = u64::try_from(lease.as_millis()).expect("a short time");
        policy["definition"]["consumer-timeout"] = milliseconds.into();
        self.access.ask("PUT", &path, Some(&policy));
    }

    /// Cuts all connections of one who has a role.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn cut_connections(&self, role: Role) {
        self.access.ask("DELETE", &format!("/api/connections/username/{}", self.user(role)), None);
    }

    fn user(&self, role: Role) -> String {
        if self.ours { user_name(&self.name, role) } else { role.user_name().into() }
    }
}

impl Drop for Vhost {
    fn drop(&mut self) {
        if self.ours && !thread::panicking() {
            self.access.ask("DELETE", &format!("/api/vhosts/{}", self.name), None);
        }
    }
}

fn user_name(vhost: &str, role: Role) -> String {
    format!("{vhost}-{}", role.user_name())
}

impl Access {
    fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<(u16, Value), ureq::Error> {
        self.call_as("administrator", method, path, body)
    }

    fn call_as(
        &self,
        user: &str,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(u16, Value), ureq::Error> {
        let credentials = format!("{user}:{}", self.password);
        let credentials = base64::engine::general_purpose::STANDARD.encode(credentials);
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("http://127.0.0.1:{}{path}", self.http))
            .header("authorization", format!("Basic {credentials}"))
            .header("content-type", "application/json");
        let body = body.map(Value::to_string).unwrap_or_default();
        let config =
            ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(START)).build();
        let mut answer = ureq::Agent::new_with_config(config).run(request.body(body)?)?;
        let text = answer.body_mut().read_to_string()?;
        Ok((answer.status().as_u16(), serde_json::from_str(&text).unwrap_or(Value::String(text))))
    }

    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let (status, answer) = self.call(method, path, body).expect("an answer of the management interface");
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
        answer
    }

    fn is_ready(&self) -> bool {
        let check = format!("/api/health/checks/port-listener/{}", self.amqp);
        matches!(self.call("GET", &check, None), Ok((200, _)))
    }

    fn wait_until_ready(&self, folder: &Path, process: &mut Child) {
        let begun = Instant::now();
        while !self.is_ready() {
            let lives = matches!(process.try_wait(), Ok(None)) && begun.elapsed() < START;
            let log = || fs::read_to_string(folder.join("console.log")).unwrap_or_default();
            assert!(lives, "RabbitMQ does not start:\n{}", log());
            thread::sleep(LOOK_AGAIN);
        }
    }
}

fn script() -> Command {
    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/rabbitmq-server"))
}

/// Nothing where the server can't be had.
fn find() -> Option<()> {
    let found = script().arg("find").stdin(Stdio::null()).output().expect("deploy/rabbitmq-server");
    if !found.status.success() {
        eprintln!("skipped: {}", String::from_utf8_lossy(&found.stderr).trim());
    }
    found.status.success().then_some(())
}

fn read_access(folder: &Path) -> Option<Access> {
    let access: Value = serde_json::from_slice(&fs::read(folder.join("ready")).ok()?).ok()?;
    let port = |name: &str| u16::try_from(access[name].as_u64()?).ok();
    let password = access["password"].as_str()?.to_string();
    let access = Access { amqp: port("amqp")?, amqps: port("amqps")?, http: port("http")?, password };
    access.is_ready().then_some(access)
}

fn start_shared(folder: &Path) -> Access {
    let _ = fs::remove_dir_all(folder.join("data"));
    let access = prepare(folder).expect("the server's settings");
    let mut supervisor = script()
        .arg("share")
        .arg(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .expect("deploy/rabbitmq-server");
    access.wait_until_ready(folder, &mut supervisor);
    // It may well outlive this process.
    thread::spawn(move || supervisor.wait());
    let Access { amqp, amqps, http, password } = &access;
    let ready = json!({ "amqp": amqp, "amqps": amqps, "http": http, "password": password });
    fs::write(folder.join("ready"), ready.to_string()).expect("a note for others");
    access
}

fn run(folder: &Path) -> Child {
    let mut command = script();
    command.arg("run").arg(folder).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("deploy/rabbitmq-server")
}

/// Writes what `deploy/rabbitmq-server` wants to find in its folder.
fn prepare(folder: &Path) -> io::Result<Access> {
    let [amqp, amqps, http, metrics, names, cluster] = free_ports()?;
    let password = random();
    let users: Vec<User> = Role::all()
        .map(|role| User { name: role.user_name().into(), password: password.clone(), role })
        .collect();
    fs::write(folder.join("definitions.json"), definitions(FIRST_VHOST, &users).to_string())?;
    fs::write(folder.join("server.env"), format!("ERL_EPMD_PORT={names}\nRABBITMQ_DIST_PORT={cluster}\n"))?;
    certify(folder)?;
    fs::create_dir_all(folder.join("conf.d"))?;
    let settings = format!(
        "listeners.tcp.1 = 127.0.0.1:{amqp}\n\
         listeners.ssl.1 = 127.0.0.1:{amqps}\n\
         ssl_options.cacertfile = /modiolus/data/ca.pem\n\
         ssl_options.certfile = /modiolus/data/server.pem\n\
         ssl_options.keyfile = /modiolus/data/server.key\n\
         management.tcp.port = {http}\n\
         prometheus.tcp.port = {metrics}\n\
         definitions.local.path = /modiolus/data/definitions.json\n\
         disk_free_limit.absolute = 50MB\n"
    );
    fs::write(folder.join("conf.d/test.conf"), settings)?;
    Ok(Access { amqp, amqps, http, password })
}

/// An authority, and a certificate from it for this machine.
fn certify(folder: &Path) -> io::Result<()> {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    let certify = || -> Result<_, rcgen::Error> {
        let mut authority = CertificateParams::new(Vec::new())?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
        let key = KeyPair::generate()?;
        let server = CertificateParams::new(vec!["localhost".into()])?.signed_by(&key, &authority)?;
        Ok((authority.pem(), server.pem(), key.serialize_pem()))
    };
    let (authority, server, key) = certify().map_err(io::Error::other)?;
    fs::write(folder.join("ca.pem"), authority)?;
    fs::write(folder.join("server.pem"), server)?;
    fs::write(folder.join("server.key"), key)
}

/// Ports that nobody has now; all different, since they are held until all are found.
fn free_ports<const N: usize>() -> io::Result<[u16; N]> {
    let listeners: Vec<_> = (0..N).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<io::Result<_>>()?;
    let mut ports = [0; N];
    for (port, listener) in ports.iter_mut().zip(&listeners) {
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}

fn random() -> String {
    format!("{:016x}", getrandom::u64().expect("a system that has random numbers"))
}
