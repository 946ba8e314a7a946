//! ISC dhcpd.conf (dhcpd.conf(5), dhcp-eval(5), dhcp-options(5)).
//!
//! [`lexer`] makes words, [`parser`] statements and blocks, [`eval`] reads conditions, [`read`] says what each statement is here.

mod eval;
mod lexer;
mod parser;
mod read;

pub(super) use read::{cidr, read};
