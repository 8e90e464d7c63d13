//! Who leaves before the answer comes.

use std::time::Duration;

use axum::http::Method;
use modiolus_console::{Access, Role, Who};
use serde_json::json;
use tokio::time::timeout;

use crate::desk::Desk;

/// How long anything may take.
const DEADLINE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn what_somebody_began_is_done_and_noted_though_they_have_left() {
    let desk = Desk::with(Access::open_to(Who::new("ada", Role::Operator)));
    let (mut ada, mut again) = (desk.browser(), desk.browser());
    let token = ada.token().await;
    let body = json!({});
    tokio::select! {
        answer = ada.change(Method::POST, "/api/v1/trainings", &token, &body) => panic!("{}", answer.text),
        () = desk.works.asked.notified() => {}
    }
    desk.works.go_on.notify_one();
    let noted = async {
        loop {
            let log = again.get("/api/v1/audit?limit=1000").await.json();
            let started = log["entries"]
                .as_array()
                .unwrap()
                .iter()
                .find(|entry| entry["action"] == "training started")
                .cloned();
            match started {
                Some(entry) => return entry["outcome"].clone(),
                None => tokio::task::yield_now().await,
            }
        }
    };
    assert_eq!(timeout(DEADLINE, noted).await.expect("a line in the log"), "done");
}
