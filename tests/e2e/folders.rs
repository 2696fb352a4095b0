//! `pinhole classify` with many files: folders, workers, formats, Ctrl-C; and what shells complete.

use crate::common::pictures::{encode, jpeg, large, scene};
use crate::common::{dist, in_ci, pinhole, run, skipped, wait};
use image::ImageFormat;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// A folder with pictures, and with what is none of our business.
fn folder() -> (TempDir, Vec<PathBuf>) {
    let folder = TempDir::new().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    // The first takes longest, so that others overtake it.
    let mut pictures = vec![file("0 large.png", &large())];
    for (number, side) in (1..8).zip([300, 200, 64, 500, 32, 128, 64]) {
        let picture = scene(side, side / 2 + 16);
        pictures.push(file(&format!("{number}.jpg"), &jpeg(&picture)));
    }
    pictures.push(file("8, \"quoted\".jpg", b"not a picture"));
    pictures.push(file("9.WebP", &encode(&scene(64, 64), ImageFormat::WebP)));
    file("notes.txt", b"not a picture either");
    file(".hidden.jpg", b"nor this");
    std::fs::create_dir(folder.path().join("z.jpg")).unwrap();
    (folder, pictures)
}

fn lines(json: &str) -> Vec<Value> {
    let parse = |line| serde_json::from_str(line).unwrap();
    json.lines().map(parse).collect()
}

#[test]
fn answers_come_in_the_order_of_the_files_from_any_number_of_workers() {
    let (folder, pictures) = folder();
    let ask = |workers: &str| {
        let mut command = pinhole();
        command.args(["classify", "--json", "--workers", workers]);
        // A file before a folder, and after it.
        command.args([&pictures[3], &folder.path().to_path_buf(), &pictures[1]]);
        let ended = run(&mut command, b"");
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        // Nobody looks at a terminal here.
        assert_eq!(ended.stderr, "");
        lines(&ended.stdout)
    };
    let one = ask("1");
    let files: Vec<&str> = one
        .iter()
        .map(|line| line["file"].as_str().unwrap())
        .collect();
    let mut expected = vec![&pictures[3]];
    expected.extend(&pictures);
    expected.push(&pictures[1]);
    assert!(files.iter().map(Path::new).eq(expected), "{files:?}");
    let refused: Vec<usize> = (0..one.len())
        .filter(|line| one[*line]["code"].is_string())
        .collect();
    assert_eq!(refused, [9]);
    for workers in ["2", "7"] {
        let other = ask(workers);
        assert_eq!(one.len(), other.len());
        for (a, b) in one.iter().zip(&other) {
            // Everything but the time it took.
            for field in ["file", "predictions", "error", "code"] {
                assert_eq!(a[field], b[field]);
            }
        }
    }
}

#[test]
fn every_format_says_the_same() {
    let (folder, pictures) = folder();
    let ask = |options: &[&str]| {
        let mut command = pinhole();
        command
            .current_dir(&folder)
            .args(["classify", "--top-k", "2"]);
        let files = &pictures[6..9];
        run(
            command
                .args(options)
                .args(files.iter().map(|file| file.file_name().unwrap())),
            b"",
        )
    };
    let json = ask(&["--format", "json"]);
    let without_time = |ended: &str| {
        let mut lines = lines(ended);
        for line in &mut lines {
            line.as_object_mut().unwrap().remove("timings_ms");
        }
        lines
    };
    let answers = without_time(&json.stdout);
    assert_eq!(answers, without_time(&ask(&["--json"]).stdout));

    let table = ask(&["--format", "csv"]);
    assert_eq!((table.code, table.stderr.as_str()), (Some(1), ""));
    let mut expected = vec!["file,rank,class_id,label,probability,error,code".to_string()];
    for (name, answer) in ["6.jpg", "7.jpg"].iter().zip(&answers) {
        for (rank, best) in answer["predictions"].as_array().unwrap().iter().enumerate() {
            let (id, label) = (&best["class_id"], best["label"].as_str().unwrap());
            expected.push(format!(
                "{name},{},{id},{label},{},,",
                rank + 1,
                best["probability"]
            ));
        }
    }
    assert_eq!(expected.len(), 5);
    let rows: Vec<&str> = table.stdout.lines().collect();
    assert_eq!(rows[..5], expected);
    // A file's name is quoted where it must be, and so is the sentence, which has commas.
    let (start, end) = (
        "\"8, \"\"quoted\"\".jpg\",,,,,\"This is not an image; ",
        ",unsupported-format",
    );
    assert!(
        rows[5].starts_with(start) && rows[5].ends_with(end) && rows.len() == 6,
        "{rows:?}"
    );

    let text = ask(&["--format", "text"]);
    assert_eq!(text.stdout.lines().count(), 6);
    assert!(
        text.stderr.starts_with("8, \"quoted\".jpg: "),
        "{}",
        text.stderr
    );
    for wrong in [
        &["--json", "--format", "csv"][..],
        &["--format", "xml"],
        &["--workers", "0"],
    ] {
        assert_eq!(ask(wrong).code, Some(2), "{wrong:?}");
    }
}

