//! Requests as clients really write them: header values, forms and base64 in all their forms, to the host and, in
//! `wasi_http`, to the front.

use crate::common::assert_same;
use crate::common::pictures::{base64, jpeg, scene};
use crate::common::server::{Client, Reply, Server};
use pinhole_report::Answers;

/// A request to `/predict` by hand.
pub struct Asked {
    /// After the path.
    pub query: &'static str,
    /// Lines of the head.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Asked {
    /// Sends it, and reads what comes back.
    #[track_caller]
    pub fn send(&self, client: &Client) -> Reply {
        let Self { query, head, body } = self;
        let mut request = format!(
            "POST /predict{query} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n{head}\r\n",
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(body);
        parse(&client.raw(&request))
    }
}

/// What came back, as it was written.
#[track_caller]
pub fn parse(reply: &str) -> Reply {
    let (head, body) = reply
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("no answer: {reply}"));
    let mut lines = head.lines();
    let status = lines.next().unwrap()[9..12].parse().unwrap();
    let headers = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_string()))
        .collect();
    // Two engines, two ways to end a body.
    let body = match body.split_once("\r\n") {
        Some((length, rest)) if head.to_lowercase().contains("transfer-encoding: chunked") => {
            let length = usize::from_str_radix(length, 16).unwrap();
            rest[..length].to_string()
        }
        _ => body.to_string(),
    };
    Reply {
        status,
        headers,
        body,
    }
}

