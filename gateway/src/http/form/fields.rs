//! The fields of a form that stand before its file. Pure.

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};
use s3s::dto::{Tagging, Timestamp, TimestampFormat};
use s3s::{S3ErrorCode, S3Result};

use crate::error::{custom, refuse};
use crate::http::guard::RAW_EXPIRES;
use crate::http::text::percent_encode;

/// The fields, names in lower case, each once, in the order they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(Vec<(String, String)>);

/// What a field may say about an object: each becomes the header of this name,
/// as if the form were a PUT. Any other field is for the policy alone.
const HEADERS: &[&str] = &[
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-md5",
    "content-type",
    "expires",
    "x-amz-acl",
    "x-amz-expected-bucket-owner",
    "x-amz-object-lock-legal-hold",
    "x-amz-object-lock-mode",
    "x-amz-object-lock-retain-until-date",
    "x-amz-request-payer",
    "x-amz-storage-class",
    "x-amz-tagging",
    "x-amz-website-redirect-location",
];

/// Families of such headers.
const FAMILIES: &[&str] =
    &["x-amz-checksum-", "x-amz-grant-", "x-amz-meta-", "x-amz-server-side-encryption"];

/// Names of user metadata without their prefix, and values.
const METADATA_MAX: usize = 2 * 1024;

impl Fields {
    /// Adds a field. One that comes twice would be two things to the policy and
    /// to whoever reads it next.
    pub fn add(&mut self, name: &str, value: &Bytes) -> S3Result<()> {
        let name = name.to_ascii_lowercase();
        if self.get(&name).is_some() {
            let message = format!("The form has more than one field named {name}.");
            return Err(refuse(S3ErrorCode::InvalidArgument, message));
        }
        let Ok(value) = std::str::from_utf8(value) else {
            let message = format!("The value of the field {name} is not UTF-8.");
            return Err(refuse(S3ErrorCode::InvalidArgument, message));
        };
        self.0.push((name, value.to_owned()));
        Ok(())
    }

    /// The value of a field, whose name is given in lower case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Puts the name of the file where a value asks for it. Of a path only what
    /// follows the last slash or backslash is the name.
    pub fn insert_filename(&mut self, filename: &str) {
        let name = filename.rsplit(['/', '\\']).next().unwrap_or_default();
        for (_, value) in &mut self.0 {
            if value.contains("${filename}") {
                *value = value.replace("${filename}", name);
            }
        }
    }

    /// The key of the object.
    pub fn key(&self) -> S3Result<&str> {
        let key = self.get("key").filter(|key| !key.is_empty());
        key.ok_or_else(|| missing("key"))
    }

    /// The headers of a PUT that means the same.
    pub fn headers(&self) -> S3Result<HeaderMap> {
        let mut headers = HeaderMap::new();
        let mut metadata = 0;
        for (name, value) in self.iter().filter(|(_, value)| !value.is_empty()) {
            if let Some(name) = name.strip_prefix("x-amz-meta-") {
                metadata += name.len() + value.len();
            }
            let tags;
            let (name, value) = match name {
                "acl" => ("x-amz-acl", value),
                "tagging" => {
                    tags = tagging(value)?;
                    ("x-amz-tagging", tags.as_str())
                }
                // As the guard does with a PUT: it is kept as it is.
                "expires" if !is_date(value) => (RAW_EXPIRES, value),
                name if HEADERS.contains(&name) => (name, value),
                name if FAMILIES.iter().any(|family| name.starts_with(family)) => (name, value),
                _ => continue,
            };
            let (name, value) = header(name, value)?;
            if headers.insert(&name, value).is_some() {
                let message = format!("The form sets {name} in two ways.");
                return Err(refuse(S3ErrorCode::InvalidArgument, message));
            }
        }
        if METADATA_MAX < metadata {
            return Err(custom(
                "MetadataTooLarge",
                StatusCode::BAD_REQUEST,
                "Your metadata headers exceed the maximum allowed metadata size",
            ));
        }
        Ok(headers)
    }
}

fn is_date(text: &str) -> bool {
    Timestamp::parse(TimestampFormat::HttpDate, text).is_ok()
}

/// A header that nothing can be smuggled in with.
fn header(name: &str, value: &str) -> S3Result<(HeaderName, HeaderValue)> {
    let parsed = HeaderName::from_bytes(name.as_bytes()).ok();
    let value = HeaderValue::from_bytes(value.as_bytes()).ok();
    let value = value.filter(|value| !value.as_bytes().iter().any(u8::is_ascii_control));
    parsed.zip(value).ok_or_else(|| {
        let message = format!("The field {name} is no header: control characters are not allowed.");
        refuse(S3ErrorCode::InvalidArgument, message)
    })
}

