//! What a machine gets: `boot` of a host, `unknown` of a network.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Name, Writes};

/// What a host gets: `boot` of lab.toml. JSON has the same form as TOML: `"local"`, `"wait"`, `"menu"`, `"ignore"`,
/// `{ iscsi = "disk" }` or `{ install = "profile", then = … }`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "BootForm", into = "BootForm")]
pub enum Boot {
    /// Its own disk.
    Local,
    /// Waits for a technician.
    #[default]
    Wait,
    /// A menu on its screen.
    Menu,
    /// Listed, never answered.
    Ignore,
    /// A disk over iSCSI.
    Iscsi(IscsiBoot),
    /// An installer.
    Install(Install),
}

/// `{ iscsi = "server01" }`, with `profile` to start that profile's kernel directly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct IscsiBoot {
    /// The disk.
    #[serde(rename = "iscsi")]
    pub disk: Name,
    /// Its kernel comes over HTTP, its root is the disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<Name>,
    /// How iPXE is told of the disk.
    #[serde(default, skip_serializing_if = "IscsiVia::is_script")]
    pub via: IscsiVia,
    /// For this host only, instead of the disk's: `keep` or `image` to try changes that are then committed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writes: Option<Writes>,
}

/// How iPXE is told of its disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IscsiVia {
    /// By a script with `sanboot`: errors come back to the engine.
    #[default]
    Script,
    /// By the classic DHCP answer: `filename ""` and option 17, without a script.
    RootPath,
}

impl IscsiVia {
    #[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
    fn is_script(&self) -> bool {
        *self == Self::Script
    }
}

/// `{ install = "debian-12", then = "local" }`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Install {
    /// The profile.
    #[serde(rename = "install")]
    pub profile: Name,
    /// What follows when the installer has proven to run.
    #[serde(default)]
    pub then: InstallThen,
}

/// What follows an installation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "ThenForm", into = "ThenForm")]
pub enum InstallThen {
    /// The local disk.
    #[default]
    Local,
    /// A disk over iSCSI.
    Iscsi(IscsiBoot),
}

impl From<InstallThen> for Boot {
    fn from(then: InstallThen) -> Self {
        match then {
            InstallThen::Local => Self::Local,
            InstallThen::Iscsi(iscsi) => Self::Iscsi(iscsi),
        }
    }
}

impl Boot {
    /// The disk that it serves, now.
    #[must_use]
    pub fn disk(&self) -> Option<&Name> {
        match self {
            Self::Iscsi(iscsi) => Some(&iscsi.disk),
            _ => None,
        }
    }

    /// The disk that it serves, now or after an installation.
    #[must_use]
    pub fn any_disk(&self) -> Option<&Name> {
        self.any_iscsi().map(|iscsi| &iscsi.disk)
    }

    /// How it serves a disk, now or after an installation.
    #[must_use]
    pub fn any_iscsi(&self) -> Option<&IscsiBoot> {
        match self {
            Self::Iscsi(iscsi) | Self::Install(Install { then: InstallThen::Iscsi(iscsi), .. }) => Some(iscsi),
            _ => None,
        }
    }
}

impl fmt::Display for Boot {
    /// As `bootyard assign` takes it: `install debian-12`, `iscsi server01`, `local` …
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.write_str("local"),
            Self::Wait => f.write_str("wait"),
            Self::Menu => f.write_str("menu"),
            Self::Ignore => f.write_str("ignore"),
            Self::Iscsi(IscsiBoot { disk, profile, writes, .. }) => {
                write!(f, "iscsi {disk}")?;
                if let Some(profile) = profile {
                    write!(f, ", profile {profile}")?;
                }
                writes.map_or(Ok(()), |writes| write!(f, ", writes {writes}"))
            }
            Self::Install(Install { profile, .. }) => write!(f, "install {profile}"),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum BootWord {
    Local,
    Wait,
    Menu,
    Ignore,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum BootForm {
    Word(BootWord),
    Iscsi(IscsiBoot),
    Install(Install),
}

impl From<BootForm> for Boot {
    fn from(form: BootForm) -> Self {
        match form {
            BootForm::Word(BootWord::Local) => Self::Local,
            BootForm::Word(BootWord::Wait) => Self::Wait,
            BootForm::Word(BootWord::Menu) => Self::Menu,
            BootForm::Word(BootWord::Ignore) => Self::Ignore,
            BootForm::Iscsi(iscsi) => Self::Iscsi(iscsi),
            BootForm::Install(install) => Self::Install(install),
        }
    }
}

impl From<Boot> for BootForm {
    fn from(boot: Boot) -> Self {
        match boot {
            Boot::Local => Self::Word(BootWord::Local),
            Boot::Wait => Self::Word(BootWord::Wait),
            Boot::Menu => Self::Word(BootWord::Menu),
            Boot::Ignore => Self::Word(BootWord::Ignore),
            Boot::Iscsi(iscsi) => Self::Iscsi(iscsi),
            Boot::Install(install) => Self::Install(install),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum LocalWord {
    Local,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum ThenForm {
    Local(LocalWord),
    Iscsi(IscsiBoot),
}

impl From<ThenForm> for InstallThen {
    fn from(form: ThenForm) -> Self {
        match form {
            ThenForm::Local(LocalWord::Local) => Self::Local,
            ThenForm::Iscsi(iscsi) => Self::Iscsi(iscsi),
        }
    }
}

impl From<InstallThen> for ThenForm {
    fn from(then: InstallThen) -> Self {
        match then {
            InstallThen::Local => Self::Local(LocalWord::Local),
            InstallThen::Iscsi(iscsi) => Self::Iscsi(iscsi),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boot_has_one_form_in_json_and_toml() {
        let disk: Name = "server01".parse().unwrap();
        let iscsi = IscsiBoot { disk, profile: None, via: IscsiVia::Script, writes: None };
        for (boot, json) in [
            (Boot::Wait, r#""wait""#),
            (Boot::Iscsi(iscsi.clone()), r#"{"iscsi":"server01"}"#),
            (
                Boot::Install(Install { profile: "debian-12".parse().unwrap(), then: InstallThen::Iscsi(iscsi) }),
                r#"{"install":"debian-12","then":{"iscsi":"server01"}}"#,
            ),
        ] {
            assert_eq!(serde_json::to_string(&boot).unwrap(), json);
            assert_eq!(serde_json::from_str::<Boot>(json).unwrap(), boot);
        }
    }
}
