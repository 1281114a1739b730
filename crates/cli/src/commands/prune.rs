//! `prune`

use std::time::Duration;

use integrations::retention::{Pruner, RetentionPolicy};
use serde_json::json;

use crate::{
    args::PruneArgs,
    context::Context,
    exit::{Exit, Outcome},
    output::{Row, table::Column},
};

const COLUMNS: [Column; 3] = [
    Column::left("WHAT"),
    Column::right("OLDER THAN"),
    Column::right("ROWS"),
];

pub(super) async fn run(context: &Context, args: &PruneArgs) -> Outcome {
    let settings = context.settings()?;
    let ports = settings.database.open(&settings.prefix).await?;
    let policy = match args.older_than {
        Some(age) => settings.retention.keep_all(age),
        None => settings.retention,
    };
    let pruner = Pruner::new(&ports, policy);
    let report = if args.dry_run {
        pruner.dry_run().await?
    } else {
        pruner.prune().await?
    };
    let kinds = report.rows.iter();
    let mut rows: Vec<Row> = kinds
        .map(|(what, rows)| row(what.name(), age(pruner.policy(), *what), *rows))
        .collect();
    if !args.dry_run {
        rows.push(row("removed_integrations", None, report.removed));
    }
    context.output.list(&COLUMNS, rows, "nothing is pruned")?;
    if args.dry_run {
        context
            .output
            .note("nothing was deleted: this was a dry run");
    }
    Ok(Exit::Done)
}

/// The age of what does not expire by itself.
fn age(policy: &RetentionPolicy, what: integrations::retention::Prunable) -> Option<Duration> {
    policy.age(what).filter(|age| !age.is_zero())
}

fn row(what: &str, age: Option<Duration>, rows: u64) -> Row {
    Row {
        cells: vec![
            what.to_owned(),
            age.map_or("-".to_owned(), shown),
            rows.to_string(),
        ],
        json: json!({
            "what": what,
            "older_than_seconds": age.map(|age| age.as_secs()),
            "rows": rows,
        }),
    }
}

/// A duration as it is written: in the largest unit that it is a whole number of.
fn shown(age: Duration) -> String {
    let seconds = age.as_secs();
    let units = [(86_400, 'd'), (3_600, 'h'), (60, 'm')];
    let whole = units.iter().find(|(unit, _)| seconds.is_multiple_of(*unit));
    match whole {
        Some((unit, name)) => format!("{}{name}", seconds / unit),
        None => format!("{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_shown_as_they_are_written() {
        for (seconds, text) in [(86_400 * 90, "90d"), (7_200, "2h"), (90, "90s"), (60, "1m")] {
            assert_eq!(shown(Duration::from_secs(seconds)), text);
        }
    }
}
