//! `stratos admin census` and `stratos admin quarantine`: what is stored, counted
//! shard by shard.

use std::path::Path;
use std::time::{Duration, Instant};

use clap::Args;
use gateway::census::{Census, Depth};
use gateway::http::admin::census::result;
use serde_json::Value;

use crate::admin::AdminClient;
use crate::cli::Reach;
use crate::cli::output::print;
use crate::cli::table::facts;
use crate::cluster;
use crate::exit::Failure;
use crate::offline;
use crate::units::show_size;

/// Between two looks at whether a census is done.
const LOOK: Duration = Duration::from_millis(200);

/// Compare metadata with what the nodes hold.
///
/// A network of `stratos up` that does not run is looked at where it lies.
#[derive(Debug, Args)]
pub struct CensusArgs {
    /// Read and verify every shard, instead of believing the nodes' lists.
    #[arg(long)]
    read: bool,
    /// The network.
    #[command(flatten)]
    reach: Reach,
}

impl CensusArgs {
    /// Counts. Exits with 1 when a segment is lost.
    pub async fn run(self) -> Result<(), Failure> {
        let census = match &self.reach.data {
            Some(dir) if !self.is_running(dir).await => self.offline(dir).await?,
            _ => self.online(&self.reach.client()?).await?,
        };
        print(self.reach.json, &census, || text(&census))?;
        match census["lost"].as_u64() {
            Some(0) => Ok(()),
            lost => Err(Failure::operation(format!(
                "{} segments cannot be read",
                lost.unwrap_or_default()
            ))),
        }
    }

    /// Whether a process has the folder, or answers for it. After a crash there is an
    /// endpoint file and nobody behind it.
    async fn is_running(&self, dir: &Path) -> bool {
        if cluster::is_in_use(dir) {
            return true;
        }
        match self.reach.client() {
            Ok(client) => client.last_census().await.is_ok(),
            Err(_) => false,
        }
    }

    async fn offline(&self, dir: &Path) -> Result<Value, Failure> {
        let depth = if self.read { Depth::Read } else { Depth::List };
        let began = Instant::now();
        let census: Census = offline::census(dir, depth).await.map_err(Failure::operation)?;
        Ok(result(&census, depth, began.elapsed().as_millis()))
    }

    async fn online(&self, client: &AdminClient) -> Result<Value, Failure> {
        client.begin_census(self.read).await?;
        loop {
            let mut last = client.last_census().await?;
            match last["state"].as_str() {
                Some("running") => tokio::time::sleep(LOOK).await,
                Some("done") => return Ok(last["census"].take()),
                _ => {
                    let why = last["error"].as_str().unwrap_or("it was not taken").to_owned();
                    return Err(Failure::operation(format!("census: {why}")));
                }
            }
        }
    }
}

fn text(census: &Value) -> String {
    let number = |name: &str| census[name].as_u64().unwrap_or_default();
    let mut text = facts([
        ("segments", number("segments").to_string()),
        ("full", number("full").to_string()),
        ("degraded", number("degraded").to_string()),
        ("lost", number("lost").to_string()),
        ("shards verified", number("shards").to_string()),
        ("bytes", show_size(number("bytes"))),
        ("missing shards", number("missing").to_string()),
        ("orphans", format!("{} ({})", number("orphans"), show_size(number("orphan_bytes")))),
        ("about to be deleted", number("leaving").to_string()),
        ("shards of metadata", number("vault").to_string()),
    ]);
    for node in census["silent"].as_array().into_iter().flatten() {
        text += &format!("Node {} did not answer.\n", node.as_str().unwrap_or_default());
    }
    text
}

/// Shards that nodes hold and nobody knows: leftovers of what metadata forgot.
#[derive(Debug, Args)]
pub struct QuarantineArgs {
    /// Delete those that have been unknown for an hour.
    #[arg(long)]
    delete: bool,
    /// Even if they are more than a hundredth of all shards, which is the sign of
    /// metadata that are too old.
    #[arg(long, requires = "delete")]
    all: bool,
    /// The network.
    #[command(flatten)]
    reach: Reach,
}

impl QuarantineArgs {
    /// Shows or deletes them.
    pub async fn run(self) -> Result<(), Failure> {
        let client = self.reach.client()?;
        if self.delete {
            let deleted = client.empty_quarantine(self.all).await?;
            return print(self.reach.json, &deleted, || {
                let bytes = deleted["bytes"].as_u64().unwrap_or_default();
                format!("deleted {} shards, {}\n", deleted["deleted"], show_size(bytes))
            });
        }
        let shown = client.quarantine().await?;
        print(self.reach.json, &shown, || {
            let lines = shown["shards"].as_array().into_iter().flatten().map(|line| {
                let part = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
                format!("{} on {} since {}\n", part("shard"), part("node"), part("found"))
            });
            let lines: String = lines.collect();
            if lines.is_empty() { "nothing is in quarantine\n".to_owned() } else { lines }
        })
    }
}
