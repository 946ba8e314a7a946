//! What a check has found, in words, and what mends it.

use std::fmt::Display;

use serde::{Deserialize, Serialize};

use crate::api::VERSION;
use crate::lab::{Mode, printable};
use crate::lang::{Param, fill, sentence};

/// How a thing stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", content = "reason", rename_all = "kebab-case")]
pub enum State {
    /// As it should be.
    Ok,
    /// Machines boot, but not all of them, or not as it seems to be meant.
    Warning,
    /// It would stop a boot.
    Failed,
    /// It could not be looked at.
    Unknown,
    /// It cannot be looked at on this system, and why.
    Unsupported(String),
}

/// One thing and how it stands. The words are whole sentences from `assets/lang`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Row {
    /// Version of this form: [`VERSION`].
    pub v: u16,
    /// Names it for `--fix` and for scripts: `CHECK`, or `CHECK:WHAT` where a check has several. The same whether it is well or not.
    pub id: String,
    /// The sentence within the check's table: `taken`.
    pub case: String,
    /// How it stands.
    #[serde(flatten)]
    pub state: State,
    /// What was seen.
    pub seen: String,
    /// What it means for a boot; empty where all is well.
    pub means: String,
    /// What to do; empty where all is well.
    pub remedy: String,
    /// What mends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<Fix>,
}

/// What mends a row: an act of the program, or a command for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Fix {
    /// What it does, in words.
    pub does: String,
    /// The command line that does it, where the program may not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// The command line that takes it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<String>,
    /// What the program itself can do: see [`crate::api::Command::Mend`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act: Option<Act>,
}

/// What the program does itself. All of it is in the lab's own folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "act", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Act {
    /// Another mode for the network on this interface, in lab.toml.
    Mode {
        /// The interface.
        interface: String,
        /// The mode.
        mode: Mode,
    },
    /// Other ports in lab.toml's `[ports]`.
    Ports {
        /// HTTP, if it changes.
        #[serde(default)]
        http: Option<u16>,
        /// HTTPS, if it changes.
        #[serde(default)]
        https: Option<u16>,
        /// iSCSI, if it changes.
        #[serde(default)]
        iscsi: Option<u16>,
    },
    /// Mode 0600 for lab.toml.
    Private,
    /// The lab's folders that are missing.
    Folders,
}

/// All rows of one look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    /// Version of this form: [`VERSION`].
    pub v: u16,
    /// In the order of the checks.
    pub rows: Vec<Row>,
}

impl Report {
    /// A report with these rows.
    #[must_use]
    pub fn new(rows: Vec<Row>) -> Self {
        Self { v: VERSION, rows }
    }

    /// Whether something would stop a boot.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.rows.iter().any(|row| row.state == State::Failed)
    }
}

/// A row of `check` about `what` (empty for a check with one row), with the sentences of `doctor.CHECK.CASE`. Parameters may come from
/// anywhere: they are made printable here.
pub(crate) fn row(check: &str, what: &str, case: &str, state: State, params: &[Param<'_>]) -> Row {
    let table = format!("doctor.{check}.{case}");
    let shown: Vec<(&str, String)> =
        params.iter().map(|(name, value)| (*name, printable(&value.to_string()))).collect();
    let params: Vec<Param<'_>> = shown.iter().map(|(name, value)| (*name, value as &dyn Display)).collect();
    let say = |key: &str| fill(sentence(&table, key), &params);
    let id = if what.is_empty() { check.to_owned() } else { format!("{check}:{}", printable(what)) };
    let (seen, means, remedy) = (say("seen"), say("means"), say("remedy"));
    Row { v: VERSION, id, case: case.to_owned(), state, seen, means, remedy, fix: None }
}

/// Rows of a check, about one thing.
pub(crate) struct About<'a>(pub(crate) &'a str, pub(crate) &'a str);

impl About<'_> {
    /// See [`row`].
    pub(crate) fn row(&self, case: &str, state: State, params: &[Param<'_>]) -> Row {
        row(self.0, self.1, case, state, params)
    }
}

/// A check that did not come to an end.
pub(super) fn unfinished(check: &str, case: &str) -> Row {
    Row { id: check.to_owned(), ..row("unfinished", "", case, State::Unknown, &[("check", &check)]) }
}

impl Row {
    /// Whether it is as it should be.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.state == State::Ok
    }

    /// With what mends it.
    #[must_use]
    pub(crate) fn with(mut self, fix: Fix) -> Self {
        self.fix = Some(fix);
        self
    }
}

impl Fix {
    /// What a person runs: the sentence is `doctor-fix.NAME`.
    pub(crate) fn command(name: &str, params: &[Param<'_>], command: impl Into<String>) -> Self {
        Self { does: does(name, params), command: Some(command.into()), undo: None, act: None }
    }

    /// What the program does.
    pub(crate) fn act(name: &str, params: &[Param<'_>], act: Act) -> Self {
        Self { does: does(name, params), command: None, undo: None, act: Some(act) }
    }

    /// With the command that takes it back.
    #[must_use]
    pub(crate) fn undone_by(mut self, command: impl Into<String>) -> Self {
        self.undo = Some(command.into());
        self
    }
}

fn does(name: &str, params: &[Param<'_>]) -> String {
    let shown: Vec<(&str, String)> =
        params.iter().map(|(name, value)| (*name, printable(&value.to_string()))).collect();
    let params: Vec<Param<'_>> = shown.iter().map(|(name, value)| (*name, value as &dyn Display)).collect();
    fill(sentence("doctor-fix", name), &params)
}

/// A word of a command line that a person may paste, whatever is in it.
pub(crate) fn shell_word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+,=".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}
