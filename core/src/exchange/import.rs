//! From files to a lab.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::build::build;
use super::ledger::{Ledger, Need, Statement};
use super::model::Model;
use super::source::{Source, SourceError, Sources};
use super::{dhcpd, dnsmasq, kea, script, tgt};
use crate::lab::LabError;
use crate::net::Ipv4Cidr;

/// Whose configuration a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// ISC dhcpd.conf.
    Dhcpd,
    /// dnsmasq.conf.
    Dnsmasq,
    /// Kea's JSON.
    Kea,
    /// tgt's targets.conf.
    Tgt,
    /// A script of iPXE or gPXE.
    Script,
}

impl Format {
    /// Its name for a person.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dhcpd => "dhcpd.conf",
            Self::Dnsmasq => "dnsmasq.conf",
            Self::Kea => "Kea's JSON",
            Self::Tgt => "tgt's targets.conf",
            Self::Script => "a script of iPXE or gPXE",
        }
    }
}

/// What import is to do besides reading.
#[derive(Debug, Clone, Default)]
pub struct Options<'a> {
    /// The interface that serves, where the files name none or another.
    pub interface: Option<String>,
    /// The lab.toml to which it is added; none: a new one.
    pub into: Option<&'a str>,
    /// This computer's interfaces with their addresses: dnsmasq takes from them what its file does not say.
    pub addresses: Vec<(String, Ipv4Cidr)>,
}

/// What came of it.
#[derive(Debug)]
pub struct Import {
    /// The new lab.toml.
    pub text: String,
    /// Each statement, in the order of the files, with what became of it.
    pub statements: Vec<Statement>,
    /// Files that the lab names and that import does not bring.
    pub needs: Vec<Need>,
    /// What a person should know or decide.
    pub notes: Vec<String>,
    /// What each file was taken for.
    pub files: Vec<(PathBuf, Format)>,
}

/// Why nothing came of it.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A file cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A file is none of the formats.
    #[error(
        "{0} is none of dhcpd.conf, dnsmasq.conf, Kea's JSON, tgt's targets.conf, or a script that begins with #!ipxe or #!gpxe"
    )]
    Unknown(String),
    /// The lab.toml to which it was to be added has problems.
    #[error(transparent)]
    Lab(#[from] LabError),
}

/// Reads files of any of the formats as one configuration.
///
/// # Errors
/// A file cannot be read or is of no known format; the lab.toml to which it is added has problems. What is in the files is never an error.
pub fn import(paths: &[PathBuf], options: &Options<'_>) -> Result<Import, ImportError> {
    let mut sources = Sources::default();
    let mut read = Vec::new();
    for path in paths {
        let source = sources.open(path)?;
        let format =
            format_of(&source.name, &source.text).ok_or_else(|| ImportError::Unknown(path.display().to_string()))?;
        read.push((source, format));
    }
    let (mut ledger, mut model) = (Ledger::default(), Model::default());
    // The interface that is to serve comes first.
    model.around.clone_from(&options.addresses);
    model.around.sort_by_key(|(name, _)| options.interface.as_ref() != Some(name));
    for (source, format) in &read {
        one(*format, source, &mut sources, &mut ledger, &mut model);
    }
    model.settle();
    let built = build(&model, &mut ledger, options)?;
    let files = read.iter().map(|(source, format)| (source.name.to_path_buf(), *format)).collect();
    Ok(Import { text: built.text, statements: ledger.close(), needs: built.needs, notes: built.notes, files })
}

fn one(format: Format, source: &Source, sources: &mut Sources, ledger: &mut Ledger, model: &mut Model) {
    match format {
        Format::Dhcpd => dhcpd::read(source, sources, ledger, model),
        Format::Dnsmasq => dnsmasq::read(source, sources, ledger, model),
        Format::Kea => kea::read(source, sources, ledger, model),
        Format::Tgt => tgt::read(source, sources, ledger, model),
        Format::Script => script::read(source, ledger, model),
    }
}

/// What a file is, by its content, then by its name. For files of which a person says that they are configuration: others may look
/// like it.
#[must_use]
pub fn format_of(name: &Path, text: &str) -> Option<Format> {
    let text = text.trim_start();
    if text.starts_with("#!ipxe") || text.starts_with("#!gpxe") {
        return Some(Format::Script);
    }
    let lines = || {
        text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#') && !l.starts_with("//")).take(2000)
    };
    let first = lines().next().unwrap_or_default();
    if first.starts_with('{') || first.starts_with("/*") || first.starts_with("<?include") {
        return Some(Format::Kea);
    }
    if lines().any(|l| l.starts_with("<target") || l.starts_with("default-driver")) {
        return Some(Format::Tgt);
    }
    let statements = lines().filter(|l| l.ends_with(';') || l.ends_with('{')).count();
    let options = lines().filter(|l| !l.ends_with([';', '{', '}']) && is_option(l)).count();
    let name = name.file_name().map(|n| n.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    let includes = lines().any(|l| l.starts_with("include ") && !l.ends_with(';'));
    if statements > options {
        Some(Format::Dhcpd)
    } else if options > 0 || name.contains("dnsmasq") && statements == 0 {
        Some(Format::Dnsmasq)
    } else if includes || name.contains("targets") {
        Some(Format::Tgt)
    } else if name.starts_with("dhcpd") {
        Some(Format::Dhcpd)
    } else {
        None
    }
}

/// `key=value`, or a key of letters and hyphens alone.
fn is_option(line: &str) -> bool {
    let key = line.split('=').next().unwrap_or_default().trim();
    !key.is_empty() && key.len() < 40 && key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// For fuzzing: no text panics an importer, and every text is read the same by each.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    let text = String::from_utf8_lossy(data).into_owned();
    let source = Source { name: Path::new("/nonexistent/fuzz.conf").into(), text };
    for each in [Format::Dhcpd, Format::Dnsmasq, Format::Kea, Format::Tgt, Format::Script] {
        let (mut sources, mut ledger, mut model) = (Sources::default(), Ledger::default(), Model::default());
        one(each, &source, &mut sources, &mut ledger, &mut model);
        model.settle();
        let built = build(&model, &mut ledger, &Options::default());
        let text = built.map(|b| b.text).unwrap_or_default();
        assert!(crate::lab::parse(&text).is_ok(), "import wrote a lab.toml that cannot be read: {text}");
        for statement in ledger.close() {
            assert!(!statement.because.is_empty() && !statement.text.contains('\u{1b}'), "{statement:?}");
        }
    }
}

#[cfg(test)]
mod tests;
