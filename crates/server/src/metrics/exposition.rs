//! Prometheus' text format.
//!
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>

use std::fmt::Write as _;

/// What kind of number a family holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only goes up, until the process ends.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by upper bound: samples carry the suffixes `_bucket`, `_sum` and `_count`.
    Histogram,
}

/// Families of samples, as text.
#[derive(Clone, Debug, Default)]
pub struct Exposition(String);

/// One family, to which samples are added.
#[derive(Debug)]
pub struct Family<'a> {
    out: &'a mut String,
    name: &'static str,
}

impl Exposition {
    /// Begins a family. Its name is a literal of `[a-z_]`, by Prometheus' conventions.
    pub fn family(&mut self, kind: Kind, name: &'static str, help: &'static str) -> Family<'_> {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        // Writing to a string does not fail.
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        Family {
            out: &mut self.0,
            name,
        }
    }

    /// The whole text.
    #[must_use]
    pub fn into_text(self) -> String {
        self.0
    }
}

impl Family<'_> {
    /// Adds a sample.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: impl Into<f64>) -> &mut Self {
        self.suffixed("", labels, value)
    }

    /// Adds a count. Beyond 2^53 it is not exact, as everywhere in Prometheus.
    #[expect(
        clippy::cast_precision_loss,
        reason = "Prometheus knows 64-bit floating point numbers only"
    )]
    pub fn count(&mut self, labels: &[(&str, &str)], count: u64) -> &mut Self {
        self.suffixed("", labels, count as f64)
    }

    /// Adds a sample of a histogram, with its suffix.
    pub fn suffixed(
        &mut self,
        suffix: &str,
        labels: &[(&str, &str)],
        value: impl Into<f64>,
    ) -> &mut Self {
        self.out.push_str(self.name);
        self.out.push_str(suffix);
        for (at, (name, value)) in labels.iter().enumerate() {
            self.out.push(if at == 0 { '{' } else { ',' });
            let _ = write!(self.out, "{name}=\"");
            for c in value.chars() {
                match c {
                    '\\' => self.out.push_str("\\\\"),
                    '"' => self.out.push_str("\\\""),
                    '\n' => self.out.push_str("\\n"),
                    c => self.out.push(c),
                }
            }
            self.out.push('"');
        }
        if !labels.is_empty() {
            self.out.push('}');
        }
        let _ = writeln!(self.out, " {}", value.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_and_numbers_plain() {
        let mut out = Exposition::default();
        out.family(Kind::Counter, "a_total", "All of a.")
            .sample(&[("x", "q\"\\\n"), ("y", "z")], 1.5)
            .count(&[], 12_345_678);
        out.family(Kind::Histogram, "b", "B.")
            .suffixed("_bucket", &[("le", "+Inf")], 3);
        assert_eq!(
            out.into_text(),
            "# HELP a_total All of a.\n# TYPE a_total counter\n\
             a_total{x=\"q\\\"\\\\\\n\",y=\"z\"} 1.5\na_total 12345678\n\
             # HELP b B.\n# TYPE b histogram\nb_bucket{le=\"+Inf\"} 3\n"
        );
    }
}
