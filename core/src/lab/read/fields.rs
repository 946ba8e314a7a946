//! Reading keys out of tables: each getter reports what is wrong with its key and goes on.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use toml_edit::{Document, Item, TableLike, Value};

use super::Lines;
use super::text::nearest;
use crate::lab::problem::Problem;

/// Nobody reads more; a file with so many is something else.
const MOST: usize = 500;

/// The text with its lines, and the problems found so far.
#[derive(Debug)]
pub(super) struct Reader<'t> {
    text: &'t str,
    starts: Vec<usize>,
    problems: Vec<Problem>,
    /// Lines were left out because they are not TOML: what is missing may stand there.
    pub(super) partial: bool,
    /// Names of entries that have problems of their own: references to them are in order.
    unreadable: Vec<String>,
}

/// One table of the document.
#[derive(Clone)]
pub(super) struct Fields<'a> {
    table: &'a dyn TableLike,
    start: Option<usize>,
}

impl<'a> Fields<'a> {
    pub(super) fn root(document: &'a Document<String>) -> Self {
        Self { table: document.as_table(), start: Some(0) }
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    pub(super) fn item(&self, key: &str) -> Option<&'a Item> {
        self.table.get(key)
    }

    /// Line of the table's header.
    pub(super) fn header(&self, reader: &Reader<'_>) -> Option<u32> {
        self.start.and_then(|s| reader.line_at(s))
    }

    /// Line of a key, else of the header.
    pub(super) fn line(&self, reader: &Reader<'_>, key: &str) -> Option<u32> {
        let span = self.table.get_key_value(key).and_then(|(key, item)| key.span().or_else(|| item.span()));
        span.and_then(|s| reader.line_at(s.start)).or_else(|| self.header(reader))
    }

    pub(super) fn lines(&self, reader: &Reader<'_>) -> Lines {
        let keys = self.table.iter().filter_map(|(key, _)| Some((key.to_owned(), self.line(reader, key)?))).collect();
        Lines { header: self.header(reader), keys }
    }
}

