//! What a gateway asks of a node, and what the node answers.
//!
//! ```text
//! stream of a put:      Request::Put, chunks, an empty chunk, PutTrailer  ->  answer Stored
//! stream of a get:      Request::Get   ->  answer GetHeader, then one frame for each window
//! stream of a list:     Request::List  ->  answers Inventory, an empty one ends the list
//! any other:            Request        ->  answer
//! chunk:                u32 length (0 ends the body, at most 1 MiB), bytes
//! window:               u32 length, an encoding of crate::tree for the next WINDOW of the range
//! ```
//!
//! The root of a put follows the body, so that a gateway can send a shard while
//! it is still encoding it. The node stores nothing under the id before the
//! root it computed equals the one promised.
//!
//! A `Stored` answer means: these bytes survive a power cut. It is
//! authenticated by the connection.

use crate::audit::Outcome;
use crate::ids::{Incarnation, Root, ShardId};
use crate::voucher::{Receipt, Voucher};
use crate::wire::{Reader, Wire, WireError, Writer};

/// Bytes of a shard in one window of a get.
pub const WINDOW: u64 = 256 * 1024;

/// Largest shard: one column of a segment of 64 MiB and its tags, with one data
/// shard.
pub const SHARD_LEN_MAX: u64 = 80 * 1024 * 1024;

/// One request to a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Store a shard of at most `max_len` bytes; the body follows.
    Put {
        /// The shard.
        shard: ShardId,
        /// Room to set aside.
        max_len: u64,
        /// When this place was chosen for the shard, ms since 1970: a delete
        /// before that does not refuse it. 0 for a place that is chosen once.
        chosen_ms: u64,
    },
    /// Read bytes `start..end` of a shard, with proofs.
    Get {
        /// The shard.
        shard: ShardId,
        /// First byte.
        start: u64,
        /// One past the last byte.
        end: u64,
    },
    /// Forget a shard. Deleting what is not there is no error.
    Delete {
        /// The shard.
        shard: ShardId,
    },
    /// Show that the shard is held: the 16 KiB group number `group`, with its
    /// proof.
    Prove {
        /// The shard.
        shard: ShardId,
        /// The number of the group, from 0.
        group: u64,
    },
    /// How is it going?
    Status,
    /// What the gateway owes by now.
    Voucher(Box<Voucher>),
    /// Name the shards of the asking gateway that are held, in order of id.
    List {
        /// The first id that may be named.
        from: ShardId,
        /// Shards to name at most; no more than [`LIST_MAX`].
        limit: u32,
    },
    /// What the gateway thinks of the node, and why: told after each audit and
    /// each change of its state.
    Standing(Box<Standing>),
}

const PUT: u8 = 1;
const GET: u8 = 2;
const DELETE: u8 = 3;
const PROVE: u8 = 4;
const STATUS: u8 = 5;
const VOUCHER: u8 = 6;
const LIST: u8 = 7;
const STANDING: u8 = 8;

impl Request {
    /// The name in metrics and spans.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Put { .. } => "put",
            Self::Get { .. } => "get",
            Self::Delete { .. } => "delete",
            Self::Prove { .. } => "prove",
            Self::Status => "status",
            Self::Voucher(_) => "voucher",
            Self::List { .. } => "list",
            Self::Standing(_) => "standing",
        }
    }
}

