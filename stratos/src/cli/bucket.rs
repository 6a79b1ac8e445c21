//! `stratos bucket`: the buckets as the operator sees them.

use clap::{Args, Subcommand};

use crate::admin::answers::Buckets;
use crate::cli::Reach;
use crate::cli::output::print;
use crate::cli::table::Table;
use crate::exit::Failure;
use crate::units::show_size;

/// Look at all buckets. Make and fill them with any S3 client.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  stratos bucket list --data ./data
  aws s3 mb s3://photos --endpoint-url http://127.0.0.1:9000")]
pub struct BucketArgs {
    #[command(subcommand)]
    command: BucketCommand,
}

#[derive(Debug, Subcommand)]
enum BucketCommand {
    /// List the buckets of all accounts with what is in them.
    List {
        #[command(flatten)]
        reach: Reach,
    },
}

impl BucketArgs {
    /// Does it.
    pub async fn run(self) -> Result<(), Failure> {
        let BucketCommand::List { reach } = self.command;
        let buckets = reach.client()?.buckets().await?;
        print(reach.json, &buckets, || table(&buckets))
    }
}

fn table(buckets: &Buckets) -> String {
    let mut table = Table::new(&["NAME", "ACCOUNT", "<OBJECTS", "<BYTES", "CREATED"]);
    for bucket in &buckets.buckets {
        table.row([
            bucket.name.clone(),
            bucket.account.clone(),
            bucket.objects.to_string(),
            show_size(bucket.bytes),
            bucket.created.clone(),
        ]);
    }
    table.to_string()
}
