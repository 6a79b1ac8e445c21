//! How much a gateway was served beyond what it vouched for. Pure.
//!
//! A credit belongs to the open epoch. Most of what is owed at its end is owed in the
//! next, or a gateway that vouches for nothing would be served anew in each; the
//! rest is forgiven, so that small differences do not add up for ever. Vouchers count by what they add, whichever of the taken epochs they are of:
//! node and gateway need not see an epoch begin in the same moment.
//!
//! Reads that a gateway gave up are forgiven up to an eighth of what it
//! finished. It vouches for bytes that it verified, and hedged reads, of which
//! the slower is given up, are at most a tenth; without this the difference
//! would add up until an honest gateway is refused. What is not forgiven is
//! owed, so that giving up each read at its last byte is no way to read free.

use protocol::Epoch;

/// Finished bytes for each byte given up that is forgiven.
const FORGIVEN_PART: u64 = 8;

/// What passed between the node and one gateway in the open epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Credit {
    epoch: Epoch,
    /// Bytes made durable or sent.
    served: u64,
    /// Those of them whose read was given up.
    abandoned: u64,
    vouched: u64,
    /// Whether the gateway is paused, as it stands in the log already.
    pub paused: bool,
}

impl Credit {
    /// Begins `epoch` with what is owed of the one before.
    pub fn enter(&mut self, epoch: Epoch) {
        if self.epoch != epoch {
            let owed = self.owed();
            let served = owed - owed / FORGIVEN_PART;
            *self = Self { epoch, served, paused: self.paused, ..Self::default() };
        }
    }

    /// Bytes served that nobody vouched for.
    pub fn owed(&self) -> u64 {
        let finished = self.served.saturating_sub(self.abandoned);
        let forgiven = self.abandoned.min(finished / FORGIVEN_PART);
        self.served.saturating_sub(forgiven).saturating_sub(self.vouched)
    }

    /// Bytes were made durable or sent.
    pub fn serve(&mut self, bytes: u64) {
        self.served = self.served.saturating_add(bytes);
    }

    /// Of the bytes served, these belong to a read that was given up.
    pub fn abandon(&mut self, bytes: u64) {
        self.abandoned = self.abandoned.saturating_add(bytes).min(self.served);
    }

    /// A voucher added these bytes.
    pub fn vouch(&mut self, bytes: u64) {
        self.vouched = self.vouched.saturating_add(bytes);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn credit(served: u64, abandoned: u64, vouched: u64) -> Credit {
        Credit { served, abandoned, vouched, ..Credit::default() }
    }

    #[test]
    fn what_is_owed() {
        let owed = |served, abandoned, vouched| credit(served, abandoned, vouched).owed();
        assert_eq!(owed(100, 0, 0), 100);
        assert_eq!(owed(100, 0, 60), 40);
        assert_eq!(owed(100, 0, 160), 0, "vouched early, for bytes of the epoch before");
        assert_eq!(owed(90, 10, 80), 0, "a tenth was given up");
        assert_eq!(owed(100, 100, 0), 100, "giving up everything is not free");
        assert_eq!(owed(180, 100, 80), 90, "an eighth of the 80 finished is forgiven");
    }

    #[test]
    fn a_debt_fades_from_epoch_to_epoch_and_a_late_voucher_ends_it() {
        let mut credit = credit(100, 10, 20);
        credit.enter(Epoch(0));
        assert_eq!(credit.owed(), 70);
        credit.enter(Epoch(1));
        assert_eq!(credit.owed(), 62, "seven eighths of it");
        let mut late = credit.clone();
        late.vouch(70);
        assert_eq!(late.owed(), 0);
        for epoch in 2..40 {
            credit.enter(Epoch(epoch));
        }
        assert!(credit.owed() < 8, "{credit:?}");
    }

    #[test]
    fn who_never_vouches_is_served_a_limit_and_not_one_in_each_epoch() {
        const LIMIT: u64 = 256 << 20;
        let (mut credit, mut served) = (Credit::default(), 0);
        for epoch in 0..144 {
            credit.enter(Epoch(epoch));
            while credit.owed() < LIMIT {
                credit.serve(1 << 20);
                served += 1 << 20;
            }
        }
        assert!(served < LIMIT * 144 / 7, "{served}");
    }

    proptest! {
        /// Serving never lowers the debt, vouching never raises it, and giving
        /// up saves at most an eighth of what was finished.
        #[test]
        fn debts_move_the_right_way(
            steps in prop::collection::vec((0u8..3, 0u64..1_000_000), 0..60),
        ) {
            let mut credit = Credit::default();
            for (kind, bytes) in steps {
                let before = credit.owed();
                match kind {
                    0 => { credit.serve(bytes); prop_assert!(credit.owed() >= before); }
                    1 => { credit.vouch(bytes); prop_assert!(credit.owed() <= before); }
                    _ => credit.abandon(bytes),
                }
                let all = credit.served.saturating_sub(credit.vouched);
                prop_assert!(credit.owed() <= all);
                prop_assert!(all - credit.owed() <= credit.served / 8);
            }
        }
    }
}
