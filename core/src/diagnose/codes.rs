//! Error codes as they stand on a machine's screen: iPXE's numbers, and the PXE-E and PXE-M codes of ROMs and UEFI.
//!
//! iPXE packs into its numbers (src/include/errno.h, src/include/ipxe/errfile.h): bits 30 to 24 the POSIX error, bits 23 to 13 the
//! source file, bits 12 to 8 which of that file's cases, bits 7 to 0 the platform's own code, which differs between BIOS and UEFI for
//! the same fault and is left out of every look-up. The tables are `assets/ipxe-errors.tsv`; PXE's codes are in `assets/lang`.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use serde::Serialize;

use crate::boot::Arch;
use crate::lang;

const TABLE: &str = include_str!("../../../assets/ipxe-errors.tsv");

#[derive(Debug, Default)]
struct Tables {
    posix: HashMap<u32, (&'static str, &'static str)>,
    files: HashMap<u32, &'static str>,
    cases: HashMap<(u32, u32, u32), (&'static str, &'static str)>,
}

static TABLES: LazyLock<Tables> = LazyLock::new(|| {
    let mut tables = Tables::default();
    let hex = |text: &str| u32::from_str_radix(text, 16).unwrap_or(u32::MAX);
    for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
        match line.split('\t').collect::<Vec<_>>()[..] {
            ["posix", number, name, meaning] => drop(tables.posix.insert(hex(number), (name, meaning))),
            ["file", number, name] => drop(tables.files.insert(hex(number), name)),
            ["case", file, posix, case, meaning, remedy] => {
                tables.cases.insert((hex(file), hex(posix), hex(case)), (meaning, remedy));
            }
            _ => {}
        }
    }
    tables
});

/// A code in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Decoded {
    /// As it is written: `4c0a6035`, `PXE-E53`.
    pub code: String,
    /// Whose code it is: `ipxe`, `pxe-rom`, `uefi`.
    pub of: &'static str,
    /// What happened.
    pub meaning: String,
    /// What to do; empty where nothing in particular helps.
    pub remedy: String,
    /// For iPXE: the part of it that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub component: Option<&'static str>,
    /// For iPXE: the POSIX name of the error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub posix: Option<&'static str>,
}

/// In which source file, and what kind of part that is, by bits 13 to 15 of a code.
fn part(file: u32, name: &str) -> String {
    let sentence = lang::sentence(
        "ipxe-part",
        match file & 0xe000 {
            0x2000 => "core",
            0x4000 => "driver",
            0x6000 => "net",
            0x8000 => "image",
            _ => "other",
        },
    );
    lang::fill(sentence, &[("name", &name)])
}

/// An error number of iPXE.
#[must_use]
pub fn ipxe(code: u32) -> Decoded {
    let (posix, file, case) = ((code >> 24) & 0x7f, code & 0x00ff_e000, (code >> 8) & 0x1f);
    let known = TABLES.posix.get(&posix).copied();
    let component = TABLES.files.get(&file).copied();
    let exact = TABLES.cases.get(&(file, posix, case)).copied();
    let general = known.map_or_else(|| lang::sentence("ipxe-code", "unknown").to_owned(), |(_, text)| text.to_owned());
    let place = component.map(|name| part(file, name));
    let meaning = match (exact, place) {
        (Some((meaning, _)), Some(place)) => format!("{meaning} {place}"),
        (Some((meaning, _)), None) => meaning.to_owned(),
        (None, Some(place)) if case > 0 => {
            format!("{general} {place} {}", lang::sentence("ipxe-code", "case").replace("{n}", &case.to_string()))
        }
        (None, Some(place)) => format!("{general} {place}"),
        (None, None) => general,
    };
    let name = known.map(|(name, _)| name);
    let by_name = lang::maybe("ipxe-remedy", name.unwrap_or_default()).unwrap_or_default();
    let remedy = exact.map(|(_, remedy)| remedy).filter(|r| !r.is_empty()).unwrap_or(by_name).to_owned();
    Decoded { code: format!("{code:08x}"), of: "ipxe", meaning, remedy, component, posix: name }
}

/// A code `E53` or `M0F`: the ROM's and UEFI's meaning, where they differ both.
fn pxe(code: &str, arch: Option<Arch>) -> Vec<Decoded> {
    let by_arch = |of: &str| arch.is_none_or(|arch| arch.is_uefi() == (of == "uefi"));
    let one = |of: &'static str, key: &str| {
        let table = format!("pxe-code.{key}");
        let meaning = lang::maybe(&table, "means")?.to_owned();
        let remedy = lang::maybe(&table, "remedy").unwrap_or_default().to_owned();
        Some(Decoded { code: format!("PXE-{code}"), of, meaning, remedy, component: None, posix: None })
    };
    let both: Vec<_> = [("pxe-rom", format!("{code}-rom")), ("uefi", format!("{code}-uefi"))]
        .into_iter()
        .filter_map(|(of, key)| one(of, &key))
        .collect();
    let fitting: Vec<_> = both.iter().filter(|d| by_arch(d.of)).cloned().collect();
    if fitting.is_empty() { both } else { fitting }
}

