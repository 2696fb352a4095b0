//! An HTTP server for tests: it answers each request as the test says, and remembers what it was asked.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub path: String,
    /// The first byte that was asked for, where it was not the whole file.
    pub from: Option<usize>,
}

/// What is answered, to the byte.
pub struct Reply {
    bytes: Vec<u8>,
    /// Says nothing more, but keeps the line open, as a server that hangs does.
    hangs: bool,
}

impl Reply {
    /// A head with these lines, and a body.
    pub fn new(status: &str, headers: &[String], body: &[u8]) -> Self {
        let mut head = format!("HTTP/1.1 {status}\r\nConnection: close\r\n");
        for header in headers {
            head += header;
            head += "\r\n";
        }
        head += "\r\n";
        Self {
            bytes: [head.as_bytes(), body].concat(),
            hangs: false,
        }
    }

    /// All of the file.
    pub fn whole(file: &[u8]) -> Self {
        Self::new("200 OK", &[length(file.len())], file)
    }

    /// The file from a byte on, as a server does that knows ranges.
    pub fn from(file: &[u8], from: Option<usize>) -> Self {
        let all = file.len();
        match from {
            None => Self::whole(file),
            Some(from) if from < all => Self::new(
                "206 Partial Content",
                &[
                    length(all - from),
                    format!("Content-Range: bytes {from}-{}/{all}", all - 1),
                ],
                &file[from..],
            ),
            Some(_) => Self::new(
                "416 Range Not Satisfiable",
                &[length(0), format!("Content-Range: bytes */{all}")],
                b"",
            ),
        }
    }

    /// The same, but the line breaks so many bytes early.
    pub fn cut(mut self, bytes: usize) -> Self {
        self.bytes.truncate(self.bytes.len() - bytes);
        self
    }

    /// The same, but without an end.
    pub fn hanging(mut self) -> Self {
        self.hangs = true;
        self
    }

    /// Nothing at all.
    pub fn none() -> Self {
        Self {
            bytes: Vec::new(),
            hangs: false,
        }
    }
}

/// The header that says how long a body is.
pub fn length(bytes: usize) -> String {
    format!("Content-Length: {bytes}")
}

/// A server that runs until the tests end.
pub struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// Serves on a free port of this machine.
    pub fn start(answer: impl Fn(&Request) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let Some(request) = read(&mut stream) else {
                    continue;
                };
                seen.lock().unwrap().push(request.clone());
                let reply = answer(&request);
                // A client may well go away before the end.
                let _ = stream.write_all(&reply.bytes);
                while reply.hangs && stream.read(&mut [0; 64]).is_ok_and(|read| read > 0) {}
            }
        });
        Self { address, requests }
    }

    /// The address of a file on it.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What it was asked until now.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

fn read(stream: &mut TcpStream) -> Option<Request> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?.to_lowercase();
    let range = head
        .lines()
        .find_map(|line| line.strip_prefix("range: bytes="));
    Some(Request {
        path: head.split(' ').nth(1)?.to_string(),
        from: range.map(|range| range.strip_suffix('-').unwrap().parse().unwrap()),
    })
}
