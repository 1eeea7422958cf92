"use strict";
(() => {
  const $ = (selector, within = document) => within.querySelector(selector);
  const $$ = (selector, within = document) => [...within.querySelectorAll(selector)];
  const json = (id) => { const found = document.getElementById(id); return found && JSON.parse(found.textContent); };
  const about = json("about");
  const show = (element) => { if (element) element.hidden = false; };
  $$(".with-script, .class-filter, .slider, .map-controls").forEach(show);

  // What is kept between visits; a browser may refuse to keep anything for a file.
  const store = {
    key: "imgstream:" + about.name,
    get() { try { return JSON.parse(localStorage.getItem(this.key)) || {}; } catch { return {}; } },
    set(value) { try { localStorage.setItem(this.key, JSON.stringify(value)); } catch { /* it is kept until the page is closed */ } },
  };

  // Light and dark.
  const theme = $(".theme");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (document.documentElement.dataset.theme || (dark.matches ? "dark" : "light")) === "dark";
  const named = () => { theme.textContent = isDark() ? "Light" : "Dark"; };
  theme.addEventListener("click", () => {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    named();
    document.dispatchEvent(new Event("theme"));
  });
  dark.addEventListener("change", () => { named(); document.dispatchEvent(new Event("theme")); });
  show(theme);
  named();

  // The section that one is in.
  const links = new Map($$("nav a").map((link) => [link.hash.slice(1), link]));
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      links.forEach((link) => { link.classList.remove("here"); link.removeAttribute("aria-current"); });
      const here = links.get(entry.target.id);
      here.classList.add("here");
      here.setAttribute("aria-current", "true");
    }
  }, { rootMargin: "-20% 0px -75% 0px" });
  links.forEach((_, id) => { const section = document.getElementById(id); if (section) watcher.observe(section); });

  // A cell of the matrix opens its images.
  const open = () => { const target = document.getElementById(decodeURIComponent(location.hash.slice(1))); if (target && target.tagName === "DETAILS") { target.open = true; target.scrollIntoView(); } };
  addEventListener("hashchange", open);
  $$('a[href^="#cell-"]').forEach((link) => link.addEventListener("click", () => setTimeout(open)));
  open();

  // --min-score.
  const steps = json("coverage-data");
  const slider = $("#threshold");
  if (steps && slider) {
    const percent = (value) => (100 * value).toFixed(1) + " %";
    const said = () => {
      const step = steps[slider.value];
      $("#threshold-value").textContent = step.at.toFixed(2);
      $("#threshold-said").textContent = step.accuracy === null ? "No image has so high a score." :
        `${percent(step.kept)} of the images are kept, and ${percent(step.accuracy)} of those are right; ${percent(1 - step.kept)} would be unsure.`;
    };
    slider.addEventListener("input", said);
    said();
  }

  // By class.
  const filter = $(".class-filter select");
  if (filter) filter.addEventListener("change", () => {
    $$("#images .tile").forEach((tile) => {
      tile.hidden = filter.value !== "" && tile.dataset.label !== filter.value && tile.dataset.predicted !== filter.value;
    });
  });

  // Marks.
  const marks = store.get();
  const keyOf = (tile) => tile.dataset.exact ? "b64:" + tile.dataset.exact : tile.dataset.path;
  const words = (mark) => mark.action === "label" ? "→ " + mark.label : mark.action === "exclude" ? "exclude" : "fine";
  const tiles = $$(".tile:not(.gone)");
  const drawMarks = () => {
    for (const tile of tiles) {
      const mark = marks[keyOf(tile)];
      if (mark) tile.dataset.marked = words(mark); else delete tile.dataset.marked;
    }
    const count = Object.keys(marks).length;
    $(".marks").hidden = count === 0;
    $(".marks-count").textContent = count;
  };
  const quoted = (text) => /[",\r\n]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text;
  $(".marks-save").addEventListener("click", () => {
    const lines = ["path,action,label,was,path_b64"];
    for (const mark of Object.values(marks)) lines.push([mark.path, mark.action, mark.label, mark.was, mark.exact].map((text) => quoted(text || "")).join(","));
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([lines.join("\n") + "\n"], { type: "text/csv" }));
    link.download = "corrections.csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
  $(".marks-clear").addEventListener("click", () => {
    for (const key of Object.keys(marks)) delete marks[key];
    store.set(marks);
    drawMarks();
  });

  // The viewer.
  const viewer = $(".viewer");
  let row = [], place = 0;
  const enlarge = (tile) => {
    const data = tile.dataset, caption = $(".bars", tile), looked = $(".looked", tile);
    $(".viewer-photo").src = $(".frame img", tile).src;
    $(".viewer-photo").alt = $(".frame img", tile).alt;
    $(".viewer-looked").hidden = !looked || !($("#show-looked") && $("#show-looked").checked);
    if (looked) $(".viewer-looked").src = looked.src; else $(".viewer-looked").removeAttribute("src");
    $("#viewer-title").textContent = ($(".path bdi", tile) || {}).textContent || data.path;
    $(".viewer-said").textContent = [data.label !== undefined ? `Labelled ${data.label}` : "", data.predicted ? `predicted ${data.predicted}` : ""].filter(Boolean).join(", ");
    $(".viewer-bars").replaceChildren(...(caption ? [caption.cloneNode(true)] : []));
    const mark = marks[keyOf(tile)];
    $(".mark-class").value = mark && mark.action === "label" ? mark.label : data.predicted && data.predicted !== data.label ? data.predicted : about.classes.length === 2 ? about.classes.find((name) => name !== data.label) : "";
    $(".viewer-marked").textContent = mark ? "Marked: " + words(mark) : "";
    $(".viewer fieldset").hidden = data.label === undefined;
  };
  const step = (by) => { if (row.length) { place = (place + by + row.length) % row.length; enlarge(row[place]); } };
  for (const tile of tiles) {
    const image = $(".frame", tile);
    tile.classList.add("can-mark");
    image.tabIndex = 0;
    image.setAttribute("role", "button");
    image.setAttribute("aria-label", "Enlarge " + ($("img", tile).alt));
    const chosen = () => { row = $$(".tile.can-mark:not([hidden])", tile.parentElement); place = row.indexOf(tile); enlarge(tile); viewer.showModal(); };
    image.addEventListener("click", chosen);
    image.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); chosen(); } });
  }
  $(".previous").addEventListener("click", () => step(-1));
  $(".next").addEventListener("click", () => step(1));
  $(".close").addEventListener("click", () => viewer.close());
  viewer.addEventListener("click", (event) => { if (event.target === viewer) viewer.close(); });
  viewer.addEventListener("close", () => { const image = row[place] && $(".frame", row[place]); if (image) image.focus(); });
  viewer.addEventListener("keydown", (event) => {
    if (event.target.tagName === "INPUT") return;
    if (event.key === "ArrowLeft") step(-1);
    if (event.key === "ArrowRight") step(1);
  });
  $$("[data-mark]").forEach((button) => button.addEventListener("click", () => {
    const tile = row[place], data = tile.dataset, action = button.dataset.mark, label = $(".mark-class").value;
    if (action === "label" && !(about.several ? label.split("|").map((each) => each.trim()).filter(Boolean) : [label]).every((each) => about.classes.includes(each))) { $(".viewer-marked").textContent = "Choose one of the classes."; $(".mark-class").focus(); return; }
    if (action) marks[keyOf(tile)] = { path: data.path, exact: data.exact || "", was: data.label || "", action, label: action === "label" ? label : "" };
    else delete marks[keyOf(tile)];
    store.set(marks);
    drawMarks();
    $(".viewer-marked").textContent = action ? "Marked: " + words(marks[keyOf(tile)]) : "";
    if (action && row.length > 1 && place < row.length - 1) step(1);
  }));
  drawMarks();

  // The map.
  const map = json("map-data");
  if (!map) return;
  const unpack = (text, type) => new type(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
  const xy = unpack(map.xy, Uint16Array), label = unpack(map.label, Int32Array), predicted = unpack(map.predicted, Int32Array), score = unpack(map.score, Float32Array);
  const trained = map.trained && unpack(map.trained, Uint8Array);
  const canvas = $("#map-canvas"), card = $("#map-card"), context = canvas.getContext("2d"), n = label.length;
  const wrong = (i) => label[i] >= 0 && label[i] !== predicted[i];
  let colouring = "label", onlyWrong = false;
  const colourOf = (i) => {  // a place in the palette
    if (colouring === "right") return wrong(i) ? 1 : 0;
    if (colouring === "trained") return trained[i] ? 0 : 1;
    const k = colouring === "label" && label[i] >= 0 ? label[i] : predicted[i];
    return ((k % about.palette.length) + about.palette.length) % about.palette.length;
  };
  // It is drawn when something changes, at most once a frame; what is pointed at is found through a grid, and redraws nothing.
  const MANY = 5000, REACH = 14, SIDE = 256, MOST = 64;
  let width = 0, height = 0, at = -1, asked = 0, view = { scale: 1, x: 0, y: 0 };
  const x = (i) => (xy[2 * i] / 65535 - view.x) * view.scale * width, y = (i) => (1 - xy[2 * i + 1] / 65535 - view.y) * view.scale * height;
  const shown = (i) => !onlyWrong || wrong(i);
  const cellOf = (i) => (xy[2 * i] >> 8) + SIDE * ((65535 - xy[2 * i + 1]) >> 8);
  const starts = new Uint32Array(SIDE * SIDE + 1), ordered = new Uint32Array(n);
  for (let i = 0; i < n; i++) starts[cellOf(i) + 1]++;
  for (let cell = 0; cell < SIDE * SIDE; cell++) starts[cell + 1] += starts[cell];
  const next = starts.slice();
  for (let i = 0; i < n; i++) ordered[next[cellOf(i)]++] = i;

  const dots = (ratio) => {
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.lineWidth = 1.8;
    for (let pass = 0; pass < 2; pass++) {  // crosses lie above
      for (let i = 0; i < n; i++) {
        if (wrong(i) !== (pass === 1) || !shown(i)) continue;
        const a = x(i), b = y(i), r = 4;
        context.fillStyle = context.strokeStyle = about.palette[colourOf(i)];
        context.globalAlpha = pass ? 1 : .8;
        context.beginPath();
        if (pass) { context.moveTo(a - r, b - r); context.lineTo(a + r, b + r); context.moveTo(a - r, b + r); context.lineTo(a + r, b - r); context.stroke(); }
        else { context.arc(a, b, 3, 0, 7); context.fill(); }
      }
    }
  };
  const inks = about.palette.map((text) => { const k = parseInt(text.slice(1), 16); return (0xff << 24 | (k & 255) << 16 | (k & 0xff00) | k >> 16) >>> 0; });  // RGBA, the lowest byte first
  const pixels = (ratio) => {  // many at once
    const w = canvas.width, h = canvas.height, image = context.createImageData(w, h), buffer = new Uint32Array(image.data.buffer);
    const large = Math.max(1, Math.round(ratio * Math.min(3, Math.sqrt(view.scale))));
    for (let pass = 0; pass < 2; pass++) {
      const r = pass ? large + 1 : large;
      for (let i = 0; i < n; i++) {
        if (wrong(i) !== (pass === 1) || !shown(i)) continue;
        const a = Math.round(x(i) * ratio), b = Math.round(y(i) * ratio);
        if (a < r || b < r || a >= w - r || b >= h - r) continue;
        const ink = inks[colourOf(i)];
        if (pass) for (let d = -r; d <= r; d++) { buffer[(b + d) * w + a + d] = ink; buffer[(b - d) * w + a + d] = ink; }
        else for (let dy = 0; dy <= r; dy++) buffer.fill(ink, (b + dy) * w + a, (b + dy) * w + a + r + 1);
      }
    }
    context.putImageData(image, 0, 0);
  };
  const drawNow = () => {
    asked = 0;
    colouring = $("#map-colour").value;
    onlyWrong = $("#map-wrong").checked;
    const ratio = Math.min(devicePixelRatio || 1, 2);
    width = canvas.clientWidth; height = canvas.clientHeight;
    if (!width || !height) return;
    canvas.width = width * ratio; canvas.height = height * ratio;
    (n > MANY ? pixels : dots)(ratio);
  };
  const draw = () => { if (!asked) asked = requestAnimationFrame(drawNow); };
  const look = (scale, left, top) => {
    const most = 1 - 1 / scale;
    view = { scale, x: Math.min(most, Math.max(0, left)), y: Math.min(most, Math.max(0, top)) };
    canvas.style.touchAction = scale > 1 ? "none" : "";
    point(-1);
    draw();
  };
  const zoom = (by, px = width / 2, py = height / 2) => {
    const scale = Math.min(MOST, Math.max(1, view.scale * by));
    look(scale, view.x + px / width * (1 / view.scale - 1 / scale), view.y + py / height * (1 / view.scale - 1 / scale));
  };
  const point = (i) => {
    at = i;
    card.hidden = i < 0;
    if (i < 0) return;
    const picture = $("img", card);
    picture.hidden = !map.thumbnails[i];
    if (map.thumbnails[i]) picture.src = map.thumbnails[i];
    const name = (k) => k < 0 ? "" : map.classes[k];
    $("p", card).textContent = [map.paths[i], label[i] >= 0 ? "labelled " + name(label[i]) : "", `predicted ${name(predicted[i])} ${score[i].toFixed(2)}`].filter(Boolean).join(" · ");
    card.style.left = Math.max(4, Math.min(width - 140, x(i) + 14)) + "px";
    card.style.top = Math.max(4, Math.min(height - 190, y(i) + 14)) + "px";
  };
  const nearest = (px, py) => {
    const place = (value, size, from) => Math.min(SIDE - 1, Math.max(0, Math.floor((value / size / view.scale + from) * SIDE)));
    let best = -1, least = REACH * REACH;
    for (let row = place(py - REACH, height, view.y); row <= place(py + REACH, height, view.y); row++) {
      const first = place(px - REACH, width, view.x) + SIDE * row, last = place(px + REACH, width, view.x) + SIDE * row;
      for (let k = starts[first]; k < starts[last + 1]; k++) {
        const i = ordered[k], d = (x(i) - px) ** 2 + (y(i) - py) ** 2;
        if (d < least && shown(i)) { least = d; best = i; }
      }
    }
    return best;
  };
  let held = null;
  canvas.addEventListener("pointerdown", (event) => { held = { x: event.offsetX, y: event.offsetY, view }; canvas.setPointerCapture(event.pointerId); });
  canvas.addEventListener("pointerup", () => { held = null; });
  canvas.addEventListener("pointercancel", () => { held = null; });
  canvas.addEventListener("pointermove", (event) => {
    if (!held || view.scale === 1) point(nearest(event.offsetX, event.offsetY));
    else look(view.scale, held.view.x + (held.x - event.offsetX) / width / view.scale, held.view.y + (held.y - event.offsetY) / height / view.scale);
  });
  canvas.addEventListener("pointerleave", () => point(-1));
  canvas.addEventListener("dblclick", (event) => zoom(2, event.offsetX, event.offsetY));
  canvas.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return;  // the page scrolls
    event.preventDefault();
    zoom(Math.exp(-event.deltaY / 300), event.offsetX, event.offsetY);
  }, { passive: false });
  $("#map-in").addEventListener("click", () => zoom(1.6));
  $("#map-out").addEventListener("click", () => zoom(1 / 1.6));
  $("#map-whole").addEventListener("click", () => look(1, 0, 0));
  canvas.addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (event.key === "Escape") point(-1);
    if (event.key === "+" || event.key === "=") zoom(1.6);
    if (event.key === "-") zoom(1 / 1.6);
    if (event.key === "0") look(1, 0, 0);
    if (!by) return;
    event.preventDefault();
    let i = at;
    for (let tries = 0; tries < n; tries++) { i = (i + by + n) % n; if (shown(i)) break; }
    if (x(i) < 0 || y(i) < 0 || x(i) > width || y(i) > height) look(view.scale, xy[2 * i] / 65535 - .5 / view.scale, 1 - xy[2 * i + 1] / 65535 - .5 / view.scale);
    point(i);
  });
  const key = $("#map-key"), classes = [...key.children];
  const NAMES = { right: ["right", "wrong"], trained: ["trained on", "new"] };
  $("#map-colour").addEventListener("change", () => {
    const names = NAMES[$("#map-colour").value];
    key.replaceChildren(...(names ? names.map((text, k) => {
      const item = document.createElement("li"), dot = document.createElement("span");
      dot.style.background = about.palette[k];
      item.append(dot, text);
      return item;
    }) : classes));
    draw();
  });
  $("#map-wrong").addEventListener("change", draw);
  $("#map-picture").hidden = true;
  show(canvas);
  new ResizeObserver(draw).observe(canvas);
  document.addEventListener("theme", draw);
})();
