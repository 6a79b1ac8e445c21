//! Percent-encoding as S3 wants it: every byte but `A-Z a-z 0-9 - . _ ~` is
//! encoded, with `/` kept in paths. The canonical request of Signature V4 is
//! made from the very same text, so a path that is sent in another spelling is a
//! signature that does not match.

/// The path of an object, a bucket (empty key) or the service (both empty).
pub fn path(bucket: &str, key: &[u8]) -> String {
    let mut path = String::with_capacity(2 + bucket.len() + key.len());
    path.push('/');
    push(&mut path, bucket.as_bytes(), false);
    if !key.is_empty() {
        path.push('/');
        push(&mut path, key, true);
    }
    path
}

/// A query string without its `?`. A parameter without a value gets an empty
/// one, which is how it is signed too.
pub fn query<'a>(parameters: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut query = String::new();
    for (name, value) in parameters {
        if !query.is_empty() {
            query.push('&');
        }
        push(&mut query, name.as_bytes(), false);
        query.push('=');
        push(&mut query, value.as_bytes(), false);
    }
    query
}

/// A text as one segment of a path or one value of a query.
pub fn component(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    push(&mut encoded, text.as_bytes(), false);
    encoded
}

fn push(out: &mut String, bytes: &[u8], keep_slash: bool) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in bytes {
        let plain = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
        if plain || (keep_slash && byte == b'/') {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let check = |key: &[u8], want: &str| assert_eq!(path("b", key), want, "{key:?}");
        check(b"", "/b");
        check(b"a/b.txt", "/b/a/b.txt");
        check(b"a//b", "/b/a//b");
        check(b"/a", "/b//a");
        check(b"./x", "/b/./x");
        check(b"../x", "/b/../x");
        check(b"a/", "/b/a/");
        check(b"+", "/b/%2B");
        check(b"100%", "/b/100%25");
        check(b"%2F", "/b/%252F");
        check(b"a b", "/b/a%20b");
        check("é".as_bytes(), "/b/%C3%A9");
        check(&[0xff, 0x00], "/b/%FF%00");
        check(b"-_.~!*'()", "/b/-_.~%21%2A%27%28%29");
        check(b"?a=b&c#d", "/b/%3Fa%3Db%26c%23d");
        assert_eq!(path("", b""), "/");
    }

    #[test]
    fn queries() {
        assert_eq!(query([]), "");
        assert_eq!(query([("uploads", "")]), "uploads=");
        assert_eq!(
            query([("list-type", "2"), ("prefix", "a+b/ c")]),
            "list-type=2&prefix=a%2Bb%2F%20c"
        );
    }
}
