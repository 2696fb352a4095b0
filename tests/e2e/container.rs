//! The scratch image, in a real Docker: what is in it, how it runs, how it ends.

use crate::common::imagenet::{imagenet, imagenet_int8, imagenet_nn};
use crate::common::server::Client;
use crate::common::{
    Ended, answer, assert_same, dist, files, in_ci, pictures, pinhole, run, say, skipped, wait,
};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const IMAGE: &str = "pinhole";
/// The one whose host runs the model.
const IMAGE_NN: &str = "pinhole-nn";

/// The Docker client, or none, said aloud, where there is no Docker. In CI there must be.
fn docker() -> Option<impl Fn(&[&str]) -> Ended> {
    let client = std::env::var_os("DOCKER").unwrap_or_else(|| "docker".into());
    let docker = move |arguments: &[&str]| run(Command::new(&client).args(arguments), b"");
    let reachable = std::env::var_os("PATH").is_some()
        && Command::new(std::env::var_os("DOCKER").unwrap_or_else(|| "docker".into()))
            .args(["version", "--format", "{{.Server.Version}}"])
            .output()
            .is_ok_and(|output| output.status.success());
    if !reachable {
        assert!(
            !in_ci(),
            "no Docker answers, and in CI one must: see `docker info`"
        );
        skipped("no Docker answers");
        return None;
    }
    let image = docker(&["image", "inspect", IMAGE, "--format", "{{.Id}}"]);
    assert_eq!(
        image.code,
        Some(0),
        "there is no image {IMAGE}: run `cargo xtask image`"
    );
    Some(docker)
}

/// A running container. It is gone when this is.
struct Container<'a> {
    docker: &'a dyn Fn(&[&str]) -> Ended,
    id: String,
    client: Client,
}

impl<'a> Container<'a> {
    /// Starts the image as an orchestrator would: read-only, without any capability.
    fn start(docker: &'a dyn Fn(&[&str]) -> Ended) -> Self {
        Self::with(docker, &[])
    }

    /// The same with these options.
    fn with(docker: &'a dyn Fn(&[&str]) -> Ended, options: &[&str]) -> Self {
        let fixed = [
            "run",
            "--detach",
            "--read-only",
            "--cap-drop",
            "ALL",
            "--security-opt",
            "no-new-privileges",
            "--publish",
            "127.0.0.1::8000",
        ];
        let id = docker(&[&fixed[..], options, &[IMAGE]].concat()).ok();
        let id = id.trim().to_string();
        let mut container = Self {
            docker,
            id,
            client: Client::new(""),
        };
        let address = (container.docker)(&["port", &container.id, "8000/tcp"]).ok();
        container.client = Client::new(address.lines().next().unwrap().trim());
        container
    }

    fn inspect(&self, what: &str) -> String {
        (self.docker)(&["inspect", &self.id, "--format", what])
            .ok()
            .trim()
            .to_string()
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Ended { stdout, stderr, .. } = (self.docker)(&["logs", &self.id]);
            eprintln!("The container's log:\n{stdout}{stderr}");
        }
        (self.docker)(&["rm", "--force", "--volumes", &self.id]);
    }
}

/// In as much memory as an operator may think enough for so small an image.
#[test]
fn a_container_of_little_memory_refuses_what_does_not_fit_and_lives() {
    let Some(docker) = docker() else { return };
    let container = Container::with(&docker, &["--memory", "64m"]);
    wait("the first answer", 30, || {
        container
            .client
            .try_get("/health")
            .is_ok_and(|reply| reply.status == 200)
            .then_some(())
    });
    let picture = pictures::jpeg(&pictures::scene(64, 48));
    // A picture of one pixel that claims a canvas of 36 million.
    let mut canvas = b"GIF89a".to_vec();
    canvas.extend([0x70, 0x17, 0x70, 0x17, 0x80, 0, 0, 0, 0, 0, 255, 255, 255]);
    canvas.extend([0x2c, 0, 0, 0, 0, 1, 0, 1, 0, 0, 2, 2, 0x44, 1, 0, 0x3b]);
    for _ in 0..3 {
        container
            .client
            .predict(&canvas)
            .refusal(413, "image-too-large");
        container.client.predict(&picture).answer();
    }
    assert_eq!(
        container.inspect("{{.RestartCount}} {{.State.OOMKilled}}"),
        "0 false"
    );
    let log = (container.docker)(&["logs", &container.id]);
    assert!(
        log.stderr.contains("the container may use 64 MiB"),
        "{}",
        log.stderr
    );
}

