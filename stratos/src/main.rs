//! `stratos`: see the library of the same name.

use std::process::ExitCode;

use clap::Parser;
use stratos::cli::gateway::GatewayArgs;
use stratos::cli::ledger::{LedgerArgs, LedgerCommand};
use stratos::cli::node::NodeArgs;
use stratos::cli::{Cli, Command, ledger};
use stratos::exit::{Failure, conclude};
use stratos::telemetry::{self, LogFormat};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    conclude(run(Cli::parse()))
}

fn run(cli: Cli) -> Result<(), Failure> {
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| Failure::operation(format!("cannot start the runtime: {error}")))?;
    match cli.command {
        Command::Up(args) => serve(&runtime, cli.log_format, "up", args.run()),
        Command::Gateway(args) => run_gateway(&args),
        Command::Node(args) => match (args.command, args.role) {
            (Some(command), _) => runtime.block_on(command.run()),
            (None, Some(role)) => NodeArgs::prepare(&role)?.map_or(Ok(()), |_| not_wired()),
            (None, None) => unreachable!("clap asks for one of them"),
        },
        Command::Ledger(args) => match (args.command, args.role) {
            (Some(LedgerCommand::Export { file, reach }), _) => {
                runtime.block_on(ledger::export(&file, &reach))
            }
            (Some(LedgerCommand::Verify(args)), _) => args.run(),
            (None, Some(role)) => LedgerArgs::prepare(&role)?.map_or(Ok(()), |_| not_wired()),
            (None, None) => unreachable!("clap asks for one of them"),
        },
        Command::Key(args) => runtime.block_on(args.run()),
        Command::Bucket(args) => runtime.block_on(args.run()),
        Command::Account(args) => runtime.block_on(args.run()),
        Command::Epoch(args) => runtime.block_on(args.run()),
        Command::Bench(args) => runtime.block_on(args.run()),
        Command::Presign(args) => args.run(),
        Command::Completions(args) => args.run(),
    }
}

/// Runs a long-lived process with logs and traces set up.
fn serve(
    runtime: &tokio::runtime::Runtime,
    format: LogFormat,
    role: &str,
    work: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    let telemetry = runtime.block_on(async { telemetry::init(format, role) })?;
    let ended = runtime.block_on(work);
    telemetry.shutdown();
    ended
}

fn run_gateway(args: &GatewayArgs) -> Result<(), Failure> {
    args.prepare()?.map_or(Ok(()), |_| not_wired())
}

fn not_wired() -> Result<(), Failure> {
    Err(Failure::operation("this command is not wired to its crate yet"))
}
