//! Sealed introspection answers in a store.

use std::time::Duration;

use async_trait::async_trait;
use redis::{Value, cmd};

use super::introspection::{AnswerStore, NotShared};
use crate::clock::millis;
use crate::store::{NoAnswer, Store};

#[async_trait]
impl AnswerStore for Store {
    fn name(&self) -> &str {
        &self.settings().name
    }

    fn key(&self, name: &str) -> String {
        self.settings().key(name)
    }

    async fn get(&self, key: &str, most: usize, within: Duration) -> Result<Vec<u8>, NotShared> {
        let mut question = cmd("GETRANGE");
        // What somebody else put there may be of any size. The end is counted too: it shows that there is more.
        question.arg(key).arg(0).arg(most);
        let bytes = |answer: &Value| {
            let Value::BulkString(bytes) = answer else { return None };
            Some(bytes.clone())
        };
        Ok(self.ask_aside((most as u64, within), &question, bytes).await?)
    }

    async fn set(&self, key: &str, value: &[u8], lifetime: Duration) -> Result<(), NotShared> {
        let mut question = cmd("SET");
        question.arg(key).arg(value).arg("PX").arg(millis(lifetime).max(1));
        let done = |answer: &Value| (*answer == Value::Okay).then_some(());
        Ok(self.ask_aside((0, self.settings().timeout), &question, done).await?)
    }
}

impl From<NoAnswer> for NotShared {
    fn from(error: NoAnswer) -> Self {
        match error {
            NoAnswer::Timeout
            | NoAnswer::Busy
            | NoAnswer::Unreachable(_)
            | NoAnswer::Broken
            | NoAnswer::Unacknowledged { .. } => Self::Unanswered,
            NoAnswer::Refused(_) | NoAnswer::Nonsense => Self::Refused(error.to_string().into()),
        }
    }
}
