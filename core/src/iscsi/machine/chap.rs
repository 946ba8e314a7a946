//! CHAP (RFC 7143 12.1.3): one way or mutual, MD5, SHA-1, SHA-256 or SHA3-256.

use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use sha3::Sha3_256;

/// A hash, as CHAP_A numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    Md5,
    Sha1,
    Sha256,
    Sha3,
}

impl Algorithm {
    /// The first of the initiator's list that we have.
    pub(super) fn choose(list: &str) -> Option<Self> {
        list.split(',').find_map(|code| match code.trim() {
            "5" => Some(Self::Md5),
            "6" => Some(Self::Sha1),
            "7" => Some(Self::Sha256),
            "8" => Some(Self::Sha3),
            _ => None,
        })
    }

    pub(super) fn code(self) -> &'static str {
        match self {
            Self::Md5 => "5",
            Self::Sha1 => "6",
            Self::Sha256 => "7",
            Self::Sha3 => "8",
        }
    }

    /// Length of a response, and of the challenges that we make, in bytes.
    pub(super) fn len(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha256 | Self::Sha3 => 32,
        }
    }

    /// The response to a challenge (RFC 1994 4.1).
    pub(super) fn respond(self, id: u8, secret: &[u8], challenge: &[u8]) -> Vec<u8> {
        fn hash<D: Digest>(id: u8, secret: &[u8], challenge: &[u8]) -> Vec<u8> {
            D::new().chain_update([id]).chain_update(secret).chain_update(challenge).finalize().to_vec()
        }
        match self {
            Self::Md5 => hash::<Md5>(id, secret, challenge),
            Self::Sha1 => hash::<Sha1>(id, secret, challenge),
            Self::Sha256 => hash::<Sha256>(id, secret, challenge),
            Self::Sha3 => hash::<Sha3_256>(id, secret, challenge),
        }
    }
}

/// Compares without telling by its time how much is equal.
pub(super) fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::iscsi::wire::text::hex;

    #[test]
    fn the_first_algorithm_that_we_have_is_chosen() {
        assert_eq!(Algorithm::choose("99,7,5"), Some(Algorithm::Sha256));
        assert_eq!(Algorithm::choose("5"), Some(Algorithm::Md5));
        assert_eq!(Algorithm::choose("0,x"), None);
    }

    #[test]
    fn responses_are_those_of_other_implementations() {
        // Computed by OpenSSL over 01 "topsecret123" 000102…0f.
        let challenge: Vec<u8> = (0..16).collect();
        for (algorithm, expected) in [
            (Algorithm::Md5, "0x0bf91427589b1b6b6491ef95bca49f80"),
            (Algorithm::Sha1, "0x04a13517f4fea5b88103e7da84ebe9b966d28d7b"),
            (Algorithm::Sha256, "0x5367e34ed224e4608acf30bbcfbb2a2a5cf68cae5faab749af64d5e241ab8bf7"),
            (Algorithm::Sha3, "0xa74248e2710ecc0f9d8032563837e223b08d050e9688f5a8fe6a863d3c3d78e7"),
        ] {
            let response = algorithm.respond(1, b"topsecret123", &challenge);
            assert_eq!(response.len(), algorithm.len());
            assert_eq!(hex(&response), expected);
        }
        assert!(same(b"ab", b"ab") && !same(b"ab", b"ac") && !same(b"ab", b"abc"));
    }
}
