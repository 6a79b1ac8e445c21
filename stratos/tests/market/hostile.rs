//! What cheats submit. They have keys of their own and those of friends, and
//! sign whatever they like.

use protocol::claim::Equivocation;
use protocol::ledger_api::{ChainInfo, Submission};
use protocol::price::{Amount, Counters};
use protocol::voucher::{Receipt, VoucherBody};
use protocol::{Epoch, SecretKey};

/// A receipt over made-up traffic, signed by a gateway and a node that are
/// friends.
pub fn made_up(
    info: &ChainInfo,
    epoch: Epoch,
    lane: u16,
    (gateway, node): (&SecretKey, &SecretKey),
    counters: Counters,
) -> Receipt {
    let sheet = &info.prices.sheet;
    let body = VoucherBody {
        chain: info.chain,
        gateway: gateway.public().into(),
        node: node.public().into(),
        epoch,
        lane,
        counters,
        amount: counters.amount(&sheet.prices),
        price_sheet: sheet.id(),
    };
    body.signed(gateway).countersigned(node)
}

/// A node's own receipt, blown up: the gateway did not sign that.
pub fn inflated(receipt: &Receipt, node: &SecretKey) -> Receipt {
    let mut voucher = receipt.voucher.clone();
    voucher.body.counters.get_bytes += 1 << 40;
    voucher.body.amount = Amount(voucher.body.amount.0 * 2);
    voucher.countersigned(node)
}

/// Two receipts of one lane that contradict each other.
pub fn contradiction(
    info: &ChainInfo,
    epoch: Epoch,
    lane: u16,
    keys: (&SecretKey, &SecretKey),
) -> Equivocation {
    let counters = |put_bytes, get_bytes| Counters {
        put_bytes,
        get_bytes,
        operations: 1,
        ..Counters::default()
    };
    Equivocation {
        first: made_up(info, epoch, lane, keys, counters(1000, 0)),
        second: made_up(info, epoch, lane, keys, counters(0, 1000)),
    }
}

/// A receipt as it is submitted.
pub fn submitted(receipt: &Receipt) -> Submission {
    Submission::Receipt(Box::new(receipt.clone()))
}
