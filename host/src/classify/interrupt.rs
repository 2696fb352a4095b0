//! Ctrl-C: running sandboxes are interrupted, and what was printed stays.

use super::{Event, INTERRUPTED};
use anyhow::{Context, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use tokio::signal::unix::{SignalKind, signal};

/// From now on, Ctrl-C sets `stop`, which sandboxes and workers look at, and says so. A second one ends the process where it
/// stands: whoever reads the answers may have stopped to.
pub fn watch(stop: Arc<AtomicBool>, events: Sender<Event>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .context("Signals cannot be waited for")?;
    let mut interrupts = {
        let _inside = runtime.enter();
        signal(SignalKind::interrupt()).context("Signals cannot be taken over")?
    };
    let wait = async move {
        interrupts.recv().await;
        stop.store(true, Ordering::Relaxed);
        // Nobody listens where everything is printed already.
        let _ = events.send(Event::Interrupted);
        interrupts.recv().await;
        std::process::exit(INTERRUPTED.into());
    };
    std::thread::Builder::new()
        .name("interrupt".into())
        .spawn(move || runtime.block_on(wait))
        .context("The thread for signals cannot be started")?;
    Ok(())
}
