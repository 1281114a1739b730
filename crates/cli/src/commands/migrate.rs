//! `migrate`

use serde_json::json;

use crate::{
    args::MigrateArgs,
    context::Context,
    exit::{Exit, Outcome},
    output::{Row, table::Column},
};

pub(super) async fn run(context: &Context, args: &MigrateArgs) -> Outcome {
    let settings = context.settings()?;
    let (database, prefix) = (&settings.database, &settings.prefix);
    let migrations = if args.dry_run {
        database.pending(prefix).await?
    } else {
        database.migrate(prefix).await?
    };
    let state = if args.dry_run { "pending" } else { "applied" };
    let rows = migrations.iter().map(|migration| Row {
        cells: vec![
            migration.version.to_string(),
            migration.name.to_owned(),
            state.to_owned(),
        ],
        json: json!({
            "version": migration.version,
            "name": migration.name,
            "state": state,
        }),
    });
    let columns = [
        Column::right("VERSION"),
        Column::left("NAME"),
        Column::left("STATE"),
    ];
    let nothing = format!("the schema under `{prefix}` is up to date");
    context.output.list(&columns, rows.collect(), &nothing)?;
    Ok(Exit::Done)
}
