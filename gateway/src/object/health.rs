//! What a segment lacks, and what is to be done about it.
//!
//! Pure: knows nothing of SQL, clocks or networks, so that the repair loop, the
//! simulation and the tests decide alike. Not here: where a lost shard goes
//! (`placement`), and how it is computed (`rebuild`).

use erasure::Scheme;

/// How far a node can be counted on for the shards that it should hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It answers.
    Up,
    /// It does not answer, and may be back in a moment.
    Down,
    /// It has not answered for so long that its shards are rebuilt elsewhere.
    Absent,
    /// It left, lost its data or the right to hold any.
    Gone,
}

/// One shard of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Its number.
    pub index: u8,
    /// Whether it was stored in the present life of its node's folder.
    pub stored: bool,
    /// Whether it counts as lost, and may be there all the same.
    pub doubtful: bool,
    /// Whether somebody doubts that it is there.
    pub queued: bool,
    /// Its node.
    pub standing: Standing,
}

/// What to do about a segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Shards beyond the needed ones that stand beyond doubt; negative when
    /// there are too few.
    pub margin: i32,
    /// Shards in doubt that can be looked at: sound ones leave the queue.
    pub verify: Vec<u8>,
    /// Shards to compute anew.
    pub rebuild: Vec<u8>,
    /// Shards to compute them from, the surest first.
    pub sources: Vec<u8>,
    /// Shards in doubt that can be neither looked at nor given up yet.
    pub waiting: Vec<u8>,
}

/// Looks at one segment. Shards that never had a node have no slot.
pub fn plan(scheme: Scheme, slots: &[Slot]) -> Plan {
    let mut plan = Plan { margin: -i32::from(scheme.needed()), ..Plan::default() };
    let (mut doubtful, mut last) = (Vec::new(), Vec::new());
    for index in 0..scheme.total() {
        let Some(slot) = slots.iter().find(|slot| slot.index == index) else {
            plan.rebuild.push(index);
            continue;
        };
        match (slot.stored, slot.queued, slot.standing) {
            (false, _, _) => {
                plan.rebuild.push(index);
                if slot.doubtful {
                    last.push(index);
                }
            }
            (true, _, Standing::Gone) => {
                plan.rebuild.push(index);
                doubtful.push(index);
            }
            (true, true, Standing::Absent) => plan.rebuild.push(index),
            (true, true, Standing::Down) => plan.waiting.push(index),
            (true, true, Standing::Up) => plan.verify.push(index),
            (true, false, standing) => {
                plan.margin += 1;
                match standing {
                    Standing::Up => plan.sources.push(index),
                    _ => doubtful.push(index),
                }
            }
        }
    }
    // Every window is verified: a doubtful source can cost a try, not a byte.
    plan.sources.extend(doubtful);
    plan.sources.extend(&plan.verify);
    plan.sources.extend(last);
    plan
}

/// How soon a segment must be repaired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// The next loss loses data, or has.
    Now,
    /// The loss after the next would.
    Soon,
    /// It can wait.
    Later,
}

/// How soon a segment with this margin must be repaired.
pub fn urgency(margin: i64) -> Urgency {
    match margin {
        ..=0 => Urgency::Now,
        1 => Urgency::Soon,
        _ => Urgency::Later,
    }
}

