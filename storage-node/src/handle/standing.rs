//! Takes note of how the node stands with a gateway, for its operator: a node
//! that is audited must be able to see what came of it.

use protocol::audit::Outcome;
use protocol::message::{Standing, StandingTaken};

use crate::handle::Failure;
use crate::handle::stream::Stream;
use crate::{Inner, Peer};

pub(crate) async fn run(
    node: &Inner,
    peer: Peer,
    standing: Standing,
    stream: &mut Stream,
) -> Result<(), Failure> {
    let Standing { state, score, passed, outcome, reason } = &standing;
    let (gateway, audit) = (peer.gateway, outcome.map_or("", Outcome::name));
    match outcome {
        Some(Outcome::Failed | Outcome::Contained) => {
            tracing::warn!(?gateway, state, score, audit, reason, "an audit was not passed");
        }
        Some(Outcome::Passed | Outcome::Offline) => {
            tracing::debug!(?gateway, state, score, audit, passed, "audited");
        }
        None => tracing::info!(?gateway, state, score, reason, "this node stands differently"),
    }
    node.metrics.standing(gateway, standing);
    stream.answer(&StandingTaken {}).await
}
