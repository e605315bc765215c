//! The guard around addresses that clients choose. A webhook URL is an attack until shown otherwise: what a name
//! resolves to is checked at connect time, so that a name that changes between check and call gains nothing.

use std::{
    error::Error,
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use http_acl::HttpAcl;
use reqwest::{
    Client,
    dns::{Addrs, Name, Resolve, Resolving},
    redirect::Policy,
};
use url::{Host, Url};

/// Why an address may not be called. The code is stable: clients see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    /// Not a URL.
    #[error("The URL cannot be read.")]
    Unreadable,
    /// Not `https`.
    #[error("The URL begins with https://.")]
    Scheme,
    /// A user name or password.
    #[error("The URL names no user and no password.")]
    UserInfo,
    /// No host, or an address that is not public.
    #[error("The URL's host is a public one.")]
    Address,
    /// A fragment, which is never sent.
    #[error("The URL has no fragment.")]
    Fragment,
}

impl Forbidden {
    /// The stable code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Unreadable => "url_invalid",
            Self::Scheme => "url_scheme_forbidden",
            Self::UserInfo => "url_userinfo_forbidden",
            Self::Address => "url_address_forbidden",
            Self::Fragment => "url_fragment_forbidden",
        }
    }
}

/// Which addresses may be called: public ones, and this machine if a local run says so.
#[derive(Clone)]
pub struct Guard {
    acl: Arc<HttpAcl>,
    allow_loopback: bool,
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("allow_loopback", &self.allow_loopback).finish_non_exhaustive()
    }
}

impl Guard {
    /// Public addresses only, but for loopback where `allow_loopback`.
    pub fn new(allow_loopback: bool) -> Self {
        let acl = HttpAcl::builder().ip_acl_default(true).host_acl_default(true).non_global_ip_ranges(false).build();
        Self { acl: Arc::new(acl), allow_loopback }
    }

    /// Whether a connection to this address may be made.
    pub fn allows(&self, ip: IpAddr) -> bool {
        // A v4 address dressed up as v6 is judged by what it is.
        let ip = ip.to_canonical();
        if ip.is_loopback() {
            return self.allow_loopback;
        }
        // The list counts multicast as global, which it is; a webhook endpoint it is not.
        !ip.is_multicast() && self.acl.is_ip_allowed(&ip).is_allowed()
    }

    /// Reads a URL and refuses what can be refused without resolving its name.
    pub fn check(&self, text: &str) -> Result<Url, Forbidden> {
        let url = Url::parse(text).map_err(|_| Forbidden::Unreadable)?;
        let is_local = match url.host() {
            Some(Host::Domain(name)) => absolute(name) == "localhost",
            Some(Host::Ipv4(ip)) => ip.is_loopback(),
            Some(Host::Ipv6(ip)) => ip.to_canonical().is_loopback(),
            None => false,
        };
        match url.scheme() {
            "https" => {}
            "http" if self.allow_loopback && is_local => {}
            _ => return Err(Forbidden::Scheme),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Forbidden::UserInfo);
        }
        if url.fragment().is_some() {
            return Err(Forbidden::Fragment);
        }
        let allowed = match url.host() {
            Some(Host::Domain(name)) => self.allow_loopback || !is_local && !absolute(name).ends_with(".localhost"),
            Some(Host::Ipv4(ip)) => self.allows(IpAddr::V4(ip)),
            Some(Host::Ipv6(ip)) => self.allows(IpAddr::V6(ip)),
            None => false,
        };
        if allowed { Ok(url) } else { Err(Forbidden::Address) }
    }

    /// A client that connects only to allowed addresses, follows no redirect and asks no proxy.
    /// A literal address does not go through its resolver: `check` the URL before every call.
    pub fn client(&self, connect_timeout: Duration, timeout: Duration) -> Result<Client, reqwest::Error> {
        Client::builder()
            .dns_resolver(Arc::new(GuardedResolver(self.clone())))
            .redirect(Policy::none())
            .no_proxy()
            .connect_timeout(connect_timeout)
            .timeout(timeout)
            .user_agent(concat!("Florin/", env!("CARGO_PKG_VERSION")))
            .build()
    }
}

