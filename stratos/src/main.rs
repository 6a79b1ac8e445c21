//! `stratos`: see the library of the same name.

use std::process::ExitCode;

use clap::Parser;
use stratos::cli::gateway::GatewayArgs;
use stratos::cli::ledger::{LedgerArgs, LedgerCommand};
use stratos::cli::node::NodeArgs;
use stratos::cli::{Cli, Command, ledger};
use stratos::exit::{Failure, conclude};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    conclude(run(Cli::parse()))
}

fn run(cli: Cli) -> Result<(), Failure> {
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| Failure::operation(format!("cannot start the runtime: {error}")))?;
    match cli.command {
        Command::Up(_) => not_wired(),
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
            (Some(LedgerCommand::Verify(_)), _) => not_wired(),
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

fn run_gateway(args: &GatewayArgs) -> Result<(), Failure> {
    args.prepare()?.map_or(Ok(()), |_| not_wired())
}

fn not_wired() -> Result<(), Failure> {
    Err(Failure::operation("this command is not wired to its crate yet"))
}
