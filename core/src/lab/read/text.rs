//! The small languages inside lab.toml's texts: durations, iSCSI names, paths; and the nearest known word.

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use crate::lab::schema::Name;

/// `90s`, `30m`, `24h`, `1d`, or several of these in a row.
///
/// # Errors
/// A sentence that says what was expected.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let bad = || format!("`{text}` is not a time; expected a number with s, m, h or d such as 30m");
    let mut total: u64 = 0;
    let mut digits = String::new();
    let mut any = false;
    for c in text.chars() {
        if c.is_ascii_digit() {
            digits.push(c);
            continue;
        }
        let seconds: u64 = match c {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            _ => return Err(bad()),
        };
        let number: u64 = digits.parse().map_err(|_| bad())?;
        digits.clear();
        any = true;
        let part = number.checked_mul(seconds).ok_or_else(bad)?;
        total = total.checked_add(part).ok_or_else(bad)?;
    }
    // DHCP counts seconds in 32 bits, and the highest number means for ever.
    if !any || !digits.is_empty() || total >= u64::from(u32::MAX) {
        return Err(bad());
    }
    Ok(Duration::from_secs(total))
}

/// The same as a text, in the largest unit that is exact.
#[must_use]
pub fn duration_text(time: Duration) -> String {
    let seconds = time.as_secs();
    for (unit, word) in [(86_400, "d"), (3600, "h"), (60, "m")] {
        if seconds > 0 && seconds.is_multiple_of(unit) {
            return format!("{}{word}", seconds / unit);
        }
    }
    format!("{seconds}s")
}

/// The target name of a disk that names none.
#[must_use]
pub fn derived_iqn(name: &Name) -> String {
    format!("iqn.2026-11.org.bootyard:{name}")
}

/// What is wrong with an iSCSI name (RFC 7143 4.2.7, RFC 3722), and what would be right.
pub(super) fn iscsi_name(name: &str) -> Result<(), (String, Option<String>)> {
    if name.len() > 223 {
        return Err((format!("the iSCSI name is {} bytes long; 223 are allowed", name.len()), None));
    }
    if name.chars().any(char::is_uppercase) {
        let lower = name.to_lowercase();
        return Err((format!("`{name}` has capital letters; iSCSI names are lower case"), Some(lower)));
    }
    let hex = |s: &str, lengths: &[usize]| lengths.contains(&s.len()) && s.bytes().all(|b| b.is_ascii_hexdigit());
    if let Some(rest) = name.strip_prefix("eui.") {
        return if hex(rest, &[16]) {
            Ok(())
        } else {
            Err((format!("`{name}` is not an eui. name; 16 hexadecimal digits follow"), None))
        };
    }
    if let Some(rest) = name.strip_prefix("naa.") {
        return if hex(rest, &[16, 32]) {
            Ok(())
        } else {
            Err((format!("`{name}` is not a naa. name; 16 or 32 hexadecimal digits follow"), None))
        };
    }
    let form = "expected iqn.YEAR-MONTH.REVERSED-DOMAIN:NAME such as iqn.2001-04.com.example:disk1";
    let Some(rest) = name.strip_prefix("iqn.") else {
        return Err((format!("`{name}` is not an iSCSI name; {form}"), None));
    };
    let (date, rest) = rest.split_once('.').unwrap_or((rest, ""));
    let date_ok = date.split_once('-').is_some_and(|(year, month)| {
        year.len() == 4
            && year.bytes().all(|b| b.is_ascii_digit())
            && month.len() == 2
            && month.parse::<u8>().is_ok_and(|m| (1..=12).contains(&m))
    });
    let authority = rest.split(':').next().unwrap_or_default();
    if !date_ok || authority.is_empty() || authority.split('.').any(str::is_empty) {
        return Err((format!("`{name}` is not an iSCSI name; {form}"), None));
    }
    let odd = name.chars().find(|c| !(c.is_ascii_lowercase() || c.is_ascii_digit() || "-.:_".contains(*c)));
    match odd {
        Some(odd) => Err((format!("`{name}` has `{odd}`; iSCSI names are made of a-z, 0-9, `-`, `.` and `:`"), None)),
        None => Ok(()),
    }
}

/// A path below `media/` or `disks/`, or an absolute one, in its plain form; the error says what is wrong.
pub(super) fn path(text: &str, below: &str) -> Result<PathBuf, String> {
    if text.is_empty() || text.contains('\0') {
        return Err(format!("`{text}` is not a path; expected a file below {below}/, or an absolute path"));
    }
    let path = Path::new(text);
    if path.components().any(|c| c == Component::ParentDir) {
        return Err(format!("`{text}` climbs out with `..`; expected a file below {below}/, or an absolute path"));
    }
    let plain: PathBuf = path.components().filter(|c| *c != Component::CurDir).collect();
    if plain.file_name().is_none() {
        return Err(format!("`{text}` names no file; expected one below {below}/, or an absolute path"));
    }
    Ok(plain)
}

