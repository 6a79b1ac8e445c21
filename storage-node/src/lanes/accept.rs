//! Whether a voucher is taken. Pure: what is held and what is known of the
//! network are arguments.

use protocol::refusal::Refusal;
use protocol::sign::BadSignature;
use protocol::voucher::{Voucher, VoucherError};
use protocol::{GatewayId, NodeId};
use thiserror::Error;

use crate::chain::view::View;

/// Why a voucher is not taken.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum NotTaken {
    #[error("its epoch takes no vouchers")]
    Epoch,
    #[error("its price sheet is unknown or does not hold in its epoch")]
    PriceSheet,
    #[error(transparent)]
    Voucher(#[from] VoucherError),
    #[error(transparent)]
    Signature(#[from] BadSignature),
    #[error("it could not be kept: {0}")]
    NotKept(String),
}

impl NotTaken {
    /// What the gateway is told.
    pub fn refusal(&self) -> Refusal {
        match self {
            Self::Epoch => Refusal::Closed,
            Self::NotKept(_) => Refusal::Busy,
            Self::PriceSheet | Self::Voucher(_) | Self::Signature(_) => Refusal::BadVoucher,
        }
    }
}

/// Checks a voucher that `peer` brought to `node`, which holds `held` of the
/// same lane. The dear check, the signature, comes last.
pub(crate) fn check(
    voucher: &Voucher,
    peer: GatewayId,
    node: NodeId,
    view: &View,
    held: Option<&Voucher>,
) -> Result<(), NotTaken> {
    let body = &voucher.body;
    for (right, what) in [
        (body.chain == view.info.chain, "network"),
        (body.node == node, "node"),
        (body.gateway == peer, "gateway"),
    ] {
        if !right {
            return Err(VoucherError::Other(what).into());
        }
    }
    if !view.takes(body.epoch) {
        return Err(NotTaken::Epoch);
    }
    let prices = view.prices(&body.price_sheet, body.epoch).ok_or(NotTaken::PriceSheet)?;
    body.check_amount(prices)?;
    if let Some(held) = held {
        body.check_follows(&held.body)?;
    }
    Ok(voucher.verify()?)
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;
    use protocol::price::Counters;
    use protocol::voucher::VoucherBody;
    use protocol::{ChainId, Epoch, SecretKey};

    use super::*;
    use crate::chain::view::tests::{info, ledger};

    pub(crate) fn gateway() -> SecretKey {
        SecretKey::from_seed([1; 32])
    }

    pub(crate) fn node() -> NodeId {
        SecretKey::from_seed([2; 32]).public().into()
    }

    pub(crate) fn view() -> View {
        let info = info(gateway().public().into(), 3);
        View::after(None, info, ledger().public().into()).unwrap()
    }

    pub(crate) fn body(operations: u64, bytes: u64) -> VoucherBody {
        let counters = Counters { put_bytes: bytes, operations, ..Counters::default() };
        let sheet = &view().info.prices.sheet;
        VoucherBody {
            chain: view().info.chain,
            gateway: gateway().public().into(),
            node: node(),
            epoch: Epoch(7),
            lane: 0,
            counters,
            amount: counters.amount(&sheet.prices),
            price_sheet: sheet.id(),
        }
    }

    #[track_caller]
    fn refused(change: impl FnOnce(&mut VoucherBody), with: Refusal) {
        let mut changed = body(1, 10);
        change(&mut changed);
        let peer = gateway().public().into();
        let got = check(&changed.signed(&gateway()), peer, node(), &view(), None);
        assert_eq!(got.map_err(|error| error.refusal()), Err(with));
    }

    #[test]
    fn a_voucher_must_fit_in_every_field() {
        let peer = gateway().public().into();
        let good = body(1, 10).signed(&gateway());
        assert_eq!(check(&good, peer, node(), &view(), None), Ok(()));
        let last = VoucherBody { epoch: Epoch(6), ..body(1, 10) }.signed(&gateway());
        assert_eq!(check(&last, peer, node(), &view(), None), Ok(()), "it takes receipts");

        refused(|body| body.chain = ChainId([4; 16]), Refusal::BadVoucher);
        refused(|body| body.node = NodeId([4; 32]), Refusal::BadVoucher);
        refused(|body| body.gateway = GatewayId([4; 32]), Refusal::BadVoucher);
        refused(|body| body.epoch = Epoch(5), Refusal::Closed);
        refused(|body| body.epoch = Epoch(8), Refusal::Closed);
        refused(|body| body.price_sheet = [0; 32], Refusal::BadVoucher);
        refused(|body| body.amount.0 -= 1, Refusal::BadVoucher);
        refused(|body| body.counters.put_bytes += 1, Refusal::BadVoucher);

        let foreign = body(1, 10).signed(&SecretKey::from_seed([8; 32]));
        let got = check(&foreign, peer, node(), &view(), None);
        assert!(matches!(got, Err(NotTaken::Signature(_))));
    }

    proptest! {
        /// Whatever arrives in whatever order, what is held never shrinks.
        #[test]
        fn vouchers_only_grow(arrivals in prop::collection::vec((1u64..12, 0u64..12), 1..24)) {
            let peer = gateway().public().into();
            let mut held: Option<Voucher> = None;
            for (operations, bytes) in arrivals {
                let voucher = body(operations, bytes).signed(&gateway());
                if check(&voucher, peer, node(), &view(), held.as_ref()).is_ok() {
                    if let Some(held) = &held {
                        prop_assert!(voucher.body.counters.covers(&held.body.counters));
                        prop_assert!(voucher.body.amount >= held.body.amount);
                    }
                    held = Some(voucher);
                }
            }
        }
    }
}
