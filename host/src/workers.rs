//! Admission: a fixed set of threads that classify, a bounded queue before them, and "busy" for everyone else.

use crate::bindings::exports::pinhole::vision::classify::{Classification, ModelInfo};
use crate::engine::sandbox::{Answered, Live, Sandbox};
use crate::error::Error;
use crate::queue::Queue;
use bytes::Bytes;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, oneshot};

/// A worker's stack, in bytes: what WebAssembly may use of it, and room for the host below.
pub const STACK_BYTES: usize = crate::engine::config::WASM_STACK_BYTES + (3 << 20);

/// How many can work at the same time on this machine.
pub fn cores() -> u32 {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().min(1024) as u32)
}

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

/// An image's place in its request.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    /// How many images of the same request come before it.
    pub rank: u32,
    /// When the request has had all the time that there is for it.
    pub until: Instant,
    /// How much that is.
    pub time: Duration,
}

/// So much later than it came does an image count as having come for each image of its request before it, so that requests of one
/// image need not wait for all of another one's.
const BEHIND: Duration = Duration::from_millis(25);

/// At most so much later.
const MOST_BEHIND: Duration = Duration::from_millis(500);

/// An answer, and how long its request waited.
pub struct Served<T = Classification> {
    /// What the sandbox answered.
    pub answered: Answered<T>,
    /// From admission to a worker taking it.
    pub queue: Duration,
}

/// The threads that classify, and the queue before them.
pub struct Workers {
    sandbox: Arc<Sandbox>,
    jobs: Arc<Queue<Arc<Job>>>,
    /// One permit for each image that runs or waits.
    places: Arc<Semaphore>,
    /// The same for all but the first of each request. There are as many as workers, so that what is asked next waits for no more than
    /// a few images of others' long requests.
    following: Arc<Semaphore>,
    busy: Arc<AtomicU32>,
    admission: Admission,
}

/// A request that was admitted. Whoever takes the work out, a worker or the request itself on giving up, owns it.
struct Job {
    work: Mutex<Option<Work>>,
    abandoned: Arc<AtomicBool>,
}

type Run = dyn FnOnce(&Sandbox, &mut Option<Live>, Duration, Arc<AtomicBool>) + Send;

