//! `update`

use integrations::{client::AccountUpdate, value::IntegrationName};

use super::{secrets, view, webhook_route};
use crate::{
    args::UpdateArgs,
    context::Context,
    exit::{Exit, Failure, Outcome},
};

pub(super) async fn run(context: &Context, args: UpdateArgs) -> Outcome {
    let name = args.name.map(IntegrationName::new).transpose();
    let update = AccountUpdate {
        name: name.map_err(|error| Failure::refused(error.to_string()))?,
        metadata: secrets::metadata(args.metadata)?,
        credentials: secrets::credentials(&args.credentials)?,
        sync_interval_minutes: args.interval.map(|interval| interval.0),
    };
    let changes_something = update.name.is_some()
        || !update.metadata.is_empty()
        || !update.credentials.is_empty()
        || update.sync_interval_minutes.is_some();
    if !changes_something {
        return Err(Failure::usage(
            "nothing to change: give --name, --metadata, --credential or --interval",
        ));
    }
    let client = context.client().await?;
    let changed = client
        .operator()
        .integration(args.id)
        .update(update)
        .await?;
    let mut fields = view::integration_fields(&changed);
    let mut json = view::integration_json(&changed, None);
    webhook_route::add(context, &changed, &mut fields, &mut json)?;
    context.output.record(&fields, &json)?;
    Ok(Exit::Done)
}
