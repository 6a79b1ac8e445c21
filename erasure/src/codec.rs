//! Encodes and decodes stripes.
//!
//! The format, [`CodecId::RsVandermonde8`], is what `reed-solomon-erasure`
//! computes. Two engines write the same bytes, so the choice between them is
//! about speed and trust, never about data. Not here: how a segment is cut into
//! stripes (`layout`) and whether a unit is intact (the caller's business).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;

use crate::plans::{Pattern, UnitSet};
use crate::rse::Rse;
use crate::rusty::Rusty;
use crate::scheme::{Scheme, ShardIndex};

/// How stored units were computed. The number is part of the stored format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum CodecId {
    /// Systematic Reed-Solomon over GF(2^8), polynomial 0x11d, Vandermonde: in
    /// each column of bytes, unit `i` is the value at `i` of the one polynomial
    /// of degree less than `data` that passes through the data units.
    RsVandermonde8 = 1,
}

impl From<CodecId> for u16 {
    fn from(id: CodecId) -> Self {
        id as u16
    }
}

impl TryFrom<u16> for CodecId {
    type Error = UnknownCodec;

    fn try_from(number: u16) -> Result<Self, UnknownCodec> {
        match number {
            1 => Ok(CodecId::RsVandermonde8),
            other => Err(UnknownCodec(other)),
        }
    }
}

/// No codec has this number; perhaps a later version wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("codec {0} is unknown, this version reads codec 1")]
pub struct UnknownCodec(pub u16);

/// Whose arithmetic computes the units. Both give the same bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Engine {
    /// `rusty_erasure`: SIMD chosen at run time.
    #[default]
    Rusty,
    /// `reed-solomon-erasure`: portable and slow, the definition of the format.
    ReedSolomonErasure,
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Engine::Rusty => "rusty",
            Engine::ReedSolomonErasure => "reed-solomon-erasure",
        })
    }
}

impl FromStr for Engine {
    type Err = UnknownEngine;

    fn from_str(text: &str) -> Result<Self, UnknownEngine> {
        match text {
            "rusty" => Ok(Engine::Rusty),
            "reed-solomon-erasure" => Ok(Engine::ReedSolomonErasure),
            other => Err(UnknownEngine(other.to_owned())),
        }
    }
}

/// No engine has this name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is not an erasure engine, expected rusty or reed-solomon-erasure")]
pub struct UnknownEngine(pub String);

/// What an engine does. The codec has checked counts and lengths before.
pub(crate) trait Backend: Send + Sync {
    /// Overwrites `parity` with the parity of `data`.
    fn encode(&self, data: &[&[u8]], parity: &mut [&mut [u8]]);

    /// Overwrites `out` with the wanted units of the pattern, lowest first.
    fn recover(&self, pattern: Pattern, units: &[Option<&[u8]>], out: &mut [&mut [u8]]);
}

/// Why units could not be brought back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// Too many units are missing.
    #[error("{present} units are at hand and {needed} are needed")]
    TooFew {
        /// Units at hand.
        present: usize,
        /// Units that would do.
        needed: usize,
    },
    /// The units of one stripe must all be equally long.
    #[error("unit {index} is {len} bytes long, expected {expected}")]
    UnitLength {
        /// The unit that differs.
        index: ShardIndex,
        /// Its length.
        len: usize,
        /// The length of the stripe's units.
        expected: usize,
    },
}

/// Encodes and decodes the stripes of one scheme. A clone is cheap and shares
/// the remembered decode plans.
#[derive(Clone)]
pub struct Codec {
    scheme: Scheme,
    engine: Engine,
    backend: Arc<dyn Backend>,
}

impl fmt::Debug for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Codec({}, {})", self.scheme, self.engine)
    }
}

impl Codec {
    /// Prepares matrix and tables, which grows with the cube of the shard count;
    /// keep the codec rather than making one per stripe.
    pub fn new(scheme: Scheme, engine: Engine) -> Self {
        let backend: Arc<dyn Backend> = match engine {
            Engine::Rusty => Arc::new(Rusty::new(scheme)),
            Engine::ReedSolomonErasure => Arc::new(Rse::new(scheme)),
        };
        Self { scheme, engine, backend }
    }