#[test]
fn the_container_answers_like_the_host_and_ends_well() {
    let Some(docker) = docker() else { return };
    let container = Container::start(&docker);
    // From here on it is our time: before, it was Docker's.
    let start = Instant::now();
    wait("the first answer", 10, || {
        container
            .client
            .try_get("/health")
            .is_ok_and(|reply| reply.status == 200)
            .then_some(())
    });
    let ready = start.elapsed();
    wait("the health check", 10, || {
        (container.inspect("{{.State.Health.Status}}") == "healthy").then_some(())
    });
    let healthy = start.elapsed();
    say(&format!(
        "the container is ready after {} ms, and healthy after {} ms",
        ready.as_millis(),
        healthy.as_millis()
    ));
    assert!(
        healthy.as_secs_f64() < 2.0,
        "healthy only after {healthy:?}"
    );

    let image = pictures::jpeg(&pictures::scene(500, 375));
    let expected =
        answer(&run(pinhole().args(["classify", "--json", "-"]), &image).ok()).predictions;
    assert_same(
        &container
            .client
            .predict_form("image", "cat.jpg", &image)
            .answer()
            .predictions,
        &expected,
    );
    container
        .client
        .predict(b"not a picture")
        .refusal(415, "unsupported-format");
    assert_same(
        &container.client.predict(&image).answer().predictions,
        &expected,
    );

    // The page for people is in the image; what describes the interface is not.
    assert_eq!(container.client.get("/").status, 200);
    container.client.get("/docs").refusal(404, "not-found");

    assert_unprivileged(&container.inspect("{{.State.Pid}}"));
    docker(&["stop", "--time", "20", &container.id]).ok();
    assert_eq!(
        container.inspect("{{.State.ExitCode}} {{.State.OOMKilled}}"),
        "0 false"
    );
}

/// How often the start is timed.
const STARTS: usize = 5;

#[test]
fn the_image_whose_host_runs_the_model_starts_at_once_too() {
    let Some(docker) = docker() else { return };
    let shipped =
        ["pinhole", "guest.cwasm", "model"].map(|name| size(&dist(&format!("image-nn/{name}"))));
    let inspect = docker(&["image", "inspect", IMAGE_NN, "--format", "{{.Size}}"]).ok();
    assert_eq!(
        inspect.trim().parse::<u64>().unwrap(),
        shipped.iter().sum::<u64>(),
        "the image holds something else than the three files"
    );
    let Some(model) = imagenet_nn() else { return };
    let host = size(&dist("image-nn/pinhole"));
    let whole = host + size(&model.cwasm) + size(&model.network);
    say(&format!(
        "the image whose host runs the model: host {:.2} MB, with the ImageNet model {:.1} MB",
        host as f64 / 1e6,
        whole as f64 / 1e6
    ));
    assert!(whole < 30_000_000, "{whole}");
    let picture = std::fs::read(&files(&model.images, "jpg")[0]).unwrap();
    let files = [(&*model.cwasm, "guest.cwasm"), (&*model.network, "model")];
    tell_starts(&docker, "the host's kernels", IMAGE_NN, &files, &picture);
}

fn size(file: &Path) -> u64 {
    std::fs::metadata(file).unwrap().len()
}

#[test]
fn the_image_with_the_imagenet_model_starts_at_once() {
    let Some(docker) = docker() else { return };
    for (precision, model) in [("int8", imagenet_int8()), ("fp32", imagenet())] {
        let Some(model) = model else { return };
        let picture = std::fs::read(&files(&model.images, "jpg")[0]).unwrap();
        let files = [(&*model.cwasm, "guest.cwasm")];
        tell_starts(&docker, precision, IMAGE, &files, &picture);
    }
}

/// Says how long an image takes to its first answer, with these files in place of its own.
fn tell_starts(
    docker: &dyn Fn(&[&str]) -> Ended,
    what: &str,
    image: &str,
    files: &[(&Path, &str)],
    picture: &[u8],
) {
    let mut starts: Vec<(f64, f64)> = (0..STARTS)
        .map(|_| first_answer(docker, image, files, picture))
        .collect();
    starts.sort_by(|a, b| a.partial_cmp(b).unwrap());
    let (process, command) = starts[STARTS / 2];
    say(&format!(
        "{what}: {process:.0} ms from the container's start to the first answer, {command:.0} ms from `docker start` on (medians of {STARTS})"
    ));
}