/// The document in `tagging` as the header `x-amz-tagging`.
fn tagging(document: &str) -> S3Result<String> {
    let mut reader = s3s::xml::Deserializer::new(document.as_bytes());
    let parsed: Result<Tagging, _> = s3s::xml::Deserialize::deserialize(&mut reader);
    let parsed = parsed.and_then(|tagging| reader.expect_eof().map(|()| tagging));
    let tagging = parsed.map_err(|_| {
        refuse(
            S3ErrorCode::MalformedXML,
            "The XML you provided was not well-formed or did not validate against our published schema",
        )
    })?;
    let pairs = tagging.tag_set.iter().map(|tag| {
        let part = |text: &Option<String>| percent_encode(text.as_deref().unwrap_or_default());
        format!("{}={}", part(&tag.key), part(&tag.value))
    });
    Ok(pairs.collect::<Vec<_>>().join("&"))
}

/// A field that is missing.
pub(super) fn missing(name: &str) -> s3s::S3Error {
    let message = format!(
        "Bucket POST must contain a field named '{name}'.  If it is specified, please check the \
         order of the fields."
    );
    refuse(S3ErrorCode::InvalidArgument, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::default();
        for (name, value) in pairs {
            fields.add(name, &Bytes::from(value.to_string())).unwrap();
        }
        fields
    }

    fn code<T>(result: S3Result<T>) -> String {
        result.err().map(|error| error.code().as_str().to_owned()).unwrap_or_default()
    }

    #[test]
    fn names_have_no_case_and_come_once() {
        let mut fields = fields(&[("KeY", "a")]);
        assert_eq!(fields.key().unwrap(), "a");
        assert_eq!(code(fields.add("kEy", &Bytes::from_static(b"b"))), "InvalidArgument");
        assert_eq!(code(fields.add("x", &Bytes::from_static(b"\xff"))), "InvalidArgument");
        assert_eq!(code(Fields::default().key()), "InvalidArgument");
    }

    #[test]
    fn the_name_of_the_file_is_the_end_of_its_path() {
        for (sent, name) in [("C:\\a\\b.txt", "b.txt"), ("/x/y z", "y z"), ("", ""), ("q/", "")] {
            let mut fields =
                fields(&[("key", "in/${filename}/${filename}"), ("acl", "${filename}")]);
            fields.insert_filename(sent);
            assert_eq!(fields.key().unwrap(), format!("in/{name}/{name}"));
            assert_eq!(fields.get("acl"), Some(name));
        }
    }

    #[test]
    fn fields_are_the_headers_of_a_put() {
        let headers = fields(&[
            ("key", "k"),
            ("policy", "p"),
            ("acl", "public-read"),
            ("Content-Type", "text/plain"),
            ("expires", "tomorrow"),
            ("x-amz-meta-A", "naïve"),
            ("x-amz-server-side-encryption", "AES256"),
            ("x-amz-checksum-crc32", "AAAAAA=="),
            ("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"),
            ("x-amz-copy-source", "/other/secret"),
            ("x-amz-trailer", "x"),
            ("content-length", "5"),
            ("cache-control", ""),
            (
                "tagging",
                "<Tagging><TagSet><Tag><Key>a &amp; b</Key><Value>1/2</Value></Tag><Tag><Key>c</Key><Value></Value></Tag></TagSet></Tagging>",
            ),
        ]);
        let headers = headers.headers().unwrap();
        let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        let want = [
            "content-type",
            "x-amz-acl",
            "x-amz-checksum-crc32",
            "x-amz-meta-a",
            "x-amz-server-side-encryption",
            "x-amz-tagging",
            RAW_EXPIRES,
        ];
        assert_eq!(names, want);
        assert_eq!(headers["x-amz-tagging"], "a%20%26%20b=1%2F2&c=");
        assert_eq!(headers["x-amz-meta-a"].as_bytes(), "naïve".as_bytes());
    }

    #[test]
    fn h07_nothing_is_smuggled_into_a_header() {
        for value in ["a\r\nx-evil: 1", "a\nb", "a\u{1}b", "a\tb", "a\u{7f}"] {
            for name in ["content-type", "x-amz-meta-a", "x-amz-website-redirect-location"] {
                assert_eq!(
                    code(fields(&[(name, value)]).headers()),
                    "InvalidArgument",
                    "{value:?}"
                );
            }
        }
        assert_eq!(code(fields(&[("x-amz-meta-a b", "c")]).headers()), "InvalidArgument");
        assert_eq!(code(fields(&[("acl", "a"), ("x-amz-acl", "b")]).headers()), "InvalidArgument");
        let large = "m".repeat(METADATA_MAX);
        assert_eq!(code(fields(&[("x-amz-meta-a", &large)]).headers()), "MetadataTooLarge");
    }

    #[test]
    fn a_tagging_document_is_one() {
        for bad in ["x", "<Tagging>", "<Other/>", "<Tagging><TagSet/></Tagging><x/>"] {
            assert_eq!(code(fields(&[("tagging", bad)]).headers()), "MalformedXML", "{bad}");
        }
    }
}
