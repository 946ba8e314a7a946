//! The window's texts and their tables: each text that the sources say is in the table of every other language, no table has one that
//! nobody says, and what a person reads does not pass the tables by. The sources themselves are read for it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// What stands in the sources as a text and is none, or the same in every language.
const ALLOWED: [(&str, &str); 11] = [
    ("Bootyard", "the name of the program"),
    ("Esc", "written so on the key, whatever the language"),
    ("Raw", "the name of a format"),
    ("ProxyDHCP", "the name of a protocol"),
    ("Raspberry Pi", "a product"),
    ("KiB", "a unit"),
    ("MiB", "a unit"),
    ("GiB", "a unit"),
    ("TiB", "a unit"),
    ("PiB", "a unit"),
    ("auto=true priority=critical", "kernel arguments, as an example"),
];

/// What these are given is read by a person, however short it is.
const READ: [&str; 11] = [
    "label",
    "button",
    "heading",
    "on_hover_text",
    "on_disabled_hover_text",
    "accessible_name",
    "weak_ui",
    "title_ui",
    "section_ui",
    "heading_ui",
    "fact_ui",
];

/// What the sources say.
#[derive(Debug, Default)]
struct Said {
    /// Through `t!` and `count!`.
    texts: BTreeSet<String>,
    /// Past them, with the file.
    past: Vec<(String, String)>,
    file: String,
}

pub(super) fn manifest(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

pub(super) fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "tests") {
                sources(&path, into);
            }
        } else if path.extension().is_some_and(|e| e == "rs") {
            into.push(path);
        }
    }
}

fn said() -> Said {
    let mut files = vec![manifest("src/told.rs")];
    sources(&manifest("src/gui"), &mut files);
    assert!(files.len() > 40, "{files:?}");
    let mut said = Said::default();
    for file in files {
        said.file = file.strip_prefix(manifest("src")).unwrap().display().to_string();
        let stream: TokenStream = fs::read_to_string(&file).unwrap().parse().unwrap();
        said.walk(stream, "");
    }
    // These speak to the terminal, as the command line does, which scripts read: it stays English.
    said.past.retain(|(file, _)| !["gui/launch.rs", "told.rs"].contains(&file.as_str()));
    said
}

impl Said {
    /// Tokens between the parentheses of `call`, or of nothing in particular.
    fn walk(&mut self, stream: TokenStream, call: &str) {
        let tokens: Vec<TokenTree> = stream.into_iter().collect();
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            let after = &tokens[at + 1..];
            at += 1;
            match token {
                TokenTree::Punct(p) if p.as_char() == '#' => at += attribute(after),
                TokenTree::Ident(name) => match after {
                    [TokenTree::Punct(p), TokenTree::Group(group), ..] if p.as_char() == '!' => {
                        at += 2;
                        let name = name.to_string();
                        match name.as_str() {
                            "t" => self.arguments(group.stream(), 0..1),
                            "count" => self.arguments(group.stream(), 1..3),
                            _ => self.walk(group.stream(), &name),
                        }
                    }
                    [TokenTree::Group(group), ..] if group.delimiter() == Delimiter::Parenthesis => {
                        at += 1;
                        self.walk(group.stream(), &name.to_string());
                    }
                    _ => {}
                },
                TokenTree::Group(group) => self.walk(group.stream(), ""),
                TokenTree::Literal(literal) if !is_pattern(after) => {
                    if let Some(text) = string(&literal.to_string())
                        && is_read(&text, call)
                        && !ALLOWED.iter().any(|(allowed, _)| *allowed == text)
                    {
                        self.past.push((self.file.clone(), text));
                    }
                }
                _ => {}
            }
        }
    }

    /// Those at `texts` are texts.
    fn arguments(&mut self, stream: TokenStream, texts: std::ops::Range<usize>) {
        let is_comma = |t: &TokenTree| matches!(t, TokenTree::Punct(p) if p.as_char() == ',');
        let all: Vec<TokenTree> = stream.into_iter().collect();
        for (at, argument) in all.split(is_comma).enumerate() {
            match argument {
                [TokenTree::Literal(literal)] if texts.contains(&at) => {
                    self.texts.insert(string(&literal.to_string()).unwrap());
                }
                other => self.walk(other.iter().cloned().collect(), ""),
            }
        }
    }
}

/// How many tokens an attribute takes after its `#`; the whole item where it is for tests alone.
pub(super) fn attribute(after: &[TokenTree]) -> usize {
    let inner = usize::from(matches!(after.first(), Some(TokenTree::Punct(p)) if p.as_char() == '!'));
    let Some(TokenTree::Group(group)) = after.get(inner) else { return 0 };
    let text = group.stream().to_string().replace(' ', "");
    if text != "cfg(test)" && !text.starts_with("cfg(all(test,") {
        return inner + 1;
    }
    let ends = |t: &TokenTree| match t {
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        TokenTree::Punct(p) => p.as_char() == ';',
        _ => false,
    };
    let item = &after[inner + 1..];
    // A variant ends with a comma, and the last one with its enum.
    let is_comma = |t: &TokenTree| matches!(t, TokenTree::Punct(p) if p.as_char() == ',');
    let end = item.iter().position(ends).or_else(|| item.iter().position(is_comma));
    inner + 1 + end.map_or(item.len(), |end| end + 1)
}

