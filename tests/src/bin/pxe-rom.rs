//! `pxe-rom KIND broadcast|unicast`: one DHCP exchange as that client on `eth0`; prints what it was told as JSON.
//! `pxe-rom KIND ask TIMES MILLIS` only asks; `pxe-rom KIND take SERVER` asks and takes that server's offer.

use std::io::Write;
use std::time::Duration;

use anyhow::{Context, Result};
use bootyard_tests::pxe_client::{Kind, exchange, only_send};

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let kind = Kind::of_word(words.first().context("which kind of client?")?)?;
    match words[1..] {
        ["ask", times, millis] => only_send(kind, times.parse()?, Duration::from_millis(millis.parse()?), None),
        ["take", server] => only_send(kind, 1, Duration::from_millis(500), Some(server.parse()?)),
        _ => {
            let broadcast = words.get(1) == Some(&"broadcast");
            Ok(writeln!(std::io::stdout(), "{}", exchange(kind, broadcast)?)?)
        }
    }
}
