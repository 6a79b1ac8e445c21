//! The two headers that a form is read by: `Content-Type` with its boundary and
//! `Content-Disposition` with the name of a field. Pure.

/// Longest boundary, by RFC 2046.
const BOUNDARY_MAX: usize = 70;

/// What `Content-Disposition` says of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disposition {
    /// The name of the field.
    pub name: String,
    /// The name of the file, if it is one or says so.
    pub filename: Option<String>,
}

impl Disposition {
    /// Reads the value of the header; `None` if it is not one of a form.
    pub fn parse(value: &str) -> Option<Self> {
        let (kind, parameters) = parameters(value)?;
        let mut parsed = (None, None);
        for (name, value) in parameters {
            let slot = match name.as_str() {
                "name" => &mut parsed.0,
                "filename" => &mut parsed.1,
                _ => continue,
            };
            if slot.replace(value).is_some() {
                return None;
            }
        }
        let (name, filename) = parsed;
        let is_form = kind.eq_ignore_ascii_case("form-data");
        Some(Self { name: name.filter(|_| is_form)?, filename })
    }
}

/// Whether this content type is that of a form, well-formed or not.
pub fn is_form(content_type: &[u8]) -> bool {
    let kind = content_type.split(|&byte| byte == b';').next().unwrap_or_default();
    kind.trim_ascii().eq_ignore_ascii_case(b"multipart/form-data")
}

/// The boundary of a form; `None` if it has none that is legal.
pub fn boundary(content_type: &[u8]) -> Option<String> {
    let (kind, parameters) = parameters(std::str::from_utf8(content_type).ok()?)?;
    let mut boundaries =
        parameters.into_iter().filter(|(name, _)| name == "boundary").map(|(_, value)| value);
    let boundary =
        boundaries.next().filter(|_| kind.eq_ignore_ascii_case("multipart/form-data"))?;
    let is_legal = (1..=BOUNDARY_MAX).contains(&boundary.len())
        && boundary.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
        && !boundary.ends_with(' ');
    (is_legal && boundaries.next().is_none()).then_some(boundary)
}

/// `kind; name=value; name="value"`, names in lower case.
fn parameters(text: &str) -> Option<(&str, Vec<(String, String)>)> {
    let (kind, mut rest) = text.split_once(';').unwrap_or((text, ""));
    let mut found = Vec::new();
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            return Some((kind.trim(), found));
        }
        let (name, after) = rest.split_once('=')?;
        let (value, after) = match after.trim_start().strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let (value, after) = after.split_once(';').unwrap_or((after, ""));
                (value.trim().to_owned(), after)
            }
        };
        found.push((name.trim().to_ascii_lowercase(), value));
        rest = after;
    }
}

/// The text up to the closing quote, and what follows the next semicolon. Only
/// quotes and backslashes are escaped by one: old browsers send whole paths of
/// Windows as they are.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => {
                let rest = text[at + 1..].trim_start();
                let after = if rest.is_empty() { rest } else { rest.strip_prefix(';')? };
                return Some((value, after));
            }
            '\\' => match chars.next_if(|(_, next)| matches!(next, '"' | '\\')) {
                Some((_, escaped)) => value.push(escaped),
                None => value.push('\\'),
            },
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: &str, want: Option<(&str, Option<&str>)>) {
        let got = Disposition::parse(value);
        let got = got.as_ref().map(|got| (got.name.as_str(), got.filename.as_deref()));
        assert_eq!(got, want, "{value}");
    }

    #[test]
    fn names_of_fields_and_files() {
        check("form-data; name=\"key\"", Some(("key", None)));
        check(" Form-Data;NAME=key ; Other=x", Some(("key", None)));
        check(
            "form-data; name=\"file\"; filename=\"a;b=c.txt\"",
            Some(("file", Some("a;b=c.txt"))),
        );
        check("form-data; filename=\"\"; name=\"file\";", Some(("file", Some(""))));
        check(
            r#"form-data; name="file"; filename="C:\dir\a \"b\".txt""#,
            Some(("file", Some(r#"C:\dir\a "b".txt"#))),
        );
        check("form-data; name=\"naïve\"", Some(("naïve", None)));
        for bad in [
            "",
            "form-data",
            "form-data; filename=\"x\"",
            "attachment; name=\"key\"",
            "form-data; name=\"key",
            "form-data; name=\"a\" b; x=\"y\"",
            "form-data; name=\"a\"; name=\"b\"",
            "form-data; name",
        ] {
            check(bad, None);
        }
    }

    #[test]
    fn boundaries() {
        let of = |text: &str| boundary(text.as_bytes());
        let longest = "b".repeat(BOUNDARY_MAX);
        assert_eq!(of("multipart/form-data; boundary=----W1").as_deref(), Some("----W1"));
        assert_eq!(of("Multipart/Form-Data; Boundary=\"a b\"").as_deref(), Some("a b"));
        let form = |boundary: &str| format!("multipart/form-data; boundary={boundary}");
        assert_eq!(of(&form(&longest)), Some(longest.clone()));
        for bad in ["", "\"\"", "\"a\tb\"", "\"a \"", "é", "a; boundary=b", &format!("{longest}b")]
        {
            assert_eq!(of(&form(bad)), None, "{bad:?}");
        }
        assert_eq!(of("multipart/mixed; boundary=b"), None);
        assert_eq!(of("multipart/form-data"), None);
        assert!(is_form(b"multipart/form-data") && is_form(b" Multipart/Form-Data ; x"));
        assert!(!is_form(b"multipart/form-data+xml") && !is_form(b"multipart/mixed"));
    }
}
