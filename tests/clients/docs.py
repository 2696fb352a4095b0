"""Swagger UI of a running Pinhole in a real browser: it shows every operation, and "Try it out" uploads a picture.

    python docs.py CHROMIUM ADDRESS SCREENSHOTS PICTURE

Ends with 0 when everything was as it should be, and leaves a screenshot in the folder SCREENSHOTS.
"""

import json
import pathlib
import sys
import urllib.request

from playwright.sync_api import expect, sync_playwright


def main(chromium, address, screenshots, picture):
    url = f"http://{address}/"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url + "openapi.json") as reply:
        document = json.load(reply)
    operations = sum(len(item) for item in document["paths"].values())
    with sync_playwright() as playwright:
        # Its own sandbox needs a user who is not root.
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1200, "height": 1600})
        complaints = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda line: complaints.append(line.text))
        elsewhere = []
        page.on("request", lambda request: None if request.url.startswith((url, "data:", "blob:")) else elsewhere.append(request.url))
        page.goto(url + "docs")
        expect(page.locator(".opblock")).to_have_count(operations)
        expect(page.get_by_role("heading", level=1)).to_contain_text("Pinhole")
        try_out(page, picture)
        page.screenshot(path=pathlib.Path(screenshots) / "docs.png")
        # Swagger UI looks for a special form field first, and says so when it takes the usual one.
        complaints = [line for line in complaints if not line.startswith("Could not find component: JsonSchema_")]
        assert not complaints, complaints
        assert not elsewhere, elsewhere
        browser.close()
    print(f"Swagger UI shows {operations} operations, and uploads")


def try_out(page, picture):
    block = page.locator(".opblock", has_text="/predict")
    block.locator(".opblock-summary-control").click()
    block.get_by_role("button", name="Try it out").click()
    block.locator(".body-param-content-type select, .content-type").first.select_option("multipart/form-data")
    block.locator("input[type=file]").first.set_input_files(picture)
    block.get_by_role("button", name="Execute").click()
    answer = block.locator(".live-responses-table tbody tr").first
    expect(answer.locator(".response-col_status")).to_contain_text("200")
    expect(answer).to_contain_text('"predictions"')


if __name__ == "__main__":
    main(*sys.argv[1:])