/// Whether so many nodes have fallen silent at once that it is our own network
/// that should be suspected: more than a tenth of them, and more than one. Then
/// only what is urgent is repaired. Who has been absent for long is no storm.
pub fn is_storm(standings: impl IntoIterator<Item = Standing>) -> bool {
    let (mut all, mut silent) = (0, 0);
    for standing in standings {
        match standing {
            Standing::Gone => continue,
            Standing::Down => silent += 1,
            Standing::Up | Standing::Absent => {}
        }
        all += 1;
    }
    silent > 1 && silent * 10 > all
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scheme() -> Scheme {
        "4+2".parse().unwrap()
    }

    fn slot(index: u8) -> Slot {
        Slot { index, stored: true, doubtful: false, queued: false, standing: Standing::Up }
    }

    fn whole() -> Vec<Slot> {
        (0..6).map(slot).collect()
    }

    #[test]
    fn a_whole_segment_needs_nothing() {
        let plan = plan(scheme(), &whole());
        assert_eq!(plan.margin, 2);
        assert_eq!(plan.sources, [0, 1, 2, 3, 4, 5]);
        assert!(plan.rebuild.is_empty() && plan.verify.is_empty() && plan.waiting.is_empty());
    }

    #[test]
    fn each_kind_of_loss_has_its_remedy() {
        use Standing::{Absent, Down, Gone, Up};
        for (stored, queued, standing, margin, remedy) in [
            (false, true, Up, 1, "rebuild"),
            (false, false, Down, 1, "rebuild"),
            (true, false, Gone, 1, "rebuild"),
            (true, true, Gone, 1, "rebuild"),
            (true, true, Absent, 1, "rebuild"),
            (true, true, Up, 1, "verify"),
            (true, true, Down, 1, "wait"),
            (true, false, Down, 2, "nothing"),
            (true, false, Absent, 2, "nothing"),
        ] {
            let mut slots = whole();
            slots[3] = Slot { index: 3, stored, doubtful: false, queued, standing };
            let plan = plan(scheme(), &slots);
            let found = match &plan {
                Plan { rebuild, .. } if *rebuild == [3] => "rebuild",
                Plan { verify, .. } if *verify == [3] => "verify",
                Plan { waiting, .. } if *waiting == [3] => "wait",
                _ => "nothing",
            };
            assert_eq!((plan.margin, found), (margin, remedy), "{:?}", slots[3]);
        }
    }

    #[test]
    fn a_shard_that_never_had_a_node_is_rebuilt() {
        let plan = plan(scheme(), &whole()[..5]);
        assert_eq!((plan.margin, plan.rebuild), (1, vec![5]));
    }

    #[test]
    fn sure_sources_come_first() {
        let mut slots = whole();
        slots[0].standing = Standing::Down;
        slots[1].queued = true;
        assert_eq!(plan(scheme(), &slots).sources, [2, 3, 4, 5, 0, 1]);
    }

    #[test]
    fn what_counts_as_lost_is_the_last_thing_that_is_tried() {
        let mut slots = whole();
        slots[2] = Slot { stored: false, doubtful: true, ..slots[2] };
        let plan = plan(scheme(), &slots);
        assert_eq!((plan.margin, plan.rebuild), (1, vec![2]));
        assert_eq!(plan.sources, [0, 1, 3, 4, 5, 2]);
    }

    #[test]
    fn one_silent_node_is_no_storm_and_two_of_twelve_are() {
        let silent =
            |count| (0..12).map(move |n| if n < count { Standing::Down } else { Standing::Up });
        assert!(!is_storm(silent(1)));
        assert!(is_storm(silent(2)));
        for other in [Standing::Gone, Standing::Absent] {
            assert!(!is_storm((0..12).map(|n| if n < 6 { other } else { Standing::Up })));
        }
    }

    proptest! {
        /// Each shard is counted, doubted or rebuilt, and never two of them; no
        /// shard that is to be rebuilt for being unsound is a source.
        #[test]
        fn every_shard_has_one_fate(slots in prop::collection::vec(
            (any::<bool>(), any::<bool>(), prop::sample::select(vec![
                Standing::Up, Standing::Down, Standing::Absent, Standing::Gone,
            ])), 0..=6)
        ) {
            let slots: Vec<Slot> = slots.into_iter().zip(0..)
                .map(|((stored, queued, standing), index)| {
                    Slot { index, stored, doubtful: false, queued, standing }
                })
                .collect();
            let plan = plan(scheme(), &slots);
            let counted = usize::try_from(plan.margin + 4).unwrap();
            prop_assert_eq!(
                counted + plan.verify.len() + plan.rebuild.len() + plan.waiting.len(), 6);
            for slot in &slots {
                let is_source = plan.sources.contains(&slot.index);
                prop_assert!(slot.stored || !is_source);
            }
        }
    }
}