struct Work {
    /// Runs the request, gives its place back and sends its answer; it is told how long the request has waited.
    run: Box<Run>,
    admitted: Instant,
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
        let jobs = Arc::new(Queue::default());
        let busy = Arc::new(AtomicU32::new(0));
        for index in 0..admission.workers {
            let (sandbox, jobs, busy) = (sandbox.clone(), jobs.clone(), busy.clone());
            // Nobody joins them: they end with the process, or when the queue is closed.
            std::thread::Builder::new()
                .name(format!("classify-{index}"))
                .stack_size(STACK_BYTES)
                .spawn(move || work(&sandbox, &jobs, &busy))?;
        }
        let places = Arc::new(Semaphore::new(
            (admission.workers + admission.queue) as usize,
        ));
        let following = Arc::new(Semaphore::new(admission.workers as usize));
        Ok(Self {
            sandbox,
            jobs,
            places,
            following,
            busy,
            admission,
        })
    }

    /// The model that answers.
    pub fn model(&self) -> &ModelInfo {
        self.sandbox.model()
    }

    /// What was allowed at the start.
    pub fn admission(&self) -> &Admission {
        &self.admission
    }

    /// How many threads classify right now.
    pub fn busy(&self) -> u32 {
        self.busy.load(Ordering::Relaxed)
    }

    /// How many requests wait for a thread right now.
    pub fn waiting(&self) -> u32 {
        let Admission { workers, queue, .. } = self.admission;
        let admitted = workers + queue - self.places.available_permits() as u32;
        admitted.saturating_sub(self.busy())
    }

    /// Whether a request would be refused right now.
    pub fn is_full(&self) -> bool {
        self.places.available_permits() == 0
    }

    /// How many sandboxes were made to answer.
    pub fn instances(&self) -> u64 {
        self.sandbox.instances()
    }

    /// Classifies an image on one of the threads. Dropping the future withdraws the request from the queue, or
    /// interrupts it.
    pub async fn classify(&self, image: Bytes, top_k: u32, turn: Turn) -> Result<Served, Error> {
        self.ask(turn, move |sandbox, kept, abandoned| {
            sandbox.classify(kept, &image, top_k, abandoned)
        })
        .await
    }

    /// Runs the model on a tensor, as `classify` does on an image.
    pub async fn infer(&self, tensor: Vec<f32>, turn: Turn) -> Result<Served<Vec<f32>>, Error> {
        self.ask(turn, move |sandbox, kept, abandoned| {
            sandbox.infer(kept, &tensor, abandoned)
        })
        .await
    }

    /// The turn of a request's image, the request having come at `start`: it has the time that one image may wait and run.
    pub fn turn(&self, rank: usize, start: Instant) -> Turn {
        let time = self.admission.queue_timeout + self.sandbox.deadline();
        Turn {
            rank: u32::try_from(rank).unwrap_or(u32::MAX),
            until: start + time,
            time,
        }
    }

    async fn ask<T: Send + 'static>(
        &self,
        turn: Turn,
        call: impl FnOnce(&Sandbox, &mut Option<Live>, Arc<AtomicBool>) -> Result<Answered<T>, Error>
        + Send
        + 'static,
    ) -> Result<Served<T>, Error> {
        // Dropped at its end, the request is withdrawn or interrupted.
        tokio::time::timeout_at(turn.until.into(), self.admitted(turn, call))
            .await
            .unwrap_or(Err(Error::Deadline(turn.time)))
    }

    async fn admitted<T: Send + 'static>(
        &self,
        turn: Turn,
        call: impl FnOnce(&Sandbox, &mut Option<Live>, Arc<AtomicBool>) -> Result<Answered<T>, Error>
        + Send
        + 'static,
    ) -> Result<Served<T>, Error> {
        let following = match turn.rank {
            0 => None,
            _ => Some(
                self.following
                    .clone()
                    .acquire_owned()
                    .await
                    .map_err(|_| Error::NotReady)?,
            ),
        };
        let place = self
            .places
            .clone()
            .try_acquire_owned()
            .map_err(|_| Error::Busy)?;
        let (reply, mut answer) = oneshot::channel();
        // What a worker logs belongs to the request.
        let span = tracing::Span::current();
        let run = move |sandbox: &Sandbox, kept: &mut Option<Live>, queue, abandoned| {
            let result = catch_unwind(AssertUnwindSafe(|| {
                span.in_scope(|| call(sandbox, kept, abandoned))
            }))
            .unwrap_or_else(|_| Err(Error::Instance(wasmtime::format_err!("the host panicked"))))
            .map(|answered| Served { answered, queue });
            // Given back first: whoever has the answer may ask again at once.
            drop((place, following));
            // Nobody waits for an abandoned request's answer.
            let _ = reply.send(result);
        };
        let work = Work {
            run: Box::new(run),
            admitted: Instant::now(),
        };
        let job = Arc::new(Job {
            work: Mutex::new(Some(work)),
            abandoned: Arc::default(),
        });
        let job = AbandonOnDrop(job);
        let behind = (BEHIND * turn.rank.min(1000)).min(MOST_BEHIND);
        self.jobs.push(Instant::now() + behind, job.0.clone());
        let timeout = self.admission.queue_timeout;
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

impl Drop for Workers {
    fn drop(&mut self) {
        self.jobs.close();
    }
}

fn work(sandbox: &Sandbox, jobs: &Queue<Arc<Job>>, busy: &AtomicU32) {
    // Stays empty unless instances may be reused.
    let mut kept = None;
    while let Some(job) = jobs.next() {
        let Some(work) = job.take() else { continue };
        busy.fetch_add(1, Ordering::Relaxed);
        let queue = work.admitted.elapsed();
        (work.run)(sandbox, &mut kept, queue, job.abandoned.clone());
        busy.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Locks; what another thread's panic left behind is as good as before, since every change is one assignment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
