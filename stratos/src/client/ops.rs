//! The S3 operations that the program and its tests use.

use std::fmt::Write as _;
use std::ops::Range;

use bytes::Bytes;
use http::{HeaderValue, Method};

use crate::client::xml::{Element, escape};
use crate::client::{Body, ClientError, Request, Response, S3Client, encode};

/// One page of a listing.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// The objects, by name.
    pub objects: Vec<Listed>,
    /// What was rolled up at the delimiter.
    pub prefixes: Vec<String>,
    /// Where the next page starts; `None` on the last one.
    pub next: Option<String>,
}

/// One object of a listing.
#[derive(Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub key: String,
    /// Its length in bytes.
    pub size: u64,
    /// Its ETag, with the quotes.
    pub etag: String,
}

/// What to list.
#[derive(Clone, Copy, Debug, Default)]
pub struct ListQuery<'a> {
    /// Only names that begin with this.
    pub prefix: &'a str,
    /// Roll up names that share what comes before this; empty for none.
    pub delimiter: &'a str,
    /// `next` of the page before; empty for the first page.
    pub token: &'a str,
    /// At most this many per page.
    pub max_keys: Option<u32>,
}

impl S3Client {
    /// Creates a bucket.
    pub async fn create_bucket(&self, bucket: &str) -> Result<(), ClientError> {
        self.done(Request::new(Method::PUT, bucket, "")).await
    }

    /// Deletes an empty bucket.
    pub async fn delete_bucket(&self, bucket: &str) -> Result<(), ClientError> {
        self.done(Request::new(Method::DELETE, bucket, "")).await
    }

    /// Stores an object and returns its ETag.
    pub async fn put(
        &self,
        bucket: &str,
        key: impl AsRef<[u8]>,
        body: impl Into<Body>,
    ) -> Result<String, ClientError> {
        let answer = self.send(Request::new(Method::PUT, bucket, key).body(body)).await?;
        etag("PutObject", answer.ok().await?).await
    }

    /// Opens an object for reading.
    pub async fn get(&self, bucket: &str, key: impl AsRef<[u8]>) -> Result<Response, ClientError> {
        self.send(Request::new(Method::GET, bucket, key)).await?.ok().await
    }

    /// The whole content of an object.
    pub async fn get_bytes(
        &self,
        bucket: &str,
        key: impl AsRef<[u8]>,
    ) -> Result<Bytes, ClientError> {
        self.get(bucket, key).await?.bytes().await
    }

    /// Opens some bytes of an object for reading.
    pub async fn get_range(
        &self,
        bucket: &str,
        key: impl AsRef<[u8]>,
        range: Range<u64>,
    ) -> Result<Response, ClientError> {
        assert!(range.start < range.end, "HTTP has no empty range");
        let value = range_header(range)?;
        let request = Request::new(Method::GET, bucket, key).header("range", value);
        self.send(request).await?.ok().await
    }

    /// The headers of an object.
    pub async fn head(&self, bucket: &str, key: impl AsRef<[u8]>) -> Result<Response, ClientError> {
        self.send(Request::new(Method::HEAD, bucket, key)).await?.ok().await
    }

    /// Deletes an object.
    pub async fn delete(&self, bucket: &str, key: impl AsRef<[u8]>) -> Result<(), ClientError> {
        self.done(Request::new(Method::DELETE, bucket, key)).await
    }

    /// One page of the objects in a bucket.
    pub async fn list_v2(
        &self,
        bucket: &str,
        query: ListQuery<'_>,
    ) -> Result<Listing, ClientError> {
        let mut request = Request::new(Method::GET, bucket, "").query("list-type", "2");
        let parameters = [
            ("prefix", query.prefix),
            ("delimiter", query.delimiter),
            ("continuation-token", query.token),
        ];
        for (name, value) in parameters.into_iter().filter(|(_, value)| !value.is_empty()) {
            request = request.query(name, value);
        }
        if let Some(max) = query.max_keys {
            request = request.query("max-keys", &max.to_string());
        }
        let root = self.xml("ListObjectsV2", request).await?;
        listing(&root)
    }

    /// Copies an object inside the service.
    pub async fn copy(
        &self,
        from: (&str, &[u8]),
        bucket: &str,
        key: impl AsRef<[u8]>,
    ) -> Result<String, ClientError> {
        let source: HeaderValue =
            encode::path(from.0, from.1).parse().map_err(http::Error::from)?;
        let request = Request::new(Method::PUT, bucket, key).header("x-amz-copy-source", source);
        let root = self.xml("CopyObject", request).await?;
        Ok(root.text_of("ETag").to_owned())
    }

    /// Starts a multipart upload and returns its id.
    pub async fn create_multipart(
        &self,
        bucket: &str,
        key: impl AsRef<[u8]>,
    ) -> Result<String, ClientError> {
        let request = Request::new(Method::POST, bucket, key).query("uploads", "");
        let root = self.xml("CreateMultipartUpload", request).await?;
        Ok(root.text_of("UploadId").to_owned())
    }

