"""What a report of many predictions takes: seconds, memory, the size of the page, and seconds until a browser shows it.

    python bench/reports/rows.py [ROWS ...]        (default: 2000 100000 1000000)

The predictions are drawn, of 12 classes, with 1 % bad files; the originals are missing, so that what is measured is the rows and the page.
Each report is made by a process of its own: its peak is the resident memory of that process, whatever it holds. The browser is Chromium,
headless, where playwright and a Chromium are installed; the time is from the request to the load event, the page drawn.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

DEFAULT = (2_000, 100_000, 1_000_000)
CLASSES = 12
MAKE = """
import resource, sys, time
from imgstream.prediction.readers import read_predictions
from imgstream.report.report import write_report
began = time.perf_counter()
write_report(sys.argv[2], rows=read_predictions(sys.argv[1]), root="gone", name="predictions")
print(time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def draw(path: Path, rows: int) -> None:
    """Write `rows` predictions as CSV."""
    rng = np.random.default_rng(0)
    with path.open("w", encoding="utf-8") as file:
        file.write("path,label,score,error,path_b64\n")
        for start in range(0, rows, 10_000):
            n = min(10_000, rows - start)
            labels, scores, bad = rng.integers(0, CLASSES, n), rng.beta(5, 1, n), rng.random(n) < 0.01
            for i in range(n):
                name = f"folder-{(start + i) // 1000}/image-{start + i}.jpg"
                file.write(f"{name},,,truncated: ends early,\n" if bad[i] else f"{name},class-{labels[i]},{scores[i]:.6f},,\n")


def opened(page: Path) -> float | None:
    """Seconds until a browser shows the page; None without one."""
    chromium = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return None
    if chromium is None:
        return None
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        tab = browser.new_page()
        began = time.perf_counter()
        tab.goto(page.as_uri())
        tab.screenshot()
        seconds = time.perf_counter() - began
        browser.close()
    return seconds


def main() -> None:
    """Measure and print a line of JSON for each number of rows."""
    with tempfile.TemporaryDirectory() as folder:
        for rows in [int(text) for text in sys.argv[1:]] or DEFAULT:
            predictions, page = Path(folder) / "predictions.csv", Path(folder) / "page.html"
            draw(predictions, rows)
            made = subprocess.run([sys.executable, "-c", MAKE, predictions, page], check=True, capture_output=True, text=True)
            seconds, peak = (float(text) for text in made.stdout.split())
            measured = {"rows": rows, "seconds": round(seconds, 2), "peak_mb": round(peak), "page_mb": round(page.stat().st_size / 1e6, 2)}
            print(json.dumps(measured | {"open_seconds": opened(page)}))


if __name__ == "__main__":
    main()
