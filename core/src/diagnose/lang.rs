//! Sentences by id, from `assets/lang`: the same for the command line and the window.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::LazyLock;

use crate::api::{Finding, Severity};

const ENGLISH: &str = include_str!("../../../assets/lang/en.toml");

/// A parameter of a sentence: its name and what stands for it.
pub(crate) type Param<'a> = (&'a str, &'a dyn Display);

static SENTENCES: LazyLock<HashMap<String, String>> = LazyLock::new(|| {
    let mut sentences = HashMap::new();
    if let Ok(document) = ENGLISH.parse::<toml_edit::DocumentMut>() {
        collect("", document.as_table(), &mut sentences);
    }
    sentences
});

fn collect(prefix: &str, table: &toml_edit::Table, into: &mut HashMap<String, String>) {
    for (key, item) in table {
        let path = if prefix.is_empty() { key.to_owned() } else { format!("{prefix}.{key}") };
        if let Some(text) = item.as_str() {
            into.insert(path, text.to_owned());
        } else if let Some(table) = item.as_table() {
            collect(&path, table, into);
        }
    }
}

/// The sentence at `table.key`, or at `table.other` where that key has none.
pub(crate) fn sentence(table: &str, key: &str) -> &'static str {
    let at = |key: &str| SENTENCES.get(&format!("{table}.{key}")).map(String::as_str);
    at(key).or_else(|| at("other")).unwrap_or_default()
}

/// A finding in words. Parameters are put in as they are: what a client says is made printable where it comes in.
pub(crate) fn finding(id: &str, severity: Severity, params: &[Param<'_>]) -> Finding {
    let table = format!("finding.{id}");
    let fill = |key: &str| fill(sentence(&table, key), params);
    Finding { id: id.to_owned(), severity, seen: fill("seen"), means: fill("means"), remedy: fill("remedy") }
}

/// One pass from left to right, so that a parameter's own braces mean nothing.
fn fill(sentence: &str, params: &[Param<'_>]) -> String {
    let mut out = String::new();
    let mut rest = sentence;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        let Some((name, tail)) = after.split_once('}') else {
            rest = after;
            break;
        };
        if let Some((_, value)) = params.iter().find(|(n, _)| *n == name) {
            out.push_str(&value.to_string());
        }
        rest = tail;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_cannot_name_another() {
        let secret = "s3cret";
        assert_eq!(fill("a {x} b {y}.", &[("x", &"{y}"), ("y", &secret)]), "a {y} b s3cret.");
    }

    #[test]
    fn every_finding_says_what_was_seen_what_it_means_and_what_to_do() {
        let ids: std::collections::BTreeSet<_> =
            SENTENCES.keys().filter_map(|k| k.strip_prefix("finding.")?.split('.').next()).collect();
        assert!(ids.len() >= 12, "{ids:?}");
        for id in ids {
            for part in ["seen", "means", "remedy"] {
                assert!(SENTENCES.contains_key(&format!("finding.{id}.{part}")), "{id} has no {part}");
            }
        }
    }
}
