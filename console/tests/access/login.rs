//! Sessions: how they begin, what of them is kept where, and when they are over.

use axum::body::Body;
use axum::http::{Method, StatusCode};
use modiolus_console::Role;
use serde_json::json;

use crate::desk::{Desk, PASSWORD};

#[tokio::test]
async fn the_login_leads_back_to_where_somebody_wanted_to_go() {
    let desk = Desk::new();
    desk.account("ada", Role::Viewer).await;
    let mut browser = desk.browser();
    let to_login = browser.get("/runs/july/wall?patient=P-1").await;
    assert_eq!(to_login.location(), "/login?next=%2Fruns%2Fjuly%2Fwall%3Fpatient%3DP%2D1");
    let form = browser.get(to_login.location()).await;
    let wanted = "/runs/july/wall?patient=P-1";
    for (next, to) in [
        (wanted, wanted),
        ("//evil.example", "/runs"),
        ("https://evil.example", "/runs"),
        ("/\\evil.example", "/runs"),
    ] {
        let mut browser = browser.clone();
        let csrf = form.token();
        let fields = [("name", "Ada"), ("password", PASSWORD), ("next", next), ("csrf", csrf.as_str())];
        let answer = browser.fill("/login", &fields).await;
        assert_eq!((answer.status, answer.location()), (StatusCode::SEE_OTHER, to));
        assert_eq!(browser.get("/login?next=/work").await.location(), "/work", "who is known is led on");
    }
}

#[tokio::test]
async fn a_session_cookie_is_random_and_for_the_browser_alone() {
    let desk = Desk::new();
    desk.account("ada", Role::Viewer).await;
    let mut seen = Vec::new();
    for (host, name, flags) in [
        ("127.0.0.1:8080", "modiolus=", "; Path=/; HttpOnly; SameSite=Lax"),
        ("review.example.org", "__Host-modiolus=", "; Path=/; HttpOnly; SameSite=Lax; Secure"),
    ] {
        let mut browser = desk.browser();
        browser.host = host;
        let answer = browser.log_in("ada", PASSWORD).await;
        let id = answer.cookies().into_iter().find_map(|cookie| cookie.strip_prefix(name)).unwrap();
        let id = id.strip_suffix(flags).unwrap_or_else(|| panic!("{id}"));
        assert!(id.len() == 64 && !seen.contains(&id.to_owned()), "{id}");
        seen.push(id.to_owned());
        assert!(browser.who().await.is_some());
    }
    let kept = desk.kept().await;
    assert!(!seen.iter().any(|id| kept.contains(id)), "only digests are kept");
    assert!(!kept.contains(PASSWORD) && kept.contains("$argon2id$"));
}

#[tokio::test]
async fn a_session_ends_when_it_is_not_used_and_at_the_end_of_a_day_anyhow() {
    let desk = Desk::new();
    let mut idle = desk.account("ada", Role::Viewer).await;
    desk.wait(2 * 3600 - 1);
    assert!(idle.who().await.is_some());
    desk.wait(2 * 3600 - 1);
    assert!(idle.who().await.is_some(), "what is used goes on");
    desk.wait(2 * 3600);
    assert!(idle.who().await.is_none());

    let mut busy = desk.browser();
    busy.log_in("ada", PASSWORD).await;
    for _ in 0..11 {
        desk.wait(3600);
        assert!(busy.who().await.is_some());
    }
    desk.wait(3600);
    assert!(busy.who().await.is_none());
    assert_eq!(busy.get("/runs").await.location(), "/login?next=%2Fruns");
}

