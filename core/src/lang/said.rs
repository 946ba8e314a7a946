//! What was said in one language, said in another: errors and the engine's sentences.
//!
//! An error is made in English where something goes wrong, as every sentence of the engine is, and it stays English on its way: in logs,
//! in lab.db, in events and snapshots and on the control socket, for scripts read them there and the engine may be another process than
//! the window. Only who shows it to a person says it in that person's language, with [`said`]: the text is recognised by its template
//! (`errors.de.toml` has a template of the sources for each sentence; `de.toml` and `en.toml` have the same ids) and its parameters are
//! put into the other one, themselves said anew where they are sentences. That can't say something else than the English text does,
//! whichever code made it. A text that no template fits, or that can be read in two ways, stays as it is.
//!
//! These stay English (the test that reads the sources, in the window's tests, has the files):
//! - what is said on the wire or in a log alone: errors of the wire types of DHCP, TFTP, HTTP and NDP, error messages to a client, the
//!   replies of the web server, threads' names, what `bootyard serve` prints;
//! - scripts and menus on a machine's own screen, names and values of a packet's fields as Wireshark has them;
//! - `bootyard import` and `export`, which are of the command line, where scripts read it;
//! - what is wrong inside of a file system that is looked into (damaged XFS, ext4, FAT, cpio), for it helps nobody but a developer;
//! - what libraries say: TOML's grammar, TLS, D-Bus, qemu-img; of the operating system's errors, the rare ones.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use super::{Language, SENTENCES, SENTENCES_GERMAN, read, spoken};

const ERRORS_GERMAN: &str = include_str!("../../../assets/lang/errors.de.toml");

/// Longer texts are no sentence, in bytes.
const LONGEST: usize = 8192;

/// Characters that a template has outside of its parameters, blanks left out, lest it fit what it was not made for.
const LETTERS: usize = 4;

/// How deep sentences stand in one another, and how many ways to read one are looked at.
const DEPTH: u32 = 6;
const WAYS: usize = 32;

/// Readings that are tried of one text before it is left as it is: a client's text may be made to be read in very many ways.
const STEPS: u32 = 400;

/// With fewer it fits much: what its parameters are must be names, paths, or texts that are known.
const SURE: usize = 13;

/// Parameters that the tables have: with another value the sentence is none of these, or would be in two languages.
const KNOWN: [&str; 4] = ["what", "format", "form", "FORMS"];

/// Parameters for which a single word may stand in the tables. Anywhere else a word is a name, such as that of a machine.
const WORDS: [&str; 3] = ["what", "kind", "article"];

/// Sentences of a single word.
const ALONE: [&str; 4] = ["cancelled", "Ignored", "Waits", "Menu"];

/// Texts that are remembered with what became of them: a window asks for the same in each frame.
const REMEMBERED: usize = 2048;

static ERRORS: super::Table = LazyLock::new(|| read(ERRORS_GERMAN));
static TO_GERMAN: LazyLock<Forms> = LazyLock::new(|| Forms::new(pairs()));
static TO_ENGLISH: LazyLock<Forms> = LazyLock::new(|| Forms::new(pairs().map(|(english, german)| (german, english))));

thread_local! {
    static REMEMBER: RefCell<HashMap<(Language, String), Option<String>>> = RefCell::new(HashMap::new());
}

/// A text of the engine in the language that is spoken, whichever it was said in; as it is where no table has it.
#[must_use]
pub fn said(text: &str) -> Cow<'_, str> {
    if text.len() > LONGEST {
        return Cow::Borrowed(text);
    }
    let language = spoken();
    let key = (language, text.to_owned());
    let known = REMEMBER.with_borrow(|known| known.get(&key).cloned());
    let other = known.unwrap_or_else(|| {
        let forms = match language {
            Language::English => &TO_ENGLISH,
            Language::German => &TO_GERMAN,
        };
        let (other, known) = Reading { forms, steps: Cell::new(STEPS) }.loosely(text, DEPTH);
        let other = (known > 0).then_some(other);
        REMEMBER.with_borrow_mut(|known| {
            if known.len() >= REMEMBERED {
                known.clear();
            }
            known.insert(key, other.clone());
        });
        other
    });
    other.map_or(Cow::Borrowed(text), Cow::Owned)
}

/// The templates of errors with their German.
#[must_use]
pub fn errors() -> BTreeMap<&'static str, &'static str> {
    ERRORS.iter().map(|(english, german)| (english.as_str(), german.as_str())).collect()
}

/// Every English sentence with its German, always in the same order.
fn pairs() -> impl Iterator<Item = (&'static str, &'static str)> {
    let ids: BTreeMap<&String, &String> = SENTENCES.iter().collect();
    let sentences = ids.into_iter().filter_map(|(id, english)| {
        let german = SENTENCES_GERMAN.get(id)?;
        Some((english.as_str(), german.as_str()))
    });
    errors().into_iter().chain(sentences)
}

