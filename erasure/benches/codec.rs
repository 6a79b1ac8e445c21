//! Speed of coding one full stripe, in bytes of data per second.

use std::fmt;

use divan::Bencher;
use divan::counter::BytesCount;
use erasure::{Codec, Engine, Scheme, UNIT};

fn main() {
    divan::main();
}

struct Case {
    scheme: &'static str,
    engine: Engine,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.scheme, self.engine)
    }
}

const CASES: [Case; 4] = [
    Case { scheme: "4+2", engine: Engine::Rusty },
    Case { scheme: "4+2", engine: Engine::ReedSolomonErasure },
    Case { scheme: "8+4", engine: Engine::Rusty },
    Case { scheme: "8+4", engine: Engine::ReedSolomonErasure },
];

#[divan::bench(args = CASES)]
fn encode(bencher: Bencher, case: &Case) {
    let (codec, data, mut parity) = stripe(case);
    bencher
        .counter(BytesCount::of_slice(&data))
        .bench_local(|| codec.encode_stripe(divan::black_box(&data), &mut parity));
}

#[divan::bench(args = CASES)]
fn decode_none_lost(bencher: Bencher, case: &Case) {
    decode(bencher, case, 0);
}

#[divan::bench(args = CASES)]
fn decode_one_lost(bencher: Bencher, case: &Case) {
    decode(bencher, case, 1);
}

#[divan::bench(args = CASES)]
fn decode_max_lost(bencher: Bencher, case: &Case) {
    let (codec, ..) = stripe(case);
    decode(bencher, case, codec.scheme().parity().into());
}

/// Decodes a stripe that misses its first `lost` data units.
fn decode(bencher: Bencher, case: &Case, lost: usize) {
    let (codec, data, mut parity) = stripe(case);
    codec.encode_stripe(&data, &mut parity);
    let mut units: Vec<Option<&[u8]>> =
        data.chunks(UNIT).chain(parity.chunks(UNIT)).map(Some).collect();
    units[..lost].fill(None);
    let mut out = vec![0; data.len()];
    bencher
        .counter(BytesCount::of_slice(&data))
        .bench_local(|| codec.decode_stripe(divan::black_box(&units), &mut out));
}

fn stripe(case: &Case) -> (Codec, Vec<u8>, Vec<u8>) {
    let scheme: Scheme = case.scheme.parse().expect("the cases are well formed");
    let data = (0..usize::from(scheme.data()) * UNIT).map(|i| (i * 167 / 64) as u8).collect();
    let parity = vec![0; usize::from(scheme.parity()) * UNIT];
    (Codec::new(scheme, case.engine), data, parity)
}
