//! The HTTP requests of a test: `GET /path`, or a file of them.

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use http::header::HOST;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};

/// A request that can be sent many times.
#[derive(Debug, Clone)]
pub(super) struct HttpRequest {
    /// The method and the path.
    pub(super) text: String,
    request: Request<Bytes>,
}

impl HttpRequest {
    /// Reads `GET /path` or `POST /path BODY`. Without a method it is GET.
    ///
    /// # Errors
    /// When the method or the path is not valid.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let text = text.trim();
        let line = match text.starts_with('/') {
            true => format!("GET {text}"),
            false => text.to_owned(),
        };
        let mut words = line.splitn(3, ' ');
        let (method, path) = (words.next().unwrap_or_default(), words.next());
        let path = path.with_context(|| format!("`{text}` names no path: write GET /path"))?;
        let body = words.next().unwrap_or_default().trim().to_owned();
        Self::new(method, path, HeaderMap::new(), body)
    }

    /// Reads the requests of a file, in the format that editors call `.http`: requests begin with
    /// a line such as `POST /path`; headers, an empty line and a body may follow. A line that
    /// begins with `###` ends a request; after a request without a body that line is not needed.
    /// Lines that begin with `#` before a request are comments.
    ///
    /// # Errors
    /// When a line is not valid. The error has its number.
    pub(super) fn parse_file(text: &str) -> Result<Vec<Self>> {
        let mut requests = Vec::new();
        let mut lines = (1..).zip(text.lines()).peekable();
        while let Some((number, line)) = lines.next() {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let at = || format!("line {number}");
            let first = Self::parse(line).with_context(at)?;
            let (mut headers, mut body) = (HeaderMap::new(), Vec::new());
            while let Some((number, line)) =
                lines.next_if(|(_, line)| !line.trim().is_empty() && header(line).is_some())
            {
                let (name, value) = header(line).unwrap_or_default();
                let name: HeaderName = name
                    .parse()
                    .with_context(|| format!("line {number}: the name of the header"))?;
                let value: HeaderValue = value
                    .parse()
                    .with_context(|| format!("line {number}: the value of the header"))?;
                headers.append(name, value);
            }
            if lines.next_if(|(_, line)| line.trim().is_empty()).is_some() {
                // Without an end mark, an empty line can also separate two requests.
                let is_body = |line: &str| !line.starts_with("###");
                if lines
                    .peek()
                    .is_some_and(|(_, line)| Self::parse(line).is_err())
                {
                    while let Some((_, line)) = lines.next_if(|(_, line)| is_body(line)) {
                        body.push(line);
                    }
                }
            }
            let inline = first.request.body();
            ensure!(
                inline.is_empty() || body.is_empty(),
                "line {number}: the request has two bodies"
            );
            let body = match inline.is_empty() {
                true => body.join("\n").trim_end().to_owned(),
                false => String::from_utf8_lossy(inline).into_owned(),
            };
            let (method, uri) = (first.request.method(), first.request.uri());
            let path = uri.path_and_query().map_or("/", |path| path.as_str());
            requests.push(Self::new(method.as_str(), path, headers, body).with_context(at)?);
        }
        if requests.is_empty() {
            bail!("there is no request in it");
        }
        Ok(requests)
    }

    fn new(method: &str, path: &str, headers: HeaderMap, body: String) -> Result<Self> {
        let text = format!("{method} {path}");
        ensure!(
            !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase()),
            "`{text}` has no valid method: write GET /path"
        );
        ensure!(
            path.starts_with('/'),
            "the path of `{text}` must begin with /"
        );
        let uri: Uri = format!("http://localhost{path}")
            .parse()
            .with_context(|| format!("the path of `{text}` is not valid"))?;
        let method: Method = method.parse()?;
        let mut request = Request::new(Bytes::from(body));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        let length = request.body().len();
        let headers = request.headers_mut();
        if !headers.contains_key(HOST) {
            headers.insert(HOST, HeaderValue::from_static("localhost"));
        }
        if length > 0 {
            headers.insert(http::header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        Ok(Self { text, request })
    }

    pub(super) fn request(&self) -> Request<Bytes> {
        self.request.clone()
    }
}

/// The name and the value of a header.
fn header(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once(':')?;
    let is_name = !name.is_empty() && !name.contains([' ', '/']);
    is_name.then(|| (name, value.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(request: &HttpRequest) -> &str {
        std::str::from_utf8(request.request.body()).unwrap()
    }

    #[test]
    fn a_request_has_a_method_a_path_and_a_body() {
        for (text, wanted, wanted_body) in [
            ("GET /a?b=c", "GET /a?b=c", ""),
            ("/a", "GET /a", ""),
            (" POST /a {\"id\": 7} ", "POST /a", "{\"id\": 7}"),
        ] {
            let request = HttpRequest::parse(text).unwrap();
            assert_eq!(request.text, wanted, "{text}");
            assert_eq!(body(&request), wanted_body, "{text}");
            assert_eq!(request.request().headers()[HOST], "localhost");
        }
        for text in ["", "GET", "get /a", "GET a", "GET /a\u{7f}", "G:T /a"] {
            assert!(HttpRequest::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_file_has_one_request_per_line_or_sections() {
        let lines =
            HttpRequest::parse_file("# a comment\nGET /a\nPOST /b x=1\n\nGET /c\n").unwrap();
        let texts: Vec<&str> = lines.iter().map(|request| request.text.as_str()).collect();
        assert_eq!(texts, ["GET /a", "POST /b", "GET /c"]);
        assert_eq!(body(&lines[1]), "x=1");

        let file = "POST /a\nContent-Type: application/json\nX-Two: a: b\n\n{\n\n  \"id\": 7\n}\n\n\
                    ### the next one\nGET /b\nAccept: */*\n###\nDELETE /c";
        let sections = HttpRequest::parse_file(file).unwrap();
        let texts: Vec<&str> = sections
            .iter()
            .map(|request| request.text.as_str())
            .collect();
        assert_eq!(texts, ["POST /a", "GET /b", "DELETE /c"]);
        assert_eq!(body(&sections[0]), "{\n\n  \"id\": 7\n}");
        let headers = sections[0].request().into_parts().0.headers;
        assert_eq!(headers["content-type"], "application/json");
        assert_eq!(headers["x-two"], "a: b");
        assert_eq!(headers["content-length"], "14");
        assert_eq!(sections[1].request().headers()["accept"], "*/*");
    }

    #[test]
    fn an_error_has_the_number_of_its_line() {
        for (file, wanted) in [
            ("\nGET b", "line 2"),
            ("GET /a\nX-A: \u{7f}", "line 2"),
            (
                "POST /a x\n\nnot a request",
                "line 1: the request has two bodies",
            ),
            ("# nothing\n", "there is no request in it"),
        ] {
            let error = HttpRequest::parse_file(file).unwrap_err();
            assert!(
                format!("{error:#}").starts_with(wanted),
                "{file:?}: {error:#}"
            );
        }
    }
}
