//! Why a node or the ledger says no. The numbers are part of the protocol: they
//! are never reused and never change their meaning.

use thiserror::Error;

use crate::wire::{Reader, Wire, WireError, Writer};

macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $text:literal;)*) => {
        /// A stable reason for not doing what was asked.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
        #[repr(u16)]
        pub enum Refusal {
            $($(#[$doc])* #[error($text)] $name = $code,)*
        }

        impl Refusal {
            /// Every reason, for documentation and tests.
            pub const ALL: &[Refusal] = &[$(Refusal::$name),*];

            /// The number on the wire.
            pub fn code(self) -> u16 {
                self as u16
            }

            /// The reason with this number.
            pub fn from_code(code: u16) -> Option<Self> {
                Self::ALL.iter().copied().find(|refusal| refusal.code() == code)
            }
        }
    };
}

refusals! {
    /// The message could not be read.
    Malformed = 1, "the request is malformed";
    /// The caller's key may not ask for this.
    NotPermitted = 2, "this key may not do that";
    /// No such shard here.
    NotFound = 3, "not found";
    /// The id is taken by other content.
    Conflict = 4, "the id is already used for other content";
    /// The bytes do not have the promised root or length.
    WrongRoot = 5, "the bytes do not match the promised root";
    /// The free-space reserve is reached.
    NoSpace = 6, "no space left above the reserve";
    /// More was served than vouched for.
    CreditExceeded = 7, "more was served than vouched for";
    /// A voucher is lower than one before, of another chain or epoch, or wrong in its sum.
    BadVoucher = 8, "the voucher is not acceptable";
    /// Not now: too many requests at once, or the disk cannot be used. Says nothing
    /// of what is held.
    Busy = 9, "not now: too many requests at once, or the disk cannot be used";
    /// What the disk holds of this shard is damaged.
    Disk = 10, "the shard is damaged on the disk";
    /// The ledger's rules do not allow the entry.
    Rejected = 11, "the ledger does not accept this entry";
    /// The epoch no longer takes this.
    Closed = 12, "the epoch is closed for this";
    /// The one who answers is stopping.
    Stopping = 13, "shutting down";
    /// A range outside the shard.
    BadRange = 14, "the range lies outside the shard";
    /// A request kind that this version does not know.
    Unsupported = 15, "this version does not know that request";
    /// The shard belongs to another gateway.
    NotOwner = 16, "the shard belongs to another gateway";
    /// The shard was deleted a short while ago: a put of it that comes late must
    /// not bring it back.
    Forgotten = 17, "the shard was deleted a short while ago";
}

impl Wire for Refusal {
    fn write(&self, out: &mut Writer) {
        out.u16(self.code());
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
        let code = from.u16()?;
        Self::from_code(code).ok_or(WireError::Unknown { what: "refusal", value: u64::from(code) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_do_not_change() {
        let codes: Vec<u16> = Refusal::ALL.iter().map(|refusal| refusal.code()).collect();
        assert_eq!(codes, (1..=17).collect::<Vec<u16>>());
        assert_eq!(Refusal::from_code(7), Some(Refusal::CreditExceeded));
        assert_eq!(Refusal::from_code(0), None);
    }
}
