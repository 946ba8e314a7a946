//! Which port set this process gets, and who holds an address for it.

use std::sync::Arc;

use super::{AddressHold, Direct, Ipv4Cidr, NetError, PortSet};

/// The port set of this process: [`Direct`] when it has the privileges, else [`super::helper::Helper`] when `bootyard-ports` is
/// there and works, else one whose errors say what to run. May start that program: call it once. Blocks for an instant.
#[must_use]
pub fn port_set() -> Arc<dyn PortSet> {
    #[cfg(target_os = "linux")]
    if !bootyard_ports::sys::has_port_capabilities() {
        return unprivileged::port_set();
    }
    Arc::new(Direct)
}

/// Holds an address on a bare interface: through NetworkManager where that manages the interface, else by the port set.
///
/// Blocks, up to some seconds with NetworkManager; so does the drop of the hold. Not for an async task's thread.
///
/// # Errors
/// [`NetError::Refused`] when a rule of safety forbids it, else as [`PortSet::hold_address`].
pub fn hold_address(ports: &dyn PortSet, interface: &str, address: Ipv4Cidr) -> Result<Box<dyn AddressHold>, NetError> {
    #[cfg(target_os = "linux")]
    {
        use super::linux::ports::{Wanted, explain};

        bootyard_ports::hold::check(interface, address.address, address.prefix)
            .map_err(|refusal| explain(refusal, Wanted::Other))?;
        if let Some(hold) = super::networkmanager::hold(interface, address)? {
            return Ok(hold);
        }
    }
    ports.hold_address(interface, address)
}

#[cfg(target_os = "linux")]
mod unprivileged {
    use std::net::{TcpListener, UdpSocket};
    use std::sync::Arc;

    use crate::net::helper::Helper;
    use crate::net::{AddressHold, Direct, Ipv4Cidr, NetError, PacketSocket, PacketUse, PortSet, TcpSpec, UdpSpec};

    pub(super) fn port_set() -> Arc<dyn PortSet> {
        let mut remedy = None;
        for program in Helper::programs() {
            // The last is the installed one, whose error says best what to do.
            remedy = Some(match Helper::spawn(&program) {
                Ok(helper) => return Arc::new(helper),
                Err(NetError::NoPrivilege { remedy, .. }) => remedy,
                Err(error) => error.to_string(),
            });
        }
        match remedy {
            Some(remedy) => Arc::new(Without { remedy }),
            None => Arc::new(Direct),
        }
    }

    /// No privilege, and a program that could not help either.
    #[derive(Debug)]
    struct Without {
        remedy: String,
    }

    impl Without {
        fn explain<T>(&self, result: Result<T, NetError>) -> Result<T, NetError> {
            result.map_err(|error| match error {
                NetError::NoPrivilege { what, .. } => NetError::NoPrivilege { what, remedy: self.remedy.clone() },
                error => error,
            })
        }
    }

    impl PortSet for Without {
        fn udp(&self, spec: &UdpSpec) -> Result<UdpSocket, NetError> {
            self.explain(Direct.udp(spec))
        }

        fn tcp(&self, spec: &TcpSpec) -> Result<TcpListener, NetError> {
            self.explain(Direct.tcp(spec))
        }

        fn packet(&self, interface: &str, purpose: PacketUse) -> Result<Box<dyn PacketSocket>, NetError> {
            self.explain(Direct.packet(interface, purpose))
        }

        fn hold_address(&self, interface: &str, address: Ipv4Cidr) -> Result<Box<dyn AddressHold>, NetError> {
            self.explain(Direct.hold_address(interface, address))
        }
    }
}
