//! How nodes join and move. Not here: gateways (`gateways`).

use std::net::SocketAddr;

use protocol::ledger_api::{MEMBERS_MAX, NodeRecord};
use protocol::price::Amount;
use protocol::registration::{Invite, Registration};
use protocol::sign;
use protocol::{GatewayId, LedgerId};

use super::{Member, Rejection, State};
use crate::hash::Hash;

impl State {
    pub(super) fn check_registration(&self, new: &Registration) -> Result<(), Rejection> {
        if !is_dialable(new.addr) {
            return Err(Rejection::Address(new.addr));
        }
        match self.nodes.get(&new.node) {
            None => self.check_newcomer(new),
            Some(member) if new.serial > member.serial => Ok(()),
            Some(member) if new.serial < member.serial => Err(Rejection::Older(member.serial)),
            // The invite is not part of what is recorded: with or without it,
            // a node that starts again says the same.
            Some(member) if member.record == record(new) => Err(Rejection::Known),
            Some(_) => Err(Rejection::SerialReused(new.serial)),
        }
    }

    fn check_newcomer(&self, new: &Registration) -> Result<(), Rejection> {
        let invite = new.invite.as_ref().ok_or(Rejection::InviteNeeded)?;
        self.check_gateway(invite.gateway)?;
        self.check_invite(invite)?;
        let taken = self.is_known_gateway(GatewayId(new.node.0))
            || self.genesis.sequencer == LedgerId(new.node.0);
        if taken || !sign::is_sound_key(new.node) {
            return Err(Rejection::NodeKey);
        }
        if self.nodes.len() >= MEMBERS_MAX {
            return Err(Rejection::Full);
        }
        // Each gateway has an equal part of the places, so none fills them all.
        let part = MEMBERS_MAX / self.gateways.active().count().max(1);
        let all = (invite.gateway, [0; 16])..=(invite.gateway, [255; 16]);
        if self.invites.range(all).count() >= part {
            return Err(Rejection::InvitedEnough(part));
        }
        Ok(())
    }

    fn check_invite(&self, invite: &Invite) -> Result<(), Rejection> {
        if invite.chain != self.genesis.chain || invite.ledger != self.genesis.sequencer {
            return Err(Rejection::InviteElsewhere);
        }
        if self.time_ms > invite.expires_ms {
            return Err(Rejection::InviteExpired);
        }
        if self.invites.contains(&(invite.gateway, invite.nonce)) {
            return Err(Rejection::InviteUsed);
        }
        Ok(())
    }

    pub(super) fn register(&mut self, new: &Registration) {
        if let Some(member) = self.nodes.get_mut(&new.node) {
            member.record = record(new);
            member.serial = new.serial;
            member.seen_ms = self.time_ms;
            return;
        }
        let invite = new.invite.as_ref().expect("check asks newcomers for an invite");
        let fresh = self.invites.insert((invite.gateway, invite.nonce));
        assert!(fresh, "check lets an invite be used once");
        self.remember("invite", Hash(sign::digest(invite)));
        let member = Member {
            record: record(new),
            serial: new.serial,
            earned: Amount::ZERO,
            bytes: 0,
            joined_ms: self.time_ms,
            seen_ms: self.time_ms,
        };
        self.nodes.insert(new.node, member);
    }
}

fn record(registration: &Registration) -> NodeRecord {
    NodeRecord {
        node: registration.node,
        addr: registration.addr,
        zone: registration.zone.clone(),
        operator: registration.operator.clone(),
    }
}

fn is_dialable(addr: SocketAddr) -> bool {
    addr.port() != 0 && !addr.ip().is_unspecified() && !addr.ip().is_multicast()
}
