//! Which of two forms of a ProxyDHCP offer a model of firmware takes.
//!
//! PXE 2.1 allows both, and firmware is known that ignores either one without a word. A machine that repeats its DISCOVER twice though
//! it was offered something is offered the other form; what makes it go on is remembered for its model.

use std::collections::HashMap;
use std::time::Duration;

use super::Context;
use crate::api::ProxyStyle;
use crate::boot::Arch;
use crate::dhcp::wire::printable;
use crate::machine::Now;
use crate::net::MacAddr;

/// Offers of one form that a machine ignores before it gets the other.
const PATIENCE: u32 = 2;
/// Packets that follow each other faster are copies of one.
const COPY: Duration = Duration::from_millis(900);
/// A machine that says nothing for so long begins anew.
const FORGOTTEN: Duration = Duration::from_secs(120);
/// Machines and models that are remembered; more are served as all were before there was this.
const MOST: usize = 4096;

/// The form that firmware usually takes: most UEFI has broken menu code and asks port 4011 properly, a BIOS ROM takes the file at once.
fn usual(arch: Option<Arch>) -> ProxyStyle {
    if arch.is_some_and(Arch::is_uefi) { ProxyStyle::BootServer } else { ProxyStyle::File }
}

/// A machine that was offered something and has not gone on yet.
#[derive(Debug)]
struct Waiting {
    style: ProxyStyle,
    ignored: u32,
    at: Duration,
}

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Styles {
    models: HashMap<String, ProxyStyle>,
    waiting: HashMap<MacAddr, Waiting>,
}

impl Styles {
    pub(super) fn new(models: HashMap<String, ProxyStyle>) -> Self {
        Self { models, waiting: HashMap::new() }
    }

    /// The form for this DISCOVER; whether it is another one than the machine got before.
    pub(super) fn choose(&mut self, now: Now, mac: MacAddr, model: &str, arch: Option<Arch>) -> (ProxyStyle, bool) {
        let known = self.models.get(model).copied().unwrap_or_else(|| usual(arch));
        let Some(waiting) = self.waiting.get_mut(&mac).filter(|w| now.boot < w.at + FORGOTTEN) else {
            self.forget(now);
            if self.waiting.len() < MOST {
                self.waiting.insert(mac, Waiting { style: known, ignored: 0, at: now.boot });
            }
            return (known, false);
        };
        if now.boot < waiting.at + COPY {
            return (waiting.style, false);
        }
        waiting.at = now.boot;
        waiting.ignored += 1;
        let turns = waiting.ignored >= PATIENCE;
        if turns {
            waiting.style = waiting.style.other();
            waiting.ignored = 0;
        }
        (waiting.style, turns)
    }

    /// A machine has gone on. Its model, if that takes another form than was known of it.
    pub(super) fn goes_on(&mut self, mac: MacAddr, model: &str, arch: Option<Arch>) -> Option<ProxyStyle> {
        let style = self.waiting.remove(&mac)?.style;
        let known = self.models.get(model).copied();
        if known.unwrap_or_else(|| usual(arch)) == style || known.is_none() && self.models.len() >= MOST {
            return None;
        }
        self.models.insert(model.to_owned(), style);
        Some(style)
    }

    fn forget(&mut self, now: Now) {
        if self.waiting.len() >= MOST {
            self.waiting.retain(|_, waiting| now.boot < waiting.at + FORGOTTEN);
        }
    }
}

impl Context<'_> {
    /// By what one model of firmware is told from others: its class with the version of its network driver, and who made the card.
    pub(super) fn model(&self) -> String {
        let [a, b, c, ..] = self.request.mac.0;
        format!("{} {a:02x}:{b:02x}:{c:02x}", printable(self.request.class()).unwrap_or_default())
    }
}
