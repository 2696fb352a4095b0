//! What a guest tells while it compiles a model: the name of each stage that it has ended, a line each on its standard output.

use super::Progress;
use bytes::Bytes;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::AsyncWrite;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
use wasmtime_wasi_io::poll::Pollable;
use wasmtime_wasi_io::streams::{OutputStream, StreamResult};

/// The longest name of a stage, in bytes: a guest that writes without end fills nothing.
const LONGEST: usize = 80;

/// A guest's standard output.
#[derive(Clone)]
pub struct Stages {
    progress: Arc<Progress>,
    line: Arc<Mutex<Vec<u8>>>,
}

impl Stages {
    /// Each whole line is shown as a stage that has ended.
    pub fn new(progress: Arc<Progress>) -> Self {
        Self {
            progress,
            line: Arc::default(),
        }
    }
}

impl OutputStream for Stages {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        for byte in bytes {
            if byte == b'\n' {
                self.progress.done(&String::from_utf8_lossy(&line), None);
                line.clear();
            } else if line.len() < LONGEST {
                line.push(byte);
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(LONGEST)
    }
}

#[async_trait]
impl Pollable for Stages {
    async fn ready(&mut self) {}
}

impl IsTerminal for Stages {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Stages {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }

    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        // For components of WASI 0.3, which guests are not.
        Box::new(MemoryOutputPipe::new(0))
    }
}
