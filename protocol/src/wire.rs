//! The canonical encoding: fixed-width, little-endian, no padding, no options.
//!
//! A value has one encoding, so bytes can be signed and compared. Reading
//! checks every length before it allocates, and a message with bytes left over
//! is refused.

use thiserror::Error;

/// Why bytes are not the message they should be.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum WireError {
    /// The message ends too early.
    #[error("message ends after {have} bytes, {need} more are needed")]
    Short {
        /// Bytes that were left.
        have: usize,
        /// Bytes that were wanted.
        need: usize,
    },
    /// The message goes on after its end.
    #[error("{0} bytes are left over after the message")]
    TrailingBytes(usize),
    /// A list or text is longer than its limit.
    #[error("{what} has {got} items, at most {max} are allowed")]
    TooMany {
        /// What was counted.
        what: &'static str,
        /// How many there were.
        got: usize,
        /// How many there may be.
        max: usize,
    },
    /// A number that stands for nothing.
    #[error("{value} is not a known {what}")]
    Unknown {
        /// What was expected.
        what: &'static str,
        /// What was found.
        value: u64,
    },
    /// Text that is not UTF-8.
    #[error("{0} is not UTF-8")]
    Text(&'static str),
}

/// A value with one canonical encoding.
pub trait Wire: Sized {
    /// Appends the encoding.
    fn write(&self, out: &mut Writer);
    /// Reads one value.
    fn read(from: &mut Reader<'_>) -> Result<Self, WireError>;

    /// The whole encoding.
    fn to_wire(&self) -> Vec<u8> {
        let mut out = Writer::default();
        self.write(&mut out);
        out.0
    }

    /// Reads a value that must fill `bytes` exactly.
    fn from_wire(bytes: &[u8]) -> Result<Self, WireError> {
        let mut from = Reader(bytes);
        let value = Self::read(&mut from)?;
        from.end()?;
        Ok(value)
    }
}

/// Collects an encoding.
#[derive(Default, Debug)]
pub struct Writer(pub Vec<u8>);

impl Writer {
    /// One byte.
    pub fn u8(&mut self, value: u8) {
        self.0.push(value);
    }
    /// Two bytes.
    pub fn u16(&mut self, value: u16) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }
    /// Four bytes.
    pub fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }
    /// Eight bytes.
    pub fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }
    /// Sixteen bytes.
    pub fn u128(&mut self, value: u128) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }
    /// A fixed number of bytes, as they are.
    pub fn bytes(&mut self, value: &[u8]) {
        self.0.extend_from_slice(value);
    }
    /// A length (u32) and that many bytes.
    pub fn blob(&mut self, value: &[u8]) {
        let len = u32::try_from(value.len()).expect("a message is far below 4 GiB");
        self.u32(len);
        self.bytes(value);
    }
    /// A count (u32) and that many values.
    pub fn list<T: Wire>(&mut self, values: &[T]) {
        let len = u32::try_from(values.len()).expect("a list is far below 2^32 items");
        self.u32(len);
        for value in values {
            value.write(self);
        }
    }
}

/// What is left to read.
#[derive(Debug)]
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    /// The next `len` bytes.
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], WireError> {
        let Some((head, rest)) = self.0.split_at_checked(len) else {
            return Err(WireError::Short { have: self.0.len(), need: len });
        };
        self.0 = rest;
        Ok(head)
    }
    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let bytes = self.take(N)?;
        Ok(bytes.try_into().expect("take returns as many bytes as asked for"))
    }
    /// One byte.
    pub fn u8(&mut self) -> Result<u8, WireError> {
        Ok(self.array::<1>()?[0])
    }
    /// Two bytes.
    pub fn u16(&mut self) -> Result<u16, WireError> {
        Ok(u16::from_le_bytes(self.array()?))
    }
    /// Four bytes.
    pub fn u32(&mut self) -> Result<u32, WireError> {
        Ok(u32::from_le_bytes(self.array()?))
    }
    /// Eight bytes.
    pub fn u64(&mut self) -> Result<u64, WireError> {
        Ok(u64::from_le_bytes(self.array()?))
    }
    /// Sixteen bytes.
    pub fn u128(&mut self) -> Result<u128, WireError> {
        Ok(u128::from_le_bytes(self.array()?))
    }
    /// A length and that many bytes, at most `max`.
    pub fn blob(&mut self, what: &'static str, max: usize) -> Result<&'a [u8], WireError> {
        let got = self.u32()? as usize;
        if got > max {
            return Err(WireError::TooMany { what, got, max });
        }
        self.take(got)
    }
    /// A length and that much UTF-8 text.
    pub fn text(&mut self, what: &'static str, max: usize) -> Result<String, WireError> {
        let bytes = self.blob(what, max)?;
        String::from_utf8(bytes.to_vec()).map_err(|_| WireError::Text(what))
    }
    /// A count, at most `max`, and that many values.
    pub fn list<T: Wire>(&mut self, what: &'static str, max: usize) -> Result<Vec<T>, WireError> {
        let got = self.u32()? as usize;
        if got > max {
            return Err(WireError::TooMany { what, got, max });
        }
        (0..got).map(|_| T::read(self)).collect()
    }
    /// Nothing may be left.
    pub fn end(self) -> Result<(), WireError> {
        if self.0.is_empty() { Ok(()) } else { Err(WireError::TrailingBytes(self.0.len())) }
    }
}

macro_rules! wire_bytes {
    ($($name:ty)*) => {$(
        impl Wire for $name {
            fn write(&self, out: &mut Writer) {
                out.bytes(&self.0);
            }
            fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
                Ok(Self(from.array()?))
            }
        }
    )*};
}

use crate::ids::{
    AccountId, ChainId, Epoch, GatewayId, Incarnation, LedgerId, NodeId, PublicKey, Root,
    SegmentId, ShardId,
};
wire_bytes!(NodeId GatewayId LedgerId PublicKey ChainId AccountId Incarnation SegmentId Root);

impl Wire for Epoch {
    fn write(&self, out: &mut Writer) {
        out.u64(self.0);
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self(from.u64()?))
    }
}

impl Wire for ShardId {
    fn write(&self, out: &mut Writer) {
        self.segment.write(out);
        out.u8(self.index);
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self { segment: SegmentId::read(from)?, index: from.u8()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_checked_before_anything_is_allocated() {
        let mut out = Writer::default();
        out.u32(u32::MAX);
        assert_eq!(
            Reader(&out.0).blob("name", 64),
            Err(WireError::TooMany { what: "name", got: u32::MAX as usize, max: 64 })
        );
        assert_eq!(
            Reader(&[4, 0, 0, 0, 1]).blob("name", 64),
            Err(WireError::Short { have: 1, need: 4 })
        );
    }

    #[test]
    fn bytes_left_over_are_refused() {
        assert_eq!(Epoch::from_wire(&[0; 9]), Err(WireError::TrailingBytes(1)));
        assert_eq!(Epoch::from_wire(&[7, 0, 0, 0, 0, 0, 0, 0]), Ok(Epoch(7)));
    }
}
