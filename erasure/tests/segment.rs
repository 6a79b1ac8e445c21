//! A whole segment through layout and codec, as an upload and a read do it.

use std::ops::Range;

use erasure::{Codec, CodecId, Engine, Layout, Scheme, TAIL_ALIGN, UNIT, UnknownCodec};
use proptest::prelude::*;
use proptest::sample::{Index, subsequence};

/// Cuts, pads and encodes the segment; returns one shard per index.
fn write(codec: &Codec, layout: Layout, segment: &[u8]) -> Vec<Vec<u8>> {
    let scheme = layout.scheme;
    let mut shards = vec![Vec::new(); scheme.total().into()];
    for stripe in 0..layout.stripe_count() {
        let unit = layout.unit_len(stripe);
        let mut data = slice(segment, layout.stripe_bytes(stripe)).to_vec();
        data.resize(unit * usize::from(scheme.data()), 0);
        let mut parity = vec![0; unit * usize::from(scheme.parity())];
        codec.encode_stripe(&data, &mut parity);
        let units = data.chunks(unit).chain(parity.chunks(unit));
        shards.iter_mut().zip(units).for_each(|(shard, unit)| shard.extend_from_slice(unit));
    }
    shards
}

/// Reads a range of the segment from the shards that are left, touching no
/// byte of them outside `shard_range`.
fn read(codec: &Codec, layout: Layout, left: &[Option<Vec<u8>>], bytes: Range<u64>) -> Vec<u8> {
    let stripes = layout.stripes(bytes.clone());
    let held = layout.shard_range(stripes.clone());
    let fetched: Vec<Option<&[u8]>> =
        left.iter().map(|shard| shard.as_deref().map(|s| slice(s, held.clone()))).collect();

    let mut out = Vec::new();
    for stripe in stripes {
        let at = layout.shard_range(stripe..stripe + 1);
        let at = at.start - held.start..at.end - held.start;
        let units: Vec<Option<&[u8]>> =
            fetched.iter().map(|shard| shard.map(|s| slice(s, at.clone()))).collect();
        let mut data = vec![0; layout.unit_len(stripe) * usize::from(layout.scheme.data())];
        codec.decode_stripe(&units, &mut data).unwrap();

        let stored = layout.stripe_bytes(stripe);
        let wanted = bytes.start.max(stored.start)..bytes.end.min(stored.end);
        let within = wanted.start - stored.start..wanted.end - stored.start;
        out.extend_from_slice(slice(&data, within));
    }
    out
}

fn slice(bytes: &[u8], range: Range<u64>) -> &[u8] {
    &bytes[range.start as usize..range.end as usize]
}

fn any_segment() -> impl Strategy<Value = (Layout, Vec<usize>)> {
    (1..=6u8, 1..=4u8, prop_oneof![0..2_000u64, 0..900_000u64]).prop_flat_map(|(d, p, len)| {
        let scheme: Scheme = format!("{d}+{p}").parse().unwrap();
        let all: Vec<usize> = (0..usize::from(scheme.total())).collect();
        let lost = subsequence(all, 0..=usize::from(p));
        (Just(Layout { scheme, segment_len: len }), lost)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_range_survives_any_loss_up_to_parity(
        (layout, lost) in any_segment(),
        (a, b) in any::<(Index, Index)>(),
    ) {
        let codec = Codec::new(layout.scheme, Engine::default());
        // Neighbouring bytes, units and stripes all differ.
        let segment: Vec<u8> = (0..layout.segment_len).map(|i| (i * 167 / 64) as u8).collect();
        let shards = write(&codec, layout, &segment);
        prop_assert!(shards.iter().all(|shard| shard.len() as u64 == layout.shard_len()));

        let mut left: Vec<Option<Vec<u8>>> = shards.into_iter().map(Some).collect();
        lost.iter().for_each(|&index| left[index] = None);
        let (a, b) = (a.index(segment.len() + 1) as u64, b.index(segment.len() + 1) as u64);
        let bytes = a.min(b)..a.max(b);
        prop_assert!(read(&codec, layout, &left, bytes.clone()) == slice(&segment, bytes));
    }
}

/// The shards of two engines mix: what one wrote, the other reads.
#[test]
fn what_one_engine_writes_the_other_reads() {
    let scheme: Scheme = "4+2".parse().unwrap();
    let layout = Layout { scheme, segment_len: 600_001 };
    let segment: Vec<u8> = (0..layout.segment_len).map(|i| (i * 31 / 7) as u8).collect();
    let engines = [Engine::Rusty, Engine::ReedSolomonErasure];
    let codecs = engines.map(|engine| Codec::new(scheme, engine));
    let written = codecs.each_ref().map(|codec| write(codec, layout, &segment));
    assert!(written[0] == written[1], "the engines wrote different shards");
    for (shards, reader) in written.iter().zip(codecs.iter().rev()) {
        let mut left: Vec<Option<Vec<u8>>> = shards.iter().cloned().map(Some).collect();
        (left[0], left[3]) = (None, None);
        assert!(read(reader, layout, &left, 0..layout.segment_len) == segment);
    }
}

/// These numbers decide where stored bytes lie and how they are read back.
#[test]
fn the_constants_of_the_format_do_not_change() {
    assert_eq!(UNIT, 65_536);
    assert_eq!(TAIL_ALIGN, 64);
    assert_eq!(u16::from(CodecId::RsVandermonde8), 1);
    assert_eq!(CodecId::try_from(1), Ok(CodecId::RsVandermonde8));
    assert_eq!(CodecId::try_from(0), Err(UnknownCodec(0)));
    assert_eq!(CodecId::try_from(2), Err(UnknownCodec(2)));
}

#[test]
fn engines_read_back_their_names() {
    for engine in [Engine::Rusty, Engine::ReedSolomonErasure] {
        assert_eq!(engine.to_string().parse(), Ok(engine));
    }
    assert!("Rusty".parse::<Engine>().is_err());
}
