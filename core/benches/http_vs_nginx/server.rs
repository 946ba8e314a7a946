//! A server process: where it listens, that its data are right, and what CPU time it used.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Child;
use std::time::Duration;

use crate::common::cpu;
use crate::load::{LARGE, SMALL};
use crate::{Fallible, SIZE};

/// A server that runs; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) name: &'static str,
    pub(crate) child: Child,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// User and system time so far of all threads of it and of its children.
    pub(crate) fn cpu(&self) -> Fallible<Duration> {
        let pid = self.child.id();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        let mut all = cpu(pid)?;
        for child in children.split_whitespace() {
            all += cpu(child.parse()?)?;
        }
        Ok(all)
    }

    /// Data are the files' and not zeroes served in haste.
    pub(crate) fn check(&self, noise: &[u8]) -> Fallible<()> {
        const MIB: usize = 1 << 20;
        for at in [0, 37 * MIB + 11, SIZE - MIB] {
            let range = format!("Range: bytes={at}-{}\r\n", at + MIB - 1);
            if !self.get(LARGE, &range)?.ends_with(noise.get(at..at + MIB).unwrap_or_default()) {
                return Err(format!("{}: what was read at {at} is not what is there", self.name).into());
            }
        }
        if !self.get(SMALL, "")?.ends_with(noise.get(..1024).unwrap_or_default()) {
            return Err(format!("{}: the small file is another one", self.name).into());
        }
        Ok(())
    }

    fn get(&self, file: &str, fields: &str) -> Fallible<Vec<u8>> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.write_all(format!("GET /{file} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{fields}\r\n").as_bytes())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(answer)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Gently, so that nginx ends its worker; it may have gone by itself.
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = self.child.wait();
    }
}
