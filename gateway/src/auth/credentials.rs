//! Access keys: random, kept sealed, looked up in memory.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use protocol::AccountId;
use zeroize::Zeroizing;

use super::identity::Identity;
use super::policy::Policy;
use super::session::{Issued, NewSession, Session, Sessions, is_temporary};
use crate::gateway::now_ms;
use crate::meta::{AccessKey, Account, Meta, MetaError, Millis};
use crate::object::cipher::Key;

/// A secret access key. Never printed.
pub type Secret = Arc<Zeroizing<String>>;

/// A new access key, shown once.
pub struct NewAccessKey {
    /// The public half.
    pub id: String,
    /// The secret half.
    pub secret: Secret,
}

/// An access key and whose it is.
#[derive(Clone)]
struct Known {
    account: Arc<Account>,
    secret: Secret,
    policy: Option<Arc<Policy>>,
}

/// What a request's access key stands for.
pub struct Resolved {
    /// Signs for it.
    pub secret: Secret,
    /// Who it is.
    pub identity: Identity,
}

/// Why an access key is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// No such key.
    #[error("the access key does not exist")]
    Unknown,
    /// The session token is not ours, or not of this key.
    #[error("the session token is not valid")]
    Token,
    /// The session is over.
    #[error("the session token has expired")]
    Expired,
}

/// All access keys of this gateway.
pub struct Credentials {
    sessions: Sessions,
    known: RwLock<HashMap<String, Known>>,
}

/// What a sealed secret is sealed as: it opens for its own key id only.
fn context(id: &str) -> Vec<u8> {
    [b"access key ".as_slice(), id.as_bytes()].concat()
}

impl Credentials {
    /// Reads all keys. One that does not open means that the master key is not
    /// the one that sealed it.
    pub async fn load(meta: &Meta, master: &Key) -> Result<Self, MetaError> {
        let accounts: HashMap<_, _> = meta
            .accounts()
            .await?
            .into_iter()
            .map(|account| (account.id, Arc::new(account)))
            .collect();
        let mut known = HashMap::new();
        for key in meta.access_keys().await? {
            let wrong = |_| MetaError::Corrupt("an access key sealed by another master key");
            let secret = master.open(&context(&key.id), &key.sealed_secret).map_err(wrong)?;
            let secret = String::from_utf8(secret.to_vec())
                .map_err(|_| MetaError::Corrupt("an access key"))?;
            let account =
                accounts.get(&key.account).ok_or(MetaError::Corrupt("a key of no account"))?;
            let policy = parse_policy(key.policy.as_deref())?;
            let secret = Arc::new(Zeroizing::new(secret));
            known.insert(key.id, Known { account: account.clone(), secret, policy });
        }
        Ok(Self { sessions: Sessions::new(master), known: RwLock::new(known) })
    }

