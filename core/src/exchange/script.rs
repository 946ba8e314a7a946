//! Scripts of iPXE and gPXE: which kernel, which disk. Jumps are not followed; each kernel of a script becomes a profile.

use std::collections::BTreeMap;

use super::ledger::{Id, Ledger, Said, names_secret};
use super::model::{End, Kernel, Model, Script};
use super::source::{MOST_STATEMENTS, Source};

/// What our own exports say in a comment, for a way back.
pub(super) const MARK: &str = "# bootyard ";

/// Reads a script into the model.
pub(super) fn read(source: &Source, ledger: &mut Ledger, model: &mut Model) {
    let file = source.name.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let folder = source.name.parent().and_then(|p| p.file_name()).map(|n| n.to_string_lossy().into_owned());
    let folder = folder.unwrap_or_default();
    let mut reader = Reader { ledger, label: None, set: BTreeMap::new(), hook: None, script: None, word: None };
    for (n, text) in source.text.lines().enumerate() {
        let text = text.trim();
        if let Some(said) = text.strip_prefix(MARK) {
            reader.mark(said);
        }
        if text.is_empty() || text.starts_with('#') && n > 0 {
            continue;
        }
        let line = u32::try_from(n + 1).unwrap_or(u32::MAX);
        if n >= MOST_STATEMENTS {
            reader.ledger.rest(&source.name, line);
            break;
        }
        let id = reader.ledger.add(&source.name, line, line, &shown(text));
        if reader.script.is_none() {
            let (file, folder) = (file.clone(), folder.clone());
            reader.script = Some(Script { file, folder, ends: Vec::new(), chooses: false, word: None });
        }
        reader.line(text, id);
    }
    if let Some(mut script) = reader.script {
        script.word = reader.word;
        model.scripts.push(script);
    }
}

struct Reader<'a> {
    ledger: &'a mut Ledger,
    label: Option<String>,
    set: BTreeMap<String, String>,
    hook: Option<Said<String>>,
    script: Option<Script>,
    word: Option<String>,
}

