//! From a lab to the files of others, so that what was tried on the bench moves to the production network.
//!
//! What each client is given is asked of [`crate::boot::decide`], as our own DHCP server does, and written down in each format's own
//! way ([`dhcpd`], [`dnsmasq`], [`kea`]). The scripts that the engine makes for each request become static files ([`scripts`]), and the
//! disks become targets ([`tgt`], [`lio`]). What a static server cannot do is in [`Export::notes`].

mod dhcpd;
mod dnsmasq;
mod kea;
mod lio;
mod scripts;
mod site;
mod tgt;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::boot::Firmware;
use crate::lab::Lab;
use crate::net::Ipv4Cidr;
use site::Site;

/// Whose configuration is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportFormat {
    /// ISC dhcpd.conf.
    Dhcpd,
    /// dnsmasq.conf.
    Dnsmasq,
    /// Kea's JSON.
    Kea,
    /// tgt's targets.conf.
    Tgt,
    /// LIO, as targetcli saves and restores it.
    Lio,
}

impl ExportFormat {
    /// All of them, in the order in which they are named to a person.
    pub const ALL: [Self; 5] = [Self::Dhcpd, Self::Dnsmasq, Self::Kea, Self::Tgt, Self::Lio];

    /// The word for the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dhcpd => "dhcpd",
            Self::Dnsmasq => "dnsmasq",
            Self::Kea => "kea",
            Self::Tgt => "tgt",
            Self::Lio => "lio",
        }
    }
}

impl FromStr for ExportFormat {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let words = Self::ALL.map(Self::as_str).join(", ");
        Self::ALL.into_iter().find(|f| f.as_str() == s).ok_or_else(|| format!("`{s}` is no format; expected {words}"))
    }
}

/// What is exported, and for where.
#[derive(Debug, Clone)]
pub struct Subject<'a> {
    /// The lab.
    pub lab: &'a Lab,
    /// The addresses of its networks' servers, in their order: lab.toml's, else the interface's; `None` where neither has one.
    pub addresses: Vec<Option<Ipv4Cidr>>,
    /// The boot files that are there.
    pub firmware: &'a Firmware,
    /// `media/`.
    pub media: &'a Path,
    /// `disks/`.
    pub disks: &'a Path,
    /// The address of the production server, if that is not the networks' own.
    pub server: Option<Ipv4Addr>,
    /// The LUN in root-paths: 0, but 1 for tgt, whose LUN 0 is its controller.
    pub lun: u8,
    /// Where the files will be on the production server: for what names folders.
    pub place: &'a Path,
}

/// A file that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutFile {
    /// Its name, below the folder of the export.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
    /// It holds secrets and is for its owner alone: mode 0600.
    pub secret: bool,
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Export {
    /// The configuration first, then what it names.
    pub files: Vec<OutFile>,
    /// Files of the lab that belong beside these: from where, to which name below the folder of the export.
    pub copies: Vec<(PathBuf, PathBuf)>,
    /// What is different from Bootyard, and what a person has to do.
    pub notes: Vec<String>,
}

/// Why nothing came of it.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// Nothing to serve.
    #[error("the lab has no [network]; DHCP needs one")]
    NoNetwork,
    /// No address.
    #[error(
        "nobody knows our address on {0}: add `address` to its [network], or name the production server with --server"
    )]
    NoAddress(String),
    /// No disks.
    #[error("the lab has no [[disk]] to export")]
    NoDisks,
    /// A size that LIO wants to be told.
    #[error(
        "LIO asks for the size of {}, which is missing or empty: bring the image, or add `size` to its [[disk]]", .0.display()
    )]
    NoSize(PathBuf),
}

/// Writes the lab in a format. Touches no file but the lab's answer files, which it reads.
///
/// # Errors
/// [`ExportError`]: the lab has nothing that this format could say.
pub fn export(format: ExportFormat, subject: &Subject<'_>) -> Result<Export, ExportError> {
    let mut out = Export::default();
    match format {
        ExportFormat::Dhcpd | ExportFormat::Dnsmasq | ExportFormat::Kea => {
            let site = Site::new(subject, format, &mut out)?;
            let (name, text) = match format {
                ExportFormat::Dhcpd => ("dhcpd.conf", dhcpd::write(&site)),
                ExportFormat::Dnsmasq => ("dnsmasq.conf", dnsmasq::write(&site)),
                _ => ("kea-dhcp4.conf", kea::write(&site)),
            };
            out.files.push(OutFile { path: name.into(), text, secret: false });
            scripts::write(&site, &mut out);
            site.firmware(&mut out);
            site.notes(format, &mut out);
        }
        ExportFormat::Tgt | ExportFormat::Lio if subject.lab.disks.is_empty() => return Err(ExportError::NoDisks),
        ExportFormat::Tgt => tgt::write(subject, &mut out),
        ExportFormat::Lio => lio::write(subject, &mut out)?,
    }
    Ok(out)
}

#[cfg(test)]
mod tests;
