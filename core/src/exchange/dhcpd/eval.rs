//! Conditions of dhcpd.conf (dhcp-eval(5)), and the names of options (dhcp-options(5)).

use std::collections::HashMap;

use super::lexer::{Token, What};
use super::parser::Node;
use crate::exchange::condition::Expr;
use crate::exchange::source::DEEPEST;

/// Options by name: the standard ones that a condition or a boot needs, and those that the file declares.
#[derive(Debug, Clone, Default)]
pub(super) struct Options {
    /// `option NAME code N`, `option SPACE.NAME code N`.
    codes: HashMap<String, u16>,
    /// `option x code 175 = encapsulate SPACE`.
    spaces: HashMap<String, u16>,
}

const STANDARD: [(&str, u16); 22] = [
    ("subnet-mask", 1),
    ("routers", 3),
    ("domain-name-servers", 6),
    ("host-name", 12),
    ("domain-name", 15),
    ("root-path", 17),
    ("broadcast-address", 28),
    ("vendor-encapsulated-options", 43),
    ("dhcp-lease-time", 51),
    ("dhcp-server-identifier", 54),
    ("dhcp-parameter-request-list", 55),
    ("vendor-class-identifier", 60),
    ("dhcp-client-identifier", 61),
    ("tftp-server-name", 66),
    ("bootfile-name", 67),
    ("user-class", 77),
    ("client-last-transaction-time", 91),
    ("pxe-system-type", 93),
    ("pxe-interface-id", 94),
    ("pxe-client-id", 97),
    ("vivso", 125),
    ("iscsi-initiator-iqn", 203),
];

impl Options {
    /// Takes the declarations out of all statements, wherever they stand: dhcpd wants them before their use.
    pub(super) fn collect(&mut self, nodes: &[Node]) {
        for node in nodes {
            self.declare(node);
            self.collect(node.block.as_deref().unwrap_or_default());
        }
    }

    fn declare(&mut self, node: &Node) {
        let Some(name) = declared(node) else { return };
        let Some(code) = node.text(3).and_then(|t| t.parse::<u16>().ok()) else { return };
        if node.word(5).as_deref() == Some("encapsulate")
            && let Some(space) = node.word(6)
        {
            self.spaces.insert(space, code);
        }
        self.codes.insert(name, code);
    }

    /// The number of an option by its name.
    pub(super) fn code(&self, name: &str) -> Option<u16> {
        let name = name.to_ascii_lowercase();
        let own = self.codes.get(&name).copied();
        let unknown = || name.strip_prefix("option-").or_else(|| name.strip_prefix("unknown-"))?.parse().ok();
        own.or_else(|| STANDARD.iter().find(|(n, _)| *n == name).map(|(_, c)| *c)).or_else(unknown)
    }

    /// The option that carries a space: 175 for gpxe's and ipxe's.
    pub(super) fn carrier(&self, space: &str) -> Option<u16> {
        self.spaces.get(&space.to_ascii_lowercase()).copied()
    }

    /// The number of an option within a space, by the name that the file declares.
    pub(super) fn part(&self, name: &str) -> Option<u16> {
        self.codes.get(&name.to_ascii_lowercase()).copied()
    }

    fn expr(&self, name: &str) -> Expr {
        if let Some((space, part)) = name.split_once('.')
            && let Some(outer) = self.carrier(space)
        {
            let full = format!("{space}.{part}").to_ascii_lowercase();
            return self.codes.get(&full).map_or(Expr::Riddle, |code| Expr::Part(outer, *code));
        }
        match self.code(name) {
            Some(code) if !name.contains('.') => Expr::Option(code),
            _ => Expr::Riddle,
        }
    }
}

/// The name of an option that a statement declares: `option NAME code N = …`.
pub(super) fn declared(node: &Node) -> Option<String> {
    let is = node.keyword() == "option" && node.word(2).as_deref() == Some("code") && node.tokens.get(4)?.is("=");
    is.then(|| node.word(1)).flatten()
}

