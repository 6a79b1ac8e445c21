//! `stratos presign`: an address that needs no key.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use http::Method;
use serde_json::json;

use crate::cli::output::print;
use crate::endpoint::Endpoint;
use crate::exit::Failure;
use crate::units::parse_duration;

/// Make an address that lets whoever has it read (or write) one object for a while.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  stratos presign s3://photos/cat.jpg --data ./data
  curl -o cat.jpg \"$(stratos presign s3://photos/cat.jpg --data ./data)\"
  curl -T cat.jpg \"$(stratos presign s3://photos/cat.jpg --data ./data --method PUT --expires 10m)\"")]
pub struct PresignArgs {
    /// The object, s3://BUCKET/KEY.
    #[arg(value_name = "S3-URI", value_parser = parse_s3_uri)]
    object: ObjectUri,

    /// The folder of the network (`stratos up DIR`).
    #[arg(long, value_name = "DIR")]
    data: PathBuf,

    /// What the address may be used for.
    #[arg(long, value_enum, ignore_case = true, default_value = "GET")]
    method: PresignMethod,

    /// How long it is good, at most 7d.
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = parse_duration)]
    expires: Duration,

    /// Print JSON: url, method, expires_seconds.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum PresignMethod {
    #[value(name = "GET")]
    Get,
    #[value(name = "PUT")]
    Put,
    #[value(name = "HEAD")]
    Head,
    #[value(name = "DELETE")]
    Delete,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct ObjectUri {
    bucket: String,
    key: String,
}

impl PresignArgs {
    /// Does it. Signing needs no running network, only its endpoint file.
    pub fn run(self) -> Result<(), Failure> {
        let network = Endpoint::read(&self.data)?;
        let client = network.client()?;
        let (method, ObjectUri { bucket, key }) = (Method::from(self.method), self.object);
        // What is refused here is the expiry or the name: the command line.
        let url = client
            .presign(&method, &bucket, key.as_bytes(), self.expires, &[])
            .map_err(Failure::usage)?;
        let answer = json!({
            "url": url,
            "method": method.as_str(),
            "expires_seconds": self.expires.as_secs(),
        });
        print(self.json, &answer, || format!("{url}\n"))
    }
}

impl From<PresignMethod> for Method {
    fn from(method: PresignMethod) -> Self {
        match method {
            PresignMethod::Get => Self::GET,
            PresignMethod::Put => Self::PUT,
            PresignMethod::Head => Self::HEAD,
            PresignMethod::Delete => Self::DELETE,
        }
    }
}

fn parse_s3_uri(text: &str) -> Result<ObjectUri, String> {
    let object = text.strip_prefix("s3://").and_then(|rest| rest.split_once('/'));
    match object {
        Some((bucket, key)) if !bucket.is_empty() && !key.is_empty() => {
            Ok(ObjectUri { bucket: bucket.to_owned(), key: key.to_owned() })
        }
        _ => Err("write s3://BUCKET/KEY, such as s3://photos/cat.jpg".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects() {
        let check = |text: &str, want: Option<(&str, &str)>| {
            let got = parse_s3_uri(text).ok();
            let want = want.map(|(b, k)| ObjectUri { bucket: b.into(), key: k.into() });
            assert_eq!(got, want, "{text:?}");
        };
        check("s3://photos/cat.jpg", Some(("photos", "cat.jpg")));
        check("s3://photos/a//b ?#", Some(("photos", "a//b ?#")));
        check("s3://photos//lead", Some(("photos", "/lead")));
        check("s3://photos", None);
        check("s3://photos/", None);
        check("s3:///key", None);
        check("photos/cat.jpg", None);
        check("http://photos/cat.jpg", None);
    }
}