    /// Uploads one part and returns its ETag.
    pub async fn upload_part(
        &self,
        bucket: &str,
        key: impl AsRef<[u8]>,
        upload: &str,
        number: u32,
        body: impl Into<Body>,
    ) -> Result<String, ClientError> {
        let request = Request::new(Method::PUT, bucket, key)
            .query("partNumber", &number.to_string())
            .query("uploadId", upload)
            .body(body);
        etag("UploadPart", self.send(request).await?.ok().await?).await
    }

    /// Makes an object of parts (number and ETag each) and returns its ETag.
    pub async fn complete_multipart(
        &self,
        bucket: &str,
        key: impl AsRef<[u8]>,
        upload: &str,
        parts: &[(u32, String)],
    ) -> Result<String, ClientError> {
        let request = Request::new(Method::POST, bucket, key)
            .query("uploadId", upload)
            .body(complete_document(parts).into_bytes());
        let root = self.xml("CompleteMultipartUpload", request).await?;
        Ok(root.text_of("ETag").to_owned())
    }

    /// Gives a multipart upload up.
    pub async fn abort_multipart(
        &self,
        bucket: &str,
        key: impl AsRef<[u8]>,
        upload: &str,
    ) -> Result<(), ClientError> {
        self.done(Request::new(Method::DELETE, bucket, key).query("uploadId", upload)).await
    }

    async fn xml(&self, operation: &'static str, request: Request) -> Result<Element, ClientError> {
        self.send(request).await?.ok().await?.xml(operation).await
    }

    /// Sends, and reads the answer to its end so that the connection lives on.
    async fn done(&self, request: Request) -> Result<(), ClientError> {
        self.send(request).await?.ok().await?.drain().await?;
        Ok(())
    }
}

async fn etag(operation: &'static str, answer: Response) -> Result<String, ClientError> {
    let etag = answer.header("etag").map(str::to_owned);
    answer.drain().await?;
    etag.ok_or(ClientError::Answer { operation, cause: "it has no ETag".to_owned() })
}

fn range_header(range: Range<u64>) -> Result<HeaderValue, ClientError> {
    let text = format!("bytes={}-{}", range.start, range.end - 1);
    Ok(text.parse().map_err(http::Error::from)?)
}

fn complete_document(parts: &[(u32, String)]) -> String {
    let mut document = String::from("<CompleteMultipartUpload>");
    for (number, etag) in parts {
        let etag = escape(etag);
        write!(document, "<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>")
            .expect("a String takes every text");
    }
    document.push_str("</CompleteMultipartUpload>");
    document
}

fn listing(root: &Element) -> Result<Listing, ClientError> {
    let wrong = |cause: String| ClientError::Answer { operation: "ListObjectsV2", cause };
    let objects = root.all("Contents").map(|entry| -> Result<Listed, ClientError> {
        let size = entry.text_of("Size");
        Ok(Listed {
            key: entry.text_of("Key").to_owned(),
            size: size.parse().map_err(|_| wrong(format!("{size:?} is not a size")))?,
            etag: entry.text_of("ETag").to_owned(),
        })
    });
    let next = match (root.text_of("IsTruncated"), root.text_of("NextContinuationToken")) {
        ("true", "") => return Err(wrong("it is truncated and has no token".to_owned())),
        ("true", token) => Some(token.to_owned()),
        _ => None,
    };
    Ok(Listing {
        objects: objects.collect::<Result<_, _>>()?,
        prefixes: root.all("CommonPrefixes").map(|p| p.text_of("Prefix").to_owned()).collect(),
        next,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_a_listing_is_read() {
        let root = Element::parse(
            b"<ListBucketResult><IsTruncated>true</IsTruncated>\
              <NextContinuationToken>t/+=</NextContinuationToken>\
              <Contents><Key>a b</Key><Size>7</Size><ETag>&quot;e&quot;</ETag></Contents>\
              <CommonPrefixes><Prefix>p/</Prefix></CommonPrefixes></ListBucketResult>",
        )
        .expect("a document");
        let want = Listing {
            objects: vec![Listed { key: "a b".into(), size: 7, etag: "\"e\"".into() }],
            prefixes: vec!["p/".into()],
            next: Some("t/+=".into()),
        };
        assert_eq!(listing(&root).expect("a listing"), want);
    }

    #[test]
    fn a_listing_that_contradicts_itself_is_refused() {
        for bad in [
            "<R><IsTruncated>true</IsTruncated></R>",
            "<R><Contents><Key>a</Key><Size>x</Size></Contents></R>",
        ] {
            let root = Element::parse(bad.as_bytes()).expect("a document");
            assert!(listing(&root).is_err(), "{bad}");
        }
    }

    #[test]
    fn parts_become_a_document() {
        assert_eq!(
            complete_document(&[(1, "\"a\"".into()), (2, "b".into())]),
            "<CompleteMultipartUpload>\
             <Part><PartNumber>1</PartNumber><ETag>&quot;a&quot;</ETag></Part>\
             <Part><PartNumber>2</PartNumber><ETag>b</ETag></Part>\
             </CompleteMultipartUpload>"
        );
    }

    #[test]
    fn ranges_name_their_last_byte() {
        assert_eq!(range_header(0..10).expect("a value"), "bytes=0-9");
        assert_eq!(range_header(5..6).expect("a value"), "bytes=5-5");
    }
}