    /// Makes a key for `account`, which may do what its account may and its own
    /// policy, if it has one, allows.
    pub async fn create(
        &self,
        meta: &Meta,
        master: &Key,
        account: AccountId,
        policy: Option<String>,
    ) -> Result<NewAccessKey, MetaError> {
        let id = format!("SK{}", letters::<18>(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"));
        let secret =
            letters::<40>(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_");
        let account = Arc::new(meta.account(account).await?);
        let parsed = parse_policy(policy.as_deref())?;
        let sealed_secret = master.seal(&context(&id), secret.as_bytes());
        let key = AccessKey {
            id: id.clone(),
            account: account.id,
            sealed_secret,
            policy,
            created_ms: now_ms(),
        };
        meta.add_access_key(key).await?;
        let secret: Secret = Arc::new(Zeroizing::new(secret));
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(id.clone(), Known { account, secret: secret.clone(), policy: parsed });
        Ok(NewAccessKey { id, secret })
    }

    /// Forgets a key at once.
    pub async fn delete(&self, meta: &Meta, id: &str) -> Result<(), MetaError> {
        meta.delete_access_key(id.to_owned()).await?;
        self.known.write().unwrap_or_else(PoisonError::into_inner).remove(id);
        Ok(())
    }

    /// The secret and identity of an access key. A temporary key comes with its
    /// session token.
    pub fn resolve(&self, id: &str, token: Option<&str>) -> Result<Resolved, CredentialError> {
        self.resolve_at(id, token, now_ms())
    }

    /// The same by another clock.
    fn resolve_at(
        &self,
        id: &str,
        token: Option<&str>,
        now_ms: Millis,
    ) -> Result<Resolved, CredentialError> {
        if is_temporary(id) {
            let session = self.sessions.open(id, token.ok_or(CredentialError::Token)?, now_ms)?;
            return self.resolve_session(id, session);
        }
        if token.is_some() {
            return Err(CredentialError::Token);
        }
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let key = known.get(id).ok_or(CredentialError::Unknown)?;
        Ok(Resolved { secret: key.secret.clone(), identity: key.identity(id) })
    }

    /// What a session may do is what its parent may and its own policy allows.
    fn resolve_session(&self, id: &str, session: Session) -> Result<Resolved, CredentialError> {
        let own = session.policy.as_deref().map(Policy::parse_identity).transpose();
        let own = own.map_err(|_| CredentialError::Token)?;
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        // A session ends with the key that made it.
        let parent = known.get(&session.parent).ok_or(CredentialError::Unknown)?;
        if parent.account.id != session.account {
            return Err(CredentialError::Token);
        }
        let mut identity = parent.identity(id);
        identity.policies.extend(own.map(Arc::new));
        Ok(Resolved { secret: session.secret, identity })
    }

    /// Makes a temporary key for who has `caller`'s, which must be a lasting one.
    pub fn begin_session(
        &self,
        caller: &Identity,
        new: NewSession,
    ) -> Result<Issued, CredentialError> {
        let account = caller.account.ok_or(CredentialError::Unknown)?;
        if is_temporary(&caller.access_key) {
            return Err(CredentialError::Token);
        }
        Ok(self.sessions.issue(&caller.access_key, account, new))
    }
}

impl Known {
    fn identity(&self, id: &str) -> Identity {
        Identity {
            account: Some(self.account.id),
            canonical_id: self.account.canonical_id(),
            account_name: self.account.name.clone(),
            access_key: id.to_owned(),
            policies: self.policy.clone().into_iter().collect(),
        }
    }
}

fn parse_policy(json: Option<&str>) -> Result<Option<Arc<Policy>>, MetaError> {
    let parsed = json.map(Policy::parse_identity).transpose();
    let parsed = parsed.map_err(|_| MetaError::Corrupt("a policy of an access key"))?;
    Ok(parsed.map(Arc::new))
}

/// `N` random characters of an alphabet whose length divides 256.
pub(super) fn letters<const N: usize>(alphabet: &[u8]) -> String {
    assert!(256 % alphabet.len() == 0, "otherwise some letters are likelier");
    let bytes: [u8; N] = protocol::keys::random();
    bytes.iter().map(|&byte| char::from(alphabet[usize::from(byte) % alphabet.len()])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: &str = r#"{"Version":"2012-10-17","Statement":
        {"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}}"#;

    async fn with_ann(folder: &std::path::Path, master: &Key) -> (Meta, Credentials, AccountId) {
        let meta = Meta::open(&folder.join("meta.sqlite")).await.unwrap();
        let ann = AccountId([1; 16]);
        let account = Account {
            id: ann,
            name: "ann".into(),
            display_name: String::new(),
            email: String::new(),
            created_ms: 1,
            owner: None,
        };
        meta.add_account(account).await.unwrap();
        let credentials = Credentials::load(&meta, master).await.unwrap();
        (meta, credentials, ann)
    }

    #[tokio::test]
    async fn s14_session_tokens_belong_to_a_key_a_time_and_a_living_parent() {
        let folder = tempfile::tempdir().unwrap();
        let master = Key::generate();
        let (meta, credentials, ann) = with_ann(folder.path(), &master).await;
        let policy = Some(READ.to_owned());
        let parent = credentials.create(&meta, &master, ann, policy.clone()).await.unwrap();
        let caller = credentials.resolve(&parent.id, None).unwrap().identity;
        let new = |policy| NewSession { name: "n".into(), policy, now_ms: 1_000, seconds: 900 };
        let made = credentials.begin_session(&caller, new(policy)).unwrap();
        let other = credentials.begin_session(&caller, new(None)).unwrap();
        let at = |id: &str, token: Option<&str>, now| credentials.resolve_at(id, token, now);

        let found = at(&made.id, Some(&made.token), 1_000).unwrap();
        assert_eq!(found.secret.as_str(), made.secret.as_str());
        assert_eq!(
            (found.identity.account, found.identity.access_key),
            (Some(ann), made.id.clone())
        );
        // The parent's and its own: both must allow.
        assert_eq!(found.identity.policies.len(), 2);
        let only_parent = at(&other.id, Some(&other.token), 1_000).unwrap();
        assert_eq!(only_parent.identity.policies.len(), 1);
        assert!(at(&made.id, Some(&made.token), made.expires_ms - 1).is_ok());

        let refusals = [
            (at(&made.id, Some(&made.token), made.expires_ms), CredentialError::Expired),
            (at(&made.id, None, 1_000), CredentialError::Token),
            (at(&made.id, Some(&other.token), 1_000), CredentialError::Token),
            (at(&made.id, Some(""), 1_000), CredentialError::Token),
            (at(&made.id, Some(&made.token.to_lowercase()), 1_000), CredentialError::Token),
            (at(&parent.id, Some(&made.token), 1_000), CredentialError::Token),
        ];
        for (refused, why) in refusals {
            assert_eq!(refused.err(), Some(why));
        }
        // A session makes no session.
        let session = at(&made.id, Some(&made.token), 1_000).unwrap().identity;
        assert!(credentials.begin_session(&session, new(None)).is_err());
        assert!(credentials.begin_session(&Identity::anonymous(), new(None)).is_err());

        // It outlives a restart, but not its parent or the master key.
        let again = Credentials::load(&meta, &master).await.unwrap();
        assert!(again.resolve_at(&made.id, Some(&made.token), 1_000).is_ok());
        credentials.delete(&meta, &parent.id).await.unwrap();
        let refused = at(&made.id, Some(&made.token), 1_000).err();
        assert_eq!(refused, Some(CredentialError::Unknown));
        let foreign = Credentials::load(&meta, &Key::generate()).await.unwrap();
        let refused = foreign.resolve_at(&made.id, Some(&made.token), 1_000).err();
        assert_eq!(refused, Some(CredentialError::Token));
    }

    #[tokio::test]
    async fn a_key_is_found_after_a_restart_and_gone_once_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("meta.sqlite");
        let meta = Meta::open(&path).await.unwrap();
        let (master, ann) = (Key::generate(), AccountId([1; 16]));
        let account = Account {
            id: ann,
            name: "ann".into(),
            display_name: String::new(),
            email: String::new(),
            created_ms: 1,
            owner: None,
        };
        meta.add_account(account).await.unwrap();
        let credentials = Credentials::load(&meta, &master).await.unwrap();
        let made = credentials.create(&meta, &master, ann, None).await.unwrap();
        assert_eq!((made.id.len(), made.secret.len()), (20, 40));

        let again = Credentials::load(&meta, &master).await.unwrap();
        let found = again.resolve(&made.id, None).unwrap();
        assert_eq!(found.identity.account, Some(ann));
        assert_eq!(found.secret.as_str(), made.secret.as_str());
        assert_eq!(again.resolve(&made.id, Some("token")).err(), Some(CredentialError::Token));
        assert!(Credentials::load(&meta, &Key::generate()).await.is_err());
        // The secret is nowhere in the database.
        for file in std::fs::read_dir(folder.path()).unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            assert!(!bytes.windows(40).any(|window| window == made.secret.as_bytes()));
        }

        again.delete(&meta, &made.id).await.unwrap();
        assert_eq!(again.resolve(&made.id, None).err(), Some(CredentialError::Unknown));
        let loaded = Credentials::load(&meta, &master).await.unwrap();
        assert!(loaded.resolve(&made.id, None).is_err());
    }
}
