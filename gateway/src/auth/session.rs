//! Temporary keys: nothing is kept of them, all that they stand for is sealed
//! in their session token.
//!
//! A token opens only with the gateway's session key, made from the master key,
//! and only together with the access key id that it was issued with. Not here:
//! whether the key that issued it still exists (`credentials`), and who may have
//! one (`http::sts`).

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use protocol::AccountId;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::credentials::{CredentialError, Secret, letters};
use crate::meta::Millis;
use crate::object::cipher::Key;

/// Temporary key ids begin like this, and no other ids do.
const PREFIX: &str = "ST";

/// Longest token that is looked at. Headers may have 16 KiB together.
const TOKEN_MAX: usize = 8 * 1024;

/// Longest policy of a session, in bytes.
pub const POLICY_MAX: usize = 2048;

/// The form of tokens that this program issues and reads.
const VERSION: u32 = 1;

/// Whether an access key id is that of a temporary key.
pub fn is_temporary(id: &str) -> bool {
    id.starts_with(PREFIX)
}

/// A session that somebody asks for.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// What its user calls it.
    pub name: String,
    /// What it may do at most (JSON); at most [`POLICY_MAX`] bytes.
    pub policy: Option<String>,
    /// When it begins.
    pub now_ms: Millis,
    /// How long it lasts.
    pub seconds: u32,
}

/// A temporary key, shown once.
pub struct Issued {
    /// The public half.
    pub id: String,
    /// The secret half.
    pub secret: Secret,
    /// What has to come with every request of it.
    pub token: String,
    /// When it ends.
    pub expires_ms: Millis,
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued").field("id", &self.id).finish_non_exhaustive()
    }
}

/// What a token says.
pub(super) struct Session {
    pub secret: Secret,
    /// The key that it was issued for.
    pub parent: String,
    pub account: AccountId,
    pub policy: Option<String>,
}

/// The inside of a token.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed {
    version: u32,
    id: String,
    secret: String,
    parent: String,
    account: AccountId,
    policy: Option<String>,
    name: String,
    issued_ms: Millis,
    expires_ms: Millis,
}

/// Issues tokens and opens them.
pub(super) struct Sessions {
    key: Key,
}

/// What a token is sealed as: it opens for its own key id only.
fn context(id: &str) -> Vec<u8> {
    [b"session token ".as_slice(), id.as_bytes()].concat()
}

impl Sessions {
    pub fn new(master: &Key) -> Self {
        Self { key: master.derive("stratos session token v1") }
    }

    /// Makes a temporary key for the account of `parent`.
    pub fn issue(&self, parent: &str, account: AccountId, new: NewSession) -> Issued {
        let id = format!("{PREFIX}{}", letters::<18>(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"));
        let secret =
            letters::<40>(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_");
        let expires_ms = new.now_ms.saturating_add(i64::from(new.seconds) * 1000);
        let sealed = Sealed {
            version: VERSION,
            id: id.clone(),
            secret,
            parent: parent.to_owned(),
            account,
            policy: new.policy,
            name: new.name,
            issued_ms: new.now_ms,
            expires_ms,
        };
        let text = Zeroizing::new(serde_json::to_vec(&sealed).expect("our own types are JSON"));
        let token = URL_SAFE_NO_PAD.encode(self.key.seal(&context(&id), &text));
        let secret = Arc::new(Zeroizing::new(sealed.secret));
        Issued { id, secret, token, expires_ms }
    }

    /// What a token says, if it is one of this key and its time is not over.
    pub fn open(&self, id: &str, token: &str, now_ms: Millis) -> Result<Session, CredentialError> {
        let wrong = CredentialError::Token;
        if token.len() > TOKEN_MAX {
            return Err(wrong);
        }
        let sealed = URL_SAFE_NO_PAD.decode(token).map_err(|_| wrong)?;
        let text = self.key.open(&context(id), &sealed).map_err(|_| wrong)?;
        let found: Sealed = serde_json::from_slice(&text).map_err(|_| wrong)?;
        if found.version != VERSION || found.id != id {
            return Err(wrong);
        }
        if found.expires_ms <= now_ms {
            return Err(CredentialError::Expired);
        }
        let Sealed { secret, parent, account, policy, .. } = found;
        Ok(Session { secret: Arc::new(Zeroizing::new(secret)), parent, account, policy })
    }
}

/// A session of nobody, for tests of those who ask for one.
#[cfg(test)]
pub(crate) fn tests_issue(new: NewSession) -> Issued {
    Sessions::new(&Key::from_bytes([7; 32])).issue("SKPARENT", AccountId([1; 16]), new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issue(policy: Option<String>) -> (Sessions, Issued) {
        let sessions = Sessions::new(&Key::from_bytes([7; 32]));
        let new = NewSession { name: "n".repeat(64), policy, now_ms: 0, seconds: 900 };
        let made = sessions.issue("SKPARENT", AccountId([1; 16]), new);
        (sessions, made)
    }

    #[test]
    fn s14_a_token_with_any_bit_changed_or_cut_opens_nothing() {
        let (sessions, made) = issue(None);
        assert!(sessions.open(&made.id, &made.token, 0).is_ok());
        let whole = URL_SAFE_NO_PAD.decode(&made.token).unwrap();
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1 << (at % 8);
            for bad in [&changed[..], &whole[..at]] {
                let token = URL_SAFE_NO_PAD.encode(bad);
                let refused = sessions.open(&made.id, &token, 0).err();
                assert_eq!(refused, Some(CredentialError::Token), "{at}");
            }
        }
        for odd in ["A".repeat(TOKEN_MAX + 1), format!("{}=", made.token), "é".into()] {
            assert_eq!(sessions.open(&made.id, &odd, 0).err(), Some(CredentialError::Token));
        }
    }

    #[test]
    fn s14_the_longest_token_fits_into_a_header() {
        // What JSON has to escape twice.
        let (sessions, made) = issue(Some("\"".repeat(POLICY_MAX)));
        assert!(made.token.len() <= TOKEN_MAX, "{}", made.token.len());
        assert!(sessions.open(&made.id, &made.token, 0).is_ok());
    }

    #[test]
    fn k03_the_session_key_is_not_the_master_key() {
        let master = Key::from_bytes([7; 32]);
        let (_, made) = issue(None);
        let sealed = URL_SAFE_NO_PAD.decode(&made.token).unwrap();
        assert!(master.open(&context(&made.id), &sealed).is_err());
    }

    #[test]
    fn k04_neither_debug_nor_the_token_shows_the_secret() {
        let (_, made) = issue(None);
        assert!(!format!("{made:?}").contains(made.secret.as_str()));
        assert!(!format!("{made:?}").contains(&made.token));
        let sealed = URL_SAFE_NO_PAD.decode(&made.token).unwrap();
        assert!(!sealed.windows(40).any(|window| window == made.secret.as_bytes()));
    }
}
