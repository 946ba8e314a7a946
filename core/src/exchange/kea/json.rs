//! JSON with Kea's extensions, each value with its line. What follows an error is not read; where it stands is told.

use crate::exchange::ledger::Id;
use crate::exchange::source::DEEPEST;

/// A value.
#[derive(Debug, Clone)]
pub(super) enum Json {
    /// `null`, `true`, a number: as it is written.
    Word(String),
    Text(String),
    List(Vec<Json>),
    Map(Vec<Entry>),
}

/// `"key": value`.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) line: u32,
    /// The last line of a value without keys in it, else the key's own.
    pub(super) last_line: u32,
    pub(super) value: Json,
    /// The file is told by the number of the include.
    pub(super) file: usize,
    /// Its number in the ledger, once it is there.
    pub(super) id: Option<Id>,
}

impl Json {
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn number(&self) -> Option<u64> {
        match self {
            Self::Word(word) => word.parse().ok(),
            _ => None,
        }
    }

    pub(super) fn is_true(&self) -> bool {
        matches!(self, Self::Word(word) if word == "true")
    }

    pub(super) fn list(&self) -> &[Self] {
        match self {
            Self::List(list) => list,
            _ => &[],
        }
    }

    pub(super) fn map(&self) -> &[Entry] {
        match self {
            Self::Map(map) => map,
            _ => &[],
        }
    }

    /// Whether keys stand in it.
    pub(super) fn has_keys(&self) -> bool {
        match self {
            Self::Map(_) => true,
            Self::List(list) => list.iter().any(Self::has_keys),
            _ => false,
        }
    }

    /// As it is shown.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Word(word) => word.clone(),
            Self::Text(text) => format!("\"{text}\""),
            Self::List(list) if self.has_keys() && !list.is_empty() => "[ {".to_owned(),
            Self::List(list) => format!("[ {} ]", list.iter().map(Self::shown).collect::<Vec<_>>().join(", ")),
            Self::Map(_) => "{".to_owned(),
        }
    }
}

/// Where reading ended before the text did.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) file: usize,
    pub(super) line: u32,
    pub(super) why: String,
}

/// Looks up what `<?include "x"?>` names: its text and its file's number.
pub(super) type Include<'a> = dyn FnMut(&str, usize, u32) -> Option<(String, usize)> + 'a;

/// Reads a text. What was read before trouble is there, too.
pub(super) fn parse(text: &str, file: usize, include: &mut Include<'_>) -> (Option<Json>, Option<Trouble>) {
    let first = Level { text: text.to_owned(), at: 0, line: 1, file };
    let mut parser = Parser { levels: Vec::new(), top: first, include, trouble: None, depth: 0, gap: false };
    let value = parser.value();
    parser.space();
    if parser.trouble.is_none() && parser.peek().is_some() {
        parser.stop("something follows the end");
    }
    (value, parser.trouble)
}

/// A file and how far it is read.
struct Level {
    text: String,
    at: usize,
    line: u32,
    file: usize,
}

/// An include is replaced by what is in its file, wherever it stands between two words: a whole value, some keys of a map, or the
/// beginning of something that ends elsewhere (Kea Administrator Reference Manual, "JSON syntax"; Kea's lexer switches to the file).
struct Parser<'i> {
    /// The files around [`Parser::top`], the outermost first.
    levels: Vec<Level>,
    top: Level,
    include: &'i mut Include<'i>,
    trouble: Option<Trouble>,
    depth: usize,
    /// Here stood an include of which nothing came: what is missing is told there.
    gap: bool,
}

