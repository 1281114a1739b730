//! A sink as the handler of webhooks.

use async_trait::async_trait;
use integrations::webhooks::{Delivery, Handled, HandlerError, WebhookHandler};

use super::{Message, Sink, Undelivered};

#[async_trait]
impl WebhookHandler for Sink {
    async fn handle(&self, delivery: Delivery) -> Result<Handled, HandlerError> {
        const PAUSE: &str = "the sink asks for a pause";
        match self.deliver(Message::webhook(&delivery)).await {
            Ok(()) => Ok(Handled::Done),
            Err(Undelivered::Failed(why)) => Err(HandlerError::new(why)),
            Err(Undelivered::Later(until)) => Err(HandlerError::put_back(until, PAUSE)),
        }
    }
}
