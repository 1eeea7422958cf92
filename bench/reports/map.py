"""How fluid the map of a report is: milliseconds from frame to frame in Chromium while it is pointed at, moved and zoomed.

    python bench/reports/map.py [POINTS ...]        (default: 1000 20000 100000)

The points are drawn, of 12 classes, 5 % of them wrong. The browser is headless and draws without a GPU, so that a screen of its own is
faster; 16.7 ms is a frame of a screen with 60 Hz. About 20 s for all three.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from imgstream.evaluation.drift import ProfileBuilder
from imgstream.index import ImageIndex
from imgstream.report.charts.quality import PALETTE
from imgstream.report.measure import GOOD, ROW, Measurement
from imgstream.report.page import render
from imgstream.report.sections.projection import projection
from imgstream.report.thumbnails import encoded

DEFAULT = (1_000, 20_000, 100_000)
CLASSES, FEATURES, THUMBNAILS = 12, 64, 1_200
FRAMES = """async (doing) => {
  const canvas = document.querySelector("#map-canvas"), box = canvas.getBoundingClientRect(), took = [];
  const send = (name, x, y, more) => canvas.dispatchEvent(new PointerEvent(name, { clientX: box.x + x, clientY: box.y + y, ...more }));
  canvas.setPointerCapture = () => {};
  const frame = () => new Promise(requestAnimationFrame);
  if (doing === "moving") { for (let k = 0; k < 3; k++) document.querySelector("#map-in").click(); send("pointerdown", 400, 300); }
  await frame(); await frame();
  let last = performance.now();
  for (let k = 0; k < 90; k++) {
    if (doing === "zooming") document.querySelector(k % 20 < 10 ? "#map-in" : "#map-out").click();
    else send("pointermove", 400 + 200 * Math.sin(k / 9), 250 + 150 * Math.cos(k / 7));
    await frame();
    const now = performance.now();
    took.push(now - last);
    last = now;
  }
  send("pointerup", 0, 0);
  document.querySelector("#map-whole").click();
  return took;
}"""


def page_with(points: int) -> str:
    """A page with a map of drawn points."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, CLASSES, points)
    rows = np.zeros(points, ROW)
    rows["label"], rows["state"], rows["score"] = labels, GOOD, rng.random(points)
    rows["predicted"] = np.where(rng.random(points) < 0.05, (labels + 1) % CLASSES, labels)
    features = (rng.normal(size=(CLASSES, FEATURES))[labels] * 2 + rng.normal(size=(points, FEATURES))).astype(np.float32)
    measured = Measurement(
        index=ImageIndex.from_paths([f"class-{label}/image-{i}.jpg" for i, label in enumerate(labels)]),
        class_names=[f"class-{k}" for k in range(CLASSES)],
        rows=rows,
        features=features,
        feature_rows=np.arange(points),
        thumbnails=[encoded(rng.integers(0, 255, (96, 96, 3), np.uint8)) for _ in range(min(points, THUMBNAILS))],
        profile=ProfileBuilder().profile(),
        other_classes=[],
    )
    page: dict[str, Any] = dict.fromkeys(("data", "training", "quality", "labels", "kinds", "cells", "prediction", "measured", "run"))
    page |= {"name": "map", "palette": PALETTE, "classes": measured.class_names, "root": "", "notes": [], "measured_on": ""}
    return render(**page, several=False, map=projection(measured, "pca"), made="", seconds=0.0, version="")


def main() -> None:
    """Measure and print a line of JSON for each number of points."""
    from playwright.sync_api import sync_playwright  # pip install imgstream[browser]

    chromium = next((there for name in ("chromium", "chromium-browser", "google-chrome") if (there := shutil.which(name))), None)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for points in [int(text) for text in sys.argv[1:]] or DEFAULT:
            file, began = Path(folder) / "page.html", time.perf_counter()
            file.write_text(page_with(points), encoding="utf-8")
            made = time.perf_counter() - began
            tab, began = browser.new_page(viewport={"width": 1280, "height": 900}), time.perf_counter()
            tab.goto(file.as_uri())
            opened = time.perf_counter() - began
            tab.locator("#map-canvas").scroll_into_view_if_needed()
            found: dict[str, Any] = {"points": points, "make_s": round(made, 2), "page_mb": round(file.stat().st_size / 1e6, 2)}
            found["open_s"] = round(opened, 2)
            for doing in ("pointing", "moving", "zooming"):
                took = tab.evaluate(FRAMES, doing)
                found[doing] = {"median_ms": round(float(np.median(took)), 1), "p95_ms": round(float(np.quantile(took, 0.95)), 1)}
            print(json.dumps(found), flush=True)
            tab.close()
        browser.close()


if __name__ == "__main__":
    main()
