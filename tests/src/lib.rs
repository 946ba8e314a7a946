//! The lab in which the whole program is tested: what surrounds it is real, only the wires are virtual.
//!
//! * [`netns`]: network namespaces with a bridge, taps and peers; nothing leaves them, nothing is left behind.
//! * [`bootyard`]: a lab folder, and the program under test with its events.
//! * [`qemu`]: machines with real firmware (iPXE's ROM under SeaBIOS, EDK2's own PXE client) under software emulation.
//! * [`pxe_client`]: a plain PXE ROM that speaks real packets, for the clients that no emulator brings.
//! * [`dhcp_client`]: the DHCP clients of systems; [`dnsmasq`] is the server beside which ours must be quiet.
//! * [`findings`]: findings as they are waited for, checked and shown.
//! * [`initiator`]: an iSCSI initiator that says exactly what a test wants; [`client`] is a machine of the lab that uses one.
//! * [`ledger`] and [`load`]: work on a disk of which it is known afterwards what must be there.
//! * [`trace`]: what a boot asked of its disk, taken from a capture and replayed.
//! * [`cost`]: memory and processor time of a process.
//! * [`disk`] and [`installer`]: the Debian systems that the machines boot.
//! * [`window`]: an X server, assistive technology's view of the window, and pictures of it.
//! * [`run`]: running a command so that a failure says what was run and what it said.
//!
//! All of it needs root (namespaces, taps, low ports). What is missing is an error with a sentence, never a skipped test.

pub mod bootyard;
pub mod client;
pub mod cost;
pub mod dhcp_client;
pub mod disk;
pub mod dnsmasq;
pub mod findings;
pub mod initiator;
pub mod installer;
pub mod ledger;
pub mod load;
pub mod netns;
pub mod pxe_client;
pub mod qemu;
pub mod run;
pub mod trace;
pub mod window;
pub mod x11;
