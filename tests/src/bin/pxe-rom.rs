//! `pxe-rom KIND broadcast|unicast`: one DHCP exchange as that client on `eth0`; prints what it was told as JSON.

use std::io::Write;

use anyhow::{Context, Result};
use bootyard_tests::pxe_client::{Kind, exchange};

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let kind = Kind::of_word(&args.next().context("which kind of client?")?)?;
    let broadcast = args.next().as_deref() == Some("broadcast");
    writeln!(std::io::stdout(), "{}", exchange(kind, broadcast)?)?;
    Ok(())
}
