//! Who gets in, with the real program: accounts are made beside a review page that runs, and what people did is kept.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use modiolus_tests::cluster::free_address;
use modiolus_tests::{Finished, Process, files_below, modiolus};
use serde_json::{Value, json};
use ureq::Agent;

const PASSWORD: &str = "correct horse battery staple";

fn users(store: &Path, arguments: &[&str]) -> Finished {
    Finished::of(modiolus().arg("users").args(arguments).arg("--store").arg(store))
}

/// A review page that asks who is there.
struct Page {
    address: String,
    agent: Agent,
    process: Process,
}

impl Page {
    fn start(store: &Path, options: &[&str]) -> Self {
        let address = free_address().to_string();
        let mut command = modiolus();
        command.args(["serve", "--listen", &address, "--store"]).arg(store).args(options);
        let mut process = Process::start(&mut command);
        let config = Agent::config_builder().proxy(None).http_status_as_error(false).max_redirects(0);
        let agent = config.build().new_agent();
        let answers = process.watch(|| agent.get(format!("http://{address}/login")).call().is_ok());
        assert!(answers, "{}", process.finish());
        Self { address, agent, process }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn status(&self, path: &str) -> u16 {
        self.agent.get(self.url(path)).call().unwrap().status().as_u16()
    }

    /// The status of a link's form that is filled in, or of the page where there is none.
    fn set_password(&self, link: &str) -> u16 {
        let mut form = self.agent.get(self.url(link)).call().unwrap();
        let text = form.body_mut().read_to_string().unwrap();
        let Some(csrf) = text.split(r#"name="csrf" value=""#).nth(1) else { return form.status().as_u16() };
        let csrf = csrf.split('"').next().unwrap();
        let fields = [("password", PASSWORD), ("again", PASSWORD), ("csrf", csrf)];
        self.agent.post(self.url(link)).send_form(fields).unwrap().status().as_u16()
    }

    /// Logs in as programs do, and asks who that is; status, name and role.
    fn log_in(&self, name: &str) -> (u16, Value, Value) {
        let body = json!({ "name": name, "password": PASSWORD });
        let answer = self.agent.post(self.url("/api/v1/session")).send_json(body).unwrap();
        let status = answer.status().as_u16();
        if status != 200 {
            return (status, Value::Null, Value::Null);
        }
        let mut session = self.agent.get(self.url("/api/v1/session")).call().unwrap();
        let who: Value = session.body_mut().read_json().unwrap();
        (status, who["name"].clone(), who["role"].clone())
    }
}

#[test]
fn the_first_account_is_made_on_the_command_line_and_its_link_works_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    let link = users(&store, &["add", "Ada", "--role", "operator"]).with_code(0).saying(&["24 hours"]).stdout;
    let link = link.trim().to_owned();
    assert!(link.starts_with("/link/ada/") && link.len() == "/link/ada/".len() + 64, "{link}");

    let page = Page::start(&store, &[]);
    assert_eq!((page.status("/api/v1/runs"), page.status("/runs")), (401, 303));
    let listed = users(&store, &["list", "--json"]).json();
    assert_eq!((&listed[0]["name"], &listed[0]["has_password"]), (&json!("ada"), &json!(false)));
    assert_eq!((page.set_password(&link), page.set_password(&link)), (303, 410));
    assert_eq!(page.log_in("ada"), (200, json!("ada"), json!("operator")));

    let bob = users(&store, &["add", "bob", "--json"]).json();
    assert_eq!(bob["name"], "bob");
    assert_eq!(page.set_password(bob["link"].as_str().unwrap()), 303, "while the page runs");
    users(&store, &["role", "bob", "annotator"]).with_code(0);
    assert_eq!(page.log_in("bob").2, "annotator");
    let table = users(&store, &["list"]).with_code(0).stdout;
    assert!(table.contains("ada") && table.contains("annotator") && !table.contains("$argon2"), "{table}");
    let forgotten = users(&store, &["link", "bob"]).with_code(0).stdout;
    assert_eq!(page.set_password(forgotten.trim()), 303);
    users(&store, &["remove", "bob"]).with_code(0);
    assert_eq!(page.log_in("bob").0, 401);
    for (arguments, words) in [
        (&["add", "ada"][..], "has an account"),
        (&["remove", "bob"], "has no account"),
        (&["role", "bob", "viewer"], "has no account"),
        (&["link", "bob"], "users list"),
    ] {
        users(&store, arguments).with_code(1).saying(&[words]);
    }

    page.process.terminate();
    page.process.finish().with_code(0);
    let kept = files_below(&store.join("console"));
    let read = |path: &PathBuf| fs::read_to_string(store.join("console").join(path)).unwrap();
    let audit: String = kept.iter().filter(|path| path.starts_with("audit")).map(read).collect();
    assert!(audit.contains("logged in") && audit.contains("password set"), "written at the end: {audit}");
    let all: String = kept.iter().map(read).collect();
    assert!(!all.contains(PASSWORD) && !all.contains(link.rsplit('/').next().unwrap()));
}

#[test]
fn other_machines_are_served_only_with_accounts() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    let listen = format!("0.0.0.0:{}", free_address().port());
    let serve = |options: &[&str]| {
        let mut command = modiolus();
        command.args(["serve", "--listen", &listen, "--store"]).arg(&store).args(options);
        command
    };
    Finished::failure(&mut serve(&[]), &["listen on 127.0.0.1", "users add"]);
    Finished::failure(&mut serve(&["--origin", "https://review.example.org"]), &["users add"]);
    for options in [&["--accounts"][..], &["--proxy-header", "X-Forwarded-User", "--proxy", "10.0.0.0/8"]] {
        let mut process = Process::start(&mut serve(options));
        let answers = process.watch(|| TcpStream::connect(&listen).is_ok());
        assert!(answers, "{}", process.finish());
        process.terminate();
        process.finish().with_code(0);
    }
}
