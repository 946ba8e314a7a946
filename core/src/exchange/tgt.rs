//! tgt's targets.conf (targets.conf(5)): blocks in angle brackets, one setting a line.

use std::path::Path;
use std::sync::Arc;

use super::ledger::{Id, Ledger, Said};
use super::model::{Lun, Model, Target};
use super::source::{DEEPEST, ITSELF, MOST_STATEMENTS, Source, Sources};
use crate::lab::{Chap, Secret};
use crate::net::Ipv4Cidr;

/// Reads a targets.conf into the model.
pub(super) fn read(source: &Source, sources: &mut Sources, ledger: &mut Ledger, model: &mut Model) {
    let mut reader = Reader { sources, ledger, model, root: Arc::clone(&source.name), left: MOST_STATEMENTS };
    if reader.sources.enter(&source.name) {
        reader.file(source, 0);
        reader.sources.leave();
    }
}

struct Reader<'a> {
    sources: &'a mut Sources,
    ledger: &'a mut Ledger,
    model: &'a mut Model,
    root: Arc<Path>,
    left: usize,
}

/// The blocks that are open.
#[derive(Debug, Default)]
struct Open {
    target: Option<usize>,
    /// In `<backing-store>`.
    lun: Option<usize>,
    /// Blocks that are not understood.
    other: usize,
}

impl Reader<'_> {
    fn file(&mut self, source: &Source, depth: usize) {
        let mut open = Open::default();
        let mut joined = String::new();
        let mut first = 0;
        let mut lines = source.text.lines().enumerate().peekable();
        while let Some((n, text)) = lines.next() {
            let number = u32::try_from(n + 1).unwrap_or(u32::MAX);
            if joined.is_empty() {
                first = number;
            }
            // A line may go on in the next one.
            if let Some(text) = text.strip_suffix('\\').filter(|_| lines.peek().is_some()) {
                joined.push_str(text);
                continue;
            }
            let text = format!("{joined}{text}");
            joined.clear();
            let text = text.trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let Some(left) = self.left.checked_sub(1) else { return self.ledger.rest(&source.name, first) };
            self.left = left;
            let words = words(&divided(text));
            // incominguser, outgoinguser, incomingdiscoveryuser, outgoingdiscoveryuser: a name and a secret.
            let shown = match words.as_slice() {
                [key, user, _, ..] if key.to_ascii_lowercase().ends_with("user") => format!("{key} {user} …"),
                _ => text.to_owned(),
            };
            let id = self.ledger.add(&source.name, first, number, &shown);
            self.line(text, &words, id, &mut open, depth);
        }
    }

    fn line(&mut self, text: &str, words: &[String], id: Id, open: &mut Open, depth: usize) {
        if let Some(tag) = text.strip_prefix("</") {
            self.ledger.implied(id, "it ends a block");
            match tag.trim_end_matches('>').trim() {
                "target" => *open = Open::default(),
                "backing-store" | "direct-store" => open.lun = None,
                _ => open.other = open.other.saturating_sub(1),
            }
            return;
        }
        if let Some(tag) = text.strip_prefix('<') {
            let inner = self::words(tag.trim_end_matches('>'));
            return self.opens(&inner, id, open);
        }
        let key = words.first().map(String::as_str).unwrap_or_default();
        let value = words.get(1).cloned().unwrap_or_default();
        if open.other > 0 {
            return self.ledger.lost(id, "belongs to a block that is not understood");
        }
        match (key, open.target, open.lun) {
            ("include", _, _) => self.include(&value, id, depth),
            ("default-driver" | "driver", _, _) if value == "iscsi" => self.ledger.implied(id, "Bootyard serves iSCSI"),
            ("control-port" | "ignore-errors", ..) => {
                self.ledger.implied(id, "Bootyard has its own way to be controlled");
            }
            (_, None, _) => self.ledger.lost(id, format!("`{key}` has no equal here")),
            ("lun", Some(target), Some(lun)) => {
                if let Some(lun) = self.model.targets.get_mut(target).and_then(|t| t.luns.get_mut(lun)) {
                    lun.number = value.parse().ok();
                }
                self.ledger.implied(id, "a disk is LUN 0 here, and root-paths say so");
            }
            ("readonly", Some(target), lun) => {
                let luns = self.model.targets.get_mut(target).map(|t| &mut t.luns);
                let on = value == "1" || value == "yes";
                let mut done = false;
                for (n, each) in luns.into_iter().flatten().enumerate() {
                    if lun.is_none_or(|l| l == n) {
                        each.readonly = on;
                        done = true;
                    }
                }
                if done {
                    self.ledger.mapped(id, "readonly of the [[disk]]");
                } else {
                    self.ledger.lost(id, "it stands above the store for which it is");
                }
            }
            (_, Some(target), _) => self.setting(key, words, id, target),
        }
    }

    fn opens(&mut self, words: &[String], id: Id, open: &mut Open) {
        let value = words.get(1).cloned().unwrap_or_default();
        match (words.first().map(String::as_str), open.target) {
            (Some("target"), None) if open.other == 0 => {
                self.model.targets.push(Target {
                    id,
                    iqn: value,
                    luns: Vec::new(),
                    chap: None,
                    mutual: None,
                    addresses: Vec::new(),
                    initiators: Vec::new(),
                });
                open.target = Some(self.model.targets.len() - 1);
            }
            (Some("backing-store" | "direct-store"), Some(target)) if open.other == 0 => {
                open.lun = self.store(target, value, id);
            }
            _ => {
                open.other += 1;
                self.ledger.lost(id, "a block that is not understood");
            }
        }
    }

    fn store(&mut self, target: usize, path: String, id: Id) -> Option<usize> {
        let luns = &mut self.model.targets.get_mut(target)?.luns;
        luns.push(Lun { id, path, number: None, readonly: false });
        Some(luns.len() - 1)
    }

    fn setting(&mut self, key: &str, words: &[String], id: Id, index: usize) {
        let value = words.get(1).cloned().unwrap_or_default();
        let secret = words.get(2).cloned().unwrap_or_default();
        let Some(target) = self.model.targets.get_mut(index) else { return };
        match key {
            "backing-store" | "direct-store" => {
                self.store(index, value, id);
            }
            "incominguser" if target.chap.is_some() => {
                self.ledger.lost(id, "a disk has one CHAP user here; the first is taken");
            }
            "incominguser" => match chap_fault(&value, &secret) {
                Some(why) => self.ledger.lost(id, why),
                None => {
                    let chap = Chap { user: value, secret: Secret::new(secret), mutual: None };
                    target.chap = Some(Said { value: chap, id });
                }
            },
            "outgoinguser" => match chap_fault(&value, &secret) {
                Some(why) => self.ledger.lost(id, why),
                None => target.mutual = Some(Said { value: (value, Secret::new(secret)), id }),
            },
            "initiator-address" => {
                let net = match value.as_str() {
                    "ALL" => Some(Ipv4Cidr { address: std::net::Ipv4Addr::UNSPECIFIED, prefix: 0 }),
                    text => {
                        text.parse().ok().or_else(|| text.parse().ok().map(|address| Ipv4Cidr { address, prefix: 32 }))
                    }
                };
                match net {
                    Some(value) => target.addresses.push(Said { value, id }),
                    None => self.ledger.lost(id, "neither an IPv4 address nor a network"),
                }
            }
            "initiator-name" => target.initiators.push(Said { value, id }),
            "write-cache" | "allow-in-use" | "bs-type" | "bsoflags" | "blocksize" | "nop_interval" | "nop_count" => {
                self.ledger.lost(id, "Bootyard chooses how it reads and writes images itself");
            }
            "scsi_id" | "scsi_sn" | "vendor_id" | "product_id" | "product_rev" | "controller_tid" | "device-type"
            | "removable" | "sense_format" | "mode_page" => {
                self.ledger.lost(id, "a disk's identity is derived from its image here");
            }
            _ => self.ledger.lost(id, format!("`{key}` has no equal here")),
        }
    }

    fn include(&mut self, pattern: &str, id: Id, depth: usize) {
        if depth >= DEEPEST {
            return self.ledger.lost(id, "files include each other too deep");
        }
        let root = Arc::clone(&self.root);
        let files = if pattern.contains(['*', '?']) {
            self.sources.list(&root, pattern)
        } else {
            self.sources.include(&root, pattern).map(|s| vec![s.name.to_path_buf()])
        };
        match files {
            Err(why) => self.ledger.lost(id, why),
            Ok(files) => {
                self.ledger.implied(id, "its lines are listed by themselves");
                for file in files {
                    if !self.sources.enter(&file) {
                        self.ledger.lost(id, ITSELF);
                        continue;
                    }
                    let read = self.sources.open(&file).map(|source| self.file(&source, depth + 1));
                    self.sources.leave();
                    if let Err(error) = read {
                        return self.ledger.lost(id, error.to_string());
                    }
                }
            }
        }
    }
}

