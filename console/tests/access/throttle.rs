//! How often passwords may be tried.

use axum::http::StatusCode;
use modiolus_console::{Access, Role};

use crate::desk::{Browser, Desk, PASSWORD};

async fn try_wrong(browser: &mut Browser<'_>, name: &str) -> StatusCode {
    browser.log_in_by_api(name, "wrong password").await.status
}

#[tokio::test]
async fn an_account_is_tried_ten_times_at_once_and_then_once_a_minute_from_wherever() {
    let desk = Desk::new();
    desk.account("ada", Role::Viewer).await;
    desk.account("bob", Role::Viewer).await;
    let mut browser = desk.browser();
    for number in 0..10 {
        browser.peer = ([10, 0, 0, number], 1).into();
        assert_eq!(try_wrong(&mut browser, "ada").await, StatusCode::UNAUTHORIZED);
    }
    let refused = browser.log_in_by_api("ADA", PASSWORD).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS, "not even with the right one");
    assert_eq!(refused.headers["retry-after"], "60");
    let page = desk.browser().log_in("ada", PASSWORD).await;
    assert_eq!(page.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(page.text.contains("try again in 60 seconds"), "{}", page.text);
    assert_eq!(browser.log_in_by_api("bob", PASSWORD).await.status, StatusCode::OK);
    desk.wait(60);
    assert_eq!(browser.log_in_by_api("ada", PASSWORD).await.status, StatusCode::OK);
}

#[tokio::test]
async fn who_knows_the_password_is_never_slowed() {
    let desk = Desk::new();
    desk.account("ada", Role::Viewer).await;
    for _ in 0..12 {
        assert_eq!(desk.browser().log_in_by_api("ada", PASSWORD).await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn an_address_tries_many_names_only_so_often() {
    let proxies = vec!["10.0.0.5".parse().unwrap()];
    let desk = Desk::with(Access { proxies, ..Access::default() });
    let mut flood = desk.browser();
    flood.peer = "[2001:db8::1]:1".parse().unwrap();
    for number in 0..30 {
        assert_eq!(try_wrong(&mut flood, &format!("name-{number}")).await, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(try_wrong(&mut flood, "another").await, StatusCode::TOO_MANY_REQUESTS);
    flood.peer = "[2001:db8::ffff]:1".parse().unwrap();
    assert_eq!(try_wrong(&mut flood, "another").await, StatusCode::TOO_MANY_REQUESTS, "its own network");
    flood.headers.insert("x-forwarded-for", "192.0.2.1".parse().unwrap());
    assert_eq!(try_wrong(&mut flood, "another").await, StatusCode::TOO_MANY_REQUESTS, "it is no proxy");

    let mut proxy = desk.browser();
    proxy.peer = "10.0.0.5:1".parse().unwrap();
    for (forwarded, status) in [
        ("2001:db8::7", StatusCode::TOO_MANY_REQUESTS),
        ("192.0.2.1, 2001:db8::7", StatusCode::TOO_MANY_REQUESTS),
        ("2001:db8::7, 192.0.2.1", StatusCode::UNAUTHORIZED),
        ("192.0.2.1:4711, 10.0.0.5", StatusCode::UNAUTHORIZED),
        ("rubbish", StatusCode::UNAUTHORIZED),
    ] {
        proxy.headers.insert("x-forwarded-for", forwarded.parse().unwrap());
        assert_eq!(try_wrong(&mut proxy, "one-more").await, status, "{forwarded}");
    }
}
