//! `stratos completions`: what a shell needs to complete our commands.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::cli::Cli;
use crate::cli::output::print_text;
use crate::exit::Failure;

/// Print a script that lets your shell complete stratos commands.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  stratos completions bash > ~/.local/share/bash-completion/completions/stratos
  stratos completions zsh > ~/.zfunc/_stratos
  stratos completions fish > ~/.config/fish/completions/stratos.fish")]
pub struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

impl CompletionsArgs {
    /// Does it.
    pub fn run(self) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "stratos", &mut script);
        print_text(&String::from_utf8_lossy(&script))
    }
}
