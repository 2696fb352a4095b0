"""The page of a running Pinhole in a real browser: what a person does with it, and what they see.

    python page.py CHROMIUM ADDRESS SCREENSHOTS REFUSED PICTURE [PICTURE ...]

REFUSED is a file that is no image. Each PICTURE is shown to the page and to /predict: both must say the same. Ends with
0 when everything was as it should be, and leaves screenshots in the folder SCREENSHOTS.
"""

import base64
import json
import pathlib
import sys
import urllib.error
import urllib.request

from playwright.sync_api import expect, sync_playwright

WIDE = {"width": 1000, "height": 800}
# The narrowest telephone that is still about.
NARROW = {"width": 320, "height": 640}

# A picture as something that is dropped or pasted: the browser makes such events itself only for real mice and clipboards.
GIVE = """([kind, name, picture]) => {
    const bytes = Uint8Array.from(atob(picture), (letter) => letter.charCodeAt(0));
    const data = new DataTransfer();
    data.items.add(new File([bytes], name, { type: "image/jpeg" }));
    document.body.dispatchEvent(kind === "drop"
        ? new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true })
        : new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true }));
}"""


def main(chromium, address, screenshots, refused, *pictures):
    url, screenshots = f"http://{address}/", pathlib.Path(screenshots)
    refused, *pictures = (pathlib.Path(path) for path in (refused, *pictures))
    with sync_playwright() as playwright:
        # Its own sandbox needs a user who is not root.
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])

        def opened(**how):
            """The page in a window of its own, in which nothing may go wrong unnoticed."""
            page = browser.new_context(**how).new_page()
            page.complaints = []
            page.on("pageerror", lambda error: page.complaints.append(str(error)))
            page.on("console", lambda line: page.complaints.append(line.text))
            # From now on choosers are reported: the browser is told so with the first listener, and a key may be faster.
            page.on("filechooser", lambda chooser: None)
            page.goto(url)
            expect(page.get_by_role("heading", level=1)).to_have_text("Pinhole")
            return page

        page = opened(viewport=WIDE)
        the_page_and_the_service_agree(page, url, pictures)
        page.screenshot(path=screenshots / "light.png", full_page=True)
        content(page)

        page = opened(viewport=WIDE)
        what_is_refused_has_its_sentence(page, url, refused, pictures[0])
        page.screenshot(path=screenshots / "refused.png", full_page=True)
        # The browser itself reports the refusals' statuses.
        assert all("Failed to load resource" in line for line in page.complaints), page.complaints

        page = opened(viewport=WIDE)
        the_keyboard_is_enough(page, pictures[0])
        screen_readers_find_names(page)
        content(page)

        page = opened(viewport=WIDE)
        pictures_are_dropped_and_pasted(page, pictures[0])
        content(page)

        page = opened(viewport=NARROW, has_touch=True, is_mobile=True, device_scale_factor=2)
        a_telephone_has_a_camera_and_no_scroll_bar(page, pictures)
        page.screenshot(path=screenshots / "narrow.png")
        content(page)

        page = opened(viewport=WIDE, color_scheme="dark")
        dark_is_dark(page, opened(viewport=WIDE, color_scheme="light"))
        page.locator("#files").set_input_files(pictures)
        answers(page, len(pictures))
        page.screenshot(path=screenshots / "dark.png", full_page=True)
        content(page)

        nothing_else_may_run(opened(viewport=WIDE))
        without_the_service(opened(viewport=WIDE), pictures[0])
        browser.close()
    print(f"Chromium is content; screenshots are in {screenshots}")


def content(page):
    assert not page.complaints, page.complaints


def answers(page, count):
    """The cards, once each has its answer."""
    cards = page.locator("#results > li")
    expect(cards).to_have_count(count)
    expect(page.locator("#results [aria-busy]")).to_have_count(0, timeout=60_000)
    return cards


def predict(url, file):
    """What the service says itself."""
    request = urllib.request.Request(url + "predict", file.read_bytes(), {"content-type": "application/octet-stream"})
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as reply:
            return json.load(reply)
    except urllib.error.HTTPError as error:
        return json.load(error)


def the_page_and_the_service_agree(page, url, pictures):
    page.locator("#files").set_input_files(pictures)
    cards = answers(page, len(pictures))
    for index, picture in enumerate(pictures):
        expected, card = predict(url, picture), cards.nth(index)
        expect(card.get_by_role("heading")).to_have_text(picture.name)
        lines = card.locator(".classes li")
        expect(lines).to_have_count(len(expected["predictions"]))
        widths = []
        for line, prediction in zip(lines.all(), expected["predictions"]):
            expect(line.locator(".label")).to_have_text(prediction["label"])
            shown = float(line.locator(".percent").inner_text().removesuffix(" %"))
            assert abs(shown - 100 * prediction["probability"]) < 0.06, (shown, prediction)
            bar = line.locator(".bar")
            widths.append(bar.locator("span").bounding_box()["width"] / bar.bounding_box()["width"])
            assert abs(widths[-1] - prediction["probability"]) < 0.02, (widths, prediction)
        stages = card.locator(".timings dt").all_inner_texts()
        assert stages == [*expected["timings_ms"], "model"], stages
        times = [float(text.removesuffix(" ms")) for text in card.locator(".timings dd").all_inner_texts()[:-1]]
        assert times[-1] > 0 and times[-1] >= max(times[:-1]), times
        assert card.locator("img").evaluate("image => image.naturalWidth") > 0
    best = predict(url, pictures[-1])["predictions"][0]
    expect(page.get_by_role("status")).to_have_text(f"{pictures[-1].name}: {best['label']}, {100 * best['probability']:.1f} %")


