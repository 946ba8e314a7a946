//! Keeps the laptop awake while machines run from its disks.

/// Inhibits sleep until the guard is dropped, through logind. Where there is no logind the guard does nothing: a computer without
/// it does not sleep by itself. `why` is what the desktop shows. Blocks up to two seconds; not for an async task's thread.
#[must_use]
pub fn sleep_inhibit(why: &str) -> Box<dyn Send + Sync> {
    #[cfg(target_os = "linux")]
    if let Some(lock) = logind::inhibit(why.to_owned()) {
        return Box::new(lock);
    }
    let _ = why;
    Box::new(())
}

/// Whether sleep can be inhibited; `None` where nothing is there that would put the computer to sleep. Blocks up to two seconds.
#[must_use]
pub fn can_inhibit_sleep() -> Option<bool> {
    #[cfg(target_os = "linux")]
    return logind::can_inhibit();
    #[cfg(not(target_os = "linux"))]
    None
}

#[cfg(target_os = "linux")]
mod logind {
    use std::time::Duration;

    use zbus::Connection;
    use zbus::zvariant::OwnedFd;

    const PATIENCE: Duration = Duration::from_secs(2);

    /// logind's lock is a descriptor: it lasts until that is closed, by us or by our end.
    pub(super) fn inhibit(why: String) -> Option<OwnedFd> {
        attempt(why)?.ok()
    }

    /// `None` where nobody answers for logind, or there is no bus at all.
    pub(super) fn can_inhibit() -> Option<bool> {
        match attempt("a look whether it can be done".to_owned())? {
            Ok(_) => Some(true),
            Err(zbus::Error::MethodError(name, ..)) => {
                let absent =
                    name.ends_with(".ServiceUnknown") || name.contains(".Spawn.") || name.ends_with(".NameHasNoOwner");
                (!absent).then_some(false)
            }
            Err(_) => None,
        }
    }

    /// `None` when it took too long.
    fn attempt(why: String) -> Option<zbus::Result<OwnedFd>> {
        let thread = std::thread::Builder::new().name("inhibit sleep".to_owned()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
            runtime.block_on(async { tokio::time::timeout(PATIENCE, ask(&why)).await }).ok()
        });
        thread.ok()?.join().ok()?
    }

    async fn ask(why: &str) -> zbus::Result<OwnedFd> {
        let connection = Connection::system().await?;
        let answer = connection
            .call_method(
                Some("org.freedesktop.login1"),
                "/org/freedesktop/login1",
                Some("org.freedesktop.login1.Manager"),
                "Inhibit",
                &("sleep:idle", "Bootyard", why, "block"),
            )
            .await?;
        answer.body().deserialize()
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_guard_is_given_with_or_without_logind() {
        drop(super::sleep_inhibit("a test"));
    }
}
