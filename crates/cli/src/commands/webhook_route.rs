//! Where the webhooks of an account go.

use integrations::integration::Integration;
use serde_json::Value as Json;

use crate::{context::Context, exit::Outcome};

/// Adds the route of an account's own to what is shown of it, where its provider sends webhooks:
/// the URL where `server.public_url` says what it begins with, and the path in any case.
pub(super) fn add(
    context: &Context,
    integration: &Integration,
    fields: &mut Vec<(&'static str, String)>,
    json: &mut Json,
) -> Outcome<()> {
    let provider = context.provider(&integration.provider);
    if provider.is_none_or(|provider| provider.webhook_source().is_none()) {
        return Ok(());
    }
    let server = context.settings()?.server;
    let path = format!(
        "{}/{}/{}/webhook",
        server.prefix(),
        integration.provider,
        integration.uid
    );
    let url = server.public_url().map(|base| format!("{base}{path}"));
    fields.push(("webhooks to", url.clone().unwrap_or_else(|| path.clone())));
    json["webhook_url"] = url.into();
    json["webhook_path"] = path.into();
    Ok(())
}
