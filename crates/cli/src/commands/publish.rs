//! `migrations publish`

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    path::Path,
};

use integrations::{postgres, sqlite, sqlite::PublishedFile};
use serde_json::json;

use crate::{
    args::{Dialect, PublishArgs},
    context::Context,
    exit::{Exit, Failure, Outcome},
    output::{Row, table::Column},
};

pub(super) fn run(context: &Context, args: &PublishArgs) -> Outcome {
    let prefix = context.settings()?.prefix;
    let files = match args.dialect {
        Dialect::Postgres => postgres::published(&prefix, args.since),
        Dialect::Sqlite => sqlite::published(&prefix, args.since),
    };
    fs::create_dir_all(&args.dir).map_err(|error| unwritable(&args.dir, &error))?;
    let mut rows = Vec::new();
    for file in &files {
        let path = args.dir.join(&file.name);
        let state = write(&path, file)?;
        let path = path.display().to_string();
        rows.push(Row {
            json: json!({ "file": path, "state": state }),
            cells: vec![path, state.to_owned()],
        });
    }
    let columns = [Column::left("FILE"), Column::left("STATE")];
    let nothing = format!("there are no migrations newer than version {}", args.since);
    context.output.list(&columns, rows, &nothing)?;
    Ok(Exit::Done)
}

/// Writes a file that is not there yet. One with other content may have been applied already.
fn write(path: &Path, file: &PublishedFile) -> Outcome<&'static str> {
    let created = OpenOptions::new().write(true).create_new(true).open(path);
    match created.and_then(|mut new| new.write_all(file.sql.as_bytes())) {
        Ok(()) => Ok("written"),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let there = fs::read(path).map_err(|error| unwritable(path, &error))?;
            if there == file.sql.as_bytes() {
                return Ok("unchanged");
            }
            Err(Failure::refused(format!(
                "{} is there with other content: it was left as it is",
                path.display()
            )))
        }
        Err(error) => Err(unwritable(path, &error)),
    }
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    Failure::failed(format!("{} cannot be written: {error}", path.display()))
}