impl Wire for Request {
    fn write(&self, out: &mut Writer) {
        match self {
            Self::Put { shard, max_len, chosen_ms } => {
                out.u8(PUT);
                shard.write(out);
                out.u64(*max_len);
                out.u64(*chosen_ms);
            }
            Self::Get { shard, start, end } => {
                out.u8(GET);
                shard.write(out);
                out.u64(*start);
                out.u64(*end);
            }
            Self::Delete { shard } => {
                out.u8(DELETE);
                shard.write(out);
            }
            Self::Prove { shard, group } => {
                out.u8(PROVE);
                shard.write(out);
                out.u64(*group);
            }
            Self::Status => out.u8(STATUS),
            Self::Voucher(voucher) => {
                out.u8(VOUCHER);
                voucher.write(out);
            }
            Self::List { from, limit } => {
                out.u8(LIST);
                from.write(out);
                out.u32(*limit);
            }
            Self::Standing(standing) => {
                out.u8(STANDING);
                standing.write(out);
            }
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(match from.u8()? {
            PUT => Self::Put {
                shard: ShardId::read(from)?,
                max_len: from.u64()?,
                chosen_ms: from.u64()?,
            },
            GET => Self::Get { shard: ShardId::read(from)?, start: from.u64()?, end: from.u64()? },
            DELETE => Self::Delete { shard: ShardId::read(from)? },
            PROVE => Self::Prove { shard: ShardId::read(from)?, group: from.u64()? },
            STATUS => Self::Status,
            VOUCHER => Self::Voucher(Box::new(Voucher::read(from)?)),
            LIST => Self::List { from: ShardId::read(from)?, limit: from.u32()? },
            STANDING => Self::Standing(Box::new(Standing::read(from)?)),
            value => {
                return Err(WireError::Unknown { what: "request", value: u64::from(value) });
            }
        })
    }
}

macro_rules! message {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $kind:tt,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name { $($(#[$field_doc])* pub $field: message!(@type $kind),)* }

        impl Wire for $name {
            fn write(&self, out: &mut Writer) {
                let _ = &out; // A message without fields writes nothing.
                $(message!(@write out, self.$field, $kind);)*
            }
            fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
                let _ = &from;
                Ok(Self { $($field: message!(@read from, $kind),)* })
            }
        }
    };
    (@type u64) => { u64 };
    (@type bool) => { bool };
    (@type $kind:tt) => { $kind };
    (@write $out:ident, $value:expr, u64) => { $out.u64($value) };
    (@write $out:ident, $value:expr, bool) => { $out.u8(u8::from($value)) };
    (@write $out:ident, $value:expr, $kind:tt) => { $value.write($out) };
    (@read $from:ident, u64) => { $from.u64()? };
    (@read $from:ident, bool) => { $from.u8()? != 0 };
    (@read $from:ident, $kind:tt) => { $kind::read($from)? };
}

message!(
    /// Follows the body of a put.
    PutTrailer {
        /// The length of the body.
        len: u64,
        /// Its root.
        root: Root,
    }
);
message!(
    /// The shard survives a power cut.
    Stored {
        /// The life of the data folder that holds it.
        incarnation: Incarnation,
        /// The shard.
        shard: ShardId,
        /// Its root, as the node computed it.
        root: Root,
        /// Its length.
        len: u64,
    }
);
message!(
    /// Precedes the windows of a get, or the proof of a group.
    GetHeader {
        /// The length of the whole shard.
        shard_len: u64,
    }
);
message!(
    /// The shard is not held (any more).
    Deleted {
        /// Whether it was held before.
        existed: bool,
    }
);
message!(
    /// The voucher was taken and kept.
    VoucherTaken {}
);
message!(
    /// The node took note.
    StandingTaken {}
);

/// What a gateway thinks of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The word for its state, such as `active`.
    pub state: String,
    /// The score of its audits, in millionths.
    pub score: u32,
    /// Audits that it passed.
    pub passed: u64,
    /// How the audit ended that this is about, if it is about one.
    pub outcome: Option<Outcome>,
    /// Why, in words.
    pub reason: String,
}

/// Longest word for a state.
const STATE_MAX: usize = 32;
/// Longest reason of a standing.
pub const STANDING_REASON_MAX: usize = 512;

impl Wire for Standing {
    fn write(&self, out: &mut Writer) {
        out.blob(self.state.as_bytes());
        out.u32(self.score);
        out.u64(self.passed);
        let place = |outcome| Outcome::ALL.iter().position(|known| *known == outcome);
        let number = self.outcome.and_then(place).map_or(0, |place| place + 1);
        out.u8(u8::try_from(number).expect("there are four outcomes"));
        let end = self.reason.floor_char_boundary(STANDING_REASON_MAX);
        out.blob(&self.reason.as_bytes()[..end]);
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            state: from.text("state", STATE_MAX)?,
            score: from.u32()?,
            passed: from.u64()?,
            outcome: match from.u8()? {
                0 => None,
                number => {
                    let outcome = Outcome::ALL.get(usize::from(number) - 1).copied();
                    let value = u64::from(number);
                    Some(outcome.ok_or(WireError::Unknown { what: "outcome", value })?)
                }
            },
            reason: from.text("reason", STANDING_REASON_MAX)?,
        })
    }
}

/// A node's own account of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The life of its data folder.
    pub incarnation: Incarnation,
    /// Bytes it will still take.
    pub free: u64,
    /// Bytes of shards it holds.
    pub stored: u64,
    /// Number of shards it holds.
    pub shards: u64,
    /// The highest voucher of each lane that it holds from the asking gateway,
    /// so that a gateway that lost its memory goes on where it was.
    pub vouchers: Vec<Voucher>,
}

/// Lanes of one gateway: numbers 0 to 63.
pub const LANES_MAX: usize = 64;

/// Vouchers in a status: one for each lane would not fit a frame, and a gateway
/// uses few.
pub const STATUS_VOUCHERS_MAX: usize = 8;

