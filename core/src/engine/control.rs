//! The control socket: another process of the lab's owner holds the same [`EngineHandle`].
//!
//! One JSON value a line. Down come `{"snapshot":…}`, `{"event":…}` and `{"reply":{"id":…,…}}`; up go `{"id":…,"command":…}`.
//! The first snapshot is the greeting, which says whose engine it is: a window leaves a lab to another window, and shares that of a `serve`.
//! The socket is in the owner's runtime folder, named by the lab's hash, and who connects is checked by user id: the owner of the
//! lab and root.

use std::collections::HashMap;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::api::{Command, CommandError, EngineHandle, Event, HandleError, Reply, Snapshot};

/// Snapshots are sent to a client at least this far apart.
const SNAPSHOT_EVERY: Duration = Duration::from_millis(100);
/// An engine that does not greet within this time is taken for dead.
const GREETING: Duration = Duration::from_secs(15);

/// Why there is no control socket, or no engine behind it.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The folder or socket could not be made or used.
    #[error("control socket {path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// The runtime folder, or who listens there, is somebody else's.
    #[error("{path} belongs to user {owner}, not to the lab's owner {wanted}; remove it")]
    NotOurs {
        /// The folder.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Whose it should be.
        wanted: u32,
    },
    /// What came is not ours.
    #[error("the engine answered something else than expected ({0}); both programs must be of one version")]
    Garbled(String),
    /// The engine says nothing.
    #[error("the engine of this lab runs and does not answer; if that lasts, stop it and start it again")]
    Silent,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Down {
    Snapshot(Arc<Snapshot>),
    Event(Arc<Event>),
    Reply { id: u64, result: Result<Reply, CommandError> },
}

#[derive(Serialize, Deserialize)]
struct Up {
    id: u64,
    command: Command,
}

/// The lab's owner.
fn owner(lab: &Path) -> Result<u32, ControlError> {
    std::fs::metadata(lab).map(|m| m.uid()).map_err(|source| ControlError::Io { path: lab.to_owned(), source })
}

/// Where the lab's control socket may be, the same for the owner and for root: in the owner's runtime folder, which is there while the
/// owner is logged in, or in the folder for temporary files, if the engine came before that.
fn socket_paths(lab: &Path) -> Result<[PathBuf; 2], ControlError> {
    let uid = owner(lab)?;
    let lab = lab.canonicalize().map_err(|source| ControlError::Io { path: lab.to_owned(), source })?;
    let hash = blake3::hash(lab.as_os_str().as_encoded_bytes()).to_hex();
    let name = format!("{}.sock", &hash.as_str()[..16]);
    let user = PathBuf::from(format!("/run/user/{uid}/bootyard"));
    Ok([user, std::env::temp_dir().join(format!("bootyard-{uid}"))].map(|base| base.join(&name)))
}

/// Where an engine that starts now listens.
fn socket_path(lab: &Path) -> Result<PathBuf, ControlError> {
    let [user, temporary] = socket_paths(lab)?;
    let logged_in = user.ancestors().nth(2).is_some_and(Path::is_dir);
    Ok(if logged_in { user } else { temporary })
}

/// The engine's end. Dropping it removes the socket.
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
    task: JoinHandle<()>,
}

impl Server {
    /// Listens for the lab's owner and root. The lab must be locked, so a socket that is there already is a dead one's.
    ///
    /// # Errors
    /// [`ControlError`].
    pub(super) fn start(lab: &Path, handle: EngineHandle) -> Result<Self, ControlError> {
        let path = socket_path(lab)?;
        let uid = owner(lab)?;
        let io = |source| ControlError::Io { path: path.clone(), source };
        if let Some(folder) = path.parent() {
            own_folder(folder, uid)?;
        }
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io(error)),
            _ => {}
        }
        let listener = UnixListener::bind(&path).map_err(io)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).map_err(io)?;
        if rustix::process::geteuid().as_raw() != uid {
            std::os::unix::fs::chown(&path, Some(uid), None).map_err(io)?;
        }
        let task = tokio::spawn(async move {
            let mut clients = tokio::task::JoinSet::new();
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => {
                        let allowed = stream.peer_cred().is_ok_and(|c| c.uid() == uid || c.uid() == 0);
                        if allowed {
                            clients.spawn(serve(stream, handle.clone()));
                        }
                        while clients.try_join_next().is_some() {}
                    }
                    // Out of descriptors: others will be closed.
                    Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
                }
            }
        });
        Ok(Self { path, task })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
        let _a_successor_removes_it_too = std::fs::remove_file(&self.path);
    }
}

