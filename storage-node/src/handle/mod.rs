//! One request, one file. Each is told who asks and has the stream; what goes
//! wrong is a [`Failure`], which ends in one place (`server`).

pub(crate) mod body;
pub(crate) mod delete;
pub(crate) mod get;
pub(crate) mod list;
pub(crate) mod prove;
pub(crate) mod put;
pub(crate) mod standing;
pub(crate) mod status;
pub(crate) mod stream;
pub(crate) mod voucher;

use protocol::frame::FrameError;
use protocol::refusal::Refusal;
use thiserror::Error;

use crate::lanes::accept::NotTaken;
use crate::store::StoreError;

/// Why a request was not done.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    /// Nothing was answered yet, so the reason is the answer.
    #[error("{0}")]
    Refused(Refusal),
    /// The store said no, before anything was answered.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A voucher is not taken.
    #[error("voucher: {0}")]
    Voucher(#[from] NotTaken),
    /// In the middle of an answer. It is cut off, never ended cleanly.
    #[error("cut off: {0}")]
    Cut(Box<Failure>),
    /// The peer or the connection broke off.
    #[error(transparent)]
    Broken(#[from] FrameError),
    /// The peer made no progress.
    #[error("no progress in time")]
    Stalled,
}

impl Failure {
    /// The answer, if there is one to give.
    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Refused(refusal) => Some(*refusal),
            Self::Store(error) => Some(error.refusal()),
            Self::Voucher(error) => Some(error.refusal()),
            // A frame that cannot be read still has someone who waits for an answer.
            Self::Broken(FrameError::TooLong { .. } | FrameError::Wire(_)) => {
                Some(Refusal::Malformed)
            }
            Self::Cut(_) | Self::Broken(_) | Self::Stalled => None,
        }
    }

    /// In the middle of an answer, a reason can only cut it off.
    pub fn cut(self) -> Self {
        if self.refusal().is_some() { Self::Cut(Box::new(self)) } else { self }
    }

    /// The same, if an answer has begun.
    pub fn cut_if(self, begun: bool) -> Self {
        if begun { self.cut() } else { self }
    }

    /// The number that resets the stream.
    pub fn reset_code(&self) -> u32 {
        match self {
            Self::Cut(why) => why.refusal().map_or(0, |refusal| u32::from(refusal.code())),
            _ => 0,
        }
    }

    /// Whether whoever runs the node should look at its disk.
    pub fn is_fault(&self) -> bool {
        match self {
            Self::Store(error) => error.is_fault(),
            Self::Voucher(error) => matches!(error, NotTaken::NotKept(_)),
            Self::Cut(why) => why.is_fault(),
            Self::Refused(_) | Self::Broken(_) | Self::Stalled => false,
        }
    }
}
