//! Bodies in chunks, as clients write them and as nobody should.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

const DATE: &str = "20130524T000000Z";
const SCOPE: &str = "20130524/us-east-1/s3/aws4_request";
const CRC: &str = "x-amz-checksum-crc32c";

fn key() -> SigningKey {
    SigningKey::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "20130524", "us-east-1", "s3")
}

/// A body, framed.
#[derive(Debug)]
struct Framed {
    /// The signature of the request, if chunks are signed.
    seed: Option<String>,
    has_trailer: bool,
    len: u64,
    /// Whole chunks: line, data and break. The last one is empty.
    chunks: Vec<Vec<u8>>,
    tail: Vec<u8>,
}

impl Framed {
    /// Frames `payload` in chunks of these sizes, and one of the rest.
    fn new(payload: &[u8], sizes: &[usize], seed: Option<&str>, trailer: Option<&str>) -> Self {
        let mut previous = seed.map(str::to_owned);
        let mut sign = |kind: &str, what: &str| {
            let signature = previous.as_ref().map(|previous| {
                key().sign(&format!("{kind}\n{DATE}\n{SCOPE}\n{previous}\n{what}"))
            });
            previous.clone_from(&signature);
            signature
        };
        let (mut chunks, mut rest) = (Vec::new(), payload);
        for size in sizes.iter().copied().chain([usize::MAX, 0]) {
            let (data, left) = rest.split_at(size.min(rest.len()));
            if data.is_empty() && size > 0 {
                continue;
            }
            let mut chunk = format!("{:x}", data.len()).into_bytes();
            let hash = hex::encode(Sha256::digest(data));
            if let Some(signature) = sign("AWS4-HMAC-SHA256-PAYLOAD", &format!("{EMPTY}\n{hash}")) {
                chunk.extend_from_slice(format!(";chunk-signature={signature}").as_bytes());
            }
            chunk.extend_from_slice(b"\r\n");
            if size > 0 {
                chunk.extend_from_slice(data);
                chunk.extend_from_slice(b"\r\n");
            }
            chunks.push(chunk);
            rest = left;
        }
        let mut tail = String::new();
        if let Some(value) = trailer {
            tail.push_str(&format!("{CRC}:{value}\r\n"));
            let hash = hex::encode(Sha256::digest(format!("{CRC}:{value}\n")));
            if let Some(signature) = sign("AWS4-HMAC-SHA256-TRAILER", &hash) {
                tail.push_str(&format!("{TRAILER_SIGNATURE}:{signature}\r\n"));
            }
        }
        tail.push_str("\r\n");
        Self {
            seed: seed.map(str::to_owned),
            has_trailer: trailer.is_some(),
            len: payload.len() as u64,
            chunks,
            tail: tail.into_bytes(),
        }
    }

    fn body(&self) -> Vec<u8> {
        [self.chunks.concat(), self.tail.clone()].concat()
    }

    /// What takes it apart.
    fn reader(&self) -> Chunks {
        let seal = self.seed.as_ref().map(|seed| Seal::new(key(), DATE, SCOPE.to_owned(), seed));
        let trailers = self.has_trailer.then(|| vec![CRC.to_owned()]);
        let framing = Framing { len: self.len, signed: seal.is_some(), trailers };
        Chunks::new(framing, seal)
    }

    fn read(&self, body: &[u8]) -> Result<(Vec<u8>, Trailers), ChunkError> {
        read(self.reader(), body, &[])
    }
}

/// What comes out when `body` arrives in frames of these lengths.
fn read(
    mut chunks: Chunks,
    body: &[u8],
    frames: &[usize],
) -> Result<(Vec<u8>, Trailers), ChunkError> {
    let (mut out, mut rest) = (Vec::new(), Bytes::copy_from_slice(body));
    let mut lens = frames.iter().copied().chain(std::iter::repeat(usize::MAX));
    while !rest.is_empty() {
        let len = lens.next().unwrap_or(usize::MAX).clamp(1, rest.len());
        chunks.push(rest.split_to(len))?;
        while let Some(bytes) = chunks.pop() {
            out.extend_from_slice(&bytes);
        }
    }
    chunks.finish().map(|trailers| (out, trailers))
}

/// Any body, signed or not, with a trailer or without.
fn framed() -> impl Strategy<Value = (Vec<u8>, Framed)> {
    let seed = proptest::option::of("[0-9a-f]{64}");
    let trailer = proptest::option::of("[A-Za-z0-9+/]{6}==");
    let parts = (vec(any::<u8>(), 0..3000), vec(1..1000_usize, 0..6), seed, trailer);
    parts.prop_map(|(payload, sizes, seed, trailer)| {
        let framed = Framed::new(&payload, &sizes, seed.as_deref(), trailer.as_deref());
        (payload, framed)
    })
}

