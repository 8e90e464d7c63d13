//! Garage's interface for administrators (version 2, JSON over HTTP), as far as an installation needs it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use ureq::Agent;

use crate::member::Rights;

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often a server that doesn't serve yet is asked.
const PAUSE: Duration = Duration::from_millis(200);

/// A Garage server, seen by its administrator.
pub struct Garage {
    agent: Agent,
    address: String,
    token: String,
}

impl Garage {
    /// The server whose administrators' interface is at `address` (`http://garage:3903`).
    pub fn new(address: &str, token: String) -> Self {
        // No proxy: the token is for the server only.
        let agent = Agent::config_builder()
            .timeout_global(Some(PATIENCE))
            .http_status_as_error(false)
            .proxy(None)
            .build()
            .new_agent();
        Self { agent, address: address.trim_end_matches('/').into(), token }
    }

    /// Waits until the server serves.
    ///
    /// # Errors
    /// When it doesn't within `patience`.
    pub fn wait(&self, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        let url = format!("{}/health", self.address);
        loop {
            let why = match self.agent.get(&url).call() {
                Ok(answer) if answer.status().is_success() => return Ok(()),
                Ok(answer) => answer.status().to_string(),
                Err(error) => error.to_string(),
            };
            if Instant::now() >= deadline {
                bail!("{url}: {why}, for {} s: look at the log of Garage", patience.as_secs());
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// The id of a bucket, which is made when it isn't there.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn bucket(&self, name: &str) -> Result<String> {
        self.post("CreateBucket", &json!({ "globalAlias": name }), Some("BucketAlreadyExists"))?;
        let bucket = self.get(&format!("GetBucketInfo?globalAlias={name}"))?;
        bucket["id"].as_str().map(str::to_owned).context("GetBucketInfo: an answer without an id")
    }

    /// Makes a key known, if it isn't.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn import_key(&self, name: &str, id: &str, secret: &str) -> Result<()> {
        let key = json!({ "accessKeyId": id, "secretAccessKey": secret, "name": name });
        self.post("ImportKey", &key, Some("KeyAlreadyExists"))
    }

    /// Sets what a key may do with a bucket, whatever it could do before.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn set_rights(&self, bucket: &str, key: &str, rights: Rights) -> Result<()> {
        let Rights { read, write, owner } = rights;
        for (call, [read, write, owner]) in
            [("AllowBucketKey", [read, write, owner]), ("DenyBucketKey", [!read, !write, !owner])]
        {
            let permissions = json!({ "read": read, "write": write, "owner": owner });
            self.post(
                call,
                &json!({ "bucketId": bucket, "accessKeyId": key, "permissions": permissions }),
                None,
            )?;
        }
        Ok(())
    }

    fn get(&self, call: &str) -> Result<Value> {
        let request = self.agent.get(format!("{}/v2/{call}", self.address));
        let mut answer =
            request.header("Authorization", self.bearer()).call().with_context(|| call.to_owned())?;
        let (status, body) = (answer.status(), answer.body_mut().read_to_string()?);
        if !status.is_success() {
            bail!("Garage, {call}: {status}: {body}");
        }
        serde_json::from_str(&body).with_context(|| format!("Garage, {call}: no JSON"))
    }

    /// One error may be accepted: that what is asked for is there.
    fn post(&self, call: &str, body: &Value, accepted: Option<&str>) -> Result<()> {
        let request = self.agent.post(format!("{}/v2/{call}", self.address));
        let mut answer = request
            .header("Authorization", self.bearer())
            .send_json(body)
            .with_context(|| call.to_owned())?;
        let (status, body) = (answer.status(), answer.body_mut().read_to_string()?);
        let is_there =
            || serde_json::from_str::<Value>(&body).is_ok_and(|body| body["code"].as_str() == accepted);
        if status.is_success() || accepted.is_some() && is_there() {
            return Ok(());
        }
        bail!("Garage, {call}: {status}: {body}");
    }

    fn bearer(&self) -> String {
        format!("Bearer {}", self.token)
    }
}
