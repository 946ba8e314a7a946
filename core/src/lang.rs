//! Sentences, in every language: the same for the command line and the window.
//!
//! What the engine says (findings, the doctor, error codes) has an id, and its sentence stands in `assets/lang/en.toml`; another
//! language has a table with the same ids. What the window says is named by its English text, which stands where it is drawn;
//! another language has a table from that text to its own. What a table does not have is said in English.
//!
//! Errors and sentences of the engine are made in English, whatever the window speaks in whose process it runs: scripts, other windows
//! and lab.db have them, too. Who shows them to a person says them in that person's language: see [`said()`].

mod said;

use std::cell::Cell;
use std::collections::HashMap;
use std::fmt::Display;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU8, Ordering};

use serde::{Deserialize, Serialize};

use crate::api::{Certainty, Finding, Severity};

pub use said::{errors, said};

const ENGLISH: &str = include_str!("../../assets/lang/en.toml");
const GERMAN: &str = include_str!("../../assets/lang/de.toml");
const WINDOW_GERMAN: &str = include_str!("../../assets/lang/window.de.toml");

/// A parameter of a sentence: its name and what stands for it.
pub type Param<'a> = (&'a str, &'a dyn Display);

type Table = LazyLock<HashMap<String, String>>;

static SENTENCES: Table = LazyLock::new(|| read(ENGLISH));
static SENTENCES_GERMAN: Table = LazyLock::new(|| read(GERMAN));
static TEXTS_GERMAN: Table = LazyLock::new(|| read(WINDOW_GERMAN));

/// A language that there are tables for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Language {
    /// English; complete by construction, and what the engine says everything in.
    #[default]
    English,
    /// German.
    German,
}

impl Language {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::English, Self::German];

    /// Its own name for itself.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::English => "English",
            Self::German => "Deutsch",
        }
    }

    /// The language of a locale's name, such as `de_AT.UTF-8` or `de-CH`; English where there is no table for it.
    #[must_use]
    pub fn of_locale(locale: &str) -> Self {
        match locale.split(['-', '_', '.', '@']).next() {
            Some(tag) if tag.eq_ignore_ascii_case("de") => Self::German,
            _ => Self::English,
        }
    }
}

/// What the process speaks: the index in [`Language::ALL`].
static SPOKEN: AtomicU8 = AtomicU8::new(0);

thread_local! {
    static SPOKEN_HERE: Cell<Option<Language>> = const { Cell::new(None) };
}

/// From now on everything is said in this language. What was said before is said anew by whoever shows it: see [`said()`].
pub fn speak(language: Language) {
    let index = Language::ALL.iter().position(|l| *l == language).unwrap_or_default();
    SPOKEN.store(u8::try_from(index).unwrap_or_default(), Ordering::Relaxed);
}

/// The same for this thread alone.
pub fn speak_here(language: Language) {
    SPOKEN_HERE.set(Some(language));
}

/// What is spoken.
#[must_use]
pub fn spoken() -> Language {
    let process = || Language::ALL.get(usize::from(SPOKEN.load(Ordering::Relaxed))).copied().unwrap_or_default();
    SPOKEN_HERE.get().unwrap_or_else(process)
}

fn read(text: &str) -> HashMap<String, String> {
    let mut sentences = HashMap::new();
    if let Ok(document) = text.parse::<toml_edit::DocumentMut>() {
        collect("", document.as_table(), &mut sentences);
    }
    sentences
}

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

/// A text of the window, in the language that is spoken.
#[must_use]
pub fn text(english: &'static str) -> &'static str {
    match spoken() {
        Language::English => english,
        Language::German => TEXTS_GERMAN.get(english).map_or(english, String::as_str),
    }
}

/// The sentence at `table.key`, or at `table.other` where that key has none.
pub(crate) fn sentence(table: &str, key: &str) -> &'static str {
    maybe(table, key).or_else(|| maybe(table, "other")).unwrap_or_default()
}

/// The sentence at `table.key`, if there is one.
pub(crate) fn maybe(table: &str, key: &str) -> Option<&'static str> {
    #[cfg(test)]
    if MADE_HERE.get() != Language::English {
        return find(MADE_HERE.get(), table, key);
    }
    find(Language::English, table, key)
}

/// The same in the language that is spoken, for what a window draws itself.
pub(crate) fn spoken_sentence(table: &str, key: &str) -> &'static str {
    find(spoken(), table, key).unwrap_or_default()
}

fn find(language: Language, table: &str, key: &str) -> Option<&'static str> {
    let path = format!("{table}.{key}");
    let english = || SENTENCES.get(&path);
    let sentence = match language {
        Language::English => english(),
        Language::German => SENTENCES_GERMAN.get(&path).or_else(english),
    };
    sentence.map(String::as_str)
}

#[cfg(test)]
thread_local! {
    /// In what language this thread's sentences are made: what [`said()`] makes of the English ones is compared with them.
    static MADE_HERE: Cell<Language> = const { Cell::new(Language::English) };
}

