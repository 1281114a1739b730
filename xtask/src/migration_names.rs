//! The names a migration creates: each begins with the prefix and fits with the longest one.

use crate::migrations::PLACEHOLDER;

/// `TablePrefix::MAX_LEN` of `integrations-core`.
const LONGEST_PREFIX: usize = 28;

/// What PostgreSQL keeps of an identifier, in bytes.
const LONGEST_NAME: usize = 63;

/// What is wrong with the names in a file; `makes_names_up` where the database names what the file
/// leaves unnamed.
pub(crate) fn problems(sql: &str, makes_names_up: bool) -> Vec<String> {
    names(&words(sql), makes_names_up)
        .iter()
        .filter_map(|name| problem(name))
        .collect()
}

fn problem(name: &str) -> Option<String> {
    let Some(suffix) = name.strip_prefix(PLACEHOLDER) else {
        return Some(format!("`{name}` does not begin with {PLACEHOLDER}"));
    };
    let length = LONGEST_PREFIX + suffix.len();
    (length > LONGEST_NAME)
        .then(|| format!("`{name}` has {length} bytes with the longest prefix; name it shorter"))
}

/// Words, numbers and single signs, without comments, string literals and the quotes around names.
fn words(sql: &str) -> Vec<String> {
    let mut words = Vec::new();
    let code = sql
        .lines()
        .map(|line| line.split("--").next().unwrap_or_default());
    let code = code.collect::<Vec<_>>().join("\n");
    let outside_literals = code.split('\'').step_by(2).collect::<Vec<_>>().join(" ");
    let mut word = String::new();
    for char in outside_literals.chars().chain([' ']) {
        if char.is_alphanumeric() || "_{}".contains(char) {
            word.push(char);
            continue;
        }
        if !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        if !char.is_whitespace() && char != '"' {
            words.push(char.to_string());
        }
    }
    words
}

/// Every name the statements give or refer to, and on request those PostgreSQL makes up.
fn names(words: &[String], makes_names_up: bool) -> Vec<String> {
    let mut names = Vec::new();
    for statement in words.split(|word| word == ";") {
        let statement: Vec<&str> = statement.iter().map(String::as_str).collect();
        names.extend(given(&statement));
        if let Some(table) = created_table(&statement).filter(|_| makes_names_up) {
            let body = statement
                .iter()
                .position(|word| *word == "(")
                .map_or(0, |at| at + 1);
            for entry in entries(&statement[body..]) {
                names.extend(made_up(table, &entry));
            }
        }
    }
    names
}

/// The word after each keyword that a name follows.
fn given<'a>(statement: &'a [&'a str]) -> impl Iterator<Item = String> + 'a {
    const BEFORE_NAME: [&str; 5] = ["table", "index", "constraint", "references", "on"];
    const NOT_NAMES: [&str; 8] = [
        "if",
        "not",
        "exists",
        "concurrently",
        "only",
        "delete",
        "update",
        "conflict",
    ];
    statement
        .iter()
        .enumerate()
        .filter(|(_, word)| BEFORE_NAME.contains(word))
        .filter_map(|(at, keyword)| {
            let mut following = statement[at + 1..].iter();
            if *keyword == "on" {
                let next = following.clone().next()?;
                return (!NOT_NAMES.contains(next)).then(|| (*next).to_owned());
            }
            following
                .find(|word| !NOT_NAMES.contains(word))
                .map(|word| (*word).to_owned())
        })
}

fn created_table<'a>(statement: &[&'a str]) -> Option<&'a str> {
    let table = statement.iter().position(|word| *word == "table")?;
    (statement.first() == Some(&"create")).then(|| statement.get(table + 1).copied())?
}

/// The comma-separated parts of a table's body, up to the parenthesis that closes it.
fn entries<'a>(body: &[&'a str]) -> Vec<Vec<&'a str>> {
    let mut entries = vec![Vec::new()];
    let mut depth = 0;
    for &word in body {
        match word {
            "(" => depth += 1,
            ")" if depth == 0 => break,
            ")" => depth -= 1,
            "," if depth == 0 => {
                entries.push(Vec::new());
                continue;
            }
            _ => {}
        }
        if let Some(entry) = entries.last_mut() {
            entry.push(word);
        }
    }
    entries
}

/// The names PostgreSQL gives to what one entry leaves unnamed.
fn made_up(table: &str, entry: &[&str]) -> Vec<String> {
    const KINDS: [(&str, &str); 5] = [
        ("unique", "key"),
        ("references", "fkey"),
        ("check", "check"),
        ("identity", "seq"),
        ("primary", "pkey"),
    ];
    let column = entry.first().copied().unwrap_or_default();
    let on_table = ["primary", "unique", "check", "foreign"].contains(&column);
    let columns = if on_table {
        listed(entry).join("_")
    } else {
        column.to_owned()
    };
    let named = |at: usize| at >= 2 && entry[at - 2] == "constraint";
    let unnamed = entry.iter().enumerate().filter(|(at, _)| !named(*at));
    unnamed
        .filter_map(|(_, word)| KINDS.iter().find(|(keyword, _)| keyword == word))
        .map(|(_, suffix)| match *suffix {
            "pkey" => format!("{table}_pkey"),
            suffix => format!("{table}_{columns}_{suffix}"),
        })
        .collect()
}

/// The columns in the first parentheses of a table's constraint.
fn listed<'a>(entry: &[&'a str]) -> Vec<&'a str> {
    let inside = entry.iter().skip_while(|word| **word != "(").skip(1);
    inside
        .take_while(|word| **word != ")")
        .copied()
        .filter(|word| *word != ",")
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_names_begin_with_the_prefix() {
        let sql = "create table \"{{prefix}}_a\" (id bigint, b_id bigint references {{prefix}}_b (id)\n\
                   on delete cascade); -- on paper\n\
                   create unique index if not exists {{prefix}}_a_idx on {{prefix}}_a (id)\n\
                   where state = 'on hold';";
        assert!(problems(sql, true).is_empty(), "{:?}", problems(sql, true));
        let bare =
            "create table {{prefix}}_a (id bigint); create index a_idx on {{prefix}}_a (id);";
        assert_eq!(
            problems(bare, true),
            ["`a_idx` does not begin with {{prefix}}"]
        );
        assert_eq!(
            problems("create index {{prefix}}_a_idx on a (id)", true).len(),
            1
        );
    }

    #[test]
    fn names_that_postgresql_makes_up_fit_too() {
        let table = "create table {{prefix}}_idempotency_keys";
        let implicit =
            format!("{table} (integration_id bigint not null references {{{{prefix}}}}s (id));");
        let found = problems(&implicit, true);
        assert!(
            found.len() == 1 && found[0].contains("_integration_id_fkey` has 65 bytes"),
            "{found:?}"
        );

        let explicit = format!(
            "{table} (integration_id bigint constraint {{{{prefix}}}}_short references {{{{prefix}}}}s (id));"
        );
        assert!(
            problems(&explicit, true).is_empty(),
            "{:?}",
            problems(&explicit, true)
        );

        let several = format!("{table} (a bigint, unique (reservation, something));");
        assert!(problems(&several, true)[0].contains("_reservation_something_key`"));
    }
}