/// The longest condition, in words.
const LONGEST: usize = 1024;

/// A condition; [`Expr::Riddle`] for what is not understood.
pub(super) fn condition(tokens: &[Token], options: &Options) -> Expr {
    // Chains nest to the left as deep as they are long.
    if tokens.len() > LONGEST {
        return Expr::Riddle;
    }
    let mut reader = Reader { tokens, at: 0, options, depth: 0 };
    let expr = reader.or();
    if reader.at < tokens.len() { Expr::Riddle } else { expr }
}

struct Reader<'a> {
    tokens: &'a [Token],
    at: usize,
    options: &'a Options,
    depth: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn is_word(&self, word: &str) -> bool {
        self.peek().and_then(Token::word).is_some_and(|w| w == word)
    }

    fn eat_word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        self.at += usize::from(found);
        found
    }

    fn eat(&mut self, mark: &str) -> bool {
        let found = self.peek().is_some_and(|t| t.is(mark));
        self.at += usize::from(found);
        found
    }

    fn or(&mut self) -> Expr {
        let mut left = self.and();
        while self.eat_word("or") {
            left = Expr::Or(Box::new(left), Box::new(self.and()));
        }
        left
    }

    fn and(&mut self) -> Expr {
        let mut left = self.not();
        while self.eat_word("and") {
            left = Expr::And(Box::new(left), Box::new(self.not()));
        }
        left
    }

    fn not(&mut self) -> Expr {
        self.depth += 1;
        if self.depth > DEEPEST * 4 {
            self.at = self.tokens.len();
            return Expr::Riddle;
        }
        let expr = if self.eat_word("not") { Expr::Not(Box::new(self.not())) } else { self.comparison() };
        self.depth -= 1;
        expr
    }

    fn comparison(&mut self) -> Expr {
        if self.eat_word("exists") {
            let name = self.name();
            return Expr::Exists(Box::new(self.options.expr(&name)));
        }
        for known in ["known", "static"] {
            if self.eat_word(known) {
                return Expr::Riddle;
            }
        }
        let left = self.data();
        if self.eat("=") {
            return Expr::Equal(Box::new(left), Box::new(self.data()));
        }
        if self.eat("!=") {
            return Expr::Not(Box::new(Expr::Equal(Box::new(left), Box::new(self.data()))));
        }
        if self.eat("~=") || self.eat("~~") {
            self.data();
            return Expr::Riddle;
        }
        left
    }

    /// The name of an option, with or without `option`.
    fn name(&mut self) -> String {
        self.eat_word("option");
        let name = self.peek().and_then(Token::word).unwrap_or_default();
        self.at += 1;
        name
    }

    fn data(&mut self) -> Expr {
        self.depth += 1;
        let expr = if self.depth > DEEPEST * 4 {
            self.at = self.tokens.len();
            Expr::Riddle
        } else {
            self.datum()
        };
        self.depth -= 1;
        expr
    }

    fn datum(&mut self) -> Expr {
        if self.eat("(") {
            let expr = self.or();
            return if self.eat(")") { expr } else { Expr::Riddle };
        }
        let Some(token) = self.peek().cloned() else { return Expr::Riddle };
        if let What::Text(text) = &token.what {
            self.at += 1;
            return Expr::Bytes(latin1(text));
        }
        let Some(word) = token.word() else {
            self.at += 1;
            return Expr::Riddle;
        };
        if word == "option" || word == "config-option" {
            let name = self.name();
            return self.options.expr(&name);
        }
        self.at += 1;
        if self.eat("(") {
            let args = self.arguments();
            return function(&word, args);
        }
        literal(&word)
    }

    fn arguments(&mut self) -> Vec<Expr> {
        let mut args = Vec::new();
        loop {
            if self.eat(")") || self.peek().is_none() {
                return args;
            }
            args.push(self.or());
            // Whatever else stands there is skipped, so that this ends.
            if !self.eat(",") && !self.peek().is_some_and(|t| t.is(")")) {
                self.at += 1;
                args.push(Expr::Riddle);
            }
        }
    }
}

