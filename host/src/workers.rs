//! Admission: a fixed set of threads that classify, a bounded queue before them, and "busy" for everyone else.

use crate::bindings::exports::pinhole::vision::classify::ModelInfo;
use crate::engine::sandbox::{Answered, Sandbox};
use crate::error::Error;
use bytes::Bytes;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// A worker's stack, in bytes: what WebAssembly may use of it, and room for the host below.
const STACK_BYTES: usize = crate::engine::config::WASM_STACK_BYTES + (3 << 20);

/// How requests are admitted.
#[derive(Clone, Copy, Debug)]
pub struct Admission {
    /// Threads that classify.
    pub workers: u32,
    /// Requests that may wait for one of them.
    pub queue: u32,
    /// How long they may wait.
    pub queue_timeout: Duration,
}

/// An answer, and how long its request waited.
pub struct Served {
    /// What the sandbox answered.
    pub answered: Answered,
    /// From admission to a worker taking it.
    pub queue: Duration,
}

/// The threads that classify, and the queue before them.
pub struct Workers {
    sandbox: Arc<Sandbox>,
    jobs: Sender<Arc<Job>>,
    /// One permit for each request that runs or waits.
    places: Arc<Semaphore>,
    queue_timeout: Duration,
}

/// A request that was admitted. Whoever takes the work out, a worker or the request itself on giving up, owns it.
struct Job {
    work: Mutex<Option<Work>>,
    abandoned: Arc<AtomicBool>,
}

struct Work {
    image: Bytes,
    top_k: u32,
    admitted: Instant,
    reply: oneshot::Sender<Result<Served, Error>>,
    _place: OwnedSemaphorePermit,
}

impl Job {
    fn take(&self) -> Option<Work> {
        lock(&self.work).take()
    }
}

/// Abandons the job when the request's future is dropped, as it is when the client goes away.
struct AbandonOnDrop(Arc<Job>);

impl Drop for AbandonOnDrop {
    fn drop(&mut self) {
        self.0.abandoned.store(true, Ordering::Relaxed);
        drop(self.0.take());
    }
}

impl Workers {
    /// Starts the threads.
    pub fn start(sandbox: Sandbox, admission: Admission) -> std::io::Result<Self> {
        let sandbox = Arc::new(sandbox);
        let (jobs, receiver) = channel();
        let receiver = Arc::new(Mutex::new(receiver));
        for index in 0..admission.workers {
            let (sandbox, receiver) = (sandbox.clone(), receiver.clone());
            // Nobody joins them: they end with the process, or when the last sender is gone.
            std::thread::Builder::new()
                .name(format!("classify-{index}"))
                .stack_size(STACK_BYTES)
                .spawn(move || work(&sandbox, &receiver))?;
        }
        let places = Arc::new(Semaphore::new(
            (admission.workers + admission.queue) as usize,
        ));
        Ok(Self {
            sandbox,
            jobs,
            places,
            queue_timeout: admission.queue_timeout,
        })
    }

    /// The model that answers.
    pub fn model(&self) -> &ModelInfo {
        self.sandbox.model()
    }

    /// Classifies an image on one of the threads. Dropping the future withdraws the request from the queue, or
    /// interrupts it.
    pub async fn classify(&self, image: Bytes, top_k: u32) -> Result<Served, Error> {
        let place = self
            .places
            .clone()
            .try_acquire_owned()
            .map_err(|_| Error::Busy)?;
        let (reply, mut answer) = oneshot::channel();
        let work = Work {
            image,
            top_k,
            admitted: Instant::now(),
            reply,
            _place: place,
        };
        let job = Arc::new(Job {
            work: Mutex::new(Some(work)),
            abandoned: Arc::default(),
        });
        let job = AbandonOnDrop(job);
        self.jobs.send(job.0.clone()).map_err(|_| Error::NotReady)?;
        let timeout = self.queue_timeout;
        tokio::select! {
            biased;
            result = &mut answer => return result.unwrap_or(Err(Error::NotReady)),
            () = tokio::time::sleep(timeout) => {}
        }
        match job.0.take() {
            Some(_withdrawn) => Err(Error::QueueTimeout(timeout)),
            // A worker has it: the deadline of the sandbox holds from here on.
            None => answer.await.unwrap_or(Err(Error::NotReady)),
        }
    }
}

fn work(sandbox: &Sandbox, jobs: &Mutex<Receiver<Arc<Job>>>) {
    loop {
        // Taken under the lock, run outside of it.
        let Ok(job) = lock(jobs).recv() else { return };
        let Some(work) = job.take() else { continue };
        let queue = work.admitted.elapsed();
        let call = || sandbox.classify(&work.image, work.top_k, job.abandoned.clone());
        let result = catch_unwind(AssertUnwindSafe(call))
            .unwrap_or_else(|_| Err(Error::Instance(wasmtime::format_err!("the host panicked"))))
            .map(|answered| Served { answered, queue });
        // Nobody waits for an abandoned request's answer.
        let _ = work.reply.send(result);
    }
}

/// Locks; what another thread's panic left behind is as good as before, since every change is one assignment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
