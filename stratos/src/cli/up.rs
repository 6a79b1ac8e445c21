//! `stratos up`: the whole network in one process.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use erasure::Scheme;
use gateway::settings::{NodeSettings, UpkeepSettings};
use gateway::webhook::{self, Webhook};

use crate::cli::output::print_text;
use crate::cli::signals::Signals;
use crate::cluster::{Cluster, ClusterOptions, Fixed, is_tls_name};
use crate::config::is_region;
use crate::endpoint::{Endpoint, FILE_NAME};
use crate::exit::Failure;
use crate::notify;
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
  stratos up ./data --listen 0.0.0.0:9000 --tls --tls-name s3.example.org
  stratos up ./data --nodes 12 --scheme 8+4
  stratos up ./data --listen 127.0.0.1:0 --epoch 5s    # for development: any port, fast epochs")]
pub struct UpArgs {
    /// The folder of the network's data. It is made if it is absent.
    #[arg(value_name = "DIR", default_value = "./data")]
    pub dir: PathBuf,

    /// Where S3 is served. Port 0 picks a free one.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:9000")]
    pub listen: SocketAddr,

    /// Serve HTTPS. The first start makes a certificate that is signed by itself, for
    /// localhost, 127.0.0.1 and ::1, in DIR/tls/cert.pem and key.pem. Your own may be put
    /// there instead; changed files are used at once.
    #[arg(long)]
    pub tls: bool,

    /// Another name or IP that the certificate is made for; may be repeated. *.NAME is for
    /// all names below NAME.
    #[arg(long, value_name = "NAME", requires = "tls", value_parser = parse_tls_name)]
    pub tls_name: Vec<String>,

    /// A key for SSE-KMS besides the default one; may be given several times.
    #[arg(long, value_name = "ID")]
    pub kms_key: Vec<String>,

    /// A receiver of bucket notifications; may be given several times.
    #[arg(long, value_name = "NAME=URL", value_parser = parse_webhook)]
    pub webhook: Vec<(String, Webhook)>,

    /// How long a day of a lifecycle rule lasts: for tests.
    #[arg(long, value_name = "DURATION", default_value = "1d", value_parser = parse_day)]
    pub lifecycle_day: Duration,

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

fn parse_webhook(text: &str) -> Result<(String, Webhook), String> {
    let (name, url) = text.split_once('=').ok_or("write NAME=URL")?;
    webhook::check_name(name).map_err(|error| error.to_string())?;
    let parsed = Webhook::parse(url, webhook::Options::default());
    Ok((name.to_owned(), parsed.map_err(|error| error.to_string())?))
}

fn parse_day(text: &str) -> Result<Duration, String> {
    let day = parse_duration(text).map_err(|error| error.to_string())?;
    let (min, max) = (Duration::from_secs(1), Duration::from_secs(86_400));
    if (min..=max).contains(&day) { Ok(day) } else { Err("write 1s to 1d".to_owned()) }
}

fn parse_tls_name(text: &str) -> Result<String, String> {
    match is_tls_name(text) {
        true => Ok(text.to_owned()),
        false => Err("write a host name such as s3.example.org, or an IP".to_owned()),
    }
}

fn parse_epoch(text: &str) -> Result<Duration, String> {
    let epoch = parse_duration(text).map_err(|error| error.to_string())?;
    let (min, max) = (Duration::from_secs(1), Duration::from_secs(7 * 86_400));
    if (min..=max).contains(&epoch) { Ok(epoch) } else { Err("write 1s to 7d".to_owned()) }
}

impl UpArgs {
    /// Runs the network until a signal, then stops it in good order.
    pub async fn run(self) -> Result<(), Failure> {
        let mut signals = Signals::listen()?;
        let options = ClusterOptions {
            dir: self.dir,
            listen: self.listen,
            tls: self.tls.then_some(self.tls_name),
            kms_keys: self.kms_key,
            upkeep: UpkeepSettings {
                lifecycle_day: self.lifecycle_day,
                webhooks: self.webhook.into_iter().collect(),
                ..UpkeepSettings::default()
            },
            nodes: NodeSettings::default(),
            fixed: Fixed {
                nodes: self.nodes,
                scheme: self.scheme,
                region: self.region,
                epoch: self.epoch,
            },
        };
        let mut cluster = tokio::select! {
            started = Cluster::start(options) => started?,
            () = signals.next() => return Ok(()),
        };
        print_text(&greeting(&cluster))?;
        notify::ready()?;
        let ended = tokio::select! {
            () = signals.next() => None,
            why = cluster.ended() => Some(why),
        };
        notify::stopping()?;
        tracing::info!("stopping: requests under way are finished; a second signal ends at once");
        tokio::select! {
            () = cluster.stop() => {}
            () = signals.next() => tracing::warn!("ended at once"),
        }
        ended.map_or(Ok(()), |why| Err(Failure::operation(format!("the network stopped: {why}"))))
    }
}

/// What to paste where. The secret is shown on a terminal only: what is piped
/// ends in logs.
fn greeting(cluster: &Cluster) -> String {
    let at = cluster.endpoint();
    let Endpoint { endpoint, region, access_key_id: id, secret_access_key, admin_endpoint, .. } =
        at;
    let file = cluster.dir().join(FILE_NAME);
    let secret = if std::io::stdout().is_terminal() {
        secret_access_key.clone()
    } else {
        format!("(in {})", file.display())
    };
    // What clients have to be told of a certificate that nobody vouches for.
    let ca = at.ca_cert.as_ref().map(|path| path.display().to_string());
    let line = |form: &dyn Fn(&String) -> String| ca.as_ref().map(form).unwrap_or_default();
    let fact = line(&|ca| format!("  certificate {ca}\n"));
    let aws = line(&|ca| format!("  export AWS_CA_BUNDLE='{ca}'    # or: aws --ca-bundle FILE\n"));
    let rclone = line(&|ca| format!(" --ca-cert '{ca}'"));
    let (scheme, nodes) = (cluster.folder().scheme(), cluster.folder().nodes());
    format!(
        "\
stratos is up: {nodes} nodes, scheme {scheme}, data in {dir}

  endpoint    {endpoint}
  region      {region}
  access key  {id}
  secret      {secret}
  admin       {admin_endpoint}
{fact}
aws-cli:
{aws}  export AWS_ACCESS_KEY_ID={id} AWS_SECRET_ACCESS_KEY='{secret}' AWS_DEFAULT_REGION={region}
  aws --endpoint-url {endpoint} s3 mb s3://photos

rclone:
  rclone config create stratos s3 provider=Other endpoint={endpoint} region={region} \\
    access_key_id={id} secret_access_key='{secret}' force_path_style=true
  rclone mkdir stratos:photos{rclone}

Ctrl-C stops it in good order.
",
        dir = cluster.dir().display(),
    )
}
