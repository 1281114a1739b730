//! `show`

use integrations::{
    encryptor::Encryptor as _,
    integration::{Integration, IntegrationRef},
    keys::RingEncryptor,
    provider::Credentials,
};
use serde_json::Value as Json;

use super::{list::last_day, view, webhook_route};
use crate::{
    context::{self, Context},
    exit::{Exit, Outcome},
    keys,
};

pub(super) async fn run(context: &Context, id: IntegrationRef) -> Outcome {
    let ports = context.ports().await?;
    let integration = context::integration(&ports, id).await?;
    let summaries = last_day(&ports, std::slice::from_ref(&integration)).await?;
    let summary = summaries.first();
    let credentials = credentials(&integration).await;
    let mut fields = view::integration_fields(&integration);
    fields.push(("credentials", credentials.for_people()));
    if let Some(summary) = summary {
        let failed = view::percent(view::error_rate(summary));
        fields.push((
            "calls in 24 h",
            format!("{}, failed: {failed}", summary.total),
        ));
        let error = summary.last_error.as_ref();
        fields.push((
            "last error text",
            view::or_none(error.map(|(text, _)| text)),
        ));
    }
    let mut json = view::integration_json(&integration, summary);
    json["credentials"] = credentials.for_programs();
    webhook_route::add(context, &integration, &mut fields, &mut json)?;
    context.output.record(&fields, &json)?;
    Ok(Exit::Done)
}

/// What can be said of credentials without saying them.
enum Shown {
    None,
    Names(Vec<String>),
    Sealed,
}

/// The names of the credentials, where this process has the key they are sealed with.
async fn credentials(integration: &Integration) -> Shown {
    let Some(sealed) = &integration.credentials else {
        return Shown::None;
    };
    let Ok(Some(ring)) = keys::find() else {
        return Shown::Sealed;
    };
    let encryptor = RingEncryptor::new(ring);
    let opened = encryptor
        .open(&integration.credentials_context(), sealed)
        .await;
    let names = opened
        .ok()
        .and_then(|json| Credentials::from_secret_json(&json).ok());
    names.map_or(Shown::Sealed, |credentials| {
        Shown::Names(credentials.names().map(str::to_owned).collect())
    })
}

impl Shown {
    fn for_people(&self) -> String {
        match self {
            Self::None => view::NONE.to_owned(),
            Self::Names(names) => format!("{} (sealed)", names.join(", ")),
            Self::Sealed => "sealed; they do not open with the keys of this process".to_owned(),
        }
    }

    /// The names; `null` where they are not known.
    fn for_programs(&self) -> Json {
        match self {
            Self::None => Json::Array(Vec::new()),
            Self::Names(names) => names.clone().into(),
            Self::Sealed => Json::Null,
        }
    }
}
