//! Words of dhcpd.conf with their lines. Never fails: what cannot be a word is one of a single character.

/// A word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) what: What,
    pub(super) line: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    /// Name, number, address: whatever stands together.
    Word(String),
    /// `"…"`, without its quotes and escapes.
    Text(String),
    /// `{ } ; , = ( )` and the operators `!=`, `~=`, `~~`.
    Mark(&'static str),
}

impl Token {
    pub(super) fn is(&self, mark: &str) -> bool {
        matches!(&self.what, What::Mark(m) if *m == mark)
    }

    /// The text of a word or string.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.what {
            What::Word(text) | What::Text(text) => Some(text),
            What::Mark(_) => None,
        }
    }

    /// A word in lower case, as keywords are compared.
    pub(super) fn word(&self) -> Option<String> {
        match &self.what {
            What::Word(text) => Some(text.to_ascii_lowercase()),
            _ => None,
        }
    }

    /// As it is shown to a person.
    pub(super) fn shown(&self) -> String {
        match &self.what {
            What::Word(text) => text.clone(),
            What::Text(text) => format!("\"{text}\""),
            What::Mark(mark) => (*mark).to_owned(),
        }
    }
}

const MARKS: [(&str, &str); 10] = [
    ("!=", "!="),
    ("~=", "~="),
    ("~~", "~~"),
    ("{", "{"),
    ("}", "}"),
    (";", ";"),
    (",", ","),
    ("=", "="),
    ("(", "("),
    (")", ")"),
];

pub(super) fn tokens(text: &str) -> Vec<Token> {
    let mut out = Vec::new();
    let mut line = 1_u32;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if c == '\n' {
            line = line.saturating_add(1);
            rest = rest.get(1..).unwrap_or_default();
        } else if c.is_whitespace() {
            rest = rest.get(c.len_utf8()..).unwrap_or_default();
        } else if c == '#' {
            rest = rest.find('\n').and_then(|n| rest.get(n..)).unwrap_or_default();
        } else if c == '"' {
            let (value, after) = string(rest.get(1..).unwrap_or_default());
            let lines = rest.get(..rest.len() - after.len()).unwrap_or_default().matches('\n').count();
            out.push(Token { what: What::Text(value), line });
            line = line.saturating_add(u32::try_from(lines).unwrap_or(u32::MAX));
            rest = after;
        } else if let Some((mark, word)) = MARKS.iter().find(|(m, _)| rest.starts_with(m)) {
            out.push(Token { what: What::Mark(word), line });
            rest = rest.get(mark.len()..).unwrap_or_default();
        } else {
            let end = word_end(rest);
            let end = end.max(c.len_utf8());
            let (word, after) = rest.split_at(end);
            out.push(Token { what: What::Word(word.to_owned()), line });
            rest = after;
        }
    }
    out
}

fn word_end(text: &str) -> usize {
    let stop = |(at, c): (usize, char)| {
        let operator = text.get(at..).is_some_and(|r| ["!=", "~=", "~~"].iter().any(|o| r.starts_with(o)));
        (c.is_whitespace() || "#\"{};,=()".contains(c) || operator).then_some(at)
    };
    text.char_indices().find_map(stop).unwrap_or(text.len())
}

/// A string's value, and what follows its closing quote.
fn string(text: &str) -> (String, &str) {
    let mut out = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (out, text.get(at + 1..).unwrap_or_default()),
            '\\' => match chars.next() {
                Some((_, 't')) => out.push('\t'),
                Some((_, 'n')) => out.push('\n'),
                Some((_, 'r')) => out.push('\r'),
                Some((at, 'x')) => {
                    let digits: String = text.get(at + 1..).unwrap_or_default().chars().take(2).collect();
                    match u8::from_str_radix(&digits, 16) {
                        Ok(byte) => {
                            out.push(char::from(byte));
                            chars.nth(1);
                        }
                        Err(_) => out.push('x'),
                    }
                }
                Some((_, other)) => out.push(other),
                None => break,
            },
            other => out.push(other),
        }
    }
    (out, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_strings_and_marks_are_told_apart() {
        let found = tokens("if not exists gpxe.bus-id { # c {\n filename \"a\\\"b;\\x41\"; }\nx=00:07!=(\"y\"");
        let shown: Vec<_> = found.iter().map(|t| format!("{}:{}", t.line, t.shown())).collect();
        let expected = [
            "1:if",
            "1:not",
            "1:exists",
            "1:gpxe.bus-id",
            "1:{",
            "2:filename",
            "2:\"a\"b;A\"",
            "2:;",
            "2:}",
            "3:x",
            "3:=",
            "3:00:07",
            "3:!=",
            "3:(",
            "3:\"y\"",
        ];
        assert_eq!(shown, expected);
        assert_eq!(tokens("\"open").len(), 1);
    }
}
