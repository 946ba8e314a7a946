//! Text to a TOML document, with every line that is not TOML.

use toml_edit::Document;

use super::fields::Reader;
use crate::lab::problem::Problem;

/// More broken lines than this are not listed: the file is something else.
const MOST: usize = 20;

/// The document. A line that is not TOML is reported and left out, so that the rest can be read; the reader then holds back what
/// may only follow from the gap.
pub(super) fn document(text: &str, reader: &mut Reader<'_>) -> Option<Document<String>> {
    let mut text = text.to_owned();
    for _ in 0..MOST {
        let error = match Document::parse(text.clone()) {
            Ok(document) => return Some(document),
            Err(error) => error,
        };
        let at = error.span().map_or(0, |s| s.start.min(text.len()));
        let (start, end) = line_around(&text, at);
        let line = text.get(start..end).unwrap_or_default();
        let message = error.message().lines().collect::<Vec<_>>().join(", ");
        let mut problem = Problem::error(reader.line_at(at), format!("not TOML: {message}"));
        if let Some(suggestion) = suggestion(line) {
            problem = problem.suggest(suggestion);
        }
        reader.problem(problem);
        reader.partial = true;
        if line.trim().is_empty() {
            return None;
        }
        // Only a line that stands for itself can be left out without breaking its neighbours.
        let blank: String = line.chars().map(|c| " ".repeat(c.len_utf8())).collect();
        text.replace_range(start..end, &blank);
    }
    None
}

fn line_around(text: &str, at: usize) -> (usize, usize) {
    let bytes = text.as_bytes();
    // An error at the end of a line belongs to that line, not to the next.
    let start = bytes.iter().take(at).rposition(|b| *b == b'\n').map_or(0, |n| n + 1);
    let end = bytes.iter().skip(at).position(|b| *b == b'\n').map_or(text.len(), |n| at + n);
    (start, end)
}

fn suggestion(line: &str) -> Option<String> {
    let line = line.trim();
    let (key, value) = line.split_once('=')?;
    let (key, value) = (key.trim(), value.trim());
    let plain = |s: &str| !s.is_empty() && s.chars().all(|c| c.is_ascii_alphanumeric() || "-_./:".contains(c));
    if plain(key) && plain(value) {
        if key.contains("secret") {
            return Some("a text stands in quotes".to_owned());
        }
        return Some(format!("a text stands in quotes: {key} = \"{value}\""));
    }
    None
}
