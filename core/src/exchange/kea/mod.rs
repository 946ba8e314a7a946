//! Kea's JSON (Kea Administrator Reference Manual, "The DHCPv4 Server"): comments, trailing commas and `<?include?>` among it.

mod expr;
mod json;
mod read;

pub(super) use read::read;
