//! How the program ends: one sentence on stderr, and a code.
//!
//! 0 is success, 1 an operation that failed, 2 a wrong command line or
//! configuration. The sentence names the cause and what to do.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

/// An end that is not success.
#[derive(Debug)]
pub struct Failure {
    kind: Kind,
    cause: Box<dyn Error + Send + Sync>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Operation,
    Usage,
}

impl Failure {
    /// The operation failed: exit code 1.
    pub fn operation(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { kind: Kind::Operation, cause: cause.into() }
    }

    /// The command line or the configuration is wrong: exit code 2.
    pub fn usage(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { kind: Kind::Usage, cause: cause.into() }
    }

    /// The code that the process ends with.
    pub fn code(&self) -> u8 {
        match self.kind {
            Kind::Operation => 1,
            Kind::Usage => 2,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // One line, whatever the cause contains: scripts read it line by line.
        let text = self.cause.to_string();
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        f.write_str(lines.next().unwrap_or("it failed and did not say why"))?;
        lines.try_for_each(|line| write!(f, " {line}"))
    }
}

/// Ends the process: success, or `stratos: SENTENCE` on stderr and the code.
pub fn conclude(result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("stratos: {failure}");
            ExitCode::from(failure.code())
        }
    }
}

macro_rules! failures {
    ($($kind:ident: $($error:ty),* $(,)?;)*) => {$($(
        impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::$kind(error)
            }
        }
    )*)*};
}

failures! {
    operation: std::io::Error, crate::endpoint::EndpointError, crate::client::ClientError, crate::client::TrustError,
        crate::bench::BenchError, protocol::keys::KeyFileError, crate::config::ResolveError,
        storage_node::RunError, ledger::RunError, ledger::WitnessError,
        crate::cli::chain::ReachError;
    usage: crate::config::ConfigError, crate::telemetry::TelemetryError,
        crate::roles::node::InviteFileError;
}

impl From<crate::admin::AdminError> for Failure {
    fn from(error: crate::admin::AdminError) -> Self {
        if error.is_usage() { Self::usage(error) } else { Self::operation(error) }
    }
}

impl From<crate::cluster::StartError> for Failure {
    fn from(error: crate::cluster::StartError) -> Self {
        use crate::cluster::StartError;
        match error {
            StartError::Folder(folder) if folder.is_usage() => Self::usage(folder),
            StartError::Certificate(error) if error.is_usage() => Self::usage(error),
            other => Self::operation(other),
        }
    }
}

// What follows from the file is wrong until the file is changed, so it must not
// be tried again.

impl From<gateway::OpenError> for Failure {
    fn from(error: gateway::OpenError) -> Self {
        use gateway::OpenError::{Domains, Settings};
        match error {
            Settings(_) | Domains(_) => Self::usage(error),
            other => Self::operation(other),
        }
    }
}

impl From<storage_node::OpenError> for Failure {
    fn from(error: storage_node::OpenError) -> Self {
        use storage_node::OpenError::{Advertise, Name, NoLedger, OtherInvite};
        match error {
            Advertise(_) | Name(_) | NoLedger | OtherInvite { .. } => Self::usage(error),
            other => Self::operation(other),
        }
    }
}

impl From<ledger::OpenError> for Failure {
    fn from(error: ledger::OpenError) -> Self {
        use ledger::OpenError::{Begin, Genesis};
        match error {
            Genesis(_) | Begin(_) => Self::usage(error),
            other => Self::operation(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_work_is_a_usage_error() {
        assert_eq!(Failure::from(storage_node::OpenError::NoLedger).code(), 2);
        assert_eq!(Failure::from(storage_node::OpenError::InUse("d".into())).code(), 1);
        assert_eq!(Failure::from(gateway::OpenError::Domains("no".into())).code(), 2);
        assert_eq!(Failure::from(gateway::OpenError::InUse("d".into())).code(), 1);
        assert_eq!(Failure::from(ledger::OpenError::InUse("d".into())).code(), 1);
    }

    #[test]
    fn the_kind_decides_the_code() {
        assert_eq!(Failure::operation("no").code(), 1);
        assert_eq!(Failure::usage("no").code(), 2);
        assert_eq!(conclude(Ok(())), ExitCode::SUCCESS);
    }

    #[test]
    fn a_cause_of_many_lines_becomes_one() {
        let failure = Failure::usage("unknown key\n  |\n\n1 | x = 1\n");
        assert_eq!(failure.to_string(), "unknown key | 1 | x = 1");
        assert_eq!(Failure::usage("").to_string(), "it failed and did not say why");
    }
}
