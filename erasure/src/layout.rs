//! Where the bytes of one segment lie in its shards.
//!
//! Full stripes have units of [`UNIT`] bytes. What remains becomes one tail
//! stripe whose unit is just long enough, rounded up to [`TAIL_ALIGN`] and
//! padded with zeros, so that a small segment does not cost a full stripe.
//! These rules are part of the stored format.

use std::ops::Range;

use crate::scheme::{Scheme, ShardIndex};

/// Bytes of one shard in a full stripe.
///
/// Coding touches every unit of a stripe at once; with much longer ones the
/// working set falls out of the cache and the speed halves.
pub const UNIT: usize = 64 * 1024;

/// The unit of the last, partial stripe is rounded up to this.
pub const TAIL_ALIGN: usize = 64;

// The methods below count in u64, as segment offsets do.
const UNIT_LEN: u64 = UNIT as u64;
const ALIGN: u64 = TAIL_ALIGN as u64;
const _: () = assert!(UNIT.is_multiple_of(TAIL_ALIGN), "a tail unit never exceeds UNIT");

/// Where the bytes of one segment lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Layout {
    /// How many units a stripe has.
    pub scheme: Scheme,
    /// Bytes in the segment, padding not counted.
    pub segment_len: u64,
}

impl Layout {
    /// Segment bytes in a full stripe.
    pub fn stripe_len(self) -> u64 {
        u64::from(self.scheme.data()) * UNIT_LEN
    }

    /// Stripes whose units are [`UNIT`] bytes long.
    pub fn full_stripes(self) -> u64 {
        self.segment_len / self.stripe_len()
    }

    /// All stripes, the tail included.
    pub fn stripe_count(self) -> u64 {
        self.segment_len.div_ceil(self.stripe_len())
    }

    /// Bytes of one shard in this stripe.
    pub fn unit_len(self, stripe: u64) -> usize {
        assert!(stripe < self.stripe_count(), "no stripe {stripe} in {self:?}");
        if stripe < self.full_stripes() {
            return UNIT;
        }
        usize::try_from(self.tail_unit()).expect("a tail unit never exceeds UNIT")
    }

    /// Bytes of every shard.
    pub fn shard_len(self) -> u64 {
        self.full_stripes() * UNIT_LEN + self.tail_unit()
    }

    /// The stripes that cover `bytes` of the segment. No bytes, no stripes.
    pub fn stripes(self, bytes: Range<u64>) -> Range<u64> {
        assert!(bytes.start <= bytes.end);
        assert!(bytes.end <= self.segment_len);
        let first = bytes.start / self.stripe_len();
        if bytes.is_empty() {
            return first..first;
        }
        first..bytes.end.div_ceil(self.stripe_len())
    }

    /// The byte range, the same in every shard, that holds `stripes`.
    pub fn shard_range(self, stripes: Range<u64>) -> Range<u64> {
        assert!(stripes.start <= stripes.end);
        assert!(stripes.end <= self.stripe_count());
        // Only the end of a tail lies short of a multiple of UNIT.
        let offset = |stripe: u64| (stripe * UNIT_LEN).min(self.shard_len());
        offset(stripes.start)..offset(stripes.end)
    }

    /// The segment bytes that `stripe` holds, padding not counted.
    pub fn stripe_bytes(self, stripe: u64) -> Range<u64> {
        assert!(stripe < self.stripe_count(), "no stripe {stripe} in {self:?}");
        let start = stripe * self.stripe_len();
        start..start + self.stripe_len().min(self.segment_len - start)
    }

    /// The stripe, the shard and the offset in that shard of one segment byte.
    pub fn locate(self, byte: u64) -> (u64, ShardIndex, u64) {
        assert!(byte < self.segment_len, "no byte {byte} in {self:?}");
        let stripe = byte / self.stripe_len();
        let within = byte % self.stripe_len();
        let unit = self.unit_len(stripe) as u64;
        let index = u8::try_from(within / unit).expect("a stripe has `data` units, a u8");
        (stripe, ShardIndex(index), stripe * UNIT_LEN + within % unit)
    }

