//! What became of each statement of a foreign file. Nothing can be dropped silently: a statement is lost until somebody says otherwise.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

/// What became of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// Bootyard does the same without being told.
    Implied,
    /// It stands in the lab.
    Mapped,
    /// It has no equal here, or was not understood.
    Lost,
}

/// One statement, with where it stands and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Statement {
    /// The file.
    pub file: Arc<Path>,
    /// Its first line, from 1.
    pub line: u32,
    /// Its last line; of a block, that of the opening brace.
    pub last_line: u32,
    /// Its words, cut to a length that fits a screen; secrets are taken out, control characters escaped.
    pub text: String,
    /// What became of it.
    pub fate: Fate,
    /// What it became, or why not.
    pub because: String,
}

/// The number of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Id(usize);

/// A value with the statement that said it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said<T> {
    /// The value.
    pub(super) value: T,
    /// Who says so.
    pub(super) id: Id,
}

/// The longest text of a statement that is kept, in characters.
const LONGEST: usize = 120;

/// All statements in the order in which they were read.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    statements: Vec<Statement>,
    verdicts: BTreeMap<Id, (Fate, Vec<String>)>,
    /// Files whose rest was not read.
    cut: BTreeSet<Arc<Path>>,
}

impl Ledger {
    /// A statement that was read: lost, until [`Ledger::mapped`] or [`Ledger::implied`] says otherwise.
    pub(super) fn add(&mut self, file: &Arc<Path>, line: u32, last_line: u32, text: &str) -> Id {
        self.statements.push(Statement {
            file: Arc::clone(file),
            line,
            last_line,
            text: shown(text),
            fate: Fate::Lost,
            because: String::new(),
        });
        Id(self.statements.len() - 1)
    }

    /// A file is not read from this line on, because the import has its most statements. One entry for each file says so.
    pub(super) fn rest(&mut self, file: &Arc<Path>, line: u32) {
        if self.cut.insert(Arc::clone(file)) {
            let id = self.add(file, line, line, "…");
            self.lost(id, format!("the rest was not read: {} statements are the most", super::source::MOST_STATEMENTS));
        }
    }

    /// It stands in the lab as `what`.
    pub(super) fn mapped(&mut self, id: Id, what: impl Into<String>) {
        self.say(id, Fate::Mapped, what.into());
    }

    /// Bootyard does it anyway.
    pub(super) fn implied(&mut self, id: Id, why: impl Into<String>) {
        self.say(id, Fate::Implied, why.into());
    }

    /// It has no equal. That outweighs whatever else is said of it.
    pub(super) fn lost(&mut self, id: Id, why: impl Into<String>) {
        self.say(id, Fate::Lost, why.into());
    }

    fn say(&mut self, id: Id, fate: Fate, why: String) {
        let (worst, whys) = self.verdicts.entry(id).or_insert_with(|| (fate, Vec::new()));
        if fate > *worst {
            *worst = fate;
            whys.clear();
        }
        // A statement in a scope of many hosts is judged once for each of them.
        if fate == *worst && whys.len() < 3 && !whys.contains(&why) {
            whys.push(why);
        }
    }

    /// Whether something was said of it.
    #[must_use]
    pub(super) fn judged(&self, id: Id) -> bool {
        self.verdicts.contains_key(&id)
    }

    /// Where a statement stands, for a sentence about another one.
    #[must_use]
    pub(super) fn place(&self, id: Id) -> String {
        self.statements.get(id.0).map_or_else(String::new, |s| format!("line {}", s.line))
    }

    /// The statements with what became of them.
    #[must_use]
    pub(super) fn close(mut self) -> Vec<Statement> {
        for (n, statement) in self.statements.iter_mut().enumerate() {
            match self.verdicts.remove(&Id(n)) {
                Some((fate, whys)) => {
                    statement.fate = fate;
                    statement.because = shown_whole(&without_secrets(&whys.join("; ")));
                }
                None => "not understood".clone_into(&mut statement.because),
            }
        }
        self.statements
    }
}

/// Files come from elsewhere: nothing of them reaches a terminal unescaped.
fn shown(text: &str) -> String {
    let words = shown_whole(&without_secrets(&text.split_whitespace().collect::<Vec<_>>().join(" ")));
    match words.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", words.get(..end).unwrap_or_default()),
        None => words,
    }
}

/// What the names of variables and kernel arguments contain whose values are secrets.
const SECRETS: [&str; 10] =
    ["secret", "password", "passwd", "passphrase", "rootpw", "pwd", "token", "psk", "private", "credential"];

