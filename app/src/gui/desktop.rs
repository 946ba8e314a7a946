//! Tells the desktop what happens while the window is hidden. It follows the snapshots by itself: a hidden window may get no frames.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bootyard_core::api::{Command, EngineHandle, HostId};
use bootyard_core::lab::Boot;
use eframe::egui::Context;
use jiff::Timestamp;

use super::notice::{Notice, Watch};

/// What happens so soon after the first news is told together with it.
const GATHER: Duration = Duration::from_secs(2);

/// At most this often the snapshots are compared.
const PAUSE: Duration = Duration::from_millis(250);

/// So long a desktop may take to answer; nothing waits for it.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the window knows and the follower must.
#[derive(Debug, Default)]
pub(super) struct Telling {
    hidden: AtomicBool,
    wanted: AtomicBool,
    assigned: Mutex<Vec<(Vec<HostId>, bool, Timestamp)>>,
}

impl Telling {
    /// As of this frame: whether anybody can see the window, and whether they want to be told.
    pub(super) fn look(&self, ctx: &Context, wanted: bool) {
        let hidden = ctx.input(|i| {
            let window = i.viewport();
            window.minimized == Some(true) || window.occluded == Some(true) || window.focused == Some(false)
        });
        self.hidden.store(hidden, Ordering::Relaxed);
        self.wanted.store(wanted, Ordering::Relaxed);
    }

    /// Whether the desktop is told now.
    pub(super) fn is_due(&self) -> bool {
        self.hidden.load(Ordering::Relaxed) && self.wanted.load(Ordering::Relaxed)
    }

    /// A command is sent: machines that are assigned together are waited for together.
    pub(super) fn sent(&self, command: &Command) {
        let (hosts, boots) = match command {
            Command::Assign { hosts, to } => (hosts, !matches!(to, Boot::Wait | Boot::Menu | Boot::Ignore)),
            Command::StartDirectly { hosts, .. } => (hosts, true),
            _ => return,
        };
        let mut list = self.assigned.lock().unwrap_or_else(PoisonError::into_inner);
        list.push((hosts.clone(), boots, Timestamp::now()));
    }

    fn take_assigned(&self, watch: &mut Watch) {
        for (hosts, boots, at) in std::mem::take(&mut *self.assigned.lock().unwrap_or_else(PoisonError::into_inner)) {
            watch.assigned(&hosts, boots, at);
        }
    }
}

/// Follows the lab until it is dropped.
#[derive(Debug)]
pub(super) struct Follower(tokio::task::JoinHandle<()>);

