//! Statements and blocks of dhcpd.conf. Whatever the text, every word of it ends up in a statement.

use super::lexer::{Token, tokens};
use crate::exchange::ledger::{Id, names_secret};
use crate::exchange::source::DEEPEST;

/// `words ;` or `words { block }`.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) tokens: Vec<Token>,
    pub(super) block: Option<Vec<Node>>,
    /// What is wrong with its form.
    pub(super) broken: Option<&'static str>,
    /// The line on which it begins.
    pub(super) line: u32,
    /// The line on which its own words end.
    pub(super) last_line: u32,
    /// Its number in the ledger, once it is there.
    pub(super) id: Option<Id>,
}

impl Node {
    /// Its first word in lower case.
    pub(super) fn keyword(&self) -> String {
        self.tokens.first().and_then(Token::word).unwrap_or_default()
    }

    /// The text of a word or string at a place.
    pub(super) fn text(&self, n: usize) -> Option<&str> {
        self.tokens.get(n).and_then(Token::text)
    }

    /// The word at a place in lower case.
    pub(super) fn word(&self, n: usize) -> Option<String> {
        self.tokens.get(n).and_then(Token::word)
    }

    /// As it is shown; the word behind `secret` is not, nor what an option with a secret's name is set to.
    pub(super) fn shown(&self) -> String {
        let mut out = String::new();
        let mut hidden = false;
        let secret = self.keyword() == "option"
            && self.word(1).is_some_and(|name| names_secret(&name) || name.ends_with(".privkey"))
            && self.word(2).as_deref() != Some("code");
        for (n, token) in self.tokens.iter().enumerate() {
            if secret && n == 2 {
                out.push_str(" …");
                break;
            }
            let text = if std::mem::replace(&mut hidden, false) { "…".to_owned() } else { token.shown() };
            hidden = token.word().is_some_and(|w| w == "secret");
            let tight = matches!(text.as_str(), "," | ")") || out.ends_with('(') || out.is_empty();
            let call = text == "(" && out.ends_with(|c: char| c.is_alphanumeric());
            if !(tight || call) {
                out.push(' ');
            }
            out.push_str(&text);
        }
        out.push_str(if self.block.is_some() { " {" } else { ";" });
        out
    }
}

pub(super) fn parse(text: &str) -> Vec<Node> {
    let tokens = tokens(text);
    let mut parser = Parser { tokens: &tokens, at: 0 };
    let mut nodes = Vec::new();
    while parser.at < tokens.len() {
        nodes.extend(parser.block(0));
        if let Some(token) = parser.take() {
            // A closing brace that nothing opened.
            let (line, last_line) = (token.line, token.line);
            let broken = Some("a `}` that closes nothing");
            nodes.push(Node { tokens: vec![token], block: None, broken, line, last_line, id: None });
        }
    }
    nodes
}

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
}

impl Parser<'_> {
    fn take(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        token
    }

    /// Statements up to a `}` or the end.
    fn block(&mut self, depth: usize) -> Vec<Node> {
        let mut out = Vec::new();
        while self.tokens.get(self.at).is_some_and(|t| !t.is("}")) {
            out.extend(self.statement(depth));
        }
        out
    }

    fn statement(&mut self, depth: usize) -> Option<Node> {
        let mut tokens: Vec<Token> = Vec::new();
        let mut braces = 0_usize;
        let end = loop {
            let Some(token) = self.tokens.get(self.at) else { break Some("it does not end; expected `;`") };
            if braces > 0 || token.is("{") && is_record(&tokens) {
                // `option x code 1 = { integer 8, text };`
                braces = if token.is("{") { braces + 1 } else { braces - usize::from(token.is("}")) };
                tokens.push(token.clone());
                self.at += 1;
            } else if token.is(";") {
                self.at += 1;
                break None;
            } else if token.is("{") {
                self.at += 1;
                return Some(self.with_block(tokens, depth));
            } else if token.is("}") {
                break Some("it does not end; expected `;` before `}`");
            } else {
                tokens.push(token.clone());
                self.at += 1;
            }
        };
        // A lone `;`, as after `key x { };`.
        let (first, last) = (tokens.first()?.line, tokens.last()?.line);
        Some(Node { tokens, block: None, broken: end, line: first, last_line: last, id: None })
    }

    /// Behind the `{`.
    fn with_block(&mut self, tokens: Vec<Token>, depth: usize) -> Node {
        let brace = self.at.checked_sub(1).and_then(|n| self.tokens.get(n)).map_or(0, |t| t.line);
        let line = tokens.first().map_or(brace, |t| t.line);
        let mut node = Node { tokens, block: None, broken: None, line, last_line: brace, id: None };
        if depth >= DEEPEST {
            node.broken = Some("it stands too deep in other blocks");
            // Its words count as the statement's own, so that none gets lost.
            let mut open = 1_usize;
            while let Some(token) = (open > 0).then(|| self.take()).flatten() {
                open = if token.is("{") { open + 1 } else { open - usize::from(token.is("}")) };
                node.last_line = token.line;
                node.tokens.push(token);
            }
            return node;
        }
        node.block = Some(self.block(depth + 1));
        match self.take() {
            Some(_) => {}
            None => node.broken = Some("its block does not end; expected `}`"),
        }
        node
    }
}

/// Whether a `{` opens a record type and no block.
fn is_record(tokens: &[Token]) -> bool {
    let option = tokens.first().and_then(Token::word).is_some_and(|w| w == "option");
    let code = tokens.iter().any(|t| t.word().is_some_and(|w| w == "code"));
    option && code && tokens.iter().any(|t| t.is("="))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outline(nodes: &[Node]) -> String {
        let one = |n: &Node| {
            let mark = n.broken.map_or("", |_| "!");
            match &n.block {
                Some(block) => format!("{mark}{}[{}]", n.keyword(), outline(block)),
                None => format!("{mark}{}", n.keyword()),
            }
        };
        nodes.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn statements_blocks_and_what_is_broken_are_found() {
        for (text, expected) in [
            ("a b; c { d; e { } } f;", "a c[d e[]] f"),
            ("option x code 1 = { integer 8, text }; y;", "option y"),
            ("key k { secret \"x\"; };", "key[secret]"),
            ("a { b", "!a[!b]"),
            ("a b } c;", "!a ! c"),
            (";;a;", "a"),
            ("if x { a; } elsif y { b; } else { c; }", "if[a] elsif[b] else[c]"),
        ] {
            assert_eq!(outline(&parse(text)).replace("!}", "!"), expected, "{text}");
        }
        assert_eq!(parse("key k {\n secret \"x\";\n}")[0].block.as_ref().unwrap()[0].shown(), "secret …;");
        let deep = "a { ".repeat(10_000);
        assert_eq!(parse(&deep).len(), 1);
    }
}
