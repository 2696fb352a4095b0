//! Traffic: pictures whose answers are known, connections that are kept, clients that judge what comes back.

use crate::common::server::Reply;
use crate::common::{answer, files, pictures, pinhole, run, shared};
use pinhole_report::{Answer, Prediction};
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{Shutdown, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How many different pictures are sent.
const PICTURES: usize = 20;

/// A request, and the answer that it must get.
pub struct Picture {
    /// The request, head and body.
    pub request: Vec<u8>,
    golden: Vec<Prediction>,
}

impl Picture {
    /// Whether this is the answer, to the last bit: the same code ran on the same bytes.
    pub fn is_answered_by(&self, reply: &Reply) -> bool {
        serde_json::from_str::<Answer>(&reply.body)
            .is_ok_and(|answer| answer.predictions == self.golden)
    }
}

/// Twenty photographs, or pictures of our own where there are none, as the command line classifies each by itself.
pub fn twenty() -> Vec<Picture> {
    let folder = TempDir::new().unwrap();
    let paths: Vec<PathBuf> = match shared("images") {
        Some(images) => {
            let all = files(&images, "jpg");
            let step = all.len() / PICTURES;
            all.into_iter().step_by(step).take(PICTURES).collect()
        }
        None => (0..PICTURES as u32)
            .map(|turn| {
                let path = folder.path().join(format!("{turn}.jpg"));
                let scene = pictures::scene(200 + 16 * turn, 500 - 8 * turn);
                std::fs::write(&path, pictures::jpeg(&scene)).unwrap();
                path
            })
            .collect(),
    };
    assert_eq!(paths.len(), PICTURES);
    let lines = run(pinhole().args(["classify", "--json"]).args(&paths), b"").ok();
    paths
        .iter()
        .zip(lines.lines())
        .map(|(path, line)| Picture {
            request: request(&std::fs::read(path).unwrap()),
            golden: answer(line).predictions,
        })
        .collect()
}

/// A request for an image's classes.
pub fn request(image: &[u8]) -> Vec<u8> {
    let mut request = format!(
        "POST /predict HTTP/1.1\r\nHost: soak\r\nContent-Type: application/octet-stream\r\nContent-Length: {}\r\n\r\n",
        image.len()
    )
    .into_bytes();
    request.extend_from_slice(image);
    request
}

/// A connection that is kept from one request to the next.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects.
    pub fn open(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(Self {
            stream,
            buffer: Vec::new(),
        })
    }

    /// Sends a request.
    pub fn send(&mut self, request: &[u8]) -> Result<()> {
        self.stream.write_all(request)
    }

    /// Reads an answer. `UnexpectedEof` with nothing read is a connection that was closed before one.
    pub fn receive(&mut self) -> Result<Reply> {
        self.buffer.clear();
        let head = loop {
            if let Some(end) = self.buffer.windows(4).position(|end| end == b"\r\n\r\n") {
                break end + 4;
            }
            self.more()?;
        };
        let wrong = || Error::from(ErrorKind::InvalidData);
        let text = String::from_utf8_lossy(&self.buffer[..head]).into_owned();
        let mut lines = text.lines();
        let status = lines.next().and_then(|line| line.get(9..12)?.parse().ok());
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_string()))
            .collect();
        let mut reply = Reply {
            status: status.ok_or_else(wrong)?,
            headers,
            body: String::new(),
        };
        let length = reply
            .header("content-length")
            .and_then(|length| length.parse::<usize>().ok());
        let end = head + length.ok_or_else(wrong)?;
        while self.buffer.len() < end {
            self.more()?;
        }
        reply.body = String::from_utf8(self.buffer[head..end].to_vec()).map_err(|_| wrong())?;
        Ok(reply)
    }

    /// Sends a request and reads its answer.
    pub fn ask(&mut self, request: &[u8]) -> Result<Reply> {
        self.send(request)?;
        self.receive()
    }

    /// Whether any part of an answer has come.
    pub fn has_begun(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// Goes away, in the middle of whatever goes on.
    pub fn abort(self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    fn more(&mut self) -> Result<()> {
        let mut chunk = [0; 4096];
        match self.stream.read(&mut chunk)? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            length => {
                self.buffer.extend_from_slice(&chunk[..length]);
                Ok(())
            }
        }
    }
}

