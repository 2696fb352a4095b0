//! Two replicas behind a real proxy, configured as `deploy/proxy/` has it: one after the other is ended and started again, one
//! is killed, and clients who ask once more when they must notice nothing.

use super::traffic::{Arrivals, Connection, Picture, drive, twenty};
use super::{length, quantile};
use crate::common::server::{Client, Server};
use crate::common::{dist, in_ci, root, run, say, skipped, wait};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Clients that ask without a pause: half on a connection for each request, half on one that they keep.
const CLIENTS: usize = 4;

/// Answers between one event and the next.
const BETWEEN: usize = 30;

/// Each replica has one worker, so that two have twice as many as one.
const OPTIONS: [&str; 2] = ["--workers", "1"];

/// A running nginx. It ends with the test.
struct Proxy {
    child: Child,
    address: String,
    _folder: TempDir,
}

impl Proxy {
    /// Starts a proxy before two replicas, or none, said aloud, where nginx is not installed. In CI it must be.
    fn start(replicas: [&str; 2]) -> Option<Self> {
        if Command::new("nginx").arg("-v").output().is_err() {
            assert!(
                !in_ci(),
                "there is no nginx, and in CI there must be: install Debian's nginx-light"
            );
            skipped("there is no nginx");
            return None;
        }
        // Handed over listening: a port that is only looked up may be another's by the time that it is used.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut site = std::fs::read_to_string(root().join("deploy/proxy/pinhole.conf")).unwrap();
        for (example, real) in [
            ("127.0.0.1:8001", replicas[0]),
            ("127.0.0.1:8002", replicas[1]),
            ("127.0.0.1:8080", &address),
        ] {
            assert_eq!(site.matches(example).count(), 1, "{example} in {site}");
            site = site.replace(example, real);
        }
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("nginx.conf");
        let whole = format!(
            "pid nginx.pid;\nerror_log stderr crit;\nevents {{}}\nhttp {{\naccess_log off;\n{site}}}\n"
        );
        std::fs::write(&file, whole).unwrap();
        let child = Command::new("nginx")
            .args(["-g", "daemon off;", "-p"])
            .arg(folder.path())
            .arg("-c")
            .arg(&file)
            // As one nginx hands its sockets to the next.
            .env("NGINX", "0;")
            .stdin(Stdio::from(OwnedFd::from(listener)))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let proxy = Self {
            child,
            address,
            _folder: folder,
        };
        let client = Client::new(&proxy.address);
        wait("the proxy", 30, || {
            (client.try_get("/health").ok()?.status == 200).then_some(())
        });
        assert_eq!(client.get("/metrics").status, 404);
        Some(proxy)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Its workers end with it, which they would not if it were killed.
        let pid = self.child.id().to_string();
        run(Command::new("kill").args(["-TERM", &pid]), b"");
        let _ = self.child.wait();
    }
}

fn start() -> Server {
    Server::start(&OPTIONS)
}

/// Pictures that a replica has answered for since it started.
fn answered(server: &Server) -> u64 {
    let metrics = server.client.get("/metrics").body;
    let count = metrics
        .lines()
        .find_map(|line| line.strip_prefix("pinhole_classifications_total{outcome=\"ok\"} "));
    count.unwrap().parse().unwrap()
}

/// What clients have seen so far.
#[derive(Default)]
struct Seen {
    is_over: AtomicBool,
    answers: AtomicUsize,
    repeated: AtomicUsize,
}

impl Seen {
    /// Waits for so many more answers.
    fn more(&self, answers: usize) {
        let enough = self.answers.load(Ordering::Relaxed) + answers;
        wait("answers", 120, || {
            (self.answers.load(Ordering::Relaxed) >= enough).then_some(())
        });
    }
}

/// Ends the traffic when it is dropped.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Asks until it is over, each time once more at most, and returns what had no right answer then, and how long the others
/// took.
fn ask(
    address: &str,
    pictures: &[Picture],
    keeps: bool,
    seen: &Seen,
) -> (Vec<String>, Vec<Duration>) {
    let (mut failed, mut times) = (Vec::new(), Vec::new());
    let mut kept = None;
    while !seen.is_over.load(Ordering::Relaxed) {
        let turn = seen.answers.load(Ordering::Relaxed);
        let picture = &pictures[turn % pictures.len()];
        let start = Instant::now();
        let first = once(address, picture, keeps, &mut kept);
        let last = first.or_else(|why| {
            seen.repeated.fetch_add(1, Ordering::Relaxed);
            once(address, picture, keeps, &mut kept).map_err(|again| format!("{why}, then {again}"))
        });
        match last {
            Ok(()) => times.push(start.elapsed()),
            Err(why) => failed.push(why),
        }
        seen.answers.fetch_add(1, Ordering::Relaxed);
    }
    (failed, times)
}

