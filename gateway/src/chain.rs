//! The network as the ledger told it last, for requests that must know: what
//! things cost, whom the ledger has excluded, whether we may write at all.
//!
//! Not here: asking the ledger (`upkeep::watch`), and what loops make of its
//! news.

use std::sync::{Arc, PoisonError, RwLock};

use protocol::ledger_api::ChainInfo;
use protocol::price::Prices;
use protocol::{GatewayId, NodeId};
use s3s::{S3ErrorCode, S3Result};

use crate::error::refuse;

/// What is said of a gateway that may not take part.
pub const REVOKED: &str = "the ledger does not list this gateway: it was revoked, or never \
     admitted; nodes take nothing from it";

/// What the ledger said last; nothing before its first answer.
#[derive(Debug, Default)]
pub struct Chain {
    info: RwLock<Option<Arc<ChainInfo>>>,
}

impl Chain {
    /// Takes over an answer of the ledger.
    pub fn set(&self, info: ChainInfo) {
        *self.info.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(info));
    }

    /// The last answer.
    pub fn info(&self) -> Option<Arc<ChainInfo>> {
        self.info.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The prices of the open epoch.
    pub fn prices(&self) -> Option<Prices> {
        let info = self.info()?;
        Some(info.prices_of(info.open).unwrap_or(&info.prices).sheet.prices)
    }

    /// Whether the ledger has excluded a node for good.
    pub fn is_excluded(&self, node: NodeId) -> bool {
        self.info().is_some_and(|info| info.excluded.contains(&node))
    }

    /// Whether the ledger was heard and does not list this gateway.
    pub fn is_revoked(&self, gateway: GatewayId) -> bool {
        self.info().is_some_and(|info| !info.gateways.contains(&gateway))
    }

    /// Refuses writes of a gateway that may not take part.
    pub fn check(&self, gateway: GatewayId) -> S3Result<()> {
        if self.is_revoked(gateway) {
            return Err(refuse(S3ErrorCode::ServiceUnavailable, REVOKED));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::chain_info;

    #[test]
    fn who_is_not_listed_may_not_write_and_nobody_guesses() {
        let (us, node) = (GatewayId([1; 32]), NodeId([2; 32]));
        let chain = Chain::default();
        assert!(chain.check(us).is_ok() && !chain.is_excluded(node), "nothing is known yet");
        chain.set(ChainInfo { excluded: vec![node], ..chain_info(us) });
        assert!(chain.check(us).is_ok() && chain.is_excluded(node));
        chain.set(chain_info(GatewayId([3; 32])));
        assert_eq!(chain.check(us).unwrap_err().code(), &S3ErrorCode::ServiceUnavailable);
        assert!(!chain.is_excluded(node));
    }
}