/// The known word that was probably meant: at most a third of it wrong.
pub(in crate::lab) fn nearest<'w>(word: &str, known: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    let flat = |s: &str| s.to_ascii_lowercase().replace('_', "-");
    let word = flat(word);
    if word.len() > 64 {
        return None;
    }
    known
        .into_iter()
        .map(|k| (distance(&word, &flat(k)), k))
        .filter(|(d, k)| *d <= (k.len().max(word.len()) / 3).max(1))
        .min_by_key(|(d, _)| *d)
        .map(|(_, k)| k)
}

/// Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, cb) in b.iter().enumerate() {
            let at = |row: &[usize], n: usize| row.get(n).copied().unwrap_or(usize::MAX / 2);
            let mut best = (at(&last, j) + usize::from(ca != cb)).min(at(&last, j + 1) + 1).min(at(&row, j) + 1);
            if i > 0 && j > 0 && a.get(i - 1) == Some(cb) && b.get(j - 1) == Some(ca) {
                best = best.min(at(&before, j - 1) + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or_default()
}

/// Bytes from `8G`, `512 MiB`, `4096`: whole sectors of 512 bytes.
///
/// # Errors
/// A sentence that says what was expected.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let bad = || format!("`{text}` is not a size; expected bytes, or a number with K, M, G or T such as 8G");
    let upper = text.trim().to_ascii_uppercase();
    let upper = upper.trim_end_matches("IB").trim_end_matches('B');
    let (digits, factor) = match upper.as_bytes().last() {
        Some(b'K') => (upper.trim_end_matches('K'), 1 << 10),
        Some(b'M') => (upper.trim_end_matches('M'), 1 << 20),
        Some(b'G') => (upper.trim_end_matches('G'), 1 << 30),
        Some(b'T') => (upper.trim_end_matches('T'), 1_u64 << 40),
        _ => (upper, 1),
    };
    let number: u64 = digits.trim().parse().map_err(|_| bad())?;
    let size = number.checked_mul(factor).filter(|n| *n > 0).ok_or_else(bad)?;
    if !size.is_multiple_of(512) {
        return Err(format!("{size} bytes is no multiple of 512; round it up"));
    }
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        assert_eq!(parse_size("8G"), Ok(8 << 30));
        assert_eq!(parse_size("512 MiB"), Ok(512 << 20));
        assert_eq!(parse_size("4096"), Ok(4096));
        for bad in ["", "G", "-1G", "0", "99999999999T", "8X", "1000"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times_are_numbers_with_units() {
        let seconds = |t: &str| parse_duration(t).map(|d| d.as_secs());
        assert_eq!(
            [seconds("0s"), seconds("30m"), seconds("24h"), seconds("1d"), seconds("1h30m")],
            [Ok(0), Ok(1800), Ok(86_400), Ok(86_400), Ok(5400)]
        );
        for bad in ["", "30", "m", "1 h", "-1s", "1w", "99999999999999999999s", "50000d", "1.5h"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn iscsi_names_have_their_rfc_s_form() {
        for good in ["iqn.2001-04.com.server:server01.vg00.lun0", "iqn.2001-04.com.example", "eui.02004567a425678d"] {
            assert_eq!(iscsi_name(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "disk",
            "iqn.",
            "iqn.2001-13.com.x",
            "iqn.2001-04.",
            "iqn.2001-04.com..x:y",
            "naa.12",
            "iqn.2001-04.com.x:a b",
        ] {
            assert!(iscsi_name(bad).is_err(), "{bad}");
        }
        assert_eq!(iscsi_name("iqn.2001-04.com.X:Y").unwrap_err().1.as_deref(), Some("iqn.2001-04.com.x:y"));
    }

    #[test]
    fn a_slip_of_the_finger_is_understood() {
        assert_eq!(nearest("adress", ["address", "router"]), Some("address"));
        assert_eq!(nearest("wait_timeout", ["wait-timeout"]), Some("wait-timeout"));
        assert_eq!(nearest("unkonwn", ["unknown"]), Some("unknown"));
        assert_eq!(nearest("banana", ["address", "router"]), None);
    }

    #[test]
    fn a_path_stays_below_its_folder() {
        assert_eq!(path("./a//b", "media").unwrap(), PathBuf::from("a/b"));
        assert!(path("../x", "media").is_err() && path("a/../../x", "media").is_err());
        assert!(path("", "media").is_err() && path("/", "media").is_err() && path("a\0", "media").is_err());
        assert_eq!(path("/srv/x.raw", "disks").unwrap(), PathBuf::from("/srv/x.raw"));
    }
}