fn once(
    address: &str,
    picture: &Picture,
    keeps: bool,
    kept: &mut Option<Connection>,
) -> Result<(), String> {
    let broken = |error: std::io::Error| error.to_string();
    let mut connection = match kept.take() {
        Some(connection) => connection,
        None => Connection::open(address).map_err(broken)?,
    };
    let reply = connection.ask(&picture.request).map_err(broken)?;
    if reply.status != 200 {
        return Err(format!("{} {}", reply.status, reply.body));
    }
    // A wrong answer is never made good by another one.
    assert!(picture.is_answered_by(&reply), "{}", reply.body);
    if keeps && reply.header("connection") != Some("close") {
        *kept = Some(connection);
    }
    Ok(())
}

#[test]
fn a_rolling_restart_and_a_kill_lose_nothing() {
    let pictures = twenty();
    let mut replicas = [start(), start()];
    let addresses = replicas
        .each_ref()
        .map(|replica| replica.client.address.clone());
    let Some(proxy) = Proxy::start([&addresses[0], &addresses[1]]) else {
        return;
    };
    let seen = Seen::default();
    let all: Vec<_> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let (address, pictures, seen) = (&proxy.address, &pictures, &seen);
                scope.spawn(move || ask(address, pictures, client % 2 == 0, seen))
            })
            .collect();
        // Dropped in a panic, too: the clients would go on for ever.
        let over = Over(&seen.is_over);
        seen.more(BETWEEN);
        // As an orchestrator does it: the next one's turn comes when this one is ready, and has got its share.
        for turn in [0, 1] {
            replicas[turn].terminate();
            let ended = replicas[turn].wait();
            assert_eq!(ended.code(), Some(0), "{}", replicas[turn].log());
            begin_again(&mut replicas[turn], &addresses[turn]);
            seen.more(BETWEEN);
        }
        replicas[0].kill();
        seen.more(BETWEEN);
        begin_again(&mut replicas[0], &addresses[0]);
        drop(over);
        clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .collect()
    });
    let failed: Vec<_> = all.iter().flat_map(|(failed, _)| failed).collect();
    let mut times: Vec<_> = all
        .iter()
        .flat_map(|(_, times)| times.iter().copied())
        .collect();
    say(&format!(
        "two replicas, each ended and started again under load, one killed: {} requests answered, {} of them when asked \
         again, {} failed; half within {:.1?}, all within {:.1?}",
        times.len(),
        seen.repeated.load(Ordering::Relaxed),
        failed.len(),
        quantile(&mut times, 0.5),
        quantile(&mut times, 1.0),
    ));
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(times.len() > 4 * BETWEEN);
}

/// Starts a replica where it was, and waits until the proxy has sent it work.
fn begin_again(replica: &mut Server, address: &str) {
    *replica = Server::at(&dist("guest.cwasm"), address, &OPTIONS);
    // The self-test's is not counted among them.
    wait("work for the new replica", 60, || {
        (answered(replica) > 0).then_some(())
    });
}

#[test]
fn a_second_replica_takes_its_share() {
    let pictures = twenty();
    let replicas = [start(), start()];
    let addresses = replicas
        .each_ref()
        .map(|replica| replica.client.address.clone());
    // Where nobody listens: a proxy before one replica only.
    let nobody = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let mut rates = Vec::new();
    for second in [&nobody, &addresses[1]] {
        let Some(proxy) = Proxy::start([&addresses[0], second]) else {
            return;
        };
        let start = Instant::now();
        let tally = drive(
            &proxy.address,
            &pictures,
            Arrivals {
                connections: 4,
                interval: None,
                length: length(),
                aborts: None,
            },
        );
        tally.assert_nothing_wrong();
        assert!(tally.busy.is_empty());
        rates.push(tally.right.len() as f64 / start.elapsed().as_secs_f64());
    }
    say(&format!(
        "behind the proxy, with one worker each: one replica {:.1} images/s, two {:.1}, {:.2} times as many, on {} cores \
         that the clients and the proxy use as well",
        rates[0],
        rates[1],
        rates[1] / rates[0],
        thread::available_parallelism().map_or(1, usize::from),
    ));
    assert!(replicas.iter().all(|replica| answered(replica) > 0));
}
