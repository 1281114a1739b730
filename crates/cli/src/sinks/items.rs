//! A sink as the handler of items.

use async_trait::async_trait;
use integrations::sync::engine::{Handled, HandlerError, ItemAttempt, ItemHandler};

use super::{Message, Sink, Undelivered};

#[async_trait]
impl ItemHandler for Sink {
    async fn handle(&self, attempt: ItemAttempt) -> Result<Handled, HandlerError> {
        match self.deliver(Message::item(attempt.item())).await {
            Ok(()) => Ok(Handled::Done),
            Err(Undelivered::Failed(why)) => Err(HandlerError::failed(why)),
            Err(Undelivered::Later(until)) => Err(HandlerError::later(until)),
        }
    }
}
