//! `remove`

use integrations::integration::{Removal, Scope};
use serde_json::json;

use crate::{
    args::RemoveArgs,
    context::{self, Context, no_such_integration},
    exit::{Exit, Failure, Outcome},
};

/// Rows deleted in one transaction.
const BATCH: u32 = 1_000;

/// Wipes the secrets and stops all work at once; rows go in batches behind that.
pub(super) async fn run(context: &Context, args: &RemoveArgs) -> Outcome {
    let ports = context.ports().await?;
    let found = context::integration(&ports, args.id).await?;
    let now = ports.clock.now();
    let removal = ports
        .integrations
        .remove(found.id, &Scope::Operator, args.force, now)
        .await?;
    match removal {
        Removal::Removed => {}
        Removal::NotFound => return Err(no_such_integration(args.id)),
        Removal::UnknownKeys(keys) => {
            return Err(Failure::refused(format!(
                "integration {} has {keys} calls whose outcome nobody knows; find out what became \
                 of them, or remove it with `--force`",
                found.id
            )));
        }
    }
    let mut rows = 0;
    loop {
        match ports.retention.purge_removed(BATCH).await? {
            0 => break,
            deleted => rows += deleted,
        }
    }
    let fields = [
        ("removed", found.id.to_string()),
        ("rows deleted", rows.to_string()),
    ];
    let json = json!({ "id": found.id, "uid": found.uid, "removed": true, "rows_deleted": rows });
    context.output.record(&fields, &json)?;
    Ok(Exit::Done)
}
