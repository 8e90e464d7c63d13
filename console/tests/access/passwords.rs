//! One-time links, and what another password or another role does to sessions.

use axum::http::StatusCode;
use modiolus_console::Role;

use crate::desk::{Desk, PASSWORD};

const OTHER: &str = "another fine password";

#[tokio::test]
async fn a_link_sets_a_password_once() {
    let desk = Desk::new();
    let invitation = desk.accounts.add("ada".parse().unwrap(), Role::Operator).await.unwrap();
    let (mut first, mut second) = (desk.browser(), desk.browser());
    let csrf = second.get(&invitation.link).await.token();
    assert_eq!(first.set_password(&invitation.link, PASSWORD, PASSWORD).await.status, StatusCode::SEE_OTHER);
    assert_eq!(first.who().await.unwrap().1, "operator");
    let fields = [("password", OTHER), ("again", OTHER), ("csrf", csrf.as_str())];
    let late = second.fill(&invitation.link, &fields).await;
    assert_eq!(late.status, StatusCode::GONE);
    assert!(late.text.contains("used already"), "{}", late.text);
    assert!(second.who().await.is_none());
    assert_eq!(second.get(&invitation.link).await.status, StatusCode::GONE);
    assert_eq!(desk.browser().log_in_by_api("ada", OTHER).await.status, StatusCode::UNAUTHORIZED);
    assert!(first.who().await.is_some());
}

#[tokio::test]
async fn of_two_who_use_a_link_at_once_one_gets_in() {
    let desk = Desk::new();
    let link = desk.accounts.add("ada".parse().unwrap(), Role::Viewer).await.unwrap().link;
    let (mut one, mut other) = (desk.browser(), desk.browser());
    let both = futures::future::join(
        one.set_password(&link, PASSWORD, PASSWORD),
        other.set_password(&link, OTHER, OTHER),
    );
    let (first, second) = both.await;
    let mut statuses = [first.status, second.status];
    statuses.sort();
    assert_eq!(statuses, [StatusCode::SEE_OTHER, StatusCode::GONE]);
}

#[tokio::test]
async fn a_link_is_good_for_a_day_and_until_there_is_another() {
    let desk = Desk::new();
    let first = desk.accounts.add("ada".parse().unwrap(), Role::Viewer).await.unwrap();
    assert!(desk.accounts.add("Ada".parse().unwrap(), Role::Operator).await.is_err());
    let second = desk.accounts.renew_link("ada".parse().unwrap()).await.unwrap();
    let mut browser = desk.browser();
    assert_eq!(browser.get(&first.link).await.status, StatusCode::GONE);
    assert_eq!(browser.get(&second.link).await.status, StatusCode::OK);
    desk.accounts.add("bob".parse().unwrap(), Role::Viewer).await.unwrap();
    let of_bob = second.link.replace("/ada/", "/bob/");
    assert_eq!(browser.get(&of_bob).await.status, StatusCode::GONE);
    desk.wait(24 * 3600);
    assert_eq!(browser.get(&second.link).await.status, StatusCode::GONE);
    assert_eq!(desk.accounts.list().await.unwrap()[0].link_until, None);
    let token = second.link.rsplit('/').next().unwrap();
    assert!(!desk.kept().await.contains(token), "only its digest is kept");
}

#[tokio::test]
async fn a_password_that_is_too_short_or_mistyped_is_asked_for_again() {
    let desk = Desk::new();
    let link = desk.accounts.add("ada".parse().unwrap(), Role::Viewer).await.unwrap().link;
    let mut browser = desk.browser();
    let long = "x".repeat(300);
    for (password, again, words) in [
        ("eleven char", "eleven char", "at least 12"),
        (PASSWORD, OTHER, "not the same"),
        (long.as_str(), long.as_str(), "at most 256"),
    ] {
        let answer = browser.set_password(&link, password, again).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(answer.text.contains(words), "{}", answer.text);
    }
    let forged = [("password", PASSWORD), ("again", PASSWORD), ("csrf", "0123")];
    assert_eq!(browser.fill(&link, &forged).await.status, StatusCode::FORBIDDEN);
    assert_eq!(browser.set_password(&link, PASSWORD, PASSWORD).await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn another_password_ends_all_other_sessions() {
    let desk = Desk::new();
    let mut here = desk.account("ada", Role::Viewer).await;
    let mut elsewhere = desk.browser();
    elsewhere.log_in("ada", PASSWORD).await;
    let mut bob = desk.account("bob", Role::Viewer).await;
    let csrf = here.token().await;
    let change =
        |before| [("before", before), ("password", OTHER), ("again", OTHER), ("csrf", csrf.as_str())];
    let wrong = here.fill("/account", &change("not my password")).await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(elsewhere.who().await.is_some());
    let done = here.fill("/account", &change(PASSWORD)).await;
    assert_eq!((done.status, done.location()), (StatusCode::SEE_OTHER, "/account?done=1"));
    assert!(here.who().await.is_some() && bob.who().await.is_some());
    assert!(elsewhere.who().await.is_none());
    assert_eq!(desk.browser().log_in_by_api("ada", PASSWORD).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(desk.browser().log_in_by_api("ada", OTHER).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_forgotten_password_is_replaced_and_its_sessions_end() {
    let desk = Desk::new();
    let mut before = desk.account("ada", Role::Viewer).await;
    let link = desk.accounts.renew_link("ada".parse().unwrap()).await.unwrap().link;
    assert!(before.who().await.is_some(), "a link that nobody has used changes nothing");
    assert_eq!(desk.browser().set_password(&link, OTHER, OTHER).await.status, StatusCode::SEE_OTHER);
    assert!(before.who().await.is_none());
}

#[tokio::test]
async fn what_another_process_does_to_an_account_counts_after_some_seconds() {
    let desk = Desk::new();
    let name = "ada".parse().unwrap();
    let mut ada = desk.account("ada", Role::Operator).await;
    assert_eq!(ada.get("/audit").await.status, StatusCode::OK);
    desk.accounts.set_role(&name, Role::Viewer).await.unwrap();
    desk.wait(5);
    assert_eq!(ada.get("/audit").await.status, StatusCode::FORBIDDEN);
    let copy = ada.clone();
    desk.accounts.remove(&name).await.unwrap();
    desk.wait(5);
    assert!(ada.who().await.is_none());
    desk.account("ada", Role::Viewer).await;
    desk.wait(5);
    assert!(copy.clone().who().await.is_none(), "the next of that name is somebody else");
}
