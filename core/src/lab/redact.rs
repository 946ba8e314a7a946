//! lab.toml for somebody else's eyes: without secrets, and without comments, in which a person may have kept an old one.

use toml_edit::{Array, ArrayOfTables, DocumentMut, InlineTable, Item, Table, Value};

use super::Lab;

/// What stands in a secret's place.
const REMOVED: &str = "(removed)";
/// Keys, and words of kernel arguments, in whose names one of these is have a secret as their value.
const NAMES: [&str; 10] =
    ["secret", "password", "passwd", "passphrase", "pwd", "rootpw", "rd.luks.key", "token", "psk", "private"];

/// The text of a lab.toml without its secrets and comments. A broken one, of which nobody knows what is in it, is left out with a word.
#[must_use]
pub fn without_secrets(text: &str) -> String {
    let Ok(document) = text.trim_start_matches('\u{feff}').parse::<DocumentMut>() else {
        return "# lab.toml is no TOML; it was left out, because a secret could be anywhere in it\n".to_owned();
    };
    let mut clean = DocumentMut::new();
    *clean.as_table_mut() = table(document.as_table());
    format!("# Secrets and comments were removed.\n{clean}")
}

fn names_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    NAMES.iter().any(|word| name.contains(word))
}

fn table(old: &Table) -> Table {
    let mut new = Table::new();
    for (key, item) in old.iter() {
        new.insert(key, self::item(key, item));
    }
    new.set_implicit(old.is_implicit());
    new
}

fn item(key: &str, old: &Item) -> Item {
    match old {
        Item::Table(old) => Item::Table(table(old)),
        Item::ArrayOfTables(all) => Item::ArrayOfTables(all.iter().map(table).collect::<ArrayOfTables>()),
        Item::Value(old) => Item::Value(value(key, old)),
        Item::None => Item::None,
    }
}

fn value(key: &str, old: &Value) -> Value {
    match old {
        Value::Array(all) => Value::Array(all.iter().map(|one| value(key, one)).collect::<Array>()),
        Value::InlineTable(old) => {
            let mut new = InlineTable::new();
            for (key, value) in old.iter() {
                new.insert(key, self::value(key, value));
            }
            Value::InlineTable(new)
        }
        _ if names_secret(key) => REMOVED.into(),
        Value::String(text) => Lab::arguments_without_secrets(text.value()).0.into(),
        other => {
            let mut plain = other.clone();
            plain.decor_mut().clear();
            plain
        }
    }
}

impl Lab {
    /// Arguments of a kernel without their secrets, and these.
    #[must_use]
    pub fn arguments_without_secrets(text: &str) -> (String, Vec<String>) {
        let mut removed = Vec::new();
        let clean = arguments(text, &mut removed);
        removed.retain(|secret| !secret.is_empty() && secret != REMOVED);
        (clean, removed)
    }
}

/// Words as in a kernel's arguments: divided by blanks outside of double quotes.
fn arguments(text: &str, removed: &mut Vec<String>) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let (word, behind) = rest.split_at(end_of_word(rest));
        clean.push_str(&self::word(word, removed));
        let next = behind.trim_start();
        clean.push_str(behind.strip_suffix(next).unwrap_or_default());
        rest = next;
    }
    clean
}

/// A quote that is never closed is a letter like others, so that what follows is read as words.
fn end_of_word(text: &str) -> usize {
    let mut quoted = false;
    for (at, letter) in text.char_indices() {
        if letter == '"' {
            quoted = !quoted && text.get(at + 1..).is_some_and(|rest| rest.contains('"'));
        } else if letter.is_whitespace() && !quoted {
            return at;
        }
    }
    text.len()
}

/// `name=value` with a secret's name, also within a value (`a=b,name=value`), or a login in an address.
fn word(word: &str, removed: &mut Vec<String>) -> String {
    let secret = word.match_indices('=').map(|(at, _)| word.split_at(at + 1)).find(|(before, _)| {
        let name = before.trim_end_matches('=');
        names_secret(name.rsplit([',', ';', '&', '?', '=']).next().unwrap_or_default())
    });
    let Some((before, value)) = secret else { return logins(word, removed) };
    removed.push(value.trim_matches('"').to_owned());
    let quote = if before.matches('"').count() % 2 == 1 { "\"" } else { "" };
    format!("{}{REMOVED}{quote}", logins(before, removed))
}

