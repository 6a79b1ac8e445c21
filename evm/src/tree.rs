//! The Merkle tree over what each address was ever paid out.
//!
//! Its form is OpenZeppelin's `StandardMerkleTree` over
//! `(address, uint256)`, so that their tools read it and contracts check it
//! with a handful of lines:
//!
//! ```text
//! leaf    keccak256(keccak256(address left-padded to 32 bytes, amount u256))
//! node    keccak256(smaller child, larger child)
//! order   leaves by their hash, ascending, and then from the end of an array
//!         of 2n - 1 nodes to its middle; node i has children 2i + 1 and 2i + 2
//! ```
//! A leaf is hashed twice, so no inner node (64 bytes, hashed once) is one.

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256, keccak256};

/// The tree of one epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    /// The root first. Never empty.
    nodes: Vec<B256>,
    /// Where the leaf of each address is, and the amount in it.
    leaves: BTreeMap<Address, (usize, u128)>,
}

/// What shows that an address was paid out an amount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// All that ever left to the address, in atto-credits.
    pub amount: u128,
    /// The hashes beside the path from the leaf up to the root.
    pub siblings: Vec<B256>,
}

/// The hash of a leaf.
pub fn leaf(address: Address, amount: u128) -> B256 {
    let mut encoded = [0; 64];
    encoded[12..32].copy_from_slice(address.as_slice());
    encoded[48..].copy_from_slice(&amount.to_be_bytes());
    keccak256(keccak256(encoded))
}

/// The hash of an inner node, whichever child comes first.
fn node(one: B256, other: B256) -> B256 {
    let mut encoded = [0; 64];
    encoded[..32].copy_from_slice(one.min(other).as_slice());
    encoded[32..].copy_from_slice(one.max(other).as_slice());
    keccak256(encoded)
}

/// Whether `proof` leads from the leaf up to the root, as the contract asks it.
pub fn verify(root: B256, address: Address, proof: &Proof) -> bool {
    let leaf = leaf(address, proof.amount);
    proof.siblings.iter().fold(leaf, |below, &sibling| node(below, sibling)) == root
}

impl Tree {
    /// The tree over these amounts. `None` when there are none: a tree without
    /// leaves has no root.
    pub fn new(amounts: &BTreeMap<Address, u128>) -> Option<Self> {
        if amounts.is_empty() {
            return None;
        }
        let hashed = amounts.iter().map(|(&address, &amount)| (leaf(address, amount), address));
        let mut sorted: Vec<(B256, Address)> = hashed.collect();
        sorted.sort_unstable();

        let size = 2 * sorted.len() - 1;
        let mut nodes = vec![B256::ZERO; size];
        let mut leaves = BTreeMap::new();
        for (nth, &(hash, address)) in sorted.iter().enumerate() {
            let place = size - 1 - nth;
            nodes[place] = hash;
            leaves.insert(address, (place, amounts[&address]));
        }
        for place in (0..size - sorted.len()).rev() {
            nodes[place] = node(nodes[2 * place + 1], nodes[2 * place + 2]);
        }
        Some(Self { nodes, leaves })
    }

    /// Stands for the whole tree.
    pub fn root(&self) -> B256 {
        self.nodes[0]
    }