impl Reader<'_> {
    fn mark(&mut self, said: &str) {
        match said.split_once(' ') {
            Some(("profile", name)) => self.label = Some(name.trim().to_owned()),
            Some(("boot", word)) => self.word = Some(word.trim().to_owned()),
            _ => {}
        }
    }

    fn line(&mut self, text: &str, id: Id) {
        if text.starts_with("#!") {
            return self.ledger.implied(id, "it says that this is a script");
        }
        if let Some(label) = text.strip_prefix(':') {
            self.label = Some(label.trim().to_owned());
            return self.ledger.implied(id, "a label; import follows no jumps");
        }
        let text = self.expanded(text);
        let commands: Vec<Vec<String>> = split(&text);
        let several = commands.iter().filter(|c| !c.is_empty()).count() > 1;
        for (n, command) in commands.iter().enumerate() {
            let words: Vec<&str> = command.iter().map(String::as_str).collect();
            // `kernel … || goto failed`: what follows an error is the script's own affair.
            if n > 0
                && matches!(words.first(), Some(&("goto" | "exit" | "shell" | "prompt" | "echo" | "sleep" | "reboot")))
            {
                continue;
            }
            self.command(&words, id, several);
        }
    }

    fn end(&mut self, end: End) {
        if let Some(script) = &mut self.script {
            script.ends.push(end);
        }
    }

    fn kernel(&mut self) -> Option<&mut Kernel> {
        self.script.as_mut()?.ends.iter_mut().rev().find_map(|e| match e {
            End::Kernel(kernel) => Some(kernel),
            _ => None,
        })
    }

    fn command(&mut self, words: &[&str], id: Id, several: bool) {
        let Some((command, rest)) = words.split_first() else { return };
        let (options, args) = options(rest);
        match *command {
            "kernel" | "imgselect" | "imgload" => self.new_kernel(args, id),
            "initrd" | "imgfetch" | "module" => match (args.first(), self.kernel()) {
                (Some(url), Some(kernel)) => {
                    kernel.initrds.push(Said { value: (*url).to_owned(), id });
                    if args.len() > 1 {
                        self.ledger.lost(id, "an initrd's own arguments; the file is taken");
                    }
                }
                _ => self.ledger.lost(id, "a file that is for no kernel above it"),
            },
            "imgargs" => match self.kernel() {
                Some(kernel) => {
                    kernel.args = args.get(1..).unwrap_or_default().join(" ");
                    self.ledger.mapped(id, "args of the [[profile]]");
                }
                None => self.ledger.lost(id, "arguments for no kernel above them"),
            },
            "boot" => match args.first() {
                Some(url) if url.contains("://") => self.new_kernel(args, id),
                _ => self.ledger.implied(id, "Bootyard's script boots what it loads"),
            },
            "chain" => match args.first() {
                Some(url) => self.end(End::Chain(Said { value: (*url).to_owned(), id })),
                None => self.ledger.lost(id, "it names no script"),
            },
            "sanboot" | "sanhook" => match args.first() {
                Some(path) if *command == "sanhook" => self.hook = Some(Said { value: (*path).to_owned(), id }),
                Some(path) => self.end(End::San(Said { value: (*path).to_owned(), id })),
                None if options.iter().any(|o| o.starts_with("--drive")) => self.end(End::Local(id)),
                None => self.ledger.lost(id, "it names no disk"),
            },
            "exit" if several => {}
            "exit" => self.end(End::Local(id)),
            "set" | "clear" => self.set(args, id),
            "dhcp" | "ifopen" | "ifconf" | "ifclose" | "imgfree" | "imgstat" | "ifstat" | "sanunhook" | "imgexec" => {
                self.ledger.implied(id, "Bootyard's script does what is needed");
            }
            "echo" | "sleep" | "console" | "colour" | "cpair" | "login" => {
                self.ledger.implied(id, "shown on the screen only");
            }
            "menu" | "item" | "choose" | "goto" | "iseq" | "isset" | "prompt" if self.word.is_some() => {
                self.chooses();
                self.ledger.implied(id, "a script that Bootyard exported: what it comes to is known");
            }
            "menu" | "item" | "choose" => {
                self.chooses();
                self.ledger.lost(id, "a menu of one's own; boot = \"menu\" offers every profile and disk");
            }
            "goto" | "iseq" | "isset" | "cpuid" | "prompt" | "autoboot" | "inc" => {
                self.chooses();
                self.ledger.lost(id, "import follows no jumps; each kernel becomes a profile");
            }
            other => self.ledger.lost(id, format!("`{other}` has no equal here")),
        }
    }

    fn chooses(&mut self) {
        if let Some(script) = &mut self.script {
            script.chooses = true;
        }
    }

    fn new_kernel(&mut self, args: &[&str], id: Id) {
        let Some((kernel, args)) = args.split_first() else { return self.ledger.lost(id, "it names no kernel") };
        let kernel = Kernel {
            id,
            label: self.label.take(),
            kernel: (*kernel).to_owned(),
            args: args.join(" "),
            initrds: Vec::new(),
            hook: self.hook.take(),
        };
        self.end(End::Kernel(kernel));
    }

    fn set(&mut self, args: &[&str], id: Id) {
        let name = args.first().map(|n| n.split(':').next().unwrap_or(n)).unwrap_or_default();
        match name {
            "initiator-iqn" => self.ledger.implied(id, "Bootyard gives each machine an initiator name of its own"),
            "username" | "password" | "reverse-username" | "reverse-password" => {
                self.ledger.lost(id, "CHAP stands in the [[disk]], as `chap`");
            }
            "keep-san" | "skip-san-boot" | "net0/gateway" | "gateway" | "netmask" => {
                self.ledger.implied(id, "Bootyard's script does what is needed");
            }
            _ => {
                let value = args.get(1..).unwrap_or_default().join(" ");
                if value.contains("${") || value.len() > 1024 || self.set.len() >= 1024 {
                    self.ledger.lost(id, "its value depends on the machine");
                } else {
                    self.set.insert(name.to_owned(), value);
                    self.ledger.implied(id, "it is put in where it is used");
                }
            }
        }
    }

    /// With the values that the script has set.
    fn expanded(&self, text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            out.push_str(before);
            let Some((name, after)) = after.split_once('}') else {
                out.push_str("${");
                rest = after;
                continue;
            };
            match self.set.get(name) {
                Some(value) if out.len() < 8192 => out.push_str(value),
                _ => {
                    out.push_str("${");
                    out.push_str(name);
                    out.push('}');
                }
            }
            rest = after;
        }
        out.push_str(rest);
        out
    }
}

/// A line as it is shown: without what it sets a secret to.
fn shown(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let secret = words.windows(2).position(|pair| matches!(pair, ["set", name] if names_secret(name)));
    match secret {
        Some(at) => words.iter().take(at + 2).copied().collect::<Vec<_>>().join(" ") + " …",
        None => text.to_owned(),
    }
}

/// The commands between `||` and `&&`, as words.
fn split(text: &str) -> Vec<Vec<String>> {
    let mut out = vec![Vec::new()];
    for word in text.split_whitespace() {
        if word == "||" || word == "&&" {
            out.push(Vec::new());
        } else if let Some(last) = out.last_mut() {
            last.push(word.to_owned());
        }
    }
    out
}

/// The options in front, and the rest. Those that take a value take it with them.
fn options<'w>(words: &'w [&'w str]) -> (Vec<&'w str>, &'w [&'w str]) {
    const VALUED: [&str; 10] =
        ["--name", "-n", "--timeout", "-t", "--drive", "-d", "--type", "--key", "--filename", "-f"];
    let mut out = Vec::new();
    let mut rest = words;
    while let Some((first, tail)) = rest.split_first() {
        if !first.starts_with('-') {
            break;
        }
        out.push(*first);
        rest = if VALUED.contains(first) { tail.get(1..).unwrap_or_default() } else { tail };
    }
    (out, rest)
}