/// The folder of the sockets: the owner's alone. In a folder that all may write to, somebody else may have made it first.
fn own_folder(folder: &Path, uid: u32) -> Result<(), ControlError> {
    let io = |source| ControlError::Io { path: folder.to_owned(), source };
    match std::fs::DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) if rustix::process::geteuid().as_raw() != uid => {
            std::os::unix::fs::chown(folder, Some(uid), None).map_err(io)?;
        }
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(io(error)),
        _ => {}
    }
    let meta = std::fs::symlink_metadata(folder).map_err(io)?;
    if !meta.is_dir() || meta.uid() != uid {
        return Err(ControlError::NotOurs { path: folder.to_owned(), owner: meta.uid(), wanted: uid });
    }
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700)).map_err(io)
}

async fn send(write: &mut OwnedWriteHalf, down: &Down) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(down)?;
    line.push(b'\n');
    write.write_all(&line).await
}

/// One client, until it goes.
async fn serve(stream: UnixStream, handle: EngineHandle) {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    let (replies, mut replied) = mpsc::channel::<Down>(64);
    let mut changed = handle.changed();
    let mut events = handle.events();
    changed.mark_unchanged();
    // The greeting: a client knows by it that the engine is of its version. Events that came meanwhile follow it.
    if send(&mut write, &Down::Snapshot(handle.snapshot())).await.is_err() {
        return;
    }
    let mut earliest = tokio::time::Instant::now() + SNAPSHOT_EVERY;
    loop {
        let outcome = tokio::select! {
            line = lines.next_line() => match line {
                Ok(Some(line)) => {
                    let Ok(Up { id, command }) = serde_json::from_str(&line) else { return };
                    let (handle, replies) = (handle.clone(), replies.clone());
                    tokio::spawn(async move {
                        // The call first: what came from a client is done, also when it is gone by now; but nobody waits for it then.
                        let result = tokio::select! {
                            biased;
                            result = handle.call(command) => result,
                            () = replies.closed() => return,
                        };
                        let result = match result {
                            Ok(reply) => Ok(reply),
                            Err(HandleError::Refused(error)) => Err(error),
                            Err(HandleError::Gone) => Err(CommandError::new(HandleError::Gone)),
                        };
                        let _the_client_may_have_gone = replies.send(Down::Reply { id, result }).await;
                    });
                    Ok(())
                }
                _ => return,
            },
            Some(reply) = replied.recv() => {
                // A client that asks for a snapshot after the reply must see what the reply speaks of.
                match send(&mut write, &Down::Snapshot(handle.snapshot())).await {
                    Ok(()) => send(&mut write, &reply).await,
                    failed => failed,
                }
            }
            event = events.recv() => match event {
                Ok(event) => send(&mut write, &Down::Event(event)).await,
                Err(broadcast::error::RecvError::Lagged(_)) => Ok(()),
                Err(broadcast::error::RecvError::Closed) => return,
            },
            result = async {
                tokio::time::sleep_until(earliest).await;
                changed.changed().await
            } => {
                if result.is_err() {
                    return;
                }
                earliest = tokio::time::Instant::now() + SNAPSHOT_EVERY;
                send(&mut write, &Down::Snapshot(handle.snapshot())).await
            }
        };
        if outcome.is_err() {
            return;
        }
    }
}

/// A handle to the engine that runs on this lab; `None` when none does.
///
/// # Errors
/// [`ControlError::Garbled`], or the socket cannot be used.
pub async fn connect(lab: &Path) -> Result<Option<EngineHandle>, ControlError> {
    // Its owner may have logged in, or out, since the engine started.
    let (first, wanted) = (socket_path(lab)?, owner(lab)?);
    let mut paths = socket_paths(lab)?;
    paths.sort_by_key(|path| *path != first);
    for path in paths {
        // Where no engine would listen now, what others have put there is none of ours.
        let folder = path.parent().and_then(|folder| std::fs::symlink_metadata(folder).ok());
        if path != first && folder.is_none_or(|folder| folder.uid() != wanted) {
            continue;
        }
        match UnixStream::connect(&path).await {
            Ok(stream) => return greeted(lab, path, stream).await.map(Some),
            Err(error) => match error.kind() {
                std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused => {}
                _ => return Err(ControlError::Io { path, source: error }),
            },
        }
    }
    Ok(None)
}