/// A name without the dot that it may end with, which changes nothing in what it resolves to.
fn absolute(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

struct GuardedResolver(Guard);

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.0.clone();
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            // One forbidden address among allowed ones is an attack, not a mistake: none of them is used.
            if found.is_empty() || !found.iter().all(|address| guard.allows(address.ip())) {
                let error: Box<dyn Error + Send + Sync> = Box::new(Forbidden::Address);
                return Err(error);
            }
            let addresses: Addrs = Box::new(found.into_iter());
            Ok(addresses)
        })
    }
}

/// Whether a failed call failed because its name resolved to a forbidden address.
pub fn was_forbidden(error: &reqwest::Error) -> bool {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.is::<Forbidden>() {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_allowed() {
        let guard = Guard::new(false);
        for ip in [
            "127.0.0.1",
            "127.1.2.3",
            "0.0.0.0",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "169.254.169.254",
            "169.254.100.1",
            "192.0.0.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "2002:7f00:1::",
        ] {
            assert!(!guard.allows(ip.parse().unwrap()), "{ip}");
        }
        for ip in ["93.184.216.34", "8.8.8.8", "2606:4700:4700::1111"] {
            assert!(guard.allows(ip.parse().unwrap()), "{ip}");
        }
    }

    #[test]
    fn loopback_is_allowed_only_when_asked_for_and_nothing_else_with_it() {
        let guard = Guard::new(true);
        for ip in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            assert!(guard.allows(ip.parse().unwrap()), "{ip}");
        }
        for ip in ["10.0.0.1", "169.254.169.254", "0.0.0.0"] {
            assert!(!guard.allows(ip.parse().unwrap()), "{ip}");
        }
    }

    #[test]
    fn urls_are_refused_by_rule() {
        let guard = Guard::new(false);
        for (url, code) in [
            ("", "url_invalid"),
            ("shop.example/hooks", "url_invalid"),
            ("http://shop.example/hooks", "url_scheme_forbidden"),
            ("ftp://shop.example", "url_scheme_forbidden"),
            ("file:///etc/passwd", "url_scheme_forbidden"),
            ("https://user:pass@shop.example/", "url_userinfo_forbidden"),
            ("https://shop.example/#part", "url_fragment_forbidden"),
            ("https://127.0.0.1/", "url_address_forbidden"),
            ("https://2130706433/", "url_address_forbidden"),
            ("https://0x7f.1/", "url_address_forbidden"),
            ("https://[::ffff:10.0.0.1]/", "url_address_forbidden"),
            ("https://169.254.169.254/latest/meta-data", "url_address_forbidden"),
            ("https://localhost/", "url_address_forbidden"),
            ("https://localhost./", "url_address_forbidden"),
            ("https://a.localhost/", "url_address_forbidden"),
            ("https://a.localhost./", "url_address_forbidden"),
            ("http://127.0.0.1:9001/2018-06-01/runtime", "url_scheme_forbidden"),
        ] {
            assert_eq!(guard.check(url).map_err(Forbidden::code), Err(code), "{url}");
        }
        assert!(guard.check("https://shop.example/hooks?a=b").is_ok());
        let local = Guard::new(true);
        assert!(local.check("http://127.0.0.1:8000/hooks").is_ok());
        assert!(local.check("http://localhost:8000/hooks").is_ok());
        assert_eq!(local.check("http://10.0.0.1/"), Err(Forbidden::Scheme));
        assert_eq!(local.check("https://10.0.0.1/"), Err(Forbidden::Address));
    }

    #[tokio::test]
    async fn a_name_that_resolves_to_a_forbidden_address_is_not_called() {
        let second = Duration::from_secs(1);
        let client = Guard::new(false).client(second, second).unwrap();
        // The name is resolved by the system; nothing listens there, and nothing is asked.
        let error = client.get("https://localhost:9/").send().await.unwrap_err();
        assert!(was_forbidden(&error), "{error:?}");
    }
}