    /// Unit of the tail stripe; zero when the stripes come out even.
    fn tail_unit(self) -> u64 {
        let rest = self.segment_len % self.stripe_len();
        rest.div_ceil(u64::from(self.scheme.data())).next_multiple_of(ALIGN)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn layout(scheme: &str, segment_len: u64) -> Layout {
        Layout { scheme: scheme.parse().unwrap(), segment_len }
    }

    /// Layouts of any scheme, from one byte to a few stripes, often on an edge.
    fn any_layout() -> impl Strategy<Value = Layout> {
        let scheme = (1..=40u8, 1..=40u8).prop_map(|(d, p)| format!("{d}+{p}").parse().unwrap());
        (scheme, 0..4u64, prop_oneof![Just(-1i64), Just(0), Just(1), -70_000..70_000i64]).prop_map(
            |(scheme, stripes, offset)| {
                let full: u64 = stripes * Layout { scheme, segment_len: 0 }.stripe_len();
                Layout { scheme, segment_len: full.saturating_add_signed(offset).max(1) }
            },
        )
    }

    #[track_caller]
    fn check_tail(scheme: &str, segment_len: u64, stripes: u64, tail_unit: usize, shard_len: u64) {
        let layout = layout(scheme, segment_len);
        assert_eq!(layout.stripe_count(), stripes, "{layout:?}");
        assert_eq!(layout.unit_len(stripes - 1), tail_unit, "{layout:?}");
        assert_eq!(layout.shard_len(), shard_len, "{layout:?}");
    }

    #[test]
    fn tails() {
        check_tail("4+2", 1, 1, 64, 64);
        check_tail("4+2", 256, 1, 64, 64);
        check_tail("4+2", 257, 1, 128, 128);
        check_tail("4+2", 262_143, 1, UNIT, 65_536);
        check_tail("4+2", 262_144, 1, UNIT, 65_536);
        check_tail("4+2", 262_145, 2, 64, 65_600);
        check_tail("3+3", 1_000, 1, 384, 384);
        check_tail("1+1", 65_537, 2, 64, 65_600);
        check_tail("4+2", 64 << 20, 256, UNIT, 16 << 20);
    }

    #[test]
    fn an_empty_segment_has_empty_shards() {
        let layout = layout("4+2", 0);
        assert_eq!(layout.stripe_count(), 0);
        assert_eq!(layout.shard_len(), 0);
        assert_eq!(layout.stripes(0..0), 0..0);
        assert_eq!(layout.shard_range(0..0), 0..0);
    }

    /// Cuts the segment the plain way and expects to find each byte in the one
    /// place where that put it.
    #[test]
    fn every_byte_is_located_once() {
        for (scheme, len) in
            [("1+1", 65_600), ("3+2", 197_000), ("4+2", 262_145), ("4+2", 100), ("20+4", 70_001)]
        {
            let layout = layout(scheme, len);
            let bytes: Vec<u64> = (0..len).collect();
            let mut located = 0;
            let mut shard_start = 0;
            for (stripe, content) in bytes.chunks(layout.stripe_len() as usize).enumerate() {
                let unit = layout.unit_len(stripe as u64);
                for (index, unit_bytes) in content.chunks(unit).enumerate() {
                    for (offset, &byte) in unit_bytes.iter().enumerate() {
                        let place = (stripe as u64, ShardIndex(index as u8));
                        let want = (place.0, place.1, shard_start + offset as u64);
                        assert_eq!(layout.locate(byte), want, "byte {byte} of {layout:?}");
                        located += 1;
                    }
                }
                shard_start += unit as u64;
            }
            assert_eq!(located, len);
            assert_eq!(shard_start, layout.shard_len());
        }
    }

    proptest! {
        #[test]
        fn stripes_tile_the_segment_and_every_shard(layout in any_layout()) {
            let (mut byte, mut offset) = (0, 0);
            for stripe in 0..layout.stripe_count() {
                let bytes = layout.stripe_bytes(stripe);
                let shard = layout.shard_range(stripe..stripe + 1);
                let unit = layout.unit_len(stripe) as u64;
                prop_assert_eq!(bytes.start, byte);
                prop_assert_eq!(shard.clone(), offset..offset + unit);
                prop_assert!(!bytes.is_empty());
                prop_assert!(bytes.end - bytes.start <= unit * u64::from(layout.scheme.data()));
                (byte, offset) = (bytes.end, shard.end);
            }
            prop_assert_eq!(byte, layout.segment_len);
            prop_assert_eq!(offset, layout.shard_len());
        }

        #[test]
        fn padding_is_less_than_one_alignment_per_data_shard(layout in any_layout()) {
            let data = u64::from(layout.scheme.data());
            let held = layout.shard_len() * data;
            prop_assert!(layout.segment_len <= held);
            prop_assert!(held - layout.segment_len < data * ALIGN);
        }

        #[test]
        fn a_range_is_covered_by_its_stripes_and_by_no_fewer(
            layout in any_layout(),
            a in any::<prop::sample::Index>(),
            b in any::<prop::sample::Index>(),
        ) {
            let edges = layout.segment_len as usize + 1;
            let (a, b) = (a.index(edges) as u64, b.index(edges) as u64);
            let bytes = a.min(b)..a.max(b);
            let stripes = layout.stripes(bytes.clone());
            if bytes.is_empty() {
                prop_assert!(stripes.is_empty());
                return Ok(());
            }
            let (first, last) = (stripes.start, stripes.end - 1);
            prop_assert!(layout.stripe_bytes(first).contains(&bytes.start));
            prop_assert!(layout.stripe_bytes(last).contains(&(bytes.end - 1)));

            let (stripe, index, offset) = layout.locate(bytes.start);
            prop_assert_eq!(stripe, first);
            prop_assert!(index.0 < layout.scheme.data());
            prop_assert!(layout.shard_range(stripes).contains(&offset));
        }
    }
}