/// Every code in a text: one alone, or a whole line from a screen. `arch` says whose of two meanings counts. In order, each once.
#[must_use]
pub fn read(text: &str, arch: Option<Arch>) -> Vec<Decoded> {
    let mut found: Vec<Decoded> = Vec::new();
    let words: Vec<&str> =
        text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').filter(|w| !w.is_empty()).collect();
    let mut add = |decoded: Decoded| {
        if !found.contains(&decoded) {
            found.push(decoded);
        }
    };
    for (index, word) in words.iter().enumerate() {
        let upper = word.to_ascii_uppercase();
        let number = upper.strip_prefix("PXE-").or((upper.len() == 3).then_some(upper.as_str()));
        let spaced = if upper == "PXE" { words.get(index + 1).map(|next| next.to_ascii_uppercase()) } else { None };
        if let Some(code) = number.or(spaced.as_deref()).filter(|code| is_pxe(code)) {
            pxe(code, arch).into_iter().for_each(&mut add);
        } else if let Some(code) = hex_code(word, place_of(&words, index)) {
            add(ipxe(code));
        }
    }
    found
}

fn is_pxe(code: &str) -> bool {
    code.len() == 3 && code.starts_with(['E', 'M']) && code[1..].chars().all(|c| c.is_ascii_hexdigit())
}

/// Where a word stands that may be a number of iPXE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Alone,
    /// Behind `ipxe.org/` or `ipxe.org/err/`.
    Address,
    Sentence,
}

fn place_of(words: &[&str], index: usize) -> Standing {
    let before = words.get(..index).unwrap_or_default();
    let site = match before {
        [site @ .., last] if last.eq_ignore_ascii_case("err") => site,
        other => other,
    };
    match site {
        [.., name, org] if name.eq_ignore_ascii_case("ipxe") && org.eq_ignore_ascii_case("org") => Standing::Address,
        [] if words.len() == 1 => Standing::Alone,
        _ => Standing::Sentence,
    }
}

/// iPXE prints eight digits, and its site has pages for the first six, without the platform's own byte. A word of a sentence that
/// happens to be hexadecimal is shorter or names no error and no part of iPXE.
fn hex_code(word: &str, standing: Standing) -> Option<u32> {
    let bare = word.strip_prefix("0x").or_else(|| word.strip_prefix("0X"));
    let digits = bare.unwrap_or(word);
    let length = match standing {
        Standing::Alone => 5..=8,
        Standing::Address => 6..=8,
        Standing::Sentence if bare.is_some() => 5..=8,
        Standing::Sentence => 8..=8,
    };
    let plain = length.contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit());
    let number = u32::from_str_radix(digits, 16).ok().filter(|_| plain)?;
    let code = if digits.len() <= 6 { number << 8 } else { number };
    if standing != Standing::Sentence || bare.is_some() {
        return Some(code);
    }
    let known = TABLES.posix.contains_key(&((code >> 24) & 0x7f)) && TABLES.files.contains_key(&(code & 0x00ff_e000));
    (known && digits.bytes().any(|b| b.is_ascii_digit())).then_some(code)
}