/// `scheme://user:password@host` (RFC 3986, section 3.2.1) and dracut's `iscsi:user:password@host`.
fn logins(word: &str, removed: &mut Vec<String>) -> String {
    let mut clean = String::with_capacity(word.len());
    let mut rest = word;
    while let Some((before, behind)) = rest.split_once("//") {
        let end = behind.find(|c: char| c.is_whitespace() || "/\"?#".contains(c)).unwrap_or(behind.len());
        let (authority, next) = behind.split_at(end);
        clean.push_str(&format!("{before}//{}", login(authority, removed)));
        rest = next;
    }
    clean.push_str(rest);
    match clean.split_once("iscsi:") {
        Some((before, behind)) if !behind.starts_with("//") => format!("{before}iscsi:{}", login(behind, removed)),
        _ => clean,
    }
}

/// `user:password@host`; libiscsi's tools divide the two by `%`.
fn login(text: &str, removed: &mut Vec<String>) -> String {
    let parts = text.rsplit_once('@').and_then(|(login, host)| Some((login.split_once([':', '%'])?, host)));
    match parts {
        Some(((user, password), host)) if !password.is_empty() => {
            removed.push(password.to_owned());
            format!("{user}:{REMOVED}@{host}")
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_and_no_comment_is_left_and_all_else_means_the_same() {
        let text = r#"
version = 1 # hunter1
# chap = { secret = "hunter2" }
[[disk]]
name = "a"
image = "a.raw"
chap = { user = "u", secret = "hunter3hunter3", mutual-user = "t", mutual-secret = "hunter4hunter4" }
[[profile]]
name = "p"
kernel = "k"
args = "quiet root_password=hunter5 passwd/root-token=hunter6 console=ttyS0"
[[host]]
mac = ["52:54:00:00:00:01", "52:54:00:00:00:02"] # hunter7
boot = { iscsi = "a" }
"#;
        let clean = without_secrets(text);
        assert!(!clean.contains("hunter"), "{clean}");
        for kept in
            ["user = \"u\"", "mutual-user = \"t\"", "console=ttyS0", "52:54:00:00:00:02", "root_password=(removed)"]
        {
            assert!(clean.contains(kept), "{kept} is not in {clean}");
        }
        let again: DocumentMut = clean.parse().unwrap();
        assert_eq!(again["disk"][0]["chap"]["secret"].as_str(), Some(REMOVED));
        assert_eq!(again["host"][0]["boot"]["iscsi"].as_str(), Some("a"));
        assert_eq!(without_secrets(&clean), clean);
    }

    #[test]
    fn of_arguments_secrets_are_removed_however_they_are_written() {
        for (text, clean) in [
            ("quiet\troot_password=hunter1\n a=b", "quiet\troot_password=(removed)\n a=b"),
            ("rootpw=\"hunter1 hunter2\" quiet", "rootpw=(removed) quiet"),
            ("\"my.passphrase=hunter1 hunter2\" quiet", "\"my.passphrase=(removed)\" quiet"),
            ("x=\"a b\" PWD=hunter1", "x=\"a b\" PWD=(removed)"),
            ("x=\"a pwd=hunter1\" y", "x=\"a pwd=(removed)\" y"),
            ("x=\" pwd=hunter1 y", "x=\" pwd=(removed) y"),
            ("rd.luks.key=/hunter1:LABEL=k rd.luks.name=a", "rd.luks.key=(removed) rd.luks.name=a"),
            ("o=user=u,password=hunter1,x", "o=user=u,password=(removed)"),
            ("ks=http://u:hunter1@h:80/k?token=hunter2", "ks=http://u:(removed)@h:80/k?token=(removed)"),
            (
                "netroot=iscsi:u:hunter1:v:hunter2@10.0.0.1::3260::iqn.x:a",
                "netroot=iscsi:u:(removed)@10.0.0.1::3260::iqn.x:a",
            ),
            ("iscsi://u%hunter1@10.0.0.1/iqn.x:a/0", "iscsi://u:(removed)@10.0.0.1/iqn.x:a/0"),
        ] {
            let (told, removed) = Lab::arguments_without_secrets(text);
            assert_eq!(told, clean);
            assert!(
                !removed.is_empty() && removed.iter().all(|secret| secret.contains("hunter1") || secret == "hunter2")
            );
            assert_eq!(Lab::arguments_without_secrets(clean), (clean.to_owned(), vec![]), "nothing more");
        }
        let plain =
            "root=http://h:80/a@b netroot=iscsi:@10.0.0.1::::iqn.x:a  ip=::::a:b \"x=y z\" console=ttyS0,115200 ";
        assert_eq!(Lab::arguments_without_secrets(plain), (plain.to_owned(), vec![]));
    }

    #[test]
    fn a_broken_file_is_left_out() {
        let clean = without_secrets("secret = \"hunter2\n[");
        assert!(!clean.contains("hunter2") && clean.contains("left out"), "{clean}");
    }
}
