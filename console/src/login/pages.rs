//! The pages before the login, and that of one's own account. They are plain forms, and work without scripts.

use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use modiolus_pipeline::{AccountName, Digest};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::accounts::password;
use crate::api::App;
use crate::app::{Console, Who, random};
use crate::audit::deed::Deed;
use crate::cookie::Cookie;
use crate::extract::{FormBody, PathParams, QueryParams};
use crate::failure::{ApiResult, Failure};
use crate::guard::{Address, is_same};
use crate::pages::{Reader, render};

/// Where people go who didn't say where they want to.
const HOME: &str = "/runs";

/// A form before the login is tied to its browser: the token that it brings follows from a cookie.
struct FormKey<'a> {
    app: &'a Console,
    headers: &'a HeaderMap,
}

impl FormKey<'_> {
    fn token(key: &str) -> String {
        Digest::of_parts([b"form", key.as_bytes()]).to_string()
    }

    fn kept(&self) -> Option<&str> {
        Cookie::Form.read(self.headers, &self.app.access).filter(|key| key.parse::<Digest>().is_ok())
    }

    /// What is wrong with a form, if anything is.
    fn fault(&self, csrf: &str) -> Option<Failure> {
        let is_right = self.kept().is_some_and(|key| is_same(csrf.as_bytes(), Self::token(key).as_bytes()));
        let failure = || {
            Failure::new(
                StatusCode::FORBIDDEN,
                "This form is too old, or your browser keeps no cookies from here",
            )
        };
        (!is_right).then(|| failure().then("try again; over a network the page has to be opened with https"))
    }

    /// A page with a form.
    fn page(&self, status: StatusCode, template: &str, title: &str, page: Value) -> ApiResult<Response> {
        let key = self.kept().map_or_else(random, |key| Ok(key.to_owned()))?;
        let html = render(self.app, Reader::Stranger { csrf: Self::token(&key) }, template, title, page)?;
        let cookie = Cookie::Form.keep(Some(&key), self.headers, &self.app.access)?;
        Ok((status, [cookie], html).into_response())
    }

    /// Leads on with a session.
    fn begun(&self, session: &str, to: &str) -> ApiResult<Response> {
        let cookie = Cookie::Session.keep(Some(session), self.headers, &self.app.access)?;
        Ok(([cookie], Redirect::to(to)).into_response())
    }
}

/// Where to go after the login.
#[derive(Deserialize)]
pub(crate) struct Wanted {
    next: Option<String>,
}

/// A path of this console, and nothing that a browser takes for another host.
fn local(next: Option<&str>) -> &str {
    let is_local = |path: &&str| {
        path.len() <= 2048
            && path.starts_with('/')
            && !path.starts_with("//")
            && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
            && !path.starts_with("/login")
    };
    next.filter(is_local).unwrap_or(HOME)
}

pub(crate) async fn login(
    app: App,
    headers: HeaderMap,
    QueryParams(wanted): QueryParams<Wanted>,
) -> ApiResult<Response> {
    let next = local(wanted.next.as_deref());
    let session = Cookie::Session.read(&headers, &app.access);
    let is_known = match session {
        Some(session) => app.login.whose(session).await?.is_some(),
        None => app.access.everyone.is_some(),
    };
    if is_known {
        return Ok(Redirect::to(next).into_response());
    }
    FormKey { app: &app, headers: &headers }.page(
        StatusCode::OK,
        "login.html",
        "Log in",
        json!({ "next": next }),
    )
}

/// The form of the login.
#[derive(Deserialize)]
pub(crate) struct Credentials {
    name: String,
    password: String,
    next: Option<String>,
    csrf: String,
}

pub(crate) async fn log_in(
    app: App,
    Address(from): Address,
    headers: HeaderMap,
    FormBody(form): FormBody<Credentials>,
) -> ApiResult<Response> {
    let key = FormKey { app: &app, headers: &headers };
    let next = local(form.next.as_deref());
    let tried = match key.fault(&form.csrf) {
        Some(fault) => Err(fault),
        None => app.log_in(&form.name, form.password, from).await,
    };
    match tried {
        Ok(session) => {
            if let Some(before) = Cookie::Session.read(&headers, &app.access) {
                app.login.log_out(before).await?;
            }
            key.begun(&session, next)
        }
        Err(failure) => {
            let page = json!({ "next": next, "name": form.name, "error": failure.said().to_string() });
            key.page(failure.status(), "login.html", "Log in", page)
        }
    }
}

/// What a form brings that only confirms.
#[derive(Deserialize)]
pub(crate) struct Confirmed {
    csrf: String,
}