fn latin1(text: &str) -> Vec<u8> {
    if text.is_ascii() { text.as_bytes().to_vec() } else { text.chars().filter_map(|c| u8::try_from(c).ok()).collect() }
}

/// `00:07`, `7`, `0x07`.
fn literal(word: &str) -> Expr {
    let byte = |p: &str| (1..=2).contains(&p.len()).then(|| u8::from_str_radix(p, 16).ok()).flatten();
    match word {
        "true" => return Expr::Fixed(true),
        "false" => return Expr::Fixed(false),
        _ => {}
    }
    if word.contains(':') {
        return word.split(':').map(byte).collect::<Option<Vec<u8>>>().map_or(Expr::Riddle, Expr::Bytes);
    }
    let number = match word.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => word.parse().ok(),
    };
    number.map_or(Expr::Riddle, Expr::Number)
}

fn function(name: &str, mut args: Vec<Expr>) -> Expr {
    let number = |e: Option<&Expr>| match e {
        Some(Expr::Number(n)) => usize::try_from(*n).ok(),
        _ => None,
    };
    let (second, third) = (number(args.get(1)), number(args.get(2)));
    match (name, second, third) {
        ("substring", Some(offset), Some(length)) => {
            Expr::Substring(Box::new(args.swap_remove(0)), offset, Some(length))
        }
        ("lcase", ..) if args.len() == 1 => Expr::Case(Box::new(args.swap_remove(0)), false),
        ("ucase", ..) if args.len() == 1 => Expr::Case(Box::new(args.swap_remove(0)), true),
        ("concat", ..) => Expr::Concat(args),
        // `extract-int(option arch, 16)`, `encode-int(7, 16)`: equal numbers are equal bytes here.
        ("extract-int" | "encode-int", Some(8 | 16 | 32), None) => args.swap_remove(0),
        _ => Expr::Riddle,
    }
}

#[cfg(test)]
mod tests {
    use super::super::lexer::tokens;
    use super::super::parser::parse;
    use super::*;
    use crate::api::ClientKind;

    fn clients(text: &str) -> Option<usize> {
        let mut options = Options::default();
        options.collect(&parse(
            "option space gpxe; option gpxe-encap-opts code 175 = encapsulate gpxe; option gpxe.bus-id code 177 = string; \
             option client-arch code 93 = unsigned integer 16; option magic code 176 = text;",
        ));
        let when = condition(&tokens(text), &options).when();
        when.is_known().then(|| when.iter().count())
    }

    #[test]
    fn the_phrases_of_real_files_are_understood() {
        let scripts = crate::exchange::client::CLIENTS.iter().filter(|c| c.scripts()).count();
        let ipxe = crate::exchange::client::CLIENTS.iter().filter(|c| c.kind == ClientKind::Ipxe).count();
        for (text, expected) in [
            ("exists gpxe.bus-id", Some(scripts)),
            ("not exists gpxe.bus-id", Some(19 - scripts)),
            ("exists user-class and option user-class = \"iPXE\"", Some(ipxe)),
            ("option client-arch = 00:07", Some(2)),
            ("option client-arch = 7 or option client-arch = 00:09", Some(4)),
            ("option pxe-system-type = 00:06", Some(2)),
            ("substring(option vendor-class-identifier, 0, 9) = \"PXEClient\"", Some(13)),
            ("substring (option vendor-class-identifier, 15, 5) = \"00007\"", Some(2)),
            ("(substring(option vendor-class-identifier, 0, 10) = \"HTTPClient\")", Some(5)),
            ("option user-class ~= \"iPXE\"", None),
            ("known", None),
            ("option agent.circuit-id = \"x\"", None),
            ("option", None),
            ("((((", None),
        ] {
            assert_eq!(clients(text), expected, "{text}");
        }
        assert_eq!(clients(&"not ".repeat(100_000)), None);
        assert_eq!(clients(&"(".repeat(100_000)), None);
    }
}
