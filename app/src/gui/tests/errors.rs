//! The engine's errors and their German: each text of its sources that reaches a person has one, and none is there that nobody says.
//! The sources themselves are read for it.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use bootyard_core::lang::errors;
use proc_macro2::{TokenStream, TokenTree};

use super::tables::{attribute, has_words, is_pattern, manifest, sources, string, without_parameters};

/// Files whose texts stay English, by the beginning of their path, and why.
const ENGLISH: [(&str, &str); 28] = [
    ("core/src/exchange/", "`bootyard import` and `export` are of the command line, which scripts read"),
    ("core/src/trace/decode/", "fields of packets are named as in Wireshark"),
    ("core/src/boot/script.rs", "on a machine's own screen"),
    ("core/src/boot/explain.rs", "lines of a script, and options as they are named in packets"),
    ("core/src/lab/db/tables.rs", "SQL"),
    ("core/src/lab/db/records.rs", "the key of a hash"),
    ("core/src/lab/redact.rs", "comments in the copy of lab.toml of a bundle"),
    ("core/src/engine/bench.rs", "a benchmark"),
    ("core/src/net/bench.rs", "a benchmark"),
    ("core/src/net/testing.rs", "sockets of the tests"),
    ("core/src/net/send_file.rs", "on systems that have no way of their own to send files, and in a log alone"),
    ("core/src/dhcp/wire/", "what is wrong with a packet shows in a log alone"),
    ("core/src/tftp/wire.rs", "what is wrong with a packet shows in a log alone"),
    ("core/src/http/exchange.rs", "told to the client"),
    ("core/src/http/library.rs", "told to the client"),
    ("core/src/http/machine.rs", "told to the client"),
    ("core/src/http/body.rs", "ends a connection, and shows in a log alone"),
    ("core/src/inspect/cpio.rs", "damage inside of a file system, which a developer reads"),
    ("core/src/inspect/ext.rs", "damage inside of a file system, which a developer reads"),
    ("core/src/inspect/fat.rs", "damage inside of a file system, which a developer reads"),
    ("core/src/inspect/initramfs.rs", "damage inside of a file system, which a developer reads"),
    ("core/src/inspect/loaders.rs", "what a boot sector says"),
    ("core/src/inspect/troubles.rs", "how a value of the registry is told that is not there"),
    ("core/src/inspect/unpack.rs", "damage inside of a file system, which a developer reads"),
    ("core/src/inspect/volume.rs", "damage inside of a file system, which a developer reads"),
    ("core/src/inspect/xfs", "damage inside of a file system, which a developer reads"),
    ("core/src/doctor/firewall/rules.rs", "how a rule came out, in the tests"),
    ("app/ports/src/main.rs", "printed where the program is started by hand"),
];

/// Texts that stay English, by their beginning, and why.
const TEXTS: [(&str, &str); 19] = [
    ("nothing is at {0}", "told to the client"),
    ("{mac} is not a MAC address", "told to the client"),
    ("this machine is given no Xen for UEFI", "told to the client"),
    ("the menu has no such entry", "told to the client"),
    ("a profile has kernel, initrd and hypervisor", "told to the client"),
    ("this server is read-only", "told to the client"),
    ("no transfer at this port", "told to the client"),
    ("the server is out of threads; try again later", "told to the client"),
    ("expected an acknowledgement", "told to the client"),
    ("No space left", "looked for in what qemu-img says"),
    ("the message is too long", "between the two programs"),
    ("{gone} older packets made room, {lost} packets of all machines were lost", "a comment in a recording"),
    ("# A lab of Bootyard: what a person decides.", "comments in a new lab.toml"),
    ("Bootyard lab {name}", "the name of a certificate"),
    ("PRAGMA wal_checkpoint(TRUNCATE)", "SQL"),
    ("EFI loader", "looked for in a file"),
    ("Bootyard bench on {interface}", "the name of a connection of NetworkManager"),
    ("inhibit sleep", "the name of a thread"),
    ("own packets", "the name of a thread"),
];

/// Texts of the standard library and the operating system, which stand in no source of ours, and what two of ours make together.
fn is_foreign(text: &str) -> bool {
    const STANDARD: [&str; 8] = [
        "failed to fill whole buffer",
        "unexpected end of file",
        "stream did not contain valid UTF-8",
        "timed out",
        "permission denied",
        "no storage space",
        "not a directory",
        "entity not found",
    ];
    STANDARD.contains(&text)
        || text == "entity already exists"
        || ["cannot write {0}; it must not exist: {1}", "not TOML"].contains(&text)
        || text.split_once(" (os error ").is_some_and(|(_, number)| number.trim_end_matches(')').parse::<u32>().is_ok())
}

/// A command line, which is typed as it is.
fn is_command(text: &str) -> bool {
    ["sudo ", "ct state ", "{p} dport "].iter().any(|start| text.starts_with(start))
}

/// A template as the tables have it: parameters without a name by their number, and none with a form.
fn template(text: &str) -> String {
    let (mut out, mut unnamed) = (String::new(), 0);
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        out.push_str(&rest[..at]);
        let (sign, tail) = rest[at..].split_at(1);
        let hole = tail.split_once('}').map(|(hole, after)| (hole.split(':').next().unwrap_or_default(), after));
        let is_name = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        match hole {
            _ if tail.starts_with(sign) => {
                out.push_str(sign);
                rest = &tail[1..];
            }
            Some((name, after)) if sign == "{" && is_name(name) => {
                let number = unnamed.to_string();
                unnamed += usize::from(name.is_empty());
                out.extend(["{", if name.is_empty() { number.as_str() } else { name }, "}"]);
                rest = after;
            }
            _ => {
                out.push_str(sign);
                rest = tail;
            }
        }
    }
    out + rest
}