/// A template: what stands between its parameters, and their names. Parameters that touch are one.
#[derive(Debug, PartialEq, Eq)]
struct Template {
    parts: Vec<String>,
    holes: Vec<String>,
}

impl Template {
    fn new(text: &str) -> Self {
        let mut template = Self { parts: vec![String::new()], holes: Vec::new() };
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            template.add(before);
            let name = after.split_once('}').filter(|(name, _)| is_name(name));
            let Some((name, tail)) = name else {
                template.add("{");
                rest = after;
                continue;
            };
            match (template.parts.last().map(String::as_str), template.holes.last_mut()) {
                (Some(""), Some(last)) => last.extend(["+", name]),
                _ => {
                    template.holes.push(name.to_owned());
                    template.parts.push(String::new());
                }
            }
            rest = tail;
        }
        template.add(rest);
        template
    }

    fn add(&mut self, text: &str) {
        if let Some(part) = self.parts.last_mut() {
            part.push_str(text);
        }
    }

    /// Whether it says enough to be recognised by.
    fn is_telling(&self) -> bool {
        self.letters() >= LETTERS || self.holes.iter().any(|hole| KNOWN.contains(&hole.as_str()))
    }

    fn letters(&self) -> usize {
        self.parts.iter().flat_map(|part| part.chars()).filter(|c| !c.is_whitespace()).count()
    }

    /// The parameters of a text that was made of this, in every way that it can be read.
    fn ways<'t>(&self, text: &'t str) -> Vec<Vec<&'t str>> {
        let mut ways = Vec::new();
        if let [first, inner @ .., last] = self.parts.as_slice()
            && let Some(text) = text.strip_prefix(first.as_str())
            && let Some(text) = text.strip_suffix(last.as_str())
        {
            self.place(text, inner, &mut Vec::new(), &mut ways);
        }
        ways.retain(|way| way.iter().enumerate().all(|(at, value)| !self.is_quoted(at) || !value.contains('`')));
        ways
    }

    /// Whether a parameter stands between backticks.
    fn is_quoted(&self, hole: usize) -> bool {
        let ends = |part: Option<&String>| part.is_some_and(|part| part.ends_with('`'));
        ends(self.parts.get(hole)) && self.parts.get(hole + 1).is_some_and(|part| part.starts_with('`'))
    }

    fn place<'t>(&self, text: &'t str, inner: &[String], found: &mut Vec<&'t str>, ways: &mut Vec<Vec<&'t str>>) {
        let Some((part, more)) = inner.split_first() else {
            // What may be appended may also be absent; everything else is there.
            if !text.is_empty() || self.parts.last().is_some_and(String::is_empty) {
                ways.push(found.iter().copied().chain([text]).collect());
            }
            return;
        };
        for (at, _) in text.match_indices(part.as_str()) {
            if ways.len() >= WAYS {
                return;
            }
            if at > 0 {
                found.push(&text[..at]);
                self.place(&text[at + part.len()..], more, found, ways);
                found.pop();
            }
        }
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// A path, a name, or several of these.
fn is_plain(value: &str) -> bool {
    value.starts_with('/') || value.split(", ").all(|part| !part.contains(' '))
}

/// Templates and what is said instead.
#[derive(Debug)]
struct Forms {
    /// Without parameters.
    whole: HashMap<&'static str, &'static str>,
    /// The longest first.
    forms: Vec<(usize, Template, Template)>,
}

impl Forms {
    fn new(pairs: impl Iterator<Item = (&'static str, &'static str)>) -> Self {
        let mut new = Self { whole: HashMap::new(), forms: Vec::new() };
        for (from, to) in pairs {
            let (form, other) = (Template::new(from), Template::new(to));
            if form.holes.is_empty() {
                new.whole.entry(from).or_insert(to);
            } else if form.is_telling() && !new.forms.iter().any(|(_, known, _)| *known == form) {
                new.forms.push((form.letters(), form, other));
            }
        }
        new.forms.sort_by_key(|(letters, ..)| std::cmp::Reverse(*letters));
        new
    }
}

/// One text that is read.
struct Reading<'f> {
    forms: &'f Forms,
    /// How many more may be tried.
    steps: Cell<u32>,
}

