//! Lines of dnsmasq.conf and of the files that they name.

use std::path::Path;
use std::sync::Arc;

use crate::exchange::ledger::{Id, Ledger};
use crate::exchange::source::{DEEPEST, ITSELF, MOST_STATEMENTS, Source, Sources};
use crate::exchange::words::is_ipxe_secret;

/// One option.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) key: String,
    /// What follows `=`.
    pub(super) value: String,
    pub(super) id: Id,
}

impl Line {
    /// The parts between commas, quotes taken off.
    pub(super) fn parts(&self) -> Vec<String> {
        let mut out = vec![String::new()];
        let mut quoted = false;
        let mut chars = self.value.chars();
        while let Some(c) = chars.next() {
            let Some(last) = out.last_mut() else { break };
            match c {
                '"' => quoted = !quoted,
                '\\' if quoted => last.extend(chars.next()),
                ',' if !quoted => out.push(String::new()),
                c => last.push(c),
            }
        }
        out.iter().map(|p| p.trim().to_owned()).collect()
    }
}

/// All options of a file and of what it includes, each with its number in the ledger.
pub(super) fn lines(source: &Source, sources: &mut Sources, ledger: &mut Ledger) -> Vec<Line> {
    let mut out = Vec::new();
    let mut loader = Loader { sources, ledger, root: Arc::clone(&source.name), left: MOST_STATEMENTS };
    if loader.sources.enter(&source.name) {
        loader.load(source, None, 0, &mut out);
        loader.sources.leave();
    }
    out
}

struct Loader<'a> {
    sources: &'a mut Sources,
    ledger: &'a mut Ledger,
    root: Arc<Path>,
    left: usize,
}

impl Loader<'_> {
    /// `key`: what each line is a value of, in a file of `dhcp-hostsfile`.
    fn load(&mut self, source: &Source, key: Option<&str>, depth: usize, out: &mut Vec<Line>) {
        for (n, text) in source.text.lines().enumerate() {
            let text = uncommented(text).trim();
            if text.is_empty() {
                continue;
            }
            let line = u32::try_from(n + 1).unwrap_or(u32::MAX);
            let Some(left) = self.left.checked_sub(1) else { return self.ledger.rest(&source.name, line) };
            self.left = left;
            let id = self.ledger.add(&source.name, line, line, &shown(text));
            let (own, value) = text.split_once('=').unwrap_or((text, ""));
            let (own, value) = match key {
                Some(key) => (key, text),
                None => (own.trim(), value.trim()),
            };
            let line = Line { key: own.to_owned(), value: value.to_owned(), id };
            match line.key.as_str() {
                "conf-file" | "conf-dir" | "dhcp-hostsfile" | "dhcp-hostsdir" => self.include(&line, depth, out),
                _ => out.push(line),
            }
        }
    }

    fn include(&mut self, line: &Line, depth: usize, out: &mut Vec<Line>) {
        if depth >= DEEPEST {
            return self.ledger.lost(line.id, "files include each other too deep");
        }
        let parts = line.parts();
        let name = parts.first().map(String::as_str).unwrap_or_default();
        let folder = line.key == "conf-dir" || line.key == "dhcp-hostsdir";
        let key = line.key.starts_with("dhcp-host").then_some("dhcp-host");
        let files = if folder {
            self.sources.list(&self.root, name)
        } else {
            self.sources.include(&self.root, name).map(|s| vec![s.name.to_path_buf()])
        };
        let files = match files {
            Ok(files) => files,
            Err(why) => return self.ledger.lost(line.id, why),
        };
        let (mut only, mut never) = (Vec::new(), vec!["*~".to_owned(), ".*".to_owned(), "#*#".to_owned()]);
        for end in parts.iter().skip(1).filter(|p| !p.is_empty()) {
            match end.strip_prefix('*') {
                Some(_) => only.push(end.clone()),
                None => never.push(format!("*{end}")),
            }
        }
        for file in files {
            let leaf = file.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            let fits = |patterns: &[String]| patterns.iter().any(|p| crate::exchange::source::fits(p, &leaf));
            if folder && (fits(&never) || !only.is_empty() && !fits(&only)) {
                continue;
            }
            if !self.sources.enter(&file) {
                self.ledger.lost(line.id, ITSELF);
                continue;
            }
            let read = self.sources.open(&file).map(|source| self.load(&source, key, depth + 1, out));
            self.sources.leave();
            if let Err(error) = read {
                return self.ledger.lost(line.id, error.to_string());
            }
        }
        self.ledger.implied(line.id, "its lines are listed by themselves");
    }
}

/// A line as it is shown: without what it sets a secret of iPXE's to.
fn shown(text: &str) -> String {
    let parts: Vec<&str> = text.split(',').collect();
    let number = parts.iter().position(|p| p.trim().ends_with("encap:175")).and_then(|at| {
        let code = parts.get(at + 1)?.trim().parse().ok()?;
        is_ipxe_secret(code).then_some(at + 1)
    });
    match number {
        Some(at) => parts.get(..=at).unwrap_or_default().join(",") + ",…",
        None => text.to_owned(),
    }
}

/// A `#` at the beginning or behind a space begins a comment, except in quotes.
fn uncommented(line: &str) -> &str {
    let mut quoted = false;
    let mut before = ' ';
    for (at, c) in line.char_indices() {
        if c == '"' {
            quoted = !quoted;
        } else if c == '#' && !quoted && before.is_whitespace() {
            return line.get(..at).unwrap_or_default();
        }
        before = c;
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_quotes_are_dnsmasq_s() {
        assert_eq!(uncommented("a=b # c"), "a=b ");
        assert_eq!(uncommented("a=b#c"), "a=b#c");
        assert_eq!(uncommented("a=\"b # c\" #d"), "a=\"b # c\" ");
        let id = Ledger::default().add(&Path::new("x").into(), 1, 1, "");
        let line = Line { key: String::new(), value: "tag:x, \"a, b\",,c".into(), id };
        assert_eq!(line.parts(), ["tag:x", "a, b", "", "c"]);
    }
}
