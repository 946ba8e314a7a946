//! Keeps this computer's processors from sleeping deeply while machines wait for it.
//!
//! Firmware asks for one block at a time, and both ends sleep in between. To wake a processor from its deepest sleep takes as long as the
//! whole of such a request, or several times as long in a virtual machine, where it means to leave it and come back. Linux lets a program
//! say how long waking may take (PM QoS, its Documentation/power/pm_qos_interface.rst), as `tuned`'s profiles for latency do. The device
//! is root's; where it cannot be opened, and on other systems, nothing changes.

use std::fs::File;
use std::io::Write;

/// Where Linux takes the longest latency that is bearable, as a native 32-bit number of microseconds.
#[cfg(target_os = "linux")]
const DEVICE: &str = "/dev/cpu_dma_latency";
/// No wish: what the kernel takes where nobody has one (PM_QOS_CPU_LATENCY_DEFAULT_VALUE).
const ANY: i32 = 2_000_000_000;
/// Only the lightest sleep: to wake from it takes a few microseconds, from the next one a hundred.
const LIGHT: i32 = 20;
/// No sleep at all: a guest's lightest one is a way through the hypervisor already.
const NONE: i32 = 0;

/// A wish for processors that wake quickly. It ends when this is dropped.
#[derive(Debug)]
pub struct QuickWaking {
    device: Option<File>,
    wish: i32,
}

impl QuickWaking {
    /// No wish yet. Call it before privileges are given up: what is open stays.
    #[must_use]
    pub fn open() -> Self {
        #[cfg(target_os = "linux")]
        {
            let wish =
                if is_guest(&std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default()) { NONE } else { LIGHT };
            Self { device: File::options().write(true).open(DEVICE).ok(), wish }
        }
        #[cfg(not(target_os = "linux"))]
        Self { device: None, wish: LIGHT }
    }

    /// The same with a file in place of the device.
    #[cfg(test)]
    pub(crate) fn over(device: File) -> Self {
        Self { device: Some(device), wish: LIGHT }
    }

    /// From now on, or no more.
    pub fn want(&mut self, quickly: bool) {
        let value = if quickly { self.wish } else { ANY };
        if let Some(device) = &mut self.device {
            // Slower is not worse than that.
            let _it_wakes_as_it_does = device.write_all(&value.to_ne_bytes());
        }
    }
}

/// Whether these processors are a virtual machine's, by the flag that they show to their operating system.
fn is_guest(processors: &str) -> bool {
    let flags = processors.lines().find_map(|line| line.strip_prefix("flags")?.trim_start().strip_prefix(':'));
    flags.is_some_and(|flags| flags.split_whitespace().any(|flag| flag == "hypervisor"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wished_is_told_as_the_kernel_takes_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut waking = QuickWaking::over(file.reopen().unwrap());
        waking.want(true);
        waking.want(false);
        let told = std::fs::read(file.path()).unwrap();
        assert_eq!(told, [LIGHT.to_ne_bytes(), ANY.to_ne_bytes()].concat());
        let mut nobody = QuickWaking { device: None, wish: LIGHT };
        nobody.want(true);
    }

    #[test]
    fn a_guest_is_known_by_its_processors() {
        let flags = |more: &str| {
            format!("processor\t: 0\nmodel name\t: hypervisor\nflags\t\t: fpu vme{more} sse2\nbogomips\t: 1\n")
        };
        assert!(is_guest(&flags(" hypervisor")));
        assert!(!is_guest(&flags("")) && !is_guest(&flags(" hypervisors")) && !is_guest(""));
    }
}
