//! Providers of the `integrations` layer, one module and one feature each.
//!
//! | feature | provider | default |
//! | --- | --- | --- |
//! | `github` | [`github::Github`] | yes |
//! | `stripe` | [`stripe::Stripe`] | yes |
//! | `zendesk` | [`zendesk::Zendesk`] | yes |
//! | `postmark` | [`postmark::Postmark`] | yes |
//! | `webhook` | [`webhook::Webhook`], for senders without a provider of their own | yes |

#[cfg(any(
    feature = "github",
    feature = "stripe",
    feature = "zendesk",
    feature = "postmark",
    feature = "webhook"
))]
mod support;

#[cfg(feature = "github")]
pub mod github;
#[cfg(feature = "postmark")]
pub mod postmark;
#[cfg(feature = "stripe")]
pub mod stripe;
#[cfg(feature = "webhook")]
pub mod webhook;
#[cfg(feature = "zendesk")]
pub mod zendesk;