#[tokio::test]
async fn who_logs_out_is_out_also_with_a_copy_of_the_cookie() {
    let desk = Desk::new();
    let mut browser = desk.account("ada", Role::Viewer).await;
    let mut thief = browser.clone();
    assert!(thief.who().await.is_some());
    let csrf = browser.get("/runs").await.token();
    assert_eq!(browser.fill("/logout", &[("csrf", "0123")]).await.status, StatusCode::FORBIDDEN);
    assert!(browser.who().await.is_some(), "another site logs nobody out");
    let answer = browser.fill("/logout", &[("csrf", &csrf)]).await;
    assert_eq!((answer.status, answer.location()), (StatusCode::SEE_OTHER, "/login"));
    assert!(answer.cookies()[0].contains("Max-Age=0"));
    assert!(thief.who().await.is_none());

    let mut program = desk.browser();
    let session = program.log_in_by_api("ada", PASSWORD).await.json();
    assert_eq!(session["role"], "viewer");
    let csrf = session["csrf"].as_str().unwrap();
    assert_eq!(program.token().await, csrf);
    let mut thief = program.clone();
    let out = program.change(Method::DELETE, "/api/v1/session", csrf, &json!(null)).await;
    assert_eq!(out.status, StatusCode::NO_CONTENT);
    assert!(thief.who().await.is_none());
}

#[tokio::test]
async fn what_changes_something_needs_the_token_of_its_own_session() {
    let desk = Desk::new();
    let mut ada = desk.account("ada", Role::Operator).await;
    let mut again = desk.browser();
    again.log_in("ada", PASSWORD).await;
    let (own, other) = (ada.token().await, again.token().await);
    assert_ne!(own, other);
    for (token, status) in [
        (own.as_str(), StatusCode::CONFLICT),
        (other.as_str(), StatusCode::FORBIDDEN),
        ("", StatusCode::FORBIDDEN),
    ] {
        let answer = ada.change(Method::POST, "/api/v1/models/rollback", token, &json!(null)).await;
        assert_eq!(answer.status, status, "{token:?}");
    }
}

#[tokio::test]
async fn another_site_can_not_log_anybody_in() {
    let desk = Desk::new();
    desk.account("mallory", Role::Viewer).await;
    let csrf = desk.browser().get("/login").await.token();
    let mut victim = desk.browser();
    for has_cookie in [false, true] {
        if has_cookie {
            victim.get("/login").await;
        }
        let fields = [("name", "mallory"), ("password", PASSWORD), ("csrf", csrf.as_str())];
        let answer = victim.fill("/login", &fields).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
        assert!(answer.text.contains("too old"), "{}", answer.text);
        assert!(victim.who().await.is_none());
    }
    let body = json!({ "name": "mallory", "password": PASSWORD }).to_string();
    for kind in ["text/plain", "application/x-www-form-urlencoded"] {
        let headers = [("content-type", kind)];
        let answer = victim.send(Method::POST, "/api/v1/session", &headers, Body::from(body.clone())).await;
        assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{kind}");
    }
}

#[tokio::test]
async fn a_wrong_name_and_a_wrong_password_are_told_the_same() {
    let desk = Desk::new();
    desk.account("ada", Role::Viewer).await;
    desk.accounts.add("bob".parse().unwrap(), Role::Viewer).await.unwrap();
    let mut said = Vec::new();
    for (name, password) in [
        ("ada", "wrong password"),
        ("nobody", PASSWORD),
        ("bob", ""),
        ("../ada", PASSWORD),
        ("ada", &"x".repeat(5000)),
    ] {
        let answer = desk.browser().log_in_by_api(name, password).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{name}");
        assert!(answer.cookies().is_empty());
        said.push(answer.text);
    }
    said.dedup();
    assert_eq!(said, [r#"{"error":"name or password is wrong"}"#]);
    let page = desk.browser().log_in("ada", "wrong password").await;
    assert_eq!(page.status, StatusCode::UNAUTHORIZED);
    assert!(page.text.contains("name or password is wrong") && page.text.contains(r#"value="ada""#));
}

#[tokio::test]
async fn a_new_login_ends_the_session_that_was_there() {
    let desk = Desk::new();
    let mut browser = desk.account("ada", Role::Viewer).await;
    let mut before = browser.clone();
    desk.account("bob", Role::Viewer).await;
    let token = {
        // The login page leads on who is known: this form was open before.
        let mut stranger = browser.clone();
        stranger.cookies.retain(|(name, _)| name == "modiolus-form");
        stranger.get("/login").await.token()
    };
    let fields = [("name", "bob"), ("password", PASSWORD), ("csrf", token.as_str())];
    assert_eq!(browser.fill("/login", &fields).await.status, StatusCode::SEE_OTHER);
    assert_eq!(browser.who().await.unwrap().0, "bob");
    assert!(before.who().await.is_none());
}