/// Whether what stands before these is matched against, and not said.
pub(super) fn is_pattern(after: &[TokenTree]) -> bool {
    match after {
        [TokenTree::Punct(a), TokenTree::Punct(b), ..] if a.as_char() == '=' => b.as_char() == '>',
        [TokenTree::Punct(a), ..] => a.as_char() == '|',
        _ => false,
    }
}

/// Begins as a sentence, has two words, or goes where a person reads.
fn is_read(text: &str, call: &str) -> bool {
    let plain = without_parameters(text);
    let pairs: Vec<(char, char)> = plain.chars().zip(plain.chars().skip(1)).collect();
    let capital =
        text.starts_with(|c: char| c.is_ascii_uppercase()) && text.chars().nth(1).is_some_and(char::is_lowercase);
    capital
        || has_words(text)
        || (READ.contains(&call) && pairs.iter().any(|(a, b)| a.is_alphabetic() && b.is_alphabetic()))
}

/// Whether two words stand beside one another.
pub(super) fn has_words(text: &str) -> bool {
    let plain = without_parameters(text);
    let is_word = |word: &str| word.len() > 1 && word.chars().all(|c| c.is_ascii_lowercase());
    plain.split(|c: char| !c.is_alphanumeric() && c != ' ').any(|part| {
        let list: Vec<&str> = part.split(' ').collect();
        list.windows(2).any(|two| is_word(two[1]) && two[0].chars().filter(char::is_ascii_alphabetic).count() > 1)
    })
}

/// What stands outside of braces.
pub(super) fn without_parameters(text: &str) -> String {
    let mut plain = String::new();
    let mut depth = 0_u32;
    for c in text.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            c if depth == 0 => plain.push(c),
            _ => {}
        }
    }
    plain
}

/// The text of a string literal; none where it is another one.
pub(super) fn string(literal: &str) -> Option<String> {
    let body = literal.strip_prefix('"')?.strip_suffix('"')?;
    let mut out = String::new();
    let mut rest = body.chars().peekable();
    while let Some(c) = rest.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match rest.next()? {
            'n' => out.push('\n'),
            't' => out.push('\t'),
            'u' => {
                let code: String = rest.by_ref().skip(1).take_while(|c| *c != '}').collect();
                out.push(char::from_u32(u32::from_str_radix(&code, 16).ok()?)?);
            }
            '\n' => while rest.next_if(|c| c.is_whitespace()).is_some() {},
            other => out.push(other),
        }
    }
    Some(out)
}

/// The table.
pub(super) fn german() -> BTreeMap<String, String> {
    let text = fs::read_to_string(manifest("../assets/lang/window.de.toml")).unwrap();
    let table: toml_edit::DocumentMut = text.parse().unwrap();
    table.iter().map(|(english, german)| (english.to_owned(), german.as_str().unwrap().to_owned())).collect()
}

#[test]
fn every_text_of_the_window_is_there_in_german_and_no_other() {
    let (said, german) = (said().texts, german());
    assert!(said.len() > 500, "{} texts were found in the sources", said.len());
    let quoted = |text: &String| toml_edit::Value::from(text.as_str()).to_string();
    let missing: Vec<String> =
        said.iter().filter(|t| !german.contains_key(*t)).map(|t| format!("{} = \"\"", quoted(t))).collect();
    assert!(missing.is_empty(), "assets/lang/window.de.toml lacks:\n{}", missing.join("\n"));
    let unsaid: Vec<&String> = german.keys().filter(|t| !said.contains(*t)).collect();
    assert!(unsaid.is_empty(), "nobody says any more: {unsaid:#?}");
    let empty: Vec<&String> = german.iter().filter(|(_, g)| g.trim().is_empty()).map(|(e, _)| e).collect();
    assert!(empty.is_empty(), "no German: {empty:#?}");
}

#[test]
fn what_a_person_reads_passes_through_the_tables() {
    let past = said().past;
    let lines: Vec<String> = past.iter().map(|(file, text)| format!("{file}: {text:?}")).collect();
    assert!(lines.is_empty(), "say these with t! or count!:\n{}", lines.join("\n"));
}

#[test]
fn the_reader_of_sources_finds_what_is_said_and_what_is_not() {
    let source = r#"
        /// Not This one.
        fn f(ui: &mut Ui) -> &'static str {
            ui.label(t!("A {n}", n = g("Bare words")));
            ui.label("x1");
            count!(a.len(), "{n} b", "{n} \u{e9}\"c\"", d = "iqn");
            match s { "Pattern" => "UEFI x64", _ => "Said \
                past" }
        }
        #[cfg(test)]
        mod tests { const A: &str = "Not this"; }
        const B: &str = "two words";
    "#;
    let mut said = Said::default();
    said.walk(source.parse().unwrap(), "");
    assert_eq!(said.texts.iter().map(String::as_str).collect::<Vec<_>>(), ["A {n}", "{n} b", "{n} é\"c\""]);
    let past: Vec<&str> = said.past.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(past, ["Bare words", "Said past", "two words"]);
}
