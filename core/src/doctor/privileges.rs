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
            Err(NetError::NoPrivilege { remedy, .. }) => about
                .row("missing", State::Failed, &[("remedy", &remedy)])
                .with(Fix::command("install", &[], "packaging/run")),
            Err(NetError::Unsupported(why)) => {
                about.row("untried", State::Unsupported(why.clone()), &[("error", &why)])
            }
            Err(error) => about.row("untried", State::Unknown, &[("error", &error)]),
        }]
    }
}

fn own() -> bool {
    #[cfg(target_os = "linux")]
    return bootyard_ports::sys::has_port_capabilities();
    #[cfg(not(target_os = "linux"))]
    false
}