    /// The scheme this codec works for.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The engine that does the arithmetic.
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// Computes the parity units of one stripe.
    ///
    /// `data` is the data units back to back, padded; `parity` takes the parity
    /// units back to back.
    ///
    /// # Panics
    /// If `data` is empty or not a whole number of equal units, or `parity`
    /// does not have room for exactly the parity units.
    pub fn encode_stripe(&self, data: &[u8], parity: &mut [u8]) {
        let unit = self.unit_len(data);
        assert_eq!(parity.len(), unit * usize::from(self.scheme.parity()), "parity buffer");
        let data: Vec<&[u8]> = data.chunks_exact(unit).collect();
        let mut parity: Vec<&mut [u8]> = parity.chunks_exact_mut(unit).collect();
        self.backend.encode(&data, &mut parity);
    }

    /// Writes the data units of one stripe back to back into `out`.
    ///
    /// Data units at hand are copied; only missing ones are computed. When
    /// this fails, `out` is untouched.
    ///
    /// # Panics
    /// If `units` is not one entry per shard, or `out` is empty or not a whole
    /// number of equal units.
    pub fn decode_stripe(
        &self,
        units: &[Option<&[u8]>],
        out: &mut [u8],
    ) -> Result<(), DecodeError> {
        let unit = self.unit_len(out);
        let sources = self.sources(units, unit)?;
        let mut wanted = UnitSet::default();
        let mut holes = Vec::new();
        for (index, slot) in out.chunks_exact_mut(unit).enumerate() {
            match units[index] {
                Some(bytes) => slot.copy_from_slice(bytes),
                None => {
                    wanted.insert(index);
                    holes.push(slot);
                }
            }
        }
        if !holes.is_empty() {
            self.backend.recover(Pattern { sources, wanted }, units, &mut holes);
        }
        Ok(())
    }

    /// Fills each `out` with the unit that `wanted` names at the same place,
    /// data or parity alike; the buffers get the length of a unit. A wanted unit
    /// that is at hand is copied. When this fails, `out` is untouched.
    ///
    /// # Panics
    /// If `units` is not one entry per shard, `out` not one per wanted unit, or
    /// `wanted` names a missing unit twice or one that the scheme does not have.
    pub fn reconstruct(
        &self,
        units: &[Option<&[u8]>],
        wanted: &[ShardIndex],
        out: &mut [Vec<u8>],
    ) -> Result<(), DecodeError> {
        assert_eq!(wanted.len(), out.len(), "one buffer per wanted unit");
        let unit = units.iter().flatten().next().map_or(0, |first| first.len());
        let sources = self.sources(units, unit)?;
        let mut holes: Vec<(usize, &mut [u8])> = Vec::with_capacity(wanted.len());
        for (&index, buffer) in wanted.iter().zip(out) {
            let index = usize::from(index);
            match units[index] {
                Some(bytes) => bytes.clone_into(buffer),
                None => {
                    buffer.resize(unit, 0);
                    holes.push((index, buffer));
                }
            }
        }
        if holes.is_empty() {
            return Ok(());
        }
        holes.sort_unstable_by_key(|&(index, _)| index);
        assert!(holes.is_sorted_by(|a, b| a.0 < b.0), "a unit is wanted twice");
        let wanted = holes.iter().map(|&(index, _)| index).collect();
        let mut holes: Vec<&mut [u8]> = holes.into_iter().map(|(_, slot)| slot).collect();
        self.backend.recover(Pattern { sources, wanted }, units, &mut holes);
        Ok(())
    }

    /// Length of one unit, given the data units back to back.
    fn unit_len(&self, data: &[u8]) -> usize {
        let count = usize::from(self.scheme.data());
        assert!(!data.is_empty(), "a stripe holds at least one byte");
        assert!(data.len().is_multiple_of(count), "{} bytes in {count} units", data.len());
        data.len() / count
    }

    /// The first `needed` units at hand: all data units among them, so as few
    /// as possible are left to compute.
    fn sources(&self, units: &[Option<&[u8]>], unit: usize) -> Result<UnitSet, DecodeError> {
        assert_eq!(units.len(), usize::from(self.scheme.total()), "one entry per shard");
        let needed = usize::from(self.scheme.needed());
        let present = units.iter().flatten().count();
        if present < needed {
            return Err(DecodeError::TooFew { present, needed });
        }
        for (index, bytes) in (0..self.scheme.total()).map(ShardIndex).zip(units) {
            if let Some(len) = bytes.map(<[u8]>::len).filter(|&len| len != unit) {
                return Err(DecodeError::UnitLength { index, len, expected: unit });
            }
        }
        let at_hand = units.iter().enumerate().filter(|(_, bytes)| bytes.is_some());
        Ok(at_hand.map(|(index, _)| index).take(needed).collect())
    }
}
