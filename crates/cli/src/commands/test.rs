//! `test`: whether the providers take the credentials. Neither log nor health has a part in it.

use integrations::{
    client::{AccountError, IntegrationClient, ProbeReport},
    integration::{Integration, IntegrationFilter},
    store::PageRequest,
};
use serde_json::json;

use crate::{
    args::TestArgs,
    context::{self, Context},
    exit::{Exit, Failure, Outcome},
    output::{Row, table::Column},
};

const COLUMNS: [Column; 5] = [
    Column::right("ID"),
    Column::left("PROVIDER"),
    Column::left("NAME"),
    Column::left("RESULT"),
    Column::left("REASON"),
];

pub(super) async fn run(context: &Context, args: &TestArgs) -> Outcome {
    let client = context.client().await?;
    let integrations = match args.id {
        Some(id) => vec![known(
            &client,
            context::integration(client.ports(), id).await?,
        )?],
        None => all(&client).await?,
    };
    let mut rows = Vec::new();
    let mut failed = 0;
    for integration in &integrations {
        let (result, reason) = match try_one(&client, integration).await {
            // Asked for by name, what cannot be tried is refused; among others it is passed over.
            Err(error @ AccountError::NoApi(_)) if args.id.is_none() => {
                ("skipped", Some(error.to_string()))
            }
            tried => tried?,
        };
        failed += usize::from(result == "failed");
        rows.push(row(integration, result, reason));
    }
    context
        .output
        .list(&COLUMNS, rows, "there is no integration")?;
    context
        .output
        .note(&format!("tested {}, failed {failed}", integrations.len()));
    Ok(if failed == 0 {
        Exit::Done
    } else {
        Exit::Failed
    })
}

/// Refuses a row that nobody here can try.
fn known(client: &IntegrationClient, integration: Integration) -> Outcome<Integration> {
    if client.providers().get(&integration.provider).is_some() {
        return Ok(integration);
    }
    let unknown = AccountError::UnknownProvider(integration.provider);
    Err(Failure::from(unknown))
}

async fn all(client: &IntegrationClient) -> Outcome<Vec<Integration>> {
    let mut integrations = Vec::new();
    let mut page = PageRequest::oldest(PageRequest::MAX_LIMIT);
    loop {
        let found = client
            .operator()
            .list(&IntegrationFilter::default(), &page)
            .await?;
        integrations.extend(found.items);
        page = page.after(found.next);
        if found.next.is_none() {
            return Ok(integrations);
        }
    }
}

/// The result of one, and the reason where it is not simply good.
async fn try_one(
    client: &IntegrationClient,
    integration: &Integration,
) -> Result<(&'static str, Option<String>), AccountError> {
    match client.operator().integration(integration.id).probe().await {
        Ok(ProbeReport::Passed) => Ok(("passed", None)),
        Ok(ProbeReport::NotSupported) => Ok((
            "skipped",
            Some("the provider has no way to try it".to_owned()),
        )),
        Ok(ProbeReport::Failed(why)) => Ok(("failed", Some(why))),
        Err(error @ (AccountError::Store(_) | AccountError::NoApi(_))) => Err(error),
        Err(error @ AccountError::UnknownProvider(_)) => Ok(("skipped", Some(error.to_string()))),
        Err(error) => Ok(("failed", Some(error.to_string()))),
    }
}

fn row(integration: &Integration, result: &'static str, reason: Option<String>) -> Row {
    Row {
        json: json!({
            "id": integration.id,
            "provider": integration.provider.as_str(),
            "name": integration.name.as_str(),
            "result": result,
            "reason": reason,
        }),
        cells: vec![
            integration.id.to_string(),
            integration.provider.to_string(),
            integration.name.to_string(),
            result.to_owned(),
            super::view::or_none(reason),
        ],
    }
}
