use std::borrow::Cow;

use axum::http::HeaderMap;

/// The headers of a request as text: lines of one name joined (RFC 9110, section 5.3), and of bytes that
/// are no text a mark. Were such a header passed over instead, one byte of a client would take away what
/// trusted hops have written behind it, and with it the client.
#[derive(Debug)]
pub(super) struct Headers<'h>(Vec<(&'h str, Cow<'h, str>)>);

impl<'h> Headers<'h> {
    pub(super) fn of(map: &'h HeaderMap) -> Self {
        let mut headers = Vec::with_capacity(map.keys_len());
        for name in map.keys() {
            let mut lines = map.get_all(name).iter().map(|line| String::from_utf8_lossy(line.as_bytes()));
            let Some(first) = lines.next() else { continue };
            let joined = lines.fold(first, |mut joined, line| {
                joined.to_mut().extend([", ", &line]);
                joined
            });
            headers.push((name.as_str(), joined));
        }
        Self(headers)
    }

    /// Returns a header, by its name in lower case.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| &**value)
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn no_byte_takes_a_header_away() {
        let mut map = HeaderMap::new();
        map.append("x-forwarded-for", HeaderValue::from_bytes(b"\xff, 203.0.113.9").unwrap());
        map.append("x-forwarded-for", HeaderValue::from_static("10.0.0.1"));
        map.append("user-agent", HeaderValue::from_bytes("Möwe".as_bytes()).unwrap());
        let headers = Headers::of(&map);
        assert_eq!(headers.get("x-forwarded-for"), Some("\u{fffd}, 203.0.113.9, 10.0.0.1"));
        assert_eq!(headers.get("user-agent"), Some("Möwe"));
        assert_eq!(headers.get("accept"), None);
    }
}
