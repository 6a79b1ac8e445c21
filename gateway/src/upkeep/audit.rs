//! Asks every node, again and again, to prove that it holds what it should.
//!
//! ```text
//! pick by the epoch's seed -> ask -> passed | offline | contained | failed
//!    contained: the same challenge again after hours, a few times, then failed
//!    failed:    metadata are read again first; then that shard is lost, now
//! ```
//! What is drawn, and what an answer means, is decided in `object::audit`; what
//! a score leads to, in `nodes::lifecycle`. Not here: the report of an epoch
//! (`report`) and rebuilding what is lost.

mod report;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ledger::client::LedgerClient;
use protocol::audit::{self, Outcome};
use protocol::ledger_api::ChainInfo;
use protocol::message::Standing;
use protocol::{Epoch, NodeId, ShardId};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::places::has_begun_again;
use super::{claims, standing};
use crate::gateway::{Gateway, now_ms};
use crate::meta::{Judged, Loss, MetaError, Millis, NodeState, Target, Waiting};
use crate::nodes::registry::NodeView;
use crate::object::audit::{Challenge, group_len, outcome_of, seed, settle};

/// Between two looks at what is due.
const TICK: Duration = Duration::from_millis(100);

/// Between two looks at challenges that are asked again, and at reports.
const SLOW_TICK: Millis = 1000;

/// Audits under way at once.
const TOGETHER: usize = 32;

/// What the loop knows.
struct Auditor {
    gateway: Arc<Gateway>,
    client: Arc<LedgerClient>,
    /// The epoch that is audited, and what its challenges are drawn from.
    seed: Option<(Epoch, [u8; 32])>,
    /// The number of each node's latest challenge.
    latest: HashMap<NodeId, u64>,
    /// Nodes that are being asked, with the epoch that this counts for.
    under_way: HashMap<NodeId, Epoch>,
    jobs: JoinSet<NodeId>,
    slow_at: Millis,
    /// The loss that was claimed last.
    claimed: Option<(ShardId, NodeId)>,
}

/// Audits until `stop`.
pub async fn run(
    gateway: Arc<Gateway>,
    client: Arc<LedgerClient>,
    mut news: watch::Receiver<Option<ChainInfo>>,
    stop: CancellationToken,
) {
    let mut auditor = Auditor {
        gateway,
        client,
        seed: None,
        latest: HashMap::new(),
        under_way: HashMap::new(),
        jobs: JoinSet::new(),
        slow_at: 0,
        claimed: None,
    };
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(TICK) => {}
            Some(done) = auditor.jobs.join_next() => {
                match done {
                    Ok(node) => drop(auditor.under_way.remove(&node)),
                    Err(error) => {
                        tracing::error!(%error, "an audit panicked");
                        // Whoever it was may be asked again.
                        auditor.under_way.clear();
                    }
                }
                continue;
            }
        }
        let Some(info) = news.borrow_and_update().clone() else { continue };
        auditor.round(&info).await;
    }
}

impl Auditor {
    async fn round(&mut self, info: &ChainInfo) {
        let now = now_ms();
        if now - self.slow_at >= SLOW_TICK {
            self.slow_at = now;
            self.begin_epoch(info).await;
            if let Err(error) = self.ask_again(info, now).await {
                tracing::warn!(%error, "challenges are asked again later");
            }
            let busy = self.under_way.values().min().copied();
            if let Err(error) = report::submit(&self.gateway, &self.client, info, busy).await {
                tracing::info!(%error, "audits are reported later");
            }
            match claims::submit(&self.gateway, &self.client, info, self.claimed).await {
                Ok(claimed) => self.claimed = claimed,
                Err(error) => tracing::info!(%error, "losses are claimed later"),
            }
        }
        let Some((epoch, seed)) = self.seed.filter(|(epoch, _)| *epoch == info.open) else {
            return;
        };
        for view in self.gateway.registry.views() {
            if let Some(challenge) = self.due(info, &seed, &view, now) {
                self.ask(view.record.node, epoch, Question::New(challenge));
            }
        }
    }

    /// Gets the beacon of a new epoch.
    async fn begin_epoch(&mut self, info: &ChainInfo) {
        if self.seed.is_some_and(|(epoch, _)| epoch == info.open) {
            return;
        }
        match report::beacon(&self.client, info.open).await {
            Ok(beacon) => {
                let secret = audit::secret(&self.gateway.key, info.chain, info.open);
                self.seed = Some((info.open, seed(&beacon, &secret)));
                self.latest.clear();
            }
            Err(error) => tracing::debug!(%error, "no beacon of epoch {} yet", info.open),
        }
    }

    /// The challenge that a node is to be asked now, if there is one. What came
    /// due while nobody asked is left out.
    fn due(
        &mut self,
        info: &ChainInfo,
        seed: &[u8; 32],
        view: &NodeView,
        now: Millis,
    ) -> Option<Challenge> {
        let node = view.record.node;
        if !is_audited(view) || self.under_way.contains_key(&node) {
            return None;
        }
        let is_new = view.state == NodeState::Vetting;
        let rules = &self.gateway.settings.nodes.audits;
        let interval = rules.interval(Duration::from_millis(info.epoch_ms), is_new);
        let open = u64::try_from(now).ok()?.checked_sub(info.opened_ms)?;
        let length = u64::try_from(interval.as_millis()).ok()?.max(1);
        let number = open / length;
        if self.latest.get(&node).is_some_and(|latest| *latest >= number) {
            return None;
        }
        let challenge = Challenge::draw(seed, node, number);
        let moment = u64::try_from(challenge.moment(interval).as_millis()).ok()?;
        if open < number * length + moment || self.under_way.len() >= TOGETHER {
            return None;
        }
        self.latest.insert(node, number);
        Some(challenge)
    }

