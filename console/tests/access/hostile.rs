//! What no browser sends.

use axum::body::Body;
use axum::http::{HeaderValue, Method};
use modiolus_console::{Access, Role};

use crate::desk::Desk;

const PATHS: [&str; 16] = [
    "/login",
    "/login?next=%ff%fe",
    "/login?next=a&next=b",
    "/logout",
    "/account",
    "/account?done=%00",
    "/audit?day=2026-02-30",
    "/audit?offset=-1&limit=99999999999999999999",
    "/audit?day=2026-11-23&user=%00%ff&offset=18446744073709551615",
    "/api/v1/audit?limit=0",
    "/api/v1/session",
    "/link/ada/x",
    "/link/..%2f..%2fada/%00",
    "/link/%ff/%ff",
    "/runs/..%2f..%2f",
    "/assets/..%2f..%2fCargo.toml",
];

const BODIES: [&[u8]; 7] = [
    b"",
    b"name=ada",
    b"name=%ff%fe&password=%00&csrf=%zz",
    b"csrf=a&csrf=b&name=a&name=b",
    b"{",
    br#"{"name": 7, "password": []}"#,
    b"\xff\xfe\x00",
];

const KINDS: [&str; 3] = ["application/x-www-form-urlencoded", "application/json", "text/plain;;;"];

#[tokio::test]
async fn nothing_that_somebody_sends_makes_the_console_fail() {
    let header = Some("x-forwarded-user".parse().unwrap());
    let proxies = vec!["10.1.2.3".parse().unwrap()];
    let desk = Desk::with(Access { proxies, proxy_header: header, ..Access::default() });
    let operator = desk.account("ada", Role::Operator).await;
    let (_, session) = operator.cookies.iter().find(|(name, _)| name == "modiolus").unwrap();
    let own = format!("modiolus={session}");
    let cookies: [&[u8]; 6] = [
        b"modiolus=",
        b"modiolus=../../accounts/ada",
        b"modiolus=\xff\xfe",
        b"=;;;modiolus",
        b"modiolus=0000000000000000000000000000000000000000000000000000000000000000; modiolus-form=x",
        own.as_bytes(),
    ];
    let mut asked = 0;
    for path in PATHS {
        for method in [Method::GET, Method::POST, Method::DELETE, Method::PATCH] {
            for cookie in cookies {
                for body in BODIES {
                    let mut browser = desk.browser();
                    browser.headers.insert("cookie", HeaderValue::from_bytes(cookie).unwrap());
                    browser.headers.insert("x-forwarded-for", HeaderValue::from_bytes(cookie).unwrap());
                    let kind = [("content-type", KINDS[asked % KINDS.len()])];
                    let answer = browser.send(method.clone(), path, &kind, Body::from(body)).await;
                    let status = answer.status.as_u16();
                    assert!(status < 500, "{method} {path} {cookie:?} {body:?}: {status} {}", answer.text);
                    asked += 1;
                }
            }
        }
    }
    assert_eq!(asked, 16 * 4 * 6 * 7);
}

#[tokio::test]
async fn a_form_has_a_bound() {
    let desk = Desk::new();
    let mut browser = desk.browser();
    let csrf = browser.get("/login").await.token();
    let long = "x".repeat(20_000);
    let answer = browser.fill("/login", &[("name", &long), ("password", "x"), ("csrf", &csrf)]).await;
    assert_eq!(answer.status.as_u16(), 413);
    let answer = browser.log_in_by_api("ada", &long).await;
    assert_eq!(answer.status.as_u16(), 413);
}

#[tokio::test]
async fn what_somebody_typed_does_not_become_a_page() {
    let desk = Desk::new();
    let page = desk.browser().log_in("<script>alert(1)</script>\"'", "wrong password").await.text;
    assert!(!page.contains("<script>alert"), "{page}");
    let page = desk.browser().get("/login?next=/%22%3E%3Cscript%3Ealert(1)%3C/script%3E").await.text;
    assert!(!page.contains("<script>alert"), "{page}");
    let mut operator = desk.account("ada", Role::Operator).await;
    let page = operator.get("/audit?user=%3Cscript%3Ealert(1)%3C/script%3E").await.text;
    assert!(!page.contains("<script>alert"), "{page}");
}
