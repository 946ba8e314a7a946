//! Chains whose matches are decided for one packet, and the walk through them.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;

/// Chains within chains: more is a circle.
const DEEPEST: usize = 32;

/// A packet that a machine would send to us.
#[derive(Debug, Clone, Copy)]
pub(super) struct Probe<'a> {
    pub(super) interface: &'a str,
    /// `UDP` or `TCP`.
    pub(super) protocol: &'static str,
    /// To this port.
    pub(super) port: u16,
    pub(super) from: Ipv4Addr,
    pub(super) to: Ipv4Addr,
    /// The first of its kind, else the answer to something that we sent.
    pub(super) new: bool,
}

/// Whether a match is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tri {
    Yes,
    No,
    Unknown,
}

impl From<bool> for Tri {
    fn from(met: bool) -> Self {
        if met { Self::Yes } else { Self::No }
    }
}

impl Tri {
    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::No, _) | (_, Self::No) => Self::No,
            (Self::Yes, Self::Yes) => Self::Yes,
            _ => Self::Unknown,
        }
    }

    pub(super) fn not(self) -> Self {
        match self {
            Self::Yes => Self::No,
            Self::No => Self::Yes,
            Self::Unknown => Self::Unknown,
        }
    }
}

/// What a rule does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Accept,
    /// Or reject.
    Drop,
    Return,
    /// To a chain, and back.
    Jump(String),
    /// To a chain, and back to where the present one was called.
    Goto(String),
    /// Nothing, or nothing that bears on whether it passes.
    Continue,
    /// Something that is not understood.
    Unknown,
}

/// One rule.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    pub(super) met: Tri,
    pub(super) verdict: Verdict,
}

/// A chain. `base` are its place among those of its hook, and its policy.
#[derive(Debug, Clone, Default)]
pub(super) struct Chain {
    pub(super) base: Option<(i64, bool)>,
    /// For people: `inet filter input`.
    pub(super) shown: String,
    pub(super) rules: Vec<Rule>,
}

/// What becomes of the packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    Passed,
    /// By this base chain.
    Dropped(String),
    Unsure,
}

impl Outcome {
    pub(super) fn dropped() -> Self {
        Self::Dropped(String::new())
    }

    pub(super) fn is_dropped(&self) -> bool {
        matches!(self, Self::Dropped(_))
    }

    pub(super) fn kind(&self) -> std::mem::Discriminant<Self> {
        std::mem::discriminant(self)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed => f.write_str("passed"),
            Self::Dropped(at) => f.write_str(at),
            Self::Unsure => f.write_str("not sure"),
        }
    }
}

/// Every chain, by table and name.
#[derive(Debug, Default)]
pub(super) struct Set {
    pub(super) chains: BTreeMap<String, Chain>,
}

/// What a chain says, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Accept,
    Drop,
    /// It came to its end, or returned.
    Nothing,
    Unsure,
}

impl Set {
    /// Every base chain has to let the packet pass; the first in the order of priority that drops it is told.
    pub(super) fn walk(&self) -> Outcome {
        let mut bases: Vec<(i64, bool, &Chain)> =
            self.chains.values().filter_map(|c| c.base.map(|(priority, accept)| (priority, accept, c))).collect();
        bases.sort_by_key(|(priority, _, _)| *priority);
        let mut unsure = false;
        for (_, accept, chain) in bases {
            match self.chain(chain, 0) {
                Said::Accept => {}
                Said::Nothing if accept => {}
                Said::Drop | Said::Nothing => return Outcome::Dropped(chain.shown.clone()),
                Said::Unsure => unsure = true,
            }
        }
        if unsure { Outcome::Unsure } else { Outcome::Passed }
    }

    fn chain(&self, chain: &Chain, depth: usize) -> Said {
        if depth > DEEPEST {
            return Said::Unsure;
        }
        // What rules would have done of which it is not known whether they are met.
        let mut maybe: Option<Said> = None;
        for rule in &chain.rules {
            if rule.met == Tri::No {
                continue;
            }
            let said = match &rule.verdict {
                Verdict::Continue => continue,
                Verdict::Accept => Said::Accept,
                Verdict::Drop => Said::Drop,
                Verdict::Return => Said::Nothing,
                Verdict::Unknown => Said::Unsure,
                Verdict::Jump(to) | Verdict::Goto(to) => match self.chains.get(to) {
                    Some(next) => self.chain(next, depth + 1),
                    None => Said::Unsure,
                },
            };
            let ends = said != Said::Nothing || matches!(rule.verdict, Verdict::Return | Verdict::Goto(_));
            if !ends {
                continue;
            }
            if rule.met == Tri::Yes && said != Said::Unsure {
                return joined(maybe, said);
            }
            maybe = Some(match maybe {
                Some(before) if before != said => Said::Unsure,
                _ => said,
            });
            if rule.met == Tri::Yes {
                return Said::Unsure;
            }
        }
        joined(maybe, end(chain))
    }
}

/// What the end of a chain says.
fn end(chain: &Chain) -> Said {
    match chain.base {
        Some((_, true)) => Said::Accept,
        Some((_, false)) => Said::Drop,
        None => Said::Nothing,
    }
}

fn joined(maybe: Option<Said>, sure: Said) -> Said {
    match maybe {
        Some(before) if before != sure => Said::Unsure,
        _ => sure,
    }
}
