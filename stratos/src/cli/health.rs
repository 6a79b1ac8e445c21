//! `stratos health`: whether something can serve, as an exit code.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use http::{HeaderMap, Method, StatusCode};

use crate::cli::CaBundle;
use crate::cli::output::print_text;
use crate::client::{Body, ClientError, S3Client};
use crate::endpoint::Endpoint;
use crate::exit::Failure;

/// How long the answer may take.
const PATIENCE: Duration = Duration::from_secs(4);

/// Longest answer that is shown.
const SHOWN_MAX: usize = 500;

/// Ask whether a network or a role can serve: exit code 0 if it can, else 1.
///
/// For health checks of containers, which have no curl, and for scripts that wait. It asks
/// /health/ready: a gateway is ready when its metadata answers and enough nodes are up for
/// writes.
#[derive(Clone, Debug, Args)]
#[command(
    arg_required_else_help = true,
    after_help = "\
A node or a ledger is asked at its metrics_listen.

Examples:
  stratos health --data ./data
  stratos health --endpoint http://127.0.0.1:9000
  stratos health --endpoint http://127.0.0.1:9100   # a node with metrics_listen
  until stratos health --data ./data; do sleep 1; done"
)]
pub struct HealthArgs {
    /// What to ask, http://HOST:PORT or https://HOST:PORT.
    #[arg(long, value_name = "URL", required_unless_present = "data", conflicts_with = "data")]
    pub endpoint: Option<String>,

    /// The folder of a network that runs on this machine (`stratos up DIR`), or of a gateway.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,

    #[command(flatten)]
    ca_bundle: CaBundle,
}

impl HealthArgs {
    /// Asks, prints one line and decides.
    pub async fn run(self) -> Result<(), Failure> {
        let client = match (self.endpoint, self.data) {
            (Some(url), _) => self.ca_bundle.apply(nameless(&url)?)?,
            (None, Some(dir)) => Endpoint::read(&dir)?.client()?,
            (None, None) => return Err(Failure::usage("say what to ask: --endpoint or --data")),
        };
        let endpoint = client.endpoint();
        let (status, text) = ask(&client).await?;
        let text = text.trim();
        if status == StatusCode::OK {
            return print_text(&format!("{endpoint} is {text}\n"));
        }
        let text = &text[..text.floor_char_boundary(SHOWN_MAX)];
        Err(Failure::operation(format!("{endpoint} answers {}: {text}", status.as_u16())))
    }
}

/// Nothing is signed, so there is no key.
fn nameless(endpoint: &str) -> Result<S3Client, Failure> {
    match S3Client::new(endpoint, "", "", "") {
        Err(error @ ClientError::Endpoint(_)) => Err(Failure::usage(error)),
        other => Ok(other?),
    }
}

async fn ask(client: &S3Client) -> Result<(StatusCode, String), Failure> {
    let url = format!("{}/health/ready", client.endpoint());
    let asked = async {
        let answer =
            client.send_unsigned(Method::GET, &url, HeaderMap::new(), Body::from("")).await?;
        let status = answer.status;
        Ok((status, String::from_utf8_lossy(&answer.bytes().await?).into_owned()))
    };
    let slow =
        |_| ClientError::Timeout { endpoint: client.endpoint().to_owned(), waited: PATIENCE };
    tokio::time::timeout(PATIENCE, asked).await.map_err(slow)?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorder::{Recorder, answer};

    async fn health(endpoint: &str) -> Result<(), Failure> {
        let ca_bundle = CaBundle::default();
        HealthArgs { endpoint: Some(endpoint.to_owned()), data: None, ca_bundle }.run().await
    }

    #[tokio::test]
    async fn the_answer_decides() {
        let ready = Recorder::start(|_| answer(200, "ready\n")).await;
        health(&ready.url()).await.expect("ready");
        assert_eq!(ready.seen()[0].target, "/health/ready");

        let waiting = Recorder::start(|_| answer(503, "not ready: 3 nodes are up\n")).await;
        let failure = health(&waiting.url()).await.unwrap_err();
        assert_eq!(failure.code(), 1);
        let said = format!("{} answers 503: not ready: 3 nodes are up", waiting.url());
        assert_eq!(failure.to_string(), said);
    }

    #[tokio::test]
    async fn a_wrong_address_is_a_usage_error_and_nobody_there_is_not() {
        assert_eq!(health("ftp://h").await.unwrap_err().code(), 2);
        let failure = health("http://127.0.0.1:1").await.unwrap_err();
        assert_eq!(failure.code(), 1);
        assert!(failure.to_string().starts_with("cannot connect to "), "{failure}");
    }
}
