use super::*;
use std::slice;

fn part(disposition: &str, value: &str) -> String {
    format!("--b\r\nContent-Disposition: form-data; {disposition}\r\n\r\n{value}\r\n")
}

fn read_text(body: &str) -> Result<Contents, Refused> {
    read(&Bytes::copy_from_slice(body.as_bytes()), b"b", 3)
}

/// The pictures of a form with these fields.
#[track_caller]
fn pictures(fields: &[(&str, &str)]) -> Vec<(Option<String>, String)> {
    let body: String = fields
        .iter()
        .map(|(head, value)| part(head, value))
        .collect();
    of(&(body + "--b--\r\n"))
}

#[track_caller]
fn of(body: &str) -> Vec<(Option<String>, String)> {
    let contents = read_text(body).unwrap_or_else(|error| panic!("{body}: {error:?}"));
    contents
        .uploads
        .into_iter()
        .map(|upload| {
            (
                upload.name,
                String::from_utf8_lossy(&upload.image).into_owned(),
            )
        })
        .collect()
}

#[track_caller]
fn refused(body: &str) -> String {
    match read_text(body) {
        Err(Refused::Malformed(sentence)) => sentence,
        other => panic!("{body}: {other:?}"),
    }
}

fn file(name: &str, value: &str) -> (Option<String>, String) {
    (Some(name.into()), value.into())
}

