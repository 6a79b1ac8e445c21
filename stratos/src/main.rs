//! `stratos`: see the library of the same name.

use std::process::ExitCode;

use clap::Parser;
use stratos::cli::ledger::{LedgerArgs, LedgerCommand};
use stratos::cli::node::NodeArgs;
use stratos::cli::{Cli, Command, ledger};
use stratos::exit::{Failure, conclude};
use stratos::roles;
use stratos::telemetry::{self, LogFormat};
use tokio::runtime::Runtime;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Threads for work that blocks.
const BLOCKING_THREADS: usize = 32;

fn main() -> ExitCode {
    conclude(run(Cli::parse()))
}

fn run(cli: Cli) -> Result<(), Failure> {
    // Blocking threads hash, encode and wait for disks. More of them hold more
    // memory and get nothing done sooner.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build()
        .map_err(|error| Failure::operation(format!("cannot start the runtime: {error}")))?;
    let ended = command(&runtime, cli);
    // A look-up or a write that hangs must not keep the process.
    runtime.shutdown_background();
    ended
}

fn command(runtime: &Runtime, cli: Cli) -> Result<(), Failure> {
    let format = cli.log_format;
    match cli.command {
        Command::Up(args) => serve(runtime, format, "up", args.run()),
        Command::Gateway(args) => match args.prepare()? {
            Some(config) => serve(runtime, format, "gateway", roles::gateway::run(config)),
            None => Ok(()),
        },
        Command::Node(args) => node(runtime, format, args),
        Command::Ledger(args) => match (args.command, args.role) {
            (Some(LedgerCommand::Export { file, reach }), _) => {
                runtime.block_on(ledger::export(&file, &reach))
            }
            (Some(LedgerCommand::Verify(args)), _) => args.run(),
            (Some(LedgerCommand::Witness(role)), _) => match LedgerArgs::prepare_witness(&role)? {
                Some(config) => serve(runtime, format, "witness", roles::witness::run(config)),
                None => Ok(()),
            },
            (Some(LedgerCommand::Operate(command)), _) => runtime.block_on(command.run()),
            (Some(LedgerCommand::Order(command)), _) => runtime.block_on(command.run()),
            (Some(LedgerCommand::Ask(command)), _) => runtime.block_on(command.run()),
            (None, Some(role)) => match LedgerArgs::prepare(&role)? {
                Some(config) => serve(runtime, format, "ledger", roles::ledger::run(config)),
                None => Ok(()),
            },
            (None, None) => unreachable!("clap asks for one of them"),
        },
        Command::Wallet(args) => runtime.block_on(args.run()),
        Command::Key(args) => runtime.block_on(args.run()),
        Command::Bucket(args) => runtime.block_on(args.run()),
        Command::Account(args) => runtime.block_on(args.run()),
        Command::Epoch(args) => runtime.block_on(args.run()),
        Command::Bench(args) => runtime.block_on(args.run()),
        Command::Admin(args) => runtime.block_on(args.run()),
        Command::Presign(args) => args.run(),
        Command::Health(args) => runtime.block_on(args.run()),
        Command::Completions(args) => args.run(),
    }
}

fn node(runtime: &Runtime, format: LogFormat, mut args: NodeArgs) -> Result<(), Failure> {
    if let Some(command) = args.command {
        return runtime.block_on(command.run());
    }
    let Some(role) = args.role.take() else { unreachable!("clap asks for one of them") };
    match args.prepare(&role)? {
        Some(config) => serve(runtime, format, "node", roles::node::run(config, args.invite_file)),
        None => Ok(()),
    }
}

/// Runs a long-lived process with logs and traces set up.
fn serve(
    runtime: &Runtime,
    format: LogFormat,
    role: &str,
    work: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    let telemetry = runtime.block_on(async { telemetry::init(format, role) })?;
    let ended = runtime.block_on(work);
    telemetry.shutdown();
    ended
}
