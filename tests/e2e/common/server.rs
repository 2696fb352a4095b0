//! A real `pinhole serve` on a port of its own, and a real HTTP client.

use super::{pinhole, wait};
use pinhole_report::{Answer, Refusal};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// A running service. It ends with the test.
pub struct Server {
    child: Child,
    log: Arc<Mutex<String>>,
    follower: Option<JoinHandle<()>>,
    /// How it is asked.
    pub client: Client,
}

impl Server {
    /// Starts a service with the default model.
    pub fn start(options: &[&str]) -> Self {
        Self::of(&super::dist("guest.cwasm"), options)
    }

    /// Starts a service with this component, and waits until it is ready.
    pub fn of(component: &Path, options: &[&str]) -> Self {
        Self::at(component, "127.0.0.1:0", options)
    }

    /// The same, at this address.
    pub fn at(component: &Path, address: &str, options: &[&str]) -> Self {
        Self::run(&mut serve(component, address, options))
    }

    /// Starts a service with the default model and these environment variables.
    pub fn start_with_env(options: &[&str], env: &[(&str, &str)]) -> Self {
        let component = super::dist("guest.cwasm");
        Self::run(serve(&component, "127.0.0.1:0", options).envs(env.iter().copied()))
    }

    /// Starts a service by this command, and waits until it is ready.
    pub fn run(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (log, lines, follower) = follow(child.stderr.take().unwrap());
        let address = wait("the line that says where it listens", 60, || {
            let line = lines.recv_timeout(Duration::from_millis(100)).ok();
            let ended = child.try_wait().unwrap();
            assert!(
                ended.is_none() || line.is_some(),
                "it ended with {ended:?}: {}",
                log.lock().unwrap()
            );
            let line = line?;
            let (_, address) = line.split_once("listening on http://")?;
            Some(
                // The line may be JSON.
                address
                    .split([' ', '"'])
                    .next()
                    .unwrap_or_default()
                    .trim_end_matches(['.', '/'])
                    .to_string(),
            )
        });
        let client = Client::new(&address);
        let server = Self {
            child,
            log,
            follower: Some(follower),
            client,
        };
        wait("readiness", 60, || {
            (server.client.get("/health").status == 200).then_some(())
        });
        server
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All that it has logged.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Whether it still runs.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Asks it to end, as an operator does.
    pub fn terminate(&self) {
        let ended = super::run(
            Command::new("kill").args(["-TERM", &self.pid().to_string()]),
            b"",
        );
        ended.ok();
    }

    /// Ends it, with no time for anything.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until it has ended, and its log is whole.
    pub fn wait(&mut self) -> ExitStatus {
        let status = wait("its end", 30, || self.child.try_wait().unwrap());
        if let Some(follower) = self.follower.take() {
            follower.join().unwrap();
        }
        status
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            // After a minute under load, nobody reads all of it.
            let log = self.log();
            let from = log.lines().count().saturating_sub(200);
            let end: Vec<&str> = log.lines().skip(from).collect();
            eprintln!("The end of the service's log:\n{}", end.join("\n"));
        }
    }
}

/// Reads a log while it is written, so that the pipe never fills.
fn follow(
    stderr: impl Read + Send + 'static,
) -> (Arc<Mutex<String>>, Receiver<String>, JoinHandle<()>) {
    let log = Arc::new(Mutex::new(String::new()));
    let (sender, lines) = channel();
    let copy = Arc::clone(&log);
    let follower = std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            let mut log = copy.lock().unwrap();
            log.push_str(&line);
            log.push('\n');
            let _ = sender.send(line);
        }
    });
    (log, lines, follower)
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Reply {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(header, _)| header == name)
            .map(|(_, value)| value.as_str())
    }

    /// The answer, of a request that must have been answered.
    #[track_caller]
    pub fn answer(&self) -> Answer {
        assert_eq!(self.status, 200, "{}", self.body);
        serde_json::from_str(&self.body).unwrap()
    }

    /// The JSON in the body.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// Fails unless the request was refused with this status, in the shape of both inference protocols and one sentence, which it
    /// returns.
    #[track_caller]
    pub fn protocol_refusal(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{}", self.body);
        let body = self.json();
        assert_eq!(body.as_object().unwrap().len(), 1, "{body}");
        let sentence = body["error"].as_str().unwrap();
        assert!(
            sentence.ends_with('.') && !sentence.contains('\n'),
            "{sentence}"
        );
        sentence.to_string()
    }

    /// Fails unless the request was refused with this status and code, in one sentence. Returns the sentence.
    #[track_caller]
    pub fn refusal(&self, status: u16, code: &str) -> String {
        assert_eq!(self.status, status, "{}", self.body);
        let refusal: Refusal = serde_json::from_str(&self.body).unwrap();
        assert_eq!(refusal.code, code, "{}", refusal.error);
        let sentence = refusal.error;
        assert!(
            sentence.ends_with('.') && !sentence.ends_with(".."),
            "{sentence}"
        );
        // One line, and nothing of how we are built.
        assert!(
            !sentence.contains(['\n', '\r']) && !sentence.contains(".rs"),
            "{sentence:?}"
        );
        sentence
    }
}

