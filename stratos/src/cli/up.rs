//! `stratos up`: the whole network in one process.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use erasure::Scheme;

use crate::config::is_region;
use crate::units::parse_duration;

/// Run a whole network on this machine: gateway, nodes and ledger in one process.
///
/// Everything is kept in DIR: keys and metadata in DIR/gateway, shards in
/// DIR/nodes/1 to DIR/nodes/N, the ledger in DIR/ledger. A second start on the same DIR
/// serves the same data with the same keys. Ctrl-C or SIGTERM drains and exits.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Once it serves, DIR/endpoint.json holds the endpoint and the keys, and every other command
finds the network by `--data DIR`.

Examples:
  stratos up ./data
  stratos up ./data --listen 0.0.0.0:9000
  stratos up ./data --nodes 12 --scheme 8+4
  stratos up ./data --listen 127.0.0.1:0 --epoch 5s    # for development: any port, fast epochs")]
pub struct UpArgs {
    /// The folder of the network's data. It is made if it is absent.
    #[arg(value_name = "DIR", default_value = "./data")]
    pub dir: PathBuf,

    /// Where S3 is served. Port 0 picks a free one.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:9000")]
    pub listen: SocketAddr,

    /// How many storage nodes run. Fixed at the first start [default: 6, or what DIR has]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(2..=64))]
    pub nodes: Option<u8>,

    /// DATA+PARITY: each segment becomes that many shards, and any DATA of them bring it
    /// back. Fixed at the first start [default: 4+2, or what DIR has]
    #[arg(long, value_name = "DATA+PARITY")]
    pub scheme: Option<Scheme>,

    /// The region that requests are signed for. Fixed at the first start
    /// [default: us-east-1, or what DIR has]
    #[arg(long, value_name = "REGION", value_parser = parse_region)]
    pub region: Option<String>,

    /// How long an epoch is, after which traffic is settled. Below 60s, for development,
    /// payment follows within a few epochs. Fixed at the first start [default: 600s, or
    /// what DIR has]
    #[arg(long, value_name = "TIME", value_parser = parse_epoch)]
    pub epoch: Option<Duration>,
}

fn parse_region(text: &str) -> Result<String, String> {
    match is_region(text) {
        true => Ok(text.to_owned()),
        false => Err("write 1 to 32 of a-z, 0-9 and -, such as us-east-1".to_owned()),
    }
}

fn parse_epoch(text: &str) -> Result<Duration, String> {
    let epoch = parse_duration(text).map_err(|error| error.to_string())?;
    let (min, max) = (Duration::from_secs(1), Duration::from_secs(7 * 86_400));
    if (min..=max).contains(&epoch) { Ok(epoch) } else { Err("write 1s to 7d".to_owned()) }
}
