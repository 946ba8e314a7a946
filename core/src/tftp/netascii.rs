//! The netascii mode (RFC 764 by way of RFC 1350, section 1): a line ends in CR LF, a bare CR is CR NUL.
//!
//! The conversion looks at one byte at a time and keeps no state, so a text can be cut at any byte of either form.

/// How many bytes `raw` has in netascii.
#[must_use]
pub fn encoded_len(raw: &[u8]) -> u64 {
    raw.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { 2 } else { 1 }).sum()
}

/// Appends `raw` in netascii to `out`.
pub fn encode(raw: &[u8], out: &mut Vec<u8>) {
    for &byte in raw {
        match byte {
            b'\n' => out.extend_from_slice(b"\r\n"),
            b'\r' => out.extend_from_slice(b"\r\0"),
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn line_ends_and_bare_returns_are_told_apart() {
        let mut out = Vec::new();
        encode(b"a\nb\rc\r\n", &mut out);
        assert_eq!(out, b"a\r\nb\r\0c\r\0\r\n");
    }

    proptest! {
        #[test]
        fn a_cut_anywhere_changes_nothing(raw: Vec<u8>, cut: prop::sample::Index) {
            let at = cut.index(raw.len() + 1);
            let (mut whole, mut parts) = (Vec::new(), Vec::new());
            encode(&raw, &mut whole);
            encode(&raw[..at], &mut parts);
            encode(&raw[at..], &mut parts);
            prop_assert_eq!(encoded_len(&raw), whole.len() as u64);
            prop_assert_eq!(whole, parts);
        }
    }
}