    /// The proof for an address that has a leaf.
    pub fn proof(&self, address: Address) -> Option<Proof> {
        let &(mut place, amount) = self.leaves.get(&address)?;
        let mut siblings = Vec::new();
        while place > 0 {
            // Left children are at odd places, and their siblings right of them.
            let sibling = if place % 2 == 1 { place + 1 } else { place - 1 };
            siblings.push(self.nodes[sibling]);
            place = (place - 1) / 2;
        }
        Some(Proof { amount, siblings })
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::btree_map;
    use proptest::prelude::*;

    use super::*;

    fn address(n: u8) -> Address {
        Address::repeat_byte(n)
    }

    fn amounts() -> impl Strategy<Value = BTreeMap<Address, u128>> {
        btree_map(any::<[u8; 20]>().prop_map(Address::from), any::<u128>(), 1..40)
    }

    #[test]
    fn nothing_has_no_root() {
        assert_eq!(Tree::new(&BTreeMap::new()), None);
    }

    #[test]
    fn the_only_leaf_is_the_root() {
        let tree = Tree::new(&BTreeMap::from([(address(1), 7)])).unwrap();
        assert_eq!(tree.root(), leaf(address(1), 7));
        assert_eq!(tree.proof(address(1)), Some(Proof { amount: 7, siblings: Vec::new() }));
        assert_eq!(tree.proof(address(2)), None);
    }

    /// Made with `@openzeppelin/merkle-tree` 1.0.8.
    #[test]
    fn roots_and_proofs_are_those_of_openzeppelin() {
        let roots = [
            (1, "3058d7f21006dcb72cb579ffae0fcee5b3665e1fccf19e2aedd53eae4cb2443b"),
            (2, "c531c14c8a0af398c81ae97c2cac50c4b6b8c0c112dd29c4c95f850a1a00f3b3"),
            (3, "3de6c6e545a72bf349fd266f411b6d2929e81c922010d7372ffb6898ae306b85"),
            (5, "4cfc3a52a174156b55acffb93b81d957432bce08be838af63e173e1f3eef763e"),
            (8, "65f3b573dbbab81eb3155d1de7d8584a8d09c6b50121961073278808a0c16c6c"),
        ];
        for (count, root) in roots {
            assert_eq!(golden(count).root(), root.parse::<B256>().unwrap(), "{count} leaves");
        }
        let siblings = [
            "3058d7f21006dcb72cb579ffae0fcee5b3665e1fccf19e2aedd53eae4cb2443b",
            "b3dcd0706e4d9394b2921223828e665c9aea8ff07d5646df511a7ca7b8cf7b1a",
            "4141651fdb1b906f4d80b5d25e46858faf3583dc3493d897d842ae82ece41fcf",
        ];
        let proof = golden(5).proof(address(5)).unwrap();
        assert_eq!(proof.amount, u128::MAX);
        assert_eq!(proof.siblings, siblings.map(|hash| hash.parse::<B256>().unwrap()));
    }

    /// Leaf n holds n^3 * 10^18 + n; of five leaves, the last holds all it can.
    fn golden(count: u8) -> Tree {
        let amount = |n: u8| match (count, u128::from(n)) {
            (5, 5) => u128::MAX,
            (_, n) => n.pow(3) * 10u128.pow(18) + n,
        };
        Tree::new(&(1..=count).map(|n| (address(n), amount(n))).collect()).unwrap()
    }

    proptest! {
        #[test]
        fn every_leaf_is_proved(amounts in amounts()) {
            let tree = Tree::new(&amounts).unwrap();
            for (&address, &amount) in &amounts {
                let proof = tree.proof(address).unwrap();
                prop_assert_eq!(proof.amount, amount);
                prop_assert!(verify(tree.root(), address, &proof));
            }
        }

        #[test]
        fn nothing_else_is_proved(
            amounts in amounts(),
            nth: prop::sample::Index,
            wrong: u128,
            bit in 0..256usize,
        ) {
            let tree = Tree::new(&amounts).unwrap();
            let (&address, &amount) = amounts.iter().nth(nth.index(amounts.len())).unwrap();
            let proof = tree.proof(address).unwrap();
            if wrong != amount {
                let forged = Proof { amount: wrong, ..proof.clone() };
                prop_assert!(!verify(tree.root(), address, &forged));
            }
            prop_assert!(!verify(tree.root(), Address::repeat_byte(0xee), &proof));
            let longer = [proof.siblings.clone(), vec![B256::ZERO]].concat();
            let longer = Proof { siblings: longer, amount };
            prop_assert!(!verify(tree.root(), address, &longer));
            if let Some(sibling) = proof.siblings.first() {
                let mut bent = *sibling;
                bent[bit / 8] ^= 1 << (bit % 8);
                let siblings = [vec![bent], proof.siblings[1..].to_vec()].concat();
                let bent = Proof { siblings, amount };
                prop_assert!(!verify(tree.root(), address, &bent));
            }
        }

        #[test]
        fn a_change_anywhere_changes_the_root(amounts in amounts(), nth: prop::sample::Index) {
            let mut changed = amounts.clone();
            let amount = changed.values_mut().nth(nth.index(amounts.len())).unwrap();
            *amount ^= 1;
            prop_assert_ne!(Tree::new(&amounts).unwrap().root(), Tree::new(&changed).unwrap().root());
        }
    }
}
