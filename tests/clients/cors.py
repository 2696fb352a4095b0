"""A page of one origin that asks a Pinhole of another, in a real browser.

    python cors.py CHROMIUM ORIGIN OPEN CLOSED PICTURE

ORIGIN serves an empty page. The service at OPEN allows it to ask, that at CLOSED does not. Ends with 0 when the browser
agreed.
"""

import base64
import pathlib
import sys

from playwright.sync_api import sync_playwright

# Everything that a page may read of an answer. A name of a browser's error where it may read nothing.
ASK = """async ([url, picture, kind]) => {
    const bytes = Uint8Array.from(atob(picture), (letter) => letter.charCodeAt(0));
    const form = new FormData();
    form.append("file", new Blob([bytes], { type: "image/jpeg" }), "cat.jpg");
    form.append("top_k", "2");
    const how = {
        form: { body: form },
        json: { body: JSON.stringify({ image: picture, top_k: 2 }),
                headers: { "content-type": "application/json", "x-request-id": "mine-7" } },
        wrong: { body: "no picture", headers: { "content-type": "image/jpeg" } },
    }[kind];
    try {
        const reply = await fetch(url, { method: "POST", ...how });
        return { status: reply.status, id: reply.headers.get("x-request-id"), body: await reply.json() };
    } catch (error) {
        return { error: error.name };
    }
}"""


def main(chromium, origin, opened, closed, picture):
    picture = base64.b64encode(pathlib.Path(picture).read_bytes()).decode()
    with sync_playwright() as playwright:
        # Its own sandbox needs a user who is not root.
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(origin)

        def ask(address, kind):
            return page.evaluate(ASK, [f"http://{address}/predict", picture, kind])

        for kind, status in (("form", 200), ("json", 200), ("wrong", 415)):
            reply = ask(opened, kind)
            assert reply.get("status") == status, (kind, reply)
            assert reply["id"], reply
            if kind == "json":
                assert reply["id"] == "mine-7", reply
            if status == 200:
                assert len(reply["body"]["predictions"]) == 2, reply
            else:
                assert reply["body"]["code"] == "unsupported-format", reply
            assert ask(closed, kind) == {"error": "TypeError"}, kind
        browser.close()
    print("Chromium: a page of another origin reads answers and refusals where it is allowed, and nothing where it is not")


if __name__ == "__main__":
    main(*sys.argv[1:])