/// A form with these fields: what follows `form-data`, and the value.
fn form(fields: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (disposition, value) in fields {
        body.extend_from_slice(
            format!("--x\r\nContent-Disposition: form-data{disposition}\r\n\r\n").as_bytes(),
        );
        body.extend_from_slice(value);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--x--\r\n");
    body
}

fn asked(query: &'static str, head: &str, body: Vec<u8>) -> Asked {
    let head = match head {
        "" => String::new(),
        head => format!("{head}\r\n"),
    };
    Asked { query, head, body }
}

const FORM: &str = "Content-Type: multipart/form-data; boundary=x";
const JSON: &str = "Content-Type: application/json";

/// Requests that all ask for the best two classes of this picture.
pub fn good(picture: &[u8]) -> Vec<Asked> {
    let mut all = Vec::new();
    for head in [
        "",
        "Content-Type:",
        "Content-Type: binary/octet-stream",
        "Content-Type: Application/Octet-Stream\r\nContent-Encoding: Identity",
        "CONTENT-TYPE:\timage/jpeg\t\r\ncontent-encoding: identity,\tIDENTITY",
        "Content-Encoding:",
    ] {
        all.push(asked("?top_k=2", head, picture.into()));
    }
    for fields in [
        &[(r#"; name="image"; filename="a.jpg""#, picture)][..],
        &[("; NAME=image; FILENAME=a.jpg", picture)],
        &[(r#"; name="file"; filename="a.jpg""#, picture)],
        &[("; name=file", picture), ("; name=title", b"a cat")],
        &[("; name=images; filename*=UTF-8''k%C3%A4tzchen.jpg", picture)],
        &[
            (r#"; filename="; name=\"image\""; name="file""#, picture),
            (r#"; filename=""; name="none""#, b""),
        ],
        &[
            (
                r#"; filename="name=image; name=\"image\""; name="mask""#,
                b"no picture",
            ),
            (r#"; name="image"; filename="a.jpg""#, picture),
        ],
    ] {
        all.push(asked("?top_k=2", FORM, form(fields)));
    }
    let picture_and_k = [
        ("; name=file; filename=a.jpg", picture),
        ("; name=top_k", b"2".as_slice()),
        ("; name=min_probability", b"".as_slice()),
    ];
    for (query, head) in [
        ("", FORM),
        (
            "?top_k=2",
            "Content-Type: Multipart/Form-Data;\tcharset=utf-8;\tBOUNDARY=\"x\"",
        ),
        (
            "?min_probability=0",
            "Content-Type: multipart/form-data ; x=\"; boundary=y\" ; boundary=x",
        ),
    ] {
        all.push(asked(query, head, form(&picture_and_k)));
    }
    let plain = base64(picture);
    let lines = |end: &str| {
        let lines: Vec<&str> = plain
            .as_bytes()
            .chunks(76)
            .map(|line| str::from_utf8(line).unwrap())
            .collect();
        lines.join(end) + end
    };
    let for_urls = plain.replace('+', "-").replace('/', "_");
    for text in [
        plain.clone() + "\\n",
        lines("\\r\\n"),
        lines("\\n"),
        plain.replace('/', "\\/"),
        for_urls.clone(),
        for_urls.trim_end_matches('=').into(),
        format!("DATA:Image/JPEG;name=a.jpg;Base64,{plain}"),
        format!("data:;base64,{}", plain.replace('+', "%2B")),
    ] {
        let json = format!("\u{feff}{{\"image\": \"{text}\", \"top_k\": 2}}\n");
        all.push(asked("", JSON, json.into()));
    }
    all
}

/// Requests that are refused, with the status, the code and a word of the sentence.
pub fn bad(picture: &[u8]) -> Vec<(Asked, u16, &'static str, &'static str)> {
    let form = |query, fields: &[(&str, &[u8])]| asked(query, FORM, form(fields));
    let json = |text: &str| asked("", JSON, text.into());
    let image = ("; name=image; filename=a", picture);
    let long = "k".repeat(1_000_000);
    let bad = |asked, word| (asked, 400, "bad-request", word);
    vec![
        bad(
            form("", &[("; name=image; name=file", picture)]),
            "there twice",
        ),
        bad(
            form("", &[("; name=\"image", picture)]),
            "a quote has no end",
        ),
        bad(
            form("", &[("; filename=\"; name=image\"", picture)]),
            "no field `image`",
        ),
        bad(
            form(
                "",
                &[
                    ("; name=file; filename=a", picture),
                    ("; name=file; filename=b", picture),
                ],
            ),
            "2 files",
        ),
        bad(
            form(
                "",
                &[
                    ("; name=file; filename=a", picture),
                    ("; name=mask; filename=b", picture),
                ],
            ),
            "2 files",
        ),
        bad(
            form("?top_k=3", &[image, ("; name=top_k", b"2")]),
            "top_k is said twice",
        ),
        bad(form("", &[image, ("; name=top_k", b"0")]), "top_k is 0"),
        bad(
            form("", &[image, ("; name=min_probability", b"half")]),
            "`half`",
        ),
        bad(
            form("", &[(&format!("; name={}", "k".repeat(10_000)), picture)]),
            "kk…`",
        ),
        bad(
            form("", &[(&format!("; name={long}"), picture)]),
            "longer than",
        ),
        bad(asked("", FORM, b"--x\r\n\r\n".to_vec()), "breaks off"),
        bad(asked("", FORM, picture.into()), "does not begin"),
        bad(
            asked("", "Content-Type: multipart/form-data; boundary=", vec![]),
            "no boundary",
        ),
        bad(
            asked(
                "",
                "Content-Type: image/png\r\nContent-Type: image/gif",
                picture.into(),
            ),
            "twice",
        ),
        bad(asked("?top_k=1&top_k=2", "", picture.into()), "said twice"),
        bad(asked("?t\u{6f}p-k=%0a", "", picture.into()), "`top-k`"),
        bad(json(&format!("{{\"{long}\": 1}}")), "kk…` is unknown"),
        bad(
            json(&format!("{{\"image\": {{\"{long}\": 1}}}}")),
            "an object",
        ),
        bad(
            json(&format!("{{\"image\": \"{}\u{7f}\"}}", "k".repeat(1000))),
            "no character of base64",
        ),
        bad(json(&format!("\"{long}\"")), "kk…` stands where"),
        bad(
            json("{\"image\": \"YQ==\", \"top_k\": \"\\u001b[2J\"}"),
            "`\\u{1b}[2J`",
        ),
        bad(
            json("{\"image\": \"data:image/png,YQ==\"}"),
            "not in base64",
        ),
        bad(json("\u{feff}\u{feff}{}"), "no JSON"),
        (
            asked(
                "",
                &format!("Content-Type: text/{}", "x".repeat(5000)),
                picture.into(),
            ),
            415,
            "unsupported-format",
            "xx…`",
        ),
        (
            asked(
                "",
                &format!("Content-Encoding: identity, {}", "x".repeat(5000)),
                picture.into(),
            ),
            415,
            "encoded-body",
            "xx…`",
        ),
    ]
}

/// Both kinds of requests, to whoever answers.
#[track_caller]
pub fn try_all(client: &Client) {
    let picture = jpeg(&scene(64, 48));
    let expected = client
        .post("/predict?top_k=2", "image/jpeg", &picture)
        .answer()
        .predictions;
    assert_eq!(expected.len(), 2);
    for asked in good(&picture) {
        let reply = asked.send(client);
        assert_eq!(reply.status, 200, "{}: {}", asked.head, reply.body);
        assert_same(&reply.answer().predictions, &expected);
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
    }
    for (asked, status, code, word) in bad(&picture) {
        let reply = asked.send(client);
        let sentence = reply.refusal(status, code);
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
        assert!(sentence.contains(word), "{word}: {sentence}");
        assert!(sentence.chars().count() < 400, "{sentence}");
    }
}

#[test]
fn requests_are_understood_as_clients_write_them() {
    let server = Server::start(&[]);
    try_all(&server.client);
}

#[test]
fn the_name_of_a_file_comes_back_in_full_up_to_a_length() {
    let server = Server::start(&[]);
    let picture = jpeg(&scene(64, 48));
    let long = format!("; name=image; filename={}", "n".repeat(5000));
    let body = form(&[
        ("; name=image; filename=\"a \\\"b\\\" C:\\c.jpg\"", &picture),
        (
            "; name=image; filename=b; filename*=UTF-8''%F0%9F%90%B1.jpg",
            &picture,
        ),
        (&long, &picture),
    ]);
    let reply = asked("", FORM, body).send(&server.client);
    assert_eq!(reply.status, 200, "{}", reply.body);
    let answers: Answers = serde_json::from_str(&reply.body).unwrap();
    let json = serde_json::to_value(&answers).unwrap();
    let file = |index: usize| json["answers"][index]["file"].as_str().unwrap().to_string();
    assert_eq!(file(0), "a \"b\" C:\\c.jpg");
    assert_eq!(file(1), "\u{1f431}.jpg");
    assert_eq!(file(2), "n".repeat(99) + "…");
}