impl Follower {
    /// Begins, on `runtime`.
    pub(super) fn start(runtime: &tokio::runtime::Handle, handle: EngineHandle, telling: Arc<Telling>) -> Self {
        Self(runtime.spawn(follow(handle, telling, tokio::time::sleep, show)))
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn follow<W: Future<Output = ()>, T: Future<Output = ()>>(
    handle: EngineHandle,
    telling: Arc<Telling>,
    wait: impl Fn(Duration) -> W,
    tell: impl Fn(Notice) -> T,
) {
    let mut changed = handle.changed();
    let mut watch = Watch::new(handle.snapshot());
    while changed.changed().await.is_ok() {
        telling.take_assigned(&mut watch);
        if watch.has_news(&handle.snapshot()) {
            wait(GATHER).await;
        }
        let news = watch.take(handle.snapshot());
        if telling.is_due() {
            for notice in news {
                tell(notice).await;
            }
        }
        wait(PAUSE).await;
    }
}

/// Shows it. Where no desktop listens nothing happens: the window says the same.
async fn show(notice: Notice) {
    let mut note = notify_rust::Notification::new();
    note.appname("Bootyard").summary(&notice.title);
    #[cfg(all(unix, not(target_os = "macos")))]
    {
        note.icon("bootyard").body(&unmarked(&notice.body)).hint(notify_rust::Hint::DesktopEntry("bootyard".into()));
        let _nobody_listens = tokio::time::timeout(PATIENCE, note.show_async()).await;
    }
    #[cfg(not(all(unix, not(target_os = "macos"))))]
    {
        note.body(&notice.body);
        let shown = tokio::task::spawn_blocking(move || note.show().is_ok());
        let _nobody_listens = tokio::time::timeout(PATIENCE, shown).await;
    }
}

/// Without the characters of markup, which some desktops read in a body and some don't: a client's text must not format ours.
#[cfg(all(unix, not(target_os = "macos")))]
fn unmarked(body: &str) -> String {
    body.replace('<', "‹").replace('>', "›").replace('&', "＆")
}

#[cfg(test)]
mod tests {
    use bootyard_core::api::{HandleEnd, Snapshot, Stage};
    use tokio::sync::Semaphore;
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    use super::super::tests::sample::{bench, host, iscsi, trouble};
    use super::*;

    fn lab(stage: Stage, count: u64) -> Snapshot {
        let one = |n| {
            let mut host = host(n, stage, Boot::Wait);
            host.findings = vec![trouble()];
            Arc::new(host)
        };
        Snapshot { hosts: (1..=count).map(one).collect(), jobs: vec![], ..bench(0) }
    }

    /// The follower, whose waits end when the test says so.
    struct Run {
        end: HandleEnd,
        telling: Arc<Telling>,
        waits: UnboundedReceiver<Duration>,
        go: Arc<Semaphore>,
        heard: UnboundedReceiver<Notice>,
    }

    impl Run {
        async fn over(shot: Snapshot) -> Self {
            let (handle, end) = EngineHandle::channel(shot);
            let (telling, go) = (Arc::new(Telling::default()), Arc::new(Semaphore::new(0)));
            let ((asked, waits), (said, heard)) = (unbounded_channel(), unbounded_channel());
            let wait = {
                let go = go.clone();
                move |time| {
                    asked.send(time).unwrap();
                    let go = go.clone();
                    async move { go.acquire_owned().await.unwrap().forget() }
                }
            };
            let tell = move |notice: Notice| {
                said.send(notice).unwrap();
                async {}
            };
            tokio::spawn(follow(handle, telling.clone(), wait, tell));
            tokio::task::yield_now().await;
            Self { end, telling, waits, go, heard }
        }

        /// Publishes one after the other while the follower waits, and returns what was told in the end.
        async fn goes(&mut self, shots: Vec<Snapshot>) -> Vec<String> {
            let mut shots = shots.into_iter();
            self.end.publish(shots.next().unwrap());
            let mut wait = self.waits.recv().await.unwrap();
            if wait == GATHER {
                shots.for_each(|shot| self.end.publish(shot));
                self.go.add_permits(1);
                wait = self.waits.recv().await.unwrap();
            }
            assert_eq!(wait, PAUSE);
            let mut told = Vec::new();
            while let Ok(notice) = self.heard.try_recv() {
                told.push(notice.title);
            }
            // What was published while it waited is looked at once more; there is nothing new in it.
            self.go.add_permits(1);
            tokio::task::yield_now().await;
            while self.waits.try_recv().is_ok() {
                self.go.add_permits(1);
                tokio::task::yield_now().await;
            }
            told
        }
    }

    #[tokio::test]
    async fn a_hidden_window_tells_a_burst_once_and_a_visible_one_nothing() {
        let failed = |failed| {
            let (mut shot, bad) = (lab(Stage::Loading, 30), lab(Stage::Failed, failed));
            shot.hosts.splice(..bad.hosts.len(), bad.hosts);
            shot
        };
        let mut run = Run::over(lab(Stage::Loading, 30)).await;
        let none: [&str; 0] = [];
        assert_eq!(run.goes(vec![failed(30)]).await, none, "somebody looks at the window");
        assert_eq!(run.goes(vec![lab(Stage::Running, 30)]).await, none);
        assert_eq!(run.goes(vec![lab(Stage::Loading, 30)]).await, none);

        run.telling.hidden.store(true, Ordering::Relaxed);
        assert_eq!(run.goes(vec![failed(3)]).await, none, "nobody wants to be told");
        assert_eq!(run.goes(vec![lab(Stage::Running, 30)]).await, none);
        assert_eq!(run.goes(vec![lab(Stage::Loading, 30)]).await, none);

        run.telling.wanted.store(true, Ordering::Relaxed);
        assert_eq!(run.goes(vec![failed(1), failed(7), failed(12), failed(30)]).await, ["30 machines failed"]);
        assert_eq!(run.goes(vec![failed(30)]).await, none);
    }

    #[tokio::test]
    async fn machines_assigned_in_one_act_are_told_when_all_are_up() {
        let up = |count| {
            let mut shot = lab(Stage::Loading, 2);
            shot.hosts.splice(..count, lab(Stage::OsLogin, 2).hosts.into_iter().take(count));
            for host in &mut shot.hosts {
                Arc::make_mut(host).since = Some(Timestamp::now());
            }
            shot
        };
        let mut run = Run::over(lab(Stage::Loading, 2)).await;
        run.telling.hidden.store(true, Ordering::Relaxed);
        run.telling.wanted.store(true, Ordering::Relaxed);
        let none: [&str; 0] = [];
        run.telling.sent(&Command::Assign { hosts: vec![HostId(1), HostId(2)], to: iscsi("room-1") });
        assert_eq!(run.goes(vec![up(1)]).await, none);
        assert_eq!(run.goes(vec![up(2)]).await, ["All 2 machines that were assigned together are up"]);

        run.telling.sent(&Command::Assign { hosts: vec![HostId(1), HostId(2)], to: Boot::Wait });
        assert_eq!(run.goes(vec![up(1)]).await, none);
        assert_eq!(run.goes(vec![up(2)]).await, none);
    }

    #[cfg(all(unix, not(target_os = "macos")))]
    #[test]
    fn a_body_has_no_markup() {
        assert_eq!(unmarked("<b>a</b> & b"), "‹b›a‹/b› ＆ b");
    }
}
