"""How long a person waits for a page: from entering the address to its first content, and to where it can be used.

`python -m bench.first_view WORKSPACE` serves the workspace's champion, opens the page in Chromium with an empty cache
and again with a full one, and prints medians in seconds; then the pages for annotators and operators, with an empty
cache. JSON last. Needs playwright and a Chromium.
"""

import json
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, sync_playwright

VISITS = 5
SERVE = """
import sys
from pathlib import Path
from homeroom.serving.app import serve
from homeroom.serving.settings import ServingSettings
from homeroom.workspace import Workspace
with Workspace.open(Path(sys.argv[1])) as workspace:
    serve(workspace, ServingSettings(port=0))
"""
# Usable: what is typed and sent reaches the server, which takes the page's connection.
USABLE = "() => document.activeElement?.closest('.composer') && window.did_handshake"
CONNECTED = "() => window.did_handshake"
PAGES = ("rank", "lessons", "data", "runs")
PAINTED = "() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime"


def visit(context: BrowserContext, url: str, usable_when: str = USABLE) -> tuple[float, float]:
    page = context.new_page()
    began = time.perf_counter()
    page.goto(url, wait_until="commit")
    page.wait_for_function(usable_when)
    usable = time.perf_counter() - began
    painted = float(page.wait_for_function(PAINTED).json_value()) / 1000
    page.close()
    return painted, usable


def measure(browser: Browser, url: str) -> dict[str, float]:
    first, again = [], []
    for _ in range(VISITS):
        context = browser.new_context()
        first.append(visit(context, url))
        again.append(visit(context, url))
        context.close()
    figures = {}
    for name, visits in (("empty_cache", first), ("full_cache", again)):
        figures[f"{name}_painted_s"] = round(statistics.median(painted for painted, _ in visits), 2)
        figures[f"{name}_usable_s"] = round(statistics.median(usable for _, usable in visits), 2)
        figures[f"{name}_usable_worst_s"] = round(max(usable for _, usable in visits), 2)
    for name in PAGES:
        visits = []
        for _ in range(VISITS):
            with browser.new_context() as context:
                visits.append(visit(context, f"{url}/{name}", CONNECTED))
        figures[f"{name}_painted_s"] = round(statistics.median(painted for painted, _ in visits), 2)
        figures[f"{name}_usable_s"] = round(statistics.median(usable for _, usable in visits), 2)
    return figures


def main(workspace: Path) -> None:
    command = [sys.executable, "-c", SERVE, str(workspace)]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stderr is not None
        line = next((line for line in server.stderr if "chat at http" in line), None)
        if line is None:
            raise SystemExit(f"{workspace} could not be served: run `homeroom serve -w {workspace}` to see why")
        url = line.partition("chat at ")[2].split()[0]
        with sync_playwright() as playwright:
            chromium = next((path for name in ("chromium", "google-chrome") if (path := shutil.which(name))), None)
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
            visit(browser.new_context(), url)  # the server's first page compiles what all pages use
            figures = measure(browser, url)
            browser.close()
    finally:
        server.kill()
        server.wait()
    for name, figure in figures.items():
        print(f"{name:26} {figure:6.2f}")
    print(json.dumps(figures))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: python -m bench.first_view WORKSPACE")
    main(Path(sys.argv[1]))
