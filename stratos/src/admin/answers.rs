//! What the admin API answers. The same names are printed by `--json`, so they
//! are stable: a field may be added, and none is renamed.
//!
//! Amounts are atto-credits as decimal strings, times are RFC 3339.

use protocol::price::Amount;
use serde::{Deserialize, Serialize};

macro_rules! answers {
    ($($(#[$doc:meta])* $name:ident { $($(#[$fdoc:meta])* $field:ident: $ty:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub struct $name { $($(#[$fdoc])* pub $field: $ty,)* }
    )*};
}

answers! {
    /// An account that was just opened.
    NewAccount {
        /// Its id on the ledger.
        id: String,
        /// Its name, which commands take.
        name: String,
        /// Its id in S3 answers.
        canonical_id: String,
        /// A name for people.
        display_name: Option<String>,
        /// Where its owner can be reached.
        email: Option<String>,
    }
    /// The accounts.
    Accounts {
        /// By name.
        accounts: Vec<NewAccount>,
    }
    /// An account with its money.
    Account {
        /// Its id on the ledger.
        id: String,
        /// Its name, which commands take.
        name: String,
        /// Its id in S3 answers.
        canonical_id: String,
        /// A name for people.
        display_name: Option<String>,
        /// Where its owner can be reached.
        email: Option<String>,
        /// All that it owns: available and reserved.
        balance: Amount,
        /// What it may still reserve.
        available: Amount,
        /// What gateways hold in reserve for its traffic.
        reserved: Amount,
        /// What its traffic cost so far.
        spent: Amount,
        /// Bytes of its objects.
        stored_bytes: u64,
        /// How long the balance lasts at the present rate; `null` when nothing
        /// is spent.
        runway_seconds: Option<u64>,
    }
    /// An access key that was just made.
    NewKey {
        /// Its public half.
        access_key_id: String,
        /// Its secret half, told this once.
        secret_access_key: String,
        /// Whose it is.
        account: String,
    }
    /// An access key.
    Key {
        /// Its public half.
        access_key_id: String,
        /// Whose it is.
        account: String,
        /// When it was made.
        created: String,
        /// Whether it has a policy of its own.
        #[serde(default)]
        has_policy: bool,
    }
    /// The access keys.
    Keys {
        /// By account and age.
        keys: Vec<Key>,
    }
    /// A bucket.
    Bucket {
        /// Its name.
        name: String,
        /// Who pays.
        account: String,
        /// Objects in it.
        objects: u64,
        /// Bytes of its objects.
        bytes: u64,
        /// When it was made.
        created: String,
    }
    /// The buckets.
    Buckets {
        /// By name.
        buckets: Vec<Bucket>,
    }
    /// A storage node.
    Node {
        /// Its public key.
        node: String,
        /// Where it listens.
        addr: String,
        /// What it fails together with.
        zone: String,
        /// Who runs it.
        operator: String,
        /// Whether it is up.
        state: String,
        /// How it stands: vetting, active, draining, left, suspended, disqualified, lost.
        #[serde(default)]
        standing: String,
        /// All that it was paid.
        earned: Amount,
        /// The part that may still be taken back.
        immature: Amount,
        /// The part that is its own.
        mature: Amount,
        /// Bytes of shards on it.
        stored: u64,
        /// Bytes that it can still take; `null` while it is down.
        free: Option<u64>,
        /// Shards on it.
        shards: u64,
        /// How far the network trusts it.
        score: serde_json::Number,
    }
    /// The nodes.
    Nodes {
        /// By key.
        nodes: Vec<Node>,
    }
    /// How one node stands.
    NodeStatus {
        /// Its public key.
        node: String,
        /// Where it listens; empty if the ledger does not list it.
        addr: String,
        /// What it fails together with.
        zone: String,
        /// Who runs it.
        operator: String,
        /// Whether it answers.
        up: bool,
        /// How long it has not answered; `null` while it does.
        absent_seconds: Option<u64>,
        /// How it stands: vetting, active, draining, left, suspended, disqualified, lost.
        state: String,
        /// Why.
        reason: String,
        /// Since when.
        since: String,
        /// The score of its audits, from 0 to 1; below 0.96 it is disqualified.
        score: serde_json::Number,
        /// The share of recent audits for which it was connected; `null` without any.
        online: Option<serde_json::Number>,
        /// Its audits.
        audits: NodeAudits,
        /// Shards that are on it; what a drain has left to move.
        shards: u64,
        /// Their bytes.
        bytes: u64,
        /// Bytes that it can still take.
        free: Option<u64>,
        /// What happened to it, the newest first.
        events: Vec<NodeEvent>,
    }
    /// The audits of a node.
    NodeAudits {
        /// Passed since it joined.
        passed: u64,
        /// How those of about a day ended.
        recent: AuditCounts,
    }
    /// How audits ended.
    AuditCounts {
        /// Passed.
        ok: u64,
        /// It could not be reached.
        offline: u64,
        /// It was connected and did not answer.
        contained: u64,
        /// Wrong bytes, or none.
        failed: u64,
    }
    /// Something that happened to a node.
    NodeEvent {
        /// When.
        at: String,
        /// A state, or how an audit ended.
        kind: String,
        /// Why, in words.
        text: String,
        /// The score after it.
        score: serde_json::Number,
    }
    /// Lets one node join.
    Invite {
        /// The text to put into the node's configuration.
        invite: String,
        /// Until when it is good.
        expires: String,
    }
    /// A settlement period.
    Epoch {
        /// Its number, from 0 at genesis.
        epoch: u64,
        /// How far it is settled.
        state: String,
        /// When it began.
        opened: String,
        /// Bytes carried for accounts.
        bytes: u64,
        /// Taken from accounts.
        debited: Amount,
        /// Paid to nodes and gateways.
        paid: Amount,
        /// Paid to the repair fund.
        tax: Amount,
        /// What the treasury got.
        treasury: Amount,
        /// What nodes were owed and gateways could not pay.
        short: Amount,
    }
    /// Settlement periods.
    Epochs {
        /// The oldest first.
        epochs: Vec<Epoch>,
    }
    /// Why the API said no.
    Problem {
        /// One sentence.
        error: String,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_the_json_do_not_change() {
        #[track_caller]
        fn check<T: Serialize + serde::de::DeserializeOwned>(text: &str) {
            let value: T = serde_json::from_str(text).expect("an answer");
            assert_eq!(serde_json::to_string(&value).expect("JSON"), text);
        }
        check::<NewAccount>(
            r#"{"id":"i","name":"a","canonical_id":"c","display_name":"d","email":null}"#,
        );
        check::<NewKey>(r#"{"access_key_id":"i","secret_access_key":"s","account":"a"}"#);
        check::<Keys>(
            r#"{"keys":[{"access_key_id":"i","account":"a","created":"t","has_policy":true}]}"#,
        );
        check::<Buckets>(
            r#"{"buckets":[{"name":"b","account":"a","objects":1,"bytes":2,"created":"t"}]}"#,
        );
        check::<Account>(
            r#"{"id":"i","name":"a","canonical_id":"c","display_name":null,"email":"e","balance":"3","available":"2","reserved":"1","spent":"0","stored_bytes":5,"runway_seconds":null}"#,
        );
        check::<Nodes>(
            r#"{"nodes":[{"node":"n","addr":"h:1","zone":"z","operator":"o","state":"up","standing":"active","earned":"3","immature":"1","mature":"2","stored":4,"free":null,"shards":6,"score":0.5}]}"#,
        );
        check::<NodeStatus>(
            r#"{"node":"n","addr":"h:1","zone":"z","operator":"o","up":false,"absent_seconds":5,"state":"active","reason":"r","since":"t","score":1.0,"online":null,"audits":{"passed":1,"recent":{"ok":1,"offline":2,"contained":3,"failed":4}},"shards":6,"bytes":7,"free":8,"events":[{"at":"t","kind":"k","text":"x","score":0.5}]}"#,
        );
        check::<Invite>(r#"{"invite":"stratos-invite-00","expires":"t"}"#);
        check::<Epochs>(
            r#"{"epochs":[{"epoch":0,"state":"mature","opened":"t","bytes":1,"debited":"10","paid":"9","tax":"1","treasury":"0","short":"0"}]}"#,
        );
    }

    #[test]
    fn a_field_of_a_newer_network_is_not_an_error() {
        let text = r#"{"invite":"i","expires":"t","uses":1}"#;
        assert!(serde_json::from_str::<Invite>(text).is_ok());
    }
}
