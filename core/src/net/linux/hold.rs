//! Keeps an address on an interface from within this process: a thread that renews its lifetime until the hold is dropped.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;

use bootyard_ports::hold::{Held, LIFETIME_S, RENEW_EVERY};

use super::ports::{Wanted, explain};
use crate::net::{AddressHold, Ipv4Cidr, NetError};

/// How many addresses this process itself renews.
static HELD_HERE: AtomicUsize = AtomicUsize::new(0);

/// Whether an address depends on the privileges of this process.
pub(in crate::net) fn needs_privileges() -> bool {
    HELD_HERE.load(Ordering::Relaxed) > 0
}

/// An address that this process holds.
#[derive(Debug)]
pub(in crate::net) struct DirectHold {
    interface: String,
    address: Ipv4Cidr,
    /// Closing it ends the thread, which then takes the address back.
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl DirectHold {
    pub(in crate::net) fn take(interface: &str, address: Ipv4Cidr) -> Result<Self, NetError> {
        let held = Held::take(interface, address.address, address.prefix, LIFETIME_S)
            .map_err(|refusal| explain(refusal, Wanted::Other))?;
        let (stop, stopped) = sync_channel::<()>(0);
        let thread = std::thread::Builder::new()
            .name(format!("hold {interface}"))
            .spawn(move || {
                while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(RENEW_EVERY) {
                    // An interface that is unplugged may come back; the next round tries again.
                    let _ = held.renew();
                }
            })
            .map_err(|source| NetError::Io { what: format!("cannot keep {address} on {interface}"), source })?;
        HELD_HERE.fetch_add(1, Ordering::Relaxed);
        Ok(Self { interface: interface.to_owned(), address, stop: Some(stop), thread: Some(thread) })
    }
}

impl AddressHold for DirectHold {
    fn describe(&self) -> String {
        format!("{} on {}", self.address, self.interface)
    }
}

impl Drop for DirectHold {
    fn drop(&mut self) {
        drop(self.stop.take());
        HELD_HERE.fetch_sub(1, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
