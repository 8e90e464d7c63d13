//! Who saw and changed what.

use axum::http::{Method, StatusCode};
use modiolus_console::{Access, Role, Who};
use serde_json::{Value, json};

use crate::desk::{Browser, Desk, PASSWORD};

/// By whom, what, with what outcome, how often.
type Line = (String, String, String, u64);

async fn log(operator: &mut Browser<'_>, query: &str) -> Vec<Line> {
    let answer = operator.get(&format!("/api/v1/audit?{query}")).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    let text = |entry: &Value, field: &str| entry[field].as_str().unwrap_or("-").to_owned();
    let line = |entry: &Value| {
        (text(entry, "by"), text(entry, "action"), text(entry, "outcome"), entry["times"].as_u64().unwrap())
    };
    answer.json()["entries"].as_array().unwrap().iter().map(line).collect()
}

fn is(line: &Line, by: &str, action: &str, outcome: &str, times: u64) -> bool {
    (line.0.as_str(), line.1.as_str(), line.2.as_str(), line.3) == (by, action, outcome, times)
}

#[tokio::test]
async fn what_people_see_change_and_may_not_is_noted() {
    let desk = Desk::new();
    let mut olga = desk.account("olga", Role::Operator).await;
    let mut vera = desk.account("vera", Role::Viewer).await;
    for _ in 0..3 {
        vera.get("/runs").await;
    }
    vera.get("/audit").await;
    vera.get("/slices/DOE-JANE/s-1").await;
    let token = olga.token().await;
    olga.change(Method::POST, "/api/v1/models/rollback", &token, &Value::Null).await;
    desk.browser().log_in_by_api("vera", "wrong password").await;
    desk.browser().log_in_by_api("mysecretpassword", "vera").await;
    desk.browser().log_in_by_api("vera", PASSWORD).await;
    let all = log(&mut olga, "").await;
    for (by, action, outcome, times) in [
        ("olga", "password set", "done", 1),
        ("vera", "runs listed", "done", 3),
        ("vera", "audit log read", "refused", 1),
        ("vera", "slice seen", "failed", 1),
        ("vera", "logged in", "refused", 1),
        ("-", "logged in", "refused", 1),
        ("vera", "logged in", "done", 1),
        ("olga", "model rolled back", "failed", 1),
    ] {
        assert!(all.iter().any(|line| is(line, by, action, outcome, times)), "{by} {action}: {all:?}");
    }
    let of_vera = log(&mut olga, "user=vera").await;
    assert!(of_vera.len() == 6 && of_vera.iter().all(|(by, ..)| by == "vera"), "{of_vera:?}");
    let kept = desk.kept().await;
    assert!(!kept.contains("DOE") && !kept.contains("mysecret"), "what somebody typed is not kept");
}

#[tokio::test]
async fn the_log_is_read_by_day_and_in_parts() {
    let desk = Desk::new();
    let mut olga = desk.account("olga", Role::Operator).await;
    for _ in 0..5 {
        desk.wait(60);
        olga.get("/runs").await;
        log(&mut olga, "limit=1").await;
    }
    desk.wait(60);
    let whole = log(&mut olga, "limit=1000").await;
    assert_eq!(
        whole.iter().filter(|line| is(line, "olga", "runs listed", "done", 1)).count(),
        5,
        "{whole:?}"
    );
    let newest = log(&mut olga, "limit=2&user=olga").await;
    assert_eq!(newest.len(), 2);
    let rest = log(&mut olga, "limit=1000&offset=2&user=").await;
    assert!(rest.len() >= whole.len(), "reading is noted, too");
    let yesterday = olga.get("/api/v1/audit?day=2026-11-22").await.json();
    assert_eq!((&yesterday["total"], &yesterday["day"]), (&json!(0), &json!("2026-11-22")));
    assert_eq!(olga.get("/api/v1/audit?day=yesterday").await.status, StatusCode::BAD_REQUEST);
    let page = olga.get("/audit?user=olga").await.text;
    assert!(page.contains("runs listed") && page.contains(r#"value="2026-11-23""#), "{page}");
}

#[tokio::test]
async fn it_is_kept_where_nobody_is_asked_too() {
    let desk = Desk::with(Access::open_to(Who::new("ada", Role::Operator)));
    let mut ada = desk.browser();
    ada.get("/runs").await;
    let all = log(&mut ada, "").await;
    assert!(is(&all[0], "ada", "runs listed", "done", 1), "{all:?}");
}
