//! Where a page comes from, as browsers tell it.

use std::fmt;
use std::str::FromStr;

use http::{HeaderValue, Uri};

/// The scheme, host and port that a page was loaded from, in the form that browsers send: lower case, and without the
/// port that the scheme has anyway.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin(HeaderValue);

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // It was made of text.
        f.write_str(self.0.to_str().unwrap_or_default())
    }
}

/// Why a text is no origin whose pages could be let call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// `*` stands for every page there is.
    #[error("name each origin: with * every page that somebody opens could call from their browser")]
    Every,
    /// `null` is what browsers send for pages that come from nowhere.
    #[error("null is what any sandboxed page and any local file has, so it names nobody")]
    Null,
    /// It has not the form of an origin.
    #[error("an origin is scheme://host or scheme://host:port, such as https://shop.example")]
    Form,
}

impl Origin {
    /// What browsers send.
    pub(super) const fn header(&self) -> &HeaderValue {
        &self.0
    }
}

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "*" => return Err(OriginError::Every),
            "null" => return Err(OriginError::Null),
            _ => {}
        }
        let uri: Uri = text.parse().map_err(|_| OriginError::Form)?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(OriginError::Form);
        };
        let host = authority.host();
        let is_name = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
        let is_address = host.starts_with('[') && host.ends_with(']');
        let port = authority.port_u16();
        // Whatever else stands in the authority, such as a user's name or an empty port, no browser would send.
        let is_whole = authority.as_str() == port.map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let is_all = uri.path().trim_start_matches('/').is_empty() && uri.query().is_none();
        if host.is_empty() || !(is_name || is_address) || !is_whole || !is_all {
            return Err(OriginError::Form);
        }
        let own_port = match (scheme.to_ascii_lowercase().as_str(), port) {
            ("http", Some(80)) | ("https", Some(443)) | (_, None) => String::new(),
            (_, Some(port)) => format!(":{port}"),
        };
        let origin = format!("{scheme}://{host}{own_port}").to_ascii_lowercase();
        HeaderValue::try_from(origin).map(Self).map_err(|_| OriginError::Form)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_kept_as_browsers_send_it() {
        for (text, sent) in [
            ("https://shop.example", "https://shop.example"),
            ("HTTPS://Shop.Example/", "https://shop.example"),
            ("https://shop.example:443", "https://shop.example"),
            ("http://shop.example:80", "http://shop.example"),
            ("http://shop.example:443", "http://shop.example:443"),
            ("http://localhost:5173", "http://localhost:5173"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("http://[::1]:8080", "http://[::1]:8080"),
            ("capacitor://localhost", "capacitor://localhost"),
        ] {
            assert_eq!(text.parse::<Origin>().unwrap().header(), sent, "{text}");
        }
    }

    #[test]
    fn what_no_browser_would_send_is_refused_with_a_reason() {
        for bad in [
            "",
            "shop.example",
            "//shop.example",
            "https://",
            "https://shop.example/cart",
            "https://shop.example?x",
            "https://anna@shop.example",
            "https://shop.example:",
            "https://shop.example:0443",
            "https://shop.example:70000",
            "https://*.shop.example",
            "https://shöp.example",
            "https://a b",
            "https://a.example,https://b.example",
        ] {
            assert_eq!(bad.parse::<Origin>(), Err(OriginError::Form), "{bad}");
        }
        assert_eq!("*".parse::<Origin>(), Err(OriginError::Every));
        assert_eq!("null".parse::<Origin>(), Err(OriginError::Null));
    }
}