/// What became of requests. Each is in exactly one of the four.
#[derive(Default)]
pub struct Tally {
    /// How long those took that were answered rightly.
    pub right: Vec<Duration>,
    /// How long those took that were refused because the service was busy.
    pub busy: Vec<Duration>,
    /// Those that their client gave up.
    pub aborted: usize,
    /// What became of all others, which must not be.
    pub wrong: Vec<String>,
}

impl Tally {
    /// How many there were.
    pub fn total(&self) -> usize {
        self.right.len() + self.busy.len() + self.aborted + self.wrong.len()
    }

    /// Fails where there was one that must not be.
    #[track_caller]
    pub fn assert_nothing_wrong(&self) {
        let first: Vec<_> = self.wrong.iter().take(5).collect();
        assert!(
            self.wrong.is_empty(),
            "{} of {}: {first:#?}",
            self.wrong.len(),
            self.total()
        );
    }

    fn add(&mut self, other: Self) {
        self.right.extend(other.right);
        self.busy.extend(other.busy);
        self.aborted += other.aborted;
        self.wrong.extend(other.wrong);
    }
}

/// How requests arrive.
#[derive(Clone, Copy)]
pub struct Arrivals {
    /// Connections that they come over.
    pub connections: u32,
    /// From one to the next. None: each connection sends one as soon as the last is answered.
    pub interval: Option<Duration>,
    /// For how long.
    pub length: Duration,
    /// One in so many is given up by its client. None: no one.
    pub aborts: Option<u32>,
}

/// Sends the pictures in turn, and judges each answer.
///
/// With an interval, arrivals do not wait for answers: that is what overload is. Clients who wait for each answer would
/// only ever offer what the service takes. A request for which no connection is free when it is due is sent late.
pub fn drive(address: &str, pictures: &[Picture], arrivals: Arrivals) -> Tally {
    let (start, next) = (Instant::now(), AtomicU32::new(0));
    // The next request's number, when it is due.
    let due = || {
        let turn = next.fetch_add(1, Ordering::Relaxed);
        let at = start + arrivals.interval.unwrap_or_default() * turn;
        if at.max(Instant::now()) >= start + arrivals.length {
            return None;
        }
        thread::sleep(at.saturating_duration_since(Instant::now()));
        Some(turn)
    };
    let client = || {
        let mut tally = Tally::default();
        let mut kept: Option<Connection> = None;
        while let Some(turn) = due() {
            let picture = &pictures[turn as usize % pictures.len()];
            let aborts = arrivals.aborts.is_some_and(|every| turn % every == 0);
            one(&mut kept, address, picture, aborts, &mut tally);
        }
        tally
    };
    let mut all = Tally::default();
    thread::scope(|scope| {
        let clients: Vec<_> = (0..arrivals.connections)
            .map(|_| {
                let builder = thread::Builder::new().stack_size(256 << 10);
                builder.spawn_scoped(scope, client).unwrap()
            })
            .collect();
        for client in clients {
            all.add(client.join().unwrap());
        }
    });
    all
}

fn one(
    kept: &mut Option<Connection>,
    address: &str,
    picture: &Picture,
    aborts: bool,
    tally: &mut Tally,
) {
    let sent = Instant::now();
    let asked = (|| {
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None => Connection::open(address)?,
        };
        connection.send(&picture.request)?;
        if aborts {
            connection.abort();
            return Ok(None);
        }
        let reply = connection.receive()?;
        if reply.header("connection") != Some("close") {
            *kept = Some(connection);
        }
        Ok(Some(reply))
    })();
    match asked {
        Ok(None) => tally.aborted += 1,
        Ok(Some(reply)) if reply.status == 200 && picture.is_answered_by(&reply) => {
            tally.right.push(sent.elapsed());
        }
        Ok(Some(reply)) if reply.status == 503 && reply.header("retry-after").is_some() => {
            tally.busy.push(sent.elapsed());
        }
        Ok(Some(reply)) => tally.wrong.push(format!("{} {}", reply.status, reply.body)),
        Err::<_, Error>(error) => tally.wrong.push(error.to_string()),
    }
}
