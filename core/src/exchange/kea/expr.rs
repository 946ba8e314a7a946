//! The `test` of a client class ("Using Expressions in Classification").

use std::collections::HashMap;

use crate::exchange::client::When;
use crate::exchange::condition::Expr;
use crate::exchange::source::DEEPEST;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Name(String),
    Text(String),
    Mark(&'static str),
}

/// Longest test, in words.
const LONGEST: usize = 1024;

/// For whom a test is true; `classes` are those before it.
pub(super) fn when(text: &str, classes: &HashMap<String, When>) -> When {
    let riddle = When::of(|_| None);
    let Some(tokens) = tokens(text).filter(|t| t.len() <= LONGEST) else { return riddle };
    let mut reader = Reader { tokens: &tokens, at: 0, classes, depth: 0 };
    let when = reader.or();
    if reader.at < tokens.len() { riddle } else { when }
}

fn tokens(text: &str) -> Option<Vec<Token>> {
    const MARKS: [&str; 10] = ["==", "!=", "(", ")", "[", "]", ",", ".", "+", "*"];
    let mut out = Vec::new();
    let mut rest = text.trim_start();
    while let Some(c) = rest.chars().next() {
        if c == '\'' {
            let (inner, after) = rest.get(1..)?.split_once('\'')?;
            out.push(Token::Text(inner.to_owned()));
            rest = after;
        } else if let Some(mark) = MARKS.iter().find(|m| rest.starts_with(**m)) {
            out.push(Token::Mark(mark));
            rest = rest.get(mark.len()..)?;
        } else {
            let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "-_:".contains(c))).unwrap_or(rest.len());
            let (name, after) = rest.split_at(end.max(c.len_utf8()));
            out.push(Token::Name(name.to_owned()));
            rest = after;
        }
        rest = rest.trim_start();
    }
    Some(out)
}

struct Reader<'a> {
    tokens: &'a [Token],
    at: usize,
    classes: &'a HashMap<String, When>,
    depth: usize,
}

impl Reader<'_> {
    fn eat(&mut self, mark: &str) -> bool {
        let found = matches!(self.tokens.get(self.at), Some(Token::Mark(m)) if *m == mark);
        self.at += usize::from(found);
        found
    }

    fn eat_name(&mut self, name: &str) -> bool {
        let found = matches!(self.tokens.get(self.at), Some(Token::Name(n)) if n == name);
        self.at += usize::from(found);
        found
    }

    fn or(&mut self) -> When {
        let mut left = self.and();
        while self.eat_name("or") {
            left = left.or(self.and());
        }
        left
    }

    fn and(&mut self) -> When {
        let mut left = self.not();
        while self.eat_name("and") {
            left = left.and(self.not());
        }
        left
    }

    fn not(&mut self) -> When {
        self.depth += 1;
        if self.depth > DEEPEST * 4 {
            self.at = self.tokens.len();
            return When::of(|_| None);
        }
        let when = if self.eat_name("not") {
            self.not().not()
        } else if self.eat("(") {
            let inner = self.or();
            if self.eat(")") { inner } else { When::of(|_| None) }
        } else {
            self.comparison()
        };
        self.depth -= 1;
        when
    }

    fn comparison(&mut self) -> When {
        if self.eat_name("member") {
            let name = match self.tokens.get(self.at + 1) {
                Some(Token::Text(name)) => name.clone(),
                _ => String::new(),
            };
            self.at += 3;
            return match name.as_str() {
                "ALL" => When::ALWAYS,
                name => self.classes.get(name).copied().unwrap_or_else(|| When::of(|_| None)),
            };
        }
        let (left, exists) = self.data();
        if exists {
            return Expr::Exists(Box::new(left)).when();
        }
        let not = self.eat("!=");
        if !not && !self.eat("==") {
            return left.when();
        }
        let (right, _) = self.data();
        let equal = Expr::Equal(Box::new(left), Box::new(right)).when();
        if not { equal.not() } else { equal }
    }

    /// A value, and whether it ends in `.exists`.
    fn data(&mut self) -> (Expr, bool) {
        self.depth += 1;
        let out = if self.depth > DEEPEST * 4 {
            self.at = self.tokens.len();
            (Expr::Riddle, false)
        } else {
            self.datum()
        };
        self.depth -= 1;
        out
    }

    fn datum(&mut self) -> (Expr, bool) {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        match token {
            Some(Token::Text(text)) => (Expr::Bytes(text.into_bytes()), false),
            Some(Token::Name(name)) if name == "option" => self.option(),
            Some(Token::Name(name)) if matches!(self.tokens.get(self.at), Some(Token::Mark("("))) => {
                (self.function(&name), false)
            }
            Some(Token::Name(name)) => {
                // `pkt4.mac`, `relay4[82].hex`: of the packet, not of the kind of client.
                let mut plain = true;
                while self.eat(".") || self.eat("[") || self.eat("]") {
                    plain = false;
                    if matches!(self.tokens.get(self.at), Some(Token::Name(_))) {
                        self.at += 1;
                    }
                }
                (if plain { literal(&name) } else { Expr::Riddle }, false)
            }
            _ => (Expr::Riddle, false),
        }
    }

    fn option(&mut self) -> (Expr, bool) {
        let Some(code) = self.index() else { return (Expr::Riddle, false) };
        let mut of = Expr::Option(code);
        while self.eat(".") {
            match self.tokens.get(self.at) {
                Some(Token::Name(name)) if name == "option" => {
                    self.at += 1;
                    of = self.index().map_or(Expr::Riddle, |part| Expr::Part(code, part));
                }
                Some(Token::Name(name)) if name == "exists" => {
                    self.at += 1;
                    return (of, true);
                }
                Some(Token::Name(name)) if name == "hex" || name == "text" => self.at += 1,
                _ => return (Expr::Riddle, false),
            }
        }
        (of, false)
    }

    fn index(&mut self) -> Option<u16> {
        if !self.eat("[") {
            return None;
        }
        let code = match self.tokens.get(self.at) {
            Some(Token::Name(name)) => code(name),
            _ => None,
        };
        self.at += 1;
        code.filter(|_| self.eat("]"))
    }

    fn function(&mut self, name: &str) -> Expr {
        self.eat("(");
        let mut args = Vec::new();
        while !self.eat(")") && self.at < self.tokens.len() {
            args.push(self.data().0);
            if !self.eat(",") && !matches!(self.tokens.get(self.at), Some(Token::Mark(")"))) {
                self.at += 1;
                args.push(Expr::Riddle);
            }
        }
        let number = |e: Option<&Expr>| match e {
            Some(Expr::Number(n)) => usize::try_from(*n).ok(),
            _ => None,
        };
        let all = matches!(args.get(2), Some(Expr::Bytes(word)) if word == b"all");
        match (name, number(args.get(1)), number(args.get(2))) {
            ("substring", Some(offset), length) if length.is_some() || all => {
                Expr::Substring(Box::new(args.swap_remove(0)), offset, length)
            }
            ("lcase", ..) if args.len() == 1 => Expr::Case(Box::new(args.swap_remove(0)), false),
            ("ucase", ..) if args.len() == 1 => Expr::Case(Box::new(args.swap_remove(0)), true),
            ("concat", ..) => Expr::Concat(args),
            _ => Expr::Riddle,
        }
    }
}