    /// Asks again what was not answered.
    async fn ask_again(&mut self, info: &ChainInfo, now: Millis) -> Result<(), MetaError> {
        for waiting in self.gateway.meta.due_challenges(now, TOGETHER as u32).await? {
            let is_free = !self.under_way.contains_key(&waiting.node);
            if is_free && self.under_way.len() < TOGETHER {
                self.ask(waiting.node, info.open, Question::Again(waiting));
            }
        }
        Ok(())
    }

    fn ask(&mut self, node: NodeId, epoch: Epoch, question: Question) {
        self.under_way.insert(node, epoch);
        let gateway = self.gateway.clone();
        self.jobs.spawn(async move {
            if let Err(error) = audit(&gateway, node, epoch, question).await {
                tracing::warn!(?node, %error, "an audit came to nothing");
            }
            node
        });
    }
}

fn is_audited(view: &NodeView) -> bool {
    // Before its first answer a node holds nothing for us.
    view.seen_ms > 0 && view.state.keeps_shards()
}

/// What a node is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Question {
    /// Something new.
    New(Challenge),
    /// What it did not answer.
    Again(Waiting),
}

/// One audit from the question to its consequences.
pub(crate) async fn audit(
    gateway: &Arc<Gateway>,
    node: NodeId,
    epoch: Epoch,
    question: Question,
) -> Result<(), MetaError> {
    let meta = &gateway.meta;
    let (target, group, tries) = match question {
        Question::New(challenge) => {
            let target = meta.audit_target(node, challenge.point, challenge.pick).await?;
            (target, target.map_or(0, |target| challenge.group(target.len)), 1)
        }
        Question::Again(waiting) => {
            let target = meta.audit_target_of(node, waiting.shard).await?;
            if target.is_none() {
                return meta.drop_challenge(node, waiting.shard).await;
            }
            (target, waiting.group, waiting.tries + 1)
        }
    };
    let Some(target) = target else { return Ok(()) };
    let answer = gateway.nodes.prove(node, target.shard, target.root, target.len, group).await;
    let rules = &gateway.settings.nodes.audits;
    let outcome = settle(rules, outcome_of(&answer), tries);
    // It may have been moved or deleted meanwhile, which is no fault of the node. Nor
    // is it an audit that failed if the folder is a new one.
    if outcome == Outcome::Failed
        && (meta.audit_target_of(node, target.shard).await? != Some(target)
            || has_begun_again(gateway, node).await)
    {
        return meta.drop_challenge(node, target.shard).await;
    }
    let later = now_ms() + i64::try_from(rules.again_after.as_millis()).unwrap_or(i64::MAX / 4);
    match (outcome, question) {
        (Outcome::Contained, Question::New(_)) => {
            let waiting = Waiting { node, shard: target.shard, group, tries };
            meta.keep_challenge(waiting, later).await?;
        }
        (Outcome::Contained, Question::Again(waiting)) => {
            meta.put_off_challenge(Waiting { tries, ..waiting }, later).await?;
        }
        // It was not asked, so this was no try.
        (Outcome::Offline, Question::Again(waiting)) => {
            meta.put_off_challenge(waiting, later).await?;
        }
        (_, Question::Again(waiting)) => meta.drop_challenge(node, waiting.shard).await?,
        (_, Question::New(_)) => {}
    }
    if outcome == Outcome::Passed {
        let bytes = group_len(target.len, group);
        gateway.meter.audit(node, gateway.own_account(), bytes);
    }
    let reason = answer.err().map_or_else(String::new, |error| error.to_string());
    let text = explain(&target, group, outcome, tries, &reason);
    let Target { shard, root, len, data } = target;
    let loss = Loss { shard, node, epoch, root, len, data, group };
    conclude(gateway, loss, outcome, text).await
}

/// What is written down of an audit.
fn explain(target: &Target, group: u64, outcome: Outcome, tries: u32, reason: &str) -> String {
    let shard = format!("group {group} of shard {:?}", target.shard);
    match outcome {
        Outcome::Passed => format!("{shard} was proved"),
        Outcome::Offline => format!("it could not be asked: {reason}"),
        Outcome::Contained => format!("{shard} was asked for {tries} times: {reason}"),
        Outcome::Failed => format!("{shard} was not proved: {reason}; it counts as lost"),
    }
}

/// Writes down how an audit ended and does what follows; `loss` is what it is if it
/// failed.
async fn conclude(
    gateway: &Arc<Gateway>,
    loss: Loss,
    outcome: Outcome,
    text: String,
) -> Result<(), MetaError> {
    let Loss { node, epoch, .. } = loss;
    gateway.metrics.audited(outcome);
    if outcome == Outcome::Failed {
        gateway.meta.lose_claimed(loss, now_ms()).await?;
        tracing::warn!(?node, text, "an audit failed");
    }
    let judged = Judged { node, outcome, epoch, text: text.clone() };
    let Some((score, passed)) = gateway.meta.judge_audit(judged, now_ms()).await? else {
        return Ok(());
    };
    gateway.registry.set_audit_score(node, score);
    if outcome == Outcome::Failed {
        standing::refresh(gateway).await?;
    }
    // Who is offline does not hear; the next audit says how it stands.
    if outcome != Outcome::Offline {
        let state = gateway.registry.view(node).map_or("", |view| view.state.name()).to_owned();
        let told = Standing { state, score, passed, outcome: Some(outcome), reason: text };
        if let Err(error) = gateway.nodes.standing(node, told).await {
            tracing::debug!(?node, %error, "the node was not told how it stands");
        }
    }
    Ok(())
}
