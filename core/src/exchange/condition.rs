//! Conditions on a client's options, as dhcpd and Kea write them, evaluated for a [`Client`]. Three values: true, false, unknown.

use super::client::{Client, Field, When};

/// An expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expr {
    /// `true` or `false`.
    Fixed(bool),
    /// An option of the request.
    Option(u16),
    /// A part of an option: of 175, mostly.
    Part(u16, u16),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A number without a width.
    Number(u64),
    /// `exists`.
    Exists(Box<Expr>),
    /// `substring(of, offset, length)`; no length: to the end.
    Substring(Box<Expr>, usize, Option<usize>),
    /// Lower case, or upper case.
    Case(Box<Expr>, bool),
    /// One after the other.
    Concat(Vec<Expr>),
    /// Equal.
    Equal(Box<Expr>, Box<Expr>),
    /// Both.
    And(Box<Expr>, Box<Expr>),
    /// Either.
    Or(Box<Expr>, Box<Expr>),
    /// Not.
    Not(Box<Expr>),
    /// Whatever depends on more than what kind of client asks.
    Riddle,
}

enum Data {
    Absent,
    Bytes(Vec<u8>),
    Number(u64),
    Present,
}

impl Expr {
    /// For whom it is true.
    #[must_use]
    pub(super) fn when(&self) -> When {
        When::of(|client| self.truth(client))
    }

    /// What it says of a client.
    #[must_use]
    pub(super) fn truth(&self, client: Client) -> Option<bool> {
        match self {
            Self::Fixed(value) => Some(*value),
            Self::Exists(of) => match of.field(client) {
                Field::Absent => Some(false),
                Field::Unknown => None,
                Field::Bytes(_) | Field::Present => Some(true),
            },
            Self::And(a, b) => match (a.truth(client), b.truth(client)) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            },
            Self::Or(a, b) => match (a.truth(client), b.truth(client)) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            },
            Self::Not(a) => a.truth(client).map(|v| !v),
            Self::Equal(a, b) => equal(&a.data(client)?, &b.data(client)?),
            _ => None,
        }
    }

    fn field(&self, client: Client) -> Field {
        match self {
            Self::Option(code) => client.option(*code),
            Self::Part(outer, code) => client.encapsulated(*outer, *code),
            _ => Field::Unknown,
        }
    }

    fn data(&self, client: Client) -> Option<Data> {
        Some(match self {
            Self::Option(_) | Self::Part(..) => match self.field(client) {
                Field::Absent => Data::Absent,
                Field::Bytes(bytes) => Data::Bytes(bytes),
                Field::Present => Data::Present,
                Field::Unknown => return None,
            },
            Self::Bytes(bytes) => Data::Bytes(bytes.clone()),
            Self::Number(n) => Data::Number(*n),
            Self::Substring(of, offset, length) => match of.data(client)? {
                Data::Bytes(bytes) => {
                    let rest = bytes.get((*offset).min(bytes.len())..)?;
                    let length = length.unwrap_or(rest.len()).min(rest.len());
                    Data::Bytes(rest.get(..length)?.to_vec())
                }
                Data::Absent => Data::Absent,
                _ => return None,
            },
            Self::Case(of, upper) => match of.data(client)? {
                Data::Bytes(b) => Data::Bytes(if *upper { b.to_ascii_uppercase() } else { b.to_ascii_lowercase() }),
                Data::Absent => Data::Absent,
                _ => return None,
            },
            Self::Concat(parts) => {
                let mut out = Vec::new();
                for part in parts {
                    match part.data(client)? {
                        Data::Bytes(bytes) => out.extend(bytes),
                        Data::Absent => {}
                        _ => return None,
                    }
                }
                Data::Bytes(out)
            }
            _ => return None,
        })
    }
}

fn equal(a: &Data, b: &Data) -> Option<bool> {
    Some(match (a, b) {
        (Data::Absent, Data::Absent) => true,
        (Data::Absent, _) | (_, Data::Absent) => false,
        (Data::Present, _) | (_, Data::Present) => return None,
        (Data::Bytes(a), Data::Bytes(b)) => a == b,
        (Data::Number(a), Data::Number(b)) => a == b,
        (Data::Bytes(bytes), Data::Number(n)) | (Data::Number(n), Data::Bytes(bytes)) => {
            bytes.len() <= 8 && bytes.iter().fold(0_u64, |sum, b| sum << 8 | u64::from(*b)) == *n
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ClientKind;

    #[test]
    fn the_usual_phrases_tell_the_clients_apart() {
        let bus_id = Expr::Exists(Box::new(Expr::Part(175, 177)));
        assert!(bus_id.when().is_known());
        assert!(bus_id.when().iter().all(Client::scripts));
        let pxe = Expr::Equal(
            Box::new(Expr::Substring(Box::new(Expr::Option(60)), 0, Some(9))),
            Box::new(Expr::Bytes(b"PXEClient".to_vec())),
        );
        assert!(pxe.when().is_known());
        assert!(pxe.when().iter().all(|c| c.kind != ClientKind::HttpBoot && c.kind != ClientKind::Os));
        let x64 = Expr::Equal(Box::new(Expr::Option(93)), Box::new(Expr::Number(7)));
        assert_eq!(x64.when().iter().map(|c| c.arch).collect::<Vec<_>>(), [Some(7), Some(7)]);
        assert!(!Expr::Equal(Box::new(Expr::Option(82)), Box::new(Expr::Number(7))).when().is_known());
    }
}
