//! `stratos-evm`: computes, posts and claims what left a Stratos ledger for an
//! EVM chain.

mod cli;
mod run;

use std::process::ExitCode;

use clap::Parser;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run::run(cli::Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("stratos-evm: {error}");
            ExitCode::FAILURE
        }
    }
}
