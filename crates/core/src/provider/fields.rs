//! The fields of credentials and settings, read from the JSON Schema a provider derives.

use std::collections::BTreeMap;

use regex_lite::Regex;
use schemars::{JsonSchema, schema_for};
use serde_json::Value as Json;

/// A field a provider takes.
#[derive(Clone, Debug)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// What it is, for a prompt.
    pub description: Option<String>,
    /// Whether it must be given.
    pub required: bool,
    /// What it holds.
    pub kind: FieldKind,
    /// What it must match, unanchored.
    pub pattern: Option<String>,
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// Text.
    Text,
    /// A whole number.
    Integer,
    /// Yes or no.
    Boolean,
}

/// A field that was given wrongly. Never carries what was given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// Required, and absent or blank.
    #[error("`{0}` is required")]
    Missing(String),
    /// Not a field of this provider.
    #[error("`{name}` is not known; known are: {known}")]
    Unknown {
        /// What was given.
        name: String,
        /// What could be.
        known: String,
    },
    /// Of another type.
    #[error("`{name}` must be {expected}")]
    Type {
        /// The field.
        name: String,
        /// What it must be.
        expected: &'static str,
    },
    /// Each good by itself, and no account together. The sentence names the fields.
    #[error("{0}")]
    Together(String),
    /// Of another form.
    #[error("`{name}` must match `{pattern}`")]
    Pattern {
        /// The field.
        name: String,
        /// What it must match.
        pattern: String,
    },
}

/// The fields of a provider's credentials or settings, in the order they are asked for.
#[derive(Clone, Debug, Default)]
pub struct Fields(Vec<Field>);

impl Fields {
    /// The fields of a struct that derives [`JsonSchema`].
    #[must_use]
    pub fn of<T: JsonSchema>() -> Self {
        Self::from_schema(schema_for!(T).as_value())
    }

    /// The fields of a JSON Schema of an object.
    #[must_use]
    pub fn from_schema(schema: &Json) -> Self {
        let required: Vec<&str> = schema["required"]
            .as_array()
            .map(|names| names.iter().filter_map(Json::as_str).collect())
            .unwrap_or_default();
        let Some(properties) = schema["properties"].as_object() else {
            return Self::default();
        };
        let mut fields: Vec<Field> = properties
            .iter()
            .map(|(name, property)| Field {
                name: name.clone(),
                description: property["description"].as_str().map(str::to_owned),
                required: required.contains(&name.as_str()),
                kind: kind_of(&property["type"]),
                pattern: property["pattern"].as_str().map(str::to_owned),
            })
            .collect();
        // Required fields are asked for first; within each group the schema's order stands.
        fields.sort_by_key(|field| !field.required);
        Self(fields)
    }

    /// The fields.
    pub fn iter(&self) -> impl Iterator<Item = &Field> {
        self.0.iter()
    }

    /// The field of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Field> {
        self.0.iter().find(|field| field.name == name)
    }

    /// Checks texts as they were given and turns them into JSON values of the fields' types.
    ///
    /// # Errors
    ///
    /// Returns every [`FieldError`] there is, so that all can be mended at once.
    pub fn check(
        &self,
        given: &BTreeMap<String, String>,
    ) -> Result<serde_json::Map<String, Json>, Vec<FieldError>> {
        let mut errors = Vec::new();
        let mut values = serde_json::Map::new();
        for name in given.keys().filter(|name| self.get(name).is_none()) {
            let known = self
                .0
                .iter()
                .map(|f| f.name.as_str())
                .collect::<Vec<_>>()
                .join(", ");
            errors.push(FieldError::Unknown {
                name: name.clone(),
                known,
            });
        }
        for field in &self.0 {
            match given
                .get(&field.name)
                .filter(|text| !text.trim().is_empty())
            {
                None if field.required => errors.push(FieldError::Missing(field.name.clone())),
                None => {}
                Some(text) => match field.parse(text) {
                    Ok(value) => {
                        values.insert(field.name.clone(), value);
                    }
                    Err(error) => errors.push(error),
                },
            }
        }
        if errors.is_empty() {
            Ok(values)
        } else {
            Err(errors)
        }
    }
}

impl Field {
    fn parse(&self, text: &str) -> Result<Json, FieldError> {
        let wrong = |expected| FieldError::Type {
            name: self.name.clone(),
            expected,
        };
        if let Some(pattern) = &self.pattern {
            let matches = Regex::new(pattern).is_ok_and(|regex| regex.is_match(text));
            if !matches {
                return Err(FieldError::Pattern {
                    name: self.name.clone(),
                    pattern: pattern.clone(),
                });
            }
        }
        match self.kind {
            FieldKind::Text => Ok(Json::from(text)),
            FieldKind::Integer => text
                .trim()
                .parse::<i64>()
                .map(Json::from)
                .map_err(|_| wrong("a whole number")),
            FieldKind::Boolean => match text.trim().to_ascii_lowercase().as_str() {
                "1" | "true" | "yes" | "y" => Ok(Json::from(true)),
                "0" | "false" | "no" | "n" => Ok(Json::from(false)),
                _ => Err(wrong("yes or no")),
            },
        }
    }
}

fn kind_of(kind: &Json) -> FieldKind {
    let is = |wanted: &str| {
        kind == wanted
            || kind
                .as_array()
                .is_some_and(|any| any.iter().any(|k| k == wanted))
    };
    if is("integer") {
        FieldKind::Integer
    } else if is("boolean") {
        FieldKind::Boolean
    } else {
        FieldKind::Text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "read through its schema")]
    struct Settings {
        /// Where it lives.
        #[schemars(regex(pattern = "^[a-z0-9-]{1,63}$"))]
        subdomain: String,
        page_size: Option<i64>,
        archived: Option<bool>,
    }

    fn check(given: &[(&str, &str)]) -> Result<serde_json::Map<String, Json>, Vec<FieldError>> {
        let given = given
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        Fields::of::<Settings>().check(&given)
    }

    // CLI-01
    #[test]
    fn casts_only_where_the_field_asks_for_it() {
        let values = check(&[
            ("subdomain", "acme"),
            ("page_size", "10"),
            ("archived", "yes"),
        ]);
        assert_eq!(
            Json::from(values.unwrap()),
            serde_json::json!({
                "subdomain": "acme", "page_size": 10, "archived": true,
            })
        );
    }

    #[test]
    fn says_everything_that_is_wrong_at_once() {
        let errors = check(&[("sub", "x"), ("page_size", "ten")]).unwrap_err();
        let text: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            text,
            [
                "`sub` is not known; known are: subdomain, archived, page_size",
                "`subdomain` is required",
                "`page_size` must be a whole number",
            ]
        );
    }

    #[test]
    fn a_subdomain_is_one_label() {
        for bad in ["evil.example", "a/b", "a b", "a\nb", ""] {
            assert!(
                check(&[("subdomain", bad)]).is_err(),
                "{bad:?} was accepted"
            );
        }
    }
}