#[test]
fn a_folder_without_pictures_is_refused() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("notes.txt"), "").unwrap();
    let ended = run(pinhole().arg("classify").arg(folder.path()), b"");
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
    let sentence = ended.stderr.trim_end();
    assert!(
        sentence.contains(": The folder has no images in it: ") && sentence.ends_with('.'),
        "{sentence}"
    );
    let ended = run(
        pinhole().args(["classify", "--json"]).arg(folder.path()),
        b"",
    );
    assert_eq!(lines(&ended.stdout)[0]["code"], "empty-folder");
}

#[test]
fn ctrl_c_ends_it_and_keeps_what_was_printed() {
    let folder = TempDir::new().unwrap();
    let (small, large_one) = (
        folder.path().join("small.jpg"),
        folder.path().join("large.png"),
    );
    std::fs::write(&small, jpeg(&scene(64, 64))).unwrap();
    std::fs::write(&large_one, large()).unwrap();
    // Minutes of work behind two answers.
    let mut files = vec![&large_one; 500];
    files[0] = &small;
    files[1] = &small;
    let mut child = pinhole()
        .args(["classify", "--json", "--workers", "2"])
        .args(&files)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut printed = String::new();
    for _ in 0..2 {
        assert_ne!(stdout.read_line(&mut printed).unwrap(), 0);
    }
    run(
        Command::new("kill").args(["-INT", &child.id().to_string()]),
        b"",
    )
    .ok();
    let status = wait("its end", 30, || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(130));
    stdout.read_to_string(&mut printed).unwrap();
    let answers = lines(&printed);
    assert!(
        (2..files.len()).contains(&answers.len()),
        "{}",
        answers.len()
    );
    for (answer, file) in answers.iter().zip(files) {
        assert_eq!(answer["file"].as_str().map(Path::new), Some(file.as_path()));
        assert!(answer["predictions"].is_array(), "{answer}");
    }
    let mut complaints = String::new();
    child
        .stderr
        .unwrap()
        .read_to_string(&mut complaints)
        .unwrap();
    assert_eq!(complaints, "");
}

#[test]
fn a_terminal_is_told_how_far_it_is() {
    let (folder, pictures) = folder();
    let answers = folder.path().join("answers");
    let command = format!(
        "'{}' classify --json '{}' > '{}'",
        dist("pinhole").display(),
        folder.path().display(),
        answers.display()
    );
    // It gives a program a terminal, and writes down what is shown there.
    let mut script = Command::new("script");
    script.args(["-q", "-e", "-c", &command, "/dev/null"]);
    if Command::new("script").arg("--version").output().is_err() {
        assert!(
            !in_ci(),
            "there is no `script`, and in CI there must be: install Debian's bsdutils"
        );
        return skipped("there is no `script`");
    }
    let ended = run(&mut script, b"");
    assert_eq!(ended.code, Some(1), "{}", ended.stdout);
    let shown: Vec<&str> = ended.stdout.split("\r\u{1b}[2K").collect();
    let of = format!(" of {}, ", pictures.len());
    assert!(
        shown
            .iter()
            .any(|line| line.contains(&of) && line.ends_with(" a second")),
        "{shown:?}"
    );
    // Nothing of it stays, and nothing of it is in the answers.
    assert_eq!(shown.last().map(|line| line.trim()), Some(""));
    let answers = std::fs::read_to_string(answers).unwrap();
    assert_eq!(lines(&answers).len(), pictures.len());
}

#[test]
fn shells_complete_the_command_line() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = run(pinhole().args(["completions", shell]), b"").ok();
        for word in ["classify", "--top-k", "healthcheck"] {
            assert!(
                script.contains(word.trim_start_matches('-')),
                "{shell}: {word}"
            );
        }
    }
    assert_eq!(
        run(pinhole().args(["completions", "cmd"]), b"").code,
        Some(2)
    );
    // Bash, asked as it asks itself.
    let script = run(pinhole().args(["completions", "bash"]), b"").ok();
    let complete = |line: &str| {
        let ask = format!(
            "{script}\nCOMP_WORDS=({line}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _pinhole pinhole \"${{COMP_WORDS[-1]}}\" \"${{COMP_WORDS[-2]}}\"; echo \"${{COMPREPLY[@]}}\""
        );
        run(Command::new("bash").arg("-c").arg(ask), b"")
            .ok()
            .trim()
            .to_string()
    };
    assert_eq!(complete("pinhole cl"), "classify");
    assert_eq!(complete("pinhole classify --fo"), "--format");
    assert_eq!(complete("pinhole classify --format c"), "csv");
}