impl Wire for Status {
    fn write(&self, out: &mut Writer) {
        self.incarnation.write(out);
        out.u64(self.free);
        out.u64(self.stored);
        out.u64(self.shards);
        out.list(&self.vouchers);
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            incarnation: Incarnation::read(from)?,
            free: from.u64()?,
            stored: from.u64()?,
            shards: from.u64()?,
            vouchers: from.list("vouchers", STATUS_VOUCHERS_MAX)?,
        })
    }
}

/// Shards that one list names at most.
pub const LIST_MAX: u32 = 65_536;

/// Shards in one [`Inventory`].
pub const INVENTORY_MAX: usize = 64;

/// Some of the shards of a gateway that a node holds. What it has lost, or
/// knows to be damaged, is not among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inventory {
    /// In order of id, and after those of the answer before.
    pub held: Vec<Held>,
}

impl Wire for Inventory {
    fn write(&self, out: &mut Writer) {
        out.list(&self.held);
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self { held: from.list("shards", INVENTORY_MAX)? })
    }
}

message!(
    /// A shard that a node holds.
    Held {
        /// The shard.
        shard: ShardId,
        /// Its length.
        len: u64,
        /// Its root.
        root: Root,
    }
);

const _: () = assert!(
    1 + 4 + INVENTORY_MAX * (17 + 8 + 32) <= crate::frame::NODE_FRAME_MAX,
    "an inventory fits a frame"
);

const _: () = assert!(
    STATUS_VOUCHERS_MAX * Receipt::LEN + 256 < crate::frame::NODE_FRAME_MAX,
    "a status fits a frame"
);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ids::SegmentId;

    const SHARD: ShardId = ShardId { segment: SegmentId([7; 16]), index: 3 };

    #[test]
    fn request_bytes_do_not_change() {
        let put = Request::Put { shard: SHARD, max_len: 4096, chosen_ms: 0x0102 };
        let golden = format!("01{}0300100000000000000201000000000000", "07".repeat(16));
        assert_eq!(hex::encode(put.to_wire()), golden);
        let get = Request::Get { shard: SHARD, start: 1, end: 2 };
        let golden = format!("02{}0301000000000000000200000000000000", "07".repeat(16));
        assert_eq!(hex::encode(get.to_wire()), golden);
        assert_eq!(hex::encode(Request::Status.to_wire()), "05");
        let list = Request::List { from: SHARD, limit: 0x0102 };
        let golden = format!("07{}0302010000", "07".repeat(16));
        assert_eq!(hex::encode(list.to_wire()), golden);
    }

    #[test]
    fn inventory_bytes_do_not_change() {
        let held = Held { shard: SHARD, len: 4096, root: Root([9; 32]) };
        let golden = format!("01000000{}030010000000000000{}", "07".repeat(16), "09".repeat(32));
        let inventory = Inventory { held: vec![held] };
        assert_eq!(hex::encode(inventory.to_wire()), golden);
        assert_eq!(Inventory::from_wire(&inventory.to_wire()), Ok(inventory));
        assert_eq!(hex::encode(Inventory { held: vec![] }.to_wire()), "00000000");
    }

    #[test]
    fn a_longer_inventory_than_fits_a_frame_is_refused() {
        let held = Held { shard: SHARD, len: 1, root: Root([9; 32]) };
        let full = Inventory { held: vec![held.clone(); INVENTORY_MAX] };
        assert!(full.to_wire().len() < crate::frame::NODE_FRAME_MAX);
        assert_eq!(Inventory::from_wire(&full.to_wire()), Ok(full));
        let more = Inventory { held: vec![held; INVENTORY_MAX + 1] };
        assert!(Inventory::from_wire(&more.to_wire()).is_err());
    }

    #[test]
    fn standing_bytes_do_not_change() {
        let golden = "08020000006f6b40420f000300000000000000040100000078";
        assert_eq!(hex::encode(standing().to_wire()), golden);
    }

    fn standing() -> Request {
        Request::Standing(Box::new(Standing {
            state: "ok".into(),
            score: 1_000_000,
            passed: 3,
            outcome: Some(Outcome::Failed),
            reason: "x".into(),
        }))
    }

    #[test]
    fn requests_read_back() {
        for request in [
            Request::Put { shard: SHARD, max_len: 1, chosen_ms: 2 },
            Request::Get { shard: SHARD, start: 0, end: u64::MAX },
            Request::Delete { shard: SHARD },
            Request::Prove { shard: SHARD, group: 9 },
            Request::Status,
            Request::List { from: SHARD, limit: LIST_MAX },
            standing(),
        ] {
            assert_eq!(Request::from_wire(&request.to_wire()), Ok(request));
        }
    }

    proptest! {
        /// Foreign bytes give a request that encodes to the same bytes, or an error.
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            if let Ok(request) = Request::from_wire(&bytes) {
                prop_assert_eq!(request.to_wire(), bytes);
            }
        }
    }
}