pub(crate) async fn log_out(
    app: App,
    who: Who,
    headers: HeaderMap,
    FormBody(form): FormBody<Confirmed>,
) -> ApiResult<Response> {
    by_our_form(&who, &form.csrf)?;
    if let Some(session) = Cookie::Session.read(&headers, &app.access) {
        app.login.log_out(session).await?;
    }
    let cookie = Cookie::Session.keep(None, &headers, &app.access)?;
    Ok(([cookie], Redirect::to("/login")).into_response())
}

fn by_our_form(who: &Who, csrf: &str) -> ApiResult<()> {
    match is_same(csrf.as_bytes(), who.csrf.as_bytes()) {
        true => Ok(()),
        false => Err(Failure::new(StatusCode::FORBIDDEN, "this form is too old").then("load the page again")),
    }
}

/// The form that sets a password.
#[derive(Deserialize)]
pub(crate) struct NewPassword {
    before: Option<String>,
    password: String,
    again: String,
    csrf: String,
}

impl NewPassword {
    fn fault(&self) -> Option<String> {
        let differ = || "The two passwords are not the same.".to_owned();
        password::fault(&self.password).or_else(|| (self.password != self.again).then(differ))
    }
}

fn used() -> Failure {
    Failure::new(StatusCode::GONE, "this link was used already, or is too old")
        .then("ask an operator for another: `modiolus users link NAME` makes one")
}

pub(crate) async fn link(
    app: App,
    headers: HeaderMap,
    PathParams((name, token)): PathParams<(AccountName, String)>,
) -> ApiResult<Response> {
    match app.login.is_link(&name, &token).await? {
        true => FormKey { app: &app, headers: &headers }.page(
            StatusCode::OK,
            "link.html",
            "Set your password",
            json!({ "name": name }),
        ),
        false => Err(used()),
    }
}

pub(crate) async fn set_password(
    app: App,
    headers: HeaderMap,
    PathParams((name, token)): PathParams<(AccountName, String)>,
    FormBody(form): FormBody<NewPassword>,
) -> ApiResult<Response> {
    if !app.login.is_link(&name, &token).await? {
        return Err(used());
    }
    let key = FormKey { app: &app, headers: &headers };
    let again = |status, error: String| {
        key.page(status, "link.html", "Set your password", json!({ "name": name, "error": error }))
    };
    if let Some(fault) = key.fault(&form.csrf) {
        return again(fault.status(), fault.said().to_string());
    }
    if let Some(fault) = form.fault() {
        return again(StatusCode::UNPROCESSABLE_ENTITY, fault);
    }
    let session = app.login.use_link(&name, &token, form.password).await?.ok_or_else(used)?;
    let who = app.login.whose(&session).await?;
    app.journal.note(who.as_ref(), Deed::new("password set", None), StatusCode::OK);
    key.begun(&session, HOME)
}

/// Whether something was just done.
#[derive(Deserialize)]
pub(crate) struct Done {
    done: Option<String>,
}

pub(crate) async fn account(app: App, who: Who, QueryParams(done): QueryParams<Done>) -> ApiResult<Response> {
    let page = json!({ "done": done.done.is_some() });
    Ok(render(&app, Reader::Known(&who), "account.html", "Account", page)?.into_response())
}

pub(crate) async fn change_password(
    app: App,
    who: Who,
    Address(from): Address,
    headers: HeaderMap,
    FormBody(form): FormBody<NewPassword>,
) -> ApiResult<Response> {
    by_our_form(&who, &form.csrf)?;
    let again = |error: &str| {
        let page = render(&app, Reader::Known(&who), "account.html", "Account", json!({ "error": error }))?;
        Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
    };
    if let Some(fault) = form.fault() {
        return again(&fault);
    }
    let name: AccountName = match who.name.parse() {
        Ok(name) if who.has_session => name,
        _ => return Err(Failure::conflict("you have not logged in here, so there is no password to change")),
    };
    let before = form.before.unwrap_or_default();
    match app.login.change_password(&name, before, form.password, from).await? {
        Some(session) => FormKey { app: &app, headers: &headers }.begun(&session, "/account?done=1"),
        None => again("The password that you have now is another."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_the_login_nobody_ends_up_elsewhere() {
        for next in ["/runs/july", "/slices/P-1/s-2?run=july", "/"] {
            assert_eq!(local(Some(next)), next);
        }
        for next in [
            "",
            "runs",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "/\t/evil.example",
            "/\nx",
            "/login?next=/",
            "/ä",
            "javascript:alert(1)",
            &format!("/{}", "x".repeat(3000)),
        ] {
            assert_eq!(local(Some(next)), HOME, "{next:?}");
        }
        assert_eq!(local(None), HOME);
    }
}