impl<'t> Reader<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(n, _)| n + 1)).collect();
        Self { text, starts, problems: Vec::new(), partial: false, unreadable: Vec::new() }
    }

    pub(super) fn into_problems(self) -> Vec<Problem> {
        let mut problems = self.problems;
        problems.sort_by_key(|p| p.line);
        problems
    }

    /// The line of a byte of the text, from 1.
    pub(super) fn line_at(&self, at: usize) -> Option<u32> {
        let at = at.min(self.text.len());
        u32::try_from(self.starts.partition_point(|s| *s <= at)).ok()
    }

    pub(super) fn problem(&mut self, problem: Problem) {
        if self.problems.len() < MOST && !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    pub(super) fn error(&mut self, line: Option<u32>, message: impl AsRef<str>) {
        self.problem(Problem::error(line, message));
    }

    pub(super) fn warning(&mut self, line: Option<u32>, message: impl AsRef<str>) {
        self.problem(Problem::warning(line, message));
    }

    /// Something that ought to be there is not; silent where it may stand in a line that could not be read.
    pub(super) fn missing(&mut self, line: Option<u32>, message: impl AsRef<str>, suggestion: impl AsRef<str>) {
        if !self.partial {
            self.problem(Problem::error(line, message).suggest(suggestion));
        }
    }

    /// Remembers the name of an entry that could not be read.
    pub(super) fn unreadable(&mut self, fields: &Fields<'_>) {
        self.unreadable.extend(fields.item("name").and_then(Item::as_str).map(str::to_owned));
    }

    /// Whether an entry of this name stands there, but could not be read.
    pub(super) fn is_unreadable(&self, name: &str) -> bool {
        self.unreadable.iter().any(|n| n == name)
    }

    /// Reports every key of the table that is not among `known`.
    pub(super) fn only(&mut self, fields: &Fields<'_>, table: &str, known: &[&str]) {
        for (key, _) in fields.table.iter() {
            if known.contains(&key) {
                continue;
            }
            let problem = Problem::error(fields.line(self, key), format!("unknown key `{key}` in {table}"));
            self.problem(match nearest(key, known.iter().copied()) {
                Some(near) => problem.suggest(format!("did you mean `{near}`?")),
                None => problem.suggest(format!("known are {}", known.join(", "))),
            });
        }
    }

    fn wrong_type(&mut self, line: Option<u32>, key: &str, expected: &str, item: &str) {
        let article = if item.starts_with(['a', 'i', 'e', 'o']) { "an" } else { "a" };
        self.error(line, format!("`{key}` must be {expected}, not {article} {item}"));
    }

    /// `[key]` as a table.
    pub(super) fn table<'a>(&mut self, fields: &Fields<'a>, key: &str) -> Option<Fields<'a>> {
        let item = fields.item(key)?;
        if let Some(table) = item.as_table_like() {
            let start = item.span().or_else(|| fields.table.get_key_value(key).and_then(|(k, _)| k.span()));
            return Some(Fields { table, start: start.map(|s| s.start) });
        }
        self.wrong_type(fields.line(self, key), key, "a table", item.type_name());
        None
    }

    /// `[[key]]`, or `[key]` where `single` allows it, with each entry's number.
    pub(super) fn entries<'a>(&mut self, fields: &Fields<'a>, key: &str, single: bool) -> Vec<(Fields<'a>, usize)> {
        let Some(item) = fields.item(key) else { return Vec::new() };
        let mut out = Vec::new();
        if let Some(array) = item.as_array_of_tables() {
            out.extend(array.iter().map(|t| Fields { table: t, start: t.span().map(|s| s.start) }));
        } else if let Some(array) = item.as_array() {
            for value in array {
                match value.as_inline_table() {
                    Some(t) => out.push(Fields { table: t, start: value.span().map(|s| s.start) }),
                    None => {
                        let line = value.span().and_then(|s| self.line_at(s.start));
                        self.wrong_type(line, key, "a list of tables", value.type_name());
                    }
                }
            }
        } else if item.is_table_like() {
            if !single {
                let line = fields.line(self, key);
                self.problem(
                    Problem::error(line, format!("`{key}` is a list of entries"))
                        .suggest(format!("write [[{key}]] with two brackets")),
                );
            }
            out.extend(self.table(fields, key));
        } else {
            self.wrong_type(fields.line(self, key), key, "a table", item.type_name());
        }
        out.into_iter().enumerate().map(|(n, f)| (f, n)).collect()
    }

    pub(super) fn string<'a>(&mut self, fields: &Fields<'a>, key: &str) -> Option<&'a str> {
        let item = fields.item(key)?;
        if item.as_str().is_none() {
            self.wrong_type(fields.line(self, key), key, "a text in quotes", item.type_name());
        }
        item.as_str()
    }

    pub(super) fn boolean(&mut self, fields: &Fields<'_>, key: &str) -> bool {
        let Some(item) = fields.item(key) else { return false };
        if item.as_bool().is_none() {
            self.wrong_type(fields.line(self, key), key, "true or false", item.type_name());
        }
        item.as_bool().unwrap_or_default()
    }

    pub(super) fn integer(&mut self, fields: &Fields<'_>, key: &str, range: RangeInclusive<i64>) -> Option<i64> {
        let item = fields.item(key)?;
        let line = fields.line(self, key);
        match item.as_integer() {
            None => {
                self.wrong_type(line, key, "a number", item.type_name());
                None
            }
            Some(n) if !range.contains(&n) => {
                self.error(line, format!("`{key}` must be from {} to {}, not {n}", range.start(), range.end()));
                None
            }
            some => some,
        }
    }

    /// A text that its type accepts; its error is the message.
    pub(super) fn parsed<T: FromStr>(&mut self, fields: &Fields<'_>, key: &str) -> Option<T>
    where
        T::Err: Display,
    {
        let text = self.string(fields, key)?;
        self.typed(text, fields.line(self, key), key)
    }

    pub(super) fn typed<T: FromStr>(&mut self, text: &str, line: Option<u32>, key: &str) -> Option<T>
    where
        T::Err: Display,
    {
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.error(line, format!("`{key}`: {error}"));
                None
            }
        }
    }

    /// An address; `std`'s own error does not say what was expected.
    pub(super) fn address(&mut self, fields: &Fields<'_>, key: &str) -> Option<std::net::Ipv4Addr> {
        let text = self.string(fields, key)?;
        self.address_text(text, fields.line(self, key), key)
    }

    pub(super) fn address_text(&mut self, text: &str, line: Option<u32>, key: &str) -> Option<std::net::Ipv4Addr> {
        let Ok(address) = text.parse::<std::net::Ipv4Addr>() else {
            let problem = Problem::error(line, format!("`{key}`: `{text}` is not an IPv4 address"));
            let bare = text.split('/').next().filter(|t| t.parse::<std::net::Ipv4Addr>().is_ok());
            self.problem(match bare {
                Some(bare) => problem.suggest(format!("without a prefix length: {key} = \"{bare}\"")),
                None => problem.suggest("expected four numbers such as 192.168.2.1"),
            });
            return None;
        };
        if address.is_unspecified() || address.is_broadcast() || address.is_multicast() || address.is_loopback() {
            self.error(line, format!("`{key}`: {address} cannot be the address of a machine"));
            return None;
        }
        Some(address)
    }

    /// A text or a list of texts, each with its line.
    pub(super) fn strings<'a>(&mut self, fields: &Fields<'a>, key: &str) -> Vec<(&'a str, Option<u32>)> {
        let Some(item) = fields.item(key) else { return Vec::new() };
        let line = fields.line(self, key);
        if let Some(text) = item.as_str() {
            return vec![(text, line)];
        }
        let Some(array) = item.as_array() else {
            self.wrong_type(line, key, "a text or a list of texts", item.type_name());
            return Vec::new();
        };
        let mut out = Vec::new();
        for value in array {
            let line = value.span().and_then(|s| self.line_at(s.start)).or(line);
            match value {
                Value::String(text) => out.push((text.value().as_str(), line)),
                other => self.wrong_type(line, key, "a list of texts", other.type_name()),
            }
        }
        out
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(&mut self, fields: &Fields<'_>, key: &str, words: &[(&str, T)]) -> Option<T> {
        let text = self.string(fields, key)?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let line = fields.line(self, key);
            let all: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            let problem = Problem::error(line, format!("`{key}` cannot be `{text}`; it is one of {}", all.join(", ")));
            self.problem(match nearest(text, all.iter().copied()) {
                Some(near) => problem.suggest(format!("did you mean `{near}`?")),
                None => problem,
            });
        }
        found
    }

    pub(super) fn required(&mut self, fields: &Fields<'_>, table: &str, key: &str, example: &str) {
        if !fields.has(key) {
            let line = fields.header(self);
            self.missing(line, format!("{table} has no `{key}`"), format!("add {key} = {example}"));
        }
    }
}
