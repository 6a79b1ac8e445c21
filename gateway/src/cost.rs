//! What a request costs, told in `x-stratos-cost` to who asks for it with a
//! header of the same name: atto-credits by the prices that hold now (on the
//! curve, traffic units).
//!
//! It is what a request is metered at when nothing goes wrong: every shard of
//! an upload made durable once, and of a download the fewest shards that it
//! takes. Lost time, retries and spare reads are the gateway's affair, what is
//! kept is metered by the second. Pure but for the look at the prices.

use erasure::{Layout, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue};
use protocol::message::WINDOW;
use protocol::price::Counters;

use crate::gateway::Gateway;
use crate::object::cipher::{SEGMENT, sealed_len};

/// The header, in requests and in answers.
pub const HEADER: HeaderName = HeaderName::from_static("x-stratos-cost");

/// What it takes to store `size` bytes as one content.
pub fn of_put(size: u64, scheme: Scheme, inline_max: u64) -> Counters {
    if size <= inline_max {
        return Counters::default(); // It is kept in the metadata.
    }
    let total = u64::from(scheme.total());
    let shard = |len| Layout { scheme, segment_len: sealed_len(len) }.shard_len();
    let (full, rest) = (size / SEGMENT, size % SEGMENT);
    let bytes = full * shard(SEGMENT) + if rest > 0 { shard(rest) } else { 0 };
    Counters {
        put_bytes: bytes * total,
        operations: size.div_ceil(SEGMENT) * total,
        ..Counters::default()
    }
}

/// What it takes to read `len` bytes of a content of `size`.
pub fn of_get(len: u64, size: u64, scheme: Scheme, inline_max: u64) -> Counters {
    if size <= inline_max || len == 0 {
        return Counters::default();
    }
    let data = u64::from(scheme.data());
    let of_shard = sealed_len(len).div_ceil(data);
    Counters {
        get_bytes: of_shard * data,
        operations: of_shard.div_ceil(WINDOW) * data,
        ..Counters::default()
    }
}

/// What storing so much costs through this gateway.
pub fn put(gateway: &Gateway, size: u64) -> Counters {
    of_put(size, gateway.settings.scheme, gateway.settings.inline_max as u64)
}

/// What reading so much of an object costs through this gateway.
pub fn get(gateway: &Gateway, len: u64, size: u64) -> Counters {
    of_get(len, size, gateway.settings.scheme, gateway.settings.inline_max as u64)
}

/// Tells what `counters` cost, if the request asked for it.
pub fn tell(gateway: &Gateway, asked: &HeaderMap, counters: Counters, answer: &mut HeaderMap) {
    if asked.get(&HEADER).is_none_or(|value| value != "true") {
        return;
    }
    let Some(prices) = gateway.chain.prices() else { return };
    let amount = counters.amount(&prices).to_string();
    let value = HeaderValue::try_from(amount).expect("digits are a good value");
    answer.insert(HEADER, value);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scheme() -> Scheme {
        "4+2".parse().expect("a scheme")
    }

    #[test]
    fn an_upload_costs_all_its_shards_and_a_download_the_fewest() {
        let put = of_put(10 << 20, scheme(), 16 << 10);
        assert!(put.put_bytes > 15 << 20 && put.put_bytes < 16 << 20, "{put:?}");
        assert_eq!(put.operations, 6);
        let get = of_get(10 << 20, 10 << 20, scheme(), 16 << 10);
        assert!(get.get_bytes > 10 << 20 && get.get_bytes < 11 << 20, "{get:?}");
        let part = of_get(1000, 10 << 20, scheme(), 16 << 10);
        assert!(part.get_bytes < get.get_bytes / 100 && part.operations == 4, "{part:?}");
    }

    #[test]
    fn a_long_object_is_as_dear_as_its_segments() {
        let one = of_put(SEGMENT, scheme(), 0);
        let two = of_put(2 * SEGMENT, scheme(), 0);
        assert_eq!((two.put_bytes, two.operations), (2 * one.put_bytes, 12));
    }

    #[test]
    fn what_is_in_the_metadata_moves_nothing() {
        assert_eq!(of_put(100, scheme(), 100), Counters::default());
        assert_eq!(of_get(50, 100, scheme(), 100), Counters::default());
    }
}
