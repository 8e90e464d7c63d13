//! Single sign-on: a proxy in front says who asks.

use axum::http::{HeaderName, Method, StatusCode};
use modiolus_console::{Access, Role};
use serde_json::json;

use crate::desk::{Browser, Desk, PASSWORD};

fn desk(proxy_role: Role) -> Desk {
    Desk::with(Access {
        proxies: vec!["10.0.0.0/24".parse().unwrap()],
        proxy_header: Some(HeaderName::from_static("x-forwarded-user")),
        proxy_role,
        ..Access::default()
    })
}

fn behind<'a>(desk: &'a Desk, peer: &str, user: &str) -> Browser<'a> {
    let mut browser = desk.browser();
    browser.peer = peer.parse().unwrap();
    browser.headers.insert("x-forwarded-user", user.parse().unwrap());
    browser
}

#[tokio::test]
async fn a_proxy_is_believed_and_nobody_else() {
    let desk = desk(Role::Annotator);
    for peer in ["10.0.0.7:1", "[::ffff:10.0.0.7]:1"] {
        let (name, role, _) = behind(&desk, peer, "Ada@example.org").who().await.unwrap();
        assert_eq!((name.as_str(), role.as_str()), ("ada@example.org", "annotator"));
    }
    for peer in ["10.0.1.7:1", "127.0.0.1:1", "[::1]:1"] {
        for path in ["/runs", "/api/v1/session"] {
            let answer = behind(&desk, peer, "ada@example.org").get(path).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{peer} {path}");
            assert!(answer.text.contains("not believed from here"), "{}", answer.text);
        }
    }
}

#[tokio::test]
async fn what_a_proxy_says_is_a_name_and_says_it_once() {
    let desk = desk(Role::Viewer);
    for name in ["../ada", "ada lovelace", "DOMAIN\\ada", &"x".repeat(65)] {
        let answer = behind(&desk, "10.0.0.7:1", name).get("/runs").await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{name}");
    }
    let mut twice = behind(&desk, "10.0.0.7:1", "ada");
    twice.headers.append("x-forwarded-user", "bob".parse().unwrap());
    assert_eq!(twice.get("/runs").await.status, StatusCode::FORBIDDEN);
    assert!(behind(&desk, "10.0.0.7:1", "").who().await.is_none(), "somebody who hasn't logged in there");
}

#[tokio::test]
async fn somebody_with_an_account_keeps_its_role_and_others_have_the_default() {
    let desk = desk(Role::Viewer);
    desk.accounts.add("olga".parse().unwrap(), Role::Operator).await.unwrap();
    assert_eq!(behind(&desk, "10.0.0.7:1", "olga").get("/audit").await.status, StatusCode::OK);
    assert_eq!(behind(&desk, "10.0.0.7:1", "vera").get("/audit").await.status, StatusCode::FORBIDDEN);
    assert_eq!(behind(&desk, "10.0.0.7:1", "vera").get("/runs").await.status, StatusCode::OK);
}

#[tokio::test]
async fn also_behind_a_proxy_changes_need_ones_own_token() {
    let desk = desk(Role::Operator);
    let (mut ada, mut bob) = (behind(&desk, "10.0.0.7:1", "ada"), behind(&desk, "10.0.0.7:1", "bob"));
    let (own, other) = (ada.token().await, bob.token().await);
    for (token, status) in [(own.as_str(), StatusCode::CONFLICT), (other.as_str(), StatusCode::FORBIDDEN)] {
        let answer = ada.change(Method::POST, "/api/v1/models/rollback", token, &json!(null)).await;
        assert_eq!(answer.status, status);
    }
    assert!(!ada.get("/runs").await.text.contains("Log out"), "the proxy does that");
    let change = [("before", PASSWORD), ("password", PASSWORD), ("again", PASSWORD), ("csrf", own.as_str())];
    assert_eq!(ada.fill("/account", &change).await.status, StatusCode::CONFLICT);
}

#[tokio::test]
async fn a_header_that_nobody_has_switched_on_says_nothing() {
    let plain = Desk::new();
    assert!(behind(&plain, "10.0.0.7:1", "ada").who().await.is_none());
    let proxied = Desk::with(Access { proxies: vec!["10.0.0.7".parse().unwrap()], ..Access::default() });
    assert!(behind(&proxied, "10.0.0.7:1", "ada").who().await.is_none());
}

#[tokio::test]
async fn accounts_work_beside_a_proxy() {
    let desk = desk(Role::Viewer);
    let mut browser = desk.account("ada", Role::Annotator).await;
    browser.peer = "10.0.0.7:1".parse().unwrap();
    assert_eq!(browser.who().await.unwrap().1, "annotator");
}
