//! The life of the service: check, load, listen, test itself, serve, drain, end.

use crate::allocator;
use crate::bmp::bmp;
use crate::cli::ServeArgs;
use crate::engine::artifact::Source;
use crate::engine::sandbox::{Limits, Sandbox};
use crate::error::Error;
use crate::http::{self, App, connection, drain};
use crate::log;
use crate::memory::{self, Shares};
use crate::nn::Choice;
use crate::workers::{Admission, Workers, cores};
use anyhow::{Context, Result, anyhow};
use axum::http::HeaderValue;
use bytes::Bytes;
use std::error::Error as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// MiB for all bodies, where nothing else is said.
const USUAL_BODIES_MIB: u32 = 256;

/// Serves until a signal ends it: 0 after a graceful end.
pub fn run(args: ServeArgs) -> Result<ExitCode> {
    allocator::settle();
    let _log = log::start(&args.log)?;
    let settings = Settings::check(&args)?;
    let sandbox = Sandbox::load(
        &settings.component,
        settings.admission.workers,
        settings.sandbox,
        &settings.models,
    )?;
    let workers = Workers::start(sandbox, settings.admission)
        .context("The worker threads cannot be started")?;
    let app = Arc::new(App::new(workers, settings.http, args.max_connections)?);
    tokio::runtime::Builder::new_multi_thread()
        // Connections only move bytes; classification has threads of its own.
        .worker_threads(2)
        // Long bodies are understood apart, a few at a time.
        .max_blocking_threads(2)
        .enable_all()
        .build()
        .context("The network threads cannot be started")?
        .block_on(serve(
            app,
            settings.listen,
            &settings.cors_origins,
            settings.connections,
            settings.grace,
        ))
}

async fn serve(
    app: Arc<App>,
    address: SocketAddr,
    origins: &[HeaderValue],
    limits: connection::Limits,
    grace: Duration,
) -> Result<ExitCode> {
    let mut signals = Signals::new()?;
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| anyhow!("The address {address} cannot be listened on: {error}."))?;
    let bound = listener
        .local_addr()
        .context("The address cannot be read back")?;
    tracing::info!(
        model = app.workers().model().name,
        version = app.workers().model().version,
        engine = app.workers().model().engine,
        "listening on http://{bound}"
    );
    let (end, ended) = watch::channel(false);
    let routers = connection::Routers {
        all: http::router(app.clone(), origins),
        kept: http::kept_router(app.clone()),
    };
    let places = app.places().clone();
    let connections = tokio::spawn(connection::accept(listener, routers, limits, places, ended));
    let test = tokio::spawn(test_itself(app.clone()));

    signals.next().await;
    tracing::info!("draining: requests in flight have {} s", grace.as_secs());
    test.abort();
    app.set_ready(false);
    // Nobody listens for this only when accepting has failed already.
    let _ = end.send(true);
    tokio::select! {
        _ = connections => tracing::info!("every request was answered"),
        () = tokio::time::sleep(grace) => tracing::warn!("the grace period is over: requests are interrupted"),
        () = signals.next() => tracing::warn!("a second signal: requests are interrupted"),
    }
    // Connections that are left end with the runtime, and take their requests with them.
    Ok(ExitCode::SUCCESS)
}

/// How long a service waits after a test before the next one.
const AGAIN: Duration = Duration::from_secs(2);

/// Tests the service before it says that it is ready, and again whenever something has failed that may be its own fault: a
/// component that answers no more must not be sent requests. An image that breaks its own sandbox changes nothing, since the test
/// has another one.
async fn test_itself(app: Arc<App>) {
    loop {
        match self_test(&app).await {
            Ok(instantiate) if !app.set_ready(true) => tracing::info!(
                instantiate_us = u64::try_from(instantiate.as_micros()).unwrap_or(u64::MAX),
                "ready"
            ),
            Ok(_) => {}
            // Under load there is no room for a test either.
            Err(error) if error.is_busy() && app.is_ready() => {}
            Err(error) => {
                if app.set_ready(false) {
                    tracing::error!(
                        "the service no longer passes its test, and is not ready: {}",
                        causes(&error)
                    );
                } else {
                    tracing::error!(
                        "the self-test failed, and the service is not ready: {}",
                        causes(&error)
                    );
                }
                tokio::time::sleep(AGAIN).await;
                continue;
            }
        }
        // One bad image after the other shall not have the service test itself all the time.
        tokio::time::sleep(AGAIN).await;
        app.doubted().await;
    }
}

