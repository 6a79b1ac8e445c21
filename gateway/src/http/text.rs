//! Text in URLs and documents: escaped so that it is nothing else there. Pure.

/// All but unreserved letters escaped, for a value in a query.
pub(super) fn percent_encode(text: &str) -> String {
    encode(text, is_unreserved)
}

/// The same for a path, whose slashes stay.
pub(super) fn percent_encode_path(text: &str) -> String {
    encode(text, |byte| is_unreserved(byte) || byte == b'/')
}

/// Only what cannot stand in a URL escaped: for a text that was meant as one.
pub(super) fn percent_encode_url(text: &str) -> String {
    encode(text, |byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte))
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

fn encode(text: &str, stays: impl Fn(u8) -> bool) -> String {
    use std::fmt::Write;
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if stays(byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing into a string does not fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// `None` when an escape is broken or the bytes are not UTF-8.
pub fn percent_decode(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => digit(bytes.next()?)? << 4 | digit(bytes.next()?)?,
            other => other,
        });
    }
    String::from_utf8(decoded).ok()
}

/// Text that is only text in HTML and XML.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            '\t' | '\n' | '\r' => escaped.push(c),
            // XML has no way to write these.
            '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => {
                escaped.push(char::REPLACEMENT_CHARACTER)
            }
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded_again() {
        for text in ["", "a/b c", "é+&?#%", "\u{0}\r\n"] {
            assert_eq!(percent_decode(&percent_encode(text)).as_deref(), Some(text));
            assert_eq!(percent_decode(&percent_encode_path(text)).as_deref(), Some(text));
        }
        assert_eq!(percent_encode("a/b\""), "a%2Fb%22");
        assert_eq!(percent_encode_path("a/b c"), "a/b%20c");
        assert_eq!(percent_encode_url("#!/a?b=c d%20\r\né"), "#!/a?b=c%20d%20%0D%0A%C3%A9");
        for bad in ["%", "%4", "%zz", "%ff", "%+1"] {
            assert_eq!(percent_decode(bad), None, "{bad}");
        }
        assert_eq!(escape("<a href='x\">&\u{1}"), "&lt;a href=&apos;x&quot;&gt;&amp;\u{fffd}");
    }
}