/// Asks one service.
pub struct Client {
    agent: ureq::Agent,
    /// `host:port`.
    pub address: String,
}

impl Client {
    /// Of a service that listens here.
    pub fn new(address: &str) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(60)))
            .proxy(None)
            .build();
        Self {
            agent: config.into(),
            address: address.to_string(),
        }
    }

    /// `GET`.
    pub fn get(&self, path: &str) -> Reply {
        self.try_get(path).unwrap()
    }

    /// `GET` with one more header.
    pub fn get_with(&self, path: &str, (name, value): (&str, &str)) -> Reply {
        let request = self.agent.get(self.url(path)).header(name, value);
        reply(request.call().unwrap())
    }

    /// `GET`, of a service that may not be there yet.
    pub fn try_get(&self, path: &str) -> Result<Reply, ureq::Error> {
        self.agent.get(self.url(path)).call().map(reply)
    }

    /// `POST` of a body of this type.
    pub fn post(&self, path: &str, content_type: &str, body: &[u8]) -> Reply {
        reply(
            self.agent
                .post(self.url(path))
                .header("content-type", content_type)
                .send(body)
                .unwrap(),
        )
    }

    /// `POST` with one more header.
    pub fn post_with(&self, path: &str, (name, value): (&str, &str), body: &[u8]) -> Reply {
        let request = self
            .agent
            .post(self.url(path))
            .header("content-type", "application/octet-stream");
        reply(request.header(name, value).send(body).unwrap())
    }

    /// `POST /predict` of an image as it is.
    pub fn predict(&self, image: &[u8]) -> Reply {
        self.post("/predict", "application/octet-stream", image)
    }

    /// `POST /predict` of a form with one file, as `curl -F field=@name` sends it.
    pub fn predict_form(&self, field: &str, name: &str, image: &[u8]) -> Reply {
        let (content_type, body) = form(field, name, image);
        self.post("/predict", &content_type, &body)
    }

    /// Sends bytes as they are, closes its own side if asked to, and returns what comes back until the service closes.
    pub fn raw(&self, bytes: &[u8]) -> String {
        String::from_utf8_lossy(&self.raw_bytes(bytes)).into_owned()
    }

    /// The same, where what comes back is no text.
    pub fn raw_bytes(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.connect();
        // A service that has refused a request early may have closed already.
        let _ = stream.write_all(bytes);
        all_of(&mut stream)
    }

    /// A bare connection, for what no HTTP client would do.
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        stream
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

/// The command that serves this component at this address.
fn serve(component: &Path, address: &str, options: &[&str]) -> Command {
    let mut command = pinhole();
    command
        .args(["serve", "--listen", address, "--component"])
        .arg(component)
        .args(options);
    command
}

/// All that comes until the other side closes, however it does that.
pub fn read_all(stream: &mut TcpStream) -> String {
    String::from_utf8_lossy(&all_of(stream)).into_owned()
}

fn all_of(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(length) = stream.read(&mut buffer) {
        if length == 0 {
            break;
        }
        all.extend_from_slice(&buffer[..length]);
    }
    all
}

/// The content type and the body of a form with one file.
pub fn form(field: &str, name: &str, file: &[u8]) -> (String, Vec<u8>) {
    form_of(&[(field, name, file)])
}

/// The content type and the body of a form with these files: field, name, bytes.
pub fn form_of(files: &[(&str, &str, &[u8])]) -> (String, Vec<u8>) {
    let boundary = "------------------------d74496d66958873e";
    let mut body = Vec::new();
    for (field, name, file) in files {
        body.extend_from_slice(
            format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"{field}\"; filename=\"{name}\"\r\nContent-Type: image/jpeg\r\n\r\n"
            )
            .as_bytes(),
        );
        body.extend_from_slice(file);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    (format!("multipart/form-data; boundary={boundary}"), body)
}

fn reply(mut response: ureq::http::Response<ureq::Body>) -> Reply {
    Reply {
        status: response.status().as_u16(),
        headers: response
            .headers()
            .iter()
            .map(|(name, value)| {
                (
                    name.to_string(),
                    value.to_str().unwrap_or_default().to_string(),
                )
            })
            .collect(),
        // Not every answer is text all through.
        body: String::from_utf8_lossy(&response.body_mut().read_to_vec().unwrap()).into_owned(),
    }
}
