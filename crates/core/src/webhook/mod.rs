//! Webhooks: what was received, and what became of it.

mod delivery;
mod inbound;
mod inbox;
mod scheme;
mod secret;

pub use delivery::*;
pub use inbound::{Challenge, Description, Handshake, Inbound, slack_challenge};
pub use inbox::*;
pub use scheme::{HmacScheme, InvalidScheme, SignatureEncoding, SignatureScheme, TemplatePart};
pub use secret::{InvalidSecret, WebhookSecret, WebhookSecrets};