/// The same, but signed.
fn sealed() -> impl Strategy<Value = (Vec<u8>, Framed)> {
    let trailer = proptest::option::of("[A-Za-z0-9+/]{6}==");
    let parts = (vec(any::<u8>(), 1..3000), vec(1..1000_usize, 1..6), "[0-9a-f]{64}", trailer);
    parts.prop_map(|(payload, sizes, seed, trailer)| {
        let framed = Framed::new(&payload, &sizes, Some(&seed), trailer.as_deref());
        (payload, framed)
    })
}

proptest! {
    #[test]
    fn s08_a_body_is_the_same_however_it_arrives(
        (payload, framed) in framed(),
        frames in vec(1..900_usize, 0..16),
        small in vec(1..4_usize, 0..64),
    ) {
        let (out, trailers) = read(framed.reader(), &framed.body(), &[small, frames].concat()).unwrap();
        prop_assert!(out == payload);
        prop_assert_eq!(trailers.len(), usize::from(framed.has_trailer));
    }

    #[test]
    fn s08_a_body_that_is_cut_anywhere_is_refused((_, framed) in framed(), at in any::<Index>()) {
        let body = framed.body();
        prop_assert!(framed.read(&body[..at.index(body.len())]).is_err());
    }

    #[test]
    fn s08_an_extra_byte_is_refused(
        (_, framed) in framed(),
        at in any::<Index>(),
        byte in any::<u8>(),
    ) {
        let mut body = framed.body();
        let at = at.index(body.len() + 1);
        body.insert(at, byte);
        // Zeros before a size, and spaces around a trailer, say nothing.
        let is_nothing = matches!(byte, b'0' | b' ' | b'\n' | b'\r');
        if let Ok((out, trailers)) = framed.read(&body) {
            let (payload, sent) = framed.read(&framed.body()).unwrap();
            prop_assert!(out == payload);
            // A trailer that nobody signed is a checksum, which is wrong now.
            let is_unsigned = framed.seed.is_none() && framed.has_trailer;
            prop_assert!(is_nothing || is_unsigned, "{byte} at {at}");
            prop_assert!(trailers == sent || is_unsigned, "{byte} at {at}");
        }
    }

    #[test]
    fn s08_chunks_in_another_order_are_refused(
        (_, framed) in sealed(),
        a in any::<Index>(),
        b in any::<Index>(),
    ) {
        let count = framed.chunks.len();
        let a = a.index(count);
        let b = (a + 1 + b.index(count - 1)) % count;
        let mut other = framed.chunks.clone();
        other.swap(a, b);
        let body = [other.concat(), framed.tail.clone()].concat();
        prop_assert!(framed.read(&body).is_err());
        // Nor may one come twice, or in the place of another.
        let mut other = framed.chunks.clone();
        other.insert(b, framed.chunks[a].clone());
        prop_assert!(framed.read(&[other.concat(), framed.tail.clone()].concat()).is_err());
        other = framed.chunks.clone();
        other[a] = framed.chunks[b].clone();
        prop_assert!(framed.read(&[other.concat(), framed.tail.clone()].concat()).is_err());
    }

    #[test]
    fn s08_a_chunk_that_is_missing_is_missed((_, framed) in sealed(), at in any::<Index>()) {
        let mut other = framed.chunks.clone();
        other.remove(at.index(framed.chunks.len()));
        let body = [other.concat(), framed.tail.clone()].concat();
        prop_assert!(framed.read(&body).is_err());
    }

    #[test]
    fn s08_no_bit_of_a_signed_body_can_change(
        (payload, framed) in sealed(),
        at in any::<Index>(),
        bit in 0..8_u8,
    ) {
        let mut body = framed.body();
        let at = at.index(body.len());
        body[at] ^= 1 << bit;
        // A digit of a size, or a letter of a trailer's name, may be a capital.
        if let Ok((out, trailers)) = framed.read(&body) {
            prop_assert!(bit == 5, "bit {bit} of byte {at}");
            prop_assert!(out == payload);
            prop_assert_eq!(trailers, framed.read(&framed.body()).unwrap().1);
        }
    }
}

/// The example of the documentation: 65 KiB of `a` in two chunks.
#[test]
fn the_documented_chunks_have_the_documented_signatures() {
    let payload = vec![b'a'; 65 * 1024];
    let seed = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9";
    let framed = Framed::new(&payload, &[64 * 1024], Some(seed), None);
    let signatures = [
        "10000;chunk-signature=ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648\r\n",
        "400;chunk-signature=0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497\r\n",
        "0;chunk-signature=b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9\r\n",
    ];
    for (chunk, golden) in framed.chunks.iter().zip(signatures) {
        assert!(chunk.starts_with(golden.as_bytes()), "{golden}");
    }
    assert_eq!(framed.read(&framed.body()), Ok((payload, Vec::new())));
}