impl Reading<'_> {
    /// A text that is one sentence of the tables as a whole.
    fn strictly(&self, text: &str, depth: u32) -> Option<String> {
        if !text.contains(' ') && !ALONE.contains(&text) {
            return None;
        }
        if let Some(other) = self.forms.whole.get(text) {
            return Some((*other).to_owned());
        }
        let steps = self.steps.get();
        if depth == 0 || steps == 0 {
            return None;
        }
        self.steps.set(steps - 1);
        // The form that says more of the text by itself is meant, then the reading whose parameters are known. Of two that are as
        // good, nobody knows.
        let mut best: Option<(usize, &Template, String)> = None;
        let mut is_clear = true;
        for (letters, form, other) in &self.forms.forms {
            if best.as_ref().is_some_and(|(_, best, _)| best.letters() > *letters) {
                break;
            }
            for way in form.ways(text) {
                let Some((known, made)) = self.anew(&way, form, other, depth) else { continue };
                match &best {
                    Some((most, ..)) if known < *most => {}
                    // Of one English text with two ids each German is right.
                    Some((most, first, _)) if known == *most && *first != form && first.parts == form.parts => {}
                    Some((most, _, same)) if known == *most => is_clear &= *same == made,
                    _ => (best, is_clear) = (Some((known, form, made)), true),
                }
            }
        }
        best.filter(|_| is_clear).map(|(.., made)| made)
    }

    /// The other template with these parameters of this one, and how many bytes of them are known.
    fn anew(&self, way: &[&str], form: &Template, other: &Template, depth: u32) -> Option<(usize, String)> {
        let value = |((hole, before), value): ((&String, &String), &&str)| match self.forms.whole.get(*value) {
            // In brackets a word is a table of lab.toml.
            Some(word) if WORDS.contains(&hole.as_str()) && !before.ends_with('[') => ((*word).to_owned(), value.len()),
            _ => self.loosely(value, depth - 1),
        };
        let values: Vec<(String, usize)> = form.holes.iter().zip(&form.parts).zip(way).map(value).collect();
        let is_unknown = |(at, hole): (usize, &String)| KNOWN.contains(&hole.as_str()) && values[at].1 < way[at].len();
        let is_sure = form.letters() >= SURE;
        let is_loose = |(at, hole): (usize, &String)| {
            let is_known = values[at].1 == way[at].len() || is_plain(way[at]) || form.is_quoted(at);
            (!is_sure && !is_known) || (hole == "id" && !way[at].bytes().all(|b| b.is_ascii_digit()))
        };
        let is_two = |(at, hole): (usize, &String)| form.holes.iter().zip(way).any(|(h, v)| h == hole && *v != way[at]);
        if form.holes.iter().enumerate().any(|hole| is_unknown(hole) || is_loose(hole) || is_two(hole)) {
            return None;
        }
        let mut made = String::new();
        for (at, part) in other.parts.iter().enumerate() {
            made.push_str(part);
            if let Some(hole) = other.holes.get(at) {
                let place = form.holes.iter().position(|name| name == hole)?;
                made.push_str(&values[place].0);
            }
        }
        Some((values.iter().map(|(_, known)| known).sum(), made))
    }

    /// A text, or the sentences that are joined in it, and how many bytes of it the tables have.
    fn loosely(&self, text: &str, depth: u32) -> (String, usize) {
        // Each line is a sentence of its own, and none goes on in the next.
        if depth > 0 && text.contains('\n') {
            let lines: Vec<(String, usize)> = text.split('\n').map(|line| self.loosely(line, depth - 1)).collect();
            let known = lines.iter().map(|(_, known)| known).sum();
            let lines: Vec<String> = lines.into_iter().map(|(line, _)| line).collect();
            return (lines.join("\n"), known);
        }
        if let Some(other) = self.strictly(text, depth) {
            return (other, text.len());
        }
        if depth == 0 || !text.contains(' ') {
            return (text.to_owned(), 0);
        }
        let joints = || {
            [": ", "; ", ". ", " (", ", "]
                .into_iter()
                .flat_map(|sign| text.match_indices(sign).map(move |(at, _)| (at, sign)))
                .take(WAYS)
        };
        let cut = |(at, sign): (usize, &'static str)| match sign {
            // What is appended is a form with its sign.
            " (" | ", " => (&text[..at], "", &text[at..]),
            ". " => (&text[..=at], " ", &text[at + 2..]),
            _ => (&text[..at], sign, &text[at + sign.len()..]),
        };
        for (head, sign, tail) in joints().map(cut) {
            if let Some(other) = self.strictly(tail, depth - 1) {
                let (head, known) = self.loosely(head, depth - 1);
                return (head + sign + &other, known + tail.len());
            }
        }
        for (head, sign, tail) in joints().map(cut) {
            if let Some(other) = self.strictly(head, depth - 1) {
                let (rest, known) = self.loosely(tail, depth - 1);
                return (other + sign + &rest, known + head.len());
            }
        }
        (text.to_owned(), 0)
    }
}

#[cfg(test)]
mod tests;
