//! Asking the engine for what no snapshot has: a view begins, a task waits for the answer, and the next frame takes it in.

use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};

use bootyard_core::api::{HandleError, Reply};

use super::lang::t;

/// What comes of it: the answer, or why there is none in a sentence.
pub(super) type Told<T> = Result<T, String>;

/// One question at a time. `About` says what was asked, so that a view knows when to ask again.
#[derive(Debug)]
pub(super) struct Asking<About, T> {
    about: Option<About>,
    coming: Option<Receiver<Told<T>>>,
}

impl<About, T> Default for Asking<About, T> {
    fn default() -> Self {
        Self { about: None, coming: None }
    }
}

impl<About, T> Asking<About, T> {
    /// Asks about this from now on; the answer goes into the sender. One to an earlier question is waited for no more.
    pub(super) fn begin(&mut self, about: About) -> Sender<Told<T>> {
        let (told, coming) = channel();
        (self.about, self.coming) = (Some(about), Some(coming));
        told
    }

    /// What was asked last.
    pub(super) fn about(&self) -> Option<&About> {
        self.about.as_ref()
    }

    /// Whether an answer is on its way.
    pub(super) fn waits(&self) -> bool {
        self.coming.is_some()
    }

    /// It is to be asked again, as if it never was.
    pub(super) fn forget(&mut self) {
        self.about = None;
    }

    /// The answer, once it has come.
    pub(super) fn take(&mut self) -> Option<Told<T>> {
        let told = match self.coming.as_ref()?.try_recv() {
            Ok(told) => told,
            Err(TryRecvError::Empty) => return None,
            // The task ended without one.
            Err(TryRecvError::Disconnected) => Err(t!("The engine has gone.").to_owned()),
        };
        self.coming = None;
        Some(told)
    }
}

/// What a reply says, where it is of the kind that `of` takes.
pub(super) fn read<T>(reply: Result<Reply, HandleError>, of: impl FnOnce(Reply) -> Option<T>) -> Told<T> {
    let other = || t!("The engine is of another version; start it again.").to_owned();
    reply.map_err(|error| error.to_string()).and_then(|reply| of(reply).ok_or_else(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_question_is_answered_and_no_earlier_one() {
        let mut asking: Asking<&str, u8> = Asking::default();
        assert!(asking.about().is_none() && asking.take().is_none());
        let first = asking.begin("first");
        let second = asking.begin("second");
        assert!(first.send(Ok(1)).is_err(), "nobody waits for it");
        assert!(asking.waits() && asking.take().is_none());
        second.send(Ok(2)).unwrap();
        assert_eq!((asking.take(), asking.about()), (Some(Ok(2)), Some(&"second")));
        assert!(!asking.waits() && asking.take().is_none());
        asking.forget();
        assert_eq!(asking.about(), None);
    }

    #[test]
    fn a_task_that_ends_without_an_answer_is_waited_for_no_more() {
        let mut asking: Asking<(), u8> = Asking::default();
        drop(asking.begin(()));
        assert!(asking.take().is_some_and(|told| told.is_err()));
        assert!(!asking.waits());
    }

    #[test]
    fn a_reply_of_another_kind_is_one_of_another_version() {
        let count = |reply| match reply {
            Reply::Hosts { count } => Some(count),
            _ => None,
        };
        assert_eq!(read(Ok(Reply::Hosts { count: 3 }), count), Ok(3));
        assert!(read(Ok(Reply::Done), count).unwrap_err().contains("another version"));
        assert_eq!(read(Err(HandleError::Gone), count), Err(HandleError::Gone.to_string()));
    }
}