/// The same with a trailer, also as some libraries put it.
#[test]
fn the_documented_trailer_has_the_documented_signature() {
    let payload = vec![b'a'; 65 * 1024];
    let seed = "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e";
    let framed = Framed::new(&payload, &[64 * 1024], Some(seed), Some("sOO8/Q=="));
    let golden = "x-amz-checksum-crc32c:sOO8/Q==\r\n\
                  x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n";
    assert_eq!(String::from_utf8_lossy(&framed.tail), golden);
    let want = Ok((payload, vec![(CRC.to_owned(), "sOO8/Q==".to_owned())]));
    assert_eq!(framed.read(&framed.body()), want);
    let apart = golden.replacen("\r\n", "\n\r\n", 1);
    let body = [framed.chunks.concat(), apart.into_bytes()].concat();
    assert_eq!(framed.read(&body), want);
}

#[test]
fn a_large_chunk_is_not_gathered() {
    for seed in [None, Some("0".repeat(64))] {
        let signed = seed.is_some();
        let seal = seed.map(|seed| Seal::new(key(), DATE, SCOPE.to_owned(), &seed));
        let len = CHUNK_MAX;
        let mut chunks = Chunks::new(Framing { len, signed, trailers: None }, seal);
        let extension =
            if signed { format!(";chunk-signature={}", "0".repeat(64)) } else { String::new() };
        chunks.push(Bytes::from(format!("{len:x}{extension}\r\n"))).unwrap();
        for _ in 0..20 {
            chunks.push(Bytes::from(vec![7; 1 << 20])).unwrap();
            let out: usize = std::iter::from_fn(|| chunks.pop()).map(|bytes| bytes.len()).sum();
            assert_eq!(out, 1 << 20, "what comes in goes out");
        }
    }
}

#[test]
fn s08_broken_framing_is_refused() {
    let read = |body: &[u8]| {
        let framing = Framing { len: 1, signed: false, trailers: Some(vec![CRC.to_owned()]) };
        read(Chunks::new(framing, None), body, &[]).map(|(out, _)| out)
    };
    assert_eq!(read(b"1\r\nA\r\n0\r\n\r\n"), Ok(b"A".to_vec()));
    for body in [
        "\r\n",
        "x\r\n",
        "+1\r\nA\r\n0\r\n\r\n",
        "-1\r\n",
        " 1\r\nA\r\n0\r\n",
        "1\nA\r\n0\r\n",
        "1\r\nAB\r\n0\r\n",
        "1\r\nA\n0\r\n",
        "00000000000000001\r\n",
        "140000001\r\n",
        "1;chunk-signature=00\r\nA\r\n0\r\n",
        "1;x\r\nA\r\n0\r\n",
        "1\r\nA\r\n0\r\n\r\n\r\n\r\n",
    ] {
        assert_eq!(read(body.as_bytes()), Err(ChunkError::Malformed), "{body:?}");
    }
    assert_eq!(read(&[b'0'; LINE_MAX + 1]), Err(ChunkError::Malformed));
    for (body, want) in [
        ("", ChunkError::Unfinished),
        ("0\r\n\r\n", ChunkError::Unfinished),
        ("1\r\nA\r\n", ChunkError::Unfinished),
        ("1\r\nA\r\n0\r\n", ChunkError::Unfinished),
        ("1\r\nA\r\n0\r\nx-amz-checksum-crc32c:a\r\n", ChunkError::Unfinished),
        ("2\r\nAB\r\n0\r\n\r\n", ChunkError::TooLong),
        ("1\r\nA\r\n0\r\nx-amz-acl:public-read\r\n\r\n", ChunkError::Trailers),
        ("1\r\nA\r\n0\r\nx-amz-trailer-signature:00\r\n\r\n", ChunkError::Trailers),
        (
            "1\r\nA\r\n0\r\nx-amz-checksum-crc32c:a\r\nx-amz-checksum-crc32c:b\r\n\r\n",
            ChunkError::Trailers,
        ),
        ("1\r\nA\r\n0\r\nX\r\n\r\n", ChunkError::Trailers),
        ("1\r\nA\r\n0\r\nx-amz-checksum-crc32c:a\u{1b}\r\n\r\n", ChunkError::Trailers),
    ] {
        assert_eq!(read(body.as_bytes()), Err(want), "{body:?}");
    }
    let long = [b"1\r\nA\r\n0\r\n".as_slice(), &vec![b'a'; TRAILERS_MAX + 1]].concat();
    assert_eq!(read(&long), Err(ChunkError::Trailers));
}

#[test]
fn s08_signed_trailers_need_their_signature() {
    let seed = "0".repeat(64);
    let framed = Framed::new(b"abc", &[], Some(&seed), Some("AAAAAA=="));
    let bare = format!("{CRC}:AAAAAA==\r\n\r\n").into_bytes();
    let body = [framed.chunks.concat(), bare].concat();
    assert_eq!(framed.read(&body), Err(ChunkError::Signature));
    // Nor may chunks that have to be signed come without.
    let unsigned = Framed::new(b"abc", &[], None, Some("AAAAAA=="));
    assert_eq!(framed.read(&unsigned.body()), Err(ChunkError::Malformed));
}
