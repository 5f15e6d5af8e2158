"""The page as people see it: on narrow and wide screens, in the dark, by keyboard and on paper."""

from itertools import pairwise

import pytest

from autolossgen.report import LossCurves, LossView
from autolossgen.report.page import write_report
from tests.helpers.browser import open_browser

pytestmark = pytest.mark.slow

WIDTHS = (390, 900, 1440)
LATEX = r"\max\left(\frac{1}{\hat{y}}, y\right) - \log\left(\left(\hat{y} - y\right)^{2} + y\right)"
SHOWN_IN_FULL = ".verdict-box, .headline, .figures dd, .use, .use code, .use .formula, .use label"


@pytest.fixture(scope="module")
def browser():
    with open_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def page_file(rich_run_folder):
    """A page with all sections."""
    line = [0.0, 1.0, 2.0]
    cases = {"a like": line, "a dislike": line}
    view = LossView(
        latex={"": LATEX, "like": r"\log\left(\hat{y}\right)"},
        code={name: f"# {name}\n" + "value = long_name(logits, labels) + " * 6 for name in "ABC"},
        curves=LossCurves("logit", line, cases, cases),
    )
    return write_report(rich_run_folder, {("BiasedMF", "ml100k", "found 1"): view})


def open_page(browser, path, width=900, **options):
    page = browser.new_page(viewport={"width": width, "height": 900}, **options)
    requests, problems = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(path.as_uri())
    assert requests == [path.as_uri()]  # one file, no network
    assert problems == []  # nor is anything refused by the page's policy
    return page


def find_cut(page, selector, width):
    """Returns the elements that leave the page, or hide a part of what they hold."""
    return page.eval_on_selector_all(
        selector,
        """(elements, width) => elements.filter(e => {
             const box = e.getBoundingClientRect();
             return box.left < -1 || box.right > width + 1 || e.scrollWidth > e.clientWidth + 1
               && getComputedStyle(e).display != "inline";
           }).map(e => e.tagName + "." + e.className + " " + e.textContent.slice(0, 40))""",
        width,
    )


def test_the_answer_is_seen_without_scrolling_sideways(browser, page_file):
    for width in WIDTHS:
        page = open_page(browser, page_file, width)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.locator(SHOWN_IN_FULL).count() > 10
        assert find_cut(page, SHOWN_IN_FULL, width) == []
        # The verdict and where the loss to use begins are seen at once.
        assert page.locator(".headline").bounding_box()["y"] < 200
        assert page.locator(".use h2").bounding_box()["y"] < 900
        page.close()


def test_what_is_wider_than_the_screen_scrolls_by_itself(browser, page_file):
    page = open_page(browser, page_file, 390)
    wide = page.eval_on_selector_all(
        "table, svg, pre",
        """elements => elements.filter(e => e.getBoundingClientRect().right > innerWidth
             && !e.closest(".scroll, pre")).length""",
    )
    assert wide == 0


def test_tables_and_code_are_switched_by_keyboard(browser, page_file):
    page = open_page(browser, page_file)
    shown = ".switch .panels > :nth-child({})"
    use = page.locator(".use")
    assert use.locator(shown.format(1)).is_visible()
    use.locator("input").first.focus()
    page.keyboard.press("ArrowRight")
    assert not use.locator(shown.format(1)).is_visible()
    assert use.locator(shown.format(2)).is_visible()
    page.locator(".skip").focus()
    assert page.locator(".skip").bounding_box()["x"] >= 0  # it is seen when it is reached


def test_code_is_copied(browser, page_file):
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.goto(page_file.as_uri())
    page.locator(".use .copy").first.click()
    page.get_by_text("copied", exact=True).wait_for(timeout=5000)
    code = page.locator(".use pre").first.text_content()
    assert page.evaluate("navigator.clipboard.readText()") == code


def test_a_dark_page_is_dark_and_its_pictures_too(browser, page_file):
    colors = {}
    for scheme in ("light", "dark"):
        page = open_page(browser, page_file, color_scheme=scheme)
        style = "e => [getComputedStyle(e).backgroundColor, getComputedStyle(e).color]"
        label = "e => getComputedStyle(e).fill"
        colors[scheme] = [
            *page.locator("body").evaluate(style),
            page.locator("svg text").first.evaluate(label),
        ]
    assert all(a != b for a, b in zip(colors["light"], colors["dark"], strict=True))


def test_who_hears_the_page_hears_all_of_it(browser, page_file):
    page = open_page(browser, page_file)
    levels = page.eval_on_selector_all("h1, h2, h3", "es => es.map(e => +e.tagName[1])")
    assert levels[0] == levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    nameless = page.eval_on_selector_all(
        "[role=img], [role=math], [role=region], section, nav, pre",
        """es => es.filter(e => !e.getAttribute("aria-label")
             && !document.getElementById(e.getAttribute("aria-labelledby"))).length""",
    )
    assert nameless == 0
    without = "table:not(:has(caption)), th:not([scope]), fieldset:not(:has(legend))"
    assert page.locator(without).count() == 0
    targets = page.eval_on_selector_all("a[href^='#']", "es => es.map(e => e.hash.slice(1))")
    assert targets
    assert all(page.locator(f"#{target}").count() == 1 for target in targets)


def test_nothing_is_cut_on_paper_and_the_hall_of_fame_is_short(browser, page_file):
    width = 688  # of A4 at 96 dots an inch, less the margins
    page = open_page(browser, page_file, width)
    page.emulate_media(media="print")
    seen = "table, td, th, pre, figure, svg, .scroll, .formula, .formula > div, .headline"
    assert find_cut(page, f":is({seen}):not(details:not([open]) *)", width) == []
    words = page.locator("body").inner_text()
    for said in ("0.8061 ± 0.0010", "+0.0031 [+0.0021, +0.0041]", "[+0.0001, +0.0061]", "better"):
        assert said in words
    assert all(f"# {name}" in words for name in "ABC")  # no one switches paper
    assert page.locator("#hall tbody tr:visible").count() == 10
    pdf = page.pdf(format="A4")
    assert pdf.startswith(b"%PDF")
    assert 3 <= pdf.count(b"/Type /Page\n") <= 12
