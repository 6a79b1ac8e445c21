//! What a node or a gateway orders with what it has earned, or about itself.
//!
//! ```text
//! order    chain[16], party[32], id[16], action, signature[64]
//! action   1 withdraw   amount u128               mature money leaves the network
//!          2 spend      account[16], amount u128  mature money tops up an account
//!          3 stake      amount u128               mature money becomes a deposit
//!          4 exit                                 a node begins to leave
//!          5 bind       address[20]               who is paid on an EVM chain
//! ```
//! The id makes an order idempotent. Whether the party has what it orders over
//! is the ledger's to say.

use crate::ids::{AccountId, ChainId, PublicKey};
use crate::keys::SecretKey;
use crate::price::Amount;
use crate::sign::{self, BadSignature, Signature, Signed};
use crate::statement::TransferId;
use crate::wire::{Reader, Wire, WireError, Writer};

/// An address on an EVM chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EvmAddress(pub [u8; 20]);

/// What is ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Mature money leaves the network.
    Withdraw(Amount),
    /// Mature money tops up a customer's account.
    Spend {
        /// The account.
        account: AccountId,
        /// How much.
        amount: Amount,
    },
    /// Mature money becomes a node's deposit or a gateway's bond.
    Stake(Amount),
    /// A node begins to leave: it gets its deposit and what was held back once
    /// it keeps nothing for anybody any more.
    Exit,
    /// Names who is paid on an EVM chain.
    BindEvm(EvmAddress),
}

/// An order of a node or a gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The network.
    pub chain: ChainId,
    /// A node's or a gateway's key.
    pub party: PublicKey,
    /// Makes it idempotent.
    pub id: TransferId,
    /// What it orders.
    pub action: Action,
    /// The party's signature over all of the above.
    pub signature: Signature,
}

impl Order {
    /// An order signed by `key`, whose it is.
    pub fn signed(chain: ChainId, key: &SecretKey, id: TransferId, action: Action) -> Self {
        let signature = Signature([0; 64]);
        let mut order = Self { chain, party: key.public(), id, action, signature };
        order.signature = sign::sign(key, &order);
        order
    }

    /// Verifies the party's signature.
    pub fn verify(&self) -> Result<(), BadSignature> {
        sign::verify(self.party, self, &self.signature)
    }
}

impl Signed for Order {
    const DOMAIN: &'static str = "stratos order v1";
    fn write_signed(&self, out: &mut Writer) {
        self.chain.write(out);
        self.party.write(out);
        self.id.write(out);
        self.action.write(out);
    }
}

impl Wire for Action {
    fn write(&self, out: &mut Writer) {
        match self {
            Self::Withdraw(amount) => {
                out.u8(1);
                amount.write(out);
            }
            Self::Spend { account, amount } => {
                out.u8(2);
                account.write(out);
                amount.write(out);
            }
            Self::Stake(amount) => {
                out.u8(3);
                amount.write(out);
            }
            Self::Exit => out.u8(4),
            Self::BindEvm(address) => {
                out.u8(5);
                out.bytes(&address.0);
            }
        }
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(match from.u8()? {
            1 => Self::Withdraw(Amount::read(from)?),
            2 => Self::Spend { account: AccountId::read(from)?, amount: Amount::read(from)? },
            3 => Self::Stake(Amount::read(from)?),
            4 => Self::Exit,
            5 => Self::BindEvm(EvmAddress(from.array()?)),
            value => return Err(WireError::Unknown { what: "order", value: u64::from(value) }),
        })
    }
}

impl Wire for Order {
    fn write(&self, out: &mut Writer) {
        self.write_signed(out);
        self.signature.write(out);
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            chain: ChainId::read(from)?,
            party: PublicKey::read(from)?,
            id: TransferId::read(from)?,
            action: Action::read(from)?,
            signature: Signature::read(from)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(action: Action) -> Order {
        let key = SecretKey::from_seed([1; 32]);
        Order::signed(ChainId([2; 16]), &key, TransferId([3; 16]), action)
    }

    #[test]
    fn every_order_reads_back_and_stands_only_as_signed() {
        let account = AccountId([4; 16]);
        for action in [
            Action::Withdraw(Amount(5)),
            Action::Spend { account, amount: Amount(6) },
            Action::Stake(Amount(7)),
            Action::Exit,
            Action::BindEvm(EvmAddress([8; 20])),
        ] {
            let order = order(action);
            assert_eq!(Order::from_wire(&order.to_wire()), Ok(order.clone()));
            assert_eq!(order.verify(), Ok(()));
            assert!(Order { id: TransferId([9; 16]), ..order }.verify().is_err());
        }
    }

    #[test]
    fn order_bytes_do_not_change() {
        let bytes = order(Action::Withdraw(Amount(5))).to_wire();
        let golden = "4eea4980d40fa3a9aeb19a44d3059a2a2f7d3f459553f9500d56e02490ffdf0e";
        assert_eq!(blake3::hash(&bytes).to_hex().as_str(), golden);
    }
}
