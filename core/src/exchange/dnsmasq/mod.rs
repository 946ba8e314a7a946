//! dnsmasq.conf (dnsmasq(8)): one option a line, tags between them.

mod lines;
mod read;
mod tags;

pub(super) use read::read;
