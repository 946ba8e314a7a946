//! A machine of the lab as the iSCSI target sees it: with the initiator name that was issued for its MAC, from its firmware or from its
//! system; and the commands that a disk gets.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bootyard_core::boot::initiator_name;
use bootyard_core::lab::{Name, derived_iqn};

use crate::initiator::{Answer, Initiator, LoginError};
use crate::netns::Netns;

/// Where the benches of the tests serve.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 1);
/// Bytes of a block.
pub const SECTOR: usize = 512;

/// Which program of a machine logs in. Its ISID tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// iPXE: an ISID under Fen Systems' enterprise number.
    Firmware,
    /// Linux: an ISID under an OUI.
    System,
}

/// Plugs a machine in, at `192.168.77.LAST`: an address tells who a client is, so each has its own.
///
/// # Errors
/// See [`Netns::plug`].
pub fn plug(bench: &Netns, tag: &str, mac: &str, last: u16) -> Result<Netns> {
    let ns = bench.plug(tag, mac)?;
    ns.ip(&["address", "add", &format!("192.168.77.{last}/24"), "dev", "eth0"])?;
    Ok(ns)
}

/// Logs a machine in to a disk of the lab and takes the news of the power-on.
///
/// # Errors
/// [`LoginError`] inside, if it was refused.
pub fn log_in(at: &Netns, mac: &str, disk: &str, program: Program) -> Result<Initiator> {
    log_in_at(at, 3260, mac, disk, program)
}

/// The same at another port than iSCSI's own.
///
/// # Errors
/// As [`log_in`].
pub fn log_in_at(at: &Netns, port: u16, mac: &str, disk: &str, program: Program) -> Result<Initiator> {
    let stream = at.within(|| Ok(TcpStream::connect((SERVER, port))?)).context("no connection to the target")?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    stream.set_nodelay(true)?;
    let isid = match program {
        Program::Firmware => [0x40, 0, 0x27, 0x23, 0, 0],
        Program::System => [0, 0x02, 0x3d, 0, 0, 1],
    };
    let name = initiator_name(mac.parse().context("MAC")?);
    let target = derived_iqn(&disk.parse::<Name>()?);
    let mut new = Initiator::login(stream, &name, &target, isid, "MaxRecvDataSegmentLength=262144\0")?;
    let first = new.command(&[0; 6], 0, &[])?;
    ensure!(first.status == 0 || first.sense == Some((6, 0x2900)), "after a login: {first:?}");
    Ok(new)
}

/// The status with which a login was refused.
#[must_use]
pub fn refused(error: &anyhow::Error) -> Option<u16> {
    match error.downcast_ref() {
        Some(LoginError::Refused(status)) => Some(*status),
        _ => None,
    }
}

/// Fetches a machine's boot script as iPXE does. A new boot epoch begins with it.
///
/// # Errors
/// There is none: with the answer.
pub fn script(at: &Netns, mac: &str) -> Result<String> {
    let mut stream = at.within(|| Ok(TcpStream::connect((SERVER, 80))?)).context("no connection to the HTTP server")?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let path = format!("/boot/{}/script.ipxe", mac.replace(':', "-"));
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {SERVER}\r\nUser-Agent: iPXE/1.21.1\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200 ") => Ok(body.to_owned()),
        _ => bail!("{path}: {answer}"),
    }
}

/// READ(16).
#[must_use]
pub fn read_cdb(lba: u64, blocks: u32) -> [u8; 16] {
    sixteen(0x88, 0, lba, blocks)
}

/// WRITE(16); with `fua` it is on the medium before it is answered.
#[must_use]
pub fn write_cdb(lba: u64, blocks: u32, fua: bool) -> [u8; 16] {
    sixteen(0x8a, if fua { 0x08 } else { 0 }, lba, blocks)
}

/// WRITE SAME(16); with `unmap` of what is zero afterwards.
#[must_use]
pub fn write_same_cdb(lba: u64, blocks: u32, unmap: bool) -> [u8; 16] {
    sixteen(0x93, if unmap { 0x08 } else { 0 }, lba, blocks)
}

/// SYNCHRONIZE CACHE(16) of the whole disk.
#[must_use]
pub fn flush_cdb() -> [u8; 16] {
    sixteen(0x91, 0, 0, 0)
}

/// UNMAP of one range: the command and its list.
#[must_use]
pub fn unmap(lba: u64, blocks: u32) -> ([u8; 10], Vec<u8>) {
    let mut list = vec![0, 22, 0, 16, 0, 0, 0, 0];
    list.extend(lba.to_be_bytes());
    list.extend(blocks.to_be_bytes());
    list.extend([0; 4]);
    ([0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0], list)
}

fn sixteen(opcode: u8, flags: u8, lba: u64, blocks: u32) -> [u8; 16] {
    let mut cdb = [0; 16];
    cdb[0] = opcode;
    cdb[1] = flags;
    cdb[2..10].copy_from_slice(&lba.to_be_bytes());
    cdb[10..14].copy_from_slice(&blocks.to_be_bytes());
    cdb
}

/// The data of a command that must have succeeded.
///
/// # Errors
/// It failed: with status and sense.
pub fn good(answer: Answer) -> Result<Vec<u8>> {
    ensure!(answer.status == 0, "status {:#x}, sense {:x?}", answer.status, answer.sense);
    Ok(answer.data)
}

/// Bytes of so many blocks.
#[must_use]
pub fn bytes(blocks: u32) -> u32 {
    blocks * 512
}
