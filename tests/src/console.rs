//! The review page as a browser or a script meets it.

use std::io::{Cursor, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use ureq::http::Response;
use ureq::{Agent, Body};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::cluster::free_address;
use crate::{Process, modiolus};

/// A running review page; ended when the value is dropped.
pub struct Console {
    address: SocketAddr,
    agent: Agent,
    csrf: String,
    command: Command,
    process: Option<Process>,
    /// A one-time link that is not used yet.
    link: Option<String>,
}

/// A password that is good enough.
const PASSWORD: &str = "correct horse battery staple";

impl Console {
    /// Starts one over a store and waits until it answers.
    ///
    /// # Panics
    /// When it ends instead.
    pub fn start(store: &Path) -> Self {
        let address = free_address();
        let mut command = modiolus();
        let listen = address.to_string();
        command.args(["serve", "--listen", &listen, "--store"]).arg(store).env("USER", "ada");
        Self::of(command, address, None)
    }

    /// Starts one by a command that has it listen there, and waits until it answers. Where people log in, sets a password with
    /// the link, and goes on as whose it is.
    ///
    /// # Panics
    /// When it ends instead.
    pub fn of(command: Command, address: SocketAddr, link: Option<String>) -> Self {
        // None is kept open: it could end just as a change goes out on it, and what changes something isn't safe to ask again.
        let agent = Agent::config_builder()
            .proxy(None)
            .http_status_as_error(false)
            .max_idle_connections(0)
            .build()
            .new_agent();
        let mut console = Self { address, agent, csrf: String::new(), command, process: None, link };
        console.begin();
        console
    }

    fn begin(&mut self) {
        let mut process = Process::start(&mut self.command);
        let url = self.url("/api/v1/session");
        let answers = process.watch(|| self.agent.get(&url).call().is_ok());
        assert!(answers, "{}", process.finish());
        self.process = Some(process);
        if let Some(link) = self.link.take() {
            let form = self.get(&link).body_mut().read_to_string().expect("a page");
            let csrf = form.split(r#"name="csrf" value=""#).nth(1).and_then(|rest| rest.split('"').next());
            let fields = [("password", PASSWORD), ("again", PASSWORD), ("csrf", csrf.expect("a form"))];
            self.agent.post(self.url(&link)).send_form(fields).expect("the console can be reached");
        }
        self.csrf = self.json("session")["csrf"].as_str().expect("a token").to_owned();
    }

    /// Ends it as a power cut would, and starts it again.
    ///
    /// # Panics
    /// When it ends instead.
    pub fn kill_and_start_again(&mut self) {
        self.process.take().expect("it runs").kill();
        self.begin();
    }

    /// Where it is.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The answer to a request without a body.
    ///
    /// # Panics
    /// When it can't be reached.
    pub fn get(&self, path: &str) -> Response<Body> {
        self.agent.get(self.url(path)).call().expect("the console can be reached")
    }

    /// The JSON at a path below `/api/v1`, which has to be there.
    ///
    /// # Panics
    /// When it isn't.
    #[track_caller]
    pub fn json(&self, path: &str) -> Value {
        let mut answer = self.get(&format!("/api/v1/{path}"));
        assert_eq!(answer.status().as_u16(), 200, "{path}: {:?}", answer.body_mut().read_to_string());
        answer.body_mut().read_json().expect("JSON")
    }

    /// The bytes at a path below `/api/v1`, which have to be there.
    ///
    /// # Panics
    /// When they aren't.
    #[track_caller]
    pub fn bytes(&self, path: &str) -> Vec<u8> {
        let mut answer = self.get(&format!("/api/v1/{path}"));
        assert_eq!(answer.status().as_u16(), 200, "{path}");
        answer.body_mut().read_to_vec().expect("a body")
    }

    /// What comes of a change: status and JSON (null where there is none).
    ///
    /// # Panics
    /// When it can't be reached.
    pub fn send(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> (u16, Value) {
        self.send_as(&self.csrf, method, path, kind, body)
    }

    /// The same with another token.
    ///
    /// # Panics
    /// When it can't be reached.
    pub fn send_as(&self, csrf: &str, method: &str, path: &str, kind: &str, body: &[u8]) -> (u16, Value) {
        let url = self.url(&format!("/api/v1/{path}"));
        let request = match method {
            "PUT" => self.agent.put(url),
            _ => self.agent.post(url),
        };
        let request = request.header("X-CSRF", csrf).header("Content-Type", kind);
        let mut answer = request.send(body).expect("the console can be reached");
        let json = answer.body_mut().read_json().unwrap_or(Value::Null);
        (answer.status().as_u16(), json)
    }

    /// Waits until a run is done; what it is then.
    ///
    /// # Panics
    /// When the console ends before.
    pub fn done(&mut self, run: &str) -> Value {
        self.wait_for(&format!("runs/{run}"), |run| run["state"] == "done")
    }

    /// Waits until what lies at a path below `/api/v1` is as it should be; what it is then.
    ///
    /// # Panics
    /// When the console ends before, or it takes too long.
    #[track_caller]
    pub fn wait_for(&mut self, path: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let mut process = self.process.take().expect("it runs");
        let mut last = Value::Null;
        let came = process.watch(|| {
            last = self.json(path);
            is_so(&last)
        });
        self.process = Some(process);
        assert!(came, "{last}");
        last
    }

    /// Tells it to stop and waits for its end; all that it said.
    ///
    /// # Panics
    /// When it ends with a failure.
    pub fn stop(mut self) -> String {
        let process = self.process.take().expect("it runs");
        process.terminate();
        process.finish().with_code(0).stderr
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill();
        }
    }
}

/// A zip of these files.
///
/// # Panics
/// Never: it is written into memory.
pub fn zipped<'a>(files: impl IntoIterator<Item = (&'a str, Vec<u8>)>) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        zip.start_file(name, SimpleFileOptions::default()).expect("memory");
        zip.write_all(&bytes).expect("memory");
    }
    zip.finish().expect("memory").into_inner()
}
