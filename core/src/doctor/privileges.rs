//! Whether low ports and packet sockets can be opened: by this process, or through `bootyard-ports`.

use super::{About, Check, Facts, Fix, Row, State};
use crate::net::{NetError, PacketUse};

pub(super) struct Privileges;

impl Check for Privileges {
    fn name(&self) -> &'static str {
        "privileges"
    }

    fn look(&self, facts: &Facts) -> Vec<Row> {
        let about = About("privileges", "");
        let served = facts.places.iter().find_map(|p| p.interface.as_ref());
        let Some(interface) = served.or_else(|| facts.interfaces.iter().find(|i| !i.virtual_link)) else {
            return Vec::new();
        };
        // What needs most: a packet socket needs a capability, while low ports may be open to everybody.
        let opened = facts.ports.packet(&interface.name, PacketUse::Ipv4Send);
        vec![match opened {
            Ok(_) if own() => about.row("own", State::Ok, &[]),
            Ok(_) => about.row("helper", State::Ok, &[]),
            Err(NetError::NoPrivilege { remedy, .. }) => {
                let row = about.row("missing", State::Failed, &[("remedy", &remedy)]);
                match command(&remedy) {
                    Some(command) => row.with(Fix::command("ports", &[], command)),
                    None => row,
                }
            }
            Err(NetError::Unsupported(why)) => {
                about.row("untried", State::Unsupported(why.clone()), &[("error", &why)])
            }
            Err(error) => about.row("untried", State::Unknown, &[("error", &error)]),
        }]
    }
}

/// What a remedy says to run: what mends it is not the same for who built the program and for who installed a package.
fn command(remedy: &str) -> Option<&str> {
    remedy.split('`').nth(1).filter(|_| remedy.starts_with("run"))
}

fn own() -> bool {
    #[cfg(target_os = "linux")]
    return bootyard_ports::sys::has_port_capabilities();
    #[cfg(not(target_os = "linux"))]
    false
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};
    use std::sync::Arc;

    use super::*;
    use crate::net::testing::interface;
    use crate::net::{AddressHold, Ipv4Cidr, PacketSocket, PortSet, TcpSpec, UdpSpec};

    /// Opens nothing, and says that this mends it.
    #[derive(Debug)]
    struct Without(&'static str);

    impl Without {
        fn refuse<T>(&self) -> Result<T, NetError> {
            Err(NetError::NoPrivilege { what: "do that".to_owned(), remedy: self.0.to_owned() })
        }
    }

    impl PortSet for Without {
        fn udp(&self, _: &UdpSpec) -> Result<UdpSocket, NetError> {
            self.refuse()
        }

        fn tcp(&self, _: &TcpSpec) -> Result<TcpListener, NetError> {
            self.refuse()
        }

        fn packet(&self, _: &str, _: PacketUse) -> Result<Box<dyn PacketSocket>, NetError> {
            self.refuse()
        }

        fn hold_address(&self, _: &str, _: Ipv4Cidr) -> Result<Box<dyn AddressHold>, NetError> {
            self.refuse()
        }
    }

    #[tokio::test]
    async fn what_is_to_be_run_is_what_the_remedy_says() {
        let dir = tempfile::tempdir().unwrap();
        for (remedy, command) in [
            ("run `sudo usermod -aG bootyard $USER` and log in again", Some("sudo usermod -aG bootyard $USER")),
            ("run `packaging/run` once, which installs `bootyard-ports`", Some("packaging/run")),
            ("install Bootyard's package again, whose `bootyard-ports` is missing", None),
        ] {
            let mut facts = Facts::read(dir.path().to_owned(), None, Arc::new(Without(remedy)), None).unwrap();
            facts.interfaces = vec![interface("nosuch0", &[])];
            let rows = Privileges.look(&facts);
            assert_eq!((rows.len(), rows[0].case.as_str()), (1, "missing"));
            assert!(rows[0].remedy.contains(remedy), "{rows:?}");
            assert_eq!(rows[0].fix.as_ref().and_then(|f| f.command.as_deref()), command, "{remedy}");
        }
    }
}