/// The handle behind a connection to `path`.
async fn greeted(lab: &Path, path: PathBuf, stream: UnixStream) -> Result<EngineHandle, ControlError> {
    // In a folder that all may write to, somebody else may listen under this name.
    let (wanted, cred) = (owner(lab)?, stream.peer_cred());
    let peer = cred.map_err(|source| ControlError::Io { path: path.clone(), source })?.uid();
    if peer != wanted && peer != 0 {
        return Err(ControlError::NotOurs { path, owner: peer, wanted });
    }
    let (read, write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    let greeting = tokio::time::timeout(GREETING, lines.next_line()).await;
    let Ok(Ok(Some(line))) = greeting else {
        return Err(ControlError::Silent);
    };
    let first = match serde_json::from_str(&line) {
        Ok(Down::Snapshot(first)) => first,
        Ok(_) => return Err(ControlError::Garbled("no snapshot".into())),
        Err(error) => return Err(ControlError::Garbled(error.to_string())),
    };
    let (handle, end) = EngineHandle::channel(Arc::unwrap_or_clone(first));
    tokio::spawn(pump(lines, write, end));
    Ok(handle)
}

/// Passes on what comes, until either side goes.
async fn pump(
    mut lines: tokio::io::Lines<BufReader<OwnedReadHalf>>,
    mut write: OwnedWriteHalf,
    mut end: crate::api::HandleEnd,
) {
    let mut waiting: HashMap<u64, oneshot::Sender<Result<Reply, CommandError>>> = HashMap::new();
    let mut next = 0;
    loop {
        tokio::select! {
            line = lines.next_line() => {
                let Ok(Some(line)) = line else { return };
                match serde_json::from_str(&line) {
                    Ok(Down::Snapshot(snapshot)) => end.publish(Arc::unwrap_or_clone(snapshot)),
                    Ok(Down::Event(event)) => end.emit(event),
                    Ok(Down::Reply { id, result }) => {
                        if let Some(answer) = waiting.remove(&id) {
                            let _nobody_listens = answer.send(result);
                        }
                    }
                    Err(_) => return,
                }
            }
            command = end.commands.recv() => {
                let Some((command, answer)) = command else { return };
                next += 1;
                waiting.insert(next, answer);
                let Ok(mut line) = serde_json::to_vec(&Up { id: next, command }) else { return };
                line.push(b'\n');
                if write.write_all(&line).await.is_err() {
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{EventKind, Source, VERSION};

    #[tokio::test]
    async fn a_second_process_sees_the_same_and_is_heard() {
        let lab = tempfile::tempdir().unwrap();
        assert!(connect(lab.path()).await.unwrap().is_none(), "no engine, no handle");
        let (handle, mut end) = EngineHandle::channel(Snapshot { seq: 5, ..Snapshot::default() });
        let server = Server::start(lab.path(), handle).unwrap();
        let mode = std::fs::metadata(&server.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let remote = connect(lab.path()).await.unwrap().unwrap();
        assert_eq!(remote.snapshot().seq, 5);

        let mut events = remote.events();
        let event = Event {
            v: VERSION,
            seq: 6,
            time: jiff::Timestamp::UNIX_EPOCH,
            host: None,
            mac: None,
            source: Source::Served,
            kind: EventKind::LabChanged,
        };
        end.emit(Arc::new(event.clone()));
        assert_eq!(*events.recv().await.unwrap(), event);

        let call = tokio::spawn({
            let remote = remote.clone();
            async move { remote.call(Command::Ping).await }
        });
        let (command, answer) = end.commands.recv().await.unwrap();
        assert_eq!(command, Command::Ping);
        end.publish(Snapshot { seq: 7, ..Snapshot::default() });
        answer.send(Ok(Reply::Done)).unwrap();
        assert_eq!(call.await.unwrap().unwrap(), Reply::Done);
        assert_eq!(remote.snapshot().seq, 7, "the reply comes after what it speaks of");

        let path = server.path.clone();
        drop(server);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn what_a_client_asked_that_has_gone_is_waited_for_by_nobody() {
        let lab = tempfile::tempdir().unwrap();
        let (handle, mut end) = EngineHandle::channel(Snapshot::default());
        let server = Server::start(lab.path(), handle).unwrap();
        let remote = connect(lab.path()).await.unwrap().unwrap();
        let call = tokio::spawn(async move { remote.call(Command::Ping).await });
        let (command, mut answer) = end.commands.recv().await.unwrap();
        assert_eq!(command, Command::Ping);
        call.abort();
        let gone = tokio::time::timeout(Duration::from_secs(20), answer.closed()).await;
        gone.expect("whoever carries it out can see that nobody waits");
        drop(server);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_greeting_comes_before_what_happens_meanwhile() {
        let lab = tempfile::tempdir().unwrap();
        let (handle, end) = EngineHandle::channel(Snapshot::default());
        let server = Server::start(lab.path(), handle).unwrap();
        let (time, kind) = (jiff::Timestamp::UNIX_EPOCH, EventKind::LabChanged);
        let event = Event { v: VERSION, seq: 6, time, host: None, mac: None, source: Source::Served, kind };
        let busy = tokio::spawn(async move {
            loop {
                end.emit(Arc::new(event.clone()));
                tokio::task::yield_now().await;
            }
        });
        for _ in 0..50 {
            assert!(connect(lab.path()).await.unwrap().is_some());
        }
        busy.abort();
        drop(server);
    }
}