impl Parser<'_> {
    fn rest(&self) -> &str {
        self.top.text.get(self.top.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn skip(&mut self, bytes: usize) {
        let top = &mut self.top;
        let end = (top.at + bytes).min(top.text.len());
        let lines = top.text.get(top.at..end).unwrap_or_default().matches('\n').count();
        top.line = top.line.saturating_add(u32::try_from(lines).unwrap_or(u32::MAX));
        top.at = end;
    }

    /// Past a word, a sign or a string: what is missing stands no longer here.
    fn take(&mut self, bytes: usize) {
        self.gap = false;
        self.skip(bytes);
    }

    fn stop(&mut self, why: &str) {
        if self.trouble.is_none() {
            self.trouble = Some(Trouble { file: self.top.file, line: self.top.line, why: why.to_owned() });
        }
    }

    /// To the next word, into included files and out of them again.
    fn space(&mut self) {
        loop {
            let rest = self.rest();
            let blank = rest.len() - rest.trim_start().len();
            let comment = if rest.starts_with('#') || rest.starts_with("//") {
                rest.find('\n').unwrap_or(rest.len())
            } else if rest.starts_with("/*") {
                rest.find("*/").map_or(rest.len(), |n| n + 2)
            } else {
                0
            };
            match blank + comment {
                0 => {}
                _ if blank > 0 => {
                    self.skip(blank);
                    continue;
                }
                _ => {
                    self.skip(comment);
                    continue;
                }
            }
            if !self.enter() && !self.leave() {
                return;
            }
        }
    }

    /// Into the file of an include that stands here; past it where there is none.
    fn enter(&mut self) -> bool {
        let line = self.top.line;
        let Some(name) = self.included() else { return false };
        let file = self.top.file;
        // A file that includes itself is not given; this bounds a long chain of others.
        let found = (self.levels.len() < DEEPEST).then(|| (self.include)(&name, file, line)).flatten();
        match found {
            Some((text, file)) => {
                let around = std::mem::replace(&mut self.top, Level { text, at: 0, line: 1, file });
                self.levels.push(around);
            }
            None => self.gap = true,
        }
        true
    }

    /// Back to the file around one that is at its end.
    fn leave(&mut self) -> bool {
        if self.top.at < self.top.text.len() {
            return false;
        }
        let Some(around) = self.levels.pop() else { return false };
        self.top = around;
        true
    }

    fn eat(&mut self, c: char) -> bool {
        self.space();
        let found = self.peek() == Some(c);
        if found {
            self.take(1);
        }
        found
    }

    /// The name in `<?include "x"?>`.
    fn included(&mut self) -> Option<String> {
        let rest = self.rest().strip_prefix("<?")?;
        let inner = rest.split_once("?>").map(|(inner, _)| inner.to_owned())?;
        let name = inner.trim().strip_prefix("include")?.trim().trim_matches('"').to_owned();
        self.skip(inner.len() + 4);
        Some(name)
    }

    fn value(&mut self) -> Option<Json> {
        if self.depth >= DEEPEST {
            self.stop("too deep");
            return None;
        }
        self.space();
        self.depth += 1;
        let value = match self.peek() {
            Some('{') => self.map(),
            Some('[') => self.list(),
            Some('"') => self.string().map(Json::Text),
            Some(c) if c.is_ascii_alphanumeric() || c == '-' => {
                let word: String =
                    self.rest().chars().take_while(|c| c.is_ascii_alphanumeric() || "-+.".contains(*c)).collect();
                self.take(word.len());
                Some(Json::Word(word))
            }
            _ if self.gap => None,
            _ => {
                self.stop("expected a value");
                None
            }
        };
        self.depth -= 1;
        value
    }

    fn list(&mut self) -> Option<Json> {
        self.take(1);
        let mut out = Vec::new();
        while !self.eat(']') {
            match self.value() {
                Some(value) => out.push(value),
                None if self.trouble.is_some() => return Some(Json::List(out)),
                None => {}
            }
            if !self.eat(',') && self.peek() != Some(']') {
                self.stop("expected `,` or `]`");
                return Some(Json::List(out));
            }
        }
        Some(Json::List(out))
    }

    fn map(&mut self) -> Option<Json> {
        self.take(1);
        let mut out = Vec::new();
        while !self.eat('}') {
            if self.gap && self.peek() == Some(',') {
                self.take(1);
                continue;
            }
            let (line, file) = (self.top.line, self.top.file);
            let Some(key) = (self.peek() == Some('"')).then(|| self.string()).flatten() else {
                self.stop("expected a key");
                return Some(Json::Map(out));
            };
            if !self.eat(':') {
                self.stop("expected `:`");
                return Some(Json::Map(out));
            }
            if let Some(value) = self.value() {
                let own = value.has_keys() || self.top.file != file;
                let last_line = if own { line } else { self.top.line };
                out.push(Entry { key, line, last_line, value, file, id: None });
            }
            if self.trouble.is_some() {
                return Some(Json::Map(out));
            }
            if !self.eat(',') && self.peek() != Some('}') {
                self.stop("expected `,` or `}`");
                return Some(Json::Map(out));
            }
        }
        Some(Json::Map(out))
    }

    fn string(&mut self) -> Option<String> {
        let mut out = String::new();
        let rest = self.rest();
        let mut chars = rest.char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.take(at + 1);
                    return Some(out);
                }
                '\\' => match chars.next()?.1 {
                    'n' => out.push('\n'),
                    't' => out.push('\t'),
                    'r' => out.push('\r'),
                    'u' => {
                        let code: String = chars.by_ref().take(4).map(|(_, c)| c).collect();
                        out.push(u32::from_str_radix(&code, 16).ok().and_then(char::from_u32).unwrap_or('\u{fffd}'));
                    }
                    other => out.push(other),
                },
                other => out.push(other),
            }
        }
        self.stop("a string does not end");
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kea_s_extensions_are_read_and_trouble_has_a_line() {
        let text = "# a\n{ // b\n \"x\": [1, \"y\\n\",], /* c\n */ \"z\": { \"a\": true, },\n <?include \"more\"?>,\n}";
        let mut asked = Vec::new();
        let (json, trouble) = parse(text, 0, &mut |name, _, line| {
            asked.push((name.to_owned(), line));
            Some(("\"q\": 1".into(), 1))
        });
        assert_eq!(trouble, None);
        assert_eq!(asked, [("more".to_owned(), 5)]);
        let json = json.unwrap();
        let keys: Vec<_> = json.map().iter().map(|e| (e.key.as_str(), e.line, e.file)).collect();
        assert_eq!(keys, [("x", 3, 0), ("z", 4, 0), ("q", 1, 1)]);

        let (json, trouble) = parse("{ \"a\": 1,\n \"b\" 2 }", 0, &mut |_, _, _| None);
        assert_eq!(json.unwrap().map().len(), 1);
        assert_eq!(trouble.unwrap().line, 2);
        assert!(parse(&"[".repeat(100_000), 0, &mut |_, _, _| None).1.unwrap().why.contains("deep"));
    }
    /// What is left of a text with these files; `!` where something is missing or wrong.
    fn read(text: &str, files: &[(&str, &str)]) -> String {
        let (json, trouble) = parse(text, 0, &mut |name, _, _| {
            let at = files.iter().position(|(known, _)| *known == name)?;
            Some((files[at].1.to_owned(), at + 1))
        });
        fn shown(json: &Json) -> String {
            match json {
                Json::Map(map) => {
                    let each = map.iter().map(|e| format!("{}={}", e.key, shown(&e.value)));
                    format!("{{{}}}", each.collect::<Vec<_>>().join(" "))
                }
                Json::List(list) => format!("[{}]", list.iter().map(shown).collect::<Vec<_>>().join(" ")),
                other => other.shown(),
            }
        }
        let trouble = trouble.map(|t| format!(" ! {} {}: {}", t.file, t.line, t.why)).unwrap_or_default();
        json.as_ref().map(shown).unwrap_or_default() + &trouble
    }

    #[test]
    fn an_include_is_replaced_by_its_text_wherever_it_stands() {
        let files = [
            ("value", "{ \"b\": 1 }\n"),
            ("keys", "\"x\": 1,\n\"y\": [ <?include \"items\"?> ]"),
            ("items", "2, 3, // three\n{ \"z\": 4 }"),
            ("begins", "\"open\": { \"deep\": ["),
            ("ends", "5 ] }"),
            ("empty", "  # nothing\n"),
            ("bad", "\"a\": 1\n\"b\": 2"),
        ];
        let read = |text| read(text, &files);
        assert_eq!(read("{ \"a\": <?include \"value\"?>, \"c\": 2 }"), "{a={b=1} c=2}");
        assert_eq!(read("{ \"a\": 0, <?include \"keys\"?> , \"c\": 2 }"), "{a=0 x=1 y=[2 3 {z=4}] c=2}");
        assert_eq!(
            read("{ <?include \"begins\"?> <?include \"items\"?>, <?include \"ends\"?> }"),
            "{open={deep=[2 3 {z=4} 5]}}"
        );
        assert_eq!(read("<?include \"value\"?>"), "{b=1}");
        assert_eq!(read("[ 1 <?include \"empty\"?> ]"), "[1]");
        assert_eq!(read("{ <?include \"bad\"?> }"), "{a=1} ! 7 2: expected `,` or `}`");
        // One that is missing takes nothing else with it.
        assert_eq!(
            read("{ \"a\": <?include \"none\"?>, \"c\": [ <?include \"none\"?>, 1 ], <?include \"none\"?>, \"d\": 2 }"),
            "{c=[1] d=2}"
        );
        assert_eq!(read("{ <?include \"none\"?> }"), "{}");
        // Within a string it is text.
        assert_eq!(read("[ \"<?include\" ]"), "[\"<?include\"]");
    }
}
