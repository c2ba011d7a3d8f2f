//! Ctrl-C and SIGTERM: the first drains and commits, the second ends at once.

use std::sync::Arc;

use millstream_engine::Live;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};

use crate::failure::Exit;
use crate::output;

/// The thread that waits for signals; ends when dropped.
pub struct Watch(Handle);

/// Begins to watch.
pub fn watch(live: Arc<Live>) -> std::io::Result<Watch> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let handle = signals.handle();
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for (earlier, _) in signals.forever().enumerate() {
            if earlier > 0 {
                // What was committed is safe, and the next run goes on from there.
                output::complain("stopped at once; the next run goes on from the last commit\n");
                std::process::exit(Exit::StoppedAtOnce as i32);
            }
            live.stop();
            tracing::info!("draining: what was read is finished and committed (a second signal ends at once)");
        }
    })?;
    Ok(Watch(handle))
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.close();
    }
}