/// What lab.toml would refuse of a name and secret.
fn chap_fault(user: &str, secret: &str) -> Option<&'static str> {
    let fits = |t: &str| (1..=255).contains(&t.len()) && !t.chars().any(char::is_control);
    (!fits(user) || !fits(secret)).then_some("expected a name and a secret of 1 to 255 bytes")
}

/// A setting with a space between its name and its value: the parser of tgt-admin (Config::General) takes `=`, too.
fn divided(text: &str) -> String {
    let key = text.find(|c: char| c == '=' || c.is_whitespace()).unwrap_or(text.len());
    let (key, rest) = text.split_at(key);
    match rest.trim_start().strip_prefix('=') {
        Some(value) if !key.starts_with('<') => format!("{key} {}", value.trim_start()),
        _ => text.to_owned(),
    }
}

/// Words, quotes taken off.
fn words(text: &str) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let mut quoted = false;
    let mut fresh = true;
    for c in text.chars() {
        match c {
            '"' => {
                quoted = !quoted;
                if fresh {
                    out.push(String::new());
                }
                fresh = false;
            }
            c if c.is_whitespace() && !quoted => fresh = true,
            c => {
                if fresh {
                    out.push(String::new());
                }
                fresh = false;
                if let Some(last) = out.last_mut() {
                    last.push(c);
                }
            }
        }
    }
    out
}
