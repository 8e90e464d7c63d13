//! What a browser keeps for us.

use axum::http::header::{COOKIE, HOST, SET_COOKIE};
use axum::http::{HeaderMap, HeaderName, HeaderValue};

use crate::access::{Access, is_loopback_name};
use crate::failure::Failure;

/// A cookie of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cookie {
    /// The session. A link from elsewhere finds its reader logged in.
    Session,
    /// What a form before the login is tied to.
    Form,
}

impl Cookie {
    /// Its name: with `__Host-` no neighbouring host can set it, which browsers grant to secure cookies only.
    fn name(self, is_secure: bool) -> &'static str {
        match (self, is_secure) {
            (Self::Session, true) => "__Host-modiolus",
            (Self::Session, false) => "modiolus",
            (Self::Form, true) => "__Host-modiolus-form",
            (Self::Form, false) => "modiolus-form",
        }
    }

    /// What a request brings.
    pub(crate) fn read<'a>(self, headers: &'a HeaderMap, access: &Access) -> Option<&'a str> {
        let name = self.name(is_secure(headers, access));
        let all = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut pairs = all.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(found, _)| *found == name).map(|(_, value)| value)
    }

    /// The header that has the browser keep this value, until it is closed, or forget it where there is none.
    pub(crate) fn keep(
        self,
        value: Option<&str>,
        headers: &HeaderMap,
        access: &Access,
    ) -> Result<(HeaderName, HeaderValue), Failure> {
        let is_secure = is_secure(headers, access);
        let (name, secure) = (self.name(is_secure), if is_secure { "; Secure" } else { "" });
        let same_site = if self == Self::Session { "Lax" } else { "Strict" };
        let (value, age) = value.map_or(("", "; Max-Age=0"), |value| (value, ""));
        let text = format!("{name}={value}; Path=/; HttpOnly; SameSite={same_site}{secure}{age}");
        let header = HeaderValue::try_from(text).map_err(anyhow::Error::from)?;
        Ok((SET_COOKIE, header))
    }
}

/// Only where the browser itself says that it talks to its own machine, cookies may go without encryption.
fn is_secure(headers: &HeaderMap, access: &Access) -> bool {
    match &access.origin {
        Some(origin) => origin.is_https(),
        None => !headers.get(HOST).and_then(|host| host.to_str().ok()).is_some_and(is_loopback_name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(host: &'static str, cookies: &[&'static [u8]]) -> HeaderMap {
        let mut headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static(host))]);
        for cookie in cookies {
            headers.append(COOKIE, HeaderValue::from_bytes(cookie).unwrap());
        }
        headers
    }

    fn kept(cookie: Cookie, value: Option<&str>, host: &'static str, access: &Access) -> String {
        let (_, header) = cookie.keep(value, &asked(host, &[]), access).unwrap();
        header.to_str().unwrap().to_owned()
    }

    #[test]
    fn a_cookie_is_out_of_reach_for_scripts_other_sites_and_whoever_listens() {
        let anywhere = Access::default();
        let flags = kept(Cookie::Session, Some("x"), "review.example.org", &anywhere);
        assert_eq!(flags, "__Host-modiolus=x; Path=/; HttpOnly; SameSite=Lax; Secure");
        let flags = kept(Cookie::Form, Some("x"), "review.example.org", &anywhere);
        assert_eq!(flags, "__Host-modiolus-form=x; Path=/; HttpOnly; SameSite=Strict; Secure");
        let flags = kept(Cookie::Session, None, "127.0.0.1:8080", &anywhere);
        assert_eq!(flags, "modiolus=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0");
        let named = Access { origin: Some("https://review.example.org".parse().unwrap()), ..anywhere };
        assert!(kept(Cookie::Session, Some("x"), "localhost", &named).contains("; Secure"));
    }

    #[test]
    fn a_cookie_is_found_among_others_and_rubbish_is_none() {
        let access = Access::default();
        let read = |host, cookies: &[&'static [u8]]| {
            Cookie::Session.read(&asked(host, cookies), &access).map(ToOwned::to_owned)
        };
        assert_eq!(read("localhost", &[b"a=b; modiolus=1", b"modiolus=2"]).as_deref(), Some("1"));
        assert_eq!(read("review", &[b"modiolus=1; __Host-modiolus=2"]).as_deref(), Some("2"));
        assert_eq!(read("localhost", &[b"\xff\xfe", b";;;=;modiolus", b"xmodiolus=1"]), None);
    }
}