/// Every string literal of a file that a person may read, and every other one.
#[derive(Debug, Default)]
struct Texts {
    read: Vec<String>,
    all: BTreeSet<String>,
}

impl Texts {
    fn walk(&mut self, stream: TokenStream) {
        let tokens: Vec<TokenTree> = stream.into_iter().collect();
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            let after = &tokens[at + 1..];
            at += 1;
            match token {
                TokenTree::Punct(p) if p.as_char() == '#' => {
                    if let Some(TokenTree::Group(group)) = after.first() {
                        self.error(group.stream());
                    }
                    at += attribute(after);
                }
                // What these say, a developer reads.
                TokenTree::Ident(name) => {
                    let name = name.to_string();
                    let is_macro = matches!(after.first(), Some(TokenTree::Punct(p)) if p.as_char() == '!');
                    let none = ["assert", "debug_assert", "unreachable", "panic"];
                    // The window's own texts have a table of their own.
                    let is_other = ["t", "count"].contains(&name.as_str()) || none.iter().any(|m| name.starts_with(m));
                    if name == "expect" || (is_macro && is_other) {
                        at += 1 + usize::from(is_macro);
                    }
                }
                TokenTree::Group(group) => self.walk(group.stream()),
                TokenTree::Literal(literal) => {
                    if let Some(text) = string(&literal.to_string()) {
                        self.add(&text, !is_pattern(after));
                    }
                }
                TokenTree::Punct(_) => {}
            }
        }
    }

    /// The text of `#[error("…")]`.
    fn error(&mut self, attribute: TokenStream) {
        let mut tokens = attribute.into_iter();
        if let (Some(TokenTree::Ident(name)), Some(TokenTree::Group(group))) = (tokens.next(), tokens.next())
            && name == "error"
            && let Some(TokenTree::Literal(literal)) = group.stream().into_iter().next()
            && let Some(text) = string(&literal.to_string())
        {
            // However short it is, unless it is what another one says.
            if without_parameters(&template(&text)).chars().any(char::is_alphabetic) {
                self.read.push(template(&text));
            }
            self.add(&text, false);
        }
    }

    fn add(&mut self, text: &str, said: bool) {
        let text = template(text);
        if said && has_words(&text) {
            self.read.push(text.clone());
        }
        self.all.insert(text);
    }
}

fn files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    sources(&manifest("../core/src"), &mut files);
    sources(&manifest("ports/src"), &mut files);
    files.push(manifest("src/told.rs"));
    let is_test = |path: &PathBuf| {
        path.components().any(|part| {
            let name = part.as_os_str().to_string_lossy();
            name.ends_with("tests") || name.ends_with("tests.rs")
        })
    };
    files.retain(|path| !is_test(path));
    assert!(files.len() > 200, "{}", files.len());
    files
}

#[test]
fn every_error_that_reaches_a_person_is_there_in_german_and_no_other() {
    let german = errors();
    let (mut all, mut missing) = (BTreeSet::new(), Vec::new());
    let (mut files_in_use, mut texts_in_use) = (BTreeSet::new(), BTreeSet::new());
    for path in files() {
        let short = path.display().to_string().replace(&manifest("../").display().to_string(), "");
        let short = short.replace(&manifest("ports").display().to_string(), "app/ports");
        let mut texts = Texts::default();
        texts.walk(fs::read_to_string(&path).unwrap().parse().unwrap());
        all.extend(texts.all);
        for text in texts.read {
            if german.contains_key(text.as_str()) || is_command(&text) {
                continue;
            }
            if let Some((file, _)) = ENGLISH.iter().find(|(file, _)| short.starts_with(file)) {
                files_in_use.insert(*file);
            } else if let Some((known, _)) = TEXTS.iter().find(|(known, _)| text.starts_with(known)) {
                texts_in_use.insert(*known);
            } else {
                missing.push(format!("# {short}\n{} = \"\"", toml_edit::Value::from(text.as_str())));
            }
        }
    }
    assert!(missing.is_empty(), "assets/lang/errors.de.toml lacks:\n{}", missing.join("\n"));
    let unsaid: Vec<&&str> = german.keys().filter(|text| !all.contains(**text) && !is_foreign(text)).collect();
    assert!(unsaid.is_empty(), "nobody says any more: {unsaid:#?}");
    let idle: Vec<&str> = ENGLISH.iter().map(|(file, _)| *file).filter(|file| !files_in_use.contains(file)).collect();
    assert!(idle.is_empty(), "these have no text that stays English: {idle:#?}");
    let idle: Vec<&str> = TEXTS.iter().map(|(text, _)| *text).filter(|text| !texts_in_use.contains(text)).collect();
    assert!(idle.is_empty(), "nobody says any more: {idle:#?}");
}

#[test]
fn the_reader_of_sources_finds_errors_and_what_is_none() {
    let source = r#"
        /// Not this one.
        #[derive(Debug, thiserror::Error)]
        enum E {
            #[error("{path} is damaged: {0:?}")]
            A,
            #[error(
                "the {} is \
                 {{ gone }}, {}"
            )]
            #[serde(rename = "not this one")]
            B,
        }
        fn f() {
            g().expect("never seen by anybody");
            assert!(true, "only for a developer");
            match x { "a known pattern" => Err(format!("no {kind} is there")), _ => Err("b".into()) }
        }
        #[cfg(test)]
        mod tests { const A: &str = "not this one"; }
    "#;
    let mut texts = Texts::default();
    texts.walk(source.parse().unwrap());
    assert_eq!(texts.read, ["{path} is damaged: {0}", "the {0} is { gone }, {1}", "no {kind} is there"]);
    assert!(texts.all.contains("b") && texts.all.contains("a known pattern") && !texts.all.contains("not this one"));
}