def what_is_refused_has_its_sentence(page, url, refused, picture):
    sentence = predict(url, refused)["error"]
    page.locator("#files").set_input_files([refused, picture])
    cards = answers(page, 2)
    expect(cards.nth(0).locator(".error")).to_have_text(sentence)
    expect(cards.nth(0).locator(".classes, img")).to_have_count(0)
    # The others are none the worse for it.
    expect(cards.nth(1).locator(".classes li").first).to_be_visible()
    expect(cards.nth(1).locator(".error")).to_have_count(0)
    # And newer ones come first.
    page.locator("#files").set_input_files(refused)
    expect(answers(page, 3).nth(0).locator(".error")).to_have_text(sentence)
    expect(page.get_by_role("status")).to_have_text(f"{refused.name}: {sentence}")


def the_keyboard_is_enough(page, picture):
    page.keyboard.press("Tab")
    focused = page.evaluate("document.activeElement.id")
    assert focused == "files", focused
    # Focus is seen, on the label that stands for the input.
    outline = page.locator("label[for=files]").evaluate("label => getComputedStyle(label).outlineStyle")
    assert outline == "solid", outline
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    assert chooser.value.is_multiple()
    chooser.value.set_files(picture)
    answers(page, 1)
    expect(page.get_by_role("status")).to_contain_text(picture.name)
    # The next picture is one key away.
    assert page.evaluate("document.activeElement.id") == "files"


def screen_readers_find_names(page):
    chooser = page.get_by_label("Choose pictures")
    expect(chooser).to_have_accessible_description("JPEG, PNG, WebP, GIF or BMP; several at once are fine.")
    expect(page.get_by_role("region", name="Pictures to classify")).to_be_visible()
    expect(page.get_by_role("list", name="Answers")).to_be_visible()
    assert page.locator("#status").get_attribute("aria-live") == "polite"
    assert page.locator("html").get_attribute("lang") == "en"
    # Bars say in colour what stands beside them in words.
    assert all(bar.get_attribute("aria-hidden") == "true" for bar in page.locator("#results .bar").all())


def pictures_are_dropped_and_pasted(page, picture):
    bytes_ = base64.b64encode(picture.read_bytes()).decode()
    for count, kind in enumerate(["drop", "paste"], 1):
        page.evaluate(GIVE, [kind, f"{kind}.jpg", bytes_])
        newest = answers(page, count).nth(0)
        expect(newest.get_by_role("heading")).to_have_text(f"{kind}.jpg")
        expect(newest.locator(".classes li").first).to_be_visible()
    one, other = (page.locator(".classes").nth(index).inner_text() for index in (0, 1))
    assert one == other and one, (one, other)


def a_telephone_has_a_camera_and_no_scroll_bar(page, pictures):
    camera = page.locator("#camera")
    expect(page.get_by_text("Take a photograph")).to_be_visible()
    assert camera.get_attribute("capture") == "environment"
    with page.expect_file_chooser() as chooser:
        page.get_by_text("Take a photograph").tap()
    long = {"name": "a" * 200 + ".jpg", "mimeType": "image/jpeg", "buffer": pictures[0].read_bytes()}
    chooser.value.set_files([long])
    answers(page, 1)
    page.locator("#files").set_input_files(pictures)
    answers(page, 1 + len(pictures))
    inside = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert inside[0] <= NARROW["width"] and inside[1] == NARROW["width"], inside


def dark_is_dark(dark, light):
    def colours(page):
        style = "body => [getComputedStyle(body).backgroundColor, getComputedStyle(body).color]"
        return [brightness(colour) for colour in page.locator("body").evaluate(style)]

    (dark_ground, dark_text), (light_ground, light_text) = colours(dark), colours(light)
    assert dark_ground < 64 < 192 < dark_text, (dark_ground, dark_text)
    assert light_text < 64 < 192 < light_ground, (light_ground, light_text)


def brightness(colour):
    parts = [float(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]
    return sum(parts) / 3


def nothing_else_may_run(page):
    """The policy stops what somebody might smuggle in."""
    page.evaluate("""() => {
        const script = document.createElement("script");
        script.textContent = "window.smuggled = true";
        document.body.append(script);
        document.body.insertAdjacentHTML("beforeend", "<p id=smuggled style='position: fixed' onclick='smuggled = true'>x</p>");
        document.getElementById("smuggled").click();
    }""")
    assert page.evaluate("window.smuggled !== true")
    assert page.locator("p#smuggled").evaluate("p => getComputedStyle(p).position") == "static"
    assert len(page.complaints) == 3 and all("Content Security Policy" in line for line in page.complaints), page.complaints


def without_the_service(page, picture):
    page.context.set_offline(True)
    page.locator("#files").set_input_files(picture)
    expect(answers(page, 1).nth(0).locator(".error")).to_have_text("The service cannot be reached.")


if __name__ == "__main__":
    main(*sys.argv[1:])