/// What this makes has its sentences in another language.
#[cfg(test)]
pub(crate) fn made_in<T>(language: Language, make: impl FnOnce() -> T) -> T {
    MADE_HERE.set(language);
    let made = make();
    MADE_HERE.set(Language::English);
    made
}

/// A finding in words. Parameters are put in as they are: what a client says is made printable where it comes in.
pub(crate) fn finding(id: &str, severity: Severity, params: &[Param<'_>]) -> Finding {
    let table = format!("finding.{id}");
    let fill = |key: &str| fill(sentence(&table, key), params);
    Finding {
        id: id.to_owned(),
        severity,
        seen: fill("seen"),
        means: fill("means"),
        remedy: fill("remedy"),
        certainty: Certainty::Certain,
        events: Vec::new(),
        action: None,
        since: None,
    }
}

/// A text of the window with parameters, in the language that is spoken. A parameter that is an error is said in it, too.
#[must_use]
pub fn text_with(english: &'static str, params: &[Param<'_>]) -> String {
    let in_that = |value: String| match value {
        // A single word is a name.
        value if spoken() != Language::English && value.contains(' ') => said(&value).into_owned(),
        value => value,
    };
    fill_by(text(english), params, in_that)
}

/// A sentence with its parameters.
#[must_use]
pub(crate) fn fill(sentence: &str, params: &[Param<'_>]) -> String {
    fill_by(sentence, params, |value| value)
}

/// One pass from left to right, so that a parameter's own braces mean nothing.
fn fill_by(sentence: &str, params: &[Param<'_>], say: impl Fn(String) -> String) -> String {
    let mut out = String::new();
    let mut rest = sentence;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        let Some((name, tail)) = after.split_once('}') else {
            rest = after;
            break;
        };
        match params.iter().find(|(n, _)| *n == name) {
            Some((_, value)) => out.push_str(&say(value.to_string())),
            // Left to be seen: a sentence with a hole must not look whole.
            None => out.extend(["{", name, "}"]),
        }
        rest = tail;
    }
    out.push_str(rest);
    out
}

/// The ids of all findings that have sentences.
#[cfg(test)]
pub(crate) fn finding_ids() -> std::collections::BTreeSet<String> {
    SENTENCES.keys().filter_map(|k| k.strip_prefix("finding.")?.split('.').next()).map(str::to_owned).collect()
}

/// Every id, for tests.
#[cfg(test)]
pub(crate) fn keys() -> impl Iterator<Item = &'static str> {
    SENTENCES.keys().map(String::as_str)
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
    fn a_locale_has_a_language() {
        for (locale, language) in [
            ("de_AT.UTF-8", Language::German),
            ("de-CH", Language::German),
            ("DE", Language::German),
            ("den", Language::English),
            ("C.UTF-8", Language::English),
            ("", Language::English),
        ] {
            assert_eq!(Language::of_locale(locale), language, "{locale}");
        }
    }

    #[test]
    fn a_table_of_another_language_says_the_same_things() {
        let holes = |text: &str| -> std::collections::BTreeSet<String> {
            let parts = text.split('{').skip(1);
            parts.filter_map(|part| Some(part.split_once('}')?.0.to_owned())).collect()
        };
        for (id, german) in SENTENCES_GERMAN.iter() {
            let english = SENTENCES.get(id).unwrap_or_else(|| panic!("nothing is said by the id {id}"));
            assert_eq!(holes(english), holes(german), "{id}");
        }
        let missing: Vec<&String> = SENTENCES.keys().filter(|id| !SENTENCES_GERMAN.contains_key(*id)).collect();
        assert!(missing.is_empty(), "assets/lang/de.toml lacks {missing:#?}");
        for (english, german) in TEXTS_GERMAN.iter() {
            assert_eq!(holes(english), holes(german), "{english}");
        }
        speak_here(Language::German);
        assert_eq!(text("A text that no table has"), "A text that no table has");
        speak_here(Language::English);
    }

    /// What a text has in backticks, for people to type: commands, paths, settings.
    pub(super) fn typed(text: &str) -> Vec<String> {
        sorted(text.split('`').skip(1).step_by(2))
    }

    /// Its numbers: ports and codes.
    pub(super) fn numbers(text: &str) -> Vec<String> {
        sorted(text.split(|c: char| !c.is_ascii_digit()).filter(|n| !n.is_empty()))
    }

    fn sorted<'t>(parts: impl Iterator<Item = &'t str>) -> Vec<String> {
        let mut parts: Vec<String> = parts.map(str::to_owned).collect();
        parts.sort();
        parts
    }

    #[test]
    fn what_is_typed_stays_as_it_is_in_another_language() {
        for (english, german) in SENTENCES.iter().filter_map(|(id, english)| Some((english, SENTENCES_GERMAN.get(id)?)))
        {
            assert_eq!(typed(english), typed(german), "{german}");
            assert_eq!(numbers(english), numbers(german), "{german}");
        }
        for (english, german) in TEXTS_GERMAN.iter() {
            assert_eq!(typed(english), typed(german), "{german}");
        }
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