/// Milliseconds to the first answer: from when Docker says that the container started, and from when it was told to.
fn first_answer(
    docker: &dyn Fn(&[&str]) -> Ended,
    image: &str,
    files: &[(&Path, &str)],
    picture: &[u8],
) -> (f64, f64) {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let mounts: Vec<String> = files
        .iter()
        .map(|(file, name)| format!("{}:/{name}:ro", file.display()))
        .collect();
    let options = ["--read-only", "--cap-drop", "ALL", "--network", "host"];
    let mut create = vec!["create"];
    create.extend(mounts.iter().flat_map(|mount| ["--volume", mount]));
    create.extend(options);
    let listen = port.to_string();
    create.extend([image, "serve", "--listen", &listen]);
    let container = Container {
        docker,
        id: docker(&create).ok().trim().to_string(),
        client: Client::new(&listen),
    };
    let told = Instant::now();
    let answered = std::thread::scope(|scope| {
        let client = &container.client;
        // Already asking when it starts. Milliseconds count here, and `wait` looks less often.
        let asked = scope.spawn(move || {
            while told.elapsed() < Duration::from_secs(60) {
                if TcpStream::connect(port).is_ok() {
                    client.predict(picture).answer();
                    return SystemTime::now();
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            panic!("no answer within a minute");
        });
        docker(&["start", &container.id]).ok();
        asked.join().unwrap()
    });
    let command = told.elapsed() - SystemTime::now().duration_since(answered).unwrap();
    let started = container.inspect("{{.State.StartedAt}}");
    let of_day = answered.duration_since(UNIX_EPOCH).unwrap().as_secs_f64() % DAY;
    let process = (of_day - seconds_of_day(&started) + DAY) % DAY;
    (process * 1e3, command.as_secs_f64() * 1e3)
}

/// A day in seconds.
const DAY: f64 = 86_400.0;

/// Of a moment like `2026-01-31T23:59:59.123456789Z`.
fn seconds_of_day(moment: &str) -> f64 {
    let (_, time) = moment.split_once('T').unwrap();
    time.trim_end_matches('Z')
        .split(':')
        .fold(0.0, |sum, part| sum * 60.0 + part.parse::<f64>().unwrap())
}

/// Nobody's user, no capability: as the kernel sees it, where this is the same machine's.
fn assert_unprivileged(pid: &str) {
    let Ok(status) = std::fs::read_to_string(format!("/proc/{pid}/status")) else {
        return skipped("the container's process is on another machine");
    };
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace()
            .skip(1)
            .map(str::to_string)
            .collect::<Vec<_>>()
    };
    assert_eq!(field("Uid:"), ["65532"; 4]);
    assert_eq!(field("Gid:"), ["65532"; 4]);
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:"] {
        assert_eq!(field(set), ["0000000000000000"]);
    }
}

#[test]
fn the_image_holds_two_files_and_no_shell() {
    let Some(docker) = docker() else { return };
    let inspect = |what: &str| {
        docker(&["image", "inspect", IMAGE, "--format", what])
            .ok()
            .trim()
            .to_string()
    };
    let size: u64 = inspect("{{.Size}}").parse().unwrap();
    say(&format!("the image takes {:.1} MB", size as f64 / 1e6));
    assert_eq!(inspect("{{.Config.User}}"), "65532:65532");
    assert_eq!(inspect("{{.Config.StopSignal}}"), "SIGTERM");
    assert_eq!(
        inspect("{{json .Config.ExposedPorts}}"),
        r#"{"8000/tcp":{}}"#
    );
    assert_eq!(
        inspect("{{json .Config.Entrypoint}}{{json .Config.Cmd}}"),
        r#"["/pinhole"]["serve"]"#
    );
    assert_eq!(
        inspect("{{json .Config.Healthcheck.Test}}"),
        r#"["CMD","/pinhole","healthcheck"]"#
    );
    assert_eq!(
        inspect(r#"{{index .Config.Labels "org.opencontainers.image.licenses"}}"#),
        "Apache-2.0 OR MIT"
    );

    let shipped = ["pinhole", "guest.cwasm"].map(|name| {
        std::fs::metadata(dist(&format!("image/{name}")))
            .unwrap()
            .len()
    });
    assert_eq!(
        size,
        shipped.iter().sum::<u64>(),
        "the image holds something else than the two files"
    );
    for shell in ["/bin/sh", "/bin/bash", "/busybox/sh"] {
        let ended = docker(&["run", "--rm", "--entrypoint", shell, IMAGE, "-c", "true"]);
        assert_eq!(ended.code, Some(127), "{shell}: {}", ended.stderr);
    }
}

#[test]
fn the_image_is_a_command_line_too() {
    let Some(docker) = docker() else { return };
    let help = docker(&[
        "run",
        "--rm",
        "--read-only",
        "--cap-drop",
        "ALL",
        IMAGE,
        "--help",
    ])
    .ok();
    assert!(
        help.contains("classify") && !help.contains("bake"),
        "{help}"
    );
    let ended = docker(&["run", "--rm", IMAGE, "serve", "--listen", "nonsense"]);
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    let ended = docker(&["run", "--rm", IMAGE, "healthcheck"]);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
}