/// An option by number or Kea's name.
pub(super) fn code(name: &str) -> Option<u16> {
    Some(match name {
        "subnet-mask" => 1,
        "routers" => 3,
        "domain-name-servers" => 6,
        "host-name" => 12,
        "domain-name" => 15,
        "root-path" => 17,
        "broadcast-address" => 28,
        "vendor-encapsulated-options" => 43,
        "vendor-class-identifier" => 60,
        "dhcp-client-identifier" => 61,
        "tftp-server-name" => 66,
        "boot-file-name" => 67,
        "user-class" => 77,
        "client-system" => 93,
        "client-ndi" => 94,
        "uuid-guid" => 97,
        "iscsi-initiator-iqn" => 203,
        other => other.parse().ok()?,
    })
}

fn literal(word: &str) -> Expr {
    match word {
        "true" => return Expr::Fixed(true),
        "false" => return Expr::Fixed(false),
        "all" => return Expr::Bytes(b"all".to_vec()),
        _ => {}
    }
    if let Some(hex) = word.strip_prefix("0x") {
        let even = if hex.len() % 2 == 1 { format!("0{hex}") } else { hex.to_owned() };
        let bytes: Option<Vec<u8>> = (0..even.len() / 2)
            .map(|n| even.get(n * 2..n * 2 + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok()))
            .collect();
        return bytes.map_or(Expr::Riddle, Expr::Bytes);
    }
    word.parse().map_or(Expr::Riddle, Expr::Number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ClientKind;
    use crate::exchange::client::CLIENTS;

    #[test]
    fn the_phrases_of_real_files_are_understood() {
        let count = |test: fn(ClientKind) -> bool| Some(CLIENTS.iter().filter(|c| test(c.kind)).count());
        let mut classes = HashMap::new();
        classes.insert("iPXE".to_owned(), When::of(|c| Some(c.kind == ClientKind::Ipxe)));
        for (text, expected) in [
            ("option[77].hex == 'iPXE'", count(|k| k == ClientKind::Ipxe)),
            ("option[77].text == 'iPXE'", count(|k| k == ClientKind::Ipxe)),
            ("option[175].exists", count(|k| matches!(k, ClientKind::Ipxe | ClientKind::Gpxe))),
            ("option[175].option[177].exists", count(|k| matches!(k, ClientKind::Ipxe | ClientKind::Gpxe))),
            ("substring(option[60].hex,0,9) == 'PXEClient' and not member('iPXE')", Some(7)),
            ("option[93].hex == 0x0007", Some(2)),
            ("(option[client-system].hex == 0x0007) or (option[93].hex == 0x0009)", Some(4)),
            ("substring(option[60].hex,0,20) == 'PXEClient:Arch:00007'", Some(2)),
            ("substring(option[60].hex,15,all) == '00007:UNDI:003001'", Some(2)),
            ("pkt4.mac == 0x001122334455", None),
            ("relay4[1].hex == 'x'", None),
            ("member('other')", None),
            ("option[", None),
        ] {
            let when = when(text, &classes);
            assert_eq!(when.is_known().then(|| when.iter().count()), expected, "{text}");
        }
        assert!(!when(&"(".repeat(1000), &classes).is_known());
    }
}
