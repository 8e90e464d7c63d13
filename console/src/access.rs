//! How people get in: what whoever starts a console decides.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};
pub use axum::http::HeaderName;
use axum::http::Uri;
use ipnet::IpNet;

use crate::app::{Role, Who};

/// Who gets in, and under which name the page is reached.
///
/// Where nothing is set, people log in with accounts, from any address, under any name.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// Who everyone is, where nobody is asked: for a page that only this machine reaches.
    pub everyone: Option<Who>,
    /// Where people open the page; requests for another name are refused. Otherwise any name will do, and where nobody is
    /// asked the names of this machine.
    pub origin: Option<Origin>,
    /// The reverse proxies in front: they are believed when they say for whom they ask. Nobody else is.
    pub proxies: Vec<Network>,
    /// The header in which they name somebody who has logged in with them, such as `X-Forwarded-User`.
    pub proxy_header: Option<HeaderName>,
    /// What somebody may do who has no account and whom a proxy names; otherwise look.
    pub proxy_role: Role,
}

impl Access {
    /// Nobody is asked: everyone is this one.
    pub fn open_to(everyone: Who) -> Self {
        Self { everyone: Some(everyone), ..Self::default() }
    }

    /// Whether all this makes sense together, and for a page that listens there.
    ///
    /// # Errors
    /// When other machines could come in without being asked who they are, or a proxy's header could not be believed.
    pub fn check(&self, listen: SocketAddr) -> Result<()> {
        if let Some(header) = &self.proxy_header {
            ensure!(
                !self.proxies.is_empty(),
                "{header}: say from which proxies it is believed, such as 10.0.0.5"
            );
            ensure!(self.everyone.is_none(), "{header}: a proxy can't say who asks where nobody is asked");
        }
        if self.everyone.is_some() && !listen.ip().is_loopback() {
            bail!(
                "{listen}: without accounts only this machine is served: listen on 127.0.0.1, or make an account with \
                 `modiolus users add`"
            );
        }
        Ok(())
    }

    /// Whether this address is a proxy's.
    pub(crate) fn is_proxy(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.proxies.iter().any(|network| network.0.contains(&peer))
    }
}

/// Some addresses: `10.0.0.5`, `10.0.0.0/24`, `fd00::/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network(IpNet);

impl FromStr for Network {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let one = text.parse::<IpAddr>().map(IpNet::from);
        let network = one.or_else(|_| text.parse());
        Ok(Self(network.with_context(|| {
            format!("{text:?} is no address or network, such as 10.0.0.5 or 10.0.0.0/24")
        })?))
    }
}

/// Where people open the page: `https://review.example.org`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    authority: String,
    is_https: bool,
}

impl Origin {
    /// Its host, with the port where it isn't the scheme's own.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// Whether what is sent there can't be read on the way.
    pub(crate) fn is_https(&self) -> bool {
        self.is_https
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}", if self.is_https { "https" } else { "http" }, self.authority)
    }
}

impl FromStr for Origin {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let said = || format!("{text:?} is no origin, such as https://review.example.org");
        let uri: Uri = text.parse().with_context(said)?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            bail!("{}", said())
        };
        let is_bare =
            matches!(uri.path(), "" | "/") && uri.query().is_none() && !authority.as_str().contains('@');
        ensure!(is_bare && matches!(scheme, "http" | "https"), "{}", said());
        let is_https = scheme == "https";
        let authority = authority.as_str().to_ascii_lowercase();
        ensure!(
            is_https || is_loopback_name(&authority),
            "{text}: passwords would be readable on the way: put a proxy with a certificate in front, and use https"
        );
        let usual = if is_https { ":443" } else { ":80" };
        let authority = authority.strip_suffix(usual).unwrap_or(&authority).to_owned();
        Ok(Self { authority, is_https })
    }
}

/// Whether a name (with a port or without) is one of those that every machine has for itself.
pub(crate) fn is_loopback_name(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    matches!(name, "localhost" | "127.0.0.1" | "[::1]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_somebody_else_leads_here_is_not_this_machines() {
        for host in ["localhost", "localhost:8080", "127.0.0.1:1", "[::1]:8080", "[::1]"] {
            assert!(is_loopback_name(host), "{host}");
        }
        for host in ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "localhost:x", ""] {
            assert!(!is_loopback_name(host), "{host}");
        }
    }

    #[test]
    fn an_origin_is_a_scheme_and_a_host_and_needs_a_certificate_off_this_machine() {
        let origin = |text: &str| text.parse::<Origin>().map(|origin| origin.to_string()).ok();
        assert_eq!(origin("https://Review.example.org:443/").as_deref(), Some("https://review.example.org"));
        assert_eq!(origin("https://review:8443").as_deref(), Some("https://review:8443"));
        assert_eq!(origin("http://127.0.0.1:8080").as_deref(), Some("http://127.0.0.1:8080"));
        for text in [
            "",
            "review.example.org",
            "ftp://x",
            "https://x/path",
            "https://a@x",
            "https://x?q",
            "http://review",
        ] {
            assert_eq!(origin(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_network_is_an_address_or_many() {
        let access = Access {
            proxies: ["10.0.0.5", "192.168.0.0/16", "fd00::/8"].map(|text| text.parse().unwrap()).to_vec(),
            ..Access::default()
        };
        for (peer, is_proxy) in [
            ("10.0.0.5", true),
            ("10.0.0.6", false),
            ("::ffff:192.168.3.4", true),
            ("fd00::1", true),
            ("fe80::1", false),
        ] {
            assert_eq!(access.is_proxy(peer.parse().unwrap()), is_proxy, "{peer}");
        }
        assert!("10.0.0.0/33".parse::<Network>().is_err() && "proxy".parse::<Network>().is_err());
    }

    #[test]
    fn nobody_comes_in_from_outside_without_being_asked() {
        let (here, outside) = (([127, 0, 0, 1], 80).into(), ([0, 0, 0, 0], 80).into());
        let open = Access::open_to(Who::new("ada", Role::Operator));
        assert!(open.check(here).is_ok());
        assert!(open.check(outside).unwrap_err().to_string().contains("only this machine"));
        assert!(Access::default().check(outside).is_ok());
        let header = Some(HeaderName::from_static("x-forwarded-user"));
        let unbelieved = Access { proxy_header: header.clone(), ..Access::default() };
        assert!(unbelieved.check(outside).unwrap_err().to_string().contains("believed"));
        let proxies = vec!["10.0.0.5".parse().unwrap()];
        assert!(Access { proxy_header: header, proxies, ..Access::default() }.check(outside).is_ok());
    }
}