#[test]
fn the_picture_is_where_the_form_says() {
    let cat = file("cat.jpg", "cat");
    for fields in [
        &[(r#"name="image"; filename="cat.jpg""#, "cat")][..],
        &[(r#"NAME=image; FileName="cat.jpg""#, "cat")],
        &[(r#"name="images[]"; filename="cat.jpg""#, "cat")],
        &[("name=Image; filename=cat.jpg", "cat")],
        &[("name=File; filename=cat.jpg", "cat")],
        &[
            (r#"name="file"; filename="cat.jpg""#, "cat"),
            ("name=note", "a cat"),
        ],
        &[
            (r#"name="file"; filename="cat.jpg""#, "cat"),
            (r#"name=more; filename="""#, ""),
        ],
        &[
            ("name=note", "file"),
            ("name=file; filename*=UTF-8''cat.jpg", "cat"),
        ],
        &[
            (r#"name="file"; filename="dog.jpg""#, "dog"),
            (r#"name="image"; filename="cat.jpg""#, "cat"),
        ],
        &[
            (
                r#"filename="name=\"image\"; name=image"; name="other""#,
                "dog",
            ),
            (r#"filename="cat.jpg"; name="image""#, "cat"),
        ],
    ] {
        assert_eq!(pictures(fields), slice::from_ref(&cat), "{fields:?}");
    }
    assert_eq!(pictures(&[("name=file", "cat")]), [(None, "cat".into())]);
    // What browsers and curl make of `a "%41".jpg`, and what others may.
    for (name, told) in [
        (r#"filename="a %22%41%22.jpg""#, "a \"%41\".jpg"),
        ("filename*=utf-8''a%2522", "a%22"),
    ] {
        assert_eq!(
            pictures(&[(&format!("name=image; {name}"), "cat")]),
            [file(told, "cat")]
        );
    }
    let three = [
        ("name=image; filename=1", "a"),
        ("name=images; filename=2", ""),
        ("name=image", "c"),
    ];
    assert_eq!(
        pictures(&three),
        [file("1", "a"), file("2", ""), (None, "c".into())]
    );
}

#[test]
fn what_holds_no_picture_is_refused() {
    for (fields, says) in [
        (&[][..], "empty"),
        (&[("name=picture; filename=a", "x")], "only `picture`"),
        (&[("filename=\"name=image\"", "x")], "only ``"),
        (&[("name=top_k", "3")], "only parameters"),
        (
            &[
                ("name=file; filename=a", "x"),
                ("name=file; filename=b", "y"),
            ],
            "has 2 files",
        ),
        (
            &[
                ("name=file; filename=a", "x"),
                ("name=mask; filename=b", "y"),
            ],
            "name those `image`",
        ),
        (&[("name=image; name=file", "x")], "there twice"),
        (&[("name=\"image", "x")], "a quote has no end"),
    ] {
        let body: String = fields
            .iter()
            .map(|(head, value)| part(head, value))
            .collect();
        let sentence = refused(&(body + "--b--\r\n"));
        assert!(sentence.contains(says), "{fields:?}: {sentence}");
    }
    let image = part("name=image", "x");
    assert_eq!(
        read_text(&(image.repeat(4) + "--b--")),
        Err(Refused::TooMany)
    );
}

#[test]
fn fields_say_what_is_wanted() {
    let ask = |fields: &[(&str, &str)]| {
        let body: String = fields
            .iter()
            .map(|(head, value)| part(head, value))
            .collect();
        read_text(&(body + &part("name=image; filename=a", "x") + "--b--"))
            .map(|read| read.parameters)
    };
    let both = ask(&[
        ("name=top_k", " 3\r\n"),
        ("NAME=\"min_probability\"", "0.5"),
    ])
    .unwrap();
    assert_eq!((both.top_k, both.min_probability), (Some(3), Some(0.5)));
    let none = ask(&[("name=top_k", ""), ("name=min_probability", " ")]).unwrap();
    assert_eq!(none, Parameters::default());
    assert!(ask(&[("name=top_k", "3"), ("name=top_k", "3")]).is_ok());
    for wrong in [
        &[("name=top_k", "0")][..],
        &[("name=top_k", "three")],
        &[("name=min_probability", "2")],
        &[("name=top_k", "3"), ("name=top_k", "4")],
    ] {
        assert!(
            matches!(ask(wrong), Err(Refused::Malformed(_))),
            "{wrong:?}"
        );
    }
}

#[test]
fn boundaries_are_whole_lines() {
    let cat = [(None, "cat\r\n--bx\r\n--b-\r\ncat".to_string())];
    let field = "Content-Disposition: form-data; name=image\r\n\r\ncat\r\n--bx\r\n--b-\r\ncat\r\n";
    for body in [
        format!("--b\r\n{field}--b--\r\n"),
        format!("--b \t\r\n{field}--b--"),
        format!("\r\n--b\r\n{field}--b--epilogue"),
        format!("preamble --b\r\n--bx\r\n--b\r\n{field}--b--\r\n--b\r\n"),
        format!("--b\r\n--b\r\n{field}--b\r\n--b--"),
        format!("--b\r\ncontent-type: text/plain\r\n\r\n\r\n--b\r\n{field}--b--"),
    ] {
        assert_eq!(of(&body), cat, "{body}");
    }
    for (body, says) in [
        ("", "does not begin"),
        ("no form", "does not begin"),
        ("--bb\r\n\r\n", "does not begin"),
        ("--b\r\n", "breaks off"),
        (
            "--b\r\nContent-Disposition: form-data; name=image\r\n\r\ncat",
            "breaks off",
        ),
        (
            "--b\r\nContent-Disposition: form-data; name=image\r\n\r\ncat\r\n--b",
            "breaks off",
        ),
        (
            "--b\r\nContent-Disposition: form-data; name=image\r\n--b--",
            "no blank line",
        ),
    ] {
        let sentence = refused(body);
        assert!(sentence.contains(says), "{body}: {sentence}");
    }
}

#[test]
fn heads_are_read_as_mail_has_them() {
    for head in [
        "content-disposition:form-data;name=image",
        "Content-Type: image/jpeg\r\nCONTENT-DISPOSITION : form-data;\r\n\tname=\"image\"",
        "Content-Disposition: form-data; name=image\r\nContent-Transfer-Encoding: binary",
        "Content-Disposition: attachment; name=image",
        "X: Content-Disposition: form-data; name=x\r\nContent-Disposition: form-data; name=image",
    ] {
        assert_eq!(
            of(&format!("--b\r\n{head}\r\n\r\ncat\r\n--b--")),
            [(None, "cat".into())],
            "{head}"
        );
    }
    let head = "Content-Disposition: form-data; name=image\r\nContent-Transfer-Encoding: BASE64";
    let coded = |text: &str| format!("--b\r\n{head}\r\n\r\n{text}\r\n--b--");
    assert_eq!(of(&coded("Y2\r\nF0")), [(None, "cat".into())]);
    assert!(refused(&coded("%")).contains("`image` cannot be read"));
}

#[test]
fn a_form_of_nothing_but_names_is_bounded() {
    let long = "k".repeat(10_000);
    let sentence = refused(&(part(&format!("name={long}"), "x").repeat(100) + "--b--"));
    assert!(sentence.chars().count() < 700, "{sentence}");
    assert!(sentence.contains(" and more"), "{sentence}");
    let sentence = refused(&(part("name=x", "").repeat(1000) + "--b--"));
    assert!(sentence.contains("more than 103 fields"), "{sentence}");
    let sentence = refused(&(part(&format!("name={}", "k".repeat(20_000)), "x") + "--b--"));
    assert!(sentence.contains("longer than 16384 bytes"), "{sentence}");
}

/// Forms of scattered pieces: whatever comes of them, every picture is a part of the body.
#[test]
fn no_form_is_too_broken_to_be_refused() {
    const PIECES: [&str; 14] = [
        "--b",
        "\r\n",
        "\r\n--b\r\n",
        "--",
        "b",
        " ",
        "\t",
        "\n",
        "\"",
        "\r\n\r\n",
        ";",
        "Content-Disposition: form-data; name=image",
        "name=\"file\"; filename*=UTF-8''%",
        "--b--",
    ];
    let mut state: u64 = 7;
    let mut answered = 0;
    for _ in 0..50_000 {
        let mut body = String::new();
        for _ in 0..state % 12 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            body += PIECES[(state >> 33) as usize % PIECES.len()];
        }
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1)
            >> 1;
        if let Ok(contents) = read_text(&body) {
            answered += 1;
            for upload in contents.uploads {
                assert!(
                    body.contains(str::from_utf8(&upload.image).unwrap()),
                    "{body:?}"
                );
            }
        }
    }
    assert!(answered > 0);
}
