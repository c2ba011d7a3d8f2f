//! Small jobs beside a run, each on a thread that mostly sleeps.

use std::ops::ControlFlow;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

/// A job that is done every now and then until this is dropped; then what the job holds is dropped, too.
pub struct Background {
    stop: Sender<()>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    /// Does `job` every `every`, for the first time after that long, until it breaks.
    pub fn spawn(
        name: &str,
        every: Duration,
        mut job: impl FnMut() -> ControlFlow<()> + Send + 'static,
    ) -> std::io::Result<Self> {
        let (stop, stopped) = mpsc::channel::<()>();
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            while stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                if job().is_break() {
                    // What the job holds is held to the end.
                    let _ = stopped.recv();
                    return;
                }
            }
        })?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.stop.send(());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn what_a_job_holds_goes_with_it() {
        let held = Arc::new(());
        let (of_job, (said, heard)) = (held.clone(), mpsc::channel());
        let job = Background::spawn("test", Duration::from_millis(1), move || {
            let _keep = &of_job;
            let _ = said.send(());
            ControlFlow::Break(())
        });
        let job = job.unwrap();
        heard.recv().unwrap();
        assert_eq!(Arc::strong_count(&held), 2);
        drop(job);
        assert_eq!(Arc::strong_count(&held), 1);
        assert!(heard.recv().is_err(), "once");
    }
}