/// Classifies a picture of our own, through the whole path. Tells how long its sandbox took to be made.
async fn self_test(app: &App) -> Result<Duration, Error> {
    let picture = Bytes::from(bmp(8, |_, _| [128; 3]));
    let turn = app.workers().turn(0, Instant::now());
    let served = app.workers().classify(picture, 1, turn).await?;
    Ok(served.answered.instantiate)
}

/// An error and what is behind it, which clients are not told.
fn causes(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(" ({error})"));
        cause = error.source();
    }
    text
}

/// SIGTERM, SIGINT and SIGHUP. Taken over early, so that they work for a process that is PID 1 as well.
struct Signals {
    hang_up: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Self> {
        let take = |kind| signal(kind).context("Signals cannot be taken over");
        Ok(Self {
            hang_up: take(SignalKind::hangup())?,
            terminate: take(SignalKind::terminate())?,
            interrupt: take(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.hang_up.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// What the flags come to, checked before anything is begun.
struct Settings {
    listen: SocketAddr,
    component: Source,
    sandbox: Limits,
    models: Choice,
    admission: Admission,
    http: http::Limits,
    cors_origins: Vec<HeaderValue>,
    connections: connection::Limits,
    grace: Duration,
}

impl Settings {
    fn check(args: &ServeArgs) -> Result<Self> {
        let component = Source::new(&args.sandbox, args.model_path.as_deref())?;
        let shares = shares(args);
        let workers = shares.workers;
        let milliseconds = Duration::from_millis;
        Ok(Self {
            listen: args.listen.unwrap_or_else(|| {
                SocketAddr::from((Ipv4Addr::UNSPECIFIED, args.port.unwrap_or(8000)))
            }),
            component,
            sandbox: Limits {
                reuse: args.reuse,
                memory_bytes: (shares.sandbox_mib as usize) << 20,
                ..Limits::new(&args.sandbox)
            },
            models: Choice::new(&args.sandbox)?,
            admission: Admission {
                workers,
                queue: args.queue.unwrap_or(workers * 8),
                queue_timeout: milliseconds(args.queue_timeout_ms),
            },
            http: http::Limits {
                body_bytes: args.max_body_bytes,
                bodies_mib: shares.bodies_mib,
                body_timeout: milliseconds(args.body_timeout_ms),
                min_body_rate: args.min_body_rate,
                batch: args.max_batch as usize,
            },
            cors_origins: args.cors_origin.clone(),
            connections: connection::Limits {
                answers: drain::Limits {
                    timeout: milliseconds(args.answer_timeout_ms),
                    min_rate: args.min_answer_rate,
                },
                header_bytes: args.max_header_bytes as usize,
                header_timeout: milliseconds(args.header_timeout_ms),
            },
            grace: Duration::from_secs(args.grace_s),
        })
    }
}

/// What sandboxes and bodies may take: what is asked for, else what is usual, as far as the container's memory goes.
fn shares(args: &ServeArgs) -> Shares {
    let usual = Shares {
        workers: args.workers.unwrap_or_else(cores),
        sandbox_mib: args.sandbox.memory_mib(),
        bodies_mib: args.bodies_mib.unwrap_or(USUAL_BODIES_MIB),
    };
    let Some(limit) = memory::limit_mib() else {
        return usual;
    };
    let fitted = usual.fitted(limit);
    // What is asked for aloud is what is done.
    let shares = Shares {
        workers: args.workers.unwrap_or(fitted.workers),
        sandbox_mib: args.sandbox.memory_mib.unwrap_or(fitted.sandbox_mib),
        bodies_mib: args.bodies_mib.unwrap_or(fitted.bodies_mib),
    };
    let Shares {
        workers,
        sandbox_mib,
        bodies_mib,
    } = shares;
    if shares.total() > limit {
        tracing::warn!(
            "the container may use {limit} MiB, and requests up to {} MiB: lower --workers ({workers}), --memory-mib \
             ({sandbox_mib}) or --bodies-mib ({bodies_mib}), or it may be killed",
            shares.total()
        );
    } else if shares != usual {
        tracing::warn!(
            "the container may use {limit} MiB: {workers} workers with {sandbox_mib} MiB each, and {bodies_mib} MiB for \
             bodies, where {} with {} and {} are usual",
            usual.workers,
            usual.sandbox_mib,
            usual.bodies_mib
        );
    }
    shares
}
