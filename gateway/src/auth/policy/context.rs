//! What conditions and variables of policies can ask.

use std::collections::BTreeMap;

/// Condition keys and their values in one request.
///
/// Only code of the server fills it, key by key: nothing that a client sends can
/// choose a key. Names of keys are the same in any case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context(BTreeMap<String, Vec<String>>);

impl Context {
    /// One of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives `key` this one value, whatever it had.
    pub fn set(&mut self, key: &str, value: impl Into<String>) {
        self.0.insert(key.to_lowercase(), vec![value.into()]);
    }

    /// Gives `key` one more value.
    pub fn add(&mut self, key: &str, value: impl Into<String>) {
        self.0.entry(key.to_lowercase()).or_default().push(value.into());
    }

    /// Forgets `key`.
    pub fn remove(&mut self, key: &str) {
        self.0.remove(&key.to_lowercase());
    }

    /// The values of a key, which is written in lower case. None: it is absent.
    pub(super) fn values(&self, key: &str) -> &[String] {
        self.0.get(key).map_or(&[], Vec::as_slice)
    }

    /// The value of a key that has exactly one.
    pub(super) fn single(&self, key: &str) -> Option<&str> {
        match self.values(key) {
            [value] => Some(value),
            _ => None,
        }
    }
}
