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
    operation: std::io::Error, crate::endpoint::EndpointError, crate::client::ClientError,
        crate::bench::BenchError, protocol::keys::KeyFileError;
    usage: crate::config::ConfigError, crate::telemetry::TelemetryError;
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
            other => Self::operation(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
