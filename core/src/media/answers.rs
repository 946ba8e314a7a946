//! Answer files: their form, and the text that one host gets.
//!
//! An answer file is a template (Jinja syntax). What a client said of itself (host name, serial number) is reduced to harmless
//! characters before it gets in, because it lands in files that an installer obeys as root.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use serde::Serialize;

use super::MediaError;
use crate::lab::ProfileKind;

/// Answer files are read whole; none that a person writes is near this size.
const MAX_BYTES: u64 = 4 << 20;

/// What an answer file may ask for: `{{ hostname }}`, `{{ mac }}` …
#[derive(Debug, Clone, Serialize)]
pub struct Values {
    /// The machine's name in lab.toml, else `host-` and its MAC.
    pub hostname: String,
    /// `52:54:00:00:00:01`.
    pub mac: String,
    /// Its address.
    pub ip: Option<IpAddr>,
    /// Its group in lab.toml.
    pub group: Option<String>,
    /// Our address as it reaches it.
    pub server: Ipv4Addr,
    /// `http://ADDRESS[:PORT]`.
    pub base_url: String,
    /// Where this answer file and its companions are.
    pub answers_url: String,
    /// Its serial number, as iPXE reported it.
    pub serial: Option<String>,
    /// Its SMBIOS UUID.
    pub uuid: Option<String>,
    /// The initiator name that we issue to it.
    pub initiator: String,
    /// Target name of the disk that it is installed to, if that is one of ours.
    pub target: Option<String>,
    /// The network's domain.
    pub domain: Option<String>,
}

/// What a client said of itself, reduced to what no answer file can misunderstand.
#[must_use]
pub fn harmless(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_alphanumeric() || "._:-".contains(*c)).take(64).collect()
}

/// Reads an answer file.
///
/// # Errors
/// [`MediaError::Unreadable`], for a file that is absent, not UTF-8 or larger than 4 MiB.
pub fn read(path: &Path) -> Result<String, MediaError> {
    let unreadable = |source| MediaError::Unreadable { path: path.to_owned(), source };
    let size = super::size(path)?;
    if size > MAX_BYTES {
        return Err(unreadable(std::io::Error::new(std::io::ErrorKind::InvalidData, "larger than 4 MiB")));
    }
    std::fs::read_to_string(path).map_err(unreadable)
}

/// The form of an answer file, by its content.
#[must_use]
pub fn kind_of(text: &str) -> ProfileKind {
    let significant = || text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
    let preseed = |l: &str| {
        let mut words = l.split_whitespace();
        let owner = words.next();
        owner.is_some() && words.next().is_some_and(|q| q.contains('/')) && words.next().is_some()
    };
    let kickstart = [
        "install",
        "text",
        "graphical",
        "lang ",
        "keyboard ",
        "rootpw ",
        "bootloader",
        "%packages",
        "clearpart",
        "autopart",
    ];
    if text.starts_with("#cloud-config") || significant().any(|l| l == "autoinstall:") {
        ProfileKind::Autoinstall
    } else if significant().any(|l| kickstart.iter().any(|k| l == k.trim() || l.starts_with(k))) {
        ProfileKind::Kickstart
    } else if significant().any(preseed) {
        ProfileKind::Preseed
    } else {
        ProfileKind::None
    }
}

/// Renders an answer file for one host. An unknown name is an error: a typing mistake must not install a machine half.
///
/// # Errors
/// [`MediaError::Template`], with the line.
pub fn render(path: &Path, text: &str, values: &Values) -> Result<String, MediaError> {
    let mut env = minijinja::Environment::new();
    env.set_undefined_behavior(minijinja::UndefinedBehavior::Strict);
    env.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    let wrong = |error: &minijinja::Error| MediaError::Template {
        path: path.to_owned(),
        line: error.line().unwrap_or(0),
        message: error.detail().map_or_else(|| error.kind().to_string(), str::to_owned),
    };
    let syntax = minijinja::syntax::SyntaxConfig::builder().keep_trailing_newline(true).build();
    env.set_syntax(syntax.map_err(|e| wrong(&e))?);
    env.render_str(text, minijinja::value::Serde(values)).map_err(|e| wrong(&e))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values() -> Values {
        Values {
            hostname: "pc-1".into(),
            mac: "52:54:00:00:00:01".into(),
            ip: None,
            group: None,
            server: Ipv4Addr::new(192, 168, 2, 1),
            base_url: "http://192.168.2.1".into(),
            answers_url: String::new(),
            serial: Some(harmless("A1\n'; rm -rf /")),
            uuid: None,
            initiator: String::new(),
            target: None,
            domain: None,
        }
    }

    #[test]
    fn the_form_is_told_by_the_content() {
        assert_eq!(kind_of("# Debian\nd-i debian-installer/locale string en_US\n"), ProfileKind::Preseed);
        assert_eq!(kind_of("lang en_US\nkeyboard us\nautopart\n%packages\n%end\n"), ProfileKind::Kickstart);
        assert_eq!(kind_of("#cloud-config\nautoinstall:\n  version: 1\n"), ProfileKind::Autoinstall);
        assert_eq!(kind_of("hello\n"), ProfileKind::None);
    }

    #[test]
    fn a_host_gets_its_own_text_and_a_typing_mistake_is_named() {
        let path = Path::new("debian.cfg");
        let text = "d-i netcfg/get_hostname string {{ hostname }}\n# {{ serial }}\n";
        let rendered = render(path, text, &values()).unwrap();
        assert_eq!(rendered, "d-i netcfg/get_hostname string pc-1\n# A1rm-rf\n");
        let error = render(path, "a\n{{ hostnam }}\n", &values()).unwrap_err();
        assert!(error.to_string().starts_with("debian.cfg:2: "), "{error}");
    }
}