/// All parts of iPXE that have codes, with their number; for tests and for who wants to see the table.
#[must_use]
pub fn components() -> BTreeMap<u32, &'static str> {
    TABLES.files.iter().map(|(file, name)| (*file, *name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_known_checks_of_ipxes_layout() {
        let told = |code| {
            let d = ipxe(code);
            (d.posix.unwrap_or_default(), d.component.unwrap_or_default(), d.meaning)
        };
        assert_eq!((told(0x4c0a_6035).0, told(0x4c0a_6035).1), ("ETIMEDOUT", "tcp"));
        assert_eq!((told(0x2c0d_603b).0, told(0x2c0d_603b).1), ("ENODEV", "iscsi"));
        let short = told(0x1c0d_6302);
        assert_eq!((short.0, short.1), ("EINVAL", "iscsi"));
        assert_eq!((told(0x040e_e119).0, told(0x040e_e119).1), ("EADDRNOTAVAIL", "ifmgmt"));
        assert_eq!((told(0x3808_6101).0, told(0x3808_6101).1), ("ENOTCONN", "netdevice"));
        assert_eq!((told(0x2d0c_618e).0, told(0x2d0c_618e).1), ("ENOENT", "httpcore"));
        assert_eq!(told(0x2e00_8081).0, "ENOEXEC");
        assert!(told(0x2e00_8081).2.contains("program"), "{}", told(0x2e00_8081).2);
    }

    #[test]
    fn the_platforms_byte_changes_nothing() {
        for low in [0x00, 0x02, 0x35, 0x8e, 0xff] {
            let (a, b) = (ipxe(0x4c0a_6000 | low), ipxe(0x4c0a_6035));
            assert_eq!((a.meaning, a.remedy, a.component), (b.meaning, b.remedy, b.component));
        }
    }

    #[test]
    fn codes_are_found_in_whole_messages() {
        let codes = |text| read(text, None).into_iter().map(|d| d.code).collect::<Vec<_>>();
        assert_eq!(codes("Connection timed out (http://ipxe.org/4c0a6035)"), ["4c0a6035"]);
        assert_eq!(codes("0x4c0a6035"), ["4c0a6035"]);
        assert_eq!(codes("40ee119"), ["040ee119"], "a leading zero is easily lost");
        assert_eq!(codes("PXE-E53: No boot filename received"), ["PXE-E53", "PXE-E53"]);
        assert_eq!(read("pxe-e53", Some(Arch::Bios)).len(), 1);
        assert_eq!(codes("e18"), ["PXE-E18"]);
        assert_eq!(codes("PXE E61 media test failure, check cable"), ["PXE-E61"]);
        assert_eq!(codes("PXE-M0F: Exiting Intel Boot Agent."), ["PXE-M0F"]);
        assert_eq!(codes("PXE-T01: File not found. PXE-E3B: TFTP Error - File Not found"), ["PXE-E3B"]);
        assert_eq!(codes("a defaced facade was added"), Vec::<String>::new());
        assert_eq!(codes(""), Vec::<String>::new());
    }

    #[test]
    fn the_addresses_of_ipxes_pages_are_read() {
        let codes = |text| read(text, None).into_iter().map(|d| d.code).collect::<Vec<_>>();
        for text in ["https://ipxe.org/err/4c0a60", "see ipxe.org/4c0a60 for more", "IPXE.ORG/err/4C0A60", "4c0a60"] {
            assert_eq!(codes(text), ["4c0a6000"], "{text}");
        }
        assert_eq!(read("https://ipxe.org/err/4c0a60", None)[0].posix, Some("ETIMEDOUT"));
        assert_eq!(codes("it says http://ipxe.org/7fffffff"), ["7fffffff"], "behind the site's name it is one");
        assert_eq!(codes("https://ipxe.org/err"), Vec::<String>::new());
    }

    #[test]
    fn what_only_looks_like_a_number_of_ipxe_is_none() {
        let codes = |text| read(text, None).into_iter().map(|d| d.code).collect::<Vec<_>>();
        for text in [
            "4c4c4544-0042-3510-8054-b4c04f4d3132",
            "the system {4c0a6035-0042-3510-8054-b4c04f4d3132} did not start",
            "serial number 7fffffff of the card",
            "a build of 4c0a60 or so",
        ] {
            assert_eq!(codes(text), Vec::<String>::new(), "{text}");
        }
        assert_eq!(codes("Could not boot: error 4c0a6035"), ["4c0a6035"]);
        assert_eq!(codes("Could not boot: error 0x7fffffff"), ["7fffffff"]);
    }

    #[test]
    fn firmware_that_means_two_things_by_one_code_is_told_apart_by_the_machine() {
        let both = read("PXE-E21", None);
        assert_eq!(both.iter().map(|d| d.of).collect::<Vec<_>>(), ["pxe-rom", "uefi"]);
        let uefi = read("PXE-E21", Some(Arch::UefiX64));
        assert_eq!(uefi.len(), 1);
        assert_ne!(both[0].meaning, uefi[0].meaning);
    }

    /// Every number has an answer, and every row of the table can be reached.
    #[test]
    fn the_whole_space_is_answered() {
        let tables = &*TABLES;
        assert!(tables.posix.len() >= 75 && tables.files.len() >= 400 && tables.cases.len() >= 200);
        for (file, name) in components() {
            for posix in tables.posix.keys() {
                for case in 0..32 {
                    let decoded = ipxe((posix << 24) | file | (case << 8) | 0x42);
                    assert_eq!(decoded.component, Some(name));
                    assert!(
                        decoded.posix.is_some() && !decoded.meaning.contains('{') && decoded.meaning.ends_with('.')
                    );
                }
            }
        }
        for ((file, posix, case), (meaning, _)) in &tables.cases {
            let decoded = ipxe((posix << 24) | file | (case << 8));
            assert!(
                decoded.meaning.starts_with(meaning) && decoded.component.is_some(),
                "{file:06x} {posix:02x} {case}"
            );
        }
        assert!(!ipxe(0x7fff_ffff).meaning.is_empty());
    }
}
