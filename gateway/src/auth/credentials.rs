//! Access keys: random, kept sealed, looked up in memory.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use protocol::AccountId;
use zeroize::Zeroizing;

use crate::gateway::now_ms;
use crate::meta::{AccessKey, Meta, MetaError};
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

/// All access keys of this gateway.
#[derive(Default)]
pub struct Credentials {
    known: RwLock<HashMap<String, (AccountId, Secret)>>,
}

/// What a sealed secret is sealed as: it opens for its own key id only.
fn context(id: &str) -> Vec<u8> {
    [b"access key ".as_slice(), id.as_bytes()].concat()
}

impl Credentials {
    /// Reads all keys. One that does not open means that the master key is not
    /// the one that sealed it.
    pub async fn load(meta: &Meta, master: &Key) -> Result<Self, MetaError> {
        let mut known = HashMap::new();
        for key in meta.access_keys().await? {
            let wrong = |_| MetaError::Corrupt("an access key sealed by another master key");
            let secret = master.open(&context(&key.id), &key.sealed_secret).map_err(wrong)?;
            let secret = String::from_utf8(secret.to_vec())
                .map_err(|_| MetaError::Corrupt("an access key"))?;
            known.insert(key.id, (key.account, Arc::new(Zeroizing::new(secret))));
        }
        Ok(Self { known: RwLock::new(known) })
    }

    /// Makes a key for `account`.
    pub async fn create(
        &self,
        meta: &Meta,
        master: &Key,
        account: AccountId,
    ) -> Result<NewAccessKey, MetaError> {
        let id = format!("SK{}", letters::<18>(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"));
        let secret =
            letters::<40>(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_");
        let sealed_secret = master.seal(&context(&id), secret.as_bytes());
        let created_ms = now_ms();
        meta.add_access_key(AccessKey { id: id.clone(), account, sealed_secret, created_ms })
            .await?;
        let secret: Secret = Arc::new(Zeroizing::new(secret));
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(id.clone(), (account, secret.clone()));
        Ok(NewAccessKey { id, secret })
    }

    /// Forgets a key at once.
    pub async fn delete(&self, meta: &Meta, id: &str) -> Result<(), MetaError> {
        meta.delete_access_key(id.to_owned()).await?;
        self.known.write().unwrap_or_else(PoisonError::into_inner).remove(id);
        Ok(())
    }

    /// The account and secret of a key.
    pub fn find(&self, id: &str) -> Option<(AccountId, Secret)> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }
}

/// `N` random characters of an alphabet whose length divides 256.
fn letters<const N: usize>(alphabet: &[u8]) -> String {
    assert!(256 % alphabet.len() == 0, "otherwise some letters are likelier");
    let bytes: [u8; N] = protocol::keys::random();
    bytes.iter().map(|&byte| char::from(alphabet[usize::from(byte) % alphabet.len()])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meta::Account;

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
        };
        meta.add_account(account).await.unwrap();
        let credentials = Credentials::load(&meta, &master).await.unwrap();
        let made = credentials.create(&meta, &master, ann).await.unwrap();
        assert_eq!((made.id.len(), made.secret.len()), (20, 40));

        let again = Credentials::load(&meta, &master).await.unwrap();
        let (account, secret) = again.find(&made.id).unwrap();
        assert_eq!((account, secret.as_str()), (ann, made.secret.as_str()));
        assert!(Credentials::load(&meta, &Key::generate()).await.is_err());
        // The secret is nowhere in the database.
        for file in std::fs::read_dir(folder.path()).unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            assert!(!bytes.windows(40).any(|window| window == made.secret.as_bytes()));
        }

        again.delete(&meta, &made.id).await.unwrap();
        assert!(again.find(&made.id).is_none());
        assert!(Credentials::load(&meta, &master).await.unwrap().find(&made.id).is_none());
    }
}