/// Whether a variable or kernel argument of this name has a secret as its value.
pub(super) fn names_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.ends_with("pass") || SECRETS.iter().any(|part| name.contains(part))
}

/// The text without the values of `password=…` and its like, and without the names and secrets in `iscsi:user:secret@…` and
/// `http://user:secret@…`.
pub(super) fn without_secrets(text: &str) -> String {
    let mut out: Vec<String> = Vec::new();
    // The quote that ends a hidden value of several words.
    let mut open: Option<char> = None;
    for word in text.split(' ') {
        if let Some(quote) = open {
            if word.ends_with(quote) {
                open = None;
            }
            continue;
        }
        // Also within a value: `url=http://…?token=…`.
        let name = |before: &str| before.rsplit([',', ';', '&', '?', '=']).next().is_some_and(names_secret);
        let at = word.match_indices('=').map(|(at, _)| word.split_at(at)).find(|(before, _)| name(before));
        match at {
            Some((before, value)) => {
                let value = value.strip_prefix('=').unwrap_or_default();
                let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''));
                open = quote.filter(|q| value.len() == 1 || !value.ends_with(*q));
                out.push(format!("{}=…", without_user(before)));
            }
            None => out.push(without_user(word)),
        }
    }
    out.join(" ")
}

/// A word without what stands before the `@` of an address.
fn without_user(word: &str) -> String {
    let Some((before, after)) = word.split_once("://").map_or_else(|| word.split_once("iscsi:"), Some) else {
        return word.to_owned();
    };
    let mark = word.get(before.len()..word.len() - after.len()).unwrap_or_default();
    // Of a URL the server alone; a root-path has no `@` elsewhere.
    let end = if mark == "://" { after.find('/').unwrap_or(after.len()) } else { after.len() };
    match after.get(..end).and_then(|server| server.rfind('@')) {
        Some(at) => format!("{before}{mark}…{}", after.get(at..).unwrap_or_default()),
        None => word.to_owned(),
    }
}

fn shown_whole(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// A file that the lab needs and that import does not bring.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Need {
    /// Where it is to be: below the lab's folder.
    pub path: PathBuf,
    /// Where it was.
    pub from: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_of_any_spelling_are_taken_out() {
        for (text, shown) in [
            ("kernel linux ISCSI_PASSWORD=hunter2 quiet", "kernel linux ISCSI_PASSWORD=… quiet"),
            ("rd.iscsi.in.password='hunter2 hunter3' quiet", "rd.iscsi.in.password=… quiet"),
            ("netroot=iscsi:me:hunter2@10.0.0.1::::iqn.x:y", "netroot=iscsi:…@10.0.0.1::::iqn.x:y"),
            ("ks=http://me:hunter2@boot/ks?a=b&token=hunter3 b", "ks=http://…@boot/ks?a=b&token=… b"),
            ("kernel http://me:hunter2@boot/linux a=b@c", "kernel http://…@boot/linux a=b@c"),
            ("iscsi:10.0.0.1::::iqn.x:y http://boot/a@b", "iscsi:10.0.0.1::::iqn.x:y http://boot/a@b"),
        ] {
            assert_eq!(without_secrets(text), shown);
        }
    }

    #[test]
    fn the_rest_of_a_file_is_told_of_once() {
        let file: Arc<Path> = Path::new("dhcpd.conf").into();
        let mut ledger = Ledger::default();
        ledger.rest(&file, 7);
        ledger.rest(&file, 8);
        let statements = ledger.close();
        assert_eq!((statements.len(), statements[0].line, statements[0].fate), (1, 7, Fate::Lost));
        assert!(statements[0].because.starts_with("the rest was not read"), "{statements:?}");
    }

    #[test]
    fn a_statement_is_lost_until_somebody_says_otherwise_and_for_good_once_that_is_said() {
        let file: Arc<Path> = Path::new("dhcpd.conf").into();
        let mut ledger = Ledger::default();
        let silent = ledger.add(&file, 1, 1, "a");
        let both = ledger.add(&file, 2, 3, "b\n  c\u{1b}[31m");
        ledger.mapped(both, "x");
        ledger.lost(both, "y");
        ledger.implied(both, "z");
        assert!(!ledger.judged(silent));
        let statements = ledger.close();
        assert_eq!((statements[0].fate, statements[0].because.as_str()), (Fate::Lost, "not understood"));
        assert_eq!((statements[1].fate, statements[1].because.as_str()), (Fate::Lost, "y"));
        assert_eq!(statements[1].text, "b c\\u{1b}[31m");
    }
}
