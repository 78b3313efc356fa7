//! Requests that a browser sends for a page of another origin, or before its user asks for them.
//!
//! A browser sends simple requests without a preflight, and the API reads every body as JSON,
//! whatever its content type. So a page of another origin could switch leaks. It could also move a
//! baseline with an image. Browsers say where a request comes from: in `Sec-Fetch-Site` if the host
//! is `localhost` or reached by TLS, and in `Origin` if the request is not a simple GET.

use axum::http::{HeaderMap, header};

/// Whether a page of another origin sent this. `same-site` counts as another origin: it can be any
/// other program on this machine that serves a page.
pub(super) fn is_cross_origin(headers: &HeaderMap) -> bool {
    let is_own = |site: &[u8]| site == b"same-origin" || site == b"none";
    let mut sites = headers.get_all("sec-fetch-site").iter();
    sites.any(|site| !is_own(site.as_bytes()))
}

/// Whether the origin is another than the host that the request names.
pub(super) fn has_foreign_origin(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return false;
    };
    let authority = origin
        .to_str()
        .ok()
        .and_then(|origin| origin.split_once("://"))
        .map(|(_, authority)| authority.as_bytes());
    authority != headers.get(header::HOST).map(|host| host.as_bytes())
}

/// Whether a browser only prepares for a visit that may never happen.
pub(crate) fn is_prefetch(headers: &HeaderMap) -> bool {
    let names = ["sec-purpose", "purpose", "x-purpose", "x-moz"];
    let mut values = names.iter().flat_map(|name| headers.get_all(*name));
    values.any(|value| {
        let value = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
        ["prefetch", "prerender", "preview"]
            .iter()
            .any(|purpose| value.contains(purpose))
    })
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn an_origin_other_than_the_host_is_foreign() {
        for (origin, foreign) in [
            (None, false),
            (Some("http://localhost:8080"), false),
            (Some("https://localhost:8080"), false),
            (Some("http://localhost"), true),
            (Some("http://localhost:80801"), true),
            (Some("http://elsewhere.example"), true),
            (Some("null"), true),
            (Some(""), true),
        ] {
            let mut sent = vec![("host", "localhost:8080")];
            sent.extend(origin.map(|origin| ("origin", origin)));
            assert_eq!(has_foreign_origin(&headers(&sent)), foreign, "{origin:?}");
        }
    }

    #[test]
    fn only_the_same_origin_and_the_user_are_not_another_site() {
        let site = "sec-fetch-site";
        for (sent, expected) in [
            (&[][..], false),
            (&[(site, "same-origin")], false),
            (&[(site, "none")], false),
            (&[(site, "same-site")], true),
            (&[(site, "cross-site")], true),
            (&[(site, "unheard-of")], true),
            (&[(site, "")], true),
            (&[(site, "none"), (site, "cross-site")], true),
        ] {
            assert_eq!(is_cross_origin(&headers(sent)), expected, "{sent:?}");
        }
    }

    #[test]
    fn every_spelling_of_a_prefetch_is_one() {
        for (sent, expected) in [
            (&[][..], false),
            (&[("sec-purpose", "prefetch")], true),
            (&[("sec-purpose", "prefetch;prerender")], true),
            (&[("sec-purpose", "prefetch;anonymous-client-ip")], true),
            (&[("purpose", "prefetch")], true),
            (&[("purpose", "Prefetch")], true),
            (&[("x-purpose", "preview")], true),
            (&[("x-moz", "prefetch")], true),
            (&[("purpose", "testing")], false),
        ] {
            assert_eq!(is_prefetch(&headers(sent)), expected, "{sent:?}");
        }
    }
}
