//! `key=value` text of Login and Text PDUs (RFC 7143 6.1), and CHAP's binary values.

/// Keys in one text; RFC 7143 defines about forty.
const MAX_KEYS: usize = 128;
/// Longest key (RFC 7143 6.1).
const MAX_KEY: usize = 63;
/// Longest value: a binary value of 1024 bytes in hexadecimal, and some room.
const MAX_VALUE: usize = 4096;

/// A text that breaks the rules.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// No `=`.
    #[error("a text item without `=`")]
    NoEquals,
    /// A key that is empty, too long, or has forbidden characters.
    #[error("a key that RFC 7143 6.1 does not allow")]
    BadKey,
    /// A value that is too long or not UTF-8.
    #[error("the value of {0} is too long or not UTF-8")]
    BadValue(String),
    /// The same key twice.
    #[error("the key {0} comes twice")]
    Twice(String),
    /// Too many keys.
    #[error("more than {MAX_KEYS} keys")]
    TooMany,
}

/// Splits a text into its pairs, in order.
///
/// # Errors
/// [`TextError`]
pub fn parse(text: &[u8]) -> Result<Vec<(String, String)>, TextError> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    // Padding with zero bytes is common, so empty items are passed over.
    for item in text.split(|&b| b == 0).filter(|item| !item.is_empty()) {
        if pairs.len() == MAX_KEYS {
            return Err(TextError::TooMany);
        }
        let equals = item.iter().position(|&b| b == b'=').ok_or(TextError::NoEquals)?;
        let (key, value) = item.split_at(equals);
        let allowed = |b: &u8| b.is_ascii_alphanumeric() || b"+-.@_#".contains(b);
        if key.is_empty() || key.len() > MAX_KEY || !key.iter().all(allowed) {
            return Err(TextError::BadKey);
        }
        let key = String::from_utf8_lossy(key).into_owned();
        let value = value.get(1..).unwrap_or_default();
        let value = match std::str::from_utf8(value) {
            Ok(text) if text.len() <= MAX_VALUE => text.to_owned(),
            _ => return Err(TextError::BadValue(key)),
        };
        if pairs.iter().any(|(k, _)| *k == key) {
            return Err(TextError::Twice(key));
        }
        pairs.push((key, value));
    }
    Ok(pairs)
}

/// Appends a pair.
pub fn push(text: &mut Vec<u8>, key: &str, value: &str) {
    text.extend_from_slice(key.as_bytes());
    text.push(b'=');
    text.extend_from_slice(value.as_bytes());
    text.push(0);
}

/// A binary value: `0x` and hexadecimal digits, or `0b` and base64 (RFC 7143 6.1). At most 1024 bytes.
#[must_use]
pub fn binary(value: &str) -> Option<Vec<u8>> {
    let bytes = if let Some(hex) = value.strip_prefix("0x").or_else(|| value.strip_prefix("0X")) {
        // An odd number of digits has its leading zero left out.
        let digits: Vec<u8> = hex.chars().map(|c| c.to_digit(16).map(|d| d as u8)).collect::<Option<_>>()?;
        let (first, pairs) = digits.split_at(digits.len() % 2);
        first.iter().copied().chain(pairs.chunks_exact(2).map(|p| p[0] << 4 | p[1])).collect()
    } else {
        base64(value.strip_prefix("0b").or_else(|| value.strip_prefix("0B"))?)?
    };
    (!bytes.is_empty() && bytes.len() <= 1024).then_some(bytes)
}

fn base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    if text.len() - digits.len() > 2 {
        return None;
    }
    let mut out = Vec::with_capacity(digits.len() * 3 / 4);
    let (mut bits, mut held) = (0_u32, 0);
    for c in digits.bytes() {
        let six = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(six);
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
        }
    }
    // What is left over of the last digit must be zero, and never a whole digit.
    (held < 6 && bits & ((1 << held) - 1) == 0).then_some(out)
}

/// A binary value in hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::from("0x"), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_come_in_order_and_padding_is_passed_over() {
        let pairs = parse(b"A=1\0B=\0C=x=y\0\0\0").unwrap();
        assert_eq!(pairs, [("A", "1"), ("B", ""), ("C", "x=y")].map(|(k, v)| (k.to_owned(), v.to_owned())));
    }

    #[test]
    fn what_breaks_the_rules_is_named() {
        assert_eq!(parse(b"A"), Err(TextError::NoEquals));
        assert_eq!(parse(b"=1"), Err(TextError::BadKey));
        assert_eq!(parse(b"A=1\0A=2"), Err(TextError::Twice("A".into())));
        assert_eq!(parse(b"A=\xff"), Err(TextError::BadValue("A".into())));
        assert_eq!(parse(&b"A=1\0".repeat(2)), Err(TextError::Twice("A".into())));
        let many: Vec<u8> = (0..200).flat_map(|n| format!("K{n}=1\0").into_bytes()).collect();
        assert_eq!(parse(&many), Err(TextError::TooMany));
    }

    #[test]
    fn binary_values_in_both_forms() {
        assert_eq!(binary("0x0aFf"), Some(vec![0x0a, 0xff]));
        assert_eq!(binary("0xaff"), Some(vec![0x0a, 0xff]));
        assert_eq!(binary("0bSGVsbG8="), Some(b"Hello".to_vec()));
        assert_eq!(binary("0bSGVsbG8"), Some(b"Hello".to_vec()));
        for wrong in ["", "0x", "0xg1", "0b", "0b!", "Hello", "0bS", "0bSGVsbG8====="] {
            assert_eq!(binary(wrong), None, "{wrong}");
        }
        assert_eq!(hex(&[0, 0xab]), "0x00ab");
    }
}
