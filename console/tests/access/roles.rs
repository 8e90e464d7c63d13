//! Which role may ask for what.

use axum::http::{Method, StatusCode};
use modiolus_console::{Access, Role, Who};
use serde_json::{Value, json};

use crate::desk::Desk;

/// Every kind of route, with the least role that it is for.
const ROUTES: [(&str, &str, Role); 23] = [
    ("GET", "/", Role::Viewer),
    ("GET", "/runs", Role::Viewer),
    ("GET", "/runs/july", Role::Viewer),
    ("GET", "/runs/july/wall", Role::Viewer),
    ("GET", "/slices/P-1/s-1", Role::Viewer),
    ("GET", "/models", Role::Viewer),
    ("GET", "/work", Role::Viewer),
    ("GET", "/help", Role::Viewer),
    ("GET", "/account", Role::Viewer),
    ("GET", "/nowhere", Role::Viewer),
    ("GET", "/api/v1/openapi.json", Role::Viewer),
    ("GET", "/api/v1/session", Role::Viewer),
    ("GET", "/api/v1/runs", Role::Viewer),
    ("GET", "/api/v1/slices/P-1/s-1/thumbnail.png", Role::Viewer),
    ("PUT", "/api/v1/slices/P-1/s-1/triage", Role::Annotator),
    ("POST", "/api/v1/slices/P-1/s-1/revisions", Role::Annotator),
    ("POST", "/api/v1/runs", Role::Operator),
    ("DELETE", "/api/v1/runs/july/uploaded", Role::Operator),
    ("POST", "/api/v1/models/m-1/promote", Role::Operator),
    ("POST", "/api/v1/models/m-1/draw", Role::Operator),
    ("POST", "/api/v1/models/rollback", Role::Operator),
    ("GET", "/api/v1/audit", Role::Operator),
    ("GET", "/audit", Role::Operator),
];

#[tokio::test]
async fn a_route_lets_in_who_has_its_role_and_nobody_else() {
    let desk = Desk::new();
    for role in [Role::Viewer, Role::Annotator, Role::Operator] {
        let mut browser = desk.account(role.name(), role).await;
        let token = browser.token().await;
        for (method, path, least) in ROUTES {
            let method: Method = method.parse().unwrap();
            let answer = browser.change(method.clone(), path, &token, &json!({ "answer": "clear" })).await;
            let is_refused = answer.status == StatusCode::FORBIDDEN;
            assert_eq!(
                is_refused,
                role < least,
                "{role:?} {method} {path}: {} {}",
                answer.status,
                answer.text
            );
            assert_ne!(answer.status, StatusCode::UNAUTHORIZED, "{role:?} {method} {path}");
        }
    }
}

#[tokio::test]
async fn who_is_not_known_is_led_to_the_login_or_told_so() {
    let desk = Desk::new();
    for (method, path, _) in ROUTES {
        let method: Method = method.parse().unwrap();
        let answer = desk.browser().change(method, path, "", &json!({})).await;
        if path.starts_with("/api/") {
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
            assert!(answer.json()["what_to_do"].as_str().unwrap().contains("/api/v1/session"), "{path}");
        } else {
            assert_eq!(answer.status, StatusCode::SEE_OTHER, "{path}");
            assert!(answer.location().starts_with("/login?next=%2F"), "{path}: {}", answer.location());
        }
        let policy = answer.headers["content-security-policy"].to_str().unwrap();
        assert!(
            policy.contains("script-src 'self';") && policy.contains("frame-ancestors 'none'"),
            "{policy}"
        );
    }
}

#[tokio::test]
async fn every_route_that_is_described_asks_who_is_there_but_the_login() {
    let desk = Desk::new();
    let description = desk.account("ada", Role::Viewer).await.get("/api/v1/openapi.json").await.json();
    let mut asked = 0;
    for (path, methods) in description["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys().filter(|method| *method != "parameters") {
            let is_login = (method.as_str(), path.as_str()) == ("post", "/api/v1/session");
            let path = path.replace(['{', '}'], "");
            let method: Method = method.to_uppercase().parse().unwrap();
            let answer = desk.browser().change(method.clone(), &path, "", &json!({})).await;
            let expected = if is_login { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::UNAUTHORIZED };
            assert_eq!(answer.status, expected, "{method} {path}: {}", answer.text);
            asked += 1;
        }
    }
    assert!(asked > 20, "{asked}");
    assert_eq!(description["components"]["securitySchemes"]["session"]["in"], "cookie");
    assert_eq!(description["paths"]["/api/v1/session"]["post"]["security"], json!([{}]));
}

#[tokio::test]
async fn pages_show_what_a_role_may_do_and_no_more() {
    let desk = Desk::new();
    let mut viewer = desk.account("vera", Role::Viewer).await;
    let page = viewer.get("/runs").await.text;
    assert!(page.contains("vera, viewer") && page.contains("Log out"), "{page}");
    assert!(!page.contains("Start a run") && !page.contains(">Audit<"), "{page}");
    let refused = viewer.get("/audit").await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(refused.text.contains("<h1>") && refused.text.contains("ask an operator"), "a page, not JSON");
    let operator = desk.account("olga", Role::Operator).await.get("/runs").await.text;
    assert!(operator.contains("Start a run") && operator.contains(">Audit<"), "{operator}");
}

#[tokio::test]
async fn where_nobody_is_asked_everyone_is_the_same_and_asks_this_machine_by_its_name() {
    let desk = Desk::with(Access::open_to(Who::new("ada", Role::Operator)));
    let mut browser = desk.browser();
    let (name, role, token) = browser.who().await.unwrap();
    assert_eq!((name.as_str(), role.as_str()), ("ada", "operator"));
    assert!(!browser.get("/runs").await.text.contains("Log out"));
    for (token, status) in
        [(token.as_str(), StatusCode::CONFLICT), ("0123", StatusCode::FORBIDDEN), ("", StatusCode::FORBIDDEN)]
    {
        let answer = browser.change(Method::POST, "/api/v1/models/rollback", token, &Value::Null).await;
        assert_eq!(answer.status, status, "{token:?}");
    }
    assert_eq!(browser.get("/login").await.location(), "/runs");
    browser.host = "evil.example";
    assert_eq!(browser.get("/runs").await.status, StatusCode::MISDIRECTED_REQUEST);
}

#[tokio::test]
async fn a_page_with_an_origin_is_asked_for_by_that_name_alone() {
    let origin = Some("https://review.example.org".parse().unwrap());
    let desk = Desk::with(Access { origin, ..Access::default() });
    let mut browser = desk.browser();
    for (host, status) in [
        ("review.example.org", StatusCode::OK),
        ("Review.Example.org", StatusCode::OK),
        ("review.example.org:8080", StatusCode::MISDIRECTED_REQUEST),
        ("127.0.0.1:8080", StatusCode::MISDIRECTED_REQUEST),
        ("evil.example", StatusCode::MISDIRECTED_REQUEST),
    ] {
        browser.host = host;
        for path in ["/login", "/assets/console.css"] {
            assert_eq!(browser.get(path).await.status, status, "{host} {path}");
        }
    }
}
