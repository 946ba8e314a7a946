//! What is wrong with a lab, as a person is told it: where, what, and what to write instead.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

/// Whether a lab with this problem may be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProblemSeverity {
    /// It works, but not as it seems to be meant.
    Warning,
    /// Nothing starts on it.
    Error,
}

/// One problem of lab.toml or of the folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Problem {
    /// Line of `file`, from 1; absent where no line is at fault.
    pub line: Option<u32>,
    /// The file; absent: the lab.toml that was read.
    pub file: Option<PathBuf>,
    /// A sentence that names the thing and says what was expected. Control characters are escaped.
    pub message: String,
    /// How bad it is.
    pub severity: ProblemSeverity,
    /// What to write or do instead.
    pub suggestion: Option<String>,
}

impl Problem {
    /// Nothing starts on this.
    #[must_use]
    pub fn error(line: Option<u32>, message: impl AsRef<str>) -> Self {
        Self {
            line,
            file: None,
            message: printable(message.as_ref()),
            severity: ProblemSeverity::Error,
            suggestion: None,
        }
    }

    /// This works, but hardly as meant.
    #[must_use]
    pub fn warning(line: Option<u32>, message: impl AsRef<str>) -> Self {
        Self { severity: ProblemSeverity::Warning, ..Self::error(line, message) }
    }

    /// Adds what to write or do instead.
    #[must_use]
    pub fn suggest(mut self, suggestion: impl AsRef<str>) -> Self {
        self.suggestion = Some(printable(suggestion.as_ref()));
        self
    }

    /// Names the file.
    #[must_use]
    pub fn of(mut self, file: impl Into<PathBuf>) -> Self {
        self.file = Some(file.into());
        self
    }

    /// Whether nothing may start because of it.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == ProblemSeverity::Error
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => f.write_str(&printable(&file.display().to_string()))?,
            None => f.write_str("lab.toml")?,
        }
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        f.write_str(": ")?;
        if self.severity == ProblemSeverity::Warning {
            f.write_str("warning: ")?;
        }
        f.write_str(&self.message)?;
        match &self.suggestion {
            Some(suggestion) => write!(f, "; {suggestion}"),
            None => Ok(()),
        }
    }
}

/// A lab may come from somebody else: nothing of it reaches a terminal unescaped.
pub(crate) fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_reads_like_a_compiler_message() {
        let problem = Problem::error(Some(12), "unknown key `adress`").suggest("did you mean `address`?");
        assert_eq!(problem.to_string(), "lab.toml:12: unknown key `adress`; did you mean `address`?");
        let warning = Problem::warning(None, "\u{1b}[31mred").of("/lab/lab.toml");
        assert_eq!(warning.to_string(), "/lab/lab.toml: warning: \\u{1b}[31mred");
    }
}
