//! What the window writes to files: packets and events, in which form, and where.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bootyard_core::api::Event;

use super::lang::{count, t};
use super::packets::Chosen;
use super::say;
use crate::told;

/// A form of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// For Wireshark.
    Pcapng,
}

impl Format {
    /// How a file's name ends.
    pub(super) fn extension(self) -> &'static str {
        match self {
            Self::Text => "txt",
            Self::Json => "json",
            Self::Pcapng => "pcapng",
        }
    }

    /// The one that this file's name asks for.
    pub(super) fn of(path: &str) -> Option<Self> {
        let extension = Path::new(path.trim()).extension()?.to_string_lossy().to_lowercase();
        match extension.as_str() {
            "txt" | "log" => Some(Self::Text),
            "json" | "jsonl" => Some(Self::Json),
            "pcapng" => Some(Self::Pcapng),
            _ => None,
        }
    }
}

/// What is written.
#[derive(Debug, Clone)]
pub(super) enum What {
    /// Packets of a machine.
    Packets(Chosen),
    /// Events, oldest first.
    Events(Vec<Arc<Event>>),
}

impl What {
    /// How many, in words.
    pub(super) fn count(&self) -> String {
        match self {
            Self::Packets(chosen) => count!(chosen.which.len(), "{n} packet", "{n} packets"),
            Self::Events(events) => count!(events.len(), "{n} event", "{n} events"),
        }
    }

    /// The forms there are; the first is the usual one.
    pub(super) fn formats(&self) -> &'static [Format] {
        match self {
            Self::Packets(_) => &[Format::Pcapng, Format::Text, Format::Json],
            Self::Events(_) => &[Format::Text, Format::Json],
        }
    }

    fn bytes(&self, format: Format) -> Result<Vec<u8>, String> {
        match (self, format) {
            (Self::Packets(chosen), Format::Pcapng) => Ok(chosen.pcapng()),
            (Self::Packets(chosen), Format::Text) => Ok(chosen.text().into_bytes()),
            (Self::Packets(chosen), Format::Json) => chosen.json().map(String::into_bytes),
            (Self::Events(events), Format::Json) => {
                let lines: Result<Vec<String>, _> = events.iter().map(serde_json::to_string).collect();
                lines.map(lines_of).map_err(|error| error.to_string())
            }
            (Self::Events(events), _) => Ok(lines_of(events.iter().map(|event| told::event_line(event)))),
        }
    }
}

fn lines_of(lines: impl IntoIterator<Item = String>) -> Vec<u8> {
    lines.into_iter().flat_map(|line| (line + "\n").into_bytes()).collect()
}

/// The form that asks where to.
#[derive(Debug, Clone)]
pub(super) struct SaveForm {
    /// What is written.
    pub(super) what: What,
    /// Where that was filtered: what of.
    pub(super) part_of: Option<String>,
    /// The file.
    pub(super) path: String,
    /// A person chose the form; else it follows the file's name.
    pub(super) format: Option<Format>,
    /// The desktop's dialog gave this path, and asked there whether a file may be replaced.
    pub(super) agreed: Option<String>,
}

impl SaveForm {
    /// For this; nothing is filled in.
    pub(super) fn new(what: What, part_of: Option<String>) -> Self {
        Self { what, part_of, path: String::new(), format: None, agreed: None }
    }

    /// The form in force.
    pub(super) fn format(&self) -> Format {
        let formats = self.what.formats();
        let named = Format::of(&self.path).filter(|format| formats.contains(format));
        self.format.or(named).or(formats.first().copied()).unwrap_or(Format::Text)
    }
}

/// A file to write.
#[derive(Debug, Clone)]
pub(super) struct Save {
    /// What.
    pub(super) what: What,
    /// In which form.
    pub(super) format: Format,
    /// Where.
    pub(super) to: PathBuf,
    /// In the place of a file that is there.
    pub(super) over: bool,
}

impl Save {
    /// Writes it; returns what to say. Not for a frame.
    pub(super) fn write(&self) -> Result<String, String> {
        let bytes = self.what.bytes(self.format)?;
        let written = if self.over { told::write_over(&self.to, &bytes) } else { told::write_new(&self.to, &bytes) };
        // With its cause: "no space left" is what helps.
        written.map_err(|error| format!("{error:#}"))?;
        Ok(t!("{what} in {file}", what = self.what.count(), file = say::clean(&self.to.display().to_string())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_follows_the_name_until_a_person_chooses() {
        let mut form = SaveForm::new(What::Events(Vec::new()), None);
        assert_eq!(form.format(), Format::Text);
        form.path = "/tmp/boot.JSON".into();
        assert_eq!(form.format(), Format::Json);
        // Events are no packets.
        form.path = "/tmp/boot.pcapng".into();
        assert_eq!(form.format(), Format::Text);
        form.format = Some(Format::Json);
        assert_eq!(form.format(), Format::Json);
    }
}
