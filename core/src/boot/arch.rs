//! Client architectures (option 93, RFC 4578 2.1 and IANA's registry) as the few that need different boot files.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a firmware can execute, and whether it asks for an HTTP URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arch {
    /// PC BIOS.
    Bios,
    /// 32-bit x86 UEFI.
    UefiIa32,
    /// x86-64 UEFI.
    UefiX64,
    /// 32-bit ARM UEFI.
    UefiArm32,
    /// 64-bit ARM UEFI.
    UefiArm64,
    /// PC BIOS that boots over HTTP.
    BiosHttp,
    /// 32-bit x86 UEFI HTTP Boot.
    UefiIa32Http,
    /// x86-64 UEFI HTTP Boot.
    UefiX64Http,
    /// 32-bit ARM UEFI HTTP Boot.
    UefiArm32Http,
    /// 64-bit ARM UEFI HTTP Boot.
    UefiArm64Http,
    /// 32-bit RISC-V UEFI.
    UefiRiscv32,
    /// 64-bit RISC-V UEFI.
    UefiRiscv64,
    /// 32-bit LoongArch UEFI.
    UefiLoong32,
    /// 64-bit LoongArch UEFI.
    UefiLoong64,
    /// 32-bit RISC-V UEFI, HTTP Boot.
    UefiRiscv32Http,
    /// 64-bit RISC-V UEFI, HTTP Boot.
    UefiRiscv64Http,
    /// 32-bit LoongArch UEFI, HTTP Boot.
    UefiLoong32Http,
    /// 64-bit LoongArch UEFI, HTTP Boot.
    UefiLoong64Http,
    /// A Raspberry Pi's own loader, which asks over TFTP for the files of its board.
    RaspberryPi,
}

impl Arch {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 19] = [
        Self::Bios,
        Self::UefiIa32,
        Self::UefiX64,
        Self::UefiArm32,
        Self::UefiArm64,
        Self::BiosHttp,
        Self::UefiIa32Http,
        Self::UefiX64Http,
        Self::UefiArm32Http,
        Self::UefiArm64Http,
        Self::UefiRiscv32,
        Self::UefiRiscv64,
        Self::UefiLoong32,
        Self::UefiLoong64,
        Self::UefiRiscv32Http,
        Self::UefiRiscv64Http,
        Self::UefiLoong32Http,
        Self::UefiLoong64Http,
        Self::RaspberryPi,
    ];

    /// From option 93's number. RFC 4578 calls 7 "EFI BC" and 9 "EFI x86-64"; firmware sends 7 for x64.
    #[must_use]
    pub fn from_code(code: u16) -> Option<Self> {
        Some(match code {
            0..=5 => Self::Bios,
            6 => Self::UefiIa32,
            7 | 9 => Self::UefiX64,
            10 => Self::UefiArm32,
            11 => Self::UefiArm64,
            15 => Self::UefiIa32Http,
            16 => Self::UefiX64Http,
            18 => Self::UefiArm32Http,
            19 => Self::UefiArm64Http,
            20 => Self::BiosHttp,
            25 => Self::UefiRiscv32,
            26 => Self::UefiRiscv32Http,
            27 => Self::UefiRiscv64,
            28 => Self::UefiRiscv64Http,
            37 => Self::UefiLoong32,
            38 => Self::UefiLoong32Http,
            39 => Self::UefiLoong64,
            40 => Self::UefiLoong64Http,
            41 => Self::RaspberryPi,
            _ => return None,
        })
    }

    /// The number by which firmware names it in option 93: the lowest, where there are several.
    #[must_use]
    pub fn code(self) -> u16 {
        (0..=u16::from(u8::MAX)).find(|code| Self::from_code(*code) == Some(self)).unwrap_or_default()
    }

    /// Whether the firmware wants a URI instead of a TFTP file name.
    #[must_use]
    pub fn is_http(self) -> bool {
        self != self.without_http()
    }

    /// Any UEFI.
    #[must_use]
    pub fn is_uefi(self) -> bool {
        !matches!(self.without_http(), Self::Bios | Self::RaspberryPi)
    }

    /// The same processor and firmware without HTTP Boot: it takes the same binary.
    #[must_use]
    pub fn without_http(self) -> Self {
        match self {
            Self::BiosHttp => Self::Bios,
            Self::UefiIa32Http => Self::UefiIa32,
            Self::UefiX64Http => Self::UefiX64,
            Self::UefiArm32Http => Self::UefiArm32,
            Self::UefiArm64Http => Self::UefiArm64,
            Self::UefiRiscv32Http => Self::UefiRiscv32,
            Self::UefiRiscv64Http => Self::UefiRiscv64,
            Self::UefiLoong32Http => Self::UefiLoong32,
            Self::UefiLoong64Http => Self::UefiLoong64,
            other => other,
        }
    }

    /// The name of lab.toml.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bios => "bios",
            Self::UefiIa32 => "uefi-ia32",
            Self::UefiX64 => "uefi-x64",
            Self::UefiArm32 => "uefi-arm32",
            Self::UefiArm64 => "uefi-arm64",
            Self::BiosHttp => "bios-http",
            Self::UefiIa32Http => "uefi-ia32-http",
            Self::UefiX64Http => "uefi-x64-http",
            Self::UefiArm32Http => "uefi-arm32-http",
            Self::UefiArm64Http => "uefi-arm64-http",
            Self::UefiRiscv32 => "uefi-riscv32",
            Self::UefiRiscv32Http => "uefi-riscv32-http",
            Self::UefiRiscv64 => "uefi-riscv64",
            Self::UefiRiscv64Http => "uefi-riscv64-http",
            Self::UefiLoong32 => "uefi-loong32",
            Self::UefiLoong32Http => "uefi-loong32-http",
            Self::UefiLoong64 => "uefi-loong64",
            Self::UefiLoong64Http => "uefi-loong64-http",
            Self::RaspberryPi => "raspberry-pi",
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Not an architecture's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not an architecture; expected one of bios, uefi-ia32, uefi-x64, uefi-arm32, uefi-arm64, uefi-riscv32, uefi-riscv64, uefi-loong32, uefi-loong64, \
     each also with -http, or raspberry-pi"
)]
pub struct ArchError(pub String);

impl FromStr for Arch {
    type Err = ArchError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|a| a.as_str() == s).ok_or_else(|| ArchError(s.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_same_in_toml_and_json() {
        for arch in Arch::ALL {
            assert_eq!(arch.as_str().parse::<Arch>().unwrap(), arch);
            assert_eq!(serde_json::to_string(&arch).unwrap(), format!("\"{arch}\""));
            assert_eq!(Arch::from_code(arch.code()), Some(arch));
        }
    }
}
