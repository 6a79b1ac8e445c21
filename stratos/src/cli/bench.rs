//! `stratos bench`: the command line of [`crate::bench`].

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use tokio_util::sync::CancellationToken;

use crate::bench::{Op, Options, Process, Until, run};
use crate::cli::CaBundle;
use crate::cli::output::print;
use crate::client::S3Client;
use crate::endpoint::Endpoint;
use crate::exit::Failure;
use crate::units::{parse_duration, parse_size, show_size};

/// Measure an S3 endpoint, and what it costs a local `stratos up`.
///
/// Prints operations and MiB in a second and latencies; with --data also the server's CPU
/// time and memory. Objects are written into a bucket of its own, which is removed at the
/// end. At most 1 GiB of each size is stored at a time.
#[derive(Debug, Args)]
#[command(after_help = "\
Judge a change by CPU s/GIB and CPU ms/OP, measured before and after on the same machine:
op/s and MiB/s depend on what else runs there.

Examples:
  stratos bench --data ./data
  stratos bench --data ./data --sizes 64MiB --ops put,get --duration 30s
  stratos bench --data ./data --sizes 4KiB --concurrency 32 --count 10000 --json
  stratos bench --endpoint http://10.0.0.1:9000 --access-key AK --secret-key SK

The exit code is 1 when an operation failed.")]
pub struct BenchArgs {
    /// The folder of a network on this machine (`stratos up DIR`).
    #[arg(
        long,
        value_name = "DIR",
        required_unless_present = "endpoint",
        conflicts_with = "endpoint"
    )]
    data: Option<PathBuf>,

    /// Any S3 endpoint, http://HOST:PORT or https://HOST:PORT.
    #[arg(long, value_name = "URL", requires = "access_key", requires = "secret_key")]
    endpoint: Option<String>,

    /// The access key's id, for --endpoint.
    #[arg(long, value_name = "ID", env = "AWS_ACCESS_KEY_ID")]
    access_key: Option<String>,

    /// The access key's secret, for --endpoint.
    #[arg(long, value_name = "SECRET", env = "AWS_SECRET_ACCESS_KEY", hide_env_values = true)]
    secret_key: Option<String>,

    /// The region to sign for, for --endpoint.
    #[arg(long, value_name = "REGION", default_value = "us-east-1")]
    region: String,

    #[command(flatten)]
    ca_bundle: CaBundle,

    /// Lengths of the objects.
    #[arg(long, value_name = "SIZE,...", value_delimiter = ',', default_value = "4KiB,64MiB", value_parser = parse_size)]
    sizes: Vec<u64>,

    /// Operations in flight at a time.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1024))]
    concurrency: u16,

    /// What to measure, in this order.
    #[arg(
        long,
        value_name = "OP,...",
        value_delimiter = ',',
        value_enum,
        default_value = "put,get,head,list,multipart,delete"
    )]
    ops: Vec<Op>,

    /// How long each operation is measured with each size.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    duration: Duration,

    /// Measure this many operations instead of a time.
    #[arg(long, value_name = "N", conflicts_with = "duration", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,

    /// Cover payloads by the signature, which costs the server their SHA-256.
    #[arg(long)]
    sign_payload: bool,

    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

impl BenchArgs {
    /// Does it.
    pub async fn run(self) -> Result<(), Failure> {
        let (client, server) = self.target()?;
        let options = Options {
            sizes: self.sizes,
            ops: self.ops,
            concurrency: self.concurrency.into(),
            until: self.count.map_or(Until::Elapsed(self.duration), Until::Count),
            sign_payload: self.sign_payload,
            server,
        };
        let stop = CancellationToken::new();
        let watch_stop = stop.clone();
        // Dropped with the runtime; without Ctrl-C there is nothing to stop.
        tokio::spawn(async move {
            if tokio::signal::ctrl_c().await.is_ok() {
                watch_stop.cancel();
            }
        });
        let show = !self.json && std::io::stderr().is_terminal();
        let announce = |op: Op, size: u64| {
            if show {
                eprintln!("{op} {} ...", show_size(size));
            }
        };
        let report = run(&client, &options, &stop, announce).await?;
        print(self.json, &report, || report.table())?;
        if report.interrupted {
            return Err(Failure::operation("interrupted; the bucket it made is removed"));
        }
        match (report.errors(), report.first_error()) {
            (0, _) => Ok(()),
            (errors, first) => Err(Failure::operation(format!(
                "{errors} operations failed; the first: {}",
                first.unwrap_or("unknown")
            ))),
        }
    }

    /// Whom to measure, and the process if it runs here.
    fn target(&self) -> Result<(S3Client, Option<Process>), Failure> {
        if let Some(dir) = &self.data {
            let network = Endpoint::read(dir)?;
            return Ok((network.client()?, network.pid.map(|pid| Process { pid })));
        }
        let (Some(endpoint), Some(access_key), Some(secret_key)) =
            (&self.endpoint, &self.access_key, &self.secret_key)
        else {
            return Err(Failure::usage("--endpoint needs --access-key and --secret-key"));
        };
        let client = S3Client::new(endpoint, &self.region, access_key, secret_key)
            .map_err(Failure::usage)?;
        Ok((self.ca_bundle.apply(client)?, None))
    }
}
