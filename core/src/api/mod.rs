//! What crosses the engine's border: events out, snapshots out, commands in.
//!
//! Every type here is serde with stable names, because the JSON output of the command line, the control socket and lab.db's
//! history are these types. `v` is the version of that form.

mod allowance;
mod command;
mod event;
mod handle;
mod reporter;
mod snapshot;

pub(crate) use allowance::{Allowance, Rate};
pub use command::{Command, CommandError, DiskAct, ExportFormat, NewDisk, NewProfile, Packets, Question, Reply};
pub use event::{
    ClientKind, Event, EventKind, HostId, HttpsRefusal, JobKind, Observation, ProxyStyle, ServiceKind, Severity,
    Source, Who, machine_uuid,
};
pub use handle::{EngineHandle, HandleEnd, HandleError};
pub use reporter::{Reported, Reporter, Reports, reports};
pub use snapshot::{
    Certainty, DiskView, EngineState, Finding, FindingAction, FirmwareView, GenerationView, HostView, InterfaceView,
    JobState, JobView, Keeper, KeeperKind, NetworkView, OverlayView, Place, ProfileView, Progress, ServiceView,
    Snapshot, Space, Stage, Step, StepPart, StepState,
};

/// The version of the event and snapshot form.
pub const VERSION: u16 = 1;
